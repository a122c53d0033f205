# shellcheck shell=bash disable=SC2034,SC2154
DESC="tshark opens IKE_AUTH, CREATE_CHILD_SA and ESP with the keys that Culvert writes down"
ESP='"aes256-sha256"' ESP_SUITE=ESP:AES_CBC-256/HMAC_SHA2_256_128
CONTROL='key_log = "keys"'
with_rekeying() {
  as_tunnel && peer_rekeys --ike lab && want_soon 'lab: #2, ESTABLISHED' peer_ctl --list-sas || return 1
  dut_rekeys --child net && child_is 2 "$ESP_SUITE" && pings_cross
}
as_initiator() {
  local keys=$WORK/dut/keys
  captured with_rekeying || return 1
  # Nobody else may read them, and the operator was told.
  [ "$(stat -c %a "$keys" "$keys"/*)" = $'700\n600\n600\n600' ] || fail "modes: $(stat -c '%a %n' "$keys" "$keys"/*)" || return 1
  want 'WARN.*KEYS OF EVERY IKE SA' cat "$WORK/dut/control.log" && want 'warning.*KEYS' "$BIN/culvert-control" --check "$WORK/dut/control.toml" || return 1
  count_is 2 . cat "$keys/ikev2_decryption_table" && count_is 4 . cat "$keys/esp_sa" || return 1
  # AUTH of both sides; the nonces of both rekeyings; of each ESP packet, the ping in it, with its ICV checked.
  count_is 2 . opened 'isakmp.exchangetype == 35 && isakmp.auth.method == 2' && count_is 4 . opened 'isakmp.exchangetype == 36 && isakmp.nonce' || return 1
  local packets
  packets=$(opened esp | wc -l)
  [ "$packets" -ge 20 ] || fail "only $packets ESP packets were captured" || return 1
  count_is "$packets" . opened 'esp && icmp.type in {0, 8} && esp.icv_good == 1'
}
