//! Outbound: an IP packet becomes an ESP or AH packet in place (RFC 4303 section 3.3, RFC 4302 section 3.3).
//!
//! ```text
//!  tunnel mode, before:                                  | inner IP packet |
//!               ESP:   |  IP  | (UDP) | SPI, seq | IV   | inner IP packet | (TFC) | 1 2 3 | pad length | 4 or 41 | ICV |
//!                                     |<- AAD  ->|      |<-------------------- ciphertext -------------------->|
//!               AH:    |  IP  | AH                      | inner IP packet |
//!
//!  transport mode, before:                       |  IP  | protected |
//!               ESP:   |  IP  | (UDP) | SPI, seq | IV   | protected | 1 2 3 | pad length | protocol | ICV |
//!               AH:    |  IP  | AH                      | protected |
//! ```

use esp_crypto::{Aad, NONCE_LEN, SealJob};
use ipsec_types::{DontFragment, Mode};
use packet::ah::AhHeader;
use packet::esp::EspHeader;
use packet::ip::{self, Ip};
use packet::ipv4::{Ipv4Header, PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_IPV4, PROTOCOL_UDP};
use packet::ipv6::{Ipv6Header, PROTOCOL_IPV6, PROTOCOL_NONE};
use packet::{Buffer, ipv4, ipv6, udp};

use crate::layout::{MAX_ALIGNMENT, Protocol};
use crate::tunnel::Ends;
use crate::{OutboundSa, SequenceNumber, TRAILER_LEN, Tunnel, ah};

/// TTL or hop limit of outer headers (RFC 4301 section 5.1.2: constructed).
const OUTER_HOP_LIMIT: u8 = 64;

/// Why a packet could not be sealed. Its number is lost, the packet must be dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The buffer does not start with a well-formed IP packet.
    #[error("the packet is malformed")]
    MalformedInner,
    /// A packet for transport mode that is not from one end of the SA to the other, or by way of others that its sender has named.
    #[error("transport mode, and not from end to end")]
    NotEndToEnd,
    /// A fragment for transport mode, which protects whole packets (RFC 4303 section 3.3.4, RFC 4302 section 3.3.4).
    #[error("a fragment for transport mode")]
    Fragment,
    /// A length of the headers would exceed 65,535 octets.
    #[error("the sealed packet would be too long for IP")]
    TooLong,
    /// Too little room in front.
    #[error("no headroom for the headers")]
    NoHeadroom,
    /// Too little room behind.
    #[error("no tailroom for trailer and ICV")]
    NoTailroom,
}

/// A packet laid out and ready for the cipher. It is still in clear: a packet whose plan is not carried out must be dropped.
#[derive(Debug)]
#[must_use = "the packet is still in clear"]
pub struct SealPlan<'sa> {
    sa: &'sa OutboundSa,
    nonce: [u8; NONCE_LEN],
    aad: Aad,
    data_at: usize,
    data_len: usize,
}

/// Puts headers in front of the packet that starts the buffer, or behind its IP header in transport mode, and trailer and room for the ICV behind. Octets
/// beyond the packet's total length are cut off. The tunnel is where the SA leads now: it may be another one for the next packet.
///
/// # Errors
/// [`SealError`].
#[inline]
pub fn prepare<'sa, B: Buffer>(number: SequenceNumber<'sa>, tunnel: &Tunnel, buffer: &mut B) -> Result<SealPlan<'sa>, SealError> {
    prepare_padded(number, tunnel, 0, buffer)
}

/// The same, with padding behind an inner packet that is shorter than `pad_to` octets, so that its length is not to be seen (RFC 4303 section 2.7): in an
/// ESP tunnel, and as much as there is room for.
///
/// # Errors
/// [`SealError`].
#[inline]
pub fn prepare_padded<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    tunnel: &Tunnel,
    pad_to: usize,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    match (number.sa().layout().protocol(), number.sa().layout().mode()) {
        (Protocol::Esp, Mode::Tunnel) => {
            let inner = Ip::parse(buffer.bytes()).map_err(|_| SealError::MalformedInner)?;
            esp(number, tunnel, &Payload::whole(&inner), pad_to, buffer)
        }
        _ => prepare_other(number, tunnel, buffer),
    }
}

