# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE chacha20poly1305-prfsha256-x25519, ESP chacha20poly1305-x25519"
IKE='"chacha20poly1305-prfsha256-x25519"' ESP='"chacha20poly1305-x25519"'
IKE_SUITE=CHACHA20_POLY1305/PRF_HMAC_SHA2_256/CURVE_25519 ESP_SUITE=ESP:CHACHA20_POLY1305
# IKE_AUTH knows no key exchange for the child; the first rekey does.
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE/CURVE_25519" && pings_cross
}
