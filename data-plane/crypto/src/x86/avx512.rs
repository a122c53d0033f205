//! AES-GCM on 512-bit vectors: four blocks an instruction (VAES, VPCLMULQDQ).
//!
//! A packet is read as a stream of 16-octet blocks that begins 16 octets in front of its data:
//!
//! ```text
//!  block        0           1 .. n           n + 1
//!  cipher   counter 1   counters 2 ..          -
//!  GHASH       AAD       ciphertext    lengths of both
//! ```
//!
//! so that the block that masks the tag, the AAD and the lengths travel in lanes that would be idle otherwise. GHASH is computed as POLYVAL (RFC 8452
//! appendix A) over octet-reversed blocks; a chunk of blocks is multiplied by descending powers of H, summed up, and reduced once.

use core::arch::x86_64::*;
use core::fmt;

use zeroize::Zeroize;

use crate::tag::is_tag;
use crate::{Aad, ICV_LEN, NONCE_LEN};

cpufeatures::new!(features, "avx512f", "avx512bw", "avx512dq", "avx512vl", "vaes", "vpclmulqdq", "aes", "pclmulqdq", "sse4.1");

/// The CPU and the operating system have what this kernel needs. There is no other way to one than [`Token::detect`].
#[derive(Clone, Copy)]
pub(crate) struct Token(());

impl Token {
    pub(crate) fn detect() -> Option<Self> {
        features::get().then_some(Self(()))
    }
}

const BLOCK: usize = 16;
/// Blocks, and octets, in a vector.
const LANES: usize = 4;
const VECTOR: usize = LANES * BLOCK;
/// Vectors whose blocks are summed up before a reduction.
const CHUNK: usize = 4;
/// What the last vectors of a stream may need: blocks of a chunk that is not full, the lengths, and lanes that are empty.
const POWERS: usize = 20;
/// Round keys of AES-256; AES-128 has 11, AES-192 has 13.
const ROUND_KEYS: usize = 15;

/// Powers of H and round keys: those that a short packet needs lie side by side.
#[repr(C, align(64))]
pub(crate) struct Key {
    /// H^20 first, as POLYVAL takes them.
    powers: [[u8; BLOCK]; POWERS],
    round_keys: [[u8; BLOCK]; ROUND_KEYS],
    size: Size,
    _token: Token,
}

#[derive(Clone, Copy)]
enum Size {
    Aes128,
    Aes192,
    Aes256,
}

impl Drop for Key {
    fn drop(&mut self) {
        self.powers.zeroize();
        self.round_keys.zeroize();
    }
}

impl Key {
    /// Expands a key; `None` where the length is none of AES.
    pub(crate) fn new(token: Token, key: &[u8]) -> Option<Self> {
        let size = match key.len() {
            16 => Size::Aes128,
            24 => Size::Aes192,
            32 => Size::Aes256,
            _ => return None,
        };
        let mut expanded = Self { powers: [[0; BLOCK]; POWERS], round_keys: [[0; BLOCK]; ROUND_KEYS], size, _token: token };
        // SAFETY: the token says that the CPU has the features.
        unsafe { expanded.expand(key) };
        Some(expanded)
    }

    pub(crate) const fn bits(&self) -> u32 {
        match self.size {
            Size::Aes128 => 128,
            Size::Aes192 => 192,
            Size::Aes256 => 256,
        }
    }

