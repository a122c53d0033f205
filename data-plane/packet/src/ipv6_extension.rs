//! IPv6 extension headers (RFC 8200 section 4), followed to the upper-layer header within bounds.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  hop-by-hop options, destination options;
//! |  Next Header  |  Hdr Ext Len  |  Options, or Routing Type and |  a routing header has Segments Left in the
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  Segments Left ...           +  fourth octet. The length counts units of
//! |                                                               |  8 octets after the first 8.
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Header  |   Reserved    |      Fragment Offset    |Res|M|  fragment
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                         Identification                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::fmt;

use crate::ipv6::{PROTOCOL_DESTINATION_OPTIONS, PROTOCOL_FRAGMENT, PROTOCOL_HOP_BY_HOP, PROTOCOL_ROUTING};
use crate::octets;

/// Extension headers that a packet may have: each kind once, destination options twice (RFC 8200 section 4.1), and some to spare.
pub const MAX_EXTENSIONS: usize = 8;
/// Octets that the extension headers of a packet may have together. What is longer is refused, as RFC 8883 section 2 lets a node do.
pub const MAX_EXTENSION_OCTETS: usize = 512;

/// Why a chain of extension headers cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ExtensionError {
    /// A header reaches beyond the packet. A first fragment must hold the whole chain (RFC 7112 section 5).
    #[error("an extension header is cut off")]
    Truncated,
    /// Hop-by-hop options stand elsewhere than first (RFC 8200 section 4.1).
    #[error("hop-by-hop options are not the first extension header")]
    HopByHopNotFirst,
    /// A second fragment header.
    #[error("more than one fragment header")]
    FragmentTwice,
    /// More than [`MAX_EXTENSIONS`] headers, or more than [`MAX_EXTENSION_OCTETS`] octets of them.
    #[error("too many extension headers")]
    TooLong,
}

/// A fragment header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// Identification.
    pub identification: u32,
    /// Offset of this fragment in octets.
    pub offset: u16,
    /// Whether more fragments follow.
    pub more: bool,
    /// What the fragmentable part begins with: an extension header or the upper layer.
    pub next_header: u8,
    /// Where the fragment header stands, in octets from the end of the IPv6 header.
    pub at: usize,
}

impl Fragment {
    /// Octets of the header.
    pub const LEN: usize = 8;

    /// The octets of the header.
    pub const fn to_octets(&self) -> [u8; Self::LEN] {
        let [high, low] = (self.offset & !7 | self.more as u16).to_be_bytes();
        let [a, b, c, d] = self.identification.to_be_bytes();
        [self.next_header, 0, high, low, a, b, c, d]
    }
}

/// What a walk along the chain has found. One number, as every IPv6 packet has one: a struct would be put together in memory and read from there again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain(u64);

/// The same, to be read by name.
#[derive(Clone, Copy)]
struct Found {
    protocol: u8,
    fragment: Fragmented,
    segments_left: bool,
    /// Where the fragment header stands, in octets from the end of the IPv6 header.
    fragment_at: u16,
    len: u16,
    transport_at: u16,
}

/// What the fragment header says, if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fragmented {
    /// There is none.
    No,
    /// First and last at a time.
    Whole,
    /// More follow.
    First,
    /// It does not begin the packet.
    Later,
}

impl Found {
    const fn chain(self) -> Chain {
        let ([a, b], [c, d], [e, f]) = (self.fragment_at.to_le_bytes(), self.len.to_le_bytes(), self.transport_at.to_le_bytes());
        let segments_left = if self.segments_left { SEGMENTS_LEFT } else { 0 };
        Chain(u64::from_le_bytes([self.protocol, self.fragment as u8 | segments_left, a, b, c, d, e, f]))
    }
}

/// Beside the number of [`Fragmented`].
const SEGMENTS_LEFT: u8 = 0x80;

impl Chain {
    /// That of a packet whose upper layer follows the header at once.
    #[inline]
    pub(crate) fn none(next: u8) -> Option<Self> {
        (!is_extension(next)).then(|| Self(next.into()))
    }

    /// What comes after the extension headers.
    #[inline]
    pub(crate) const fn protocol(self) -> u8 {
        self.0.to_le_bytes()[0]
    }

    #[inline]
    pub(crate) const fn fragmented(self) -> Fragmented {
        match self.0.to_le_bytes()[1] & !SEGMENTS_LEFT {
            0 => Fragmented::No,
            1 => Fragmented::Whole,
            2 => Fragmented::First,
            _ => Fragmented::Later,
        }
    }

    #[inline]
    pub(crate) const fn segments_left(self) -> bool {
        self.0.to_le_bytes()[1] & SEGMENTS_LEFT != 0
    }

    /// Octets of the extension headers.
    #[inline]
    pub(crate) const fn len(self) -> usize {
        let [_, _, _, _, a, b, _, _] = self.0.to_le_bytes();
        u16::from_le_bytes([a, b]) as usize
    }

