# shellcheck shell=bash disable=SC2034,SC2154
DESC="no NAT: plain ESP"
NEED=null-kernel
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  count_is 0 'ESP in UDP' peer_ctl --list-sas && want '"encapsulation":"plain"' dut sas --json
}
