# shellcheck shell=bash disable=SC2034,SC2154
DESC="COOKIE: the responder has a half-open SA and wants proof of the initiator's address (RFC 7296 section 2.6)"
CONTROL='cookie_threshold = 1'
CONNECTION='retransmit_timeout = "1s"'
# IKE_AUTH travels on port 4500; while it is lost, IKE_SA_INIT leaves a half-open SA behind.
lose_ike_auth() {
  in_ns peer nft "add table ip half; add chain ip half c { type filter hook $1 priority 0; }; add rule ip half c udp dport 4500 counter drop"
}
# half_open: the IKE_AUTH of "half" is lost, and that of "lab" until a cookie was asked for.
half_open() { want_soon 'packets [1-9]' in_ns peer nft list table ip half; }
connect_after_cookie() {
  connect &
  local connecting=$! rc=0
  want_soon "$1" peer_log || rc=1
  in_ns peer nft delete table ip half
  wait "$connecting" && return "$rc"
}
MORE=$(cat <<TOML
[connections.half]
local_addrs = ["$DUT_ADDR"]
remote_addrs = ["$PEER_ADDR"]
proposals = [$IKE]
local = { auth = "psk", id = "half.lab.test" }
remote = { auth = "psk", id = "peer.lab.test" }
children.half = { local_ts = ["10.99.1.0/24"], remote_ts = ["10.99.2.0/24"], esp_proposals = [$ESP], start_action = "none" }
TOML
)
as_initiator() {
  lose_ike_auth input
  dut initiate half --timeout 1 >/dev/null 2>&1 || true
  half_open && connect_after_cookie 'generating IKE_SA_INIT response 0 \[ N\(COOKIE\) \]' && tunnel_up && pings_cross || return 1
  want 'parsed IKE_SA_INIT request 0 \[ N\(COOKIE\) SA KE No' peer_log
}
as_responder() {
  lose_ike_auth output
  peer_ctl --initiate --child half --timeout 1 >/dev/null 2>&1 || true
  half_open && connect_after_cookie 'parsed IKE_SA_INIT response 0 \[ N\(COOKIE\) \]' && tunnel_up && pings_cross || return 1
  want 'generating IKE_SA_INIT request 0 \[ N\(COOKIE\) SA KE No' peer_log
}
