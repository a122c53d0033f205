//! One packet: GCM with a 96-bit IV (NIST SP 800-38D section 7) in place.
//!
//! GHASH is computed as POLYVAL (RFC 8452 appendix A) over octet-reversed blocks. Blocks of a chunk are multiplied by descending powers of H, summed up,
//! and reduced once. AES and multiplication go side by side, as neither waits for the other: a chunk that is opened hashes itself, one that is sealed the
//! chunk before it, from memory. So all states and sums stay in the 16 registers there are.
//!
//! The functions here have no features of their own; they are part of the two at the end of this file, which have those of their width.

use core::arch::asm;
use core::arch::x86_64::*;

use super::BLOCK;
use super::key::Key;
use super::width::Vector;
use crate::x86::counters::counters_from;
use crate::x86::key_schedule::{block, octets_of};
use crate::{Aad, ICV_LEN, NONCE_LEN};

/// Vectors of a chunk.
const CHUNK: usize = 8;

/// Products that wait for their reduction: `low` + `middle` x^64 + `high` x^128, lane by lane.
#[derive(Clone, Copy)]
pub(super) struct Sums<V> {
    low: V,
    middle: V,
    high: V,
}

impl<V: Vector> Sums<V> {
    /// # Safety
    /// The CPU has the features of the vectors.
    #[inline(always)]
    pub(super) unsafe fn of(x: V, h: V) -> Self {
        // SAFETY: the caller says so.
        unsafe { Self { low: x.clmul::<0x00>(h), middle: x.clmul::<0x01>(h).xor(x.clmul::<0x10>(h)), high: x.clmul::<0x11>(h) } }
    }

    /// # Safety
    /// The CPU has the features of the vectors.
    #[inline(always)]
    unsafe fn with(self, x: V, h: V) -> Self {
        // SAFETY: the caller says so.
        unsafe {
            Self {
                low: self.low.xor(x.clmul::<0x00>(h)),
                middle: self.middle.xor(x.clmul::<0x01>(h)).xor(x.clmul::<0x10>(h)),
                high: self.high.xor(x.clmul::<0x11>(h)),
            }
        }
    }

    /// # Safety
    /// The CPU has the features of the vectors.
    #[inline(always)]
    unsafe fn sum_of_lanes(self) -> Sums<__m128i> {
        // SAFETY: the caller says so.
        unsafe { Sums { low: self.low.sum_of_lanes(), middle: self.middle.sum_of_lanes(), high: self.high.sum_of_lanes() } }
    }
}

impl Sums<__m128i> {
    /// # Safety
    /// The CPU has the features of the vectors.
    #[inline(always)]
    unsafe fn and(self, more: Self) -> Self {
        // SAFETY: the caller says so.
        unsafe { Self { low: self.low.xor(more.low), middle: self.middle.xor(more.middle), high: self.high.xor(more.high) } }
    }

    /// Times x^-128 modulo the polynomial: two steps of Montgomery, of 64 bits each.
    ///
    /// # Safety
    /// The CPU has the features of the vectors.
    #[inline(always)]
    pub(super) unsafe fn reduce(self) -> __m128i {
        // SAFETY: the caller says so.
        unsafe {
            // x^127 + x^126 + x^121, above the x^64 that the halves trade places for.
            let polynomial = _mm_set1_epi64x(0xc200_0000_0000_0000_u64.cast_signed());
            let step = _mm_shuffle_epi32::<0x4e>(self.low).xor(self.low.clmul::<0x00>(polynomial)).xor(self.middle);
            _mm_shuffle_epi32::<0x4e>(step).xor(step.clmul::<0x00>(polynomial)).xor(self.high)
        }
    }
}

/// What stays the same through a packet, and how far it has come.
struct Stream<'a, V> {
    key: &'a Key,
    /// The nonce with room for a counter in every lane, and the first round key added.
    nonce: V,
    /// Reverses the octets of each lane.
    reverse: V,
    /// The counter blocks to come.
    counters: *const u8,
    ghash: __m128i,
}

