# shellcheck shell=bash disable=SC2034,SC2154
DESC="two gateways behind one NAT: one address, two ports, and each gets its own packets (RFC 7296 section 2.23)"
# The responder serves both with one connection and one child, which each narrows to its own network. The second gateway is a Culvert: 10.79.1.0/24 behind it, 198.51.101.2 before it, and the same router.
SECOND_HOST=10.79.1.10 SECOND_ADDR=198.51.101.2
if [ "$role" = initiator ]; then
  NAT=dut RESPONDER_HOST=$PEER_HOST RESPONDER_LAN=$PEER_LAN RESPONDER_ID=peer.lab.test
else
  NAT=peer THEIRS=%any START=none REMOTE_ID=%any REMOTE_TS=10.0.0.0/8
  RESPONDER_HOST=$DUT_HOST RESPONDER_LAN=$DUT_LAN RESPONDER_ID=dut.lab.test
fi
second() { culvert "$WORK/second" "$@"; }
second_up() {
  local d=$WORK/second responder=$PEER_ADDR
  [ "$role" = initiator ] || responder=$DUT_ADDR
  add_ns second slan
  veth nat in2 second wan
  veth second lan slan eth0
  in_ns nat ip addr add 198.51.101.254/24 dev in2
  host slan $SECOND_HOST/24 10.79.1.1
  data_config "$d" 10.79.1.1/24 $SECOND_ADDR/24 0.0.0.0/0 198.51.101.254
  secret_config "$d" "$PSK"
  cat >"$d/control.toml" <<-TOML
	secrets = "$d/secrets.toml"

	[control]
	socket = "$d/control.sock"

	[dataplane]
	socket = "$d/data.sock"

	[connections.second]
	remote_addrs = ["$responder"]
	proposals = [$IKE]
	local = { auth = "psk", id = "second.lab.test" }
	remote = { auth = "psk", id = "$RESPONDER_ID" }

	[connections.second.children.second]
	local_ts = ["10.79.1.0/24"]
	remote_ts = ["$RESPONDER_LAN"]
	esp_proposals = [$ESP]
	start_action = "trap"
	TOML
	gateway_up second "$d"
}
# The ports of the router's address at which the responder sees the two.
ports() {
  if [ "$role" = initiator ]; then peer_ctl --list-sas | sed -nE 's/.*@ 192\.0\.2\.254\[([0-9]+)\].*/\1/p'
  else dut sas --json | jq -r '.ike_sas[].remote_address' | sed -nE 's/^192\.0\.2\.254:([0-9]+)$/\1/p'; fi
}
two_ports() { [ "$(ports | sort -u | wc -l)" = 2 ] || fail "not two ports: $(ports | tr '\n' ' ')"; }
all_cross() {
  pings_cross && ping_all slan "$RESPONDER_HOST" || return 1
  if [ "$role" = initiator ]; then ping_all plan $SECOND_HOST; else ping_all dlan $SECOND_HOST; fi
}
as_initiator() {
  second_up && connect && ping_all slan "$RESPONDER_HOST" && two_ports && all_cross || return 1
  # One of them is replaced, the other ends: neither is the other's business.
  dut_rekeys --child net && all_cross && two_ports || return 1
  second terminate --connection second >/dev/null && pings_cross && ping_all slan "$RESPONDER_HOST" && two_ports && all_cross
}
