# shellcheck shell=bash disable=SC2034,SC2154
DESC="selectors that do not meet end in TS_UNACCEPTABLE; the IKE SA stays (RFC 7296 section 2.9)"
if [ "$role" = initiator ]; then LOCAL_TS=10.200.1.0/24 REMOTE_TS=10.200.2.0/24; fi
as_initiator() { refusal 'IKE_AUTH response 1' '.*N\(TS_UNACCEPT\)' TS_UNACCEPTABLE && ike_sa_alone; }
