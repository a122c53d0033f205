# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with PSK, then XAuth (draft-beaulieu-ike-xauth-02), and again with a new phase 1"
by_v1
by_xauth
as_initiator() {
  as_tunnel && user_is_believed || return 1
  # A new phase 1 asks for the user again, and its Child SA stays.
  dut_rekeys --connection lab && want_soon 'lab: #2, ESTABLISHED' peer_ctl --list-sas && want_soon '^1$' installed || return 1
  count_is 2 "XAuth authentication of 'alice' successful" peer_log && pings_cross
}
as_responder() {
  as_tunnel && user_is_believed || return 1
  peer_ctl --terminate --ike lab --timeout "$PATIENCE" >/dev/null && no_ike_sa && peer_initiates net && tunnel_up && pings_cross
}
