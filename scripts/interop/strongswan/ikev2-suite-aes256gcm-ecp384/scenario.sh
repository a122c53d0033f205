# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes256gcm16-prfsha384-ecp384, ESP aes256gcm16-ecp384"
IKE='"aes256gcm16-prfsha384-ecp384"' ESP='"aes256gcm16-ecp384"'
IKE_SUITE=AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384 ESP_SUITE=ESP:AES_GCM_16-256
# IKE_AUTH knows no key exchange for the child; the first rekey does.
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE/ECP_384" && pings_cross
}
