# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: tshark shows the six messages of main mode and the three of quick mode, and opens them with the keys that Culvert writes down"
by_v1
LOCAL_ID=$DUT_ADDR REMOTE_ID=$PEER_ADDR
CONTROL='key_log = "keys"'
as_initiator() {
  captured as_tunnel && quick_mode_is_opened && count_is 6 . opened 'isakmp.exchangetype == 2' || return 1
  # The identities and hashes of main mode.
  count_is 2 . opened 'isakmp.exchangetype == 2 && isakmp.id.type && isakmp.hash'
}
as_responder() { as_initiator; }
