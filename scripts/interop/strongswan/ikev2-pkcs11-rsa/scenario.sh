# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with RSASSA-PSS; Culvert's private key is in a PKCS #11 token and signs there"
CERTS=rsa
by_certificate rsa ike:rsa/pss-sha256
in_token rsa
as_initiator() { signed_by "RSA_EMSA_PSS_SHA2_256.*"; }
