//! Padding, pad length and next header (RFC 4303 section 2.4).

use packet::ipv6::PROTOCOL_NONE;

use super::OpenError;
use crate::TRAILER_LEN;

/// Octets in front of padding, pad length and next header, where all three are right, and the next header.
#[inline(always)]
#[expect(clippy::inline_always, reason = "a few words of each packet")]
pub(super) fn strip_trailer(data: &[u8]) -> Result<(usize, u8), OpenError> {
    let (rest, &[pad_len, next_header]) = data.split_last_chunk::<TRAILER_LEN>().ok_or(OpenError::BadPadding)?;
    let payload_len = rest.len().checked_sub(pad_len.into()).ok_or(OpenError::BadPadding)?;
    let counts_up = match (pad_len, rest.last_chunk()) {
        (0..=8, Some(word)) => word_counts_up(u64::from_le_bytes(*word), pad_len),
        _ => counts_up(rest.get(payload_len..).ok_or(OpenError::BadPadding)?),
    };
    if !counts_up {
        return Err(OpenError::BadPadding);
    }
    // RFC 4303 section 2.6.
    if next_header == PROTOCOL_NONE { Err(OpenError::Dummy) } else { Ok((payload_len, next_header)) }
}

/// Whether the last octets of these eight are 1, 2, 3 and so on up to `pad_len`, which is 8 at most.
#[inline]
fn word_counts_up(word: u64, pad_len: u8) -> bool {
    const COUNT: u64 = 0x0807_0605_0403_0201;
    let before = 64 - 8 * u32::from(pad_len);
    (word ^ COUNT.unbounded_shl(before)).unbounded_shr(before) == 0
}

/// The same of any padding.
#[inline(never)]
fn counts_up(padding: &[u8]) -> bool {
    padding.iter().zip(1_u8..=255).all(|(octet, expected)| *octet == expected)
}
