//! Kernels of AES-GCM for x86-64, each behind the proof that the CPU has what it was compiled for. All unsafe code of this crate is here.

pub(crate) mod avx2;
pub(crate) mod avx512;
mod counters;
mod key_schedule;

const BLOCK: usize = 16;
