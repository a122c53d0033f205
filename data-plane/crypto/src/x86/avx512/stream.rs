//! Long packets, one at a time.
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
//! times a power of H^4, until the last vectors bring the lanes together. Sealing hashes the chunk before while it encrypts one; opening the same.

use core::arch::x86_64::*;

use super::ghash::{Sums, sum_of_lanes};
use super::packet::{Octets, aad_block, lengths_block, mask, reverse};
use super::vector::broadcast;
use super::{BLOCK, Key, LANES, VECTOR, aes};
use crate::x86::counters::counters_from;

/// Vectors encrypted at once.
const CHUNK: usize = 4;
/// The longest data that go in one piece, with the block before them.
const MAX_LEN_WHOLE: usize = (CHUNK + 1) * VECTOR - BLOCK;

/// Vectors of ciphertext, octets reversed, on their way into GHASH.
#[derive(Clone, Copy)]
struct Hashed<'a, const VECTORS: usize> {
    blocks: [__m512i; VECTORS],
    powers: Powers<'a>,
}

/// What the vectors of a chunk are multiplied by.
#[derive(Clone, Copy)]
enum Powers<'a> {
    /// H^16, H^12, H^8 and H^4, each in all lanes: another vector follows.
    Chunk(&'a Key),
    /// From this one on: nothing but the lengths follows.
    Last(&'a Key, usize),
}

impl Powers<'_> {
    /// # Safety
    /// So many vectors are within the key.
    #[inline]
    #[target_feature(enable = "avx512f,sse4.1")]
    unsafe fn of(self, n: usize) -> __m512i {
        match self {
            // SAFETY: the caller says so.
            Powers::Chunk(key) => unsafe { broadcast(key.powers_from((CHUNK - n) * LANES)) },
            // SAFETY: the caller says so.
            Powers::Last(key, power) => unsafe { _mm512_loadu_si512(key.powers_from(power).wrapping_add(n * VECTOR).cast()) },
        }
    }
}

struct Stream<'a, const ROUND_KEYS: usize> {
    key: &'a Key,
    /// The nonce under the first round key, in every lane.
    nonce: __m512i,
    counters: *const u8,
    /// What is hashed so far, four lanes.
    ghash: __m512i,
}

impl<const ROUND_KEYS: usize> Stream<'_, ROUND_KEYS> {
    /// The next vectors of keystream, and meanwhile others into GHASH: AES and multiplication run side by side, as neither waits for the other.
    ///
    /// # Safety
    /// The powers are within the key, and there are counters.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn keystream<const VECTORS: usize, const HASHED: usize>(&mut self, hashed: Hashed<'_, HASHED>) -> [__m512i; VECTORS] {
        let mut states = [_mm512_setzero_si512(); VECTORS];
        for (v, state) in states.iter_mut().enumerate() {
            // SAFETY: the caller says so.
            let counters = unsafe { _mm512_loadu_si512(self.counters.wrapping_add(v * VECTOR).cast()) };
            *state = _mm512_xor_si512(self.nonce, counters);
        }
        self.counters = self.counters.wrapping_add(VECTORS * VECTOR);
        let mut sums: Option<Sums> = None;
        macro_rules! round {
            ($n:literal) => {
                if $n < ROUND_KEYS {
                    if $n + 1 == ROUND_KEYS {
                        aes::round::<$n, true, VECTORS>(self.key, &mut states);
                    } else {
                        aes::round::<$n, false, VECTORS>(self.key, &mut states);
                    }
                    // Every other round has time for a vector.
                    if $n % 2 == 1 && $n / 2 < HASHED {
                        // SAFETY: the caller says so.
                        sums = Some(unsafe { self.multiply(sums, &hashed, $n / 2) });
                    }
                }
            };
        }
        round!(1);
        round!(2);
        round!(3);
        round!(4);
        round!(5);
        round!(6);
        round!(7);
        round!(8);
        round!(9);
        round!(10);
        round!(11);
        round!(12);
        round!(13);
        round!(14);
        if let Some(sums) = sums {
            self.ghash = sums.reduce();
        }
        states
    }

    /// One vector more; the first has what was hashed before it.
    ///
    /// # Safety
    /// The powers are within the key.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn multiply<const HASHED: usize>(&self, sums: Option<Sums>, hashed: &Hashed<'_, HASHED>, n: usize) -> Sums {
        // SAFETY: the caller says so.
        let powers = unsafe { hashed.powers.of(n) };
        let blocks = hashed.blocks.get(n).copied().unwrap_or(self.ghash);
        match sums {
            None => Sums::of(_mm512_xor_si512(blocks, self.ghash), powers),
            Some(sums) => sums.with(blocks, powers),
        }
    }

    /// The last vectors, and the lengths, into GHASH.
    ///
    /// # Safety
    /// The powers are within the key.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn hash_last<const HASHED: usize>(&mut self, hashed: &Hashed<'_, HASHED>, lengths: Sums) {
        // SAFETY: the caller says so.
        let mut sums = unsafe { self.multiply(None, hashed, 0) };
        for n in 1..HASHED {
            // SAFETY: the caller says so.
            sums = unsafe { self.multiply(Some(sums), hashed, n) };
        }
        self.ghash = sums.and(lengths).reduce();
    }
}

