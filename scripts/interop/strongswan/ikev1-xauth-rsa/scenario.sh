# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: main mode with RSA signatures, then XAuth"
CERTS=rsa
by_v1
by_certificate rsa
by_xauth
as_initiator() { as_tunnel && user_is_believed; }
as_responder() { as_initiator; }
