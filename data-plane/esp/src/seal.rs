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

use core::ops::Range;

use esp_crypto::SealJob;
use ipsec_types::Mode;
use packet::ah::AhHeader;
use packet::ip::{self, Ip, Parsed};
use packet::ipv4::{PROTOCOL_AH, PROTOCOL_ESP, PROTOCOL_UDP};
use packet::ipv6::PROTOCOL_NONE;
use packet::{Buffer, ipv6, udp};

use crate::facts::{SaFacts, low};
use crate::layout::{MAX_ALIGNMENT, Protocol};
use crate::template::{AnyShape, EspTunnel, Inner, KnownShape, Shape, Template, Usual, Way};
use crate::{Layout, OutboundSa, SequenceNumber, SequenceRange, TRAILER_LEN, ah};

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
    number: u64,
    facts: SaFacts,
    data_at: u32,
    data_end: u32,
}

/// Puts headers in front of the packet that starts the buffer, or behind its IP header in transport mode, and trailer and room for the ICV behind. Octets
/// beyond the packet's total length are cut off. The template is that of the SA, for where it leads now: it may be another one for the next packet.
/// `inner` is what parsing the packet has shown.
///
/// # Errors
/// [`SealError`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub fn prepare<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    template: &Template,
    inner: Parsed,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    prepare_padded(number, template, inner, 0, buffer)
}

/// The same for a packet that has not been parsed.
///
/// # Errors
/// [`SealError`].
pub fn parse_and_prepare<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    template: &Template,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    let inner = Parsed::parse(buffer.bytes()).map_err(|_| SealError::MalformedInner)?;
    prepare(number, template, inner, buffer)
}

/// [`prepare`] with padding behind an inner packet that is shorter than `pad_to` octets, so that its length is not to be seen (RFC 4303 section 2.7): in an
/// ESP tunnel, and as much as there is room for.
///
/// # Errors
/// [`SealError`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub fn prepare_padded<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    template: &Template,
    inner: Parsed,
    pad_to: usize,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    match (template.layout().protocol(), template.layout().mode()) {
        (Protocol::Esp, Mode::Tunnel) => esp(number, template, &Payload::whole(inner), pad_to, buffer),
        _ => prepare_other(number, template, inner, buffer),
    }
}

/// All but ESP in tunnel mode, which most packets are in: kept out of their way.
#[inline(never)]
fn prepare_other<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    template: &Template,
    inner: Parsed,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    let payload = match template.layout().mode() {
        Mode::Tunnel => Payload::whole(inner),
        Mode::Transport => {
            let packet = Ip::parse(buffer.bytes()).map_err(|_| SealError::MalformedInner)?;
            Payload::behind_header(&packet, template)?
        }
    };
    match template.layout().protocol() {
        Protocol::Esp => esp(number, template, &payload, 0, buffer),
        Protocol::Ah => authenticate(number, template, &payload, buffer),
    }
}

/// Makes an ESP packet of one that nobody has sent: whatever the buffer holds is encrypted, and its receiver throws it away (RFC 4303 section 2.6).
///
/// # Errors
/// [`SealError`].
pub fn prepare_dummy<'sa, B: Buffer>(number: SequenceNumber<'sa>, template: &Template, buffer: &mut B) -> Result<SealPlan<'sa>, SealError> {
    let outer = Inner { traffic_class: 0, dont_fragment: true };
    let payload = Payload { at: 0, len: buffer.len(), next_header: PROTOCOL_NONE, outer };
    esp(number, template, &payload, 0, buffer)
}

/// What is protected of a packet.
struct Payload {
    /// Octets of IP header in front of it that stay: none in tunnel mode.
    at: usize,
    len: usize,
    next_header: u8,
    outer: Inner,
}

impl Payload {
    /// In tunnel mode.
    #[inline]
    const fn whole(inner: Parsed) -> Self {
        let outer = Inner { traffic_class: inner.traffic_class(), dont_fragment: inner.dont_fragment() };
        Self { at: 0, len: inner.total_len(), next_header: inner.protocol(), outer }
    }

