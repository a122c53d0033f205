//! What comes from the network by way of the workers: notices, punted IKE, ARP and ICMP; and what goes back.

use std::net::{IpAddr, Ipv4Addr};

use culvert_proto::convert;
use culvert_proto::dataplane::v1;
use ipsec_types::{ChildSaId, Dscp, Mode, PolicyAction};
use packet::ip::Ip;
use packet::{ethernet, ipv4};
use tokio::sync::mpsc::error::TrySendError;

use crate::command::{Frame, Notice, Origin, PortId, PuntClass, Refusal, Via};
use crate::config::InterfaceAddress;
use crate::fragmentation;
use crate::neighbor::Resolution;
use crate::punt::{self, Punted};
use crate::server::core::{Core, ServedPort};
use crate::slow_path::{self, Meaning};
use crate::table::{NextHop, PortRole};

/// Notices and punted packets that one poll takes from a worker: the server stays responsive under a flood.
const BATCH: usize = 64;
/// A peer is reported for unknown SPIs once in this time.
const SPI_MISS_MS: u64 = 1000;
/// Peers remembered for that.
const SPI_MISS_PEERS: usize = 1024;

impl Core {
    /// Sends IKE datagrams of the control plane. One that cannot be sent is counted and logged; IKE retransmits.
    pub fn send_datagrams(&mut self, datagrams: &[v1::Datagram]) {
        for datagram in datagrams {
            let identification = self.next_identification();
            let ports = &self.snapshot.ports;
            match punt::to_packet(datagram, |address| ports.is_own(address), identification) {
                Ok(packet) => {
                    let mtu = self.mtu_towards(&packet);
                    self.counters.ike_sent += u64::from(self.transmit_cut(Via::Route, &[], packet, mtu, identification));
                }
                Err(error) => self.refuse_datagram(&error),
            }
        }
    }

    /// Sends NAT-keepalives of the control plane. One that is lost is followed by the next.
    pub fn send_keep_alives(&mut self, all: &[v1::Datagram]) {
        for ends in all {
            let identification = self.next_identification();
            let ports = &self.snapshot.ports;
            match punt::keep_alive(ends, |address| ports.is_own(address), identification) {
                Ok(packet) => self.counters.nat_keepalives_sent += u64::from(self.transmit(Via::Route, packet)),
                Err(error) => self.refuse_datagram(&error),
            }
        }
    }

    fn refuse_datagram(&mut self, error: &punt::SendError) {
        self.counters.ike_refused += 1;
        tracing::debug!(%error, "IKE datagram not sent");
    }

    pub(super) fn take_notices(&mut self) -> bool {
        let notices = self.workers.notices(BATCH);
        let busy = !notices.is_empty();
        for (_, notice) in notices {
            self.on_notice(notice);
        }
        busy
    }

    pub(super) fn take_punts(&mut self) -> bool {
        let mut datagrams = Vec::new();
        let (mut malformed, mut count) = (0, 0);
        for class in [PuntClass::IkeSession, PuntClass::IkeInit] {
            count += self.workers.punted(class, BATCH, |frame| match punt::sort(frame.origin(), frame.bytes()) {
                Punted::Ike(datagram) => datagrams.push(datagram),
                Punted::MalformedIke | Punted::Ipsec | Punted::Other => malformed += 1,
            });
        }
        self.counters.ike_malformed += malformed;
        if !datagrams.is_empty() {
            self.deliver(datagrams);
        }
        let mut frames = Vec::new();
        for class in [PuntClass::SlowPath, PuntClass::Refused] {
            count += self.workers.punted(class, BATCH, |frame| frames.push((frame.origin(), frame.bytes().to_vec())));
        }
        for (origin, bytes) in frames {
            self.on_slow_path(origin, &bytes);
        }
        count += self.take_fragments(BATCH);
        count > 0
    }

    /// Asks for neighbours that are due, and tells the workers what was learnt.
    pub(super) fn resolve_neighbors(&mut self) {
        let mut due = Vec::new();
        self.neighbors.poll(self.now_ms, |hop| due.push(hop));
        for hop in due {
            self.request(hop);
        }
        if !self.workers.is_backlogged()
            && let Some(neighbors) = self.neighbors.changes()
        {
            self.snapshot.neighbors = neighbors.into();
            let _published = self.publish();
        }
    }

