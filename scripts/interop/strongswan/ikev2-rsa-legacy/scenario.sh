# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with RSA and SHA-1, AUTH method 1, as the peer does not know RFC 7427"
CERTS=rsa
by_certificate rsa rsa-sha1
as_initiator() {
  signed_by "RSA signature" && want 'WARN.*RSA with SHA-1 should no longer be used' cat "$WORK/dut/control.log" &&
    want 'peer.lab.test, RSA digital signature' dut trace --json
}
