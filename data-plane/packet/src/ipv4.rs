//! IPv4 (RFC 791).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Version|  IHL  |   DSCP    |ECN|          Total Length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |         Identification        |0|D|M|     Fragment Offset     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Time to Live |    Protocol   |         Header Checksum       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       Source Address                          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Destination Address                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Options                    |    Padding    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use core::net::Ipv4Addr;

use ipsec_types::Flow;

use crate::ip::HopLimitExceeded;
use crate::{checksum, flow};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Octets of a header with as many options as there can be.
pub const MAX_HEADER_LEN: usize = 60;
/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of IPv4 in IPv4 (RFC 2003).
pub const PROTOCOL_IPV4: u8 = 4;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Protocol number of ESP.
pub const PROTOCOL_ESP: u8 = 50;
/// Protocol number of AH.
pub const PROTOCOL_AH: u8 = 51;

/// Version 4, and five words of header.
pub(crate) const VERSION_4_NO_OPTIONS: u8 = 0x45;

/// Why octets are no IPv4 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ipv4Error {
    /// Fewer octets than a header.
    #[error("shorter than an IPv4 header")]
    Truncated,
    /// Another version.
    #[error("not version 4")]
    Version,
    /// The header length is below 20 or beyond the packet.
    #[error("the header length does not fit")]
    HeaderLength,
    /// The total length is below the header length or beyond the octets there are.
    #[error("the total length does not fit")]
    TotalLength,
    /// The header checksum is wrong.
    #[error("wrong header checksum")]
    Checksum,
}

/// An IPv4 packet whose version, lengths and header checksum are right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4<'a> {
    header: &'a [u8; HEADER_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Ipv4<'a> {
    /// Checks the octets. They may be more than the packet's total length (Ethernet padding, RFC 4303 section 2.7 TFC padding): the rest is ignored.
    ///
    /// # Errors
    /// [`Ipv4Error`].
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Ipv4Error> {
        let header = bytes.first_chunk::<HEADER_LEN>().ok_or(Ipv4Error::Truncated)?;
        if header[0] >> 4 != 4 {
            return Err(Ipv4Error::Version);
        }
        let header_len = usize::from(header[0] & 0x0f) * 4;
        let total_len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let options = bytes.get(HEADER_LEN..header_len).ok_or(Ipv4Error::HeaderLength)?;
        let payload = bytes.get(header_len..total_len).ok_or(Ipv4Error::TotalLength)?;
        // Most headers have no options.
        let is_right = if options.is_empty() { checksum::is_right(header) } else { is_right_with_options(bytes.get(..header_len)) };
        if !is_right {
            return Err(Ipv4Error::Checksum);
        }
        Ok(Self { header, options, payload })
    }

    /// The same for packets without options, which nearly all are: read in fewer steps. `None` for any other, right or wrong.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what it returns costs more to be copied than to be made")]
    pub fn parse_plain(bytes: &'a [u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_LEN>()?;
        let payload = bytes.get(HEADER_LEN..usize::from(u16::from_be_bytes([header[2], header[3]])))?;
        (header[0] == VERSION_4_NO_OPTIONS && checksum::is_right(header)).then_some(Self { header, options: &[], payload })
    }

    /// Octets of the header, options included: 20 to 60.
    #[inline]
    pub const fn header_len(&self) -> usize {
        HEADER_LEN + self.options.len()
    }

    /// Octets of the packet.
    #[inline]
    pub const fn total_len(&self) -> usize {
        self.header_len() + self.payload.len()
    }

    /// DSCP and ECN together: the octet once called Type of Service.
    #[inline]
    pub const fn traffic_class(&self) -> u8 {
        self.header[1]
    }

    /// Identification.
    #[inline]
    pub const fn identification(&self) -> u16 {
        u16::from_be_bytes([self.header[4], self.header[5]])
    }

    /// Whether the packet may not be fragmented.
    #[inline]
    pub const fn dont_fragment(&self) -> bool {
        self.header[6] & 0x40 != 0
    }

    /// Whether more fragments follow this one.
    #[inline]
    pub const fn more_fragments(&self) -> bool {
        self.header[6] & 0x20 != 0
    }

    /// Offset of this fragment in octets.
    #[inline]
    pub const fn fragment_offset(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]]) << 3
    }

    /// Whether this is a fragment, the first included.
    #[inline]
    pub const fn is_fragment(&self) -> bool {
        self.more_fragments() || self.fragment_offset() != 0
    }

    /// Time to live.
    #[inline]
    pub const fn ttl(&self) -> u8 {
        self.header[8]
    }

    /// Protocol number of the payload.
    #[inline]
    pub const fn protocol(&self) -> u8 {
        self.header[9]
    }

    /// Source address.
    #[inline]
    pub const fn source(&self) -> Ipv4Addr {
        let [.., a, b, c, d, _, _, _, _] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Destination address.
    #[inline]
    pub const fn destination(&self) -> Ipv4Addr {
        let [.., a, b, c, d] = *self.header;
        Ipv4Addr::new(a, b, c, d)
    }

    /// Whether a loose or strict source route names further destinations, or has named some.
    pub fn has_source_route(&self) -> bool {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        const LOOSE: u8 = 131;
        const STRICT: u8 = 137;
        let mut rest = self.options;
        while let Some(&kind) = rest.first() {
            let len = match kind {
                END => return false,
                LOOSE | STRICT => return true,
                NO_OPERATION => 1,
                _ => rest.get(1).map_or(2, |len| usize::from(*len).max(2)),
            };
            rest = rest.get(len..).unwrap_or_default();
        }
        false
    }

    /// The options as they stand, empty for most packets.
    #[inline]
    pub const fn options(&self) -> &'a [u8] {
        self.options
    }

    /// What follows the header, to the total length.
    #[inline]
    pub const fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The selector fields. There are no ports in fragments after the first (RFC 4301 section 7).
    #[inline]
    pub fn flow(&self) -> Flow {
        let upper = (self.fragment_offset() == 0).then_some(self.payload);
        flow(self.source().into(), self.destination().into(), self.protocol(), upper)
    }
}

