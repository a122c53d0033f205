# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode where each side shows its authority's certificate beside its own, and knows of the other's only by the one above (RFC 4945 section 3.3)"
CERTS=chain
by_v1
by_certificate chain
# The peer says whose certificates it has got, and by which it believes the signature.
chain_is_believed() {
  as_tunnel && want 'received issuer cert "O=interop lab, CN=CA of dut"' peer_log && want 'parsed ID_PROT .* \[ ID CERT CERT ' peer_log || return 1
  want 'using untrusted intermediate certificate "O=interop lab, CN=CA of dut"' peer_log && want 'generating ID_PROT .* \[ ID CERT CERT ' peer_log || return 1
  want 'reached self-signed root ca with a path length of 1' peer_log
}
as_initiator() { chain_is_believed; }
as_responder() { chain_is_believed; }
