# shellcheck shell=bash disable=SC2034,SC2154
DESC="ESP with AES-GMAC, which encrypts nothing"
NEED=null-kernel ESP='"aes128gmac"' ESP_SUITE=ESP:NULL_AES_GMAC-128
