//! Inbound: an ESP packet becomes the inner IP packet in place (RFC 4303 section 3.4).

use core::net::IpAddr;

use esp_crypto::{Aad, NONCE_LEN, OpenJob};
use ipsec_types::{Flow, SequenceNumbers};
use packet::Buffer;
use packet::esp::{self, EspHeader};
use packet::ip::{self, Ip};
use packet::ipv4::{Ipv4, PROTOCOL_ESP, PROTOCOL_IPV4, PROTOCOL_UDP};
use packet::ipv6::{Ipv6, PROTOCOL_IPV6, PROTOCOL_NONE};
use packet::udp::{self, NatTraversal, Udp};

use crate::{Accepted, InboundSa, ReplayError, ReplayWindow, TRAILER_LEN, UdpPorts, ecn};

/// Octets behind the ESP header that a nonce has room for. No packet of any algorithm has fewer.
const NONCE_IV_LEN: usize = 8;

/// Why a packet is not opened; each is a reason to drop of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The outer IP or UDP header is malformed.
    #[error("the outer packet is malformed")]
    MalformedOuter,
    /// The outer packet carries something else than ESP.
    #[error("not an ESP packet")]
    NotEsp,
    /// The outer packet is a fragment: reassembly comes before ESP (RFC 4303 section 3.4.1).
    #[error("an ESP fragment")]
    Fragment,
    /// Too short to be an ESP packet of this SA.
    #[error("too short for an ESP packet")]
    Runt,
    /// The packet belongs to another SA than the one it was looked up for.
    #[error("the SPI is not that of the SA")]
    WrongSpi,
    /// The sequence number was accepted before.
    #[error("replayed packet")]
    Replay,
    /// The sequence number lies outside the replay window.
    #[error("sequence number out of the replay window")]
    OutOfWindow,
    /// The ICV is wrong: forged or damaged.
    #[error("integrity check failed")]
    Integrity,
    /// The padding is longer than the packet or not 1, 2, 3 (RFC 4303 section 2.4).
    #[error("bad padding")]
    BadPadding,
    /// A next header other than IPv4 and IPv6, which tunnel mode carries.
    #[error("next header {0} is neither IPv4 nor IPv6")]
    BadNextHeader(u8),
    /// A dummy packet (RFC 4303 section 2.6): authentic, and meant to be dropped.
    #[error("dummy packet")]
    Dummy,
    /// The inner packet is no well-formed packet of the IP version that the next header says.
    #[error("the inner packet is malformed")]
    MalformedInner,
    /// Congestion was signalled to an inner packet whose ends do not know ECN (RFC 6040 section 4.2).
    #[error("congestion experienced without ECN transport")]
    Congestion,
    /// The inner packet is not among the SA's selectors (RFC 4301 section 5.2).
    #[error("the inner packet does not match the selectors of the SA")]
    SelectorMismatch,
}

impl From<ReplayError> for OpenError {
    #[inline]
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Duplicate => Self::Replay,
            ReplayError::OutOfWindow => Self::OutOfWindow,
        }
    }
}

/// The clear part of an ESP packet, plain or in UDP: what SA lookup and an address update need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EspPacket {
    /// Security Parameters Index.
    pub spi: u32,
    /// Sequence Number field.
    pub sequence: u32,
    /// Outer source.
    pub source: IpAddr,
    /// Outer destination.
    pub destination: IpAddr,
    /// Ports where the packet is UDP-encapsulated.
    pub udp: Option<UdpPorts>,
    traffic_class: u8,
    esp_at: usize,
    end: usize,
}

