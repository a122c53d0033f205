# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with ECDSA-384 signatures by certificates (RFC 4754), where SHA-256 is the hash of everything else"
CERTS=ecdsa384
by_v1
by_certificate ecdsa384
IKE='"aes256-sha256-ecp384"' IKE_SUITE=AES_CBC-256/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_384
as_initiator() { signed_by ECDSA_WITH_NULL && want 'established, .*IKEv1' dut sas; }
as_responder() { signed_by ECDSA_WITH_NULL; }
