# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with RSA signatures by certificates, six messages, and quick mode, three (RFC 2409 section 5.1)"
CERTS=rsa
by_v1
by_certificate rsa
as_initiator() {
  signed_by RSA_EMSA_PKCS1_NULL && want 'established, .*IKEv1' dut sas || return 1
  count_is 3 'parsed ID_PROT request 0' peer_log && count_is 3 'generating ID_PROT response 0' peer_log || return 1
  want 'parsed ID_PROT request 0 \[ ID CERT SIG ' peer_log && want 'parsed ID_PROT request 0 \[ KE No CERTREQ ' peer_log
}
as_responder() {
  signed_by RSA_EMSA_PKCS1_NULL || return 1
  count_is 3 'generating ID_PROT request 0' peer_log && count_is 3 'parsed ID_PROT response 0' peer_log || return 1
  want 'parsed ID_PROT response 0 \[ ID CERT SIG ' peer_log
}
