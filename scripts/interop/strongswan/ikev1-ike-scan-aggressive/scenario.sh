# shellcheck shell=bash disable=SC2034,SC2154
DESC="ike-scan gets an answer in aggressive mode where it is configured and the identity is known, and psk-crack finds a bad key by it"
by_v1
# psk-crack knows MD5 and SHA-1.
IKE='"aes128-sha1-modp2048"' CONNECTION='aggressive = true' CULVERT_PSK=secret
as_responder() {
  local scan=$WORK/scan hash=$WORK/hash
  scan --id=nobody@lab.test >"$scan"
  want '0 returned handshake; 0 returned notify' cat "$scan" || return 1
  scan --id=peer.lab.test --idtype=2 --pskcrack="$hash" >"$scan"
  want 'Aggressive Mode Handshake returned HDR=.* SA=\(Enc=AES (KeyLength=128 )?Hash=SHA1' cat "$scan" && want 'ID\(Type=ID_FQDN, Value=dut.lab.test\)' cat "$scan" || return 1
  printf '%s\n' wrong secret >"$WORK/words"
  # What makes aggressive mode with a shared key dangerous.
  want 'key "secret" matches' psk-crack -d "$WORK/words" "$hash"
}
scan() { in_ns peer ike-scan --sport=0 --retry=2 --timeout=1000 --aggressive --dhgroup=14 --trans='(1=7,14=128,2=2,3=1,4=14)' "$@" "$DUT_ADDR"; }
