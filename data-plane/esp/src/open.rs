//! Inbound: an ESP or AH packet becomes the packet that was protected, in place (RFC 4303 section 3.4, RFC 4302 section 3.4).

use core::net::IpAddr;

use esp_crypto::OpenJob;
use ipsec_types::Mode;
use packet::Buffer;
use packet::ah::AhHeader;
use packet::esp::{self, EspHeader};
use packet::ip::{self, Ip, Parsed};
use packet::ipv4::{self, Ipv4, PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_IPV4, PROTOCOL_UDP};
use packet::ipv6::{self, Fragment, Ipv6, PROTOCOL_IPV6, PROTOCOL_NONE};
use packet::udp::{self, NatTraversal, Udp};

use crate::layout::Protocol;
use crate::{Accepted, InboundSa, ReplayError, ReplayWindow, TRAILER_LEN, Template, ah, ecn};

/// Octets behind the ESP header that a nonce has room for. No packet of any algorithm has fewer.
const NONCE_IV_LEN: usize = 8;

/// Why a packet is not opened; each is a reason to drop of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The outer IP or UDP header is malformed.
    #[error("the outer packet is malformed")]
    MalformedOuter,
    /// The outer packet carries something else than ESP or AH.
    #[error("neither an ESP nor an AH packet")]
    NotIpsec,
    /// The outer packet is a fragment: reassembly comes before ESP and AH (RFC 4303 section 3.4.1, RFC 4302 section 3.4.1).
    #[error("a fragment of an ESP or AH packet")]
    Fragment,
    /// Too short to be an ESP packet of this SA, or with an AH of another length than this SA's.
    #[error("too short for an ESP packet, or another length of AH")]
    Runt,
    /// The packet belongs to another SA than the one it was looked up for, or it is ESP where the SA has AH, or the other way round.
    #[error("SPI or protocol are not those of the SA")]
    WrongSpi,
    /// Too little room behind the packet: what AH does not cover is put there.
    #[error("no tailroom for what the ICV does not cover")]
    NoTailroom,
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
    /// In tunnel mode, a next header other than IPv4 and IPv6.
    #[error("next header {0} is neither IPv4 nor IPv6")]
    BadNextHeader(u8),
    /// A dummy packet (RFC 4303 section 2.6): authentic, and meant to be dropped.
    #[error("dummy packet")]
    Dummy,
    /// The inner packet is no well-formed packet of the IP version that the next header says; in transport mode, no whole packet.
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

/// The clear part of an ESP packet, plain or in UDP, or of an AH packet: what every packet is asked for. What few are is read again from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpsecPacket {
    /// Security Parameters Index.
    pub spi: u32,
    /// Sequence Number field.
    pub sequence: u32,
    /// Where ESP or AH begins.
    at: u32,
    end: u32,
    /// ESP or AH.
    pub protocol: Protocol,
    traffic_class: u8,
    in_udp: bool,
    is_v6: bool,
}

