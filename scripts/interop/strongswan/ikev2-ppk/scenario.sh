# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with a post-quantum preshared key that both demand (RFC 8784)"
CONNECTION='ppk_id = "lab.ppk"
	ppk_required = true'
SECRETS='[ppk.lab]
id = "lab.ppk"
secret = "0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"'
# Keys of Child SAs come from SK_d, and so do those of the next IKE SA.
as_initiator() {
  as_tunnel && want 'using PPK' peer_log && want ", PPK 'lab.ppk'" dut sas && want 'N\(PPK_ID\)' dut trace || return 1
  dut_rekeys --connection lab && dut_rekeys --child net && child_is 2 "$ESP_SUITE" && pings_cross && want ", PPK 'lab.ppk'" dut sas
}
