# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE aes128ccm16-prfsha256-ecp256, ESP aes128ccm16-ecp256"
IKE='"aes128ccm16-prfsha256-ecp256"' ESP='"aes128ccm16-ecp256"'
IKE_SUITE=AES_CCM_16-128/PRF_HMAC_SHA2_256/ECP_256 ESP_SUITE=ESP:AES_CCM_16-128
as_initiator() { suite_works ECP_256; }