impl IpsecPacket {
    /// Reads an outer IP packet. A UDP packet is taken as encapsulated ESP whatever its ports, unless it carries the non-ESP marker; its checksum is
    /// not looked at (RFC 3948 section 2.1; over IPv6 it may be zero in a tunnel, RFC 6935 section 5), as the ICV says more.
    ///
    /// # Errors
    /// [`OpenError`]: `MalformedOuter`, `Fragment`, `NotIpsec`, `Runt`.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, OpenError> {
        Ip::parse(bytes).map_err(|_| OpenError::MalformedOuter).and_then(|outer| Self::read(&outer))
    }

    /// The same where the IP header has been parsed before.
    ///
    /// # Errors
    /// [`OpenError`]: `MalformedOuter`, `Fragment`, `NotIpsec`, `Runt`.
    #[inline]
    pub fn read(outer: &Ip<'_>) -> Result<Self, OpenError> {
        // The two versions go apart to the end: where they came together before, what is known of the packet would be copied.
        match outer {
            Ip::V4(_) => Self::read_one_version(outer),
            Ip::V6(_) => Self::read_one_version(outer),
        }
    }

    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn read_one_version(outer: &Ip<'_>) -> Result<Self, OpenError> {
        if outer.is_fragment() {
            return Err(OpenError::Fragment);
        }
        let header_len = outer.header_len();
        let (protocol, in_udp, at, rest) = match outer.protocol() {
            PROTOCOL_ESP => (Protocol::Esp, false, header_len, outer.upper()),
            PROTOCOL_AH => (Protocol::Ah, false, header_len, outer.upper()),
            PROTOCOL_UDP => {
                let datagram = Udp::parse(outer.upper()).ok_or(OpenError::MalformedOuter)?;
                match NatTraversal::parse(datagram.payload) {
                    Some(NatTraversal::Esp(esp)) => (Protocol::Esp, true, header_len + udp::HEADER_LEN, esp),
                    Some(NatTraversal::Ike(_) | NatTraversal::Keepalive) => return Err(OpenError::NotIpsec),
                    None => return Err(OpenError::Runt),
                }
            }
            _ => return Err(OpenError::NotIpsec),
        };
        let (spi, sequence) = match protocol {
            Protocol::Esp => EspHeader::parse(rest).map(|esp| (esp.spi, esp.sequence)),
            Protocol::Ah => AhHeader::parse(rest).map(|ah| (ah.spi, ah.sequence)),
        }
        .ok_or(OpenError::Runt)?;
        let (traffic_class, is_v6) = (outer.traffic_class(), matches!(outer, Ip::V6(_)));
        Ok(Self { spi, sequence, at: short(at), end: short(at + rest.len()), protocol, traffic_class, in_udp, is_v6 })
    }

    /// Outer source and destination of the packet, which `bytes` are; `None` where they are not.
    pub fn ends(&self, bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
        if self.is_v6 {
            ipv6::ends(bytes).map(|(source, destination)| (source.into(), destination.into()))
        } else {
            ipv4::ends(bytes).map(|(source, destination)| (source.into(), destination.into()))
        }
    }

    /// The UDP port that the packet, which `bytes` are, came from.
    #[inline]
    pub fn source_port(&self, bytes: &[u8]) -> Option<u16> {
        let port = bytes.get(self.at().checked_sub(udp::HEADER_LEN)?..)?.first_chunk();
        port.filter(|_| self.in_udp).map(|port| u16::from_be_bytes(*port))
    }

    /// Whether the packet, which `bytes` are, came from where packets made by the template go: address and UDP port, or no UDP, are those of the peer.
    #[inline]
    pub fn is_from_peer(&self, bytes: &[u8], template: &Template) -> bool {
        self.is_v6 == template.is_v6() && self.source_port(bytes) == template.peer_port() && self.has_address_of(bytes, template.header())
    }

    /// Whether the source of the packet is where a header of its version goes.
    #[inline]
    fn has_address_of(&self, bytes: &[u8], header: &[u8]) -> bool {
        if self.is_v6 {
            ipv6::ends(bytes).map(|(source, _)| source) == ipv6::ends(header).map(|(_, destination)| destination)
        } else {
            ipv4::ends(bytes).map(|(source, _)| source) == ipv4::ends(header).map(|(_, destination)| destination)
        }
    }

    #[inline]
    const fn at(&self) -> usize {
        self.at as usize
    }

    #[inline]
    const fn end(&self) -> usize {
        self.end as usize
    }
}

/// A place in a packet.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "no IP packet is longer than 65,575 octets")]
const fn short(place: usize) -> u32 {
    place as u32
}

/// A packet located and ready for the cipher.
#[derive(Debug)]
#[must_use = "a packet is open only when finished"]
pub struct OpenPlan<'sa> {
    sa: &'sa InboundSa,
    number: u64,
    iv: [u8; NONCE_IV_LEN],
    /// Where the data of the job begin, IV apart; with AH, whose data are the whole packet, where AH begins.
    data_at: u32,
    data_len: u32,
    outer_class: u8,
    in_udp: bool,
}

