# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: transport mode, between the gateways"
by_v1
ESP='"aes128gcm16"' ESP_SUITE=ESP:AES_GCM_16-128
NEED=null-kernel CHILD='mode = "transport"' LOCAL_TS="" REMOTE_TS="" START=none
own_pings_cross() { ping_all peer "$DUT_ADDR" "$PEER_ADDR"; }
as_initiator() {
  in_ns peer ip route add "$DUT_ADDR" dev esp0 src "$PEER_ADDR" table 100
  in_ns peer ip rule add to "$DUT_ADDR" ipproto icmp lookup 100
  if [ "$role" = initiator ]; then dut initiate net --timeout "$PATIENCE" >/dev/null; else peer_initiates net; fi || return 1
  want "net: .*INSTALLED, TRANSPORT, $ESP_SUITE" peer_ctl --list-sas && want '"protocol":"esp","mode":"transport"' dut sas --json || return 1
  own_pings_cross && peer_counts_traffic
}
