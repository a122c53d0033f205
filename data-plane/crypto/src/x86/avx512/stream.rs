//! Packets one at a time, of any length.
//!
//! A packet is read as a stream of blocks that begins 16 octets in front of its data:
//!
//! ```text
//!  block        0           1 .. n
//!  cipher   counter 1   counters 2 ..
//!  GHASH       AAD       ciphertext
//! ```
//!
//! so that the block that masks the tag and the AAD travel in a lane that would be idle otherwise. Each lane of GHASH goes its own way, every fourth block
//! times a power of H^4, until the last chunk brings the lanes together. While a chunk is enciphered, the one before it goes through GHASH, and while the
//! first of a packet is, the last of the packet before.

use core::arch::x86_64::*;

use super::ghash::{Sums, sum_of_lanes};
use super::packet::{Octets, aad_block, lengths_block, mask, reverse};
use super::vector::broadcast;
use super::{BLOCK, Key, LANES, VECTOR, aes};
use crate::ICV_LEN;
use crate::x86::counters::counters_from;

/// Vectors enciphered at once.
const CHUNK: usize = 4;
const _: () = assert!(CHUNK * LANES < super::key::POWERS);

/// Vectors of ciphertext, octets reversed, on their way into GHASH.
#[derive(Clone, Copy)]
struct Hashed<const VECTORS: usize> {
    blocks: [__m512i; VECTORS],
    /// What goes before them.
    ghash: __m512i,
}

impl<const VECTORS: usize> Hashed<VECTORS> {
    /// Vector `n`, if there is one, into the products, which have those before it.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn multiply(&self, sums: Option<Sums>, n: usize, powers: __m512i) -> Option<Sums> {
        let blocks = *self.blocks.get(n)?;
        let blocks = if n == 0 { _mm512_xor_si512(blocks, self.ghash) } else { blocks };
        let mut sums = match sums {
            None => Sums::of(blocks, powers),
            Some(sums) => sums.with(blocks, powers),
        };
        sums.pin();
        Some(sums)
    }

    /// Lane by lane: a chunk follows.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn multiply_lanes(&self, key: &Key, sums: Option<Sums>, n: usize) -> Option<Sums> {
        if n >= VECTORS {
            return sums;
        }
        // SAFETY: a chunk has fewer blocks than there are powers.
        self.multiply(sums, n, unsafe { broadcast(key.powers_from((VECTORS - n) * LANES)) })
    }
}

/// Of a packet whose last chunk is enciphered.
struct Last<'a> {
    key: &'a Key,
    hashed: Hashed<CHUNK>,
    /// Blocks of the chunk.
    blocks: usize,
    lengths: __m128i,
    mask_of_tag: __m128i,
    icv: *mut u8,
    /// Which one it is.
    bit: u64,
}

impl<'a> Last<'a> {
    /// Of no packet: nobody looks at the ICV.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn none(key: &'a Key, icv: &mut [u8; ICV_LEN]) -> Self {
        let (vector, block) = (_mm512_setzero_si512(), _mm_setzero_si128());
        let hashed = Hashed { blocks: [vector; CHUNK], ghash: vector };
        Self { key, hashed, blocks: 1, lengths: block, mask_of_tag: block, icv: icv.as_mut_ptr(), bit: 0 }
    }

    /// One vector more, behind the last one the lengths.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn multiply(&self, sums: Option<Sums>, n: usize) -> Option<Sums> {
        if n > CHUNK {
            return sums;
        }
        if n == CHUNK {
            // SAFETY: H is one of the powers.
            let h = unsafe { _mm_loadu_si128(self.key.powers_from(1).cast()) };
            let lengths = Sums::of(_mm512_zextsi128_si512(self.lengths), _mm512_zextsi128_si512(h));
            return Some(sums?.and(lengths));
        }
        // SAFETY: up to four vectors from any power on are within the key.
        let powers = unsafe { _mm512_loadu_si512(self.key.powers_from(self.blocks + 1).wrapping_add(n * VECTOR).cast()) };
        self.hashed.multiply(sums, n, powers)
    }

    /// Seal writes the ICV, open answers its bit if it is right.
    ///
    /// # Safety
    /// The ICV is that of a job.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn finish<const SEAL: bool>(&self, sums: Option<Sums>) -> u64 {
        let Some(sums) = sums else { return 0 };
        let ghash = reverse(_mm512_zextsi128_si512(sum_of_lanes(sums.reduce())));
        let tag = _mm_xor_si128(_mm512_castsi512_si128(ghash), self.mask_of_tag);
        if SEAL {
            // SAFETY: an ICV is a block.
            unsafe { _mm_storeu_si128(self.icv.cast(), tag) };
            return 0;
        }
        // SAFETY: as above.
        let icv = unsafe { _mm_loadu_si128(self.icv.cast_const().cast()) };
        if _mm_cmpeq_epi64_mask(tag, icv) == 0b11 { self.bit } else { 0 }
    }
}

