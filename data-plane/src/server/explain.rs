//! What would become of a packet: the question is put to a worker, and its answer told in the contract's words.

use std::collections::HashMap;
use std::net::IpAddr;

use culvert_proto::convert::{self, ConvertError, Problem};
use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::explain_response::Fate as Told;
use ipsec_types::{Dscp, Flow};
use packet::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader, MacAddress};
use packet::ipv4::{Ipv4Header, PROTOCOL_ICMP, PROTOCOL_UDP};
use packet::ipv6::{Ipv6Header, PROTOCOL_ICMPV6};
use packet::{ipv4, ipv6, udp};
use tokio::sync::oneshot;
use tonic::Status;

use crate::command::PortId;
use crate::pipeline::{Explanation, Fate, Inquiry, Outlook, Way};
use crate::server::core::{Core, ServedPort};
use crate::stats::Tally;
use crate::table::PortRole;
use crate::verdict::Verdict;

/// Inquiries that may be under way.
const MAX_INQUIRIES: usize = 64;
/// The longest IP packet.
const MAX_LENGTH: u32 = 65_535;

/// Those who wait for an answer.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    last: u64,
    waiting: HashMap<u64, oneshot::Sender<v1::ExplainResponse>>,
}

impl Core {
    /// Asks a worker what would become of a packet.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` names the field, `RESOURCE_EXHAUSTED` says that too many ask.
    pub fn explain(&mut self, request: &v1::ExplainRequest) -> Result<oneshot::Receiver<v1::ExplainResponse>, Status> {
        self.inquiries.waiting.retain(|_, reply| !reply.is_closed());
        if self.inquiries.waiting.len() >= MAX_INQUIRIES || self.workers.is_backlogged() {
            return Err(Status::resource_exhausted("too much is asked at once: try again"));
        }
        let (port, frame) = self.arrival(request).map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.inquiries.last += 1;
        let id = self.inquiries.last;
        let len = usize::try_from(request.length).ok().filter(|len| *len > 0);
        let (reply, answer) = oneshot::channel();
        self.inquiries.waiting.insert(id, reply);
        self.workers.ask(Box::new(Inquiry { id, port, frame, len, explanation: None }));
        Ok(answer)
    }

    /// Tells those who asked what has come back.
    pub(super) fn answer_inquiries(&mut self) {
        for inquiry in self.workers.explained() {
            let Some(reply) = self.inquiries.waiting.remove(&inquiry.id) else { continue };
            if let Some(explanation) = inquiry.explanation {
                // Whoever has given up asking does not mind.
                drop(reply.send(self.tell(inquiry.port, &explanation)));
            }
        }
    }

    /// The frame in which the packet would arrive, and where.
    fn arrival(&self, request: &v1::ExplainRequest) -> Result<(PortId, Vec<u8>), ConvertError> {
        let flow = request.flow.clone().ok_or_else(|| ConvertError::new("flow", Problem::Missing))?;
        let flow = Flow::try_from(flow).map_err(|error| error.within("flow"))?;
        let (port, served) = self.arrival_port(request, flow.source)?;
        let unknown = || ConvertError::new("dscp", Problem::TooLarge { value: request.dscp.into(), max: 63 });
        let dscp = u8::try_from(request.dscp).ok().and_then(Dscp::new).ok_or_else(unknown)?;
        let packet = packet_of(&flow, dscp, request.dont_fragment)?;
        let min = u32::try_from(packet.len()).unwrap_or(MAX_LENGTH);
        if request.length != 0 && !(min..=MAX_LENGTH).contains(&request.length) {
            let problem = Problem::OutOfRange { value: request.length.into(), min: min.into(), max: MAX_LENGTH.into() };
            return Err(ConvertError::new("length", problem));
        }
        let ethertype = if flow.source.is_ipv4() { ETHERTYPE_IPV4 } else { ETHERTYPE_IPV6 };
        let header = EthernetHeader { destination: served.info.mac, source: NEIGHBOR, ethertype };
        Ok((port, [&header.to_octets()[..], &packet].concat()))
    }

    fn arrival_port(&self, request: &v1::ExplainRequest, source: IpAddr) -> Result<(PortId, &ServedPort), ConvertError> {
        let role = if request.from_unprotected { PortRole::Unprotected } else { PortRole::Protected };
        let mut ports = (0..=u8::MAX).map(PortId).zip(&self.ports).filter(|(_, port)| port.info.role == role);
        if !request.port.is_empty() {
            let unknown = || ConvertError::new("port", Problem::UnknownName(request.port.clone()));
            return ports.find(|(_, port)| port.name == request.port).ok_or_else(unknown);
        }
        let holds = |port: &ServedPort| port.subnets.iter().any(|subnet| subnet.holds(source));
        ports.clone().find(|(_, port)| holds(port)).or_else(|| ports.next()).ok_or_else(|| ConvertError::new("port", Problem::Missing))
    }

