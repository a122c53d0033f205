# shellcheck shell=bash disable=SC2034,SC2154
DESC="NAT traversal: the responder is behind a NAT that forwards ports 500 and 4500 (RFC 7296 section 2.23)"
if [ "$role" = initiator ]; then NAT=peer; else NAT=dut THEIRS=%any START=none; fi
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want 'local host is behind NAT' peer_log
}
as_responder() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want 'remote host is behind NAT' peer_log && want "remote 'dut.lab.test' @ 192\.0\.2\.254\[4500\]" peer_ctl --list-sas
}
