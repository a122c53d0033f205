# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes256-sha512-ecp521, ESP aes256gcm16-ecp521; ESP has no CBC"
IKE='"aes256-sha512-ecp521"' ESP='"aes256gcm16-ecp521"'
IKE_SUITE=AES_CBC-256/HMAC_SHA2_512_256/PRF_HMAC_SHA2_512/ECP_521 ESP_SUITE=ESP:AES_GCM_16-256
# IKE_AUTH knows no key exchange for the child; the first rekey does.
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE/ECP_521" && pings_cross
}
