//! The network: the gateway in a namespace of its own, and everybody else in another.

use std::path::Path;
use std::process::{Command, id};
use std::sync::atomic::{AtomicU32, Ordering};

use super::guardian::Guardian;
use super::process::in_namespace;
use super::{HOST6, PEER6};

/// Two namespaces, joined by two cables whose ends are called `lan` and `wan` on both sides. The kernel has no addresses there and is silent,
/// but for IPv6 where that is wanted.
#[derive(Debug)]
pub(crate) struct Network {
    /// Where the gateway runs.
    pub(crate) gateway: String,
    /// Where its hosts and its peer are.
    pub(crate) outside: String,
    _guardian: Guardian,
}

impl Network {
    /// Builds it; with `ipv6`, the kernel outside is a host and a peer. What is in `folder` goes away with it.
    pub(crate) fn new(folder: &Path, ipv6: bool, mtu: u16) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        assert!(rustix::process::geteuid().is_root(), "these tests make network namespaces: run them as root");
        let name = format!("culvert-{}-{}", id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (gateway, outside) = (format!("{name}-gateway"), format!("{name}-outside"));
        let end = |namespace: &str| {
            format!("ip netns pids {namespace} 2>/dev/null | xargs -r kill -9 2>/dev/null; ip netns delete {namespace} 2>/dev/null;")
        };
        let guardian = Guardian::new(&(end(&gateway) + &end(&outside) + &format!("rm -rf '{}'", folder.display())));
        let network = Self { gateway, outside, _guardian: guardian };
        network.build(ipv6, mtu);
        network
    }

    /// Lets both cables carry longer frames than the gateway sends.
    pub(crate) fn widen(&self, mtu: u16) {
        let ends = [&self.gateway, &self.outside].into_iter().flat_map(|namespace| [(namespace, "lan"), (namespace, "wan")]);
        for (namespace, link) in ends {
            let status = in_namespace(namespace).args(["ip", "link", "set", link, "mtu", &mtu.to_string()]).status().unwrap();
            assert!(status.success(), "{namespace} {link}");
        }
    }

    fn build(&self, ipv6: bool, mtu: u16) {
        let Self { gateway, outside, .. } = self;
        // Offloads are off: a data plane in user space needs whole packets with checksums.
        let script = format!(
            "set -e
            for ns in {gateway} {outside}; do
                ip netns add $ns
                nsenter --net=/run/netns/$ns -- sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
            done
            for link in lan wan; do
                ip link add $link netns {gateway} type veth peer name $link netns {outside}
                for ns in {gateway} {outside}; do
                    nsenter --net=/run/netns/$ns -- ip link set $link mtu {mtu} up
                    nsenter --net=/run/netns/$ns -- ethtool -K $link tx off rx off tso off gso off gro off >/dev/null 2>&1
                done
            done"
        );
        let hosts = format!(
            "
            nsenter --net=/run/netns/{outside} -- sysctl -qw net.ipv6.conf.all.disable_ipv6=0
            nsenter --net=/run/netns/{outside} -- ip -6 address add {HOST6}/64 dev lan nodad
            nsenter --net=/run/netns/{outside} -- ip -6 address add {PEER6}/64 dev wan nodad"
        );
        let script = if ipv6 { script + &hosts } else { script };
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "no network: {}", String::from_utf8_lossy(&output.stderr));
    }
}