/// All but ESP in tunnel mode, which most packets are in: kept out of their way.
#[inline(never)]
fn prepare_other<'sa, B: Buffer>(number: SequenceNumber<'sa>, tunnel: &Tunnel, buffer: &mut B) -> Result<SealPlan<'sa>, SealError> {
    let inner = Ip::parse(buffer.bytes()).map_err(|_| SealError::MalformedInner)?;
    let payload = match number.sa().layout().mode() {
        Mode::Tunnel => Payload::whole(&inner),
        Mode::Transport => Payload::behind_header(&inner, tunnel, number.sa().layout().protocol())?,
    };
    match number.sa().layout().protocol() {
        Protocol::Esp => esp(number, tunnel, &payload, 0, buffer),
        Protocol::Ah => authenticate(number, tunnel, &payload, buffer),
    }
}

/// Makes an ESP packet of one that nobody has sent: whatever the buffer holds is encrypted, and its receiver throws it away (RFC 4303 section 2.6).
///
/// # Errors
/// [`SealError`].
pub fn prepare_dummy<'sa, B: Buffer>(number: SequenceNumber<'sa>, tunnel: &Tunnel, buffer: &mut B) -> Result<SealPlan<'sa>, SealError> {
    let payload = Payload { at: 0, len: buffer.len(), next_header: PROTOCOL_NONE, traffic_class: 0, dont_fragment: true };
    esp(number, tunnel, &payload, 0, buffer)
}

/// What is protected of a packet.
struct Payload {
    /// Octets of IP header in front of it that stay: none in tunnel mode.
    at: usize,
    len: usize,
    next_header: u8,
    /// What an outer header is made after.
    traffic_class: u8,
    dont_fragment: bool,
}

impl Payload {
    /// In tunnel mode.
    #[inline]
    fn whole(inner: &Ip<'_>) -> Self {
        let next_header = match inner {
            Ip::V4(_) => PROTOCOL_IPV4,
            Ip::V6(_) => PROTOCOL_IPV6,
        };
        let (traffic_class, dont_fragment) = (inner.traffic_class(), inner.dont_fragment());
        Self { at: 0, len: inner.total_len(), next_header, traffic_class, dont_fragment }
    }

    /// In transport mode.
    fn behind_header(packet: &Ip<'_>, tunnel: &Tunnel, protocol: Protocol) -> Result<Self, SealError> {
        // The receiver's header is the one that the ICV of AH covers, so the destination must be the last (RFC 4302 section 3.3.3.1.1.1).
        if !tunnel.joins(packet.source(), packet.destination()) || packet.is_source_routed() {
            return Err(SealError::NotEndToEnd);
        }
        // AH does not see fragment headers, not even of whole packets (RFC 4302 appendix A2).
        let has_fragment_header = matches!(packet, Ip::V6(ip) if ip.fragment().is_some());
        if packet.is_fragment() || (has_fragment_header && protocol == Protocol::Ah) {
            return Err(SealError::Fragment);
        }
        let (at, next_header) = (packet.transport_at(), packet.transport_protocol());
        let (traffic_class, dont_fragment) = (packet.traffic_class(), packet.dont_fragment());
        Ok(Self { at, len: packet.total_len() - at, next_header, traffic_class, dont_fragment })
    }

