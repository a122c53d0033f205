# shellcheck shell=bash disable=SC2034,SC2154
DESC="INVALID_KE_PAYLOAD: the responder wants another group than the initiator's first (RFC 7296 section 1.2)"
if [ "$role" = initiator ]; then IKE='"aes128gcm16-prfsha256-x25519-ecp256"'; else IKE='"aes128gcm16-prfsha256-ecp256"'; fi
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  want 'generating IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]' peer_log && want 'PRF_HMAC_SHA2_256/ECP_256' peer_ctl --list-sas
}
as_responder() {
  connect && tunnel_up && pings_cross || return 1
  want 'parsed IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]' peer_log && want 'PRF_HMAC_SHA2_256/ECP_256' peer_ctl --list-sas
}
