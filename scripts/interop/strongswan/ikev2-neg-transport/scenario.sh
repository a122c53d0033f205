# shellcheck shell=bash disable=SC2034,SC2154
DESC="negative: a peer in tunnel mode; what it installs is deleted, what it asks for is refused, the IKE SA stays"
NEED=null-kernel CHILD='mode = "transport"' LOCAL_TS="" REMOTE_TS="" START=none
as_initiator() {
  local out
  if out=$(dut initiate net --timeout "$PATIENCE" 2>&1); then fail "initiate succeeded"; return 1; fi
  grep -q 'the peer is for tunnel mode (USE_TRANSPORT_MODE)' <<<"$out" || { fail "the operator is told: $out"; return 1; }
  want_soon 'received DELETE for ESP CHILD_SA' peer_log && ike_sa_alone
}
as_responder() { refusal 'IKE_AUTH response 1' '.*N\(NO_PROP\)' && ike_sa_alone; }
