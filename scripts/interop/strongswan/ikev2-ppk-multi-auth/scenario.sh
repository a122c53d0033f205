# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with a post-quantum preshared key (RFC 8784), the initiator by RSA certificate and then by EAP-MSCHAPV2 (RFC 4739)"
CERTS=rsa USERS=alice:wonderland
by_certificate rsa
CONNECTION='ppk_id = "lab.ppk"
	ppk_required = true'
SECRETS='[ppk.lab]
id = "lab.ppk"
secret = "0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"'
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
# Signatures and the AUTH after EAP are both made with what the PPK has made of SK_pi and SK_pr.
as_initiator() { as_tunnel && want 'using PPK' peer_log && want 'EAP method EAP_MSCHAPV2 succeeded' peer_log && want ", PPK 'lab.ppk'" dut sas; }
