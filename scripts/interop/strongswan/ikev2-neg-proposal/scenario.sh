# shellcheck shell=bash disable=SC2034,SC2154
DESC="proposals that do not meet end in NO_PROPOSAL_CHOSEN, and in no SA"
if [ "$role" = initiator ]; then IKE='"aes256gcm16-prfsha384-ecp256"'; else IKE='"aes128gcm16-prfsha256-x25519"'; fi
as_initiator() {
  local out
  if out=$(dut initiate net --timeout 10 2>&1); then fail "initiate succeeded"; return 1; fi
  grep -q NO_PROPOSAL_CHOSEN <<<"$out" || { fail "the operator is told: $out"; return 1; }
  want 'generating IKE_SA_INIT response 0 \[ N\(NO_PROP\) \]' peer_log && gone_soon 5 peer_ctl --list-sas
}
as_responder() {
  if peer_ctl --initiate --child net --timeout 10 >"$WORK/initiate.out" 2>&1; then fail "initiate succeeded"; return 1; fi
  want 'parsed IKE_SA_INIT response 0 \[ N\(NO_PROP\) \]' peer_log && gone_soon 5 peer_ctl --list-sas && want '^no IKE SAs$' dut sas
}
