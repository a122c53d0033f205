//! Rounds of AES, in assembly where the compiler would choose another order: it takes one vector through all rounds before the next, which leaves the unit
//! idle between them, and keeps round keys in registers that it does not have.

use core::arch::asm;
use core::arch::x86_64::*;

use super::{Key, LANES};

/// Round `N` of vectors that share a key; the last one differs (FIPS 197 section 5.1).
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn round<const N: usize, const LAST: bool, const VECTORS: usize>(key: &Key, states: &mut [__m512i; VECTORS]) {
    macro_rules! of {
        ($instruction:literal, $($state:ident),+) => {{
            let _key: __m512i;
            // SAFETY: reads a round key, and changes the vectors only.
            unsafe {
                asm!(
                    "vbroadcasti32x4 {key}, xmmword ptr [{keys} + {at}]",
                    $(concat!($instruction, " {", stringify!($state), "}, {", stringify!($state), "}, {key}"),)+
                    keys = in(reg) key.round_keys(),
                    at = const 16 * N,
                    key = out(zmm_reg) _key,
                    $($state = inout(zmm_reg) *$state,)+
                    options(nostack, preserves_flags, readonly),
                );
            }
        }};
        ($($state:ident),+) => {
            if LAST { of!("vaesenclast", $($state),+) } else { of!("vaesenc", $($state),+) }
        };
    }
    match &mut states[..] {
        [a] => of!(a),
        [a, b] => of!(a, b),
        [a, b, c] => of!(a, b, c),
        [a, b, c, d] => of!(a, b, c, d),
        [a, b, c, d, e] => of!(a, b, c, d, e),
        _ => {}
    }
}

/// Round `N` of a vector whose lanes have a key each.
#[inline]
#[target_feature(enable = "avx512f,vaes")]
pub(super) fn round_of_lanes<const N: usize, const LAST: bool>(keys: [&Key; LANES], state: &mut __m512i) {
    let [a, b, c, d] = keys.map(Key::round_keys);
    macro_rules! of {
        ($instruction:literal) => {{
            let _key: __m512i;
            // SAFETY: reads round keys, and changes the vector only.
            unsafe {
                asm!(
                    "vbroadcasti32x4 {key}, xmmword ptr [{a} + {at}]",
                    "vinserti32x4 {key}, {key}, xmmword ptr [{b} + {at}], 1",
                    "vinserti32x4 {key}, {key}, xmmword ptr [{c} + {at}], 2",
                    "vinserti32x4 {key}, {key}, xmmword ptr [{d} + {at}], 3",
                    concat!($instruction, " {state}, {state}, {key}"),
                    a = in(reg) a,
                    b = in(reg) b,
                    c = in(reg) c,
                    d = in(reg) d,
                    at = const 16 * N,
                    key = out(zmm_reg) _key,
                    state = inout(zmm_reg) *state,
                    options(nostack, preserves_flags, readonly),
                );
            }
        }};
    }
    if LAST { of!("vaesenclast") } else { of!("vaesenc") }
}
