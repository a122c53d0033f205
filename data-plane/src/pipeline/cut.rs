//! Packets that are longer than what they have to fit into, and may be cut. Rare, and out of the way of those that fit.
//!
//! In the clear a packet is cut as a router cuts it, when it leaves. One for an SA is cut before it is sealed, where it may be (RFC 4301 sections 7 and
//! 8.2): the pieces are packets of their own. Otherwise it is sealed whole, and the ESP packet is cut: its receiver puts it together before it opens it
//! (RFC 4303 section 3.4.1).

use std::net::IpAddr;

use arrayvec::ArrayVec;
use esp::open::IpsecPacket;
use esp::{DontFragment, Template, Tunnel};
use ipsec_types::{Flow, Mode};
use packet::Buffer;
use packet::ip::{Ip, Parsed};

use super::outbound::{Outgoing, Queue, Source};
use super::{BURST, Burst, Context, Io};
use crate::fragmentation;
use crate::stats::Tally;
use crate::table::sad::SadEntry;
use crate::verdict::Verdict;

/// The smallest MTU of a link that carries IPv6 (RFC 8200 section 5): a sender does not go below (RFC 8201 section 4).
pub(super) const IPV6_MIN_MTU: usize = 1280;

/// How a packet that is too long for an SA crosses in it all the same, in pieces of so many octets at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The packet is cut, and each piece sealed.
    Before(usize),
    /// The packet is sealed, and the ESP packet cut.
    After(usize),
}

/// A packet that is to be cut before it is sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Oversized {
    pub(super) packet: Outgoing,
    /// Octets of a piece at most.
    pub(super) mtu: usize,
}

/// How a packet crosses that no ESP packet of `outer_mtu` octets has room for.
///
/// # Errors
/// [`Verdict::FragmentationNeeded`] where its sender has to make it shorter.
#[cold]
pub(super) fn for_sa(through: &SadEntry, packet: &Outgoing, outer_mtu: usize) -> Result<Cut, Verdict> {
    let (sa, tunnel) = (&through.sa, through.tunnel());
    if sa.outbound.layout().mode() == Mode::Transport {
        // It protects whole packets (RFC 4303 section 3.3.4), and these are the gateway's own: DF binds routers.
        return Ok(Cut::After(outer_mtu));
    }
    match (packet.flow.source, packet.dont_fragment) {
        // No sender makes IPv6 packets shorter than that (RFC 2473 section 7.1 b).
        (IpAddr::V6(_), _) if packet.len <= IPV6_MIN_MTU => Ok(Cut::After(outer_mtu)),
        (IpAddr::V6(_), _) => Err(Verdict::FragmentationNeeded),
        // DF is not for the tunnel to obey where its policy says so (RFC 4301 section 8.1).
        (IpAddr::V4(_), true) if tunnel.dont_fragment == DontFragment::Clear => Ok(Cut::After(outer_mtu)),
        (IpAddr::V4(_), true) => Err(Verdict::FragmentationNeeded),
        // Later fragments have no ports: an SA for certain ports cannot carry them (RFC 4301 section 7.1).
        (IpAddr::V4(_), false) => {
            let later = Flow { source_port: None, destination_port: None, ..packet.flow };
            let inner_mtu = tunnel.inner_mtu(sa.outbound.layout(), outer_mtu);
            let before = inner_mtu.filter(|_| sa.outbound_selectors.permits(&later)).map(Cut::Before);
            Ok(before.unwrap_or(Cut::After(outer_mtu)))
        }
    }
}

/// The headers of an ESP packet that is to be cut: without DF, that of IPv4 has an identification.
#[cold]
pub(super) fn template_in_pieces(through: &SadEntry) -> Template {
    Template::new(&through.sa.outbound, &Tunnel { dont_fragment: DontFragment::Clear, ..through.tunnel() })
}

/// Moves the pieces of a packet into the empty burst, as packets of its flow that are to be sealed.
///
/// # Errors
/// Why it is dropped.
#[cold]
pub(super) fn before_sealing<B: Buffer>(
    cx: Context<'_>,
    oversized: &Oversized,
    packet: &B,
    io: &mut impl Io<B>,
    burst: &mut Burst<B>,
    outgoing: &mut Queue,
) -> Result<(), Verdict> {
    for piece in pieces(cx, packet, oversized.mtu, io)? {
        // They take the way that was found for the whole, ports included; its hop limit was decremented.
        let parsed = Parsed::parse(piece.bytes()).map_err(|_| Verdict::MalformedIp)?;
        let piece_of = Outgoing { index: burst.packets.len(), parsed, len: piece.len(), source: Source::Gateway, ..oversized.packet };
        if burst.push(piece).is_ok() {
            outgoing.push(piece_of);
        }
    }
    Ok(())
}

/// The pieces of a packet, of at most `mtu` octets. All or none: what is missing one is of no use.
///
/// # Errors
/// [`Verdict::TooBig`] where it cannot be cut, or would be cut into more than [`BURST`] pieces; [`Verdict::NoMemory`].
#[cold]
pub(super) fn pieces<B: Buffer>(cx: Context<'_>, packet: &B, mtu: usize, io: &mut impl Io<B>) -> Result<ArrayVec<B, BURST>, Verdict> {
    let octets = packet.bytes();
    let mut pieces = ArrayVec::new();
    for fragment in fragmentation::fragments(octets, mtu, identification(octets)).ok_or(Verdict::TooBig)? {
        let mut piece = io.allocate(mtu).ok_or(Verdict::NoMemory)?;
        for part in [&fragment.header[..], fragment.payload] {
            piece.append(part.len()).ok_or(Verdict::NoMemory)?.copy_from_slice(part);
        }
        pieces.try_push(piece).map_err(|_| Verdict::TooBig)?;
    }
    cx.stats().add(Tally::Fragmented, 1);
    Ok(pieces)
}

/// What the fragments of a packet are known by, where its header does not say: of ESP and AH in IPv6 the sequence number, which no other packet of the SA
/// has; the SPI sets those of other SAs apart.
fn identification(octets: &[u8]) -> Option<u32> {
    let esp = match Ip::parse(octets) {
        Ok(Ip::V6(outer)) => IpsecPacket::read(&Ip::V6(outer)).ok(),
        _ => None,
    };
    esp.map(|esp| esp.spi.wrapping_add(esp.sequence))
}
