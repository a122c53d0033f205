//! Four short packets at a time, round by round in lockstep.
//!
//! Each packet has its own vectors for data. What a packet needs one block for (the counter block that masks the tag, AAD, lengths, reduction and tag)
//! is a lane of a vector that the four share. While four packets are enciphered, the four before them go through GHASH: the two share no unit of the CPU.

use core::arch::x86_64::*;

use super::ghash::{Sums, sums_of_lanes};
use super::packet::{Octets, Packet, aad_block, lengths_block, mask, reverse};
use super::vector::{broadcast, gather};
use super::{BLOCK, Key, LANES, VECTOR, aes};
use crate::x86::counters::counters_from;

/// The longest data that so many vectors a packet hold.
pub(super) const MAX_LEN: usize = 2 * VECTOR;
const _: () = assert!(MAX_LEN / BLOCK + 2 <= super::key::POWERS);

/// Four packets with their keys.
#[derive(Clone, Copy)]
struct Four<'a> {
    octets: [&'a Octets; LANES],
    keys: [&'a Key; LANES],
}

impl<'a> Four<'a> {
    /// # Safety
    /// The keys are those of this kernel.
    #[inline]
    const unsafe fn new(packets: [&'a Packet<'a>; LANES]) -> Self {
        let [a, b, c, d] = packets;
        // SAFETY: the caller says so.
        let keys = unsafe { [a.key(), b.key(), c.key(), d.key()] };
        Self { octets: [&a.octets, &b.octets, &c.octets, &d.octets], keys }
    }

    #[inline]
    fn iter(&self) -> impl Iterator<Item = (&'a Octets, &'a Key)> {
        self.octets.into_iter().zip(self.keys)
    }
}

/// Four packets on their way through AES.
struct Cipher<'a, const VECTORS: usize> {
    packets: Four<'a>,
    states: [[__m512i; VECTORS]; LANES],
    /// What masks the tags.
    first: __m512i,
}

impl<'a, const VECTORS: usize> Cipher<'a, VECTORS> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn new<const ONE_KEY: bool>(packets: Four<'a>) -> Self {
        let ([a, b, c, d], keys) = (packets.octets, packets.keys);
        let [first_key, ..] = keys;
        let mut states = [[_mm512_setzero_si512(); VECTORS]; LANES];
        // SAFETY: the packets have these blocks, and there are counters for more vectors.
        unsafe {
            for ((packet, key), states) in packets.iter().zip(&mut states) {
                let (nonce, round_key) = (broadcast(packet.nonce()), broadcast(key.round_keys()));
                for (v, state) in states.iter_mut().enumerate() {
                    let counters = _mm512_loadu_si512(counters_from(2).wrapping_add(v * VECTOR).cast());
                    *state = _mm512_xor_si512(_mm512_xor_si512(nonce, round_key), counters);
                }
            }
            let nonces = gather([a.nonce(), b.nonce(), c.nonce(), d.nonce()]);
            let round_keys = if ONE_KEY { broadcast(first_key.round_keys()) } else { gather(keys.map(Key::round_keys)) };
            let first = _mm512_xor_si512(_mm512_xor_si512(nonces, broadcast(counters_from(1))), round_keys);
            Self { packets, states, first }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn round<const ROUND_KEYS: usize, const N: usize>(&mut self, shared: Option<&aes::RoundKeys<ROUND_KEYS>>) {
        if N >= ROUND_KEYS {
            return;
        }
        let keys = self.packets.keys;
        let first = core::array::from_mut(&mut self.first);
        if let Some(shared) = shared {
            for states in &mut self.states {
                shared.round::<N, VECTORS>(states);
            }
            shared.round::<N, 1>(first);
        } else {
            for (key, states) in keys.iter().zip(&mut self.states) {
                aes::round::<N, ROUND_KEYS, VECTORS>(key, states);
            }
            aes::RoundKey::<N>::of_lanes(keys).round::<ROUND_KEYS, 1>(first);
        }
    }

    /// Encrypts or decrypts the data with what AES has made.
    ///
    /// # Safety
    /// The packets are those of jobs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn apply<const SEAL: bool>(self) -> Hash<'a, VECTORS> {
        let Self { packets, mut states, first } = self;
        for (packet, states) in packets.octets.into_iter().zip(&mut states) {
            for (v, state) in states.iter_mut().enumerate() {
                let place = packet.data.wrapping_add(v * VECTOR).cast::<i8>();
                let mask = mask(packet.len, v);
                // SAFETY: the mask has octets of the data only.
                let input = unsafe { _mm512_maskz_loadu_epi8(mask, place) };
                let output = _mm512_xor_si512(input, *state);
                // SAFETY: as above.
                unsafe { _mm512_mask_storeu_epi8(place, mask, output) };
                *state = reverse(if SEAL { _mm512_maskz_mov_epi8(mask, output) } else { input });
            }
        }
        let zero = _mm512_setzero_si512();
        let none = Sums { low: zero, middle: zero, high: zero };
        Hash { packets, ciphertext: states, first, sums: [none; LANES], total: none }
    }
}

/// Four packets on their way through GHASH.
struct Hash<'a, const VECTORS: usize> {
    packets: Four<'a>,
    /// Octets reversed, and zeros behind the data.
    ciphertext: [[__m512i; VECTORS]; LANES],
    first: __m512i,
    sums: [Sums; LANES],
    total: Sums,
}

