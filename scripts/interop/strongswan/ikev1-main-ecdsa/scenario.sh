# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with ECDSA-256 signatures by certificates (RFC 4754), where SHA-1 is the hash of everything else"
CERTS=ecdsa
by_v1
by_certificate ecdsa
IKE='"aes128-sha1-ecp256"' IKE_SUITE=AES_CBC-128/HMAC_SHA1_96/PRF_HMAC_SHA1/ECP_256
as_initiator() { signed_by ECDSA_WITH_NULL && want 'established, .*IKEv1' dut sas; }
as_responder() { signed_by ECDSA_WITH_NULL; }
