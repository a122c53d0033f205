# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with ECDSA P-256, AUTH method 9, as the peer does not know RFC 7427"
CERTS=ecdsa
by_certificate ecdsa
as_initiator() { signed_by "ECDSA-256 signature"; }