    /// In transport mode.
    fn behind_header(packet: &Ip<'_>, template: &Template) -> Result<Self, SealError> {
        // The receiver's header is the one that the ICV of AH covers, so the destination must be the last (RFC 4302 section 3.3.3.1.1.1).
        if !template.tunnel().joins(packet.source(), packet.destination()) || packet.is_source_routed() {
            return Err(SealError::NotEndToEnd);
        }
        // AH does not see fragment headers, not even of whole packets (RFC 4302 appendix A2).
        let has_fragment_header = matches!(packet, Ip::V6(ip) if ip.fragment().is_some());
        if packet.is_fragment() || (has_fragment_header && template.layout().protocol() == Protocol::Ah) {
            return Err(SealError::Fragment);
        }
        let (at, next_header) = (packet.transport_at(), packet.transport_protocol());
        let outer = Inner { traffic_class: packet.traffic_class(), dont_fragment: packet.dont_fragment() };
        Ok(Self { at, len: packet.total_len() - at, next_header, outer })
    }

    /// Octets of the packet.
    #[inline]
    const fn end(&self) -> usize {
        self.at + self.len
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn esp<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    template: &Template,
    payload: &Payload,
    pad_to: usize,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    let (_, data) = match template.layout().mode() {
        Mode::Tunnel => lay_out_in_tunnel(number.value(), template, template.shape(), payload, pad_to, &[], buffer)?,
        Mode::Transport => lay_out_behind_header(number.value(), template, payload, buffer)?,
    };
    SealPlan::new(&number, template, data)
}

/// A packet that stands behind a link header.
#[derive(Debug)]
pub struct Frame<'a, B> {
    /// What the caller knows it by.
    pub index: u8,
    /// What parsing the packet has shown.
    pub inner: Parsed,
    /// Link header and packet.
    pub buffer: &'a mut B,
}

/// [`prepare_padded`] and [`SealPlan::job`] in one for frames that go through one tunnel, which is less work: for who can hold on to the buffers until the
/// cipher is done. `link` stands in the place of the link headers then, in front of the outer headers. No more frames are taken than there are numbers.
/// `hand_over` is given the jobs; `refuse` is told which frame has to be dropped instead, and why.
#[inline]
pub fn prepare_frames<'a, const LINK: usize, B: Buffer + 'a>(
    numbers: SequenceRange<'a>,
    template: EspTunnel<'_>,
    pad_to: usize,
    link: &[u8; LINK],
    frames: &mut impl Iterator<Item = Frame<'a, B>>,
    hand_over: impl FnMut(SealJob<'a>),
    refuse: impl FnMut(u8, SealError),
) {
    // Each of these is compiled by itself.
    let way = template.usual_way();
    let template = template.template();
    match way {
        Some(Way::V4) => frames_of::<Usual<false, false>, _, _>(numbers, template, pad_to, link, frames, hand_over, refuse),
        Some(Way::V4Udp) => frames_of::<Usual<false, true>, _, _>(numbers, template, pad_to, link, frames, hand_over, refuse),
        Some(Way::V6) => frames_of::<Usual<true, false>, _, _>(numbers, template, pad_to, link, frames, hand_over, refuse),
        Some(Way::V6Udp) => frames_of::<Usual<true, true>, _, _>(numbers, template, pad_to, link, frames, hand_over, refuse),
        None => frames_of::<AnyShape, _, _>(numbers, template, pad_to, link, frames, hand_over, refuse),
    }
}

/// [`prepare_frames`] for templates of one shape.
#[inline(never)]
fn frames_of<'a, S: KnownShape, const LINK: usize, B: Buffer + 'a>(
    numbers: SequenceRange<'a>,
    template: &Template,
    pad_to: usize,
    link: &[u8; LINK],
    frames: &mut impl Iterator<Item = Frame<'a, B>>,
    mut hand_over: impl FnMut(SealJob<'a>),
    mut refuse: impl FnMut(u8, SealError),
) {
    for (number, Frame { index, inner, buffer }) in numbers.zip(frames) {
        match frame_of::<S, LINK, B>(number, template, pad_to, link, inner, buffer) {
            Ok(job) => hand_over(job),
            Err(error) => refuse(index, error),
        }
    }
}

/// [`prepare_frames`] of one frame, which costs less alone: what is looked at once for many is not.
///
/// # Errors
/// [`SealError`].
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
pub fn prepare_frame<'a, const LINK: usize, B: Buffer>(
    number: SequenceNumber<'a>,
    template: EspTunnel<'_>,
    pad_to: usize,
    link: &[u8; LINK],
    inner: Parsed,
    buffer: &'a mut B,
) -> Result<SealJob<'a>, SealError> {
    let way = template.usual_way();
    let template = template.template();
    match way {
        Some(Way::V4) => frame_of::<Usual<false, false>, LINK, B>(number, template, pad_to, link, inner, buffer),
        Some(Way::V4Udp) => frame_of::<Usual<false, true>, LINK, B>(number, template, pad_to, link, inner, buffer),
        Some(Way::V6) => frame_of::<Usual<true, false>, LINK, B>(number, template, pad_to, link, inner, buffer),
        Some(Way::V6Udp) => frame_of::<Usual<true, true>, LINK, B>(number, template, pad_to, link, inner, buffer),
        None => frame_of::<AnyShape, LINK, B>(number, template, pad_to, link, inner, buffer),
    }
}

