# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by EAP-MSCHAPV2, which the responder passes through to FreeRADIUS"
CERTS=rsa
by_certificate rsa
if [ "$role" = initiator ]; then
  USERS=alice:wonderland
  user_by eap-mschapv2
else
  users_by eap-radius
  with_radius
fi
as_initiator() { radius_up peer && as_tunnel && want 'Sent Access-Accept' radius_log && want 'RADIUS authentication of .alice. successful' peer_log; }
as_responder() {
  radius_up dut && as_tunnel && want 'EAP method EAP_MSCHAPV2 succeeded' peer_log && want 'alice' dut sas || return 1
  want 'User-Name = "alice"' radius_log && want 'Calling-Station-Id = "192.0.2.2\[[0-9]+\]"' radius_log || return 1
  # The server says for how long, and the peer is told.
  want 'AUTH_LFT|AUTH_LIFETIME' peer_log && want 'reauthentication in' peer_log || return 1
  peer_ctl --terminate --ike lab >/dev/null && no_ike_sa || return 1
  # A user whose password is another is refused by the server.
  sed -i 's/wonderland/looking-glass/' "$WORK/peer/swanctl/swanctl.conf"
  peer_ctl --load-all >"$WORK/load.out" 2>&1
  if peer_ctl --initiate --child net --timeout "$PATIENCE" >"$WORK/initiate.out" 2>&1; then fail "a wrong password is taken"; return 1; fi
  want 'EAP_FAILURE|EAP authentication failed|received EAP_FAILURE' peer_log && no_ike_sa
}
