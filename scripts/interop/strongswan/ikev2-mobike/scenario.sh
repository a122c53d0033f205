# shellcheck shell=bash disable=SC2034,SC2153,SC2154
DESC="MOBIKE (RFC 4555): the initiator goes to another address"
SECOND_ADDR=192.0.2.101
THEIRS=%any
CONNECTION='mobike = true
	dpd_delay = "2s"
	retransmit_timeout = "500ms"'
if [ "$role" = initiator ]; then THEIRS="" DUT_ADDRS="$DUT_ADDR/24 $SECOND_ADDR/24" LOCAL_ADDRS="\"$DUT_ADDR\", \"$SECOND_ADDR\""; else START=none; fi
# Nothing comes through any more between the peer and Culvert's first address.
as_initiator() {
  as_tunnel || return 1
  in_ns peer nft "add table ip gone; add chain ip gone c { type filter hook input priority 0; }; add rule ip gone c ip saddr $DUT_ADDR drop"
  want_soon "remote .*@ $SECOND_ADDR" peer_ctl --list-sas && want 'N\(UPD_SA_ADDR\)' peer_log && sleep 1 && pings_cross && want 'ike_sas_moved' dut stats
}
# The peer has another address.
as_responder() {
  as_tunnel || return 1
  in_ns peer sysctl -qw net.ipv4.conf.wan.promote_secondaries=1
  in_ns peer ip addr add 192.0.2.102/24 dev wan
  in_ns peer ip addr del "$PEER_ADDR/24" dev wan
  want_soon 'local .*@ 192.0.2.102' peer_ctl --list-sas && want_soon 'ike_sas_moved' dut stats && sleep 1 && pings_cross
}
