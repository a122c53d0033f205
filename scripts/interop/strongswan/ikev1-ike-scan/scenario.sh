# shellcheck shell=bash disable=SC2034,SC2154
DESC="ike-scan sees a right answer in main mode, and none in aggressive mode, which is not configured"
by_v1
LOCAL_ID=$DUT_ADDR REMOTE_ID=$PEER_ADDR
as_responder() {
  local scan=$WORK/scan
  scan --trans="$SUITE" >"$scan"
  want 'Main Mode Handshake returned HDR=.* SA=\(Enc=AES (KeyLength=128 )?Hash=SHA2-256 (Auth=PSK )?Group=14:modp2048' cat "$scan" &&
    want 'VID=afcad71368a1f1c96b8696fc77570100 \(Dead Peer Detection v1.0\)' cat "$scan" || return 1
  # What it offers by itself is too weak.
  scan >"$scan"
  want 'Notify message 14 \(NO-PROPOSAL-CHOSEN\)' cat "$scan" || return 1
  scan --aggressive --id=lab --dhgroup=14 --trans="$SUITE" >"$scan"
  want '0 returned handshake; 0 returned notify' cat "$scan" && want 'begins aggressive mode, which is not answered here' cat "$WORK/dut/control.log" || return 1
  # The peer itself is served as ever.
  as_tunnel
}
# scan OPTION...: from the peer's namespace, whose port 500 is strongSwan's.
SUITE='(1=7,14=128,2=4,3=1,4=14)'
scan() { in_ns peer ike-scan --sport=0 --retry=2 --timeout=1000 "$@" "$DUT_ADDR"; }