/// The same for a template of one shape.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn frame_of<'a, S: KnownShape, const LINK: usize, B: Buffer>(
    number: SequenceNumber<'a>,
    template: &Template,
    pad_to: usize,
    link: &[u8; LINK],
    inner: Parsed,
    buffer: &'a mut B,
) -> Result<SealJob<'a>, SealError> {
    let (shape, value) = (S::shape(template), number.value());
    let (packet, data) = lay_out_in_tunnel(value, template, shape, &Payload::whole(inner), pad_to, link, buffer)?;
    job(number.sa(), template.facts(), shape.layout, value, packet, data).ok_or(SealError::NoTailroom)
}

/// Writes all that is in clear in tunnel mode by a template of this shape; the whole packet, and where in it the data of the job are, without IV.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn lay_out_in_tunnel<'a, const LINK: usize, B: Buffer>(
    number: u64,
    template: &Template,
    shape: Shape,
    inner: &Payload,
    pad_to: usize,
    link: &[u8; LINK],
    buffer: &'a mut B,
) -> Result<(&'a mut [u8], Range<usize>), SealError> {
    let layout = shape.layout;
    let (front_len, icv_len) = (shape.front_len(), layout.icv_len());
    let hidden = if pad_to > inner.len { hiding(LINK, inner.len, pad_to, buffer) } else { 0 };
    let padding = layout.padding_len(inner.len + hidden);
    let data_len = inner.len + hidden + padding + TRAILER_LEN;
    let payload_len = shape.payload_len(front_len - shape.outer_len() + data_len + icv_len).ok_or(SealError::TooLong)?;
    let before = (buffer.len(), buffer.headroom());
    let packet = buffer.enclose(front_len, LINK + inner.len, hidden + padding + TRAILER_LEN + icv_len);
    let packet = packet.ok_or_else(|| no_room(before, LINK + inner.len, front_len))?;
    let (front, back) = packet.split_at_mut_checked(LINK + front_len).ok_or(SealError::NoHeadroom)?;
    write_trailer(back.get_mut(inner.len..).ok_or(SealError::NoTailroom)?, hidden, padding, inner.next_header);
    let (at_link, front) = front.split_first_chunk_mut().ok_or(SealError::NoHeadroom)?;
    *at_link = *link;
    let front = template.write_outer(shape.way, front, number, inner.outer, payload_len);
    front.and_then(|front| template.write_esp(shape.way, front, number, payload_len)).ok_or(SealError::TooLong)?;
    let data_at = LINK + front_len;
    Ok((packet, data_at..data_at + data_len))
}

/// The same in transport mode.
fn lay_out_behind_header<'a, B: Buffer>(
    number: u64,
    template: &Template,
    payload: &Payload,
    buffer: &'a mut B,
) -> Result<(&'a mut [u8], Range<usize>), SealError> {
    let layout = template.layout();
    let (front_len, icv_len) = (template.front_len(), layout.icv_len());
    let padding = layout.padding_len(payload.len);
    let data_len = payload.len + padding + TRAILER_LEN;
    let payload_len = template.payload_len(payload.at, front_len + data_len + icv_len).ok_or(SealError::TooLong)?;
    let before = (buffer.len(), buffer.headroom());
    let packet = buffer.enclose(front_len, payload.end(), padding + TRAILER_LEN + icv_len);
    let packet = packet.ok_or_else(|| no_room(before, payload.end(), front_len))?;
    let back = packet.get_mut(front_len + payload.end()..).ok_or(SealError::NoTailroom)?;
    write_trailer(back, 0, padding, payload.next_header);
    let front = open_gap(packet, payload.at, front_len, if template.is_in_udp() { PROTOCOL_UDP } else { PROTOCOL_ESP });
    front.and_then(|front| template.write_esp(template.shape().way, front, number, payload_len)).ok_or(SealError::TooLong)?;
    let data_at = payload.at + front_len;
    Ok((packet, data_at..data_at + data_len))
}

