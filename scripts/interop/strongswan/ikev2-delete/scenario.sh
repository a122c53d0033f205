# shellcheck shell=bash disable=SC2034,SC2154
DESC="DELETE of Child and IKE SA by either side, and the Child SA set up again in between (RFC 7296 section 1.4.1)"
no_child() { want 'ESTABLISHED' peer_ctl --list-sas && want_soon '^0$' installed; }
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  # the peer deletes the Child SA, Culvert sets it up again under the same IKE SA
  peer_ctl --terminate --child net >/dev/null
  no_child || return 1
  dut initiate net >/dev/null || { fail "initiate after the peer's delete"; return 1; }
  want 'parsed CREATE_CHILD_SA request' peer_log && tunnel_up && pings_cross || return 1
  # Culvert deletes the Child SA, the peer sets it up again
  dut terminate --child net >/dev/null || { fail "terminate --child"; return 1; }
  no_child || return 1
  peer_ctl --initiate --child net >/dev/null || { fail "the peer's initiate after our delete"; return 1; }
  want 'parsed CREATE_CHILD_SA response' peer_log && tunnel_up && pings_cross || return 1
  # Culvert, or the peer, deletes the IKE SA
  if [ "$role" = initiator ]; then dut terminate --connection lab >/dev/null || { fail "terminate --connection"; return 1; }
  else peer_ctl --terminate --ike lab >/dev/null; fi
  gone_soon peer_ctl --list-sas && want_soon '^no IKE SAs$' dut sas
}