/// Encrypts or decrypts vectors: the ciphertext, octets reversed.
///
/// # Safety
/// The octets that the masks have can be read and written.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn apply<const VECTORS: usize, const SEAL: bool>(
    keystream: [__m512i; VECTORS],
    at: *mut u8,
    masks: [u64; VECTORS],
) -> [__m512i; VECTORS] {
    let mut vectors = keystream;
    for (v, (vector, mask)) in vectors.iter_mut().zip(masks).enumerate() {
        let place = at.wrapping_add(v * VECTOR).cast::<i8>();
        // SAFETY: the caller says so of the octets that the mask has; no others are touched.
        let input = unsafe { _mm512_maskz_loadu_epi8(mask, place) };
        let output = _mm512_xor_si512(input, *vector);
        // SAFETY: as above.
        unsafe { _mm512_mask_storeu_epi8(place, mask, output) };
        *vector = reverse(if SEAL { _mm512_maskz_mov_epi8(mask, output) } else { input });
    }
    vectors
}

/// Vectors of ciphertext, octets reversed.
///
/// # Safety
/// The octets that the masks have can be read.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn ciphertext<const VECTORS: usize>(at: *const u8, masks: [u64; VECTORS]) -> [__m512i; VECTORS] {
    let mut vectors = [_mm512_setzero_si512(); VECTORS];
    for (v, (vector, mask)) in vectors.iter_mut().zip(masks).enumerate() {
        // SAFETY: the caller says so of the octets that the mask has; no others are touched.
        *vector = reverse(unsafe { _mm512_maskz_loadu_epi8(mask, at.wrapping_add(v * VECTOR).cast::<i8>()) });
    }
    vectors
}

/// GCM with a 96-bit IV (NIST SP 800-38D section 7) in place: seal writes the ICV, open answers whether it is right.
///
/// # Safety
/// The packet is that of a job, and the key has the size that `ROUND_KEYS` says.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
pub(super) unsafe fn crypt<const ROUND_KEYS: usize, const SEAL: bool>(key: &Key, packet: &Octets) -> bool {
    // SAFETY: the packet has these blocks, and H is one of the powers.
    let (aad, nonce, round_key, h) = unsafe {
        (broadcast(packet.aad()), broadcast(packet.nonce()), broadcast(key.round_keys()), _mm_loadu_si128(key.powers_from(1).cast()))
    };
    let (nonce, ghash) = (_mm512_xor_si512(nonce, round_key), _mm512_setzero_si512());
    let mut stream = Stream::<ROUND_KEYS> { key, nonce, counters: counters_from(1), ghash };
    let lengths = lengths_block(aad, _mm512_set1_epi64((packet.len as u64).cast_signed()));
    let lengths = Sums::of(_mm512_zextsi128_si512(_mm512_castsi512_si128(lengths)), _mm512_zextsi128_si512(h));
    // SAFETY: the caller says so.
    let mask_of_tag = unsafe {
        match packet.len {
            0..=48 => stream.crypt_whole::<1, SEAL>(packet, aad_block(aad), lengths),
            49..=112 => stream.crypt_whole::<2, SEAL>(packet, aad_block(aad), lengths),
            113..=MAX_LEN_WHOLE => stream.crypt_whole::<5, SEAL>(packet, aad_block(aad), lengths),
            _ => stream.crypt_chunks::<SEAL>(packet, aad_block(aad), lengths),
        }
    };
    let ghash = reverse(_mm512_zextsi128_si512(sum_of_lanes(stream.ghash)));
    let tag = _mm512_castsi512_si128(_mm512_xor_si512(ghash, mask_of_tag));
    if SEAL {
        // SAFETY: an ICV is a block.
        unsafe { _mm_storeu_si128(packet.icv.cast(), tag) };
        return true;
    }
    // SAFETY: as above.
    let icv = unsafe { _mm_loadu_si128(packet.icv.cast_const().cast()) };
    _mm_cmpeq_epi64_mask(tag, icv) == 0b11
}

