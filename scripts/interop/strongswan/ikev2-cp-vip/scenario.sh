# shellcheck shell=bash disable=SC2034,SC2154
DESC="addresses of the other side's network, IPv4 and IPv6, with a name server"
IPV6=1 START=none
if [ "$role" = initiator ]; then
  # The addresses are those of a host behind Culvert.
  CONNECTION='vips = ["0.0.0.0", "::"]' LOCAL_TS="" REMOTE_TS="$PEER_LAN $PEER_LAN6" ROUTES=(10.99.0.0/24 "$DUT_HOST" fd99::/120 "$DUT_HOST6")
else
  CONNECTION='pools = ["v4", "v6"]' LOCAL_TS="$DUT_LAN $DUT_LAN6" REMOTE_TS=""
  MORE='[pools.v4]
	addrs = "10.99.0.0/24"
	dns = ["10.77.1.10"]
	[pools.v6]
	addrs = "fd99::/120"'
fi
dut_initiates() { dut initiate net --timeout "$PATIENCE" >"$WORK/initiate.out" 2>&1 || fail "initiate: $(cat "$WORK/initiate.out")"; }
as_initiator() {
  local net="$PEER_LAN $PEER_LAN6"
  dut_initiates || return 1
  want "local +$net$" peer_ctl --list-sas && want 'remote +10.99.0.1/32 fd99::1/128$' peer_ctl --list-sas || return 1
  want 'ours inside: 10.99.0.1, fd99::1$' dut sas && want 'name servers: 10.77.2.10$' dut sas && want 'networks: 10.77.2.0/24$' dut sas || return 1
  in_ns dlan ip addr add 10.99.0.1/32 dev eth0
  in_ns dlan ip addr add fd99::1/128 dev eth0 nodad
  ping_all dlan "$PEER_HOST" 10.99.0.1 && ping_all dlan "$PEER_HOST6" fd99::1 && ping_all plan 10.99.0.1 && ping_all plan fd99::1 || return 1
  dut_rekeys --child net && child_is 2 "$ESP_SUITE" && want 'remote +10.99.0.1/32 fd99::1/128$' peer_ctl --list-sas && ping_all dlan "$PEER_HOST" 10.99.0.1
}
as_responder() {
  peer_initiates net || return 1
  want 'local +10.99.0.1/32 fd99::1/128$' peer_ctl --list-sas && want "remote +$DUT_LAN $DUT_LAN6$" peer_ctl --list-sas || return 1
  want 'installing DNS server 10.77.1.10|handling INTERNAL_IP4_DNS' peer_log && want 'theirs inside: 10.99.0.1, fd99::1$' dut sas || return 1
  ping_all peer "$DUT_HOST" 10.99.0.1 && ping_all peer "$DUT_HOST6" fd99::1 && ping_all dlan 10.99.0.1 && ping_all dlan fd99::1 || return 1
  # It comes back, and has the same addresses.
  peer_ctl --terminate --ike lab --timeout "$PATIENCE" >/dev/null && no_ike_sa && peer_initiates net || return 1
  want 'local +10.99.0.1/32 fd99::1/128$' peer_ctl --list-sas && ping_all peer "$DUT_HOST" 10.99.0.1
}
