//! TCP (RFC 9293), as far as a gateway looks into it: the maximum segment size that the two ends of a connection announce when they open it.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  16: checksum
//! |  Data |       |C|E|U|A|P|R|S|F|                               |  20: options; the MSS is 2, 4, and two octets
//! | Offset| Rsrvd |W|C|R|C|S|S|Y|I|            Window             |
//! |       |       |R|E|G|K|H|T|N|N|                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+  12
//! ```

use core::ops::Range;

use crate::{be16, checksum};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;
/// Where the flags stand.
const FLAGS_AT: usize = 13;
const CHECKSUM: Range<usize> = 16..18;

/// Whether the segment that starts `bytes` opens a connection, from either end.
#[inline]
pub fn is_syn(bytes: &[u8]) -> bool {
    const SYN: u8 = 0x02;
    bytes.get(FLAGS_AT).is_some_and(|flags| flags & SYN != 0)
}

/// Lowers the maximum segment size that the SYN segment which starts `segment` announces to `most`, and updates the checksum; answers what it announced.
/// `None`, and nothing changes, where it announces no more than that, or nothing: then 536 octets are meant over IPv4 and 1220 over IPv6, which fit
/// (RFC 9293 section 3.7.1). So it is where header or options are malformed.
pub fn clamp_mss(segment: &mut [u8], most: u16) -> Option<u16> {
    let at = mss_at(segment).filter(|_| is_syn(segment))?;
    let announced = be16(segment, at).filter(|announced| *announced > most)?;
    let sum = be16(segment, CHECKSUM.start)?;
    segment.get_mut(at..at + 2)?.copy_from_slice(&most.to_be_bytes());
    // Behind an odd number of octets the value lies across two words of the sum, its octets swapped (RFC 1071 section 2 B).
    let swap = |value: u16| if at.is_multiple_of(2) { value } else { value.swap_bytes() };
    let updated = checksum::update(sum, swap(announced), swap(most));
    segment.get_mut(CHECKSUM)?.copy_from_slice(&updated.to_be_bytes());
    Some(announced)
}

/// Where the value of the MSS option stands.
fn mss_at(segment: &[u8]) -> Option<usize> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const MSS: u8 = 2;
    const MSS_LEN: u8 = 4;
    let header_len = usize::from(segment.get(12)? >> 4) * 4;
    let header = segment.get(..header_len)?;
    let mut at = HEADER_LEN;
    loop {
        match (*header.get(at)?, header.get(at + 1)) {
            (END, _) => return None,
            (NO_OPERATION, _) => at += 1,
            (MSS, Some(&MSS_LEN)) => return (at + usize::from(MSS_LEN) <= header_len).then_some(at + 2),
            (_, Some(&len)) if len >= 2 => at += usize::from(len),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;
    use core::net::IpAddr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    const A: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 1, 0, 2));
    const B: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(10, 2, 0, 2));

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    fn checksum_is_right(segment: &[u8]) -> bool {
        checksum::pseudo(A, B, 6, segment) == 0
    }

    // scapy 2.5: IP(src='10.1.0.2', dst='10.2.0.2')/TCP(sport=1000, dport=80, flags=..., options=[...])
    const SYN: &str = "03e800500000000000000000a00220000fc10000020405b40402080a000000010000000001030307";
    const SYN_1398: &str = "03e800500000000000000000a00220000fff0000020405760402080a000000010000000001030307";
    const SYN_ACK_ODD: &str = "03e80050000000000000000080122000847c000001020405b401030307000000";
    const SYN_ACK_ODD_1398: &str = "03e80050000000000000000080122000c27c0000010204057601030307000000";
    const ACK: &str = "03e800500000000000000000a01020000fb30000020405b40402080a000000010000000001030307";

    #[test]
    fn what_is_too_much_is_lowered_to_what_scapy_writes() {
        for (before, after) in [(SYN, SYN_1398), (SYN_ACK_ODD, SYN_ACK_ODD_1398)] {
            let mut segment = hex(before);
            assert!(checksum_is_right(&segment));
            assert_eq!((clamp_mss(&mut segment, 1398), segment), (Some(1460), hex(after)));
            let mut segment = hex(before);
            assert_eq!((clamp_mss(&mut segment, 1460), segment), (None, hex(before)), "it fits");
        }
        let mut segment = hex(ACK);
        assert_eq!((clamp_mss(&mut segment, 100), segment), (None, hex(ACK)), "no SYN");
    }

    proptest! {
        #[test]
        fn the_checksum_stays_right_and_nothing_else_changes(mut options in vec(any::<u8>(), 40), mss: u16, most in 1..u16::MAX, at in 0..37usize) {
            for octet in &mut options[..at] { *octet = 1; }
            let [high, low] = mss.to_be_bytes();
            options[at..at + 4].copy_from_slice(&[2, 4, high, low]);
            let mut segment = hex(SYN)[..20].to_vec();
            segment[12] = 0xf0;
            segment.extend(&options);
            segment[16..18].fill(0);
            let sum = checksum::pseudo(A, B, 6, &segment).to_be_bytes();
            segment[16..18].copy_from_slice(&sum);
            let before = segment.clone();
            prop_assert_eq!(clamp_mss(&mut segment, most), (mss > most).then_some(mss));
            prop_assert!(checksum_is_right(&segment));
            segment[16..18].copy_from_slice(&before[16..18]);
            segment[22 + at..24 + at].copy_from_slice(&before[22 + at..24 + at]);
            prop_assert_eq!(segment, before);
        }

        #[test]
        fn hostile_segments_never_panic(mut octets in vec(any::<u8>(), 0..100), most: u16) {
            let _ = clamp_mss(&mut octets, most);
            if let Some(offset) = octets.get_mut(12) { *offset |= 0xa0; }
            if let Some(flags) = octets.get_mut(13) { *flags |= 2; }
            let _ = clamp_mss(&mut octets, most);
        }
    }
}
