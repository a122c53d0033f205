# shellcheck shell=bash disable=SC2034,SC2154
DESC="rekey of the IKE SA, by Culvert and by the peer; its Child SA moves along (RFC 7296 section 1.3.2)"
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  dut_rekeys --connection lab && want_soon 'lab: #2, ESTABLISHED' peer_ctl --list-sas && pings_cross || return 1
  peer_rekeys --ike lab && want_soon 'lab: #3, ESTABLISHED' peer_ctl --list-sas && pings_cross || return 1
  want_soon '^1$' established && child_is 1 "$ESP_SUITE" && peer_counts_traffic || return 1
  # The new IKE SA works: the Child SA is rekeyed under it.
  dut_rekeys --child net && child_is 2 "$ESP_SUITE" && pings_cross
}
established() { peer_ctl --list-sas | grep -c ESTABLISHED; }
