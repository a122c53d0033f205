# shellcheck shell=bash disable=SC2034,SC2154
DESC="selectors that do not meet end in TS_UNACCEPTABLE; the IKE SA stays (RFC 7296 section 2.9)"
if [ "$role" = initiator ]; then LOCAL_TS=10.200.1.0/24 REMOTE_TS=10.200.2.0/24; fi
ike_sa_alone() {
  want 'ESTABLISHED, IKEv2' peer_ctl --list-sas && count_is 0 'INSTALLED' peer_ctl --list-sas && want 'established' dut sas
}
as_initiator() {
  local out
  if out=$(dut initiate net --timeout 10 2>&1); then fail "initiate succeeded"; return 1; fi
  grep -q TS_UNACCEPTABLE <<<"$out" || { fail "the operator is told: $out"; return 1; }
  want 'generating IKE_AUTH response 1 \[ .*N\(TS_UNACCEPT\)' peer_log && ike_sa_alone
}
as_responder() {
  if peer_ctl --initiate --child net --timeout 10 >"$WORK/initiate.out" 2>&1; then fail "initiate succeeded"; return 1; fi
  want 'parsed IKE_AUTH response 1 \[ .*N\(TS_UNACCEPT\)' peer_log && ike_sa_alone
}
