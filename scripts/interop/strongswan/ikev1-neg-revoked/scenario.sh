# shellcheck shell=bash disable=SC2034,SC2154
DESC="negative, IKEv1: the peer's certificate is in the list of revocations that it names, which Culvert fetches (RFC 5280 section 5)"
by_v1
IKE='"aes128-sha256-ecp256"' CERTS=ecdsa CERT_OPTIONS="--crl http://127.0.0.1:8080/ca.crl"
by_certificate ecdsa
as_initiator() {
  local pki=$WORK/pki www=$WORK/www
  mkdir "$www"
  STRONGSWAN_CONF=$pki/pki.conf pki --signcrl --cacert "$pki/ca-ecdsa.crt" --cakey "$pki/ca-ecdsa.key" --reason key-compromise \
    --cert "$pki/peer-ecdsa.crt" >"$www/ca.crl"
  spawn dut "$WORK/http.log" python3 -u -m http.server 8080 --bind 127.0.0.1 --directory "$www"
  wait_until "$PATIENCE" grep -q Serving "$WORK/http.log" || fail "the server does not start: $(cat "$WORK/http.log")" || return 1
  if connect 2>/dev/null; then fail "the peer is believed"; return 1; fi
  rm -f "$WORK/failure"
  want_soon 'peer.lab.test, or one on its path, has been revoked' cat "$WORK/dut/control.log" && want 'GET /ca.crl HTTP/1.1" 200' cat "$WORK/http.log" || return 1
  want_soon 'parsed INFORMATIONAL_V1 request [0-9]+ \[ HASH N\(AUTH_FAILED\) D \]' peer_log
}