    /// Octets of the packet.
    #[inline]
    const fn end(&self) -> usize {
        self.at + self.len
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "for the sake of the one caller that most packets have")]
fn esp<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    tunnel: &Tunnel,
    payload: &Payload,
    pad_to: usize,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    let layout = number.sa().layout();
    let (front_len, icv_len) = (tunnel.front_len(layout), layout.icv_len());
    let surplus = buffer.len().saturating_sub(payload.end());
    let room = buffer.tailroom() + surplus;
    let hidden = if pad_to > payload.end() && layout.mode() == Mode::Tunnel { hiding(payload.len, pad_to, room) } else { 0 };
    let padding = layout.padding_len(payload.len + hidden);
    let data_len = payload.len + hidden + padding + TRAILER_LEN;
    let headers = Headers::new(&number, tunnel, payload, layout.iv_len() + data_len + icv_len).ok_or(SealError::TooLong)?;

    if buffer.headroom() < front_len {
        return Err(SealError::NoHeadroom);
    }
    if room < hidden + padding + TRAILER_LEN + icv_len {
        return Err(SealError::NoTailroom);
    }
    buffer.trim_back(surplus).ok_or(SealError::NoTailroom)?;
    let trailer = buffer.append(hidden + padding + TRAILER_LEN + icv_len).ok_or(SealError::NoTailroom)?;
    write_trailer(trailer, hidden, padding, payload.next_header);
    let front = buffer.prepend(front_len).ok_or(SealError::NoHeadroom)?;
    match layout.mode() {
        Mode::Tunnel => headers.write(front),
        Mode::Transport => {
            let protocol = if tunnel.udp.is_some() { PROTOCOL_UDP } else { PROTOCOL_ESP };
            headers.write(open_gap(buffer, payload.at, front_len, protocol).ok_or(SealError::TooLong)?);
        }
    }
    Ok(SealPlan { sa: number.sa(), nonce: number.nonce(), aad: number.aad(), data_at: payload.at + front_len, data_len })
}

/// Octets of padding that hide the length of an inner packet. The trailer comes first.
#[cold]
fn hiding(len: usize, pad_to: usize, room: usize) -> usize {
    (pad_to - len).min(room.saturating_sub(MAX_ALIGNMENT - 1 + TRAILER_LEN + esp_crypto::MAX_ICV_LEN))
}

/// Lets the packet, which was given `gap` octets more in front, begin with its IP header of `header_len` octets, and makes it the header of a packet of
/// this protocol. The gap is behind it then.
#[cold]
fn open_gap<B: Buffer>(buffer: &mut B, header_len: usize, gap: usize, protocol: u8) -> Option<&mut [u8]> {
    // Whatever is behind the packet belongs to it: trailer and ICV.
    let total_len = buffer.len();
    let bytes = buffer.bytes_mut();
    bytes.get(gap..gap + header_len)?;
    bytes.copy_within(gap..gap + header_len, 0);
    let (header, rest) = bytes.split_at_mut_checked(header_len)?;
    ip::set_payload(header, protocol, total_len)?;
    rest.get_mut(..gap)
}

/// AH: the ICV is computed over the whole packet.
fn authenticate<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    tunnel: &Tunnel,
    payload: &Payload,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    let layout = number.sa().layout();
    let (front_len, icv_len, len) = (tunnel.front_len(layout), layout.icv_len(), tunnel.security_len(layout));
    let surplus = buffer.len().saturating_sub(payload.end());
    let ah = AhHeader { next_header: payload.next_header, len, spi: number.sa().spi().value(), sequence: number.low() };
    let ah = ah.to_octets().ok_or(SealError::TooLong)?;
    let ip = OuterHeader::new(&number, tunnel, payload, PROTOCOL_AH, len + payload.len).ok_or(SealError::TooLong)?;
    let header_len = front_len - len + payload.at;

    if buffer.headroom() < front_len {
        return Err(SealError::NoHeadroom);
    }
    if buffer.tailroom() + surplus < icv_len + header_len {
        return Err(SealError::NoTailroom);
    }
    buffer.trim_back(surplus).ok_or(SealError::NoTailroom)?;
    let front = buffer.prepend(front_len).ok_or(SealError::NoHeadroom)?;
    let behind_ip = match layout.mode() {
        Mode::Tunnel => ip.write(front),
        Mode::Transport => open_gap(buffer, payload.at, front_len, PROTOCOL_AH),
    };
    let (fixed, icv) = behind_ip.and_then(|rest| rest.split_at_mut_checked(ah.len())).ok_or(SealError::TooLong)?;
    fixed.copy_from_slice(&ah);
    // The ICV, and what aligns the header.
    icv.fill(0);
    ah::cover(buffer, header_len, icv_len).ok_or(SealError::MalformedInner)?;
    let data_len = header_len + len + payload.len;
    Ok(SealPlan { sa: number.sa(), nonce: number.nonce(), aad: number.aad(), data_at: 0, data_len })
}

