# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with ECDSA P-256; Culvert's private key is in a PKCS #11 token and signs there"
CERTS=ecdsa
by_certificate ecdsa
in_token ecdsa
as_initiator() { signed_by "ECDSA_WITH_SHA256_DER"; }
