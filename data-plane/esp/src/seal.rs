//! Outbound: an IPv4 packet becomes an ESP packet in place (RFC 4303 section 3.3).
//!
//! ```text
//!  before:                                  | inner IPv4 packet |
//!  after:  | IPv4 | (UDP) | SPI, seq | IV   | inner IPv4 packet | 1 2 3 | pad length | 4 | ICV |
//!                         |<- AAD  ->|      |<------------- ciphertext -------------->|
//! ```

use esp_crypto::{Aad, ICV_LEN, NONCE_LEN, SealJob};
use packet::Buffer;
use packet::esp::EspHeader;
use packet::ipv4::{Ipv4, Ipv4Header, PROTOCOL_ESP, PROTOCOL_IPV4, PROTOCOL_UDP};
use packet::{ipv4, udp};

use crate::tunnel::{DontFragment, padding_len};
use crate::{IV_LEN, OutboundSa, SequenceNumber, TRAILER_LEN, Tunnel};

/// TTL of outer headers (RFC 4301 section 5.1.2.1: constructed).
const OUTER_TTL: u8 = 64;

/// Why a packet could not be sealed. Its number is lost, the buffer unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The buffer does not start with a well-formed IPv4 packet.
    #[error("the inner packet is malformed")]
    MalformedInner,
    /// The outer packet would exceed 65,535 octets.
    #[error("the outer packet would be too long for IPv4")]
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
/// beyond the inner packet's total length are cut off.
///
/// # Errors
/// [`SealError`].
#[inline]
pub fn prepare<'sa, B: Buffer>(number: SequenceNumber<'sa>, buffer: &mut B) -> Result<SealPlan<'sa>, SealError> {
    let sa = number.sa();
    let tunnel = sa.tunnel();
    let inner = Ipv4::parse(buffer.bytes()).map_err(|_| SealError::MalformedInner)?;
    let inner_len = inner.total_len();
    let surplus = buffer.len().saturating_sub(inner_len);
    let padding = padding_len(inner_len);
    let data_len = inner_len + padding + TRAILER_LEN;
    let headers = Headers::new(&number, &inner, IV_LEN + data_len + ICV_LEN).ok_or(SealError::TooLong)?;

    if buffer.headroom() < tunnel.header_len() {
        return Err(SealError::NoHeadroom);
    }
    if buffer.tailroom() + surplus < padding + TRAILER_LEN + ICV_LEN {
        return Err(SealError::NoTailroom);
    }
    buffer.trim_back(surplus).ok_or(SealError::NoTailroom)?;
    let trailer = buffer.append(padding + TRAILER_LEN + ICV_LEN).ok_or(SealError::NoTailroom)?;
    write_trailer(trailer, padding);
    let front = buffer.prepend(tunnel.header_len()).ok_or(SealError::NoHeadroom)?;
    headers.write(front);
    Ok(SealPlan { sa, nonce: number.nonce(), aad: number.aad(), data_at: tunnel.header_len(), data_len })
}

impl<'sa> SealPlan<'sa> {
    /// The work for [`esp_crypto::seal_burst`]. `None` where `buffer` is not the one that was prepared, or was changed since: drop it.
    #[inline]
    #[must_use = "the packet is still in clear"]
    pub fn job<'a, B: Buffer>(self, buffer: &'a mut B) -> Option<SealJob<'a>>
    where
        'sa: 'a,
    {
        let (data, icv) = buffer.bytes_mut().get_mut(self.data_at..)?.split_last_chunk_mut::<ICV_LEN>()?;
        if data.len() != self.data_len {
            return None;
        }
        SealJob::new(self.sa.key().context(), self.nonce, self.aad, data, icv).ok()
    }
}

/// The headers in front of the ciphertext, as octets.
struct Headers {
    ip: [u8; ipv4::HEADER_LEN],
    udp: Option<[u8; udp::HEADER_LEN]>,
    esp: [u8; packet::esp::HEADER_LEN],
    iv: [u8; IV_LEN],
}

impl Headers {
    /// `None` where the packet would be too long. `after_esp` counts the octets behind the ESP header.
    #[inline]
    fn new(number: &SequenceNumber<'_>, inner: &Ipv4<'_>, after_esp: usize) -> Option<Self> {
        let tunnel = number.sa().tunnel();
        let esp_len = packet::esp::HEADER_LEN + after_esp;
        let (udp, payload_len, protocol) = match tunnel.udp {
            Some(ports) => {
                let header = udp::header_without_checksum(ports.source, ports.destination, esp_len)?;
                (Some(header), esp_len + udp::HEADER_LEN, PROTOCOL_UDP)
            }
            None => (None, esp_len, PROTOCOL_ESP),
        };
        let ip = outer_header(tunnel, number, inner, protocol).to_octets(payload_len)?;
        let esp = EspHeader { spi: number.sa().spi().value(), sequence: number.low() }.to_octets();
        Some(Self { ip, udp, esp, iv: number.iv() })
    }

    #[inline]
    fn write(&self, front: &mut [u8]) {
        let udp = self.udp.as_ref().map_or(&[][..], |udp| &udp[..]);
        let mut rest = front;
        for part in [&self.ip[..], udp, &self.esp, &self.iv] {
            let Some((to, after)) = rest.split_at_mut_checked(part.len()) else { return };
            to.copy_from_slice(part);
            rest = after;
        }
    }
}

/// RFC 4301 section 5.1.2.1: DSCP is copied, ECN too (RFC 6040 section 4.1, normal mode), options are not, DF as the SA says.
#[inline]
fn outer_header(tunnel: &Tunnel, number: &SequenceNumber<'_>, inner: &Ipv4<'_>, protocol: u8) -> Ipv4Header {
    let dont_fragment = match tunnel.dont_fragment {
        DontFragment::Copy => inner.dont_fragment(),
        DontFragment::Set => true,
        DontFragment::Clear => false,
    };
    // With DF the identification means nothing (RFC 6864 section 4.1). Without, the sequence number is a counter that no other packet of this SA has;
    // should fragments of two SAs be mixed up, the ICV tells. The SPI sets the counters of SAs between the same hosts apart.
    let identification = number.low().wrapping_add(number.sa().spi().value());
    Ipv4Header {
        traffic_class: inner.traffic_class(),
        identification: if dont_fragment { 0 } else { low_half(identification) },
        dont_fragment,
        ttl: OUTER_TTL,
        protocol,
        source: tunnel.source,
        destination: tunnel.destination,
    }
}

#[inline]
const fn low_half(value: u32) -> u16 {
    let [_, _, high, low] = value.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Padding 1, 2, 3 (RFC 4303 section 2.4), its length, next header, and zeros where the ICV will be.
#[inline]
fn write_trailer(trailer: &mut [u8], padding: usize) {
    let pattern = [1, 2, 3];
    for (octet, value) in trailer.iter_mut().zip(pattern.iter().take(padding)) {
        *octet = *value;
    }
    if let Some(rest) = trailer.get_mut(padding..) {
        rest.fill(0);
        if let Some(fixed) = rest.first_chunk_mut::<TRAILER_LEN>() {
            *fixed = [u8::try_from(padding).unwrap_or(0), PROTOCOL_IPV4];
        }
    }
}

#[cfg(test)]
mod tests;
