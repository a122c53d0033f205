# shellcheck shell=bash disable=SC2034,SC2154
DESC="AH in tunnel mode, rekeyed and deleted by either side"
NEED=null-kernel ESP="" CHILD='ah_proposals = ["sha256"]' ESP_SUITE=AH:HMAC_SHA2_256_128
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want '"protocol":"ah","mode":"tunnel"' dut sas --json || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE" && pings_cross || return 1
  dut_rekeys --child net && child_is 3 "$ESP_SUITE" && pings_cross || return 1
  if [ "$role" = initiator ]; then dut terminate --child net >/dev/null; else peer_ctl --terminate --child net >/dev/null; fi
  ike_sa_alone
}
