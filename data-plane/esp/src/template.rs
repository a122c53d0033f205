//! The headers that sealing puts in front of packets, but for what each packet has of its own.

use core::net::{Ipv4Addr, Ipv6Addr};

use ipsec_types::{DontFragment, Mode};
use packet::esp::EspHeader;
use packet::ipv4::{Ipv4Header, PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_UDP};
use packet::ipv6::Ipv6Header;
use packet::{ipv4, ipv6, udp};

use crate::facts::{SaFacts, low};
use crate::layout::Protocol;
use crate::tunnel::Ends;
use crate::{Layout, OutboundSa, Tunnel, UdpPorts};

/// TTL or hop limit of outer headers (RFC 4301 section 5.1.2: constructed).
const OUTER_HOP_LIMIT: u8 = 64;
/// The ECN field of a traffic class.
const ECN: u8 = 3;

/// What all packets of an SA have in common on their way through one [`Tunnel`]: to be made when the SA is installed, and again when its tunnel is another
/// one. It is one cache line, with all that sealing needs to know of the SA beside its keys and numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Template {
    /// The outer header of a packet without payload, traffic class, identification and DF; of IPv4 the rest is zero. In transport mode it says between
    /// which ends the SA is, and is not sent.
    ip: [u8; ipv6::HEADER_LEN],
    facts: SaFacts,
    /// Of UDP; both are zero without.
    ports: UdpPorts,
    way: Way,
    /// Octets of all headers.
    front_len: u8,
    /// The bits of an inner traffic class that are copied.
    class_mask: u8,
    dont_fragment: DontFragment,
}

/// What the outer header is, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    V4,
    V4Udp,
    V6,
    V6Udp,
}

const _: () = assert!(size_of::<Template>() == 64);

impl Way {
    #[inline]
    const fn is_in_udp(self) -> bool {
        matches!(self, Self::V4Udp | Self::V6Udp)
    }

    #[inline]
    const fn is_v6(self) -> bool {
        matches!(self, Self::V6 | Self::V6Udp)
    }

    /// Octets of the outer header.
    #[inline]
    const fn outer_len(self) -> usize {
        if self.is_v6() { ipv6::HEADER_LEN } else { ipv4::HEADER_LEN }
    }
}

/// What the lengths of an ESP packet in tunnel mode depend on, beside that of the inner one. Where it is known while compiling, little is left to compute.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) way: Way,
    pub(crate) layout: Layout,
}

impl Shape {
    #[inline]
    pub(crate) const fn usual(way: Way) -> Self {
        Self { way, layout: Layout::USUAL }
    }

    /// Octets of the outer header.
    #[inline]
    pub(crate) const fn outer_len(self) -> usize {
        self.way.outer_len()
    }

    /// Octets of all headers.
    #[inline]
    pub(crate) const fn front_len(self) -> usize {
        let udp_len = if self.way.is_in_udp() { udp::HEADER_LEN } else { 0 };
        self.outer_len() + udp_len + packet::esp::HEADER_LEN + self.layout.iv_len()
    }

    /// Octets behind the outer header as its length field or that of UDP tells them; `None` where the packet would be too long.
    #[inline]
    pub(crate) fn payload_len(self, len: usize) -> Option<u16> {
        // IPv6 does not count its header.
        let header_len = if self.way.is_v6() { 0 } else { ipv4::HEADER_LEN };
        if header_len + len > usize::from(u16::MAX) { None } else { u16::try_from(len).ok() }
    }
}

/// A shape as code is compiled for it.
pub(crate) trait KnownShape {
    /// That of such a template.
    fn shape(template: &Template) -> Shape;
}

/// Nothing is known while compiling.
pub(crate) struct AnyShape;
/// The usual layout, over IPv6 or IPv4, in UDP or not.
pub(crate) struct Usual<const V6: bool, const UDP: bool>;

impl KnownShape for AnyShape {
    #[inline]
    fn shape(template: &Template) -> Shape {
        template.shape()
    }
}

impl<const V6: bool, const UDP: bool> KnownShape for Usual<V6, UDP> {
    #[inline]
    fn shape(_: &Template) -> Shape {
        Shape::usual(match (V6, UDP) {
            (false, false) => Way::V4,
            (false, true) => Way::V4Udp,
            (true, false) => Way::V6,
            (true, true) => Way::V6Udp,
        })
    }
}

/// The template of an SA that protects by ESP in tunnel mode, as nearly all do.
#[derive(Debug, Clone, Copy)]
pub struct EspTunnel<'a> {
    template: &'a Template,
    is_usual: bool,
}

