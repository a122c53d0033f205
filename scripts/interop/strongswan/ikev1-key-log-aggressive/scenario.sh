# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: tshark shows the three messages of aggressive mode and the three of quick mode, and opens them with the keys that Culvert writes down"
by_v1
CONNECTION='aggressive = true' CONTROL='key_log = "keys"'
as_initiator() { captured as_tunnel; }
as_responder() { captured as_tunnel; }
captured() {
  local keys=$WORK/dut/keys
  spawn peer "$WORK/tcpdump.log" tcpdump -i wan -n -U --immediate-mode -w "$WORK/wan.pcap" udp port 500 or udp port 4500
  wait_until "$PATIENCE" grep -q listening "$WORK/tcpdump.log" || fail "tcpdump does not start" || return 1
  "$@" || return 1
  stop_pid "$SPAWNED"
  count_is 1 . cat "$keys/ikev1_decryption_table" && count_is 3 . opened 'isakmp.exchangetype == 4' && count_is 3 . opened 'isakmp.exchangetype == 32' || return 1
  # Both identities in the clear, and both hashes; proposal, nonce and both proxy IDs of quick mode, and the hash of its last message.
  count_is 2 . opened 'isakmp.exchangetype == 4 && isakmp.id.data.fqdn' && count_is 2 . opened 'isakmp.exchangetype == 4 && isakmp.hash' || return 1
  count_is 2 . opened 'isakmp.exchangetype == 32 && isakmp.nonce && isakmp.id.data.ipv4_subnet && isakmp.hash' || return 1
  count_is 3 . opened 'isakmp.exchangetype == 32 && isakmp.hash'
}
opened() { WIRESHARK_CONFIG_DIR=$WORK/dut/keys tshark -r "$WORK/wan.pcap" -Y "$1" 2>/dev/null; }
