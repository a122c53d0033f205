# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: tshark shows the three messages of aggressive mode and the three of quick mode, and opens them with the keys that Culvert writes down"
by_v1
CONNECTION='aggressive = true' CONTROL='key_log = "keys"'
as_initiator() {
  captured as_tunnel && quick_mode_is_opened && count_is 3 . opened 'isakmp.exchangetype == 4' || return 1
  # Both identities in the clear, and both hashes.
  count_is 2 . opened 'isakmp.exchangetype == 4 && isakmp.id.data.fqdn' && count_is 2 . opened 'isakmp.exchangetype == 4 && isakmp.hash'
}
as_responder() { as_initiator; }
