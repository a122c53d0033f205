# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128gcm16-prfsha256-ecp256, ESP aes128gcm16-ecp256"
IKE='"aes128gcm16-prfsha256-ecp256"' ESP='"aes128gcm16-ecp256"'
IKE_SUITE=AES_GCM_16-128/PRF_HMAC_SHA2_256/ECP_256 ESP_SUITE=ESP:AES_GCM_16-128
as_initiator() { suite_works ECP_256; }
