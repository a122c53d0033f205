# shellcheck shell=bash disable=SC2034,SC2154
DESC="reauthentication by the initiator, make before break"
CERTS=rsa
by_certificate rsa
[ "$role" = responder ] || CONNECTION='reauth_time = "5s"'
# another_ike_sa: the second IKE SA and its Child SA are in place, the first ones are not.
another_ike_sa() {
  want_soon 'lab: #2, ESTABLISHED' peer_ctl --list-sas && want_soon '^1$' installed && want_soon '^1$' ike_sas && pings_cross
}
ike_sas() { peer_ctl --list-sas | grep -c ESTABLISHED; }
as_initiator() { as_tunnel && another_ike_sa && want 'reauthentications +1 ' dut stats; }
as_responder() {
  as_tunnel && { peer_ctl --rekey --reauth --ike lab >/dev/null 2>&1 || { fail "swanctl --rekey --reauth"; return 1; }; } && another_ike_sa
}
