# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes256-sha512-ecp521, ESP aes256-sha512-ecp521"
IKE='"aes256-sha512-ecp521"' ESP='"aes256-sha512-ecp521"'
IKE_SUITE=AES_CBC-256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/ECP_521 ESP_SUITE=ESP:AES_CBC-256/HMAC_SHA2_512_256
as_initiator() { suite_works ECP_521; }
