# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: the quick modes of both sides in the place of one Child SA cross; a nonce chooses which of theirs stays"
by_v1
as_initiator() {
  connect && tunnel_up || return 1
  # Neither side hears of the other's while Culvert's data plane stands still.
  local data rekeyed
  data=$(cat "$WORK/dut/data.pid")
  kill -STOP "$data"
  dut rekey --child net >"$WORK/rekeyed" 2>&1 & rekeyed=$!
  peer_rekeys --child net
  sleep 0.3
  kill -CONT "$data"
  wait "$rekeyed" || fail "rekey: $(cat "$WORK/rekeyed")" || return 1
  want_soon 'both sides have made a Child SA for the same traffic at once' dut trace && want_soon '^1$' dut_has && pings_cross || return 1
  # The peer leaves its own, which Culvert deletes much later; its own Culvert deletes at once.
  if dut trace | grep -q 'ours, was made with the lowest'; then want_soon '^1$' installed && pings_cross; fi
}
as_responder() { as_initiator; }
dut_has() { dut sas | grep -c ' installed '; }
