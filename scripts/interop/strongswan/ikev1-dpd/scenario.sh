# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: R-U-THERE and its answer in both directions; a dead peer is cleared on both sides (RFC 3706)"
by_v1
CONNECTION="dpd_delay = \"1s\"
retransmit_timeout = \"1s\"
retransmit_base = 1.0
retransmit_tries = 2"
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  # Whoever hears from the other need not ask: over a few seconds both do.
  want_soon 'parsed INFORMATIONAL_V1 request [0-9]+ \[ HASH N\(DPD\) \]' peer_log && want_soon 'generating INFORMATIONAL_V1 request [0-9]+ \[ HASH N\(DPD_ACK\) \]' peer_log || return 1
  tunnel_up || return 1
  in_ns peer ip link set wan down
  gone_soon peer_ctl --list-sas && want_soon '^no IKE SAs$' dut sas || return 1
  in_ns peer ip link set wan up
  connect && tunnel_up && pings_cross
}