/// Why a packet cannot grow, of a buffer with so many octets and so much headroom.
#[cold]
const fn no_room((len, headroom): (usize, usize), packet_len: usize, front_len: usize) -> SealError {
    if len < packet_len {
        SealError::MalformedInner
    } else if headroom < front_len {
        SealError::NoHeadroom
    } else {
        SealError::NoTailroom
    }
}

/// Octets of padding that hide the length of an inner packet which stands `at` that place of the buffer. The trailer comes first.
#[cold]
fn hiding<B: Buffer>(at: usize, inner_len: usize, pad_to: usize, buffer: &B) -> usize {
    let room = buffer.tailroom() + buffer.len().saturating_sub(at + inner_len);
    pad_to.saturating_sub(inner_len).min(room.saturating_sub(MAX_ALIGNMENT - 1 + TRAILER_LEN + esp_crypto::MAX_ICV_LEN))
}

/// Lets the packet, which was given `gap` octets more in front, begin with its IP header of `header_len` octets, and makes it the header of a packet of
/// this protocol. The gap is behind it then.
#[cold]
fn open_gap(bytes: &mut [u8], header_len: usize, gap: usize, protocol: u8) -> Option<&mut [u8]> {
    // Whatever is behind the packet belongs to it: trailer and ICV.
    let total_len = bytes.len();
    bytes.get(gap..gap + header_len)?;
    bytes.copy_within(gap..gap + header_len, 0);
    let (header, rest) = bytes.split_at_mut_checked(header_len)?;
    ip::set_payload(header, protocol, total_len)?;
    rest.get_mut(..gap)
}

/// AH: the ICV is computed over the whole packet.
fn authenticate<'sa, B: Buffer>(
    number: SequenceNumber<'sa>,
    template: &Template,
    payload: &Payload,
    buffer: &mut B,
) -> Result<SealPlan<'sa>, SealError> {
    let (front_len, icv_len) = (template.front_len(), template.layout().icv_len());
    let len = front_len - template.outer_len();
    let sequence = low(number.value());
    let ah = AhHeader { next_header: payload.next_header, len, spi: template.facts().spi().value(), sequence };
    let ah = ah.to_octets().ok_or(SealError::TooLong)?;
    let payload_len = template.payload_len(payload.at, len + payload.len).ok_or(SealError::TooLong)?;
    let header_len = template.outer_len() + payload.at;

    // Room for what `cover` puts behind, before anything changes.
    if buffer.tailroom() + buffer.len().saturating_sub(payload.end()) < icv_len + header_len {
        return Err(if buffer.headroom() < front_len { SealError::NoHeadroom } else { SealError::NoTailroom });
    }
    let before = (buffer.len(), buffer.headroom());
    let packet = buffer.enclose(front_len, payload.end(), 0).ok_or_else(|| no_room(before, payload.end(), front_len))?;
    let behind_ip = match template.layout().mode() {
        Mode::Tunnel => packet
            .get_mut(..front_len)
            .and_then(|front| template.write_outer(template.shape().way, front, number.value(), payload.outer, payload_len)),
        Mode::Transport => open_gap(packet, payload.at, front_len, PROTOCOL_AH),
    };
    let (fixed, icv) = behind_ip.and_then(|rest| rest.split_at_mut_checked(ah.len())).ok_or(SealError::TooLong)?;
    fixed.copy_from_slice(&ah);
    // The ICV, and what aligns the header.
    icv.fill(0);
    ah::cover(buffer, header_len, icv_len).ok_or(SealError::MalformedInner)?;
    SealPlan::new(&number, template, 0..header_len + len + payload.len)
}

impl<'sa> SealPlan<'sa> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    fn new(number: &SequenceNumber<'sa>, template: &Template, data: Range<usize>) -> Result<Self, SealError> {
        let short = |at: usize| u32::try_from(at).map_err(|_| SealError::TooLong);
        Ok(Self {
            sa: number.sa(),
            number: number.value(),
            facts: *template.facts(),
            data_at: short(data.start)?,
            data_end: short(data.end)?,
        })
    }

    /// The work for [`esp_crypto::seal_burst`]. `None` where `buffer` is not the one that was prepared, or was changed since: drop it.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    #[must_use = "the packet is still in clear"]
    pub fn job<'a, B: Buffer>(self, buffer: &'a mut B) -> Option<SealJob<'a>>
    where
        'sa: 'a,
    {
        job(self.sa, &self.facts, self.facts.layout(), self.number, buffer.bytes_mut(), self.data_at as usize..self.data_end as usize)
    }
}

