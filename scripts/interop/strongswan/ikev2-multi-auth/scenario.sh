# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by RSA certificate and then by EAP-MSCHAPV2 (RFC 4739), the responder by RSA certificate"
CERTS=rsa USERS=alice:wonderland
by_certificate rsa
if [ "$role" = initiator ]; then
  MORE='[connections.lab.local-2]
	auth = "eap-mschapv2"
	id = "alice@lab.test"
	eap_id = "alice"'
else
  START=none MORE='[connections.lab.remote-2]
	auth = "eap-mschapv2"
	id = "%any"
	eap_id = "%any"'
fi
both_rounds() { as_tunnel && want "authentication of '.*lab.test' with RSA.* successful" peer_log && want 'EAP method EAP_MSCHAPV2 succeeded' peer_log; }
as_initiator() { both_rounds && want '^ *.*eap-round.*Response' cat "$WORK/dut/control.log"; }
as_responder() { both_rounds && want 'alice' dut sas; }
