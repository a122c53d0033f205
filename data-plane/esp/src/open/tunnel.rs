//! ESP in tunnel mode, as nearly all packets are.

use esp_crypto::OpenJob;
use ipsec_types::Mode;
use packet::Buffer;
use packet::esp;
use packet::ip::{self, Ip, Parsed};
use packet::ipv4::{Ipv4, PROTOCOL_IPV4};
use packet::ipv6::{Ipv6, PROTOCOL_IPV6};
use packet::plain::{Address, PlainIp};

use super::trailer::strip_trailer;
use super::{IpsecPacket, OpenError, Opened, number};
use crate::layout::Protocol;
use crate::{InboundSa, ReplayWindow, TRAILER_LEN, ecn};

/// Octets behind the ESP header that a nonce has room for. No packet of any algorithm has fewer.
const NONCE_IV_LEN: usize = 8;

/// An SA that protects by ESP in tunnel mode. What lies between both phases of its packets is their number.
#[derive(Debug, Clone, Copy)]
pub struct TunnelSa<'sa>(&'sa InboundSa);

impl<'sa> TunnelSa<'sa> {
    /// The SA, where it is such.
    #[inline]
    pub const fn of(sa: &'sa InboundSa) -> Option<Self> {
        match (sa.layout().protocol(), sa.layout().mode()) {
            (Protocol::Esp, Mode::Tunnel) => Some(Self(sa)),
            _ => None,
        }
    }

    /// Checks length and sequence number of a packet that begins `bytes`: its number, and the work for [`esp_crypto::open_burst`]. Changes nothing.
    ///
    /// # Errors
    /// [`OpenError`]: `WrongSpi`, `Runt`, `Replay`, `OutOfWindow`.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn prepare<'a>(self, window: &ReplayWindow, packet: &IpsecPacket, bytes: &'a mut [u8]) -> Result<(u64, OpenJob<'a>), OpenError>
    where
        'sa: 'a,
    {
        let Self(sa) = self;
        if packet.spi != sa.spi().value() || packet.protocol != Protocol::Esp {
            return Err(OpenError::WrongSpi);
        }
        locate(sa, packet).ok_or(OpenError::Runt)?;
        let number = number(sa, window, packet)?;
        let job = job(sa, packet, number, bytes).ok_or(OpenError::Runt)?;
        Ok((number, job))
    }

    /// [`super::OpenPlan::finish`] of a packet with this number. What is left begins with `front` octets of no meaning: room for a header.
    ///
    /// # Errors
    /// As there.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn finish<B: Buffer>(
        self,
        packet: &IpsecPacket,
        number: u64,
        verified: bool,
        front: usize,
        window: &mut ReplayWindow,
        buffer: &mut B,
    ) -> Result<Opened, OpenError> {
        let Self(sa) = self;
        if !verified {
            return Err(OpenError::Integrity);
        }
        let accepted = window.accept(number)?;
        let Inner { protocol, parsed } = take_out(sa, packet, &Payload::of(sa, packet, buffer.bytes())?, front, buffer)?;
        Ok(Opened { number, accepted, protocol, inner: parsed })
    }

    /// What was decrypted in a packet that begins `bytes`, where it begins, and its protocol; `None` where [`Self::finish`] says why it is nothing.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn payload<'b>(self, packet: &IpsecPacket, bytes: &'b [u8]) -> Option<(usize, &'b [u8], u8)> {
        let (at, len) = locate(self.0, packet)?;
        let data = bytes.get(at..at + len)?;
        let (len, next_header) = strip_trailer(data).ok()?;
        Some((at, data.get(..len)?, next_header))
    }

    /// The header of an inner packet with nothing special, which begins `payload`, that [`Self::finish`] would take out as it is, if it is permitted. `None`
    /// for any other, right or wrong.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn inner<A: Address>(packet: &IpsecPacket, payload: &[u8]) -> Option<PlainIp<A>> {
        A::read(payload).filter(|inner| ecn::is_kept(inner.traffic_class, packet.traffic_class))
    }

    /// Whether the SA is for whatever goes between these addresses. Where it is not, [`Self::finish`] looks at ports and protocol too.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "of whichever version the addresses are, half of it is left")]
    pub fn permits_between<A: Address>(self, source: A, destination: A) -> bool {
        self.0.selectors().permits_between(source.into(), destination.into())
    }
}

/// Where the data are that an ESP packet of this SA protects, with padding and trailer, and how many; `None` where there is no room for what must be there.
#[inline]
pub(super) fn locate(sa: &InboundSa, packet: &IpsecPacket) -> Option<(usize, usize)> {
    let at = packet.at() + esp::HEADER_LEN + sa.layout().iv_len();
    let len = packet.end().checked_sub(at + sa.layout().icv_len())?;
    (len >= TRAILER_LEN).then_some((at, len))
}

/// The work for the cipher. `None` where the packet is not in `bytes`.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub(super) fn job<'a>(sa: &'a InboundSa, packet: &IpsecPacket, number: u64, bytes: &'a mut [u8]) -> Option<OpenJob<'a>> {
    let (layout, facts) = (sa.layout(), sa.facts());
    let behind_header = bytes.get_mut(packet.at() + esp::HEADER_LEN..packet.end())?;
    let iv = *behind_header.first_chunk::<NONCE_IV_LEN>()?;
    let data_end = behind_header.len().checked_sub(layout.icv_len())?;
    let (data, icv) = behind_header.split_at_mut_checked(data_end)?;
    let data = data.get_mut(layout.iv_len() - layout.iv_in_data()..)?;
    OpenJob::new(sa.key(), facts.nonce(iv), facts.aad(number), data, icv).ok()
}