impl<'sa> SealPlan<'sa> {
    /// The work for [`esp_crypto::seal_burst`]. `None` where `buffer` is not the one that was prepared, or was changed since: drop it.
    #[inline]
    #[must_use = "the packet is still in clear"]
    pub fn job<'a, B: Buffer>(self, buffer: &'a mut B) -> Option<SealJob<'a>>
    where
        'sa: 'a,
    {
        let layout = self.sa.layout();
        let rest = buffer.bytes_mut().get_mut(self.data_at - layout.iv_in_data()..)?;
        let (data, icv) = rest.split_at_mut_checked(layout.iv_in_data() + self.data_len)?;
        SealJob::new(self.sa.key().context(), self.nonce, self.aad, data, icv.get_mut(..layout.icv_len())?).ok()
    }
}

/// What follows the cipher, with the SA and the tunnel that the packet was prepared for. AH gets its ICV, and the IP header in front of it is as it is to be
/// sent again. ESP in UDP over IPv6 gets its UDP checksum (RFC 8200 section 8.1): RFC 6935 would permit tunnels a checksum of zero, but Linux drops such
/// packets unless told otherwise, and computes one for those it sends. Over IPv4 it is zero (RFC 3948 section 2.1), and the packet is ready as it is.
///
/// `None` where `buffer` is not the one that was prepared: drop it.
#[inline]
#[must_use = "the packet is not complete where this fails"]
pub fn finish<B: Buffer>(sa: &OutboundSa, tunnel: &Tunnel, buffer: &mut B) -> Option<()> {
    match (sa.layout().protocol(), tunnel.ends, tunnel.udp) {
        (Protocol::Ah, ..) => {
            let packet_len = ip::total_len(buffer.bytes())?;
            ah::uncover(buffer, packet_len, sa.layout().icv_len())
        }
        (Protocol::Esp, Ends::V6 { source, destination }, Some(_)) => {
            let at = match sa.layout().mode() {
                Mode::Tunnel => ipv6::HEADER_LEN,
                Mode::Transport => Ip::parse(buffer.bytes()).ok()?.header_len(),
            };
            udp::fill_checksum(source.into(), destination.into(), buffer.bytes_mut().get_mut(at..)?);
            Some(())
        }
        (Protocol::Esp, ..) => Some(()),
    }
}

/// The headers in front of the ciphertext, as octets.
struct Headers {
    ip: OuterHeader,
    udp: Option<[u8; udp::HEADER_LEN]>,
    esp: [u8; packet::esp::HEADER_LEN],
    /// As the nonce has it. For AES-CBC that is not the IV: the cipher writes it.
    iv: [u8; 8],
}

enum OuterHeader {
    V4([u8; ipv4::HEADER_LEN]),
    V6([u8; ipv6::HEADER_LEN]),
    /// The packet's own.
    Kept,
}

impl Headers {
    /// `None` where the packet would be too long. `after_esp` counts the octets behind the ESP header.
    #[inline]
    fn new(number: &SequenceNumber<'_>, tunnel: &Tunnel, payload: &Payload, after_esp: usize) -> Option<Self> {
        let esp_len = packet::esp::HEADER_LEN + after_esp;
        let (udp, payload_len, protocol) = match tunnel.udp {
            Some(ports) => {
                let header = udp::header_without_checksum(ports.source, ports.destination, esp_len)?;
                (Some(header), esp_len + udp::HEADER_LEN, PROTOCOL_UDP)
            }
            None => (None, esp_len, PROTOCOL_ESP),
        };
        let ip = OuterHeader::new(number, tunnel, payload, protocol, payload_len)?;
        let esp = EspHeader { spi: number.sa().spi().value(), sequence: number.low() }.to_octets();
        Some(Self { ip, udp, esp, iv: number.iv() })
    }