impl<V: Vector> Stream<'_, V> {
    const VECTOR: usize = V::LANES * BLOCK;

    /// The key's round keys, out of sight of the compiler: it would keep all of them in registers that it does not have.
    #[inline(always)]
    fn round_keys(&self) -> *const u8 {
        let mut round_keys = self.key.round_keys();
        // SAFETY: nothing happens.
        unsafe { asm!("/* {} */", inout(reg) round_keys, options(readonly, nostack, preserves_flags)) };
        round_keys
    }

    /// # Safety
    /// The CPU has the features of the vectors; the round key can be read.
    #[inline(always)]
    unsafe fn round_key(round_keys: *const u8, round: usize) -> V {
        // SAFETY: the caller says so.
        unsafe { V::broadcast(<__m128i as Vector>::load(round_keys.wrapping_add(round * BLOCK))) }
    }

    /// A chunk at `at` encrypted or decrypted, and meanwhile the one at `hashed` into GHASH.
    ///
    /// # Safety
    /// The CPU has the features of the vectors; the chunk at `at` can be read and written, that at `hashed` read; there are counters.
    #[inline(always)]
    unsafe fn chunk<const ROUND_KEYS: usize, const HASH: bool>(&mut self, at: *mut u8, hashed: *const u8) {
        // SAFETY: the caller says so; the powers from that of a chunk on and the round keys are within the key.
        unsafe {
            let powers = self.key.powers_from(CHUNK * V::LANES);
            let round_keys = self.round_keys();
            let mut states = [self.nonce; CHUNK];
            for (n, state) in states.iter_mut().enumerate() {
                *state = state.xor(V::load(self.counters.wrapping_add(n * Self::VECTOR)));
            }
            self.counters = self.counters.wrapping_add(CHUNK * Self::VECTOR);
            let mut sums: Option<Sums<V>> = None;
            macro_rules! round {
                ($n:literal) => {
                    if $n < ROUND_KEYS - 1 {
                        let round_key = Self::round_key(round_keys, $n);
                        for state in &mut states {
                            *state = state.aesenc(round_key);
                        }
                    }
                };
            }
            macro_rules! rounds_and_hash {
                ($($n:literal)+) => {
                    $({
                        round!($n);
                        if HASH {
                            // The first vector, which waits for the chunk before, comes last.
                            let v = $n % CHUNK;
                            let x = V::load(hashed.wrapping_add(v * Self::VECTOR)).shuffle(self.reverse);
                            let x = if v == 0 { x.xor(V::of_block(self.ghash)) } else { x };
                            let h = V::load(powers.wrapping_add(v * Self::VECTOR));
                            sums = Some(match sums {
                                None => Sums::of(x, h),
                                Some(sums) => sums.with(x, h),
                            });
                        }
                    })+
                };
            }
            rounds_and_hash!(1 2 3 4 5 6 7 8);
            if let Some(sums) = sums {
                self.ghash = sums.sum_of_lanes().reduce();
            }
            round!(9);
            round!(10);
            round!(11);
            round!(12);
            round!(13);
            let round_key = Self::round_key(round_keys, ROUND_KEYS - 1);
            for (n, state) in states.iter().enumerate() {
                let place = at.wrapping_add(n * Self::VECTOR);
                // The data go to the round key first: that does not wait for the state.
                state.aesenclast(round_key.xor(V::load(place))).store(place);
            }
        }
    }

    /// A chunk into GHASH.
    ///
    /// # Safety
    /// The CPU has the features of the vectors; the chunk can be read.
    #[inline(always)]
    unsafe fn hash(&mut self, hashed: *const u8) {
        // SAFETY: the caller says so; the powers from that of a chunk on are within the key.
        unsafe {
            let powers = self.key.powers_from(CHUNK * V::LANES);
            let first = V::load(hashed).shuffle(self.reverse).xor(V::of_block(self.ghash));
            let mut sums = Sums::of(first, V::load(powers));
            for n in 1..CHUNK {
                let x = V::load(hashed.wrapping_add(n * Self::VECTOR)).shuffle(self.reverse);
                sums = sums.with(x, V::load(powers.wrapping_add(n * Self::VECTOR)));
            }
            self.ghash = sums.sum_of_lanes().reduce();
        }
    }

    /// What is left, less than a chunk and in so many vectors, and the tag. `before` are products of what was hashed before.
    ///
    /// # Safety
    /// The CPU has the features of the vectors; `left` octets at `at` can be read and written; there are counters.
    #[inline(always)]
    unsafe fn last<const ROUND_KEYS: usize, const VECTORS: usize, const SEAL: bool>(
        &mut self,
        at: *mut u8,
        left: usize,
        before: Sums<__m128i>,
    ) -> [u8; ICV_LEN] {
        // SAFETY: the caller says so; up to a chunk and two blocks of powers, what vectors read beyond them, and the round keys are within the key.
        unsafe {
            let blocks = left.div_ceil(BLOCK);
            let powers = self.key.powers_from(blocks + 1);
            let round_keys = self.round_keys();
            let mut mask_of_tag = self.nonce.first_block().xor(Vector::load(counters_from(1)));
            let mut states = [self.nonce; VECTORS];
            for (n, state) in states.iter_mut().enumerate() {
                *state = state.xor(V::load(self.counters.wrapping_add(n * Self::VECTOR)));
            }
            macro_rules! rounds {
                ($($n:literal)+) => {
                    $(if $n < ROUND_KEYS - 1 {
                        let round_key = Self::round_key(round_keys, $n);
                        mask_of_tag = mask_of_tag.aesenc(round_key.first_block());
                        for state in &mut states {
                            *state = state.aesenc(round_key);
                        }
                    })+
                };
            }
            rounds!(1 2 3 4 5 6 7 8 9 10 11 12 13);
            let round_key = Self::round_key(round_keys, ROUND_KEYS - 1);
            mask_of_tag = mask_of_tag.aesenclast(round_key.first_block());
            let mut sums: Option<Sums<V>> = None;
            for (n, state) in states.iter().enumerate() {
                let place = at.wrapping_add(n * Self::VECTOR);
                let octets = left - n * Self::VECTOR;
                let (input, output);
                if n + 1 < VECTORS || octets == Self::VECTOR {
                    input = V::load(place);
                    output = state.aesenclast(round_key.xor(input));
                    output.store(place);
                } else {
                    input = V::load_part(place, octets);
                    output = state.aesenclast(round_key.xor(input)).and(V::load(ones(octets)));
                    output.store_part(place, octets);
                }
                let x = if SEAL { output } else { input }.shuffle(self.reverse);
                let h = V::load(powers.wrapping_add(n * Self::VECTOR));
                sums = Some(match sums {
                    None => Sums::of(x, h),
                    Some(sums) => sums.with(x, h),
                });
            }
            let sums = sums.map_or(before, |sums| sums.sum_of_lanes().and(before));
            octets_of(mask_of_tag.xor(sums.reduce().shuffle(self.reverse.first_block())))
        }
    }
}

