//! Counter blocks of GCM without their nonce (NIST SP 800-38D section 6.5): a table is faster than additions, which have to mind the order of octets.

use super::BLOCK;
use crate::MAX_DATA_LEN;

/// The counter that masks the tag, those of the longest data, and what vectors of either kernel read beyond.
const COUNTERS: usize = 1 + MAX_DATA_LEN.div_ceil(BLOCK) + 16;

#[repr(C, align(64))]
struct Counters([[u32; 4]; COUNTERS]);

#[expect(clippy::indexing_slicing, reason = "while compiling")]
static COUNTER_BLOCKS: Counters = {
    let mut blocks = [[0; 4]; COUNTERS];
    let mut counter = 0_u32;
    while (counter as usize) < COUNTERS {
        blocks[counter as usize] = [0, 0, 0, (counter + 1).to_be()];
        counter += 1;
    }
    Counters(blocks)
};

/// Where the block of `counter`, 1 or more, stands, and behind it those that follow.
#[inline]
pub(super) fn counters_from(counter: usize) -> *const u8 {
    COUNTER_BLOCKS.0.as_ptr().cast::<u8>().wrapping_add((counter - 1) * BLOCK)
}
