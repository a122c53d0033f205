# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: a new quick mode for the Child SA, a new main mode for phase 1, by Culvert and by the peer; the Child SA goes on"
by_v1
ESP='"aes128-sha256-modp2048"' ESP_SUITE=$ESP_SUITE/MODP_2048
established() { peer_ctl --list-sas | grep -c ESTABLISHED; }
newest() { want_soon "net: #$1, .*INSTALLED.*$ESP_SUITE" peer_ctl --list-sas; }
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  dut_rekeys --child net && newest 2 && pings_cross || return 1
  peer_rekeys --child net && newest 3 && pings_cross || return 1
  dut_rekeys --connection lab && want_soon 'lab: #2, ESTABLISHED' peer_ctl --list-sas && want_soon '^1$' established && pings_cross || return 1
  peer_rekeys --ike lab --reauth && want_soon 'lab: #3, ESTABLISHED' peer_ctl --list-sas && want_soon '^1$' established && pings_cross && peer_counts_traffic || return 1
  # The new phase 1 works: the Child SA is replaced under it.
  dut_rekeys --child net && newest 4 && pings_cross && count_is 1 'established' dut sas
}
