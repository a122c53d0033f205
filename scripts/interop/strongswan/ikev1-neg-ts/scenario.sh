# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: proxy identities that do not meet end in INVALID-ID-INFORMATION, explained as TS_UNACCEPTABLE is; phase 1 stays"
by_v1
if [ "$role" = initiator ]; then LOCAL_TS=10.200.1.0/24 REMOTE_TS=10.200.2.0/24; fi
as_initiator() { refusal 'INFORMATIONAL_V1 request [0-9]+' 'HASH N\(INVAL_ID\)' TS_UNACCEPTABLE && ike_sa_alone; }
as_responder() { as_initiator && want_soon 'no traffic selectors in common' cat "$WORK/dut/control.log"; }