impl<const ROUND_KEYS: usize> Stream<'_, ROUND_KEYS> {
    /// A packet of no more vectors, in one piece; what masks its tag.
    ///
    /// # Safety
    /// The packet is that of a job, and not longer.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn crypt_whole<const VECTORS: usize, const SEAL: bool>(&mut self, packet: &Octets, aad: __m512i, lengths: Sums) -> __m512i {
        let at = packet.data.wrapping_sub(BLOCK);
        let mut masks = [0; VECTORS];
        for (v, vector) in masks.iter_mut().enumerate() {
            *vector = mask(BLOCK + packet.len, v) & if v == 0 { u64::MAX << BLOCK } else { u64::MAX };
        }
        let powers = Powers::Last(self.key, packet.len.div_ceil(BLOCK) + 2);
        // SAFETY: the masks have the data, there are counters, and up to five vectors from any power on are within the key.
        unsafe {
            let keystream = self.keystream::<VECTORS, 0>(Hashed { blocks: [], powers });
            let blocks = with_aad(apply::<VECTORS, SEAL>(keystream, at, masks), aad);
            self.hash_last(&Hashed { blocks, powers }, lengths);
            keystream.first().copied().unwrap_or(aad)
        }
    }

    /// A longer packet, chunk by chunk; what masks its tag.
    ///
    /// # Safety
    /// The packet is that of a job, and longer than [`MAX_LEN_WHOLE`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn crypt_chunks<const SEAL: bool>(&mut self, packet: &Octets, aad: __m512i, lengths: Sums) -> __m512i {
        // The stream begins one block before the data, and nothing there is touched.
        let (mut at, mut left) = (packet.data.wrapping_sub(BLOCK), BLOCK + packet.len);
        let masks = [u64::MAX << BLOCK, u64::MAX, u64::MAX, u64::MAX];
        let key = self.key;
        let powers = Powers::Chunk(key);
        let nothing = Hashed { blocks: [], powers };
        // SAFETY, as far as the end of this function: a whole chunk is left of the data, but for the block that the first mask leaves out, until the last masks
        // have what is left; there are counters for the longest job; and up to five vectors from any power on are within the key.
        let mut blocks = [self.ghash; CHUNK];
        let keystream = if SEAL {
            // SAFETY: see above.
            let keystream = unsafe { self.keystream::<CHUNK, 0>(nothing) };
            // SAFETY: see above.
            blocks = with_aad(unsafe { apply::<CHUNK, SEAL>(keystream, at, masks) }, aad);
            keystream
        } else {
            // SAFETY: see above.
            let blocks = with_aad(unsafe { ciphertext(at, masks) }, aad);
            // SAFETY: see above.
            let keystream = unsafe { self.keystream::<CHUNK, CHUNK>(Hashed { blocks, powers }) };
            // SAFETY: see above.
            unsafe { apply::<CHUNK, SEAL>(keystream, at, masks) };
            keystream
        };
        let [mask_of_tag, ..] = keystream;
        at = at.wrapping_add(CHUNK * VECTOR);
        left -= CHUNK * VECTOR;
        // Two vectors at least are last: all lanes of what is hashed meet a block of the first.
        while left > (CHUNK + 1) * VECTOR {
            if !SEAL {
                // SAFETY: see above.
                blocks = unsafe { ciphertext(at, [u64::MAX; CHUNK]) };
            }
            // SAFETY: see above.
            let keystream = unsafe { self.keystream::<CHUNK, CHUNK>(Hashed { blocks, powers }) };
            // SAFETY: see above.
            blocks = unsafe { apply::<CHUNK, SEAL>(keystream, at, [u64::MAX; CHUNK]) };
            at = at.wrapping_add(CHUNK * VECTOR);
            left -= CHUNK * VECTOR;
        }
        let last = Powers::Last(key, left.div_ceil(BLOCK) + 1);
        macro_rules! last {
            ($vectors:literal) => {{
                let mut masks = [0; $vectors];
                for (v, vector) in masks.iter_mut().enumerate() {
                    *vector = mask(left, v);
                }
                if SEAL {
                    // SAFETY: see above.
                    let keystream = unsafe { self.keystream::<$vectors, CHUNK>(Hashed { blocks, powers }) };
                    // SAFETY: see above.
                    let blocks = unsafe { apply::<$vectors, SEAL>(keystream, at, masks) };
                    // SAFETY: see above.
                    unsafe { self.hash_last(&Hashed { blocks, powers: last }, lengths) };
                } else {
                    // SAFETY: see above.
                    let blocks = unsafe { ciphertext(at, masks) };
                    // SAFETY: see above.
                    unsafe { self.hash_last(&Hashed { blocks, powers: last }, lengths) };
                    // SAFETY: see above.
                    let keystream = unsafe { self.keystream::<$vectors, 0>(nothing) };
                    // SAFETY: see above.
                    unsafe { apply::<$vectors, SEAL>(keystream, at, masks) };
                }
            }};
        }
        match left.div_ceil(VECTOR) {
            0..=2 => last!(2),
            3 => last!(3),
            4 => last!(4),
            _ => last!(5),
        }
        mask_of_tag
    }
}

/// The AAD in the first lane, which no ciphertext is in.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn with_aad<const VECTORS: usize>(mut blocks: [__m512i; VECTORS], aad: __m512i) -> [__m512i; VECTORS] {
    if let Some(first) = blocks.first_mut() {
        *first = _mm512_mask_mov_epi64(*first, 0b11, aad);
    }
    blocks
}