    pub(super) fn deliver(&mut self, datagrams: Vec<v1::Datagram>) {
        let count = datagrams.len() as u64;
        let Some(punt) = &self.punt else {
            self.counters.ike_without_controller += count;
            return;
        };
        match punt.try_send(Ok(v1::PuntResponse { datagrams })) {
            Ok(()) => self.counters.ike_received += count,
            Err(TrySendError::Full(_)) => self.counters.ike_overflow += count,
            Err(TrySendError::Closed(_)) => {
                self.counters.ike_without_controller += count;
                self.punt = None;
            }
        }
    }

    fn on_notice(&mut self, notice: Notice) {
        match notice {
            Notice::Acquire { policy, slot, flow } => {
                // It may be older than the policies in force.
                if !self.policies.protects(policy) || self.slots.slot(policy) != Some(slot) {
                    return;
                }
                if self.acquires.repeat(policy, self.now_ms) {
                    return;
                }
                // A notice may cross with the Install that serves it.
                let serves = |e: &&super::sad::Entry| e.sa.state.is_active() && e.remove_ms.is_none();
                if !self.sad.of_policy(policy).filter(serves).any(|entry| entry.sa.outbound_selectors.permits(&flow)) {
                    self.acquires.ask(policy, slot, flow, self.now_ms);
                }
            }
            Notice::NeighborMiss { port, address } => self.on_neighbor_miss(NextHop { port, address }),
            Notice::Activated(id) => {
                // The outbound half of one that is retired is in no table any more.
                if self.sad.entry(id).is_some_and(|entry| entry.remove_ms.is_none()) {
                    self.activate(id);
                }
            }
            Notice::PeerMoved { child_sa, address, port } => self.emit(v1::event::Event::PeerMoved(v1::PeerMoved {
                child_sa: child_sa.0,
                remote_address: convert::address_octets(address),
                remote_port: port.unwrap_or(0).into(),
            })),
            Notice::SpiMiss { spi, local, remote } => self.on_spi_miss(spi, local, remote),
            Notice::Spent(id) => self.expire_hard(id),
        }
    }

    fn on_spi_miss(&mut self, spi: u32, local: IpAddr, remote: IpAddr) {
        let now_ms = self.now_ms;
        let recent = |at: &u64| now_ms.saturating_sub(*at) < SPI_MISS_MS;
        if self.spi_misses.get(&remote).is_some_and(recent) {
            return;
        }
        if self.spi_misses.len() >= SPI_MISS_PEERS {
            self.spi_misses.retain(|_, at| recent(at));
        }
        if self.spi_misses.len() < SPI_MISS_PEERS {
            self.spi_misses.insert(remote, now_ms);
            self.emit(v1::event::Event::SpiMiss(v1::SpiMiss {
                spi,
                local_address: convert::address_octets(local),
                remote_address: convert::address_octets(remote),
            }));
        }
    }

    fn on_neighbor_miss(&mut self, hop: NextHop) {
        match self.neighbors.resolve(hop, self.now_ms) {
            Resolution::Full => self.counters.neighbor_table_full += 1,
            Resolution::Pending | Resolution::Known(_) => {}
        }
    }

    pub(super) fn on_slow_path(&mut self, origin: Origin, bytes: &[u8]) {
        let ports = std::sync::Arc::clone(&self.snapshot.ports);
        match origin {
            Origin::Tunnel(through) => match slow_path::echo_reply(bytes, |address| ports.is_own(address)) {
                Some(reply) => self.answer_through(through, reply),
                None => self.counters.slow_path_ignored += 1,
            },
            Origin::Refused { sender, refusal } => self.answer_refused(Via::Route, self.source_towards(sender), sender, refusal, bytes),
            Origin::RefusedInside { sender, receiver, refusal } => {
                self.answer_refused(Via::Policy, self.source_towards(receiver), sender, refusal, bytes);
            }
            Origin::Port(port) => {
                let Some(info) = ports.port(port) else { return };
                self.on_frame(port, slow_path::on_frame(bytes, info, |address| ports.is_own(address)));
            }
        }
    }

    /// Tells the sender of a packet why it was dropped. What is quoted was to be protected, so it stays on that side, or goes back through an SA. The source
    /// is an address on the protected port that leads to the host there, be it the sender or the receiver (RFC 1812 section 4.3.2.4).
    fn answer_refused(&mut self, via: Via, source: Option<IpAddr>, sender: IpAddr, refusal: Refusal, quoted: &[u8]) {
        let identification = self.next_identification();
        let error = source.and_then(|source| slow_path::icmp_error(refusal, quoted, source, sender, identification));
        let Some(error) = error else {
            self.counters.icmp_errors_unroutable += 1;
            return;
        };
        let sent = u64::from(self.transmit(via, error));
        *match refusal {
            Refusal::TooBig { .. } => &mut self.counters.icmp_too_big,
            Refusal::HopLimitExceeded => &mut self.counters.icmp_time_exceeded,
        } += sent;
    }

