# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by EAP-TLS, which Culvert passes through to FreeRADIUS"
CERTS=rsa START=none
by_certificate rsa
REMOTE_AUTH='auth = "eap-radius"'
with_radius
as_responder() {
  radius_up dut && as_tunnel && want 'EAP method EAP_TLS succeeded, MSK established' peer_log && want 'peer.lab.test' dut sas || return 1
  want 'User-Name = "peer.lab.test"' radius_log && want 'Sent Access-Accept' radius_log
}