    #[inline]
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8]) {
        let tag = self.crypt::<true>(nonce, aad, data);
        // A job's ICV has this length.
        if let Some(icv) = icv.first_chunk_mut() {
            *icv = tag;
        }
    }

    /// The data are deciphered while the tag is computed, and worth nothing where it is wrong.
    #[inline]
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8]) -> bool {
        let tag = self.crypt::<false>(nonce, aad, data);
        icv.as_array().is_some_and(|icv| is_tag(icv, &tag))
    }

    #[inline]
    fn crypt<const SEAL: bool>(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8]) -> [u8; ICV_LEN] {
        // SAFETY: this key holds the token, which says that the CPU has the features.
        unsafe {
            match self.size {
                Size::Aes128 => crypt::<11, SEAL>(self, nonce, aad, data),
                Size::Aes192 => crypt::<13, SEAL>(self, nonce, aad, data),
                Size::Aes256 => crypt::<15, SEAL>(self, nonce, aad, data),
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    fn expand(&mut self, key: &[u8]) {
        self.expand_round_keys(key);
        let first = u128::from_le_bytes(self.encrypt_zero());
        // Octets reversed, and multiplied by x: the hash key of POLYVAL (RFC 8452 appendix A).
        let reversed = first.swap_bytes();
        let carry = 0_u128.wrapping_sub(reversed >> 127);
        let hash_key = block((reversed << 1) ^ (carry & 0xc200_0000_0000_0000_0000_0000_0000_0001));
        let mut power = hash_key;
        for octets in self.powers.iter_mut().rev() {
            *octets = octets_of(power);
            power = Sums::of_one(power, hash_key).reduce();
        }
    }

    /// FIPS 197 section 5.2.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    fn expand_round_keys(&mut self, key: &[u8]) {
        let (of_key, _) = key.as_chunks::<4>();
        let nk = of_key.len();
        let mut words = [0_u32; 4 * ROUND_KEYS];
        words.iter_mut().zip(of_key).for_each(|(word, octets)| *word = u32::from_le_bytes(*octets));
        let mut rcon = 1_u8;
        for i in nk..words.len() {
            let [Some(&before), Some(&far)] = [i - 1, i - nk].map(|at| words.get(at)) else { continue };
            let word = match i % nk {
                0 => sub_word(before).rotate_right(8) ^ u32::from(rcon),
                4 if nk > 6 => sub_word(before),
                _ => before,
            };
            if i % nk == 0 {
                rcon = (rcon << 1) ^ if rcon & 0x80 == 0 { 0 } else { 0x1b };
            }
            if let Some(place) = words.get_mut(i) {
                *place = far ^ word;
            }
        }
        let octets = self.round_keys.iter_mut().flat_map(|round_key| round_key.as_chunks_mut::<4>().0);
        octets.zip(&words).for_each(|(octets, word)| *octets = word.to_le_bytes());
        words.zeroize();
    }

    /// The block of zeros, encrypted: the hash key of GCM.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    fn encrypt_zero(&self) -> [u8; BLOCK] {
        let rounds = match self.size {
            Size::Aes128 => 10,
            Size::Aes192 => 12,
            Size::Aes256 => 14,
        };
        let mut state = _mm_setzero_si128();
        for (n, round_key) in self.round_keys.iter().enumerate().take(rounds + 1) {
            let round_key = block(u128::from_le_bytes(*round_key));
            state = match n {
                0 => _mm_xor_si128(state, round_key),
                n if n == rounds => _mm_aesenclast_si128(state, round_key),
                _ => _mm_aesenc_si128(state, round_key),
            };
        }
        octets_of(state)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}", self.bits())
    }
}