impl<'a> EspTunnel<'a> {
    #[inline]
    pub(crate) const fn template(self) -> &'a Template {
        self.template
    }

    /// Its way, where the layout is the usual one.
    #[inline]
    pub(crate) const fn usual_way(self) -> Option<Way> {
        if self.is_usual { Some(self.template.way) } else { None }
    }
}

/// What the outer header is made after.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inner {
    pub(crate) traffic_class: u8,
    pub(crate) dont_fragment: bool,
}

impl Template {
    /// For the packets of an SA, and of no other: with one of another SA they are of no use to their receiver.
    pub fn new(sa: &OutboundSa, tunnel: &Tunnel) -> Self {
        let layout = sa.layout();
        let protocol = match (layout.protocol(), tunnel.udp) {
            (Protocol::Ah, _) => PROTOCOL_AH,
            (Protocol::Esp, Some(_)) => PROTOCOL_UDP,
            (Protocol::Esp, None) => PROTOCOL_ESP,
        };
        Self {
            ip: outer_header(&tunnel.ends, protocol),
            facts: *sa.facts(),
            ports: tunnel.udp.unwrap_or(UdpPorts { source: 0, destination: 0 }),
            way: match (&tunnel.ends, tunnel.udp) {
                (Ends::V4 { .. }, None) => Way::V4,
                (Ends::V4 { .. }, Some(_)) => Way::V4Udp,
                (Ends::V6 { .. }, None) => Way::V6,
                (Ends::V6 { .. }, Some(_)) => Way::V6Udp,
            },
            front_len: u8::try_from(tunnel.front_len(layout)).unwrap_or(u8::MAX),
            // RFC 4301 section 5.1.2: DSCP as the SA says. ECN is copied (RFC 6040 section 4.1, normal mode).
            class_mask: if tunnel.copy_dscp { u8::MAX } else { ECN },
            dont_fragment: tunnel.dont_fragment,
        }
    }

    /// What the SA puts around a packet.
    #[inline]
    pub const fn layout(&self) -> Layout {
        self.facts.layout()
    }

