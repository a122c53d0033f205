# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE and ESP over IPv6, IPv4 inside"
IPV6=1 OUTER=6
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want "local +'peer.lab.test' @ $PEER_ADDR6\[4500\]" peer_ctl --list-sas
}
