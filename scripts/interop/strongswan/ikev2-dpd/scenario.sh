# shellcheck shell=bash disable=SC2034,SC2154
DESC="keep-alives (empty INFORMATIONAL): the initiator asks, the other answers; a dead peer is cleared on both sides (RFC 7296 section 2.4)"
# Whoever hears from the other need not ask; so that it is known who asks, the initiator does so more often.
if [ "$role" = initiator ]; then delay=1s; else delay=3s; fi
CONNECTION="dpd_delay = \"$delay\"
retransmit_timeout = \"1s\"
retransmit_base = 1.0
retransmit_tries = 2"
dead_peer_is_cleared() {
  tunnel_up || return 1
  in_ns peer ip link set wan down
  gone_soon peer_ctl --list-sas && want_soon '^no IKE SAs$' dut sas || return 1
  in_ns peer ip link set wan up
  connect && tunnel_up && pings_cross
}
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  want_soon 'parsed INFORMATIONAL request [0-9]+ \[ \]' peer_log && want 'generating INFORMATIONAL response [0-9]+ \[ \]' peer_log || return 1
  dead_peer_is_cleared
}
as_responder() {
  connect && tunnel_up && pings_cross || return 1
  want_soon 'parsed INFORMATIONAL response [0-9]+ \[ \]' peer_log || return 1
  dead_peer_is_cleared
}
