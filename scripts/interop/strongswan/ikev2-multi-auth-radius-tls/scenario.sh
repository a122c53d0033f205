# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by RSA certificate and then by EAP-TLS (RFC 4739), which the responder passes through to FreeRADIUS"
CERTS=rsa
by_certificate rsa
if [ "$role" = initiator ]; then
  MORE='[connections.lab.local-2]
	auth = "eap-tls"
	id = "dut.lab.test"
	certs = ["../pki/dut-rsa.crt"]
	key = "../pki/dut-rsa.key"'
else
  with_radius
  START=none MORE="[connections.lab.remote-2]
	auth = \"eap-radius\"
	$MORE"
fi
as_initiator() {
  radius_up peer && as_tunnel && want "authentication of 'dut.lab.test' with RSA.* successful" peer_log || return 1
  want 'RADIUS authentication of .dut.lab.test. successful' peer_log && want 'Sent Access-Accept' radius_log
}
as_responder() {
  radius_up dut && as_tunnel && want "authentication of 'dut.lab.test' with RSA.* successful" peer_log || return 1
  want 'EAP method EAP_TLS succeeded, MSK established' peer_log && want 'Sent Access-Accept' radius_log
}
