# shellcheck shell=bash
# lab.sh: functions for scripts that build a small network of namespaces and run gateways in it. Sourced, not run.
#
# Every namespace is called $LAB-NAME; LAB is unique to the process. lab_down, on every exit path, ends the processes that were
# started here (by pid) and removes the namespaces and $WORK.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB=${LAB:-cv$$}
LAB_PIDS=()
LAB_NAMESPACES=()
# Seconds that anything may take, however slow and busy the machine is. What takes longer does not happen.
PATIENCE=${PATIENCE:-60}

die() { echo "error: $*" >&2; exit 1; }

ns() { echo "$LAB-$1"; }
# in_ns NAME COMMAND...: run a command in a namespace. nsenter and not "ip netns exec", which mounts and so fails in a plain chroot.
in_ns() { local name=$1; shift; nsenter --net="/run/netns/$(ns "$name")" -- "$@"; }

lab_init() {
  [ "$(id -u)" = 0 ] || die "network namespaces need root"
  WORK=$(mktemp -d "${TMPDIR:-/tmp}/culvert.XXXXXX")
  trap lab_down EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
}

lab_down() {
  local rc=$? i name
  trap - EXIT
  # The last started first: gateways before the captures that watch them.
  for ((i = ${#LAB_PIDS[@]} - 1; i >= 0; i--)); do stop_pid "${LAB_PIDS[i]}"; done
  for name in "${LAB_NAMESPACES[@]}"; do
    # Helpers of a step that was cut off: everything in these namespaces was started here.
    ip netns pids "$(ns "$name")" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
    ip netns del "$(ns "$name")" 2>/dev/null || true
  done
  [ -z "${PEER_ROOT:-}" ] || rm -rf "${PEER_ROOT:?}$WORK"
  if [ "${KEEP:-0}" = 1 ]; then echo "kept: $WORK" >&2; else rm -rf "$WORK"; fi
  exit "$rc"
}

# spawn NAME LOG COMMAND...: start a process in a namespace, in the background; its pid is in SPAWNED.
spawn() {
  local name=$1 log=$2; shift 2
  # nsenter becomes the command, so its pid is the command's.
  nsenter --net="/run/netns/$(ns "$name")" -- "$@" >"$log" 2>&1 </dev/null &
  SPAWNED=$!
  LAB_PIDS+=("$SPAWNED")
}

# stop_pid PID: TERM, then KILL after 5 s.
stop_pid() {
  local i
  [ "$1" != 0 ] || return 0
  kill "$1" 2>/dev/null || return 0
  for ((i = 0; i < 50; i++)); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# plane_ends DIR data|control SIGNAL: ends one plane of the gateway with that folder. KILL is what a crash does: its socket stays behind.
plane_ends() {
  local pid i
  pid=$(cat "$1/$2.pid")
  kill "-$3" "$pid"
  wait "$pid" 2>/dev/null || true
  # Its number may be another's soon.
  for i in "${!LAB_PIDS[@]}"; do [ "${LAB_PIDS[i]}" != "$pid" ] || LAB_PIDS[i]=0; done
}

# kill_pid PID: KILL, without a word from the shell.
kill_pid() {
  kill -9 "$1"
  wait "$1" 2>/dev/null || true
}

# wait_until SECONDS COMMAND...: until the command succeeds.
wait_until() {
  local tries=$(($1 * 10)) i; shift
  for ((i = 0; i < tries; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
  return 1
}

# add_ns NAME...: namespaces without kernel forwarding, and without IPv6 until ipv6_on.
add_ns() {
  local name
  for name in "$@"; do
    ip netns add "$(ns "$name")"
    LAB_NAMESPACES+=("$name")
    in_ns "$name" ip link set lo up
    in_ns "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
  done
}

# ipv6_on NAME...: IPv6 in namespaces, for interfaces that come later. Addresses are usable at once: nobody else can have them here.
ipv6_on() {
  local name
  for name in "$@"; do
    in_ns "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0 \
      net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0
  done
}

# veth NS1 IF1 NS2 IF2: a cable. Offloads are off, because a data plane in user space needs whole, checksummed packets.
veth() {
  ip link add "$2" netns "$(ns "$1")" type veth peer name "$4" netns "$(ns "$3")"
  local name interface
  for name in "$1 $2" "$3 $4"; do
    interface=${name#* } name=${name% *}
    in_ns "$name" ip link set "$interface" up
    in_ns "$name" ethtool -K "$interface" tx off rx off tso off gso off gro off >/dev/null 2>&1
  done
}

# host NAME ADDRESS/LEN GATEWAY: addresses the host behind a gateway, IPv4 or IPv6; its interface is eth0.
host() {
  in_ns "$1" ip addr add "$2" dev eth0
  case $2 in
  *:*) in_ns "$1" ip -6 route add default via "$3" ;;
  *) in_ns "$1" ip route add default via "$3" ;;
  esac
}

# nat_router NAME INSIDE_ADDRESS OUTSIDE_ADDRESS SERVER: a router with interfaces in and out. What leaves has its address, and ports that
# it draws at random; IKE and ESP in UDP from outside go to SERVER.
nat_router() {
  in_ns "$1" ip addr add "$2/24" dev in
  in_ns "$1" ip addr add "$3/24" dev out
  in_ns "$1" sysctl -qw net.ipv4.ip_forward=1
  in_ns "$1" nft -f - <<-NFT
	table ip lab {
	  chain post { type nat hook postrouting priority 100; oifname "out" masquerade random; }
	  chain pre { type nat hook prerouting priority -100; iifname "out" udp dport { 500, 4500 } dnat to $4; }
	}
	NFT
}

# find_binaries: BIN is the folder with culvert, culvert-control and culvert-data. CULVERT_BIN overrides.
find_binaries() {
  BIN=${CULVERT_BIN:-${CARGO_TARGET_DIR:-$REPO/target}/${CULVERT_PROFILE:-release}}
  local name
  for name in culvert culvert-control culvert-data; do
    [ -x "$BIN/$name" ] || die "$BIN/$name is not built; run: cargo build --profile ${CULVERT_PROFILE:-release}"
  done
}

# gateway_up NAME DIR: start data and control plane in namespace NAME with DIR/data.toml and DIR/control.toml. The ports are its
# interfaces lan and wan, which have no addresses in the kernel: the data plane answers for them. Without qdisc_bypass=0
# the kernel would hide from captures what a gateway sends. LAB_RINGS: more arguments of net_af_packet, for the rings of both ports. LAB_DRIVER=pcap:
# net_pcap instead. LAB_LAN_MTU, LAB_WAN_MTU: octets that a port sends. LAB_DATA_LOG: what the data plane logs, info if not said.
gateway_up() {
  data_up "$1" "$2"
  control_up "$1" "$2"
}

data_up() {
  local name=$1 dir=$2 devices
  case ${LAB_DRIVER:-af_packet} in
  pcap) devices=(--vdev="net_pcap0,rx_iface_in=lan,tx_iface=lan" --vdev="net_pcap1,rx_iface_in=wan,tx_iface=wan") ;;
  *) devices=(--vdev="net_af_packet0,iface=lan${LAB_RINGS:+,$LAB_RINGS}"
    --vdev="net_af_packet1,iface=wan,qdisc_bypass=0${LAB_RINGS:+,$LAB_RINGS}") ;;
  esac
  spawn "$name" "$dir/data.log" "$BIN/culvert-data" --config "$dir/data.toml" --log "${LAB_DATA_LOG:-info}" -- \
    --no-huge -m 256 --no-shconf --no-pci --no-telemetry "${devices[@]}"
  echo "$SPAWNED" >"$dir/data.pid"
  wait_until "$PATIENCE" test -S "$dir/data.sock" || { tail -n 20 "$dir/data.log" >&2; die "the data plane of $name did not start"; }
}

control_up() {
  local name=$1 dir=$2
  spawn "$name" "$dir/control.log" "$BIN/culvert-control" --config "$dir/control.toml"
  echo "$SPAWNED" >"$dir/control.pid"
  wait_until "$PATIENCE" gateway_ready "$dir" || { tail -n 20 "$dir/control.log" "$dir/data.log" >&2; die "the control plane of $name did not start"; }
}

gateway_ready() { culvert "$1" version --json | jq -e '.data_plane' >/dev/null; }

# culvert DIR ARGS...: the operator's command on the gateway with that folder.
culvert() { local dir=$1; shift; "$BIN/culvert" --socket "$dir/control.sock" "$@"; }

# data_config DIR PROTECTED UNPROTECTED [PREFIX NEXT_HOP]...: writes DIR/data.toml. PROTECTED and UNPROTECTED are the addresses of
# the two ports, IPv4 and IPv6, each ADDRESS/LEN, with spaces in between.
data_config() {
  local dir=$1 protected=$2 unprotected=$3; shift 3
  mkdir -p "$dir"
  cat >"$dir/data.toml" <<-TOML
	socket = "$dir/data.sock"
	workers = [0]
	idle = "adaptive"

	[[port]]
	name = "net_${LAB_DRIVER:-af_packet}0"
	role = "protected"
	addresses = [$(texts "$protected")]
	mtu = ${LAB_LAN_MTU:-1500}

	[[port]]
	name = "net_${LAB_DRIVER:-af_packet}1"
	role = "unprotected"
	addresses = [$(texts "$unprotected")]
	mtu = ${LAB_WAN_MTU:-1500}
	TOML
  while [ $# -ge 2 ]; do
    printf '\n[[route]]\nprefix = "%s"\nvia = "%s"\n' "$1" "$2" >>"$dir/data.toml"
    shift 2
  done
}

# texts "WORD WORD...": the words as elements of a list of TOML.
texts() {
  local word separator=""
  for word in $1; do printf '%s"%s"' "$separator" "$word"; separator=", "; done
}

# secret_config DIR KEY: writes DIR/secrets.toml, which nobody else may read.
secret_config() {
  (umask 077; printf '[ike.lab]\nsecret = "%s"\n' "$2" >"$1/secrets.toml")
}
