# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 fragmentation (RFC 7383): 500 octets from the peer, 600 from Culvert"
CERTS=rsa
CONNECTION="fragment_size = 600"
by_certificate rsa
# Both IKE_AUTH messages hold a certificate: each goes in fragments.
as_initiator() {
  as_tunnel && want 'splitting IKE message .* into [0-9]+ fragments' peer_log && want 'received fragment #2 of ' peer_log &&
    want 'messages_fragmented +1 ' dut stats && want 'messages_reassembled +1 ' dut stats
}
