# shellcheck shell=bash disable=SC2034,SC2154
DESC="distinguished names as identities (ID_DER_ASN1_DN, RFC 7296 section 3.5)"
LOCAL_ID="C=DE, O=Culvert Lab, CN=dut" REMOTE_ID="C=DE, O=Culvert Lab, CN=peer"
as_initiator() {
  connect && tunnel_up && pings_cross || return 1
  want "remote 'C=DE, O=Culvert Lab, CN=dut' @" peer_ctl --list-sas && want "remote 'C=DE, O=Culvert Lab, CN=peer' at" dut sas
}
