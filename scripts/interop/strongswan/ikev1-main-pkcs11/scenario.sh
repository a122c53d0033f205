# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with RSA signatures; Culvert's private key is in a PKCS #11 token and signs there, without DigestInfo"
CERTS=rsa
by_v1
by_certificate rsa
in_token rsa
as_initiator() { signed_by RSA_EMSA_PKCS1_NULL; }
