//! Ports and the gateway's own addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use packet::ethernet::MacAddress;
use packet::ipv6;

use crate::command::PortId;

/// Which side of the IPsec boundary a port is on (RFC 4301 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PortRole {
    /// Hosts that IPsec protects.
    Protected,
    /// The network it protects them from.
    Unprotected,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortInfo {
    /// Its side of the boundary.
    pub role: PortRole,
    /// Its MAC address.
    pub mac: MacAddress,
    /// The largest IP packet it sends, in octets.
    pub mtu: usize,
    /// The gateway's addresses on it.
    pub addresses: Vec<IpAddr>,
}

impl PortInfo {
    /// Its addresses that say which gateway is meant wherever they are seen: all but the link-local ones.
    pub fn global_addresses(&self) -> impl Iterator<Item = &IpAddr> {
        self.addresses.iter().filter(|address| !matches!(address, IpAddr::V6(address) if address.is_unicast_link_local()))
    }

    /// Its first link-local address: every port that speaks IPv6 has one.
    pub fn link_local(&self) -> Option<Ipv6Addr> {
        self.addresses.iter().find_map(|address| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => Some(*address),
            _ => None,
        })
    }

    /// Whether the gateway listens to this multicast address on the port: that of all nodes, or the solicited-node address of one of its own (RFC 4291
    /// section 2.8).
    pub fn listens_to(&self, group: Ipv6Addr) -> bool {
        const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
        let asks_for = |address: &IpAddr| matches!(address, IpAddr::V6(address) if ipv6::solicited_node(*address) == group);
        group == ALL_NODES || self.addresses.iter().any(asks_for)
    }
}

/// All ports, in the order of [`PortId`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    ports: Box<[PortInfo]>,
    own: Box<[IpAddr]>,
    /// Those of unprotected ports, by version.
    outer_v4: Box<[Ipv4Addr]>,
    outer_v6: Box<[Ipv6Addr]>,
}

impl Ports {
    /// The ports; the first one is `PortId(0)`.
    pub fn new(ports: Vec<PortInfo>) -> Self {
        let own = ports.iter().flat_map(PortInfo::global_addresses).copied().collect();
        let (mut outer_v4, mut outer_v6) = (Vec::new(), Vec::new());
        for address in ports.iter().filter(|port| port.role == PortRole::Unprotected).flat_map(PortInfo::global_addresses) {
            match *address {
                IpAddr::V4(address) => outer_v4.push(address),
                IpAddr::V6(address) => outer_v6.push(address),
            }
        }
        Self { ports: ports.into_boxed_slice(), own, outer_v4: outer_v4.into_boxed_slice(), outer_v6: outer_v6.into_boxed_slice() }
    }

    /// The port of this number.
    #[inline]
    pub fn port(&self, id: PortId) -> Option<&PortInfo> {
        self.ports.get(usize::from(id.0))
    }

    /// Whether the address is one of the gateway's, on whatever port (RFC 1122 section 3.3.4.2, weak host model).
    #[inline]
    pub fn is_own(&self, address: IpAddr) -> bool {
        self.own.contains(&address)
    }

    /// Whether the address is one of the gateway's on an unprotected port: where peers reach it without the SPD being asked. The other
    /// addresses of the gateway lie inside the IPsec boundary, like the hosts it protects (RFC 4301 section 3.1).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "of whichever version the address is, half of it is left")]
    pub fn is_own_outer(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.outer_v4.contains(&address),
            IpAddr::V6(address) => self.outer_v6.contains(&address),
        }
    }
}
