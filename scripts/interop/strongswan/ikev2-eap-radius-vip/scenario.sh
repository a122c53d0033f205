# shellcheck shell=bash disable=SC2034,SC2154
DESC="addresses of a pool, which FreeRADIUS chooses for a user of EAP-MSCHAPV2 (RFC 2865 section 5.8, RFC 6911)"
CERTS=rsa IPV6=1 CONNECTION='pools = ["v4", "v6"]' LOCAL_TS="$DUT_LAN $DUT_LAN6" REMOTE_TS=""
by_certificate rsa
users_by eap-radius
with_radius
MORE="[pools.v4]
	addrs = \"10.99.0.0/24\"
	[pools.v6]
	addrs = \"fd99::/120\"
	$MORE"
as_responder() {
  local given='10.99.0.77/32 fd99::77/128'
  radius_up dut 'Framed-IP-Address := 10.99.0.77
      Framed-IPv6-Address := fd99::77' && peer_initiates net || return 1
  want "local +$given\$" peer_ctl --list-sas && want 'theirs inside: 10.99.0.77, fd99::77$' dut sas && want '10.99.0.77' dut pools || return 1
  ping_all peer "$DUT_HOST" 10.99.0.77 && ping_all peer "$DUT_HOST6" fd99::77 && ping_all dlan 10.99.0.77 && ping_all dlan fd99::77 || return 1
  # It comes back, and has the same addresses.
  peer_ctl --terminate --ike lab --timeout "$PATIENCE" >/dev/null && no_ike_sa && peer_initiates net && want "local +$given\$" peer_ctl --list-sas
}
