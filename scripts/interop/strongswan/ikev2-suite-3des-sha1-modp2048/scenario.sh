# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE 3des-sha1-modp2048, ESP 3des-sha1-modp2048"
IKE='"3des-sha1-modp2048"' ESP='"3des-sha1-modp2048"'
IKE_SUITE=3DES_CBC/HMAC_SHA1_96/PRF_HMAC_SHA1/MODP_2048 ESP_SUITE=ESP:3DES_CBC/HMAC_SHA1_96
as_initiator() { suite_works MODP_2048; }
