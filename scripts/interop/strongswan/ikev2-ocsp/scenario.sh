# shellcheck shell=bash disable=SC2034,SC2154
DESC="Culvert asks OCSP about the peer's certificate before it believes it (RFC 6960), and asks once"
CERTS=ecdsa CERT_OPTIONS="--ocsp http://127.0.0.1:8081/"
by_certificate ecdsa
REMOTE_AUTH+='
	revocation = "strict"'
as_initiator() {
  local pki=$WORK/pki serial
  serial=$(openssl x509 -noout -serial -in "$pki/peer-ecdsa.crt")
  printf 'V\t491231235959Z\t\t%s\tunknown\t/CN=peer.lab.test\n' "${serial#serial=}" >"$pki/index"
  touch "$pki/index.attr"
  spawn dut "$WORK/ocsp.log" openssl ocsp -port 8081 -index "$pki/index" -CA "$pki/ca-ecdsa.crt" -rsigner "$pki/ca-ecdsa.crt" -rkey "$pki/ca-ecdsa.key" -nmin 60
  wait_until "$PATIENCE" grep -qi 'waiting for ocsp' "$WORK/ocsp.log" || fail "the responder does not start: $(cat "$WORK/ocsp.log")" || return 1
  # Nothing else makes the certificate believed: revocation is strict.
  as_tunnel && count_is 1 'Received request.*POST' cat "$WORK/ocsp.log" || return 1
  peer_ctl --terminate --ike lab >/dev/null && no_ike_sa && as_tunnel || return 1
  count_is 1 'Received request' cat "$WORK/ocsp.log"
}