/// The next `$vectors` vectors of keystream, and between the rounds, `$n` counting them, what is hashed meanwhile: AES and multiplication run side by side, as
/// neither waits for the other. A macro, because the compiler does not inline so large a function, and would pass vectors through memory.
macro_rules! keystream {
    ($stream:ident, $vectors:tt, |$n:ident| $hash:expr) => {{
        let mut states = [_mm512_setzero_si512(); $vectors];
        for (v, state) in states.iter_mut().enumerate() {
            // SAFETY: there are counters for the longest job.
            *state = _mm512_xor_si512($stream.nonce, unsafe { _mm512_loadu_si512($stream.counters.wrapping_add(v * VECTOR).cast()) });
        }
        $stream.counters = $stream.counters.wrapping_add($vectors * VECTOR);
        macro_rules! two_rounds {
            ($first:literal) => {
                $stream.round_keys.round::<$first, { $vectors }>(&mut states);
                // There is time for a vector.
                let $n = $first / 2;
                $hash;
                $stream.round_keys.round::<{ $first + 1 }, { $vectors }>(&mut states);
            };
        }
        two_rounds!(1);
        two_rounds!(3);
        two_rounds!(5);
        two_rounds!(7);
        two_rounds!(9);
        two_rounds!(11);
        two_rounds!(13);
        states
    }};
}

/// A packet on its way through AES.
struct Stream<const ROUND_KEYS: usize> {
    round_keys: aes::RoundKeys<ROUND_KEYS>,
    /// The nonce under the first round key, in every lane.
    nonce: __m512i,
    counters: *const u8,
    /// What comes next.
    at: *mut u8,
}

impl<const ROUND_KEYS: usize> Stream<ROUND_KEYS> {
    /// Encrypts or decrypts vectors: the ciphertext, octets reversed.
    ///
    /// # Safety
    /// The octets that the masks have can be read and written.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn apply<const VECTORS: usize, const SEAL: bool>(
        &mut self,
        keystream: [__m512i; VECTORS],
        masks: [u64; VECTORS],
    ) -> [__m512i; VECTORS] {
        let mut vectors = keystream;
        for (v, (vector, mask)) in vectors.iter_mut().zip(masks).enumerate() {
            let place = self.at.wrapping_add(v * VECTOR).cast::<i8>();
            // SAFETY: the caller says so of the octets that the mask has; no others are touched.
            let input = unsafe { _mm512_maskz_loadu_epi8(mask, place) };
            let output = _mm512_xor_si512(input, *vector);
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_epi8(place, mask, output) };
            *vector = reverse(if SEAL { _mm512_maskz_mov_epi8(mask, output) } else { input });
        }
        self.at = self.at.wrapping_add(VECTORS * VECTOR);
        vectors
    }
}

/// The octets behind the block before the data, which nobody touches.
const DATA: u64 = u64::MAX << BLOCK;
const ALL: u64 = u64::MAX;

