# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with PSK, six messages, and quick mode, three; deletion by either side (RFC 2409 sections 5.4 and 5.5)"
by_v1
LOCAL_ID=$DUT_ADDR REMOTE_ID=$PEER_ADDR
as_initiator() {
  as_tunnel && want 'established, .*IKEv1' dut sas || return 1
  count_is 3 'parsed ID_PROT request 0' peer_log && count_is 3 'generating ID_PROT response 0' peer_log || return 1
  want 'parsed QUICK_MODE request [0-9]+ \[ HASH SA No ID ID \]' peer_log && want 'parsed QUICK_MODE request [0-9]+ \[ HASH \]' peer_log || return 1
  deletions
}
as_responder() {
  as_tunnel || return 1
  count_is 3 'generating ID_PROT request 0' peer_log && count_is 3 'parsed ID_PROT response 0' peer_log || return 1
  deletions
}
deletions() {
  dut terminate --child net >/dev/null && want_soon '^0$' installed && connect && tunnel_up && pings_cross || return 1
  peer_ctl --terminate --ike lab >/dev/null
  no_ike_sa || return 1
  connect && tunnel_up && pings_cross && dut terminate --connection lab >/dev/null && no_ike_sa
}
