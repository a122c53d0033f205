//! Vectors put together as the units of the CPU like it: in assembly, because the compiler prefers a shuffle, of which there is one a cycle and which
//! multiplication competes for, to what every unit can do.

use core::arch::asm;
use core::arch::x86_64::*;

use super::LANES;

/// A block in every lane.
///
/// # Safety
/// The block can be read.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn broadcast(block: *const u8) -> __m512i {
    let vector: __m512i;
    // SAFETY: the caller says so.
    unsafe {
        asm!(
            "vbroadcasti32x4 {vector}, xmmword ptr [{block}]",
            block = in(reg) block,
            vector = out(zmm_reg) vector,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    vector
}

/// A block in each lane.
///
/// # Safety
/// The blocks can be read.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) unsafe fn gather(blocks: [*const u8; LANES]) -> __m512i {
    let [a, b, c, d] = blocks;
    let vector: __m512i;
    // SAFETY: the caller says so.
    unsafe {
        asm!(
            "vbroadcasti32x4 {vector}, xmmword ptr [{a}]",
            "vinserti32x4 {vector}, {vector}, xmmword ptr [{b}], 1",
            "vinserti32x4 {vector}, {vector}, xmmword ptr [{c}], 2",
            "vinserti32x4 {vector}, {vector}, xmmword ptr [{d}], 3",
            a = in(reg) a,
            b = in(reg) b,
            c = in(reg) c,
            d = in(reg) d,
            vector = out(zmm_reg) vector,
            options(pure, readonly, nostack, preserves_flags),
        );
    }
    vector
}

/// The halves of lanes of the second where the mask has ones, and of the first elsewhere.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn blend(mask: u8, first: __m512i, second: __m512i) -> __m512i {
    let vector: __m512i;
    // SAFETY: changes a vector.
    unsafe {
        asm!(
            "vpblendmq {vector} {{{mask}}}, {first}, {second}",
            mask = in(kreg) mask,
            first = in(zmm_reg) first,
            second = in(zmm_reg) second,
            vector = lateout(zmm_reg) vector,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    vector
}
