//! AES-GCM on 512-bit vectors: four blocks an instruction (VAES, VPCLMULQDQ).
//!
//! Short packets go four at a time ([`lockstep`]), long ones by themselves ([`stream`]). In both, counters come from a table rather than from additions, and
//! what one packet has only one block of shares a vector with something else.

mod aes;
mod burst;
mod ghash;
mod key;
mod lockstep;
mod packet;
mod stream;
mod vector;

pub(crate) use burst::crypt;
pub(crate) use key::{Key, octets_for};

cpufeatures::new!(features, "avx512f", "avx512bw", "avx512dq", "avx512vl", "vaes", "vpclmulqdq", "aes", "pclmulqdq", "sse4.1", "bmi2");

/// The CPU and the operating system have what this kernel needs. There is no other way to one than [`Token::detect`].
#[derive(Clone, Copy)]
pub(crate) struct Token(());

impl Token {
    pub(crate) fn detect() -> Option<Self> {
        features::get().then_some(Self(()))
    }
}

use super::BLOCK;
/// Blocks, and octets, in a vector.
const LANES: usize = 4;
const VECTOR: usize = LANES * BLOCK;