/// GCM with a 96-bit IV (NIST SP 800-38D section 7) in place: seal writes the ICVs, open answers which are right, in the bits that come with the packets.
///
/// # Safety
/// The packets are those of jobs, and the keys have the size that `ROUND_KEYS` says.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
pub(super) unsafe fn crypt<'a, const ROUND_KEYS: usize, const SEAL: bool>(
    packets: impl Iterator<Item = (u64, &'a Key, &'a Octets)>,
) -> u64 {
    let mut packets = packets.peekable();
    let Some(&(_, key, _)) = packets.peek() else { return 0 };
    let (mut authentic, mut nobodys) = (0, [0; ICV_LEN]);
    let mut last = Last::none(key, &mut nobodys);
    let (mut of, mut round_keys) = (key, aes::RoundKeys::<ROUND_KEYS>::of(key));
    for (bit, key, packet) in packets {
        // SAFETY: the packet has these blocks.
        let (aad, nonce) = unsafe { (broadcast(packet.aad()), broadcast(packet.nonce())) };
        let at = packet.data.wrapping_sub(BLOCK);
        if !core::ptr::eq(key, of) {
            (of, round_keys) = (key, aes::RoundKeys::<ROUND_KEYS>::of(key));
        }
        let mut stream = Stream { round_keys, nonce: round_keys.add_first(nonce), counters: counters_from(1), at };
        let zero = _mm512_setzero_si512();
        let len = BLOCK + packet.len;
        // The first chunk has what is too much for whole ones.
        let vectors_before = len.div_ceil(VECTOR).saturating_sub(CHUNK);
        let left = len - vectors_before * VECTOR;
        let hashed;
        let mask_of_tag;
        macro_rules! first {
            ($vectors:tt, $masks:expr) => {{
                let mut sums = None;
                let keystream = keystream!(stream, $vectors, |n| sums = last.multiply(sums, n));
                // SAFETY: the ICV is that of a job.
                authentic |= unsafe { last.finish::<SEAL>(sums) };
                mask_of_tag = _mm512_castsi512_si128(keystream[0]);
                // SAFETY: the masks have data.
                let mut blocks = unsafe { stream.apply::<{ $vectors }, SEAL>(keystream, $masks) };
                // No ciphertext is in the first lane.
                blocks[0] = _mm512_mask_mov_epi64(blocks[0], 0b11, aad_block(aad));
                Hashed { blocks, ghash: zero }
            }};
        }
        macro_rules! next {
            ($hashed:ident, $mask:expr) => {{
                let mut sums = None;
                let keystream = keystream!(stream, CHUNK, |n| sums = $hashed.multiply_lanes(key, sums, n));
                let ghash = if let Some(sums) = sums { sums.reduce() } else { zero };
                // SAFETY: the masks have data.
                Hashed { blocks: unsafe { stream.apply::<CHUNK, SEAL>(keystream, [ALL, ALL, ALL, $mask]) }, ghash }
            }};
        }
        if vectors_before == 0 {
            hashed = first!(CHUNK, [mask(left, 0) & DATA, mask(left, 1), mask(left, 2), mask(left, 3)]);
        } else {
            let tail = mask(left, 3);
            let mut chunks = (vectors_before - 1) / CHUNK;
            let of_second = if chunks == 0 { tail } else { ALL };
            let mut chunk = match vectors_before % CHUNK {
                1 => {
                    let first = first!(1, [DATA]);
                    next!(first, of_second)
                }
                2 => {
                    let first = first!(2, [DATA, ALL]);
                    next!(first, of_second)
                }
                3 => {
                    let first = first!(3, [DATA, ALL, ALL]);
                    next!(first, of_second)
                }
                _ => {
                    let first = first!(CHUNK, [DATA, ALL, ALL, ALL]);
                    next!(first, of_second)
                }
            };
            while chunks > 1 {
                chunk = next!(chunk, ALL);
                chunks -= 1;
            }
            hashed = if chunks == 1 { next!(chunk, tail) } else { chunk };
        }
        let lengths = _mm512_castsi512_si128(lengths_block(aad, _mm512_set1_epi64((packet.len as u64).cast_signed())));
        last = Last { key, hashed, blocks: left.div_ceil(BLOCK), lengths, mask_of_tag, icv: packet.icv, bit };
    }
    let mut sums = None;
    for n in 0..=CHUNK {
        sums = last.multiply(sums, n);
    }
    // SAFETY: the ICV is that of a job.
    authentic | unsafe { last.finish::<SEAL>(sums) }
}
