# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128ctr-sha256-ecp256, ESP aes128ctr-sha256-ecp256"
IKE='"aes128ctr-sha256-ecp256"' ESP='"aes128ctr-sha256-ecp256"'
IKE_SUITE=AES_CTR-128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/ECP_256 ESP_SUITE=ESP:AES_CTR-128/HMAC_SHA2_256_128
as_initiator() { suite_works ECP_256; }
