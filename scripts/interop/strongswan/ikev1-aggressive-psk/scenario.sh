# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: aggressive mode with PSK, three messages, and quick mode, three (RFC 2409 sections 5.4 and 5.5); the identity chooses the key"
by_v1
CONNECTION='aggressive = true'
# The responder does not know where its peer is.
[ "$role" = initiator ] || THEIRS=%any START=none
as_initiator() {
  as_tunnel && want 'established, .*IKEv1' dut sas || return 1
  count_is 2 'parsed AGGRESSIVE request 0' peer_log && count_is 1 'generating AGGRESSIVE response 0' peer_log || return 1
  want 'parsed QUICK_MODE request [0-9]+ \[ HASH SA No ID ID \]' peer_log && want 'parsed QUICK_MODE request [0-9]+ \[ HASH \]' peer_log
}
as_responder() {
  as_tunnel || return 1
  count_is 2 'generating AGGRESSIVE request 0' peer_log && count_is 1 'parsed AGGRESSIVE response 0' peer_log
}
