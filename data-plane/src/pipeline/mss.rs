//! The segment size that TCP connections through an SA announce, lowered in both directions to what fits it: so they need no ICMP to find it out, which
//! many networks drop (RFC 6691, RFC 4459 section 3.2).

use packet::ip::Ip;
use packet::ipv4::PROTOCOL_TCP;
use packet::tcp;

use super::{Context, egress};
use crate::stats::Tally;
use crate::table::sad::SadEntry;

/// Octets of an IPv4 and an IPv6 header, without options and extension headers (RFC 6691 section 2).
const IP_HEADER_LENS: [usize; 2] = [20, 40];

/// Looks at an inner packet of this SA whose upper layer is `protocol`.
#[inline]
pub(super) fn clamp(cx: Context<'_>, through: &SadEntry, protocol: u8, packet: &mut [u8]) {
    if protocol == PROTOCOL_TCP && cx.clamp_mss && may_be_syn(packet) {
        clamp_syn(cx, through, packet);
    }
}

/// Whether a TCP packet is to be looked at once more: it opens a connection, or has extension headers.
#[inline]
fn may_be_syn(packet: &[u8]) -> bool {
    let at = match packet {
        [first, ..] if first >> 4 == 4 => usize::from(first & 0xf) * 4,
        [_, _, _, _, _, _, PROTOCOL_TCP, ..] => packet::ipv6::HEADER_LEN,
        _ => return true,
    };
    packet.get(at..).is_some_and(tcp::is_syn)
}

/// The same for one that opens a connection.
#[cold]
fn clamp_syn(cx: Context<'_>, through: &SadEntry, packet: &mut [u8]) {
    let Ok(ip) = Ip::parse(packet) else { return };
    let [ipv4, ipv6] = IP_HEADER_LENS;
    let header_len = if matches!(ip, Ip::V4(_)) { ipv4 } else { ipv6 };
    let (start, end) = (ip.header_len(), ip.total_len());
    let Some(mtu) = egress::inner_mtu(cx, through).filter(|_| !ip.is_fragment()) else { return };
    let most = u16::try_from(mtu.saturating_sub(header_len + tcp::HEADER_LEN)).unwrap_or(u16::MAX);
    if packet.get_mut(start..end).and_then(|segment| tcp::clamp_mss(segment, most)).is_some() {
        cx.stats().add(Tally::MssClamped, 1);
    }
}
