# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: NAT traversal, the initiator behind a NAT that changes ports (RFC 3947)"
by_v1
if [ "$role" = initiator ]; then NAT=dut; else NAT=peer THEIRS=%any START=none; fi
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want 'remote host is behind NAT' peer_log && want "remote 'dut.lab.test' @ 192\.0\.2\.254\[[0-9]+\]" peer_ctl --list-sas
}
as_responder() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want 'local host is behind NAT' peer_log
}