/// The job of a packet that was laid out with its data there.
#[inline(always)]
#[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
fn job<'a>(
    sa: &'a OutboundSa,
    facts: &SaFacts,
    layout: Layout,
    number: u64,
    packet: &'a mut [u8],
    data: Range<usize>,
) -> Option<SealJob<'a>> {
    let start = data.start.checked_sub(layout.iv_in_data())?;
    let (data, icv) = packet.get_mut(start..)?.split_at_mut_checked(data.end.checked_sub(start)?)?;
    let nonce = facts.nonce(number.to_be_bytes());
    SealJob::new(sa.key(), nonce, facts.aad(number), data, icv.get_mut(..layout.icv_len())?).ok()
}

/// What follows the cipher, with the template that the packet was prepared with. AH gets its ICV, and the IP header in front of it is as it is to be
/// sent again. ESP in UDP over IPv6 gets its UDP checksum (RFC 8200 section 8.1): RFC 6935 would permit tunnels a checksum of zero, but Linux drops such
/// packets unless told otherwise, and computes one for those it sends. Over IPv4 it is zero (RFC 3948 section 2.1), and the packet is ready as it is.
///
/// `None` where `buffer` is not the one that was prepared: drop it.
#[inline]
#[must_use = "the packet is not complete where this fails"]
pub fn finish<B: Buffer>(template: &Template, buffer: &mut B) -> Option<()> {
    finish_frame::<0, B>(template, buffer)
}

/// The same for what [`prepare_frames`] has made.
#[inline]
#[must_use = "the packet is not complete where this fails"]
pub fn finish_frame<const LINK: usize, B: Buffer>(template: &Template, buffer: &mut B) -> Option<()> {
    if template.is_complete_without_finish() { Some(()) } else { complete(template, LINK, buffer) }
}

#[inline(never)]
fn complete<B: Buffer>(template: &Template, link_len: usize, buffer: &mut B) -> Option<()> {
    match template.layout().protocol() {
        Protocol::Ah => {
            let packet_len = ip::total_len(buffer.bytes())?;
            ah::uncover(buffer, packet_len, template.layout().icv_len())
        }
        Protocol::Esp => {
            let (source, destination) = template.ends_v6()?;
            let at = match template.layout().mode() {
                Mode::Tunnel => ipv6::HEADER_LEN,
                Mode::Transport => Ip::parse(buffer.bytes()).ok()?.header_len(),
            };
            udp::fill_checksum(source.into(), destination.into(), buffer.bytes_mut().get_mut(link_len + at..)?);
            Some(())
        }
    }
}

/// Zeros that hide the length (RFC 4303 section 2.7), padding 1, 2, 3 (section 2.4), its length, and next header. Room for the ICV is behind them.
#[inline(always)]
fn write_trailer(back: &mut [u8], hidden: usize, padding: usize, next_header: u8) {
    const FIRST_SIX: u64 = 0x0006_0504_0302_0100 >> 8;
    let back = if hidden == 0 { back } else { hide(back, hidden) };
    match (padding, back.first_chunk_mut()) {
        // Written as one word, which may reach into the room for the ICV.
        (0..=6, Some(word)) => {
            let fixed = padding as u64 | u64::from(next_header) << 8;
            *word = (FIRST_SIX & !(u64::MAX << (8 * padding)) | fixed << (8 * padding)).to_le_bytes();
        }
        _ => write_long_trailer(back, padding, next_header),
    }
}

#[cold]
fn hide(back: &mut [u8], hidden: usize) -> &mut [u8] {
    let (hiding, rest) = back.split_at_mut_checked(hidden).unwrap_or_default();
    hiding.fill(0);
    rest
}

/// The same where the padding is longer, as of AES-CBC.
#[inline(never)]
fn write_long_trailer(back: &mut [u8], padding: usize, next_header: u8) {
    let Some((pattern, rest)) = back.split_at_mut_checked(padding) else { return };
    pattern.iter_mut().zip(1..).for_each(|(octet, value)| *octet = value);
    if let Some(fixed) = rest.first_chunk_mut::<TRAILER_LEN>() {
        *fixed = [u8::try_from(padding).unwrap_or(0), next_header];
    }
}

#[cfg(test)]
mod tests;
