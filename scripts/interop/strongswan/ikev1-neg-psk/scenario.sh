# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: a wrong key ends in no SA, and both sides say why"
by_v1
CONNECTION="retransmit_timeout = \"1s\"
retransmit_base = 1.0
retransmit_tries = 2"
if [ "$role" = initiator ]; then CULVERT_PSK=wrong-psk; fi
as_initiator() {
  local out
  if out=$(dut initiate net --timeout "$PATIENCE" 2>&1); then fail "initiate succeeded"; return 1; fi
  grep -q 'does not hold the shared key' <<<"$out" || { fail "the operator is told: $out"; return 1; }
  no_ike_sa
}
as_responder() {
  if peer_ctl --initiate --child net --timeout "$PATIENCE" >"$WORK/initiate.out" 2>&1; then fail "initiate succeeded"; return 1; fi
  gone_soon peer_ctl --list-sas && want_soon 'does not hold the shared key' cat "$WORK/dut/control.log"
}