/// Source and destination of the packet that starts `bytes`, which must have been parsed; `None` where there is no header.
#[inline]
pub fn ends(bytes: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let [.., a, b, c, d, e, f, g, h] = *bytes.first_chunk::<HEADER_LEN>()?;
    Some((Ipv4Addr::new(a, b, c, d), Ipv4Addr::new(e, f, g, h)))
}

#[cold]
fn is_right_with_options(header: Option<&[u8]>) -> bool {
    header.is_some_and(|header| checksum::internet(header) == 0)
}

/// Decrements the TTL of the packet that starts `bytes` and updates the checksum (RFC 1624). The packet must have been parsed.
///
/// # Errors
/// [`HopLimitExceeded`] where the packet must be dropped instead (also where there is no header); it is left unchanged.
#[inline]
pub fn decrement_ttl(bytes: &mut [u8]) -> Result<(), HopLimitExceeded> {
    let header = bytes.first_chunk_mut::<HEADER_LEN>().ok_or(HopLimitExceeded)?;
    // TTL, protocol and checksum in one word, the TTL lowest: of octets that are named one by one the compiler reads each by itself.
    let word = header.get_mut(8..).and_then(<[u8]>::first_chunk_mut::<4>).ok_or(HopLimitExceeded)?;
    let fields = u32::from_le_bytes(*word);
    if fields & 0xff <= 1 {
        return Err(HopLimitExceeded);
    }
    // The checksum grows by as much as the TTL shrinks, whatever the order of octets (RFC 1071 section 2 B); the carry comes back, and there is but one zero.
    let raised = (fields >> 16) + 1;
    let raised = raised + u32::from(raised >= u16::MAX.into());
    *word = ((raised << 16) | ((fields & 0xffff) - 1)).to_le_bytes();
    Ok(())
}

/// Replaces DSCP and ECN of the packet that starts `bytes` and updates the checksum. Does nothing where there is no header.
#[inline]
pub fn replace_traffic_class(bytes: &mut [u8], traffic_class: u8) {
    if let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() {
        let old = u16::from_be_bytes([header[0], header[1]]);
        header[1] = traffic_class;
        update_checksum(header, old, u16::from_be_bytes([header[0], header[1]]));
    }
}

/// Makes the header, options included, that of a packet of another protocol and length, and computes its checksum anew. `None`, and nothing
/// changes, where there is no header or the length does not fit.
pub fn set_payload(header: &mut [u8], protocol: u8, total_len: usize) -> Option<()> {
    let total_len = u16::try_from(total_len).ok()?;
    let fixed = header.first_chunk_mut::<HEADER_LEN>()?;
    [fixed[2], fixed[3]] = total_len.to_be_bytes();
    fixed[9] = protocol;
    [fixed[10], fixed[11]] = [0, 0];
    let checksum = checksum::internet(header).to_be_bytes();
    header.get_mut(10..12)?.copy_from_slice(&checksum);
    Some(())
}

