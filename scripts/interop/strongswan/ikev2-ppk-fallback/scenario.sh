# shellcheck shell=bash disable=SC2034,SC2154
DESC="IKEv2 with a post-quantum preshared key that the responder does not have, and both do without (RFC 8784)"
CONNECTION='ppk_id = "lab.ppk"'
SECRETS='[ppk.lab]
id = "lab.ppk"
secret = "0x0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"'
# strongSwan as the responder goes on with what it knows no PPK for, and not with what its ppk_id excludes: there that is %any.
as_initiator() {
  as_tunnel && want 'N\(NO_PPK\)' dut trace && want 'WITHOUT ITS PPK' dut sas && want 'ppk-missing: ' cat "$WORK/dut/control.log"
}
