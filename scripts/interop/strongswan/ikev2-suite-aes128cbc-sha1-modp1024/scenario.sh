# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128-sha1-modp1024, ESP aes128-sha1-modp1024"
IKE='"aes128-sha1-modp1024"' ESP='"aes128-sha1-modp1024"'
IKE_SUITE=AES_CBC-128/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_1024 ESP_SUITE=ESP:AES_CBC-128/HMAC_SHA1_96
as_initiator() { suite_works MODP_1024; }