impl EspPacket {
    /// Reads an outer IP packet. A UDP packet is taken as encapsulated ESP whatever its ports, unless it carries the non-ESP marker; its checksum is
    /// not looked at (RFC 3948 section 2.1; over IPv6 it may be zero in a tunnel, RFC 6935 section 5), as the ICV says more.
    ///
    /// # Errors
    /// [`OpenError`]: `MalformedOuter`, `Fragment`, `NotEsp`, `Runt`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        Ip::parse(bytes).map_err(|_| OpenError::MalformedOuter).and_then(|outer| Self::read(&outer))
    }

    /// The same where the IP header has been parsed before.
    ///
    /// # Errors
    /// [`OpenError`]: `MalformedOuter`, `Fragment`, `NotEsp`, `Runt`.
    #[inline]
    pub fn read(outer: &Ip<'_>) -> Result<Self, OpenError> {
        if outer.is_fragment() {
            return Err(OpenError::Fragment);
        }
        let (udp, esp_at, esp) = match outer.protocol() {
            PROTOCOL_ESP => (None, outer.header_len(), outer.upper()),
            PROTOCOL_UDP => {
                let datagram = Udp::parse(outer.upper()).ok_or(OpenError::MalformedOuter)?;
                let ports = UdpPorts { source: datagram.source_port, destination: datagram.destination_port };
                match NatTraversal::parse(datagram.payload) {
                    Some(NatTraversal::Esp(esp)) => (Some(ports), outer.header_len() + udp::HEADER_LEN, esp),
                    Some(NatTraversal::Ike(_) | NatTraversal::Keepalive) => return Err(OpenError::NotEsp),
                    None => return Err(OpenError::Runt),
                }
            }
            _ => return Err(OpenError::NotEsp),
        };
        let EspHeader { spi, sequence } = EspHeader::parse(esp).ok_or(OpenError::Runt)?;
        let (source, destination) = (outer.source(), outer.destination());
        Ok(Self { spi, sequence, source, destination, udp, traffic_class: outer.traffic_class(), esp_at, end: esp_at + esp.len() })
    }
}

/// A packet located and ready for the cipher.
#[derive(Debug)]
#[must_use = "a packet is open only when finished"]
pub struct OpenPlan<'sa> {
    sa: &'sa InboundSa,
    number: u64,
    nonce: [u8; NONCE_LEN],
    outer_class: u8,
    data_at: usize,
    data_len: usize,
}

/// Checks length and sequence number of a packet for its SA, before any cryptography. Changes nothing.
///
/// # Errors
/// [`OpenError`]: `WrongSpi`, `Runt`, `Replay`, `OutOfWindow`.
#[inline]
pub fn prepare<'sa, B: Buffer>(
    sa: &'sa InboundSa,
    window: &ReplayWindow,
    packet: &EspPacket,
    buffer: &B,
) -> Result<OpenPlan<'sa>, OpenError> {
    if packet.spi != sa.spi().value() {
        return Err(OpenError::WrongSpi);
    }
    let esp = buffer.bytes().get(packet.esp_at..packet.end).ok_or(OpenError::Runt)?;
    let layout = sa.layout();
    let front = esp::HEADER_LEN + layout.iv_len();
    let data_len = esp.len().checked_sub(front + layout.icv_len()).filter(|len| *len >= TRAILER_LEN).ok_or(OpenError::Runt)?;
    let iv = esp.get(esp::HEADER_LEN..).and_then(<[u8]>::first_chunk::<NONCE_IV_LEN>).ok_or(OpenError::Runt)?;
    let number = window.number(sa.sequence_numbers(), packet.sequence)?;
    window.look(number)?;
    Ok(OpenPlan { sa, number, nonce: sa.key().nonce(*iv), outer_class: packet.traffic_class, data_at: packet.esp_at + front, data_len })
}

/// An inner packet, authentic and permitted. The buffer now starts and ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The sequence number, all 64 bits with ESN.
    pub number: u64,
    /// Whether it is the highest so far.
    pub accepted: Accepted,
    /// Selector fields of the inner packet.
    pub flow: Flow,
    /// Octets of the inner packet.
    pub inner_len: usize,
    /// Whether a router may not fragment the inner packet.
    pub dont_fragment: bool,
}

