# shellcheck shell=bash
# peer.sh: a strongSwan peer and the network between it and the gateway under test. Sourced after scripts/lab.sh.
#
#   LAN host --- [peer: strongSwan] --- WAN, or NAT --- [dut: Culvert] --- LAN host
#   ns plan      ns peer                ns nat          ns dut             ns dlan
#   10.77.2.10   10.77.2.1 192.0.2.2                    192.0.2.1 10.77.1.1   10.77.1.10
#   fd77:2::10   fd77:2::1 2001:db8:1::2                2001:db8:1::1 fd77:1::1   fd77:1::10
#
# Both LANs have a second prefix, 10.78.2.0/24 and 10.78.1.0/24. A NAT router stands before one side: inside are 198.51.100.2 and
# 198.51.100.1, outside is 192.0.2.254.
#
# strongSwan runs ESP in user space (kernel-libipsec), so no kernel support is needed. Its version in Debian 12 always encapsulates in
# UDP, and pretends a NAT to bring the other side to do so too; plain ESP needs 6.0.1 (PEER_ROOT, made by scripts/interop/mkroot). What
# strongSwan's ESP has not, ESN and AES-GMAC among it, needs PEER_KERNEL=null: strongSwan negotiates, and scapy moves the packets, with the
# keys that strongSwan hands to what it takes for a kernel (scripts/interop/null-kernel).

# shellcheck disable=SC2034
{
PEER_LAN=10.77.2.0/24 PEER_GW=10.77.2.1 PEER_HOST=10.77.2.10 PEER_ADDR=192.0.2.2
DUT_LAN=10.77.1.0/24 DUT_GW=10.77.1.1 DUT_HOST=10.77.1.10 DUT_ADDR=192.0.2.1
PEER_LAN_B=10.78.2.0/24 PEER_GW_B=10.78.2.1 PEER_HOST_B=10.78.2.10
DUT_LAN_B=10.78.1.0/24 DUT_GW_B=10.78.1.1 DUT_HOST_B=10.78.1.10
PEER_LAN6=fd77:2::/64 PEER_GW6=fd77:2::1 PEER_HOST6=fd77:2::10 PEER_ADDR6=2001:db8:1::2
DUT_LAN6=fd77:1::/64 DUT_GW6=fd77:1::1 DUT_HOST6=fd77:1::10 DUT_ADDR6=2001:db8:1::1
# What the other side sees, and the next hop towards it.
PEER_PUBLIC=$PEER_ADDR DUT_PUBLIC=$DUT_ADDR PEER_HOP=$DUT_ADDR DUT_HOP=$PEER_ADDR
}
PSK=interop-lab-preshared-key-0123456789
PEER_ROOT=${PEER_ROOT:-}
PEER_KERNEL=${PEER_KERNEL:-libipsec}
PEER_PRELOAD=()

# place_nat dut|peer: changes the addresses for a NAT router before that side.
# shellcheck disable=SC2034
place_nat() {
  case $1 in
  dut) DUT_ADDR=198.51.100.1 DUT_PUBLIC=192.0.2.254 DUT_HOP=198.51.100.254 PEER_HOP=192.0.2.254 ;;
  peer) PEER_ADDR=198.51.100.2 PEER_PUBLIC=192.0.2.254 PEER_HOP=198.51.100.254 DUT_HOP=192.0.2.254 ;;
  *) die "a NAT stands before dut or peer, not $1" ;;
  esac
}

# topology_up [dut|peer]: the network, with a NAT before that side.
topology_up() {
  local nat=${1:-}
  add_ns peer dut plan dlan
  ipv6_on peer plan dlan
  in_ns peer sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.default.rp_filter=0 net.ipv6.conf.all.forwarding=1
  veth peer lan plan eth0
  veth dut lan dlan eth0
  case $nat in
  "") veth peer wan dut wan ;;
  dut) add_ns nat; veth nat in dut wan; veth nat out peer wan ;;
  peer) add_ns nat; veth nat in peer wan; veth nat out dut wan ;;
  esac
  case $nat in
  dut) nat_router nat "$DUT_HOP" "$PEER_HOP" "$DUT_ADDR" ;;
  peer) nat_router nat "$PEER_HOP" "$DUT_HOP" "$PEER_ADDR" ;;
  esac
  local address
  for address in $PEER_GW/24 $PEER_GW_B/24 $PEER_GW6/64; do in_ns peer ip addr add "$address" dev lan; done
  for address in "$PEER_ADDR/24" "$PEER_ADDR6/64"; do in_ns peer ip addr add "$address" dev wan; done
  [ -z "$nat" ] || in_ns peer ip route add default via "$PEER_HOP"
  host plan $PEER_HOST/24 $PEER_GW
  host plan $PEER_HOST6/64 $PEER_GW6
  in_ns plan ip addr add $PEER_HOST_B/24 dev eth0
  host dlan $DUT_HOST/24 $DUT_GW
  host dlan $DUT_HOST6/64 $DUT_GW6
  in_ns dlan ip addr add $DUT_HOST_B/24 dev eth0
}

