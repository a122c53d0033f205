# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE chacha20poly1305-prfsha256-x25519, ESP chacha20poly1305-x25519"
IKE='"chacha20poly1305-prfsha256-x25519"' ESP='"chacha20poly1305-x25519"'
IKE_SUITE=CHACHA20_POLY1305/PRF_HMAC_SHA2_256/CURVE_25519 ESP_SUITE=ESP:CHACHA20_POLY1305
as_initiator() { suite_works CURVE_25519; }