    #[inline]
    fn write(&self, front: &mut [u8]) {
        let udp = self.udp.as_ref().map_or(&[][..], |udp| &udp[..]);
        let mut rest = front;
        // The IV is last: there is no room for it where the algorithm has none.
        for part in [self.ip.octets(), udp, &self.esp, &self.iv] {
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else { return };
            to.copy_from_slice(part);
            rest = after;
        }
    }
}

impl OuterHeader {
    /// RFC 4301 section 5.1.2: DSCP as the SA says, options and extension headers are not copied, nor is the flow label. ECN is copied (RFC 6040 section 4.1,
    /// normal mode). `None` where the packet would be too long.
    #[inline]
    fn new(number: &SequenceNumber<'_>, tunnel: &Tunnel, payload: &Payload, protocol: u8, payload_len: usize) -> Option<Self> {
        if number.sa().layout().mode() == Mode::Transport {
            let total_len = payload.at + payload_len;
            return (total_len <= usize::from(u16::MAX)).then_some(Self::Kept);
        }
        let traffic_class = if tunnel.copy_dscp { payload.traffic_class } else { payload.traffic_class & ECN };
        match tunnel.ends {
            Ends::V4 { source, destination } => {
                let dont_fragment = match tunnel.dont_fragment {
                    DontFragment::Copy => payload.dont_fragment,
                    DontFragment::Set => true,
                    DontFragment::Clear => false,
                };
                // With DF the identification means nothing (RFC 6864 section 4.1). Without, the sequence number is a counter that no other packet of this
                // SA has; should fragments of two SAs be mixed up, the ICV tells. The SPI sets the counters of SAs between the same hosts apart.
                let identification = number.low().wrapping_add(number.sa().spi().value());
                let identification = if dont_fragment { 0 } else { ipv4::identification(identification) };
                let header =
                    Ipv4Header { traffic_class, identification, dont_fragment, ttl: OUTER_HOP_LIMIT, protocol, source, destination };
                header.to_octets(payload_len).map(Self::V4)
            }
            Ends::V6 { source, destination } => {
                let header = Ipv6Header { traffic_class, next_header: protocol, hop_limit: OUTER_HOP_LIMIT, source, destination };
                header.to_octets(payload_len).map(Self::V6)
            }
        }
    }

    #[inline]
    const fn octets(&self) -> &[u8] {
        match self {
            Self::V4(ip) => ip,
            Self::V6(ip) => ip,
            Self::Kept => &[],
        }
    }

    /// Writes the header; what is behind it.
    fn write<'a>(&self, front: &'a mut [u8]) -> Option<&'a mut [u8]> {
        let (to, rest) = front.split_at_mut_checked(self.octets().len())?;
        to.copy_from_slice(self.octets());
        Some(rest)
    }
}

/// The ECN field of a traffic class.
const ECN: u8 = 3;

/// Zeros that hide the length (RFC 4303 section 2.7), padding 1, 2, 3 (section 2.4), its length, next header, and zeros where the ICV will be.
#[inline]
fn write_trailer(trailer: &mut [u8], hidden: usize, padding: usize, next_header: u8) {
    let Some((hiding, trailer)) = trailer.split_at_mut_checked(hidden) else { return };
    hiding.fill(0);
    let pattern: [u8; MAX_ALIGNMENT - 1] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    for (octet, value) in trailer.iter_mut().zip(pattern.iter().take(padding)) {
        *octet = *value;
    }
    if let Some(rest) = trailer.get_mut(padding..) {
        rest.fill(0);
        if let Some(fixed) = rest.first_chunk_mut::<TRAILER_LEN>() {
            *fixed = [u8::try_from(padding).unwrap_or(0), next_header];
        }
    }
}

#[cfg(test)]
mod tests;
