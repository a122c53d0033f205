# shellcheck shell=bash disable=SC2034,SC2154
DESC="short lifetimes on both sides, whose rekeys collide: no ping is lost (RFC 7296 section 2.25)"
ESP='"aes128gcm16-x25519"'
# A slow machine has long to replace an SA before it ends.
CONNECTION='rekey_time = "9s"
over_time = "20s"
rand_time = "0s"'
CHILD='rekey_time = "5s"
life_time = "25s"
rand_time = "0s"'
as_initiator() {
  connect && tunnel_up || return 1
  in_ns dlan ping -n -q -i 0.1 -c 250 -W 10 "$PEER_HOST" >"$WORK/ping.out" || true
  want '250 packets transmitted, 250 received' cat "$WORK/ping.out" || { fail "$(tail -n 2 "$WORK/ping.out" | tr '\n' ' ')"; return 1; }
  want_soon 'lab: #([3-9]|[1-9][0-9]),' peer_ctl --list-sas && want_soon 'net: #([5-9]|[1-9][0-9]),' peer_ctl --list-sas || return 1
  pings_cross
}
