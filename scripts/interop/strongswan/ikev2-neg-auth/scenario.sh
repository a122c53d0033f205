# shellcheck shell=bash disable=SC2034,SC2154
DESC="a wrong key ends in AUTHENTICATION_FAILED, and in no SA"
if [ "$role" = initiator ]; then CULVERT_PSK=wrong-psk; fi
as_initiator() {
  refusal 'IKE_AUTH response 1' 'N\(AUTH_FAILED\)' AUTHENTICATION_FAILED && no_ike_sa || return 1
  [ "$role" = responder ] || want 'MAC mismatched' peer_log
}
