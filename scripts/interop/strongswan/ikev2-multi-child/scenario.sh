# shellcheck shell=bash disable=SC2034,SC2154
DESC="three Child SAs under one IKE SA, IPv4 and IPv6, with and without PFS (RFC 7296 section 1.3.1)"
IPV6=1
MORE=$(cat <<TOML
[connections.lab.children.net6]
local_ts = ["$DUT_LAN6"]
remote_ts = ["$PEER_LAN6"]
esp_proposals = ["aes256gcm16-ecp256"]
start_action = "trap"

[connections.lab.children.netb]
local_ts = ["$DUT_LAN_B"]
remote_ts = ["$PEER_LAN_B"]
esp_proposals = ["aes256gcm16"]
start_action = "trap"
TOML
)
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  [ "$role" = initiator ] || peer_initiates net6 && peer_initiates netb || return 1
  pings_cross6 && pings_cross_b || return 1
  count_is 1 'ESTABLISHED, IKEv2' peer_ctl --list-sas && count_is 3 'INSTALLED' peer_ctl --list-sas || return 1
  want 'net6: .*AES_GCM_16-256/ECP_256' peer_ctl --list-sas && want 'netb: .*AES_GCM_16-256$' peer_ctl --list-sas
}
