# shellcheck shell=bash disable=SC2034,SC2154
DESC="keep-alives (empty INFORMATIONAL) both ways, and a dead peer is cleared on either side"
CONNECTION='dpd_delay = "1s"
retransmit_timeout = "1s"
retransmit_base = 1.0
retransmit_tries = 2'
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  sleep 4
  want 'parsed INFORMATIONAL request [0-9]+ \[ \]' peer_log && want 'generating INFORMATIONAL response [0-9]+ \[ \]' peer_log || return 1
  want 'parsed INFORMATIONAL response [0-9]+ \[ \]' peer_log && tunnel_up || return 1
  in_ns peer ip link set wan down
  gone_soon 20 peer_ctl --list-sas && want_soon 20 '^no IKE SAs$' dut sas || return 1
  in_ns peer ip link set wan up
  connect && tunnel_up && pings_cross
}
