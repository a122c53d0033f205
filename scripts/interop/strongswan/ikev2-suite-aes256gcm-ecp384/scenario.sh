# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes256gcm16-prfsha384-ecp384, ESP aes256gcm16-ecp384"
IKE='"aes256gcm16-prfsha384-ecp384"' ESP='"aes256gcm16-ecp384"'
IKE_SUITE=AES_GCM_16-256/PRF_HMAC_SHA2_384/ECP_384 ESP_SUITE=ESP:AES_GCM_16-256
as_initiator() { suite_works ECP_384; }
