# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with RSA certificates (RFC 7427)"
CERTS=rsa
by_certificate rsa
as_initiator() { signed_by "RSA_EMSA_PKCS1_SHA2_256"; }
