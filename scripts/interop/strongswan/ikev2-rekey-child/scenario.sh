# shellcheck shell=bash disable=SC2034,SC2154
DESC="rekey of the Child SA with PFS, by Culvert and by the peer (RFC 7296 section 1.3.3)"
ESP='"aes128gcm16-x25519"'
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  dut_rekeys --child net && child_is 2 CURVE_25519 && pings_cross || return 1
  want 'parsed CREATE_CHILD_SA request [0-9]+ \[ N\(REKEY_SA\) SA No KE TSi TSr \]' peer_log || return 1
  peer_rekeys --child net && child_is 3 CURVE_25519 && pings_cross && peer_counts_traffic || return 1
  want 'parsed CREATE_CHILD_SA response [0-9]+ \[ SA No KE TSi TSr \]' peer_log
}
