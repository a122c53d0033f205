# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by EAP-MSCHAPV2 and the responder by RSA certificate"
CERTS=rsa USERS=alice:wonderland
by_certificate rsa
if [ "$role" = initiator ]; then user_by eap-mschapv2; else users_by eap-mschapv2; fi
as_initiator() { as_tunnel && want 'EAP method EAP_MSCHAPV2 succeeded' peer_log && want '^ *.*eap-round.*Response' cat "$WORK/dut/control.log"; }
as_responder() { as_tunnel && want 'EAP method EAP_MSCHAPV2 succeeded' peer_log && want 'alice' dut sas; }
