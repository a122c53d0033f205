//! What routers may change in a packet, and so counts as zero for the ICV of AH (RFC 4302 section 3.3.3.1 and appendix A).

use crate::ipv6_extension::{self, is_extension};
use crate::{ipv4, ipv6};

/// Zeroes the mutable fields of the IP header that is in front of AH, with its options or extension headers. What is predictable stays as it is: the
/// destination must be the last one of the packet's route. `None` where options cannot be followed, or a fragment header is there, which AH never sees
/// (appendix A2): the octets are then of no use.
pub fn zero_mutable(header: &mut [u8]) -> Option<()> {
    match header.first()? >> 4 {
        4 => zero_ipv4(header),
        _ => zero_ipv6(header),
    }
}

/// Sections 3.3.3.1.1.1 and 3.3.3.1.1.2.
fn zero_ipv4(header: &mut [u8]) -> Option<()> {
    let (fixed, options) = header.split_first_chunk_mut::<{ ipv4::HEADER_LEN }>()?;
    // DSCP and ECN; flags, fragment offset and TTL; checksum.
    fixed[1] = 0;
    fixed[6..9].fill(0);
    fixed[10..12].fill(0);
    zero_ipv4_options(options)
}

fn zero_ipv4_options(mut options: &mut [u8]) -> Option<()> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    while let Some(&kind) = options.first() {
        let len = match kind {
            END => return Some(()),
            NO_OPERATION => 1,
            _ => usize::from(*options.get(1).filter(|len| **len > 1)?),
        };
        let (option, rest) = options.split_at_mut_checked(len)?;
        if !is_immutable(kind) {
            option.fill(0);
        }
        options = rest;
    }
    Some(())
}

/// Appendix A1. An option that is not known counts as mutable (section 3.3.3.1).
const fn is_immutable(option: u8) -> bool {
    const SECURITY: u8 = 130;
    const EXTENDED_SECURITY: u8 = 133;
    const COMMERCIAL_SECURITY: u8 = 134;
    const ROUTER_ALERT: u8 = 148;
    const SENDER_DIRECTED_DELIVERY: u8 = 149;
    matches!(option, 1 | SECURITY | EXTENDED_SECURITY | COMMERCIAL_SECURITY | ROUTER_ALERT | SENDER_DIRECTED_DELIVERY)
}

/// Sections 3.3.3.1.2.1 to 3.3.3.1.2.3. A routing header stays as it is.
fn zero_ipv6(header: &mut [u8]) -> Option<()> {
    let (fixed, mut extensions) = header.split_first_chunk_mut::<{ ipv6::HEADER_LEN }>()?;
    // DSCP, ECN, flow label; hop limit.
    fixed[..4].copy_from_slice(&[0x60, 0, 0, 0]);
    fixed[7] = 0;
    let mut kind = fixed[6];
    while !extensions.is_empty() {
        if kind == ipv6::PROTOCOL_FRAGMENT || !is_extension(kind) {
            return None;
        }
        let (len, next) = ipv6_extension::step(kind, extensions)?;
        let (extension, rest) = extensions.split_at_mut_checked(len)?;
        if kind != ipv6::PROTOCOL_ROUTING {
            zero_ipv6_options(extension.get_mut(2..)?)?;
        }
        (extensions, kind) = (rest, next);
    }
    Some(())
}

