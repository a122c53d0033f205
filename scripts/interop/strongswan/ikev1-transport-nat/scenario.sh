# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: transport mode through a NAT, where each side has its own addresses for the same traffic (RFC 3947 section 5.2)"
by_v1
ESP='"aes128gcm16"' ESP_SUITE=ESP:AES_GCM_16-128
NEED=null-kernel NAT=dut CHILD='mode = "transport"' LOCAL_TS="" REMOTE_TS="" START=none
selectors_fit() {
  want_soon "local  $PEER_ADDR/32" peer_ctl --list-sas && want_soon "remote $DUT_PUBLIC/32" peer_ctl --list-sas || return 1
  want "\"local_selectors\":\[\"$DUT_ADDR\"\],\"remote_selectors\":\[\"$PEER_ADDR\"\]" dut sas --json
}
as_initiator() {
  if [ "$role" = initiator ]; then dut initiate net --timeout "$PATIENCE" >/dev/null; else peer_initiates net; fi || return 1
  want "net: .*INSTALLED, TRANSPORT-in-UDP, $ESP_SUITE" peer_ctl --list-sas && want '"encapsulation":"udp".*"mode":"transport"' dut sas --json || return 1
  selectors_fit || return 1
  dut_rekeys --child net && want_soon "net: #2, .*INSTALLED, TRANSPORT-in-UDP, $ESP_SUITE" peer_ctl --list-sas && selectors_fit
}
