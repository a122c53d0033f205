# shellcheck shell=bash disable=SC2034,SC2154
DESC="plain ESP, IP protocol 50, with strongSwan 6.0.1"
NEED=plain-esp
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  count_is 0 'ESP in UDP' peer_ctl --list-sas || return 1
  want 'INSTALLED, TUNNEL, ESP:' peer_ctl --list-sas && want '"encapsulation":"plain"' dut sas --json
}