# peer_config ROLE FILE [EXTRA]: writes strongSwan's files from a swanctl.conf with @VARIABLES@; EXTRA is appended to strongswan.conf.
peer_config() {
  local role=$1 conf=$2 extra=${3:-} dir=$WORK/peer kernel="kernel-libipsec kernel-netlink" routes=yes
  [ "$PEER_KERNEL" != null ] || kernel=kernel-netlink routes=no
  if [ -n "$PEER_ROOT" ]; then # the same path inside the root and outside
    mkdir -p "$PEER_ROOT$dir"
    ln -s "$PEER_ROOT$dir" "$dir"
  fi
  mkdir -p "$dir"/swanctl/{conf.d,x509,x509ca,x509crl,x509aa,x509ac,x509ocsp,pubkey,private,rsa,ecdsa,pkcs8,pkcs12}
  cat >"$dir/strongswan.conf" <<-EOT
	charon-systemd {
	  # kernel-libipsec before kernel-netlink; no resolve, updown, stroke, bypass-lan, connmark, farp, dhcp: they reach outside the lab
	  load = random nonce x509 revocation constraints pubkey pkcs1 pkcs8 pem openssl curve25519 gmp sha1 sha2 aes gcm chapoly hmac kdf drbg md5 ctr ccm xcbc cmac eap-identity eap-mschapv2 eap-md5 eap-tls eap-radius xauth-generic $kernel socket-default vici
	  plugins { vici { socket = unix://$dir/charon.vici } }
	  filelog { lab { path = $dir/charon.log
	    time_format = %H:%M:%S
	    flush_line = yes
	    default = 1
	    cfg = 2
	  } }
	  journal { default = -1 }
	  syslog { daemon { default = -1 } }
	  user = root
	  install_routes = $routes
	  retransmit_tries = 3
	  retransmit_timeout = 1.5
	}
	swanctl { load = pem pkcs1 x509 revocation constraints pubkey openssl random }
	EOT
  local type
  for type in ${CERTS:-}; do
    cp "$WORK/pki/ca-$type.crt" "$dir/swanctl/x509ca/"
    cp "$WORK/pki/peer-$type.crt" "$dir/swanctl/x509/"
    [ "$type" != chain ] || cp "$WORK/pki/peer-ca-chain.crt" "$dir/swanctl/x509ca/"
    install -m 600 "$WORK/pki/peer-$type.key" "$dir/swanctl/private/"
  done
  [ -z "$extra" ] || cat "$extra" >>"$dir/strongswan.conf"
  sed -e "s|@LOCAL@|peer|g; s|@REMOTE@|dut|g; s|@ROLE@|$role|g; s|@LOCAL_ADDR@|$PEER_ADDR|g; s|@REMOTE_ADDR@|$DUT_PUBLIC|g" \
    -e "s|@LOCAL_ADDR6@|$PEER_ADDR6|g; s|@REMOTE_ADDR6@|$DUT_ADDR6|g; s|@LOCAL_NET6@|$PEER_LAN6|g; s|@REMOTE_NET6@|$DUT_LAN6|g" \
    -e "s|@LOCAL_NET_B@|$PEER_LAN_B|g; s|@REMOTE_NET_B@|$DUT_LAN_B|g" \
    -e "s|@LOCAL_NET@|$PEER_LAN|g; s|@REMOTE_NET@|$DUT_LAN|g; s|@PSK@|$PSK|g" "$conf" >"$dir/swanctl/swanctl.conf"
}

# in_peer COMMAND...: run a strongSwan command in the peer's namespace, in PEER_ROOT where one is set. Ends in exec.
in_peer() {
  local dir=$WORK/peer root=()
  [ -z "$PEER_ROOT" ] || root=(chroot "$PEER_ROOT")
  exec nsenter --net="/run/netns/$(ns peer)" -- "${root[@]}" env "${PEER_PRELOAD[@]}" STRONGSWAN_CONF="$dir/strongswan.conf" SWANCTL_DIR="$dir/swanctl" "$@"
}

# peer_ctl COMMAND ARGS...: swanctl.
peer_ctl() {
  local command=$1; shift
  (in_peer /usr/sbin/swanctl "$command" --uri "unix://$WORK/peer/charon.vici" "$@")
}

# null_kernel_up: what stands in for the peer's kernel; in_peer loads its half of it with PEER_PRELOAD.
null_kernel_up() {
  local dir=$WORK/peer here=$REPO/scripts/interop/null-kernel setting
  cc -shared -fPIC -O2 -o "$dir/shim.so" "$here/shim.c"
  PEER_PRELOAD=(LD_PRELOAD="$dir/shim.so" NULL_KERNEL_SAS="$dir/sas")
  in_ns peer ip tuntap add esp0 mode tun
  in_ns peer ip link set esp0 up mtu 1400
  in_ns peer ip route add "$DUT_LAN" dev esp0
  # Policies may get into the kernel, and would want what it has not.
  for setting in disable_xfrm disable_policy; do in_ns peer sysctl -qw "net.ipv4.conf."{esp0,lan,wan}".$setting=1"; done
  spawn peer "$dir/esp.log" "$here/esp" "$dir/sas" "$PEER_ADDR"
  ESP_PID=$SPAWNED
  wait_until "$PATIENCE" grep -q ready "$dir/esp.log" || die "scapy did not start: $(cat "$dir/esp.log")"
}

peer_log() { cat "$WORK/peer/charon.log"; }

peer_up() {
  [ "$PEER_KERNEL" != null ] || null_kernel_up
  (in_peer /usr/sbin/charon-systemd) >"$WORK/peer/charon.out" 2>&1 </dev/null &
  echo $! >"$WORK/peer/charon.pid"
  LAB_PIDS+=($!)
  wait_until "$PATIENCE" test -S "$WORK/peer/charon.vici" || die "charon did not start: $(tail -n 5 "$WORK/peer/charon.out")"
  peer_ctl --load-all >"$WORK/peer/load.out" 2>&1 || die "swanctl --load-all: $(cat "$WORK/peer/load.out")"
}
