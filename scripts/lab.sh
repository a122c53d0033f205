# shellcheck shell=bash
# lab.sh: functions for scripts that build a small network of namespaces and run gateways in it. Sourced, not run.
#
# Every namespace is called $LAB-NAME; LAB is unique to the process. lab_down, on every exit path, ends the processes that were
# started here (by pid) and removes the namespaces and $WORK.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
LAB=${LAB:-cv$$}
LAB_PIDS=()
LAB_NAMESPACES=()

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
  for name in "${LAB_NAMESPACES[@]}"; do ip netns del "$(ns "$name")" 2>/dev/null || true; done
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
  kill "$1" 2>/dev/null || return 0
  for ((i = 0; i < 50; i++)); do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

# wait_until SECONDS COMMAND...: until the command succeeds.
wait_until() {
  local tries=$(($1 * 10)) i; shift
  for ((i = 0; i < tries; i++)); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
  return 1
}

# add_ns NAME...: namespaces without IPv6 and without kernel forwarding.
add_ns() {
  local name
  for name in "$@"; do
    ip netns add "$(ns "$name")"
    LAB_NAMESPACES+=("$name")
    in_ns "$name" ip link set lo up
    in_ns "$name" sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
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

# host NAME ADDRESS/LEN GATEWAY: addresses the host behind a gateway; its interface is eth0.
host() {
  in_ns "$1" ip addr add "$2" dev eth0
  in_ns "$1" ip route add default via "$3"
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
# the kernel would hide from captures what a gateway sends.
gateway_up() {
  local name=$1 dir=$2
  spawn "$name" "$dir/data.log" "$BIN/culvert-data" --config "$dir/data.toml" -- \
    --no-huge -m 256 --no-shconf --no-pci --no-telemetry --vdev=net_af_packet0,iface=lan --vdev=net_af_packet1,iface=wan,qdisc_bypass=0
  echo "$SPAWNED" >"$dir/data.pid"
  wait_until 20 test -S "$dir/data.sock" || { tail -n 20 "$dir/data.log" >&2; die "the data plane of $name did not start"; }
  spawn "$name" "$dir/control.log" "$BIN/culvert-control" --config "$dir/control.toml"
  echo "$SPAWNED" >"$dir/control.pid"
  wait_until 20 gateway_ready "$dir" || { tail -n 20 "$dir/control.log" "$dir/data.log" >&2; die "the control plane of $name did not start"; }
}

gateway_ready() { culvert "$1" version --json | jq -e '.data_plane' >/dev/null; }

# culvert DIR ARGS...: the operator's command on the gateway with that folder.
culvert() { local dir=$1; shift; "$BIN/culvert" --socket "$dir/control.sock" "$@"; }

# data_config DIR PROTECTED_ADDRESS UNPROTECTED_ADDRESS [PREFIX NEXT_HOP]: writes DIR/data.toml.
data_config() {
  local dir=$1
  mkdir -p "$dir"
  cat >"$dir/data.toml" <<-TOML
	socket = "$dir/data.sock"
	workers = [0]
	idle = "adaptive"

	[[port]]
	name = "net_af_packet0"
	role = "protected"
	addresses = ["$2"]

	[[port]]
	name = "net_af_packet1"
	role = "unprotected"
	addresses = ["$3"]

	[[route]]
	prefix = "$4"
	via = "$5"
	TOML
}

# secret DIR KEY: writes DIR/secrets.toml, which nobody else may read.
secret_config() {
  (umask 077; printf '[ike.lab]\nsecret = "%s"\n' "$2" >"$1/secrets.toml")
}
