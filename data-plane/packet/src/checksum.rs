//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

use core::net::IpAddr;

/// The one's complement sum of `bytes` as 16-bit words, an odd last octet padded with zero, folded to 16 bits. Not complemented.
#[inline]
pub fn sum(bytes: &[u8]) -> u16 {
    fold(add(0, bytes))
}

/// The checksum of `bytes`: the complement of [`sum`]. Zero over octets that hold their own correct checksum.
#[inline]
pub fn internet(bytes: &[u8]) -> u16 {
    !sum(bytes)
}

/// The checksum of a UDP, TCP or ICMPv6 message with the pseudo-header of its IP version in front (RFC 768, RFC 8200 section 8.1). Of addresses that are
/// of different versions, which no packet has, each counts as it is.
#[inline]
pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let octets = |sum, address| match address {
        IpAddr::V4(address) => add(sum, &address.octets()),
        IpAddr::V6(address) => add(sum, &address.octets()),
    };
    // Both pseudo-headers have the same words, beside zeros: IPv6's length has 32 bits, of which the folding below makes the same sum.
    let head = octets(octets(0, source), destination) + u64::from(protocol) + segment.len() as u64;
    !fold(add(head, segment))
}

/// The checksum after one 16-bit word it covers changed from `old` to `new` (RFC 1624 equation 3: HC' = ~(~HC + ~m + m')).
#[inline]
pub const fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(!checksum as u64 + !old as u64 + new as u64)
}

/// The checksum after these words were added to words that it covers, of which none became larger than a word (RFC 1624).
#[inline]
pub const fn extend(checksum: u16, words: u64) -> u16 {
    !fold((words & 0xffff_ffff) + (words >> 32) + !checksum as u64)
}

/// Whether an IPv4 header without options holds its own correct checksum.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few additions, of a header that is in registers often")]
pub(crate) fn is_right(header: &[u8; crate::ipv4::HEADER_LEN]) -> bool {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, rest @ ..] = *header;
    let (first, second) = (u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p]));
    is_right_in_words(first, second, u32::from_ne_bytes(rest).into())
}

/// The same of a header in words, whichever octet is the lowest; the last has half of one.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few additions, of a header that is in registers often")]
pub(crate) const fn is_right_in_words(first: u64, second: u64, third: u64) -> bool {
    // Each carry comes back at the other end.
    let (sum, carry) = first.overflowing_add(second);
    let (sum, again) = sum.overflowing_add(third + carry as u64);
    fold(sum.wrapping_add(again as u64)) == u16::MAX
}

/// The order of octets in a word is of no account until the end (RFC 1071 section 2 B), nor is how many words are added at once (section 2 C): no sum of
/// 32-bit words of a packet overflows 64 bits.
#[inline]
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let wide = words.iter().map(|word| u64::from_ne_bytes(*word)).fold(0, |sum, word| sum + (word >> 32) + (word & 0xffff_ffff));
    let sum = sum + u64::from(u16::from_be(fold(wide)));
    let (words, rest) = rest.as_chunks::<2>();
    let sum = words.iter().fold(sum, |sum, word| sum + u64::from(u16::from_be_bytes(*word)));
    rest.first().map_or(sum, |&last| sum + (u64::from(last) << 8))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "it is cut in halves")]
const fn fold(sum: u64) -> u16 {
    let (half, carry) = (sum as u32).overflowing_add((sum >> 32) as u32);
    // Where there is a carry, there is room for it.
    let half = half.wrapping_add(carry as u32);
    let (quarter, carry) = (half as u16).overflowing_add((half >> 16) as u16);
    quarter.wrapping_add(carry as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_rfc_1071_section_3() {
        assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624_section_4() {
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    /// As RFC 1071 section 1 has it, a word at a time.
    fn slow_sum(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    #[test]
    fn the_longest_packet_does_not_overflow() {
        assert_eq!(sum(&[0xff; 65_535]), slow_sum(&[0xff; 65_535]));
        assert_eq!(fold(u64::MAX), u16::MAX);
    }

    proptest! {
        #[test]
        fn wide_words_make_the_same_sum(bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(0xff)], 0..200)) {
            prop_assert_eq!(sum(&bytes), slow_sum(&bytes));
        }

        #[test]
        fn a_header_is_right_with_its_own_checksum_only(mut header in any::<[u8; 20]>(), off in any::<u16>()) {
            header[10..12].copy_from_slice(&[0, 0]);
            let checksum = internet(&header);
            header[10..12].copy_from_slice(&checksum.wrapping_add(off).to_be_bytes());
            prop_assert_eq!(is_right(&header), internet(&header) == 0);
        }

        #[test]
        fn words_are_added_to_what_was_zero(mut header in any::<[u8; 20]>(), words in any::<[u16; 3]>()) {
            header[2..8].fill(0);
            header[10..12].copy_from_slice(&[0, 0]);
            header[0] |= 1;
            let checksum = extend(internet(&header), words.iter().fold(0, |all, word| all << 16 | u64::from(*word)));
            for (at, word) in [2, 4, 6].into_iter().zip(words) {
                header[at..at + 2].copy_from_slice(&word.to_be_bytes());
            }
            prop_assert_eq!(checksum, internet(&header));
        }

        #[test]
        fn an_update_equals_a_new_sum(mut header in any::<[u8; 20]>(), word in 0usize..9, new in any::<u16>()) {
            header[18..].copy_from_slice(&[0, 0]);
            header[0] |= 1; // RFC 1624: over all-zero data the two differ in the sign of zero
            let at = word * 2;
            let checksum = internet(&header);
            let old = u16::from_be_bytes([header[at], header[at + 1]]);
            header[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assume!(sum(&header) != 0);
            let updated = update(checksum, old, new);
            header[18..].copy_from_slice(&updated.to_be_bytes());
            prop_assert_eq!(internet(&header), 0);
        }

        #[test]
        fn an_odd_octet_counts_as_padded_with_zero(mut bytes in prop::collection::vec(any::<u8>(), 1..100)) {
            if bytes.len() % 2 == 0 { bytes.pop(); }
            let odd = sum(&bytes);
            bytes.push(0);
            prop_assert_eq!(odd, sum(&bytes));
        }
    }
}
