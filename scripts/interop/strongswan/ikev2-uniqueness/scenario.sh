# shellcheck shell=bash disable=SC2034,SC2154
DESC="INITIAL_CONTACT: a restarted initiator replaces its old IKE SA (RFC 7296 section 2.4)"
CONNECTION='unique = "replace"'
# Nothing of the gateway is left, and nobody told the peer.
restart_gateway() {
  kill_pid "$(cat "$WORK/dut/control.pid")"
  kill_pid "$(cat "$WORK/dut/data.pid")"
  rm -f "$WORK/dut/control.sock" "$WORK/dut/data.sock"
  gateway_up dut "$WORK/dut"
}
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  restart_gateway
  connect && tunnel_up && pings_cross || return 1
  count_is 1 'ESTABLISHED, IKEv2' peer_ctl --list-sas && want 'parsed IKE_AUTH request 1 \[ .*N\(INIT_CONTACT\)' peer_log
}
as_responder() {
  connect && tunnel_up && pings_cross || return 1
  kill_pid "$(cat "$WORK/peer/charon.pid")"
  rm -f "$WORK/peer/charon.vici"
  peer_up
  # Until the peer has used the new Child SA, for at most a second, Culvert holds to the old one: a peer whose IKE alone has restarted still takes it.
  connect && tunnel_up && ping_all plan "$DUT_HOST" && pings_cross || return 1
  count_is 1 'established' dut sas && want 'generating IKE_AUTH request 1 \[ .*N\(INIT_CONTACT\)' peer_log
}
