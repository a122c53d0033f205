//! AH and transport mode: all but ESP in tunnel mode, kept out of its way.

use esp_crypto::OpenJob;
use ipsec_types::Mode;
use packet::ah::AhHeader;
use packet::ip::{self, Ip, Parsed};
use packet::ipv6::{self, Fragment};
use packet::{Buffer, udp};

use super::outer::short;
use super::tunnel::{Inner, Payload, take_out};
use super::{IpsecPacket, OpenError, OpenPlan, Opened, number};
use crate::layout::Protocol;
use crate::{InboundSa, ReplayWindow, ah};

pub(super) fn prepare_ah<'sa, B: Buffer>(
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
    let number = number(sa, window, &packet)?;
    // Ethernet padding.
    let surplus = buffer.len().saturating_sub(packet.end());
    buffer.trim_back(surplus).ok_or(OpenError::Runt)?;
    if buffer.tailroom() < icv_len + packet.at() {
        return Err(OpenError::NoTailroom);
    }
    ah::cover(buffer, packet.at(), icv_len).ok_or(OpenError::MalformedOuter)?;
    Ok(OpenPlan { sa, packet, number })
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

impl OpenPlan<'_> {
    /// Of AH the data are the whole packet.
    pub(super) fn ah_job<'a>(&self, bytes: &'a mut [u8]) -> Option<OpenJob<'a>>
    where
        Self: 'a,
    {
        let (data, rest) = bytes.split_at_mut_checked(self.packet.end())?;
        let (icv, facts) = (rest.get(..self.sa.layout().icv_len())?, self.sa.facts());
        OpenJob::new(self.sa.key(), facts.nonce([0; 8]), facts.aad(self.number), data, icv).ok()
    }

    /// [`OpenPlan::finish`] of an authentic packet.
    #[inline(never)]
    pub(super) fn finish_other<B: Buffer>(&self, window: &mut ReplayWindow, buffer: &mut B) -> Result<Opened, OpenError> {
        let (sa, packet, number) = (self.sa, &self.packet, self.number);
        let accepted = window.accept(number)?;
        let payload = match packet.protocol {
            Protocol::Esp => Payload::of(sa, packet, buffer.bytes())?,
            Protocol::Ah => self.uncover(buffer).ok_or(OpenError::MalformedInner)?,
        };
        let Inner { protocol, parsed } = match sa.layout().mode() {
            Mode::Tunnel => take_out(sa, packet, &payload, 0, buffer)?,
            Mode::Transport => self.join(&payload, buffer)?,
        };
        Ok(Opened { number, accepted, protocol, inner: parsed })
    }

    fn uncover<B: Buffer>(&self, buffer: &mut B) -> Option<Payload> {
        let (at, end) = (self.packet.at(), self.packet.end());
        ah::uncover(buffer, end, self.sa.layout().icv_len())?;
        let header = AhHeader::parse(buffer.bytes().get(at..)?)?;
        let at = at + header.len;
        Some(Payload { at, len: end.checked_sub(at)?, next_header: header.next_header })
    }

    /// Octets of the outer IP header, options and extension headers included.
    const fn header_len(&self) -> usize {
        self.packet.at() - if self.packet.in_udp { udp::HEADER_LEN } else { 0 }
    }

    /// Transport mode: the payload follows the packet's IP header as if it had never been protected.
    fn join<B: Buffer>(&self, payload: &Payload, buffer: &mut B) -> Result<Inner, OpenError> {
        let (header_len, next_header) = (self.header_len(), payload.next_header);
        let total_len = header_len + payload.len;
        let gap = payload.at.checked_sub(header_len).ok_or(OpenError::MalformedInner)?;
        let surplus = buffer.len().checked_sub(payload.at + payload.len).ok_or(OpenError::MalformedInner)?;
        buffer.bytes_mut().copy_within(..header_len, gap);
        buffer.trim_front(gap).and_then(|()| buffer.trim_back(surplus)).ok_or(OpenError::MalformedInner)?;
        let header = buffer.bytes_mut().get_mut(..header_len).ok_or(OpenError::MalformedInner)?;
        ip::set_payload(header, next_header, total_len).ok_or(OpenError::MalformedInner)?;
        if self.packet.in_udp {
            // A NAT has changed addresses that a checksum of TCP, UDP or ICMPv6 covers; the ICV has shown the rest to be right (RFC 3948 section 3.1.2 item 2).
            ip::fix_checksum(buffer.bytes_mut()).ok_or(OpenError::MalformedInner)?;
        }
        let packet = Ip::parse(buffer.bytes()).ok().filter(|packet| !packet.is_fragment()).ok_or(OpenError::MalformedInner)?;
        if !self.sa.selectors().permits(&packet.flow()) {
            return Err(OpenError::SelectorMismatch);
        }
        Ok(Inner { protocol: packet.protocol(), parsed: Parsed::from(&packet) })
    }
}
