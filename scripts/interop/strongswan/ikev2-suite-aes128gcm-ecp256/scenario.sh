# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128gcm16-prfsha256-ecp256, ESP aes128gcm16-ecp256"
IKE='"aes128gcm16-prfsha256-ecp256"' ESP='"aes128gcm16-ecp256"'
IKE_SUITE=AES_GCM_16-128/PRF_HMAC_SHA2_256/ECP_256 ESP_SUITE=ESP:AES_GCM_16-128
# IKE_AUTH knows no key exchange for the child; the first rekey does.
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE/ECP_256" && pings_cross
}
