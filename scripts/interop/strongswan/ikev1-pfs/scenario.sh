# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv1: quick mode with a key exchange of its own (RFC 2409 section 5.5)"
by_v1
ESP='"aes128-sha256-modp2048"' ESP_SUITE=$ESP_SUITE/MODP_2048
as_initiator() { as_tunnel && want 'QUICK_MODE request [0-9]+ \[ HASH SA No KE ID ID \]' peer_log; }