/// Checks length and sequence number of a packet for its SA, before any cryptography. Of an ESP packet it changes nothing; an AH packet is laid out as its
/// ICV was computed.
///
/// # Errors
/// [`OpenError`]: `WrongSpi`, `Runt`, `Replay`, `OutOfWindow`; of AH also `NoTailroom` and `MalformedOuter`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub fn prepare<'sa, B: Buffer>(
    sa: &'sa InboundSa,
    window: &ReplayWindow,
    packet: &IpsecPacket,
    buffer: &mut B,
) -> Result<OpenPlan<'sa>, OpenError> {
    if packet.spi != sa.spi().value() || packet.protocol != sa.layout().protocol() {
        return Err(OpenError::WrongSpi);
    }
    match packet.protocol {
        Protocol::Esp => prepare_esp(sa, window, packet, buffer),
        Protocol::Ah => prepare_ah(sa, window, packet, buffer),
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn prepare_esp<'sa, B: Buffer>(
    sa: &'sa InboundSa,
    window: &ReplayWindow,
    packet: &IpsecPacket,
    buffer: &B,
) -> Result<OpenPlan<'sa>, OpenError> {
    let esp = buffer.bytes().get(packet.at()..packet.end()).ok_or(OpenError::Runt)?;
    let layout = sa.layout();
    let front = esp::HEADER_LEN + layout.iv_len();
    let data_len = esp.len().checked_sub(front + layout.icv_len()).filter(|len| *len >= TRAILER_LEN).ok_or(OpenError::Runt)?;
    let iv = esp.get(esp::HEADER_LEN..).and_then(<[u8]>::first_chunk::<NONCE_IV_LEN>).ok_or(OpenError::Runt)?;
    let number = window.number(sa.sequence_numbers(), packet.sequence)?;
    window.look(number)?;
    Ok(OpenPlan::new(sa, number, *iv, packet, packet.at() + front, data_len))
}

fn prepare_ah<'sa, B: Buffer>(
    sa: &'sa InboundSa,
    window: &ReplayWindow,
    packet: &IpsecPacket,
    buffer: &mut B,
) -> Result<OpenPlan<'sa>, OpenError> {
    let packet = remove_fragment_header(packet, buffer).ok_or(OpenError::MalformedOuter)?;
    let header = buffer.bytes().get(packet.at()..packet.end()).and_then(AhHeader::parse).ok_or(OpenError::Runt)?;
    let icv_len = sa.layout().icv_len();
    // Over IPv4 padding to eight octets is more than it takes (RFC 4302 section 3.3.3.2.1), but some peers put it there.
    let (least, most) = (sa.layout().ah_len(packet.is_v6), sa.layout().ah_len(true));
    if header.len != least && header.len != most {
        return Err(OpenError::Runt);
    }
    let number = window.number(sa.sequence_numbers(), packet.sequence)?;
    window.look(number)?;
    // Ethernet padding.
    let surplus = buffer.len().saturating_sub(packet.end());
    buffer.trim_back(surplus).ok_or(OpenError::Runt)?;
    if buffer.tailroom() < icv_len + packet.at() {
        return Err(OpenError::NoTailroom);
    }
    ah::cover(buffer, packet.at(), icv_len).ok_or(OpenError::MalformedOuter)?;
    Ok(OpenPlan::new(sa, number, [0; NONCE_IV_LEN], &packet, packet.at(), packet.end()))
}

/// AH does not see the fragment header that a whole IPv6 packet may have (RFC 4302 appendix A2, RFC 6946). `None` where the packet cannot do without.
fn remove_fragment_header<B: Buffer>(packet: &IpsecPacket, buffer: &mut B) -> Option<IpsecPacket> {
    let fragment = match Ip::parse(buffer.bytes()) {
        Ok(Ip::V6(ip)) => ip.fragment(),
        _ => None,
    };
    let Some(fragment) = fragment else { return Some(*packet) };
    let front_len = ipv6::HEADER_LEN + fragment.at;
    buffer.bytes_mut().get_mut(..front_len + Fragment::LEN)?.copy_within(..front_len, Fragment::LEN);
    buffer.trim_front(Fragment::LEN)?;
    let (at, end) = (packet.at() - Fragment::LEN, packet.end() - Fragment::LEN);
    ip::set_payload(buffer.bytes_mut().get_mut(..front_len)?, fragment.next_header, end)?;
    Some(IpsecPacket { at: short(at), end: short(end), ..*packet })
}

