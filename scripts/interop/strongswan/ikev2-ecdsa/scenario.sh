# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with ECDSA P-256 certificates (RFC 7427)"
CERTS=ecdsa
by_certificate ecdsa
as_initiator() { signed_by "ECDSA_WITH_SHA256_DER"; }
