//! Outbound: an IP packet becomes an ESP packet in place (RFC 4303 section 3.3).
//!
//! ```text
//!  before:                                  | inner IP packet |
//!  after:  |  IP  | (UDP) | SPI, seq | IV   | inner IP packet | 1 2 3 | pad length | 4 or 41 | ICV |
//!                         |<- AAD  ->|      |<---------------- ciphertext ---------------->|
//! ```

use esp_crypto::{Aad, NONCE_LEN, SealJob};
use ipsec_types::DontFragment;
use packet::Buffer;
use packet::esp::EspHeader;
use packet::ip::Ip;
use packet::ipv4::{Ipv4Header, PROTOCOL_ESP, PROTOCOL_IPV4, PROTOCOL_UDP};
use packet::ipv6::{Ipv6Header, PROTOCOL_IPV6};
use packet::{ipv4, ipv6, udp};

use crate::layout::MAX_ALIGNMENT;
use crate::tunnel::Ends;
use crate::{OutboundSa, SequenceNumber, TRAILER_LEN, Tunnel};

/// TTL or hop limit of outer headers (RFC 4301 section 5.1.2: constructed).
const OUTER_HOP_LIMIT: u8 = 64;

/// Why a packet could not be sealed. Its number is lost, the buffer unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The buffer does not start with a well-formed IP packet.
    #[error("the inner packet is malformed")]
    MalformedInner,
    /// A length of the outer headers would exceed 65,535 octets.
    #[error("the outer packet would be too long for IP")]
    TooLong,
    /// Too little room in front.
    #[error("no headroom for the outer headers")]
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

/// Puts outer header, ESP header and IV in front of the inner packet that starts the buffer, and padding, trailer and room for the ICV behind. Octets
/// beyond the inner packet's total length are cut off. The tunnel is where the SA leads now: it may be another one for the next packet.
///
/// # Errors
/// [`SealError`].
#[inline]
pub fn prepare<'sa, B: Buffer>(number: SequenceNumber<'sa>, tunnel: &Tunnel, buffer: &mut B) -> Result<SealPlan<'sa>, SealError> {
    let inner = Ip::parse(buffer.bytes()).map_err(|_| SealError::MalformedInner)?;
    let inner_len = inner.total_len();
    let surplus = buffer.len().saturating_sub(inner_len);
    let layout = number.sa().layout();
    let (header_len, icv_len) = (tunnel.header_len(layout), layout.icv_len());
    let padding = layout.padding_len(inner_len);
    let data_len = inner_len + padding + TRAILER_LEN;
    let next_header = match inner {
        Ip::V4(_) => PROTOCOL_IPV4,
        Ip::V6(_) => PROTOCOL_IPV6,
    };
    let headers = Headers::new(&number, tunnel, &inner, layout.iv_len() + data_len + icv_len).ok_or(SealError::TooLong)?;

    if buffer.headroom() < header_len {
        return Err(SealError::NoHeadroom);
    }
    if buffer.tailroom() + surplus < padding + TRAILER_LEN + icv_len {
        return Err(SealError::NoTailroom);
    }
    buffer.trim_back(surplus).ok_or(SealError::NoTailroom)?;
    let trailer = buffer.append(padding + TRAILER_LEN + icv_len).ok_or(SealError::NoTailroom)?;
    write_trailer(trailer, padding, next_header);
    let front = buffer.prepend(header_len).ok_or(SealError::NoHeadroom)?;
    headers.write(front);
    Ok(SealPlan { sa: number.sa(), nonce: number.nonce(), aad: number.aad(), data_at: header_len, data_len })
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
        SealJob::new(self.sa.key().context(), self.nonce, self.aad, data, icv).ok()
    }
}

/// What follows the cipher, with the tunnel that the packet was prepared for: UDP over IPv6 gets its checksum (RFC 8200 section 8.1). RFC 6935 would permit tunnels a checksum of zero, but Linux drops such
/// packets unless told otherwise, and computes one for those it sends. Over IPv4 it is zero (RFC 3948 section 2.1), and the packet is ready as it is.
#[inline]
pub fn finish<B: Buffer>(tunnel: &Tunnel, buffer: &mut B) {
    if let (Ends::V6 { source, destination }, Some(_)) = (tunnel.ends, tunnel.udp)
        && let Some(segment) = buffer.bytes_mut().get_mut(ipv6::HEADER_LEN..)
    {
        udp::fill_checksum(source.into(), destination.into(), segment);
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
}

impl Headers {
    /// `None` where the packet would be too long. `after_esp` counts the octets behind the ESP header.
    #[inline]
    fn new(number: &SequenceNumber<'_>, tunnel: &Tunnel, inner: &Ip<'_>, after_esp: usize) -> Option<Self> {
        let esp_len = packet::esp::HEADER_LEN + after_esp;
        let (udp, payload_len, protocol) = match tunnel.udp {
            Some(ports) => {
                let header = udp::header_without_checksum(ports.source, ports.destination, esp_len)?;
                (Some(header), esp_len + udp::HEADER_LEN, PROTOCOL_UDP)
            }
            None => (None, esp_len, PROTOCOL_ESP),
        };
        let ip = OuterHeader::new(number, tunnel, inner, protocol, payload_len)?;
        let esp = EspHeader { spi: number.sa().spi().value(), sequence: number.low() }.to_octets();
        Some(Self { ip, udp, esp, iv: number.iv() })
    }

    #[inline]
    fn write(&self, front: &mut [u8]) {
        let udp = self.udp.as_ref().map_or(&[][..], |udp| &udp[..]);
        let ip = match &self.ip {
            OuterHeader::V4(ip) => &ip[..],
            OuterHeader::V6(ip) => &ip[..],
        };
        let mut rest = front;
        // The IV is last: there is no room for it where the algorithm has none.
        for part in [ip, udp, &self.esp, &self.iv] {
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else { return };
            to.copy_from_slice(part);
            rest = after;
        }
    }
}

impl OuterHeader {
    /// RFC 4301 section 5.1.2: DSCP as the SA says, options and extension headers are not copied, nor is the flow label. ECN is copied (RFC 6040 section 4.1,
    /// normal mode).
    #[inline]
    fn new(number: &SequenceNumber<'_>, tunnel: &Tunnel, inner: &Ip<'_>, protocol: u8, payload_len: usize) -> Option<Self> {
        let traffic_class = if tunnel.copy_dscp { inner.traffic_class() } else { inner.traffic_class() & ECN };
        match tunnel.ends {
            Ends::V4 { source, destination } => {
                let dont_fragment = match tunnel.dont_fragment {
                    DontFragment::Copy => inner.dont_fragment(),
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
}

/// The ECN field of a traffic class.
const ECN: u8 = 3;

/// Padding 1, 2, 3 (RFC 4303 section 2.4), its length, next header, and zeros where the ICV will be.
#[inline]
fn write_trailer(trailer: &mut [u8], padding: usize, next_header: u8) {
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