/// An inner packet, authentic and permitted. The buffer now starts and ends with it: what is not said here is read from there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// The sequence number, all 64 bits with ESN.
    pub number: u64,
    /// Whether it is the highest so far.
    pub accepted: Accepted,
    /// Upper-layer protocol of the inner packet.
    pub protocol: u8,
    /// The inner packet as it is now.
    pub inner: Parsed,
}

impl<'sa> OpenPlan<'sa> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn new(sa: &'sa InboundSa, number: u64, iv: [u8; NONCE_IV_LEN], packet: &IpsecPacket, data_at: usize, data_len: usize) -> Self {
        let IpsecPacket { traffic_class: outer_class, in_udp, .. } = *packet;
        Self { sa, number, iv, data_at: short(data_at), data_len: short(data_len), outer_class, in_udp }
    }

    #[inline]
    const fn data_at(&self) -> usize {
        self.data_at as usize
    }

    #[inline]
    const fn data_len(&self) -> usize {
        self.data_len as usize
    }

    /// The work for [`esp_crypto::open_burst`]. `None` where `buffer` is not the one that was prepared: drop it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn job<'a, B: Buffer>(&self, buffer: &'a mut B) -> Option<OpenJob<'a>>
    where
        'sa: 'a,
    {
        let layout = self.sa.layout();
        let start = match layout.protocol() {
            Protocol::Esp => self.data_at().checked_sub(layout.iv_in_data())?,
            Protocol::Ah => 0,
        };
        let rest = buffer.bytes_mut().get_mut(start..)?;
        let (data, rest) = rest.split_at_mut_checked(layout.iv_in_data() + self.data_len())?;
        let icv = rest.get(..layout.icv_len())?;
        let facts = self.sa.facts();
        OpenJob::new(self.sa.key(), facts.nonce(self.iv), facts.aad(self.number), data, icv).ok()
    }

    /// What follows the cipher: the replay window advances, padding, next header, inner packet, ECN and selectors are checked, and everything but the
    /// inner packet is cut off. In transport mode the packet gets its IP header back. `verified` is the packet's bit in [`esp_crypto::Verified`].
    ///
    /// # Errors
    /// [`OpenError`], and the packet must be dropped. Errors but `Integrity`, `Replay` and `OutOfWindow` are of authentic packets: the window has advanced.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn finish<B: Buffer>(&self, verified: bool, window: &mut ReplayWindow, buffer: &mut B) -> Result<Opened, OpenError> {
        if !verified {
            return Err(OpenError::Integrity);
        }
        let accepted = window.accept(self.number)?;
        match (self.sa.layout().protocol(), self.sa.layout().mode()) {
            (Protocol::Esp, Mode::Tunnel) => {
                let payload = self.strip(buffer)?;
                self.take_out(accepted, &payload, buffer)
            }
            _ => self.finish_other(accepted, buffer),
        }
    }

    /// All but ESP in tunnel mode, which most packets are in: kept out of their way.
    #[inline(never)]
    fn finish_other<B: Buffer>(&self, accepted: Accepted, buffer: &mut B) -> Result<Opened, OpenError> {
        let payload = match self.sa.layout().protocol() {
            Protocol::Esp => self.strip(buffer)?,
            Protocol::Ah => self.uncover(buffer).ok_or(OpenError::MalformedInner)?,
        };
        match self.sa.layout().mode() {
            Mode::Tunnel => self.take_out(accepted, &payload, buffer),
            Mode::Transport => self.join(accepted, &payload, buffer),
        }
    }

    #[inline]
    fn strip<B: Buffer>(&self, buffer: &B) -> Result<Payload, OpenError> {
        let data = buffer.bytes().get(self.data_at()..).and_then(|rest| rest.get(..self.data_len()));
        let (len, next_header) = strip_trailer(data.ok_or(OpenError::MalformedInner)?)?;
        Ok(Payload { at: self.data_at(), len, next_header })
    }

    fn uncover<B: Buffer>(&self, buffer: &mut B) -> Option<Payload> {
        ah::uncover(buffer, self.data_len(), self.sa.layout().icv_len())?;
        let header = AhHeader::parse(buffer.bytes().get(self.data_at()..)?)?;
        let at = self.data_at() + header.len;
        Some(Payload { at, len: self.data_len().checked_sub(at)?, next_header: header.next_header })
    }

    /// Octets of the outer IP header, options and extension headers included.
    const fn header_len(&self) -> usize {
        let udp = if self.in_udp { udp::HEADER_LEN } else { 0 };
        match self.sa.layout().protocol() {
            Protocol::Esp => self.data_at() - self.sa.layout().iv_len() - esp::HEADER_LEN - udp,
            Protocol::Ah => self.data_at(),
        }
    }

    /// Tunnel mode: the payload is the inner packet.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn take_out<B: Buffer>(&self, accepted: Accepted, payload: &Payload, buffer: &mut B) -> Result<Opened, OpenError> {
        let octets = buffer.bytes().get(payload.at..).and_then(|rest| rest.get(..payload.len)).ok_or(OpenError::MalformedInner)?;
        // The two versions go apart to the end: where they came together before, what is known of the packet would be copied.
        match payload.next_header {
            PROTOCOL_IPV4 => {
                let Some(inner) = Ipv4::parse_plain(octets) else { return self.take_out_other(accepted, payload, buffer) };
                let inner = Ip::V4(inner);
                let class = self.admit(&inner, octets)?;
                self.leave(accepted, Facts::of(&inner), class, payload.at, buffer)
            }
            PROTOCOL_IPV6 => {
                let Some(inner) = Ipv6::parse_plain(octets) else { return self.take_out_other(accepted, payload, buffer) };
                let inner = Ip::V6(inner);
                let class = self.admit(&inner, octets)?;
                self.leave(accepted, Facts::of(&inner), class, payload.at, buffer)
            }
            other => Err(OpenError::BadNextHeader(other)),
        }
    }

    /// Whether an inner packet may leave, which begins these octets; its traffic class when it does.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn admit(&self, inner: &Ip<'_>, octets: &[u8]) -> Result<u8, OpenError> {
        let class = ecn::decapsulate(inner.traffic_class(), self.outer_class).ok_or(OpenError::Congestion)?;
        let permitted = self.sa.selectors().permits_between(inner.source(), inner.destination()) || self.lists_permit(octets);
        if permitted { Ok(class) } else { Err(OpenError::SelectorMismatch) }
    }

    /// Inner packets with options or extension headers, and malformed ones.
    #[inline(never)]
    fn take_out_other<B: Buffer>(&self, accepted: Accepted, payload: &Payload, buffer: &mut B) -> Result<Opened, OpenError> {
        let octets = buffer.bytes().get(payload.at..).and_then(|rest| rest.get(..payload.len)).ok_or(OpenError::MalformedInner)?;
        let inner = Ip::parse(octets).ok().filter(|inner| Parsed::from(inner).protocol() == payload.next_header);
        let inner = inner.ok_or(OpenError::MalformedInner)?;
        let class = self.admit(&inner, octets)?;
        self.leave(accepted, Facts::of(&inner), class, payload.at, buffer)
    }

    /// Cuts off everything but the inner packet, and writes what congestion in the tunnel has made of its traffic class. What is known of the packet comes
    /// in numbers of their own: put together first, it would be read before it is written.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn leave<B: Buffer>(&self, accepted: Accepted, inner: Facts, class: u8, at: usize, buffer: &mut B) -> Result<Opened, OpenError> {
        // What goes behind it: traffic flow confidentiality padding (RFC 4303 section 2.7), trailer, ICV and Ethernet padding.
        buffer.keep(at, inner.total_len).ok_or(OpenError::MalformedInner)?;
        if class != inner.parsed.traffic_class() {
            ip::replace_traffic_class(buffer.bytes_mut(), class);
        }
        let protocol = inner.protocol;
        Ok(Opened { number: self.number, accepted, protocol, inner: inner.parsed.with_traffic_class(class) })
    }

    /// Whether the inner packet that begins these octets is among the SA's selectors, ports and protocol considered.
    #[inline(never)]
    fn lists_permit(&self, octets: &[u8]) -> bool {
        Ip::parse(octets).is_ok_and(|inner| self.sa.selectors().permits(&inner.flow()))
    }

    /// Transport mode: the payload follows the packet's IP header as if it had never been protected.
    fn join<B: Buffer>(&self, accepted: Accepted, payload: &Payload, buffer: &mut B) -> Result<Opened, OpenError> {
        let (header_len, next_header) = (self.header_len(), payload.next_header);
        let total_len = header_len + payload.len;
        let gap = payload.at.checked_sub(header_len).ok_or(OpenError::MalformedInner)?;
        let surplus = buffer.len().checked_sub(payload.at + payload.len).ok_or(OpenError::MalformedInner)?;
        buffer.bytes_mut().copy_within(..header_len, gap);
        buffer.trim_front(gap).and_then(|()| buffer.trim_back(surplus)).ok_or(OpenError::MalformedInner)?;
        let header = buffer.bytes_mut().get_mut(..header_len).ok_or(OpenError::MalformedInner)?;
        ip::set_payload(header, next_header, total_len).ok_or(OpenError::MalformedInner)?;
        if self.in_udp {
            // A NAT has changed addresses that a checksum of TCP, UDP or ICMPv6 covers; the ICV has shown the rest to be right (RFC 3948 section 3.1.2 item 2).
            ip::fix_checksum(buffer.bytes_mut()).ok_or(OpenError::MalformedInner)?;
        }
        let packet = Ip::parse(buffer.bytes()).ok().filter(|packet| !packet.is_fragment()).ok_or(OpenError::MalformedInner)?;
        if !self.sa.selectors().permits(&packet.flow()) {
            return Err(OpenError::SelectorMismatch);
        }
        Ok(Opened { number: self.number, accepted, protocol: packet.protocol(), inner: Parsed::from(&packet) })
    }
}

