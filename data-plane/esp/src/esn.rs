//! The high half of extended sequence numbers, which is not sent (RFC 4303 appendix A2).

/// The 64-bit number meant by `low`, given the highest number `top` accepted so far and the window size; `None` where it would lie before number zero or
/// beyond the last, which no packet can.
///
/// It is the one number with this low half among the 2^32 from the window's bottom on: where the window lies within one 32-bit subspace (case A), what is
/// below its bottom is meant to be in the next; where it reaches back into the previous one (case B), what is not below is.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the low half is what is compared")]
pub(crate) const fn infer(top: u64, window: u32, low: u32) -> Option<u64> {
    let (bottom, before_zero) = top.overflowing_sub(window.saturating_sub(1) as u64);
    let above = low.wrapping_sub(bottom as u32);
    let (number, wrapped) = bottom.overflowing_add(above as u64);
    // A window that reaches back to before zero comes back over it.
    if before_zero == wrapped { Some(number) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Step by step as RFC 4303 appendix A2.1 has it.
    #[expect(clippy::cast_possible_truncation, reason = "numbers are split in halves")]
    fn by_cases(top: u64, window: u32, low: u32) -> Option<u64> {
        let (top_high, top_low) = ((top >> 32) as u32, top as u32);
        let bottom = top_low.wrapping_sub(window.saturating_sub(1));
        let high = if top_low >= window.saturating_sub(1) {
            if low >= bottom { Some(top_high) } else { top_high.checked_add(1) }
        } else if low >= bottom {
            top_high.checked_sub(1)
        } else {
            Some(top_high)
        };
        high.map(|high| u64::from(high) << 32 | u64::from(low))
    }

    proptest! {
        #[test]
        fn the_number_is_that_of_the_rfc(
            high in prop_oneof![Just(0), Just(1), Just(u32::MAX), any::<u32>()],
            top_low in prop_oneof![0..3000_u32, u32::MAX - 3000..=u32::MAX, any::<u32>()],
            window in prop_oneof![0..3000_u32, Just(1 << 31)],
            low in prop_oneof![0..6000_u32, u32::MAX - 6000..=u32::MAX, any::<u32>()],
        ) {
            let top = u64::from(high) << 32 | u64::from(top_low);
            prop_assert_eq!(infer(top, window, low), by_cases(top, window, low));
        }
    }

    const WRAP: u64 = 1 << 32;

    #[test]
    fn case_a_at_its_edges() {
        // The window is 64 numbers, top is 1000: 937 to 1000.
        assert_eq!(infer(1000, 64, 1001), Some(1001));
        assert_eq!(infer(1000, 64, u32::MAX), Some(u64::from(u32::MAX)));
        assert_eq!(infer(1000, 64, 937), Some(937));
        assert_eq!(infer(1000, 64, 936), Some(WRAP + 936));
        assert_eq!(infer(WRAP - 1, 64, 0), Some(WRAP));
    }

    #[test]
    fn case_b_at_its_edges() {
        // top is 2^32 + 10: the window reaches back to 2^32 - 53.
        let top = WRAP + 10;
        assert_eq!(infer(top, 64, u32::MAX), Some(WRAP - 1));
        assert_eq!(infer(top, 64, u32::MAX - 52), Some(WRAP - 53));
        assert_eq!(infer(top, 64, u32::MAX - 53), Some(WRAP + WRAP - 54));
        assert_eq!(infer(top, 64, 0), Some(WRAP));
        assert_eq!(infer(top, 64, 11), Some(WRAP + 11));
    }

    #[test]
    fn there_is_nothing_before_zero_or_beyond_the_last() {
        assert_eq!(infer(0, 64, u32::MAX), None);
        assert_eq!(infer(0, 64, u32::MAX - 62), None);
        assert_eq!(infer(0, 64, u32::MAX - 63), Some(u64::from(u32::MAX - 63)));
        assert_eq!(infer(u64::MAX - 1, 64, 0), None);
    }
}