/// SubWord of FIPS 197 section 5.2.
#[inline]
#[target_feature(enable = "aes,sse4.1")]
fn sub_word(word: u32) -> u32 {
    let words = _mm_aeskeygenassist_si128::<0>(_mm_set1_epi32(word.cast_signed()));
    _mm_cvtsi128_si32(words).cast_unsigned()
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn block(value: u128) -> __m128i {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = value.to_le_bytes();
    _mm_set_epi64x(i64::from_le_bytes([i, j, k, l, m, n, o, p]), i64::from_le_bytes([a, b, c, d, e, f, g, h]))
}

#[inline]
#[target_feature(enable = "sse4.1")]
fn octets_of(block: __m128i) -> [u8; BLOCK] {
    let (low, high) = (_mm_extract_epi64::<0>(block).cast_unsigned(), _mm_extract_epi64::<1>(block).cast_unsigned());
    (u128::from(high) << 64 | u128::from(low)).to_le_bytes()
}

/// Products that wait for their reduction, four lanes of each part.
#[derive(Clone, Copy)]
struct Sums {
    low: __m512i,
    middle: __m512i,
    high: __m512i,
}

impl Sums {
    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn of(x: __m512i, h: __m512i) -> Self {
        let middle = _mm512_xor_si512(_mm512_clmulepi64_epi128::<0x01>(x, h), _mm512_clmulepi64_epi128::<0x10>(x, h));
        Self { low: _mm512_clmulepi64_epi128::<0x00>(x, h), middle, high: _mm512_clmulepi64_epi128::<0x11>(x, h) }
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn of_one(x: __m128i, h: __m128i) -> Self {
        Self::of(_mm512_zextsi128_si512(x), _mm512_zextsi128_si512(h))
    }

    #[inline]
    #[target_feature(enable = "avx512f,vpclmulqdq")]
    fn with(self, x: __m512i, h: __m512i) -> Self {
        let more = Self::of(x, h);
        Self {
            low: _mm512_xor_si512(self.low, more.low),
            middle: _mm512_xor_si512(self.middle, more.middle),
            high: _mm512_xor_si512(self.high, more.high),
        }
    }

    /// The sum of the lanes, times x^-128 modulo the polynomial (Montgomery, two multiplications).
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,vpclmulqdq,pclmulqdq,sse4.1")]
    fn reduce(self) -> __m128i {
        let (low, middle, high) = (sum_of_lanes(self.low), sum_of_lanes(self.middle), sum_of_lanes(self.high));
        let low = _mm_xor_si128(low, _mm_slli_si128::<8>(middle));
        let high = _mm_xor_si128(high, _mm_srli_si128::<8>(middle));
        // x^127 + x^126 + x^121, above the x^64 that the halves trade places for.
        let polynomial = _mm_set1_epi64x(0xc200_0000_0000_0000_u64.cast_signed());
        let fold = |value| _mm_xor_si128(_mm_shuffle_epi32::<0x4e>(value), _mm_clmulepi64_si128::<0x00>(value, polynomial));
        _mm_xor_si128(high, fold(fold(low)))
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512vl")]
fn sum_of_lanes(lanes: __m512i) -> __m128i {
    let two = _mm256_xor_si256(_mm512_castsi512_si256(lanes), _mm512_extracti64x4_epi64::<1>(lanes));
    _mm_xor_si128(_mm256_castsi256_si128(two), _mm256_extracti128_si256::<1>(two))
}

/// What stays the same through a packet, in registers as far as there are.
struct Stream<const ROUND_KEYS: usize> {
    round_keys: [__m512i; ROUND_KEYS],
    /// Reverses the octets of each lane.
    reverse: __m512i,
    /// The counter blocks to come, octets reversed.
    counters: __m512i,
    /// The sum so far.
    ghash: __m128i,
}

impl<const ROUND_KEYS: usize> Stream<ROUND_KEYS> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    fn new(key: &Key, nonce: &[u8; NONCE_LEN]) -> Self {
        let mut round_keys = [_mm512_setzero_si512(); ROUND_KEYS];
        for (vector, octets) in round_keys.iter_mut().zip(&key.round_keys) {
            *vector = _mm512_broadcast_i32x4(block(u128::from_le_bytes(*octets)));
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l] = *nonce;
        let first = u128::from_be_bytes([a, b, c, d, e, f, g, h, i, j, k, l, 0, 0, 0, 1]);
        let lanes = _mm512_set_epi64(0, 3, 0, 2, 0, 1, 0, 0);
        let counters = _mm512_add_epi32(_mm512_broadcast_i32x4(block(first)), lanes);
        let reverse = _mm512_broadcast_i32x4(block(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f));
        Self { round_keys, reverse, counters, ghash: _mm_setzero_si128() }
    }

    /// The next blocks of keystream, and meanwhile `hashed` into GHASH: AES and multiplication run side by side, as neither waits for the other.
    ///
    /// # Safety
    /// `powers` begins with the one for the first block of `hashed`, and those of all its vectors can be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    unsafe fn keystream<const VECTORS: usize, const HASHED: usize>(
        &mut self,
        hashed: [__m512i; HASHED],
        powers: *const u8,
    ) -> [__m512i; VECTORS] {
        let four = _mm512_set_epi64(0, 4, 0, 4, 0, 4, 0, 4);
        let mut states = [_mm512_setzero_si512(); VECTORS];
        let [whitening, rounds @ .., last] = &self.round_keys[..] else { return states };
        for state in &mut states {
            *state = _mm512_xor_si512(_mm512_shuffle_epi8(self.counters, self.reverse), *whitening);
            self.counters = _mm512_add_epi32(self.counters, four);
        }
        let mut sums: Option<Sums> = None;
        for (n, round_key) in rounds.iter().enumerate() {
            for state in &mut states {
                *state = _mm512_aesenc_epi128(*state, *round_key);
            }
            // Every other round has time for a vector.
            if n % 2 == 0
                && let Some(blocks) = hashed.get(n / 2)
            {
                // SAFETY: the caller says so.
                sums = Some(unsafe { self.multiply(sums, *blocks, powers.wrapping_add(n / 2 * VECTOR)) });
            }
        }
        for state in &mut states {
            *state = _mm512_aesenclast_epi128(*state, *last);
        }
        if let Some(sums) = sums {
            self.ghash = sums.reduce();
        }
        states
    }

    /// One vector more, times the powers at `powers`; the first has what was hashed before it in its first block.
    ///
    /// # Safety
    /// The powers can be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    unsafe fn multiply(&self, sums: Option<Sums>, blocks: __m512i, powers: *const u8) -> Sums {
        // SAFETY: the caller says so.
        let powers = unsafe { _mm512_loadu_si512(powers.cast()) };
        match sums {
            None => Sums::of(_mm512_xor_si512(blocks, _mm512_zextsi128_si512(self.ghash)), powers),
            Some(sums) => sums.with(blocks, powers),
        }
    }

    /// Takes vectors into GHASH.
    ///
    /// # Safety
    /// `powers` begins with the one for the first block of `hashed`, and those of all its vectors can be read.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    unsafe fn hash<const HASHED: usize>(&mut self, hashed: [__m512i; HASHED], powers: *const u8) {
        let mut sums: Option<Sums> = None;
        for (n, blocks) in hashed.into_iter().enumerate() {
            // SAFETY: the caller says so.
            sums = Some(unsafe { self.multiply(sums, blocks, powers.wrapping_add(n * VECTOR)) });
        }
        if let Some(sums) = sums {
            self.ghash = sums.reduce();
        }
    }

    /// Encrypts or decrypts the octets at `at` that `masks` has. The ciphertext, octets reversed, with `front` in its lanes of the first vector.
    ///
    /// # Safety
    /// The octets that the masks have can be read and written.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
    unsafe fn apply<const VECTORS: usize, const SEAL: bool>(
        &self,
        keystream: [__m512i; VECTORS],
        at: *mut u8,
        masks: [u64; VECTORS],
        front: (u8, __m512i),
    ) -> [__m512i; VECTORS] {
        let mut ciphertext = keystream;
        for (n, (vector, mask)) in ciphertext.iter_mut().zip(masks).enumerate() {
            let place = at.wrapping_add(n * VECTOR).cast::<i8>();
            // SAFETY: the caller says so of the octets that the mask has; no others are touched.
            let input = unsafe { _mm512_maskz_loadu_epi8(mask, place) };
            let output = _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(input, *vector));
            // SAFETY: as above.
            unsafe { _mm512_mask_storeu_epi8(place, mask, output) };
            *vector = _mm512_shuffle_epi8(if SEAL { output } else { input }, self.reverse);
        }
        if let Some(first) = ciphertext.first_mut() {
            *first = _mm512_mask_mov_epi64(*first, front.0, front.1);
        }
        ciphertext
    }
}

