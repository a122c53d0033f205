# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1 fragmentation, as vendors have it: 500 octets from the peer, 600 from Culvert"
CERTS=rsa
CONNECTION="fragment_size = 600"
by_v1
by_certificate rsa
# The messages with a certificate go in fragments, one each way, and the trace shows them.
as_initiator() {
  as_tunnel && want 'splitting IKE message .* into [0-9]+ fragments' peer_log && want 'received fragment #2' peer_log &&
    want 'messages_fragmented +[1-9]' dut stats && want 'messages_reassembled +[1-9]' dut stats && want 'FRAG\(2' dut trace
}