    /// Octets of those that routers read: the last is not destination options.
    #[inline]
    pub(crate) const fn transport_at(self) -> usize {
        let [_, _, _, _, _, _, a, b] = self.0.to_le_bytes();
        u16::from_le_bytes([a, b]) as usize
    }

    /// The fragment header, where there is one in the payload that was walked along.
    pub(crate) fn fragment(self, payload: &[u8]) -> Option<Fragment> {
        let [_, _, a, b, ..] = self.0.to_le_bytes();
        let at = usize::from(u16::from_le_bytes([a, b]));
        payload.get(at..).filter(|_| self.fragmented() != Fragmented::No).and_then(|header| fragment(header, at))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (protocol, fragmented, len) = (self.protocol(), self.fragmented(), self.len());
        f.debug_struct("Chain").field("protocol", &protocol).field("fragmented", &fragmented).field("len", &len).finish_non_exhaustive()
    }
}

/// Follows the chain that begins `payload` with the header `next`. AH and ESP end it: for selectors they are upper layers (RFC 4301 section 4.4.1.1). So
/// does a number that is not known to be an extension header, and a fragment after the first, where nothing more is to be seen.
#[inline]
pub(crate) fn walk(next: u8, payload: &[u8]) -> Result<Chain, ExtensionError> {
    Chain::none(next).map_or_else(|| follow(next, payload), Ok)
}

pub(crate) const fn is_extension(next: u8) -> bool {
    matches!(next, PROTOCOL_HOP_BY_HOP | PROTOCOL_ROUTING | PROTOCOL_FRAGMENT | PROTOCOL_DESTINATION_OPTIONS)
}

/// Most packets have no extension header: kept out of their way.
#[inline(never)]
fn follow(next: u8, payload: &[u8]) -> Result<Chain, ExtensionError> {
    let mut chain = Found { protocol: next, fragment: Fragmented::No, segments_left: false, fragment_at: 0, len: 0, transport_at: 0 };
    let mut end = 0;
    for count in 0..=MAX_EXTENSIONS {
        if !is_extension(chain.protocol) {
            return Ok(chain.chain());
        }
        if count == MAX_EXTENSIONS {
            break;
        }
        let [next, units, _, fourth] = octets(payload, end).ok_or(ExtensionError::Truncated)?;
        let len = match chain.protocol {
            PROTOCOL_HOP_BY_HOP if count > 0 => return Err(ExtensionError::HopByHopNotFirst),
            PROTOCOL_FRAGMENT if chain.fragment != Fragmented::No => return Err(ExtensionError::FragmentTwice),
            PROTOCOL_FRAGMENT => Fragment::LEN,
            _ => (usize::from(units) + 1) * 8,
        };
        let header = payload.get(end..end + len).ok_or(ExtensionError::Truncated)?;
        match chain.protocol {
            PROTOCOL_FRAGMENT => (chain.fragment, chain.fragment_at) = (fragmented(header, end), chain.len),
            PROTOCOL_ROUTING => chain.segments_left |= fourth != 0,
            _ => {}
        }
        end += len;
        if end > MAX_EXTENSION_OCTETS {
            break;
        }
        chain.len = u16::try_from(end).map_err(|_| ExtensionError::TooLong)?;
        if chain.protocol != PROTOCOL_DESTINATION_OPTIONS {
            chain.transport_at = chain.len;
        }
        chain.protocol = next;
        if chain.fragment == Fragmented::Later {
            return Ok(chain.chain());
        }
    }
    Err(ExtensionError::TooLong)
}

fn fragmented(header: &[u8], at: usize) -> Fragmented {
    match fragment(header, at) {
        Some(Fragment { offset: 0, more: false, .. }) => Fragmented::Whole,
        Some(Fragment { offset: 0, .. }) => Fragmented::First,
        Some(_) => Fragmented::Later,
        None => Fragmented::No,
    }
}

/// Octets of the extension header `kind` that starts `bytes`, and the one behind it.
pub(crate) fn step(kind: u8, bytes: &[u8]) -> Option<(usize, u8)> {
    let [next, units] = octets(bytes, 0)?;
    Some((if kind == PROTOCOL_FRAGMENT { Fragment::LEN } else { (usize::from(units) + 1) * 8 }, next))
}

/// Where the last of these extension headers stands, the first of which is `next`; `None` in it where there are none. They fill the octets; `None` where
/// they do not.
pub(crate) fn last(mut next: u8, extensions: &[u8]) -> Option<Option<usize>> {
    let (mut at, mut last) = (0, None);
    while at < extensions.len() {
        if !is_extension(next) {
            return None;
        }
        let (len, behind) = step(next, extensions.get(at..)?)?;
        last = Some(at);
        (at, next) = (at + len, behind);
    }
    (at == extensions.len()).then_some(last)
}

fn fragment(header: &[u8], at: usize) -> Option<Fragment> {
    let [next_header, _, high, low, identification @ ..] = octets::<8>(header, 0)?;
    Some(Fragment {
        identification: u32::from_be_bytes(identification),
        offset: u16::from_be_bytes([high, low & !7]),
        more: low & 1 != 0,
        next_header,
        at,
    })
}
