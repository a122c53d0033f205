# shellcheck shell=bash disable=SC2034,SC2154
DESC="proposals that do not meet end in NO_PROPOSAL_CHOSEN, and in no SA"
if [ "$role" = initiator ]; then IKE='"aes256gcm16-prfsha384-ecp256"'; else IKE='"aes128gcm16-prfsha256-x25519"'; fi
as_initiator() { refusal 'IKE_SA_INIT response 0' 'N\(NO_PROP\)' NO_PROPOSAL_CHOSEN && no_ike_sa; }