/// What stays known of an inner packet when it is cut out.
struct Facts {
    total_len: usize,
    protocol: u8,
    parsed: Parsed,
}

impl Facts {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn of(inner: &Ip<'_>) -> Self {
        Self { total_len: inner.total_len(), protocol: inner.protocol(), parsed: Parsed::from(inner) }
    }
}

/// Where what was protected stands, and what it is.
struct Payload {
    at: usize,
    len: usize,
    next_header: u8,
}

/// Octets in front of padding, pad length and next header, where all three are right, and the next header.
#[inline]
fn strip_trailer(data: &[u8]) -> Result<(usize, u8), OpenError> {
    let (rest, &[pad_len, next_header]) = data.split_last_chunk::<TRAILER_LEN>().ok_or(OpenError::BadPadding)?;
    let payload_len = rest.len().checked_sub(pad_len.into()).ok_or(OpenError::BadPadding)?;
    let counts_up = match (pad_len, rest.last_chunk()) {
        (0..=8, Some(word)) => word_counts_up(u64::from_le_bytes(*word), pad_len),
        _ => counts_up(rest.get(payload_len..).ok_or(OpenError::BadPadding)?),
    };
    if !counts_up {
        return Err(OpenError::BadPadding);
    }
    // RFC 4303 section 2.6.
    if next_header == PROTOCOL_NONE { Err(OpenError::Dummy) } else { Ok((payload_len, next_header)) }
}

/// Whether the last octets of these eight are 1, 2, 3 and so on up to `pad_len`, which is 8 at most.
#[inline]
fn word_counts_up(word: u64, pad_len: u8) -> bool {
    const COUNT: u64 = 0x0807_0605_0403_0201;
    let before = 64 - 8 * u32::from(pad_len);
    (word ^ COUNT.unbounded_shl(before)).unbounded_shr(before) == 0
}

/// The same of any padding.
#[inline(never)]
fn counts_up(padding: &[u8]) -> bool {
    padding.iter().zip(1_u8..=255).all(|(octet, expected)| *octet == expected)
}

#[cfg(test)]
mod tests;
