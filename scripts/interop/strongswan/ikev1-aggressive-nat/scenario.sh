# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: aggressive mode with PSK, the initiator behind a NAT that changes ports: the last message goes to port 4500 (RFC 3947 section 4)"
by_v1
CONNECTION='aggressive = true'
if [ "$role" = initiator ]; then NAT=dut; else NAT=peer THEIRS=%any START=none; fi
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want 'remote host is behind NAT' peer_log && want "remote 'dut.lab.test' @ 192\.0\.2\.254\[[0-9]+\]" peer_ctl --list-sas || return 1
  want 'received packet: from 192\.0\.2\.254\[[0-9]+\] to 192\.0\.2\.2\[4500\]' peer_log && count_is 2 'parsed AGGRESSIVE request 0' peer_log
}
as_responder() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want 'local host is behind NAT' peer_log && count_is 2 'generating AGGRESSIVE request 0' peer_log
}
