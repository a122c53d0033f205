//! The high half of extended sequence numbers, which is not sent (RFC 4303 appendix A2).

/// The 64-bit number meant by `low`, given the highest number `top` accepted so far and the window size; `None` where it would lie before number zero or
/// beyond the last, which no packet can.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "numbers are split in halves")]
pub(crate) const fn infer(top: u64, window: u32, low: u32) -> Option<u64> {
    let (top_high, top_low) = ((top >> 32) as u32, top as u32);
    let bottom = top_low.wrapping_sub(window.saturating_sub(1));
    let high = if top_low >= window.saturating_sub(1) {
        // Case A: the window lies within one 32-bit subspace. What is below its bottom is meant to be in the next.
        if low >= bottom { Some(top_high) } else { top_high.checked_add(1) }
    } else if low >= bottom {
        // Case B: the window reaches back into the previous subspace.
        top_high.checked_sub(1)
    } else {
        Some(top_high)
    };
    match high {
        Some(high) => Some(((high as u64) << 32) | low as u64),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