impl OpenPlan<'_> {
    /// The work for [`esp_crypto::open_burst`]. `None` where `buffer` is not the one that was prepared: drop it.
    #[inline]
    pub fn job<'a, B: Buffer>(&'a self, buffer: &'a mut B) -> Option<OpenJob<'a>> {
        let layout = self.sa.layout();
        let rest = buffer.bytes_mut().get_mut(self.data_at - layout.iv_in_data()..)?;
        let (data, rest) = rest.split_at_mut_checked(layout.iv_in_data() + self.data_len)?;
        let icv = rest.get(..layout.icv_len())?;
        OpenJob::new(self.sa.key().context(), self.nonce, self.aad(), data, icv).ok()
    }

    /// What follows the cipher: the replay window advances, padding, next header, inner packet, ECN and selectors are checked, and everything but the
    /// inner packet is cut off. `verified` is the packet's bit in [`esp_crypto::Verified`].
    ///
    /// # Errors
    /// [`OpenError`], and the packet must be dropped. Errors but `Integrity`, `Replay` and `OutOfWindow` are of authentic packets: the window has advanced.
    #[inline]
    pub fn finish<B: Buffer>(self, verified: bool, window: &mut ReplayWindow, buffer: &mut B) -> Result<Opened, OpenError> {
        if !verified {
            return Err(OpenError::Integrity);
        }
        let accepted = window.accept(self.number)?;
        let data = buffer.bytes_mut().get_mut(self.data_at..).and_then(|rest| rest.get_mut(..self.data_len));
        let (payload, version) = strip_trailer(data.ok_or(OpenError::MalformedInner)?)?;
        let inner = match version {
            InnerVersion::V4 => Ipv4::parse(payload).ok().map(Ip::V4),
            InnerVersion::V6 => Ipv6::parse(payload).ok().map(Ip::V6),
        };
        let inner = inner.ok_or(OpenError::MalformedInner)?;
        let (flow, inner_len, dont_fragment) = (inner.flow(), inner.total_len(), inner.dont_fragment());
        let inner_class = inner.traffic_class();
        let class = ecn::decapsulate(inner_class, self.outer_class).ok_or(OpenError::Congestion)?;
        if !self.sa.selectors().permits(&flow) {
            return Err(OpenError::SelectorMismatch);
        }
        if class != inner_class {
            ip::replace_traffic_class(payload, class);
        }
        buffer.trim_front(self.data_at).ok_or(OpenError::MalformedInner)?;
        // Trailer, ICV, and what may follow: traffic flow confidentiality padding (RFC 4303 section 2.7), Ethernet padding.
        let surplus = buffer.len().saturating_sub(inner_len);
        buffer.trim_back(surplus).ok_or(OpenError::MalformedInner)?;
        Ok(Opened { number: self.number, accepted, flow, inner_len, dont_fragment })
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "a standard number has 32 bits")]
    fn aad(&self) -> Aad {
        match self.sa.sequence_numbers() {
            SequenceNumbers::Standard => Aad::new(self.sa.spi().value(), self.number as u32),
            SequenceNumbers::Extended => Aad::extended(self.sa.spi().value(), self.number),
        }
    }
}

/// What the next header says of the inner packet.
#[derive(Debug, Clone, Copy)]
enum InnerVersion {
    V4,
    V6,
}

/// What is in front of padding, pad length and next header, where all three are right.
#[inline]
fn strip_trailer(data: &mut [u8]) -> Result<(&mut [u8], InnerVersion), OpenError> {
    let (rest, &mut [pad_len, next_header]) = data.split_last_chunk_mut::<TRAILER_LEN>().ok_or(OpenError::BadPadding)?;
    let payload_len = rest.len().checked_sub(pad_len.into()).ok_or(OpenError::BadPadding)?;
    let (payload, padding) = rest.split_at_mut_checked(payload_len).ok_or(OpenError::BadPadding)?;
    if !padding.iter().zip(1_u8..=255).all(|(octet, expected)| *octet == expected) {
        return Err(OpenError::BadPadding);
    }
    match next_header {
        PROTOCOL_IPV4 => Ok((payload, InnerVersion::V4)),
        PROTOCOL_IPV6 => Ok((payload, InnerVersion::V6)),
        // RFC 4303 section 2.6.
        PROTOCOL_NONE => Err(OpenError::Dummy),
        other => Err(OpenError::BadNextHeader(other)),
    }
}

#[cfg(test)]
mod tests;
