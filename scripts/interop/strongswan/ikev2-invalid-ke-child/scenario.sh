# shellcheck shell=bash disable=SC2034,SC2154
DESC="INVALID_KE_PAYLOAD in CREATE_CHILD_SA: the responder wants another group for the child (RFC 7296 section 1.3)"
if [ "$role" = initiator ]; then ESP='"aes128gcm16-x25519-ecp256"'; else ESP='"aes128gcm16-ecp256"'; fi
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  dut_rekeys --child net && child_is '[23]' ECP_256 && pings_cross || return 1
  want 'generating CREATE_CHILD_SA response [0-9]+ \[ N\(INVAL_KE\) \]' peer_log
}
as_responder() {
  connect && tunnel_up && pings_cross || return 1
  peer_rekeys --child net && child_is '[23]' ECP_256 && pings_cross || return 1
  want 'parsed CREATE_CHILD_SA response [0-9]+ \[ N\(INVAL_KE\) \]' peer_log
}