/// Where what was protected stands, and what it is.
pub(super) struct Payload {
    pub(super) at: usize,
    pub(super) len: usize,
    pub(super) next_header: u8,
}

impl Payload {
    /// That of a decrypted ESP packet that begins `bytes`.
    #[inline]
    pub(super) fn of(sa: &InboundSa, packet: &IpsecPacket, bytes: &[u8]) -> Result<Self, OpenError> {
        let (at, len) = locate(sa, packet).ok_or(OpenError::MalformedInner)?;
        let data = bytes.get(at..).and_then(|rest| rest.get(..len)).ok_or(OpenError::MalformedInner)?;
        let (len, next_header) = strip_trailer(data)?;
        Ok(Self { at, len, next_header })
    }
}

/// What stays known of an inner packet when it is cut out.
pub(super) struct Inner {
    pub(super) protocol: u8,
    pub(super) parsed: Parsed,
}

/// Tunnel mode: the payload is the inner packet.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub(super) fn take_out<B: Buffer>(
    sa: &InboundSa,
    packet: &IpsecPacket,
    payload: &Payload,
    front: usize,
    buffer: &mut B,
) -> Result<Inner, OpenError> {
    let octets = octets(payload, buffer)?;
    // The two versions go apart to the end: where they came together before, what is known of the packet would be copied.
    match payload.next_header {
        PROTOCOL_IPV4 => {
            let Some(inner) = Ipv4::parse_plain(octets) else { return take_out_other(sa, packet, payload, front, buffer) };
            let (inner, class) = admit(sa, packet, &Ip::V4(inner), octets)?;
            leave(inner, class, payload.at, front, buffer)
        }
        PROTOCOL_IPV6 => {
            let Some(inner) = Ipv6::parse_plain(octets) else { return take_out_other(sa, packet, payload, front, buffer) };
            let (inner, class) = admit(sa, packet, &Ip::V6(inner), octets)?;
            leave(inner, class, payload.at, front, buffer)
        }
        other => Err(OpenError::BadNextHeader(other)),
    }
}

/// Inner packets with options or extension headers, and malformed ones.
#[inline(never)]
fn take_out_other<B: Buffer>(
    sa: &InboundSa,
    packet: &IpsecPacket,
    payload: &Payload,
    front: usize,
    buffer: &mut B,
) -> Result<Inner, OpenError> {
    let octets = octets(payload, buffer)?;
    let inner = Ip::parse(octets).ok().filter(|inner| Parsed::from(inner).protocol() == payload.next_header);
    let (inner, class) = admit(sa, packet, &inner.ok_or(OpenError::MalformedInner)?, octets)?;
    leave(inner, class, payload.at, front, buffer)
}

#[inline]
fn octets<'a, B: Buffer>(payload: &Payload, buffer: &'a B) -> Result<&'a [u8], OpenError> {
    buffer.bytes().get(payload.at..).and_then(|rest| rest.get(..payload.len)).ok_or(OpenError::MalformedInner)
}

/// What stays known of an inner packet that begins these octets, and its traffic class from now on, where it may leave.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn admit(sa: &InboundSa, packet: &IpsecPacket, inner: &Ip<'_>, octets: &[u8]) -> Result<(Inner, u8), OpenError> {
    let class = ecn::decapsulate(inner.traffic_class(), packet.traffic_class).ok_or(OpenError::Congestion)?;
    let permitted = sa.selectors().permits_between(inner.source(), inner.destination()) || lists_permit(sa, octets);
    if permitted {
        Ok((Inner { protocol: inner.protocol(), parsed: Parsed::from(inner) }, class))
    } else {
        Err(OpenError::SelectorMismatch)
    }
}

/// Whether the inner packet that begins these octets is among the SA's selectors, ports and protocol considered.
#[inline(never)]
fn lists_permit(sa: &InboundSa, octets: &[u8]) -> bool {
    Ip::parse(octets).is_ok_and(|inner| sa.selectors().permits(&inner.flow()))
}

/// Cuts off everything but the inner packet and `front` octets before it, and writes what congestion in the tunnel has made of its traffic class.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn leave<B: Buffer>(Inner { protocol, parsed }: Inner, class: u8, at: usize, front: usize, buffer: &mut B) -> Result<Inner, OpenError> {
    // What goes behind it: traffic flow confidentiality padding (RFC 4303 section 2.7), trailer, ICV and Ethernet padding.
    let from = at.checked_sub(front).ok_or(OpenError::MalformedInner)?;
    buffer.keep(from, front + parsed.total_len()).ok_or(OpenError::MalformedInner)?;
    if class != parsed.traffic_class() {
        ip::replace_traffic_class(buffer.bytes_mut().get_mut(front..).ok_or(OpenError::MalformedInner)?, class);
    }
    Ok(Inner { protocol, parsed: parsed.with_traffic_class(class) })
}
