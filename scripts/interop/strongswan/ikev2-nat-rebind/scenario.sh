# shellcheck shell=bash disable=SC2034,SC2154
DESC="NAT traversal: the mapping is kept alive, and followed when it changes nevertheless (RFC 7296 section 2.23, RFC 3948)"
if [ "$role" = initiator ]; then
  NAT=dut CONNECTION='dpd_delay = "3s"
keep_alive = "1s"'
else
  NAT=peer THEIRS=%any START=none
fi
# The port at which the other side sees whoever is behind the NAT.
mapped() {
  if [ "$role" = initiator ]; then peer_ctl --list-sas | sed -nE 's/.*@ 192\.0\.2\.254\[([0-9]+)\].*/\1/p'
  else dut sas --json | jq -r '.ike_sas[0].remote_address'; fi
}
is_mapped_anew() { local now; now=$(mapped) && [ -n "$now" ] && [ "$now" != "$before" ]; }
# The router forgets its mappings when the link goes down. The next ones have ports of their own: they are drawn by chance.
rebind() {
  before=$(mapped)
  [ -n "$before" ] || { fail "no mapping is known"; return 1; }
  in_ns nat ip link set out down && in_ns nat ip link set out up
}
# Culvert asks for a sign of life: strongSwan follows IKE messages. Its ESP in user space cannot: it replaces the Child SA.
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  want 'NAT-keepalive' in_ns nat timeout "$PATIENCE" tshark -l -i in -f "src host $DUT_ADDR and udp port 4500 and udp[4:2] = 9" -c 1 -V || return 1
  rebind && { wait_until "$PATIENCE" is_mapped_anew || fail "the peer still sees port $before"; } || return 1
  child_is 2 "$ESP_SUITE" && pings_cross
}
# The answer may go to where the peer was. The link takes its time to come up, so that the ping may be lost, too.
ping_shows_it() { in_ns plan ping -n -c 1 -W 1 "$DUT_HOST" || true; is_mapped_anew; }
# No IKE message is sent: authentic ESP shows where the peer is.
as_responder() {
  connect && tunnel_up && pings_cross && rebind || return 1
  wait_until "$PATIENCE" ping_shows_it || { fail "Culvert still sends to $before"; return 1; }
  pings_cross && count_is 1 'INSTALLED' peer_ctl --list-sas && count_is 0 'INFORMATIONAL' peer_log
}
