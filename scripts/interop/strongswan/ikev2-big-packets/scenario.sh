# shellcheck shell=bash disable=SC2034,SC2154
DESC="packets that do not fit: cut before they are sealed, ESP in fragments from the peer, and an ICMP error"
# With net_af_packet the kernel would put the fragments together itself.
LAB_DRIVER=pcap
# big_ping NS ADDRESS: more than two packets long, either way.
big_ping() {
  local out
  out=$(in_ns "$1" ping -n -M dont -s 4000 -i 0.3 -c 3 -W 5 "$2" 2>&1) || true
  grep -q '3 packets transmitted, 3 received' <<<"$out" || fail "ping of 4000 octets from $1 to $2: $(tail -n 3 <<<"$out" | tr '\n' ' ')"
}
# counted NAME: the gateway's counter is not zero.
counted() { dut stats --json | jq -e --arg name "$1" '.data_plane[] | select(.name == $name and .value > 0)' >/dev/null || fail "$1 is zero"; }
as_initiator() {
  connect && tunnel_up || return 1
  # The peer's kernel cuts packets before ESP; now it has to cut those in ESP once more.
  in_ns peer ip route replace "$DUT_ADDR/32" dev wan src "$PEER_ADDR" mtu lock 1300
  big_ping dlan "$PEER_HOST" && big_ping plan "$DUT_HOST" && counted fragmented && counted reassembly_esp || return 1
  # 20 + 8 + 8 + 8 + 1438 + 2 + 16: in UDP no more fits.
  want 'mtu ?= ?1438' in_ns dlan ping -n -M "do" -s 1411 -c 1 -W 5 "$PEER_HOST" || return 1
  want ' 1 received' in_ns dlan ping -n -M "do" -s 1410 -c 1 -W 5 "$PEER_HOST" && peer_counts_traffic
}