/// The identification of the packet that a counter of 32 bits has come to: its low half.
#[inline]
pub const fn identification(counter: u32) -> u16 {
    let [_, _, high, low] = counter.to_be_bytes();
    u16::from_be_bytes([high, low])
}

/// Clears DF of the IPv4 packet that starts `bytes`, and gives it the identification that this counter has come to. Does nothing to another packet.
pub fn let_fragment(bytes: &mut [u8], counter: u32) {
    const DONT_FRAGMENT: u16 = 0x4000;
    if let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>().filter(|header| header[0] >> 4 == 4) {
        let old = (u16::from_be_bytes([header[4], header[5]]), u16::from_be_bytes([header[6], header[7]]));
        let new = (identification(counter), old.1 & !DONT_FRAGMENT);
        [header[4], header[5]] = new.0.to_be_bytes();
        [header[6], header[7]] = new.1.to_be_bytes();
        update_checksum(header, old.0, new.0);
        update_checksum(header, old.1, new.1);
    }
}

/// Makes the packet that starts `bytes` a fragment and updates the checksum: it begins `offset` octets behind the start of the whole packet's payload,
/// which is a multiple of 8, and may be fragmented further. Does nothing where there is no header.
pub fn set_fragment(bytes: &mut [u8], offset: u16, more: bool) {
    const MORE_FRAGMENTS: u16 = 0x2000;
    if let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() {
        let old = u16::from_be_bytes([header[6], header[7]]);
        let new = offset >> 3 | if more { MORE_FRAGMENTS } else { 0 };
        [header[6], header[7]] = new.to_be_bytes();
        update_checksum(header, old, new);
    }
}

#[inline]
fn update_checksum(header: &mut [u8; HEADER_LEN], old: u16, new: u16) {
    let updated = checksum::update(u16::from_be_bytes([header[10], header[11]]), old, new);
    [header[10], header[11]] = updated.to_be_bytes();
}

/// A header without options, to be written in front of a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ipv4Header {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Identification.
    pub identification: u16,
    /// Whether the packet may not be fragmented.
    pub dont_fragment: bool,
    /// Time to live.
    pub ttl: u8,
    /// Protocol number of the payload.
    pub protocol: u8,
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
}

impl Ipv4Header {
    /// The octets of the header for `payload_len` octets of payload, checksum included. `None` where the packet would exceed 65,535 octets.
    #[inline]
    pub fn to_octets(&self, payload_len: usize) -> Option<[u8; HEADER_LEN]> {
        let total_len = u16::try_from(payload_len.checked_add(HEADER_LEN)?).ok()?;
        let mut out = [0; HEADER_LEN];
        out[0] = 0x45;
        out[1] = self.traffic_class;
        out[2..4].copy_from_slice(&total_len.to_be_bytes());
        out[4..6].copy_from_slice(&self.identification.to_be_bytes());
        out[6] = if self.dont_fragment { 0x40 } else { 0 };
        out[8] = self.ttl;
        out[9] = self.protocol;
        out[12..16].copy_from_slice(&self.source.octets());
        out[16..].copy_from_slice(&self.destination.octets());
        let checksum = checksum::internet(&out);
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
        Some(out)
    }
}

