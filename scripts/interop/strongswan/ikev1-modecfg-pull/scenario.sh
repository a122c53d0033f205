# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: an address by Mode Config, asked for (pull), after XAuth, and another one with a new phase 1 (draft-dukes-ike-mode-cfg-02)"
by_v1
by_xauth
START=none
if [ "$role" = initiator ]; then
  # The address is that of a host behind Culvert.
  CONNECTION+='
	vips = ["0.0.0.0"]' LOCAL_TS="" ROUTES=(10.98.0.0/15 "$DUT_HOST")
else
  CONNECTION+='
	pools = ["v4"]' REMOTE_TS=""
  MORE+='
	[pools.v4]
	addrs = "10.99.0.0/24"
	dns = ["10.77.1.10"]'
fi
as_initiator() {
  local out
  out=$(dut initiate net --timeout "$PATIENCE" 2>&1) || { fail "initiate: $out"; return 1; }
  user_is_believed && want 'remote +10.99.0.1/32$' peer_ctl --list-sas && want "local +$PEER_LAN\$" peer_ctl --list-sas || return 1
  want 'ours inside: 10.99.0.1$' dut sas && want 'name servers: 10.77.2.10$' dut sas || return 1
  in_ns dlan ip addr add 10.99.0.1/32 dev eth0
  ping_all dlan "$PEER_HOST" 10.99.0.1 && ping_all plan 10.99.0.1 || return 1
  dut_rekeys --child net && want_soon '^1$' installed && want 'remote +10.99.0.1/32$' peer_ctl --list-sas && ping_all dlan "$PEER_HOST" 10.99.0.1 || return 1
  # A new phase 1 has the same address, and the Child SA stays.
  dut_rekeys --connection lab && want_soon 'lab: #2, ESTABLISHED' peer_ctl --list-sas && want_soon 'ours inside: 10.99.0.1$' dut sas || return 1
  want_soon '^1$' installed && ping_all dlan "$PEER_HOST" 10.99.0.1 || return 1
  # One from another pool has another address, and the Child SA is another one.
  sed -i 's|pools = v4|pools = other|; s|^pools {|pools {\n  other { addrs = 10.98.0.0/24 }|' "$WORK/peer/swanctl/swanctl.conf"
  peer_ctl --load-all >/dev/null 2>&1 && dut_rekeys --connection lab && want_soon 'remote +10.98.0.1/32$' peer_ctl --list-sas || return 1
  in_ns dlan ip addr add 10.98.0.1/32 dev eth0
  want_soon '^1$' installed && want_soon 'ours inside: 10.98.0.1$' dut sas && ping_all dlan "$PEER_HOST" 10.98.0.1
}
as_responder() {
  peer_initiates net && user_is_believed || return 1
  want 'local +10.99.0.1/32$' peer_ctl --list-sas && want "remote +$DUT_LAN\$" peer_ctl --list-sas || return 1
  want 'installing DNS server 10.77.1.10|handling INTERNAL_IP4_DNS' peer_log && want 'theirs inside: 10.99.0.1$' dut sas || return 1
  ping_all peer "$DUT_HOST" 10.99.0.1 && ping_all dlan 10.99.0.1 || return 1
  # It comes back, and has the same address.
  peer_ctl --terminate --ike lab --timeout "$PATIENCE" >/dev/null && no_ike_sa && peer_initiates net || return 1
  want 'local +10.99.0.1/32$' peer_ctl --list-sas && ping_all peer "$DUT_HOST" 10.99.0.1
}