    /// The gateway's address on the protected port that leads to a host; `None` where there is none, or the address is not that of one other host.
    fn source_towards(&self, host: IpAddr) -> Option<IpAddr> {
        let hop = self.snapshot.routes.lookup(host)?;
        let port = self.ports.get(usize::from(hop.port.0)).filter(|port| port.info.role == PortRole::Protected)?;
        let near = |subnet: &&InterfaceAddress| subnet.holds(host);
        let nobody = |subnet: &InterfaceAddress| InterfaceAddress { address: host, ..*subnet }.is_nobodys();
        if self.snapshot.ports.is_own(host) || port.subnets.iter().filter(near).any(nobody) {
            return None;
        }
        let mut global = port.subnets.iter().filter(|subnet| !subnet.is_link_local() && subnet.address.is_ipv4() == host.is_ipv4());
        global.clone().find(near).or_else(|| global.next()).map(|subnet| subnet.address)
    }

    /// The same for what was put together from fragments.
    pub(super) fn on_reassembled(&mut self, origin: Origin, bytes: &[u8]) {
        let Origin::Port(port) = origin else { return self.on_slow_path(origin, bytes) };
        let ports = std::sync::Arc::clone(&self.snapshot.ports);
        let Some(info) = ports.port(port) else { return };
        self.on_frame(port, slow_path::on_reassembled(bytes, info, |address| ports.is_own(address)));
    }

    fn on_frame(&mut self, port: PortId, meaning: Meaning) {
        // Nobody else is ever a next hop.
        let is_neighbor = |ports: &[ServedPort], address: IpAddr| {
            ports.get(usize::from(port.0)).is_some_and(|port| port.subnets.iter().any(|subnet| subnet.holds(address)))
        };
        match meaning {
            Meaning::Neighbor { address, mac, reply } => {
                if is_neighbor(&self.ports, address) {
                    self.neighbors.learn(NextHop { port, address }, mac, reply.is_some(), self.now_ms);
                }
                if let Some(reply) = reply {
                    let sent = u64::from(self.transmit(Via::Port(port), reply));
                    let counters = &mut self.counters;
                    *if address.is_ipv4() { &mut counters.arp_replies } else { &mut counters.neighbor_advertisements } += sent;
                }
            }
            Meaning::Advertised { address, mac, overrides, solicited } => {
                self.neighbors.advertised(NextHop { port, address }, mac, overrides, solicited, self.now_ms);
            }
            Meaning::ArpReply(frame) => self.counters.arp_replies += u64::from(self.transmit(Via::Port(port), frame)),
            Meaning::Advertisement(frame) => {
                self.counters.neighbor_advertisements += u64::from(self.transmit(Via::Port(port), frame));
            }
            Meaning::EchoReply(frame) => {
                let mtu = self.ports.get(usize::from(port.0)).map_or(0, |port| port.info.mtu);
                let (link, packet) = frame.split_at_checked(ethernet::HEADER_LEN).unwrap_or_default();
                if self.is_to_be_protected(port, packet) {
                    self.counters.icmp_echo_in_the_clear += 1;
                    return;
                }
                self.send_echo_reply(Via::Port(port), link, packet.to_vec(), mtu);
            }
            Meaning::TooBig { sent, mtu } => self.on_path_mtu(&sent, mtu),
            Meaning::RouterAdvertisement => self.counters.router_advertisements += 1,
            Meaning::Nothing => self.counters.slow_path_ignored += 1,
        }
    }

    /// Whether an answer must not leave in the clear: the SPD says PROTECT, and so the question came by no way that is good (RFC 4301 section 5.2 step 3b).
    fn is_to_be_protected(&self, port: PortId, answer: &[u8]) -> bool {
        let outside = self.snapshot.ports.port(port).is_some_and(|port| port.role == PortRole::Unprotected);
        let (Ok(ip), Some(spd), true) = (Ip::parse(answer), self.snapshot.spd.as_deref(), outside) else { return false };
        let entry = spd.outbound(&ip.flow(), Dscp::of_traffic_class(ip.traffic_class()));
        entry.is_some_and(|entry| entry.action == PolicyAction::Protect)
    }

