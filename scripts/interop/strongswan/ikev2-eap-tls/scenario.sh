# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by EAP-TLS and the responder by RSA certificate"
CERTS=rsa
by_certificate rsa
if [ "$role" = initiator ]; then LOCAL_AUTH=${LOCAL_AUTH/pubkey/eap-tls}; else REMOTE_AUTH=${REMOTE_AUTH/pubkey/eap-tls} START=none; fi
as_tls() {
  as_tunnel && want 'EAP method EAP_TLS succeeded, MSK established' peer_log && want 'eap-round.* TLS' cat "$WORK/dut/control.log" &&
    want 'Flags: length included, more fragments' dut trace --fields
}
as_initiator() { as_tls; }
as_responder() { as_tls; }
