# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: AH in tunnel mode"
by_v1
NEED=null-kernel ESP="" CHILD='ah_proposals = ["sha256"]' ESP_SUITE=AH:HMAC_SHA2_256_128
as_initiator() { connect && tunnel_up && pings_cross && peer_counts_traffic && want '"protocol":"ah","mode":"tunnel"' dut sas --json; }
