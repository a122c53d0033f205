# shellcheck shell=bash disable=SC2034,SC2154
DESC="selectors with protocols and a range of ports: inside it crosses, outside it does not (RFC 7296 section 3.13.1)"
if [ "$role" = initiator ]; then LOCAL_TS="${DUT_LAN}[tcp] ${DUT_LAN}[icmp] ${DUT_LAN}[udp/5000-6000]"; fi
# udp_crosses PORT SECONDS: a datagram from and to this port, from the host behind Culvert to the host behind the peer.
udp_crosses() {
  in_ns plan python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(int(sys.argv[2]))
s.bind(("", int(sys.argv[1])))
print("bound", flush=True)
print(s.recv(100).decode())' "$1" "$2" >"$WORK/udp.$1" 2>/dev/null &
  local receiver=$!
  wait_until "$PATIENCE" grep -q bound "$WORK/udp.$1"
  in_ns dlan python3 -c '
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[2])))
s.sendto(b"hello", (sys.argv[1], int(sys.argv[2])))' "$PEER_HOST" "$1"
  wait "$receiver"
}
as_initiator() {
  local side=local
  [ "$role" = responder ] || side=remote
  connect && tunnel_up && pings_cross && peer_counts_traffic || return 1
  want "^ +$side .*\[udp/5000-6000\]" peer_ctl --list-sas && want "^ +$side .*\[tcp\]" peer_ctl --list-sas && want "^ +$side .*\[icmp\]" peer_ctl --list-sas || return 1
  udp_crosses 5000 "$PATIENCE" && udp_crosses 6000 "$PATIENCE" || { fail "UDP of the range does not cross"; return 1; }
  ! udp_crosses 6001 2 || fail "UDP beyond the range crosses"
}