/// Writes a header that differs from others in a few fields: `base` is one of [`Ipv4Header::to_octets`] for no payload, with traffic class, identification
/// and DF zero. The checksum is carried on from there.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few words on the way of every packet")]
pub fn complete(
    base: &[u8; HEADER_LEN],
    payload_len: u16,
    traffic_class: u8,
    identification: u16,
    dont_fragment: bool,
    to: &mut [u8; HEADER_LEN],
) {
    let flags = u64::from(dont_fragment) << 14;
    let added = u64::from(traffic_class) << 48 | u64::from(payload_len) << 32 | u64::from(identification) << 16 | flags;
    let [a, b, c, d, e, f, g, h, ttl, protocol, high, low, ..] = *base;
    // No field carries over into the next: in the base all are zero but the length, whose sum is a total length that the caller has found to fit.
    let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]).wrapping_add(added);
    let [high, low] = checksum::extend(u16::from_be_bytes([high, low]), added).to_be_bytes();
    to[..8].copy_from_slice(&first.to_be_bytes());
    to[8..12].copy_from_slice(&[ttl, protocol, high, low]);
    to[12..].copy_from_slice(&base[12..]);
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const HEADER: Ipv4Header = Ipv4Header {
        traffic_class: 0xb9,
        identification: 0x1234,
        dont_fragment: true,
        ttl: 64,
        protocol: PROTOCOL_UDP,
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
    };

    fn packet(header: Ipv4Header, payload: &[u8]) -> Vec<u8> {
        let mut bytes = header.to_octets(payload.len()).unwrap().to_vec();
        bytes.extend_from_slice(payload);
        bytes
    }

    fn resum(bytes: &mut [u8]) {
        let header_len = usize::from(bytes[0] & 0xf) * 4;
        bytes[10..12].fill(0);
        let sum = checksum::internet(&bytes[..header_len]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }

    /// The header of the worked example in Wikipedia's "Internet checksum".
    #[test]
    fn a_published_header_has_the_published_checksum() {
        let bytes =
            [0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11, 0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7];
        let header = Ipv4Header {
            traffic_class: 0,
            identification: 0,
            dont_fragment: true,
            ttl: 64,
            protocol: 17,
            source: Ipv4Addr::new(192, 168, 0, 1),
            destination: Ipv4Addr::new(192, 168, 0, 199),
        };
        assert_eq!(header.to_octets(0x73 - 20), Some(bytes));
        let mut whole = bytes.to_vec();
        whole.resize(0x73, 0);
        assert_eq!(Ipv4::parse(&whole).map(|p| p.destination()), Ok(header.destination));
    }

    #[test]
    fn each_fault_has_its_name() {
        let good = packet(HEADER, &[0; 8]);
        let with = |at: usize, value: u8| {
            let mut bytes = good.clone();
            bytes[at] = value;
            resum(&mut bytes);
            bytes
        };
        assert!(Ipv4::parse(&good).is_ok());
        assert_eq!(Ipv4::parse(&good[..19]), Err(Ipv4Error::Truncated));
        assert_eq!(Ipv4::parse(&with(0, 0x65)), Err(Ipv4Error::Version));
        assert_eq!(Ipv4::parse(&with(0, 0x44)), Err(Ipv4Error::HeaderLength));
        assert_eq!(Ipv4::parse(&with(3, 19)), Err(Ipv4Error::TotalLength));
        assert!(Ipv4::parse(&with(3, 20)).is_ok());
        assert_eq!(Ipv4::parse(&with(3, 29)), Err(Ipv4Error::TotalLength));
        let mut bad = good.clone();
        bad[11] ^= 1;
        assert_eq!(Ipv4::parse(&bad), Err(Ipv4Error::Checksum));
        let mut long_header = good;
        long_header[0] = 0x48;
        assert_eq!(Ipv4::parse(&long_header), Err(Ipv4Error::HeaderLength));
    }

    #[test]
    fn options_are_reported_and_trailing_octets_ignored() {
        let mut bytes = packet(HEADER, &[0x94, 0x04, 0, 0, 0xaa, 0xbb]);
        bytes[0] = 0x46;
        resum(&mut bytes);
        bytes.extend_from_slice(&[0; 20]);
        let parsed = Ipv4::parse(&bytes).unwrap();
        assert_eq!((parsed.header_len(), parsed.total_len()), (24, 26));
        assert_eq!((parsed.options(), parsed.payload()), (&[0x94, 4, 0, 0][..], &[0xaa, 0xbb][..]));
    }

    #[test]
    fn a_source_route_is_found_behind_other_options() {
        let with = |options: [u8; 8]| {
            let mut bytes = packet(HEADER, &options);
            bytes[0] = 0x47;
            resum(&mut bytes);
            Ipv4::parse(&bytes).unwrap().has_source_route()
        };
        assert!(with([131, 7, 4, 1, 2, 3, 4, 0]) && with([1, 137, 7, 4, 1, 2, 3, 4]) && with([148, 4, 0, 0, 131, 3, 4, 0]));
        assert!(!with([148, 4, 131, 137, 1, 1, 0, 131]) && !with([7, 7, 4, 131, 0, 0, 0, 0]) && !with([148, 0, 148, 255, 131, 0, 0, 0]));
    }

    #[test]
    fn ports_come_from_first_fragments_only() {
        let payload = [0, 80, 1, 187, 0, 0, 0, 0];
        let ports_of = |protocol, fragment: [u8; 2], payload: &[u8]| {
            let mut bytes = packet(Ipv4Header { protocol, ..HEADER }, payload);
            bytes[6..8].copy_from_slice(&fragment);
            resum(&mut bytes);
            let flow = Ipv4::parse(&bytes).unwrap().flow();
            flow.source_port.zip(flow.destination_port)
        };
        for protocol in [6, 17, 33, 132, 136] {
            assert_eq!(ports_of(protocol, [0x40, 0], &payload), Some((80, 443)));
        }
        assert_eq!(ports_of(17, [0x20, 0], &payload), Some((80, 443)));
        assert_eq!(ports_of(17, [0x20, 1], &payload), None);
        assert_eq!(ports_of(17, [0x00, 1], &payload), None);
        assert_eq!(ports_of(17, [0, 0], &payload[..3]), None);
        assert_eq!(ports_of(1, [0, 0], &[8, 3]), Some((0x0803, 0x0803)));
        assert_eq!(ports_of(1, [0, 0], &[8]), None);
        assert_eq!(ports_of(50, [0, 0], &payload), None);
    }

    #[test]
    fn the_checksum_follows_the_ttl() {
        for checksum in 0..=u16::MAX {
            let mut header = [0x45; HEADER_LEN];
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            let mut expected = header;
            expected[8] -= 1;
            expected[10..12].copy_from_slice(&checksum::update(checksum, 0x4545, 0x4445).to_be_bytes());
            assert_eq!(decrement_ttl(&mut header), Ok(()));
            assert_eq!(header, expected, "{checksum:#x}");
        }
    }

    #[test]
    fn ttl_ends_at_one() {
        for (ttl, expected) in [(0, Err(HopLimitExceeded)), (1, Err(HopLimitExceeded)), (2, Ok(())), (255, Ok(()))] {
            let before = packet(Ipv4Header { ttl, ..HEADER }, b"x");
            let mut after = before.clone();
            assert_eq!(decrement_ttl(&mut after), expected);
            match expected {
                Ok(()) => assert_eq!(Ipv4::parse(&after).map(|p| p.ttl()), Ok(ttl - 1)),
                Err(_) => assert_eq!(after, before),
            }
        }
        assert_eq!(decrement_ttl(&mut [0x45; 19]), Err(HopLimitExceeded));
    }

    #[test]
    fn a_packet_that_may_be_fragmented_has_an_identification() {
        let mut bytes = packet(HEADER, b"x");
        let_fragment(&mut bytes, 0x0009_8765);
        assert_eq!(bytes, packet(Ipv4Header { identification: 0x8765, dont_fragment: false, ..HEADER }, b"x"));
        let mut six = [0x60; 40];
        let_fragment(&mut six, 1);
        assert_eq!(six, [0x60; 40]);
    }

    #[test]
    fn a_packet_is_at_most_65535_octets() {
        assert!(HEADER.to_octets(65_515).is_some());
        assert!(HEADER.to_octets(65_516).is_none());
        assert!(HEADER.to_octets(usize::MAX).is_none());
    }

    proptest! {
        #[test]
        fn any_octets_parse_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(packet) = Ipv4::parse(&bytes) {
                prop_assert!(packet.total_len() <= bytes.len());
                let _ = packet.flow();
            }
        }

        /// Half-valid packets reach deeper than random octets do.
        #[test]
        fn any_header_with_a_right_checksum_parses_or_is_refused(mut bytes in prop::collection::vec(any::<u8>(), 60..120)) {
            bytes[0] = 0x40 | (bytes[0] & 0x0f).max(5);
            bytes[2] = 0;
            resum(&mut bytes);
            match Ipv4::parse(&bytes) {
                Ok(packet) => { let _ = packet.flow(); }
                Err(error) => prop_assert_eq!(error, Ipv4Error::TotalLength),
            }
        }

        #[test]
        fn a_new_traffic_class_keeps_the_checksum_right(class in any::<u8>(), id in any::<u16>()) {
            let mut bytes = packet(Ipv4Header { identification: id, ..HEADER }, b"x");
            replace_traffic_class(&mut bytes, class);
            prop_assert_eq!(Ipv4::parse(&bytes).map(|p| p.traffic_class()), Ok(class));
        }
    }
}
