# shellcheck shell=bash disable=SC2034,SC2154
DESC="transport mode, between the gateways"
NEED=null-kernel CHILD='mode = "transport"' LOCAL_TS="" REMOTE_TS="" START=none
# own_pings_cross: pings from gateway to gateway, which take the way of hosts' packets at the peer.
own_pings_cross() { ping_all peer "$DUT_ADDR" "$PEER_ADDR"; }
as_initiator() {
  in_ns peer ip route add "$DUT_ADDR" dev esp0 src "$PEER_ADDR" table 100
  in_ns peer ip rule add to "$DUT_ADDR" ipproto icmp lookup 100
  if [ "$role" = initiator ]; then dut initiate net --timeout "$PATIENCE" >/dev/null; else peer_initiates net; fi || return 1
  want "net: .*INSTALLED, TRANSPORT, $ESP_SUITE" peer_ctl --list-sas && want '"protocol":"esp","mode":"transport"' dut sas --json || return 1
  own_pings_cross && peer_counts_traffic || return 1
  peer_rekeys --child net && child_is 2 "TRANSPORT, $ESP_SUITE" && own_pings_cross || return 1
  dut_rekeys --child net && child_is 3 "TRANSPORT, $ESP_SUITE" && own_pings_cross
}
