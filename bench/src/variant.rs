//! What packets look like inside and outside of a tunnel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use culvert_proto::dataplane::v1::TrafficSelector;
use esp::{DontFragment, Ends, Tunnel, UdpPorts};
use serde::Serialize;

use crate::error::{Context, Failure};
use crate::gateway::{GATEWAY, PEER};

/// The port of ESP in UDP (RFC 3948).
pub(crate) const PORT: u16 = 4500;

/// IP versions and encapsulation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Variant {
    /// IPv4 in ESP over IPv4.
    Plain,
    /// IPv4 in ESP in UDP over IPv4.
    Udp,
    /// IPv6 in ESP over IPv6.
    V6,
}

impl Variant {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Udp => "udp",
            Self::V6 => "v6",
        }
    }

    const fn is_ipv6(self) -> bool {
        matches!(self, Self::V6)
    }

    pub(crate) const fn is_in_udp(self) -> bool {
        matches!(self, Self::Udp)
    }

    /// The gateway's outer address.
    pub(crate) const fn gateway(self) -> IpAddr {
        if self.is_ipv6() { IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)) } else { IpAddr::V4(GATEWAY) }
    }

    /// Its peer's.
    pub(crate) const fn peer(self) -> IpAddr {
        if self.is_ipv6() { IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2)) } else { IpAddr::V4(PEER) }
    }

    /// The gateway's inner address.
    pub(crate) const fn inside(self) -> IpAddr {
        self.behind(1, 1)
    }

    /// A host behind the gateway.
    pub(crate) const fn local_host(self) -> IpAddr {
        self.behind(1, 2)
    }

    /// A host behind its peer.
    pub(crate) const fn remote_host(self) -> IpAddr {
        self.behind(2, 2)
    }

    const fn behind(self, site: u8, host: u8) -> IpAddr {
        if self.is_ipv6() {
            IpAddr::V6(Ipv6Addr::new(0xfd00, site as u16, 0, 0, 0, 0, 0, host as u16))
        } else {
            IpAddr::V4(Ipv4Addr::new(10, site, 0, host))
        }
    }

    /// Prefix lengths of the gateway's inner and outer network.
    pub(crate) const fn prefixes(self) -> [u8; 2] {
        if self.is_ipv6() { [32, 64] } else { [16, 24] }
    }

    /// All hosts behind the gateway, and all behind its peer.
    pub(crate) fn selectors(self) -> [TrafficSelector; 2] {
        [self.local_host(), self.remote_host()].map(|host| {
            let (first_address, last_address) = match host {
                IpAddr::V4(host) => {
                    let [a, b, ..] = host.octets();
                    (vec![a, b, 0, 0], vec![a, b, 255, 255])
                }
                IpAddr::V6(host) => {
                    let [a, b, c, d, ..] = host.octets();
                    let net = |rest: u8| [vec![a, b, c, d], vec![rest; 12]].concat();
                    (net(0), net(255))
                }
            };
            TrafficSelector { first_address, last_address, protocol: 0, first_port: 0, last_port: 65_535 }
        })
    }

    /// The tunnel as the peer sees it.
    pub(crate) fn peers_tunnel(self) -> Result<Tunnel, Failure> {
        Ok(Tunnel {
            ends: Ends::new(self.peer(), self.gateway()).context("ends")?,
            udp: self.is_in_udp().then_some(UdpPorts { source: PORT, destination: PORT }),
            dont_fragment: DontFragment::Copy,
            copy_dscp: true,
        })
    }
}

/// The octets of an address, as the protocol has them.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}
