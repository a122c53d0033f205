# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: aggressive mode with RSA signatures by certificates (RFC 2409 section 5.1)"
CERTS=rsa
by_v1
by_certificate rsa
CONNECTION='aggressive = true'
# The certificates may make fragments of a message, which strongSwan names as well.
messages() { # messages WORD WORD: what strongSwan does with a request, and with a response
  count_is 1 "$1 AGGRESSIVE request 0 \[ SA KE " peer_log && count_is 1 "$1 AGGRESSIVE request 0 \[ CERT .*SIG " peer_log &&
    count_is 1 "$2 AGGRESSIVE response 0 \[ SA KE .*CERT .*SIG " peer_log
}
as_initiator() { signed_by RSA_EMSA_PKCS1_NULL && messages parsed generating; }
as_responder() { signed_by RSA_EMSA_PKCS1_NULL && messages generating parsed; }