    fn send_echo_reply(&mut self, via: Via, link: &[u8], reply: Vec<u8>, mtu: usize) {
        let identification = self.next_identification();
        self.counters.icmp_echo_replies += u64::from(self.transmit_cut(via, link, reply, mtu, identification));
    }

    fn request(&mut self, hop: NextHop) {
        let Some(port) = self.ports.get(usize::from(hop.port.0)) else { return };
        let mac = port.info.mac;
        match hop.address {
            IpAddr::V4(target) => {
                let source = arp_source(&port.subnets, hop.address);
                let frame = slow_path::arp_request(mac, source, target);
                self.counters.arp_requests += u64::from(self.transmit(Via::Port(hop.port), frame));
            }
            IpAddr::V6(target) => {
                let Some(source) = port.info.link_local() else { return };
                let frame = slow_path::solicitation(mac, source, target);
                self.counters.neighbor_solicitations += u64::from(self.transmit(Via::Port(hop.port), frame));
            }
        }
    }

    /// What the link takes that the routes send a packet to.
    fn mtu_towards(&self, packet: &[u8]) -> usize {
        let hop = Ip::parse(packet).ok().and_then(|ip| self.snapshot.routes.lookup(ip.destination()));
        hop.and_then(|hop| self.snapshot.ports.port(hop.port)).map_or(usize::MAX, |port| port.mtu)
    }

    /// Answers what came out of an SA. It is cut to what fits into that. Transport mode takes whole packets, and what is made of them is cut: so they have
    /// an identification of their own, which AH covers, and no DF.
    fn answer_through(&mut self, through: ChildSaId, mut reply: Vec<u8>) {
        let mode = self.sad.entry(through).map(|entry| entry.sa.outbound.layout().mode());
        let mtu = match mode {
            Some(Mode::Transport) => {
                let outside = self.ports.iter().filter(|port| port.info.role == PortRole::Unprotected).map(|port| port.info.mtu).min();
                ipv4::let_fragment(&mut reply, self.next_identification());
                outside.unwrap_or_default()
            }
            Some(Mode::Tunnel) | None => self.mtu_inside(through),
        };
        self.send_echo_reply(Via::Policy, &[], reply, mtu);
    }

    /// What fits into an SA, but never less than a link of IPv6 carries: workers see to it that this crosses.
    fn mtu_inside(&self, id: ChildSaId) -> usize {
        const IPV6_MIN_MTU: usize = 1280;
        let mtu = self.sad.entry(id).and_then(|entry| {
            let hop = self.snapshot.routes.lookup(entry.tunnel.ends.destination())?;
            let port = self.snapshot.ports.port(hop.port)?;
            let path = self.path_mtus.of(&entry.tunnel).map_or(usize::MAX, usize::from);
            entry.tunnel.inner_mtu(entry.sa.outbound.layout(), port.mtu.min(path))
        });
        mtu.unwrap_or_default().max(IPV6_MIN_MTU)
    }

    fn next_identification(&mut self) -> u32 {
        self.identification = self.identification.wrapping_add(1);
        self.identification
    }

    /// Sends a packet in as many fragments as the MTU makes of it, each behind the link's header. False where one of them could not be sent: then
    /// the others are of no use.
    fn transmit_cut(&mut self, via: Via, link: &[u8], packet: Vec<u8>, mtu: usize, identification: u32) -> bool {
        let fragments = fragmentation::cut(packet, mtu, identification);
        self.counters.own_fragmented += u64::from(fragments.len() > 1);
        fragments.iter().all(|fragment| self.transmit(via, [link, fragment].concat()))
    }

    fn transmit(&mut self, via: Via, packet: Vec<u8>) -> bool {
        let sent = self.workers.transmit(via, Frame::outgoing(packet));
        self.counters.own_overflow += u64::from(!sent);
        sent
    }
}

/// Who asks for `target`: the port's address in its subnet where there is one; none at all makes it a probe (RFC 5227).
fn arp_source(subnets: &[InterfaceAddress], target: IpAddr) -> Ipv4Addr {
    let ipv4 = |subnet: &InterfaceAddress| match subnet.address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    };
    let near = subnets.iter().filter(|subnet| subnet.holds(target)).find_map(ipv4);
    near.or_else(|| subnets.iter().find_map(ipv4)).unwrap_or(Ipv4Addr::UNSPECIFIED)
}
