# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by EAP-TLS, which the responder passes through to FreeRADIUS"
CERTS=rsa
by_certificate rsa
if [ "$role" = initiator ]; then
  LOCAL_AUTH=${LOCAL_AUTH/pubkey/eap-tls}
else
  START=none REMOTE_AUTH='auth = "eap-radius"'
  with_radius
fi
as_initiator() {
  radius_up peer && as_tunnel && want 'RADIUS authentication of .dut.lab.test. successful' peer_log || return 1
  want 'User-Name = "dut.lab.test"' radius_log && want 'Sent Access-Accept' radius_log && want 'eap-round.* TLS' cat "$WORK/dut/control.log"
}
as_responder() {
  radius_up dut && as_tunnel && want 'EAP method EAP_TLS succeeded, MSK established' peer_log && want 'peer.lab.test' dut sas || return 1
  want 'User-Name = "peer.lab.test"' radius_log && want 'Sent Access-Accept' radius_log
}
