# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128-sha256-modp2048, ESP aes128gcm16-modp2048; ESP has no CBC"
IKE='"aes128-sha256-modp2048"' ESP='"aes128gcm16-modp2048"'
IKE_SUITE=AES_CBC-128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048 ESP_SUITE=ESP:AES_GCM_16-128
# IKE_AUTH knows no key exchange for the child; the first rekey does.
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE/MODP_2048" && pings_cross
}
