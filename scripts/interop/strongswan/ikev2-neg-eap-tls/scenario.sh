# shellcheck shell=bash disable=SC2034,SC2154
DESC="negative: the server of EAP-TLS is not the one that its user wants, and is told so by an alert (RFC 5216 section 2.1.3)"
CERTS=rsa
by_certificate rsa
if [ "$role" = initiator ]; then
  LOCAL_AUTH="${LOCAL_AUTH/pubkey/eap-tls}
	aaa_id = \"other.lab.test\""
else
  START=none REMOTE_AUTH=${REMOTE_AUTH/pubkey/eap-tls}
fi
as_initiator() {
  if connect 2>/dev/null; then fail "the server is believed"; return 1; fi
  rm -f "$WORK/failure"
  want 'received fatal TLS alert' peer_log && want 'the certificate is not one of other.lab.test' cat "$WORK/dut/control.log" && no_ike_sa
}
as_responder() {
  if connect 2>/dev/null; then fail "the server is believed"; return 1; fi
  rm -f "$WORK/failure"
  want 'sending fatal TLS alert' peer_log && want 'the other side ends TLS' cat "$WORK/dut/control.log" && no_ike_sa
}
