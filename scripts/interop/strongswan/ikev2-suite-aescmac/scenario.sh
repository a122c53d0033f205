# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128-aescmac-ecp256, ESP aes128-aescmac-ecp256"
IKE='"aes128-aescmac-ecp256"' ESP='"aes128-aescmac-ecp256"'
IKE_SUITE=AES_CBC-128/AES_CMAC_96/PRF_AES128_CMAC/ECP_256 ESP_SUITE=ESP:AES_CBC-128/AES_CMAC_96
as_initiator() { suite_works ECP_256; }