    /// For whole frames ([`crate::seal::prepare_frames`]), where it is ESP in tunnel mode.
    #[inline]
    pub fn esp_tunnel(&self) -> Option<EspTunnel<'_>> {
        match (self.layout().protocol(), self.layout().mode()) {
            (Protocol::Esp, Mode::Tunnel) => Some(EspTunnel { template: self, is_usual: self.layout() == Layout::USUAL }),
            _ => None,
        }
    }

    #[inline]
    pub(crate) const fn shape(&self) -> Shape {
        Shape { way: self.way, layout: self.layout() }
    }

    #[inline]
    pub(crate) const fn facts(&self) -> &SaFacts {
        &self.facts
    }

    /// Octets in front of what is protected, or behind its IP header in transport mode.
    #[inline]
    pub(crate) const fn front_len(&self) -> usize {
        self.front_len as usize
    }

    #[inline]
    pub(crate) const fn is_in_udp(&self) -> bool {
        self.way.is_in_udp()
    }

    /// The outer header as far as all packets have it in common.
    #[inline]
    pub(crate) const fn header(&self) -> &[u8] {
        &self.ip
    }

    /// The UDP port of the peer; `None` without UDP.
    #[inline]
    pub(crate) const fn peer_port(&self) -> Option<u16> {
        if self.is_in_udp() { Some(self.ports.destination) } else { None }
    }

    #[inline]
    pub(crate) const fn is_v6(&self) -> bool {
        self.way.is_v6()
    }

    /// Octets of the outer header; none in transport mode.
    #[inline]
    pub(crate) const fn outer_len(&self) -> usize {
        match self.layout().mode() {
            Mode::Transport => 0,
            Mode::Tunnel => self.way.outer_len(),
        }
    }

    /// Whether a packet is ready when it comes from the cipher.
    #[inline]
    pub const fn is_complete_without_finish(&self) -> bool {
        matches!(self.layout().protocol(), Protocol::Esp) && !(self.is_in_udp() && self.is_v6())
    }

    /// The tunnel that it was made for.
    #[inline]
    pub const fn tunnel(&self) -> Tunnel {
        Tunnel {
            ends: self.ends(),
            udp: if self.is_in_udp() { Some(self.ports) } else { None },
            dont_fragment: self.dont_fragment,
            copy_dscp: self.class_mask == u8::MAX,
        }
    }

    /// Source and destination of the SA: where they stand in the header.
    #[inline]
    pub const fn ends(&self) -> Ends {
        let [_, _, _, _, _, _, _, _, v6 @ ..] = &self.ip;
        if self.is_v6() {
            let (
                [source @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _],
                [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, destination @ ..],
            ) = (v6, v6);
            Ends::V6 { source: Ipv6Addr::from_octets(*source), destination: Ipv6Addr::from_octets(*destination) }
        } else {
            let [_, _, _, _, a, b, c, d, e, f, g, h, ..] = v6;
            Ends::V4 { source: Ipv4Addr::new(*a, *b, *c, *d), destination: Ipv4Addr::new(*e, *f, *g, *h) }
        }
    }

    /// Those of an SA over IPv6.
    #[inline]
    pub(crate) const fn ends_v6(&self) -> Option<(Ipv6Addr, Ipv6Addr)> {
        if let Ends::V6 { source, destination } = self.ends() { Some((source, destination)) } else { None }
    }

    /// Octets behind the IP header as its length field or that of UDP tells them; `None` where the packet would be too long. In transport mode there are
    /// `kept_len` octets of IP header in front.
    #[inline]
    pub(crate) fn payload_len(&self, kept_len: usize, len: usize) -> Option<u16> {
        let header_len = match (self.layout().mode(), self.is_v6()) {
            (Mode::Transport, _) => kept_len,
            (Mode::Tunnel, false) => ipv4::HEADER_LEN,
            (Mode::Tunnel, true) => 0,
        };
        if header_len + len > usize::from(u16::MAX) {
            return None;
        }
        u16::try_from(len).ok()
    }

    /// Writes the outer header of tunnel mode, which is this template's way and has `payload_len` octets behind it; what is behind it. Options and extension headers are not copied
    /// from the inner packet, nor is the flow label (RFC 4301 section 5.1.2).
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few words on the way of every packet")]
    pub(crate) fn write_outer<'a>(
        &self,
        way: Way,
        front: &'a mut [u8],
        number: u64,
        inner: Inner,
        payload_len: u16,
    ) -> Option<&'a mut [u8]> {
        let traffic_class = inner.traffic_class & self.class_mask;
        if way.is_v6() {
            let (header, rest) = front.split_first_chunk_mut()?;
            ipv6::complete(&self.ip, payload_len, traffic_class, header);
            return Some(rest);
        }
        let (header, rest) = front.split_first_chunk_mut()?;
        let dont_fragment = match self.dont_fragment {
            DontFragment::Copy => inner.dont_fragment,
            DontFragment::Set => true,
            DontFragment::Clear => false,
        };
        // With DF the identification means nothing (RFC 6864 section 4.1). Without, the sequence number is a counter that no other packet of this
        // SA has; should fragments of two SAs be mixed up, the ICV tells. The SPI sets the counters of SAs between the same hosts apart.
        let identification = if dont_fragment { 0 } else { ipv4::identification(low(number).wrapping_add(self.facts.spi().value())) };
        ipv4::complete(self.ip.first_chunk()?, payload_len, traffic_class, identification, dont_fragment, header);
        Some(rest)
    }

    /// Likewise writes UDP header, SPI, sequence number and IV. `payload_len` counts all behind the IP header.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "a few words on the way of every packet")]
    pub(crate) fn write_esp(&self, way: Way, front: &mut [u8], number: u64, payload_len: u16) -> Option<()> {
        let mut rest = front;
        if way.is_in_udp() {
            let (header, behind) = rest.split_first_chunk_mut::<{ udp::HEADER_LEN }>()?;
            let ports = u64::from(self.ports.source) << 48 | u64::from(self.ports.destination) << 32;
            *header = (ports | u64::from(payload_len) << 16).to_be_bytes();
            rest = behind;
        }
        let (header, iv) = rest.split_first_chunk_mut::<{ packet::esp::HEADER_LEN }>()?;
        *header = EspHeader { spi: self.facts.spi().value(), sequence: low(number) }.to_octets();
        // As the nonce has it. For AES-CBC that is not the IV: the cipher writes it. There is no room where the algorithm has none.
        if let Some(iv) = iv.first_chunk_mut::<8>() {
            *iv = number.to_be_bytes();
        }
        Some(())
    }
}

fn outer_header(ends: &Ends, protocol: u8) -> [u8; ipv6::HEADER_LEN] {
    let mut ip = [0; ipv6::HEADER_LEN];
    let written = match *ends {
        Ends::V4 { source, destination } => {
            let header = Ipv4Header {
                traffic_class: 0,
                identification: 0,
                dont_fragment: false,
                ttl: OUTER_HOP_LIMIT,
                protocol,
                source,
                destination,
            };
            header.to_octets(0).zip(ip.first_chunk_mut()).map(|(header, to)| *to = header)
        }
        Ends::V6 { source, destination } => {
            let header = Ipv6Header { traffic_class: 0, next_header: protocol, hop_limit: OUTER_HOP_LIMIT, source, destination };
            header.to_octets(0).map(|header| ip = header)
        }
    };
    debug_assert!(written.is_some(), "a header without payload is no longer than its length field tells");
    ip
}

