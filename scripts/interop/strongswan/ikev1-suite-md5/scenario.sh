# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: MD5 in phase 1 beside AES, and in ESP beside 3DES"
by_v1
IKE='"aes128-md5-modp2048"' ESP='"3des-md5"' ESP_SUITE=ESP:3DES_CBC/HMAC_MD5_96 IKE_SUITE=AES_CBC-128/HMAC_MD5_96/PRF_HMAC_MD5/MODP_2048
