//! Two gateways and the tunnels between them, as the tables of workers in this process: what a server makes of policies and Child SAs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use culvert_data::command::{InstalledSa, PortId, Quota, SaState, WorkerId};
use culvert_data::table::{Neighbors, NextHop, PolicySlot, PortInfo, PortRole, Ports, Route, Routes, SaSlot, Snapshot, Spd};
use esp::{DontFragment, Ends, InboundSa, OutboundSa, SaKey, Selectors, Template, Tunnel, UdpPorts, WindowSize, seal};
use ipsec_types::{
    AddressRange, ChildSaId, DscpSet, EncryptionAlgorithm, Policy, PolicyAction, PolicyId, Secret, SequenceNumbers, Spi, Tfc,
    TrafficSelector,
};
use packet::ethernet::MacAddress;
use packet::{Buffer, VecBuffer};

use crate::error::{Context, Failure};
use crate::traffic::{self, Link};

/// Whoever sends to a gateway and takes what it sends.
pub(crate) const NEIGHBOR_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 0xee]);
/// Slots for policies and SAs of a gateway.
pub(crate) const SLOTS: usize = 256;

/// One of the two gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Site {
    Here = 1,
    There = 2,
}

impl Site {
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Here => Self::There,
            Self::There => Self::Here,
        }
    }

    fn outer(self, ipv6: bool) -> IpAddr {
        if ipv6 { Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, self as u16).into() } else { Ipv4Addr::new(192, 0, 2, self as u8).into() }
    }

    /// The router behind which the site's hosts are.
    fn router(self, ipv6: bool) -> IpAddr {
        if ipv6 { Ipv6Addr::new(0xfd00, self as u16, 0, 0, 0, 0, 0, 1).into() } else { Ipv4Addr::new(10, self as u8, 255, 254).into() }
    }
}

/// A port of a gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SitePort {
    pub(crate) role: PortRole,
    pub(crate) mac: MacAddress,
}

/// A tunnel between the two sites.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connection {
    /// Less than [`SLOTS`].
    pub(crate) number: u8,
    pub(crate) ipv6: bool,
    /// ESP in UDP.
    pub(crate) udp: bool,
    pub(crate) numbers: SequenceNumbers,
    pub(crate) window: u32,
}

impl Connection {
    /// Over IPv4, without UDP.
    pub(crate) const fn plain(number: u8, window: u32) -> Self {
        Self { number, ipv6: false, udp: false, numbers: SequenceNumbers::Standard, window }
    }

    pub(crate) fn slot(&self) -> Result<SaSlot, Failure> {
        SaSlot::new(self.number.into()).context("slot")
    }

    pub(crate) fn policy_slot(&self) -> PolicySlot {
        PolicySlot(self.number.into())
    }

    /// The SPI of packets towards a site.
    fn spi(&self, to: Site) -> Result<Spi, Failure> {
        self.slot()?.spi(to as u16).context("SPI")
    }

    fn key(&self, to: Site) -> Result<SaKey, Failure> {
        let keymat = [[to as u8; 4], [self.number; 4]].concat().repeat(3);
        let keymat = keymat.get(..20).unwrap_or_default().to_vec();
        SaKey::from_keymat(EncryptionAlgorithm::AesGcm128, &Secret::new(keymat)).context("key")
    }

    /// A host behind a site.
    pub(crate) fn host(&self, site: Site) -> IpAddr {
        if self.ipv6 {
            Ipv6Addr::new(0xfd00, site as u16, self.number.into(), 0, 0, 0, 0, 2).into()
        } else {
            Ipv4Addr::new(10, site as u8, self.number, 2).into()
        }
    }

    fn selector(&self, site: Site) -> Result<TrafficSelector, Failure> {
        let range = AddressRange::prefix(self.host(site), if self.ipv6 { 64 } else { 24 }).context("prefix")?;
        Ok(TrafficSelector::addresses_only(range))
    }

    fn policy(&self, site: Site) -> Result<Policy, Failure> {
        Ok(Policy {
            id: PolicyId(u32::from(self.number) + 1),
            name: format!("tunnel {}", self.number),
            priority: u32::from(self.number),
            action: PolicyAction::Protect,
            local: vec![self.selector(site)?],
            remote: vec![self.selector(site.other())?],
            dscp: DscpSet::ALL,
        })
    }

    /// The tunnel as a sender sees it.
    pub(crate) fn tunnel(&self, from: Site) -> Result<Tunnel, Failure> {
        Ok(Tunnel {
            ends: Ends::new(from.outer(self.ipv6), from.other().outer(self.ipv6)).context("ends")?,
            udp: self.udp.then_some(UdpPorts { source: 4500, destination: 4500 }),
            dont_fragment: DontFragment::Copy,
            copy_dscp: true,
        })
    }

