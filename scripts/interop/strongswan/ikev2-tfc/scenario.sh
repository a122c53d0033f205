# shellcheck shell=bash disable=SC2034,SC2154
DESC="packets padded to 1000 octets, and dummy packets among them (RFC 4303 sections 2.6 and 2.7)"
CHILD='tfc_padding = 1000
tfc_dummies = 5'
received() { in_ns peer ip -s -j link show wan | jq '.[0].stats64.rx.bytes'; }
as_initiator() {
  connect && tunnel_up || return 1
  local before after
  before=$(received)
  pings_cross && peer_counts_traffic || return 1
  after=$(received)
  # Three pings and three answers of 84 octets each.
  [ $((after - before)) -gt 6000 ] || { fail "the peer has received $((after - before)) octets"; return 1; }
  want_soon '^ *data\.dummy_sent +[1-9]' dut stats || return 1
  peer_rekeys --child net && child_is 2 "$ESP_SUITE" && pings_cross
}
