# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: two quick modes under one phase 1, IPv4 and IPv6"
IPV6=1
by_v1
MORE=$(cat <<TOML
[connections.lab.children.net6]
local_ts = ["$DUT_LAN6"]
remote_ts = ["$PEER_LAN6"]
esp_proposals = ["aes256-sha512"]
start_action = "trap"
TOML
)
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  [ "$role" = initiator ] || peer_initiates net6 || return 1
  pings_cross6 || return 1
  count_is 1 'ESTABLISHED, IKEv1' peer_ctl --list-sas && want 'net6: .*AES_CBC-256/HMAC_SHA2_512_256$' peer_ctl --list-sas
}
