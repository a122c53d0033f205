# shellcheck shell=bash disable=SC2034,SC2154
DESC="extended sequence numbers"
NEED=null-kernel ESP='"aes128gcm16-esn"' ESP_SUITE=ESP:AES_GCM_16-128/ESN
