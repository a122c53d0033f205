# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes256-sha384-modp3072, ESP aes256gcm16-modp3072; ESP has no CBC"
IKE='"aes256-sha384-modp3072"' ESP='"aes256gcm16-modp3072"'
IKE_SUITE=AES_CBC-256/HMAC_SHA2_384_192/PRF_HMAC_SHA2_384/MODP_3072 ESP_SUITE=ESP:AES_GCM_16-256
# IKE_AUTH knows no key exchange for the child; the first rekey does.
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE/MODP_3072" && pings_cross
}
