# shellcheck shell=bash disable=SC2034,SC2154
DESC="the responder sends the initiator to another gateway (RFC 5685), which is itself at another address"
OTHER_ADDR=192.0.2.102
as_initiator() {
  as_tunnel || return 1
  in_ns peer ip addr add $OTHER_ADDR/24 dev wan
  peer_ctl --redirect --ike lab --gateway $OTHER_ADDR >"$WORK/redirect.out" 2>&1 || fail "swanctl --redirect: $(tail -n 2 "$WORK/redirect.out" | tr '\n' ' ')"
  want_soon "local .*@ $OTHER_ADDR" peer_ctl --list-sas && want_soon '^1$' ike_sas && want 'N\(REDIR_FROM\)' peer_log && want "redirected: .* to $OTHER_ADDR" cat "$WORK/dut/control.log" || return 1
  pings_cross && peer_counts_traffic && want 'redirects_followed' dut stats
}
ike_sas() { peer_ctl --list-sas | grep -c 'ESTABLISHED, IKEv2'; }
