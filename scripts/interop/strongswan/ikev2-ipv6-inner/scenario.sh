# shellcheck shell=bash disable=SC2034,SC2154
DESC="IPv4 and IPv6 selectors in one Child SA"
IPV6=1 LOCAL_TS="$DUT_LAN $DUT_LAN6" REMOTE_TS="$PEER_LAN $PEER_LAN6"
as_initiator() {
  connect && tunnel_up && pings_cross && pings_cross6 && peer_counts_traffic || return 1
  count_is 1 'INSTALLED' peer_ctl --list-sas && want "local +$PEER_LAN $PEER_LAN6$" peer_ctl --list-sas && want "remote +$DUT_LAN $DUT_LAN6$" peer_ctl --list-sas
}
