# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKE SA without a Child SA (RFC 6023), which CREATE_CHILD_SA brings"
CONNECTION='childless = "force"'
as_initiator() {
  as_tunnel && want 'parsed IKE_AUTH request 1 \[ IDi .*AUTH \]' peer_log && want 'parsed CREATE_CHILD_SA request 2 \[ SA ' peer_log
}
# First the IKE SA alone, then a Child SA.
as_responder() {
  peer_ctl --initiate --ike lab --timeout "$PATIENCE" >"$WORK/initiate.out" 2>&1 || { fail "swanctl --initiate: $(tail -n 2 "$WORK/initiate.out")"; return 1; }
  ike_sa_alone && as_tunnel && want 'generating CREATE_CHILD_SA request 2 \[ SA ' peer_log
}
