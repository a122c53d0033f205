# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128-aesxcbc-ecp256, ESP aes128-aesxcbc-ecp256"
IKE='"aes128-aesxcbc-ecp256"' ESP='"aes128-aesxcbc-ecp256"'
IKE_SUITE=AES_CBC-128/AES_XCBC_96/PRF_AES128_XCBC/ECP_256 ESP_SUITE=ESP:AES_CBC-128/AES_XCBC_96
as_initiator() { suite_works ECP_256; }