    fn tell(&self, port: PortId, explanation: &Explanation) -> v1::ExplainResponse {
        let Explanation { fate, len, policy, child_sa, way } = *explanation;
        let entry = policy.and_then(|id| self.policies.of(id));
        let (fate, verdict, meaning) = told(fate);
        let no_sa = match explanation.fate {
            Fate::NoSa(outlook) => Some(v1::NoSa {
                acquire: policy.and_then(|policy| self.acquires.waiting(policy)).unwrap_or(0),
                refused_for_ms: if let Outlook::Refused { for_ms } = outlook { for_ms } else { 0 },
            }),
            Fate::Verdict(_) | Fate::BySpi => None,
        };
        v1::ExplainResponse {
            port: self.port_name(port),
            fate: fate.into(),
            verdict: verdict.to_owned(),
            meaning: meaning.to_owned(),
            policy: entry.map(|entry| self.policy_status(entry)),
            child_sa: child_sa.and_then(|id| self.sad.entry(id)).map(|entry| entry.status(self.now_ms)),
            no_sa,
            length: number(len),
            sent_length: way.map_or(0, |way| number(way.sent_len)),
            mtu: way.map_or(0, |way| number(way.mtu)),
            next_hop: way.map(|way| self.next_hop(&way)),
        }
    }

    fn next_hop(&self, way: &Way) -> v1::NextHop {
        v1::NextHop {
            port: self.port_name(way.hop.port),
            address: convert::address_octets(way.hop.address),
            mac: way.mac.map(|mac| mac.to_string()).unwrap_or_default(),
        }
    }

    fn port_name(&self, port: PortId) -> String {
        self.ports.get(usize::from(port.0)).map(|port| port.name.clone()).unwrap_or_default()
    }
}

/// Whoever would have sent the frame.
const NEIGHBOR: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);

/// Fate, counter and meaning.
const fn told(fate: Fate) -> (Told, &'static str, &'static str) {
    let (told, verdict) = match fate {
        Fate::NoSa(Outlook::Wait { .. }) => return (Told::Waits, Tally::AcquireQueued.name(), Tally::AcquireQueued.meaning()),
        Fate::BySpi => return (Told::Delivered, "", "ESP for the gateway: its SPI names the SA, and says what becomes of it."),
        Fate::NoSa(Outlook::Refused { .. }) => (Told::Dropped, Verdict::AcquireRefused),
        Fate::NoSa(Outlook::Full) => (Told::Dropped, Verdict::AcquireOverflow),
        Fate::Verdict(verdict) => match verdict {
            Verdict::Sealed | Verdict::BypassedOutbound | Verdict::BypassedInbound => (Told::Forwarded, verdict),
            Verdict::PuntedIke | Verdict::PuntedSlowPath | Verdict::PuntedFragment => (Told::Delivered, verdict),
            _ => (Told::Dropped, verdict),
        },
    };
    (told, verdict.name(), verdict.meaning())
}

/// The packet of a flow, as short as it can be. Behind a UDP header are as many zeros as make an IKE message of them.
fn packet_of(flow: &Flow, dscp: Dscp, dont_fragment: bool) -> Result<Vec<u8>, ConvertError> {
    let (payload, traffic_class) = (upper(flow), dscp.traffic_class());
    let protocol = flow.protocol;
    match (flow.source, flow.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = Ipv4Header { traffic_class, identification: 0, dont_fragment, ttl: 64, protocol, source, destination };
            Ok([&header.to_octets(payload.len()).unwrap_or([0; ipv4::HEADER_LEN])[..], &payload].concat())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header { traffic_class, next_header: protocol, hop_limit: 64, source, destination };
            Ok([&header.to_octets(payload.len()).unwrap_or([0; ipv6::HEADER_LEN])[..], &payload].concat())
        }
        _ => Err(ConvertError::new("flow.destination", Problem::MixedFamilies)),
    }
}

fn upper(flow: &Flow) -> Vec<u8> {
    /// Non-ESP marker and IKE header.
    const IKE: [u8; 32] = [0; 32];
    let (source_port, destination_port) = (flow.source_port.unwrap_or(0), flow.destination_port.unwrap_or(0));
    match flow.protocol {
        PROTOCOL_UDP => {
            let header = udp::header_without_checksum(source_port, destination_port, IKE.len()).unwrap_or_default();
            let mut segment = [&header[..], &IKE].concat();
            udp::fill_checksum(flow.source, flow.destination, &mut segment);
            segment
        }
        PROTOCOL_ICMP | PROTOCOL_ICMPV6 => [&destination_port.to_be_bytes()[..], &[0; 6]].concat(),
        _ => [&source_port.to_be_bytes()[..], &destination_port.to_be_bytes(), &[0; 16]].concat(),
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