/// So many octets of ones, fewer than 32, and zeros.
#[inline(always)]
fn ones(octets: usize) -> *const u8 {
    static ONES: [[u8; 32]; 2] = [[0xff; 32], [0; 32]];
    ONES.as_ptr().cast::<u8>().wrapping_add(32 - octets)
}

/// # Safety
/// The CPU has the features of the vectors.
#[inline(always)]
unsafe fn crypt<V: Vector, const ROUND_KEYS: usize, const SEAL: bool>(
    key: &Key,
    nonce: &[u8; NONCE_LEN],
    aad: &Aad,
    data: &mut [u8],
) -> [u8; ICV_LEN] {
    let chunk = CHUNK * Stream::<V>::VECTOR;
    let (mut at, mut left) = (data.as_mut_ptr(), data.len());
    // SAFETY: the caller says so of the features. Chunks, and what is left after them, are within the data, of which a job has no more than there are
    // counters for; the chunk that is hashed while another one is sealed is the one before it.
    unsafe {
        let reverse = V::broadcast(block(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f));
        let nonce = <__m128i as Vector>::load_part(nonce.as_ptr(), NONCE_LEN);
        let first_key = <__m128i as Vector>::load(key.round_keys());
        let nonce = V::broadcast(nonce.xor(first_key));
        let mut stream = Stream::<V> { key, nonce, reverse, counters: counters_from(2), ghash: _mm_setzero_si128() };

        let h = <__m128i as Vector>::load(key.powers_from(1));
        let bits = |octets: usize| (octets as u128) << 3;
        let lengths = block(bits(aad.octets().len()) << 64 | bits(data.len()));
        let of_lengths = Sums::of(lengths, h);
        let additional = <__m128i as Vector>::load_part(aad.octets().as_ptr(), aad.octets().len()).shuffle(reverse.first_block());

        let before = if left < chunk {
            Sums::of(additional, Vector::load(key.powers_from(left.div_ceil(BLOCK) + 2)))
        } else {
            stream.ghash = Sums::of(additional, h).reduce();
            if SEAL {
                stream.chunk::<ROUND_KEYS, false>(at, at);
                (at, left) = (at.wrapping_add(chunk), left - chunk);
            }
            while left >= chunk {
                let hashed = if SEAL { at.wrapping_sub(chunk) } else { at };
                stream.chunk::<ROUND_KEYS, true>(at, hashed);
                (at, left) = (at.wrapping_add(chunk), left - chunk);
            }
            if SEAL {
                stream.hash(at.wrapping_sub(chunk));
            }
            Sums::of(stream.ghash, Vector::load(key.powers_from(left.div_ceil(BLOCK) + 1)))
        };
        let before = before.and(of_lengths);
        match left.div_ceil(Stream::<V>::VECTOR) {
            0 => stream.last::<ROUND_KEYS, 0, SEAL>(at, left, before),
            1 => stream.last::<ROUND_KEYS, 1, SEAL>(at, left, before),
            2 => stream.last::<ROUND_KEYS, 2, SEAL>(at, left, before),
            3 => stream.last::<ROUND_KEYS, 3, SEAL>(at, left, before),
            4 => stream.last::<ROUND_KEYS, 4, SEAL>(at, left, before),
            5 => stream.last::<ROUND_KEYS, 5, SEAL>(at, left, before),
            6 => stream.last::<ROUND_KEYS, 6, SEAL>(at, left, before),
            7 => stream.last::<ROUND_KEYS, 7, SEAL>(at, left, before),
            _ => stream.last::<ROUND_KEYS, 8, SEAL>(at, left, before),
        }
    }
}

/// On vectors of 256 bits.
#[target_feature(enable = "avx2,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
pub(super) fn crypt_vaes<const ROUND_KEYS: usize, const SEAL: bool>(
    key: &Key,
    nonce: &[u8; NONCE_LEN],
    aad: &Aad,
    data: &mut [u8],
) -> [u8; ICV_LEN] {
    // SAFETY: these are the features of such vectors.
    unsafe { crypt::<__m256i, ROUND_KEYS, SEAL>(key, nonce, aad, data) }
}

/// On vectors of 128 bits.
#[target_feature(enable = "avx2,aes,pclmulqdq,sse4.1")]
pub(super) fn crypt_aesni<const ROUND_KEYS: usize, const SEAL: bool>(
    key: &Key,
    nonce: &[u8; NONCE_LEN],
    aad: &Aad,
    data: &mut [u8],
) -> [u8; ICV_LEN] {
    // SAFETY: these are the features of such vectors.
    unsafe { crypt::<__m128i, ROUND_KEYS, SEAL>(key, nonce, aad, data) }
}
