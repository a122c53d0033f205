# shellcheck shell=bash disable=SC2034,SC2154
DESC="a wrong key ends in AUTHENTICATION_FAILED, and in no SA"
if [ "$role" = initiator ]; then CULVERT_PSK=wrong-psk; fi
as_initiator() {
  local out
  if out=$(dut initiate net --timeout 10 2>&1); then fail "initiate succeeded"; return 1; fi
  grep -q AUTHENTICATION_FAILED <<<"$out" || { fail "the operator is told: $out"; return 1; }
  want 'MAC mismatched' peer_log && want 'generating IKE_AUTH response 1 \[ N\(AUTH_FAILED\) \]' peer_log && gone_soon 5 peer_ctl --list-sas
}
as_responder() {
  if peer_ctl --initiate --child net --timeout 10 >"$WORK/initiate.out" 2>&1; then fail "initiate succeeded"; return 1; fi
  want 'parsed IKE_AUTH response 1 \[ N\(AUTH_FAILED\) \]' peer_log && gone_soon 5 peer_ctl --list-sas && want '^no IKE SAs$' dut sas
}