impl<const VECTORS: usize> Hash<'_, VECTORS> {
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn aads_and_lengths<const ONE_KEY: bool>(&mut self) {
        let ([a, b, c, d], [e, f, g, h]) = (self.packets.octets, self.packets.keys);
        // SAFETY: the packets have these blocks, and the longest data of this kernel have powers before the first one.
        unsafe {
            let aads = gather([a.aad(), b.aad(), c.aad(), d.aad()]);
            let of_aads = gather([before(a.powers(e)), before(b.powers(f)), before(c.powers(g)), before(d.powers(h))]);
            let lens = gather([a.len_block(), b.len_block(), c.len_block(), d.len_block()]);
            let power = |key: &Key| key.powers_from(1);
            let of_lengths = if ONE_KEY { broadcast(power(e)) } else { gather([e, f, g, h].map(power)) };
            self.total = Sums::of(aad_block(aads), of_aads).with(lengths_block(aads, lens), of_lengths);
        }
        self.total.pin();
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn data<const P: usize>(&mut self) {
        let Four { octets, keys } = &self.packets;
        let (Some(packet), Some(key), Some(ciphertext), Some(sums)) =
            (octets.get(P), keys.get(P), self.ciphertext.get(P), self.sums.get_mut(P))
        else {
            return;
        };
        let first = packet.powers(key);
        for (v, blocks) in ciphertext.iter().enumerate() {
            // SAFETY: behind H^1, where the ciphertext is zeros, stand round keys: four vectors from any power on are within the key.
            let powers = unsafe { _mm512_loadu_si512(first.wrapping_add(v * VECTOR).cast()) };
            *sums = if v == 0 { Sums::of(*blocks, powers) } else { sums.with(*blocks, powers) };
        }
        sums.pin();
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn add_up(&mut self) {
        let [a, b, c, d] = self.sums;
        self.total = self.total.and(Sums {
            low: sums_of_lanes([a.low, b.low, c.low, d.low]),
            middle: sums_of_lanes([a.middle, b.middle, c.middle, d.middle]),
            high: sums_of_lanes([a.high, b.high, c.high, d.high]),
        });
        self.total.pin();
    }

    /// Seal writes the ICVs, open answers one bit for each that is right, in their order.
    ///
    /// # Safety
    /// The packets are those of jobs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    unsafe fn finish<const SEAL: bool>(self) -> u64 {
        let tags = _mm512_xor_si512(self.first, reverse(self.total.reduce()));
        if SEAL {
            let tags = [
                _mm512_castsi512_si128(tags),
                _mm512_extracti32x4_epi32::<1>(tags),
                _mm512_extracti32x4_epi32::<2>(tags),
                _mm512_extracti32x4_epi32::<3>(tags),
            ];
            for (packet, tag) in self.packets.octets.into_iter().zip(tags) {
                // SAFETY: an ICV is a block.
                unsafe { _mm_storeu_si128(packet.icv.cast(), tag) };
            }
            return 0;
        }
        let [a, b, c, d] = self.packets.octets;
        // SAFETY: an ICV is a block.
        let icvs = unsafe { gather([a.icv, b.icv, c.icv, d.icv].map(<*mut u8>::cast_const)) };
        let equal = u64::from(_mm512_cmpeq_epi64_mask(tags, icvs));
        // A lane is right where both halves are.
        _pext_u64(equal & equal >> 1, 0b0101_0101)
    }
}

/// The power above one.
#[inline]
const fn before(power: *const u8) -> *const u8 {
    power.wrapping_sub(BLOCK)
}

/// GCM with a 96-bit IV (NIST SP 800-38D section 7) in place: seal writes the ICVs, open answers one bit for each that is right, in their order.
///
/// # Safety
/// The packets are those of jobs, with no more than `VECTORS` vectors of data each. All have the size of key that `ROUND_KEYS` says, and if `ONE_KEY` does, all
/// have the same.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
pub(super) unsafe fn crypt<'a, const ROUND_KEYS: usize, const ONE_KEY: bool, const VECTORS: usize, const SEAL: bool>(
    mut fours: impl Iterator<Item = [&'a Packet<'a>; LANES]>,
) -> u64 {
    let Some(first) = fours.next() else { return 0 };
    // SAFETY: the caller says so.
    let first = unsafe { Four::new(first) };
    let mut authentic = 0;
    let mut cipher = Cipher::<VECTORS>::new::<ONE_KEY>(first);
    let shared = if ONE_KEY { Some(aes::RoundKeys::<ROUND_KEYS>::of(first.keys[0])) } else { None };
    macro_rules! rounds {
        ($cipher:ident: $($n:literal $($between:block)?),+) => {
            $($cipher.round::<ROUND_KEYS, $n>(shared.as_ref()); $($between)?)+
        };
    }
    rounds!(cipher: 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14);
    // SAFETY: the caller says so.
    let mut hash = unsafe { cipher.apply::<SEAL>() };
    let mut n = 0;
    for packets in fours {
        // SAFETY: the caller says so.
        let packets = unsafe { Four::new(packets) };
        let mut cipher = Cipher::<VECTORS>::new::<ONE_KEY>(packets);
        rounds!(cipher:
            1 { hash.aads_and_lengths::<ONE_KEY>() },
            2,
            3 { hash.data::<0>() },
            4 { hash.data::<1>() },
            5 { hash.data::<2>() },
            6 { hash.data::<3>() },
            7 { hash.add_up() },
            8, 9, 10, 11, 12, 13, 14
        );
        // SAFETY: the caller says so.
        authentic |= unsafe { hash.finish::<SEAL>() } << n;
        n += LANES;
        // SAFETY: the caller says so.
        hash = unsafe { cipher.apply::<SEAL>() };
    }
    hash.aads_and_lengths::<ONE_KEY>();
    hash.data::<0>();
    hash.data::<1>();
    hash.data::<2>();
    hash.data::<3>();
    hash.add_up();
    // SAFETY: the caller says so.
    authentic | unsafe { hash.finish::<SEAL>() } << n
}
