# shellcheck shell=bash disable=SC2034,SC2154
DESC="the responder narrows 0.0.0.0/0 to its subnets (RFC 7296 section 2.9)"
if [ "$role" = initiator ]; then LOCAL_TS=0.0.0.0/0 REMOTE_TS=0.0.0.0/0; fi
as_initiator() {
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want "local +$PEER_LAN$" peer_ctl --list-sas && want "remote +$DUT_LAN$" peer_ctl --list-sas && count_is 0 '0\.0\.0\.0/0' peer_ctl --list-sas
}