/// The third bit of its type tells whether an option may change on the way; type and length never do (RFC 8200 section 4.2).
fn zero_ipv6_options(mut options: &mut [u8]) -> Option<()> {
    const PAD1: u8 = 0;
    const MAY_CHANGE: u8 = 0x20;
    while let Some(&kind) = options.first() {
        let len = if kind == PAD1 { 1 } else { usize::from(*options.get(1)?) + 2 };
        let (option, rest) = options.split_at_mut_checked(len)?;
        if kind & MAY_CHANGE != 0 {
            option.get_mut(2..)?.fill(0);
        }
        options = rest;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    fn zeroed(header: &[u8]) -> Option<Vec<u8>> {
        let mut header = header.to_vec();
        zero_mutable(&mut header).map(|()| header)
    }

    const FOUR: [u8; 20] = [0x45, 0xb9, 0, 60, 0x12, 0x34, 0x60, 7, 63, 51, 0xab, 0xcd, 192, 0, 2, 1, 192, 0, 2, 2];
    const FOUR_ZEROED: [u8; 20] = [0x45, 0, 0, 60, 0x12, 0x34, 0, 0, 0, 51, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2];

    #[test]
    fn of_an_ipv4_header_what_section_3_3_3_1_1_lists() {
        assert_eq!(zeroed(&FOUR), Some(FOUR_ZEROED.to_vec()));
        let with = |options: &[u8]| zeroed(&[&FOUR[..], options].concat()).map(|header| header[20..].to_vec());
        // Router alert stays, record route goes, and what is behind the end of the list stays.
        assert_eq!(with(&[148, 4, 1, 2, 7, 3, 4, 1, 0, 9, 9, 9]), Some([148, 4, 1, 2, 0, 0, 0, 1, 0, 9, 9, 9].to_vec()));
        // Options with a length of their own: each of the table, and one that nobody knows.
        for (kind, stays) in
            [(130, true), (133, true), (134, true), (149, true), (131, false), (68, false), (137, false), (82, false), (200, false)]
        {
            let option = [kind, 4, 5, 6];
            assert_eq!(with(&option), Some(if stays { option.to_vec() } else { [0; 4].to_vec() }), "{kind}");
        }
        assert_eq!(with(&[148, 5, 0, 0]), None, "beyond the header");
        assert_eq!([&[1, 1, 1, 148], &[148, 1, 1, 1], &[7, 0, 1, 1]].map(|options| with(options)), [None, None, None], "no length");
    }

    const SIX: [u8; 40] = [
        0x6b, 0x91, 0x23, 0x45, 0, 44, 0, 63, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 2,
    ];

    #[test]
    fn of_an_ipv6_header_what_section_3_3_3_1_2_lists() {
        // Hop-by-hop options: router alert, and one that may change; a routing header; destination options: PadN, Pad1, and one that may change.
        let extensions = [60, 0, 5, 2, 1, 2, 0x3e, 0, 43, 0, 0x20, 4, 1, 2, 3, 4, 60, 0, 4, 0, 9, 9, 9, 9, 51, 0, 1, 1, 7, 0, 0x3e, 0];
        let header = zeroed(&[&SIX[..], &extensions].concat()).unwrap();
        assert_eq!(header[..8], [0x60, 0, 0, 0, 0, 44, 0, 0]);
        assert_eq!(header[8..40], SIX[8..]);
        let mut expected = extensions;
        expected[12..16].fill(0);
        assert_eq!(header[40..], expected);
    }

    #[test]
    fn what_cannot_be_followed_has_no_icv() {
        let mut fragment = [&SIX[..], &[51, 0, 0, 0, 1, 2, 3, 4]].concat();
        fragment[6] = 44;
        let cut = [&SIX[..], &[51, 1, 1, 4, 0, 0, 0, 0]].concat();
        let option = [&SIX[..], &[51, 0, 1, 9, 0, 0, 0, 0]].concat();
        let mut upper = [&SIX[..], &[0; 8]].concat();
        upper[6] = 6;
        for header in [fragment, cut, option, upper, SIX[..39].to_vec(), FOUR[..19].to_vec(), Vec::new()] {
            assert_eq!(zeroed(&header), None, "{header:?}");
        }
    }

    proptest! {
        /// Routers change what they like of the mutable fields, and the octets for the ICV stay the same.
        #[test]
        fn no_router_changes_the_octets_of_the_icv(class: u8, flags: [u8; 2], ttl: u8, sum: [u8; 2], mut octets in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut changed = FOUR;
            changed[1] = class;
            changed[6..8].copy_from_slice(&flags);
            changed[8] = ttl;
            changed[10..12].copy_from_slice(&sum);
            prop_assert_eq!(zeroed(&changed), Some(FOUR_ZEROED.to_vec()));
            let _ = zeroed(&octets);
            if let Some(first) = octets.first_mut() { *first = 0x60 | *first >> 4; }
            let _ = zeroed(&octets);
        }
    }
}
