# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with nothing but EAP-TLS (RFC 5998)"
CERTS=rsa
by_certificate rsa eap-tls
# The responder shows who it is by EAP alone.
as_only() { as_tunnel && want "$1" peer_log && want "IKE_AUTH response 1 \\[ IDr EAP/REQ/TLS \\]" peer_log; }
as_initiator() { as_only 'parsed IKE_AUTH request 1 \[ .*N\(EAP_ONLY\)'; }
as_responder() { as_only 'allow mutual EAP-only authentication'; }
