# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with RSASSA-PSS (RFC 7427)"
CERTS=rsa
by_certificate rsa ike:rsa/pss-sha256
as_initiator() { signed_by "RSA_EMSA_PSS_SHA2_256.*"; }
