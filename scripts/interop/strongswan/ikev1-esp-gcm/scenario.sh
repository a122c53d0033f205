# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: ESP by AES-GCM (RFC 4106 section 8)"
by_v1
ESP='"aes128gcm16"' ESP_SUITE=ESP:AES_GCM_16-128