/// GCM with a 96-bit IV (NIST SP 800-38D section 7) in place; the tag.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1")]
fn crypt<const ROUND_KEYS: usize, const SEAL: bool>(key: &Key, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8]) -> [u8; ICV_LEN] {
    let mut stream = Stream::<ROUND_KEYS>::new(key, nonce);
    let bits = |octets: usize| (octets as u128) << 3;
    let lengths = _mm512_broadcast_i32x4(block(bits(aad.octets().len()) << 64 | bits(data.len())));
    // The stream begins one block before the data, and nothing there is touched.
    let (mut at, mut left) = (data.as_mut_ptr().wrapping_sub(BLOCK), BLOCK + data.len());
    let mut first_mask = u64::MAX << BLOCK;
    let mut front = (0b11, _mm512_zextsi128_si512(block(aad.block())));
    let mut mask_of_tag = None;
    if left >= CHUNK * VECTOR {
        // H^16 first.
        let powers = powers_from(key, CHUNK * LANES);
        // SAFETY: nothing is hashed.
        let keystream = unsafe { stream.keystream::<CHUNK, 0>([], powers) };
        mask_of_tag = keystream.first().copied();
        // SAFETY: a whole chunk is left, of which the mask leaves out the block before the data.
        let mut ciphertext = unsafe { stream.apply::<CHUNK, SEAL>(keystream, at, [first_mask, u64::MAX, u64::MAX, u64::MAX], front) };
        (first_mask, front.0) = (u64::MAX, 0);
        at = at.wrapping_add(CHUNK * VECTOR);
        left -= CHUNK * VECTOR;
        while left >= CHUNK * VECTOR {
            // SAFETY: a chunk of the powers begins with H^16.
            let keystream = unsafe { stream.keystream::<CHUNK, CHUNK>(ciphertext, powers) };
            // SAFETY: a whole chunk is left of the data.
            ciphertext = unsafe { stream.apply::<CHUNK, SEAL>(keystream, at, [u64::MAX; CHUNK], front) };
            at = at.wrapping_add(CHUNK * VECTOR);
            left -= CHUNK * VECTOR;
        }
        // SAFETY: as above.
        unsafe { stream.hash(ciphertext, powers) };
    }
    let blocks = left.div_ceil(BLOCK) + 1;
    macro_rules! last {
        ($vectors:literal) => {{
            let mut masks = [0; $vectors];
            masks.iter_mut().enumerate().for_each(|(n, mask)| *mask = ones(left.saturating_sub(n * VECTOR)));
            masks[0] &= first_mask;
            let powers = powers_from(key, blocks);
            // SAFETY: nothing is hashed.
            let keystream = unsafe { stream.keystream::<$vectors, 0>([], powers) };
            // SAFETY: the masks have what is left of the data.
            let mut ciphertext = unsafe { stream.apply::<$vectors, SEAL>(keystream, at, masks, front) };
            let place = (0b11_u64 << (2 * (blocks - 1))).to_le_bytes();
            for (vector, lanes) in ciphertext.iter_mut().zip(place) {
                *vector = _mm512_mask_mov_epi64(*vector, lanes, lengths);
            }
            // SAFETY: at most 17 blocks are left, so that their powers are among the 20. What lanes behind the last block read beyond those are round keys,
            // within the key.
            unsafe { stream.hash(ciphertext, powers) };
            keystream[0]
        }};
    }
    let keystream = match blocks.div_ceil(LANES) {
        1 => last!(1),
        2 => last!(2),
        3 => last!(3),
        4 => last!(4),
        _ => last!(5),
    };
    let mask_of_tag = _mm512_castsi512_si128(mask_of_tag.unwrap_or(keystream));
    let tag = _mm_shuffle_epi8(stream.ghash, _mm512_castsi512_si128(stream.reverse));
    octets_of(_mm_xor_si128(tag, mask_of_tag))
}

/// Where the power for the first of so many blocks stands. The pointer is one into the whole key.
#[inline]
fn powers_from(key: &Key, blocks: usize) -> *const u8 {
    core::ptr::from_ref(key).cast::<u8>().wrapping_add((POWERS - blocks) * BLOCK)
}

/// So many ones, 64 at most, the lowest first.
#[inline]
const fn ones(count: usize) -> u64 {
    if count >= 64 { u64::MAX } else { (1 << count) - 1 }
}