#[cfg(test)]
mod tests {
    extern crate std;

    use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, Protection, SaKeys, Secret, SequenceNumbers, Spi};
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    use super::*;
    use crate::SaKey;

    fn sa(spi: u32, cbc: bool) -> OutboundSa {
        let (encryption, integrity) = match cbc {
            false => (EncryptionAlgorithm::AesGcm128, None),
            true => (EncryptionAlgorithm::AesCbc128, Some(IntegrityAlgorithm::HmacSha256)),
        };
        let secret = |len| Secret::new(vec![3; len]);
        let keys = SaKeys { encryption: secret(encryption.keymat_len()), integrity: integrity.map(|i| secret(i.key_len())) };
        let key = SaKey::new(Protection::Esp { encryption, integrity }, &keys).unwrap();
        OutboundSa::new(Spi::new(spi).unwrap(), key, SequenceNumbers::Extended)
    }

    /// The headers, each made whole for this one packet.
    fn plain(tunnel: &Tunnel, spi: u32, iv_len: usize, number: u64, inner: Inner, len: usize) -> Option<Vec<u8>> {
        let esp = EspHeader { spi, sequence: low(number) }.to_octets();
        let iv = [&number.to_be_bytes()[..], &[0xee; 8]].concat();
        let udp = match tunnel.udp {
            Some(ports) => udp::header_without_checksum(ports.source, ports.destination, len - udp::HEADER_LEN)?.to_vec(),
            None => vec![],
        };
        let protocol = if tunnel.udp.is_some() { PROTOCOL_UDP } else { PROTOCOL_ESP };
        let traffic_class = if tunnel.copy_dscp { inner.traffic_class } else { inner.traffic_class & 3 };
        let ip = match tunnel.ends {
            Ends::V4 { source, destination } => {
                let dont_fragment = match tunnel.dont_fragment {
                    DontFragment::Copy => inner.dont_fragment,
                    DontFragment::Set => true,
                    DontFragment::Clear => false,
                };
                let identification = if dont_fragment { 0 } else { ipv4::identification(low(number).wrapping_add(spi)) };
                Ipv4Header { traffic_class, identification, dont_fragment, ttl: 64, protocol, source, destination }.to_octets(len)?.to_vec()
            }
            Ends::V6 { source, destination } => {
                Ipv6Header { traffic_class, next_header: protocol, hop_limit: 64, source, destination }.to_octets(len)?.to_vec()
            }
        };
        Some([&ip, &udp, &esp[..], &iv[..iv_len]].concat())
    }

    proptest! {
        #[test]
        fn headers_from_a_template_are_those_made_whole(
            spi in 256..=u32::MAX, number in any::<u64>(), cbc in any::<bool>(),
            addresses in any::<([u8; 16], [u8; 16])>(), six in any::<bool>(), ports in any::<Option<(u16, u16)>>(),
            copy_dscp in any::<bool>(), policy in 0..3_u8, traffic_class in any::<u8>(), df in any::<bool>(),
            len in prop_oneof![8 => 60..2000_usize, 1 => 65_400..65_700_usize],
        ) {
            let ends = if six {
                Ends::V6 { source: Ipv6Addr::from(addresses.0), destination: addresses.1.into() }
            } else {
                let v4 = |octets: [u8; 16]| Ipv4Addr::from(*octets.first_chunk::<4>().unwrap());
                Ends::V4 { source: v4(addresses.0), destination: v4(addresses.1) }
            };
            let udp = ports.map(|(source, destination)| UdpPorts { source, destination });
            let dont_fragment = [DontFragment::Copy, DontFragment::Set, DontFragment::Clear][usize::from(policy)];
            let tunnel = Tunnel { ends, udp, dont_fragment, copy_dscp };
            let sa = sa(spi, cbc);
            let template = Template::new(&sa, &tunnel);
            let inner = Inner { traffic_class, dont_fragment: df };
            let written = template.payload_len(0, len).map(|payload_len| {
                let mut front = vec![0xee; template.front_len()];
                let rest = template.write_outer(template.way, &mut front, number, inner, payload_len).unwrap();
                template.write_esp(template.way, rest, number, payload_len).unwrap();
                front
            });
            prop_assert_eq!(written, plain(&tunnel, spi, sa.layout().iv_len(), number, inner, len));
            prop_assert_eq!(template.tunnel(), tunnel);
            prop_assert_eq!(template.ends_v6().is_some(), six);
            prop_assert!(template.ends_v6().is_none_or(|(source, destination)| (source, destination) == (addresses.0.into(), addresses.1.into())));
            prop_assert_eq!(template.front_len(), tunnel.front_len(sa.layout()));
        }
    }
}
