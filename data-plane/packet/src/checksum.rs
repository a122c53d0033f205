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
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

#[inline]
fn add(sum: u64, bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<2>();
    let sum = words.iter().fold(sum, |sum, word| sum + u64::from(u16::from_be_bytes(*word)));
    rest.first().map_or(sum, |&last| sum + (u64::from(last) << 8))
}

#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the loop ends when the upper bits are zero")]
fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
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

    proptest! {
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
