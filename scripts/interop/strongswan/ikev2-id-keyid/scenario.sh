# shellcheck shell=bash disable=SC2034,SC2154
DESC="key IDs as identities (ID_KEY_ID, RFC 7296 section 3.5)"
LOCAL_ID="@#6475742f31" REMOTE_ID="@#706565722f32"
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  want "remote '(dut/1|64:75:74:2f:31)' @" peer_ctl --list-sas && want "remote 'keyid:peer/2' at" dut sas
}
