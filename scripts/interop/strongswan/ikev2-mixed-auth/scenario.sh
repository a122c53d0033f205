# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2, the initiator by PSK and the responder by RSA certificate"
CERTS=rsa
by_certificate rsa
if [ "$role" = initiator ]; then LOCAL_AUTH=$BY_PSK; else REMOTE_AUTH=$BY_PSK; fi