    /// What a site sends with.
    pub(crate) fn outbound(&self, from: Site) -> Result<OutboundSa, Failure> {
        Ok(OutboundSa::new(self.spi(from.other())?, self.key(from.other())?, self.numbers))
    }

    /// What a site receives with.
    pub(crate) fn inbound(&self, site: Site) -> Result<InboundSa, Failure> {
        let selectors = Selectors::new(vec![self.selector(site.other())?], vec![self.selector(site)?]);
        let window = WindowSize::new(self.window).context("window")?;
        Ok(InboundSa::new(self.spi(site)?, self.key(site)?, self.numbers, window, selectors))
    }

    /// Both halves, as a site installs them.
    pub(crate) fn installed(&self, site: Site, owner: WorkerId) -> Result<InstalledSa, Failure> {
        Ok(InstalledSa {
            id: ChildSaId(u64::from(self.number) + 1),
            slot: self.slot()?,
            policy: self.policy_slot(),
            owner,
            inbound: self.inbound(site)?,
            outbound: self.outbound(site)?,
            outbound_selectors: Selectors::new(vec![self.selector(site)?], vec![self.selector(site.other())?]),
            tfc: Tfc::default(),
            state: SaState::new(true, Quota::UNLIMITED),
        })
    }

    /// A UDP packet of `len` octets from a host to the one at the other site, as a flow of its own.
    pub(crate) fn packet(&self, from: Site, flow: u16, len: usize) -> Result<Vec<u8>, Failure> {
        traffic::udp_packet(self.host(from), self.host(from.other()), 10_000 + flow, len).context("length")
    }

    /// The packet as a site puts it on the wire.
    pub(crate) fn sealed(&self, from: Site, sa: &OutboundSa, packet: &[u8]) -> Result<Vec<u8>, Failure> {
        let (mut buffer, template) = (VecBuffer::from_packet(packet), Template::new(sa, &self.tunnel(from)?));
        let plan = seal::parse_and_prepare(sa.take_one().context("sequence number")?, &template, &mut buffer).context("ESP")?;
        esp_crypto::seal_burst(&mut [plan.job(&mut buffer).context("ESP: the packet changed under its plan")?]);
        seal::finish(&template, &mut buffer).context("ESP: the packet changed under the cipher")?;
        Ok(buffer.bytes().to_vec())
    }
}

/// A packet in a frame to a port.
pub(crate) fn frame(to: MacAddress, packet: &[u8]) -> Vec<u8> {
    Link { source: NEIGHBOR_MAC, destination: to }.frame(packet)
}

/// Everything but SAs, for a gateway with these ports: its hosts are behind the first protected one, its peer behind the first other one.
pub(crate) fn snapshot(site: Site, ports: &[SitePort], connections: &[Connection]) -> Result<Snapshot, Failure> {
    let place = |role| {
        let found = (0..).zip(ports).find(|(_, port)| port.role == role);
        found.map(|(place, _)| PortId(place)).context("a gateway has a port on either side")
    };
    let (protected, unprotected) = (place(PortRole::Protected)?, place(PortRole::Unprotected)?);
    let infos = ports.iter().map(|port| PortInfo {
        role: port.role,
        mac: port.mac,
        mtu: 1500,
        addresses: match port.role {
            PortRole::Protected => vec![Ipv4Addr::new(10, site as u8, 255, 1).into()],
            PortRole::Unprotected => [false, true].map(|ipv6| site.outer(ipv6)).to_vec(),
        },
    });
    let route = |destination: IpAddr, prefix, gateway, port| Route { destination, prefix, gateway, port };
    let families = [(false, 16, 24), (true, 32, 64)];
    let routes = families.iter().flat_map(|&(ipv6, inner, outer)| {
        let router = site.router(ipv6);
        [route(router, inner, Some(router), protected), route(site.outer(ipv6), outer, None, unprotected)]
    });
    let neighbors = families.iter().flat_map(|&(ipv6, _, _)| {
        let hop = |port, address| (NextHop { port, address }, NEIGHBOR_MAC);
        [hop(protected, site.router(ipv6)), hop(unprotected, site.other().outer(ipv6))]
    });
    let policies: Vec<_> =
        connections.iter().map(|connection| Ok((connection.policy_slot(), connection.policy(site)?))).collect::<Result<_, Failure>>()?;
    Ok(Snapshot {
        spd: Some(Arc::new(Spd::new(policies))),
        ports: Arc::new(Ports::new(infos.collect())),
        routes: Arc::new(Routes::new(routes.collect())),
        neighbors: Arc::new(Neighbors::new(neighbors)),
    })
}
