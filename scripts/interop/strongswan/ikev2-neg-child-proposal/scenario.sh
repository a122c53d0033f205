# shellcheck shell=bash disable=SC2034,SC2154
DESC="proposals of the child that do not meet end in NO_PROPOSAL_CHOSEN; the IKE SA stays (RFC 7296 section 1.2)"
if [ "$role" = initiator ]; then ESP='"aes256gcm16"'; fi
as_initiator() { refusal 'IKE_AUTH response 1' '.*N\(NO_PROP\)' NO_PROPOSAL_CHOSEN && ike_sa_alone; }
