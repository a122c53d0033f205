# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: the gateway signs, by RSA, and the user shows itself by XAuth alone (draft-ietf-ipsec-isakmp-hybrid-auth-05)"
CERTS=rsa
by_v1
by_certificate rsa
USERS=alice:wonderland
if [ "$role" = initiator ]; then
  LOCAL_ID=alice LOCAL_AUTH='auth = "xauth"'
else
  REMOTE_ID=%any START=none REMOTE_AUTH='auth = "xauth"'
fi
as_initiator() {
  as_tunnel && user_is_believed && want 'parsed ID_PROT request 0 \[ ID HASH ' peer_log && want 'generating ID_PROT response 0 \[ ID CERT SIG ' peer_log
}
as_responder() {
  as_tunnel && user_is_believed && want 'generating ID_PROT request 0 \[ ID HASH ' peer_log && want 'parsed ID_PROT response 0 \[ ID CERT SIG ' peer_log
}
