# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes256-sha384-modp3072, ESP aes256gcm16-modp3072; ESP has no CBC"
IKE='"aes256-sha384-modp3072"' ESP='"aes256gcm16-modp3072"'
IKE_SUITE=AES_CBC-256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_3072 ESP_SUITE=ESP:AES_GCM_16-256
as_initiator() { suite_works MODP_3072; }
