# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128-sha256-modp2048, ESP aes128gcm16-modp2048; ESP has no CBC"
IKE='"aes128-sha256-modp2048"' ESP='"aes128gcm16-modp2048"'
IKE_SUITE=AES_CBC-128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048 ESP_SUITE=ESP:AES_GCM_16-128
as_initiator() { suite_works MODP_2048; }
