//! A burst, sorted by what lets packets go in lockstep: the size of the key, and the length in vectors.

use core::arch::x86_64::_pdep_u64;

use super::packet::{Job, Octets, Packet};
use super::{Key, LANES, Token, VECTOR, lockstep, stream};
use crate::gcm::Done;
use crate::job::Front;
use crate::x86::key_schedule::Size;
use crate::{Aad, ICV_LEN, MAX_BURST, NONCE_LEN};

/// Some packets of a burst.
// Closures in functions with features would have them too, and what has none, as adapters of iterators, could not inline them.
#[derive(Clone, Copy)]
struct List<'b, 'a> {
    packets: &'b [Packet<'a>],
    /// Which, one bit each, the first one lowest.
    bits: u64,
}

impl<'b, 'a> List<'b, 'a> {
    /// Takes the first one, and answers where it stands.
    #[inline]
    fn take(&mut self) -> Option<(u32, &'b Packet<'a>)> {
        let place = self.bits.trailing_zeros();
        self.bits &= self.bits.wrapping_sub(1);
        Some((place, self.packets.get(place as usize)?))
    }
}

/// Each by itself.
struct Singly<'b, 'a>(List<'b, 'a>);

impl<'b, 'a> Iterator for Singly<'b, 'a> {
    type Item = (u64, &'b Key, &'b Octets);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (place, packet) = self.0.take()?;
        Some((1 << place, packet.checked_key()?, &packet.octets))
    }
}

/// Four at a time, and with the last ones one that fills them up.
struct InFours<'b, 'a>(List<'b, 'a>, &'b Packet<'a>);

impl<'b, 'a> Iterator for InFours<'b, 'a> {
    type Item = [&'b Packet<'a>; LANES];

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let (_, first) = self.0.take()?;
        let mut next = || self.0.take().map_or(self.1, |(_, packet)| packet);
        Some([first, next(), next(), next()])
    }
}

/// Seals or opens the jobs of this kernel, of the first [`MAX_BURST`].
#[inline]
pub(crate) fn crypt<'a, J: Job<'a>>(jobs: &mut [J]) -> Done {
    if Token::detect().is_none() {
        return Done::default();
    }
    let count = jobs.len().min(MAX_BURST);
    let packets = J::packets(jobs.get_mut(..count).unwrap_or_default());
    // SAFETY: the token says that the CPU has the features.
    unsafe { crypt_packets::<J>(packets) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
fn crypt_packets<'a, J: Job<'a>>(packets: &[Packet<'a>]) -> Done {
    let (mut aes_128, mut aes_192, mut aes_256, mut above_one, mut above_two) = (0_u64, 0_u64, 0_u64, 0_u64, 0_u64);
    let (mut differ, first_key) = (0, packets.first().map_or(0, Packet::key_address));
    // Sorted without a branch, which the CPU would guess wrong: each bit is shifted in.
    for packet in packets.iter().rev() {
        let size = packet.key_size();
        aes_128 = shift_in(aes_128, size == Some(Size::Aes128));
        aes_192 = shift_in(aes_192, size == Some(Size::Aes192));
        aes_256 = shift_in(aes_256, size == Some(Size::Aes256));
        above_one = shift_in(above_one, packet.octets.len > VECTOR);
        above_two = shift_in(above_two, packet.octets.len > lockstep::MAX_LEN);
        differ |= packet.key_address() ^ first_key;
    }
    let (one_key, mut authentic) = (differ == 0, 0);
    if !one_key {
        prefetch_keys(packets);
    }
    // SAFETY: the packets are those of jobs, each taken once, of this size of key and with as many vectors.
    unsafe {
        if aes_128 != 0 {
            authentic |= crypt_size::<J, 11>(by_length(packets, aes_128, above_one, above_two), one_key);
        }
        if aes_256 != 0 {
            authentic |= crypt_size::<J, 15>(by_length(packets, aes_256, above_one, above_two), one_key);
        }
        if aes_192 != 0 {
            // One after the other: hardly anybody has such keys.
            authentic |= crypt_size::<J, 13>(by_length(packets, aes_192, u64::MAX, u64::MAX), one_key);
        }
    }
    Done { jobs: aes_128 | aes_192 | aes_256, authentic }
}

/// Of several SAs the keys may be anywhere: those of all packets are asked for before the first of them is needed.
#[inline(never)]
fn prefetch_keys(packets: &[Packet<'_>]) {
    let mut before = 0;
    for packet in packets {
        if packet.key_address() != before {
            packet.prefetch_key();
        }
        before = packet.key_address();
    }
}

#[inline]
fn shift_in(bits: u64, bit: bool) -> u64 {
    (bits << 1) | u64::from(bit)
}

/// Those that one vector holds, that two hold, and the others.
#[inline]
fn by_length<'b, 'a>(packets: &'b [Packet<'a>], bits: u64, above_one: u64, above_two: u64) -> [List<'b, 'a>; 3] {
    [bits & !above_one, bits & above_one & !above_two, bits & above_two].map(|bits| List { packets, bits })
}

/// The packets of a size of key, by length; those that are authentic.
///
/// # Safety
/// As [`lockstep::crypt`] and [`stream::crypt`] have it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn crypt_size<'a, J: Job<'a>, const ROUND_KEYS: usize>(lists: [List<'_, 'a>; 3], one_key: bool) -> u64 {
    let [one, two, mut long] = lists;
    // SAFETY: the caller says so.
    unsafe {
        let mut authentic = lockstep::<J, ROUND_KEYS, 1>(one, one_key, &mut long.bits);
        authentic |= lockstep::<J, ROUND_KEYS, 2>(two, one_key, &mut long.bits);
        let long = Singly(long);
        authentic | if J::SEAL { stream::crypt::<ROUND_KEYS, true>(long) } else { stream::crypt::<ROUND_KEYS, false>(long) }
    }
}

/// Short packets; those that are authentic.
///
/// # Safety
/// As [`lockstep::crypt`] has it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn lockstep<'a, J: Job<'a>, const ROUND_KEYS: usize, const VECTORS: usize>(
    mut list: List<'_, 'a>,
    one_key: bool,
    alone: &mut u64,
) -> u64 {
    if list.bits.count_ones() as usize % LANES == 1 {
        // One is left over: it goes alone.
        *alone |= list.bits & list.bits.wrapping_neg();
        list.take();
    }
    let Some(first) = list.packets.get(list.bits.trailing_zeros() as usize) else { return 0 };
    let mut scratch = [0; ICV_LEN];
    let idle = Packet::idle(first, scratch.as_mut_ptr());
    let fours = InFours(list, &idle);
    // SAFETY: the caller says so.
    let answer = unsafe {
        match (J::SEAL, one_key) {
            (true, true) => lockstep::crypt::<ROUND_KEYS, true, VECTORS, true>(fours),
            (true, false) => lockstep::crypt::<ROUND_KEYS, false, VECTORS, true>(fours),
            (false, true) => lockstep::crypt::<ROUND_KEYS, true, VECTORS, false>(fours),
            (false, false) => lockstep::crypt::<ROUND_KEYS, false, VECTORS, false>(fours),
        }
    };
    if J::SEAL { 0 } else { _pdep_u64(answer, list.bits) }
}

/// A burst of one, of any size of key; whether it is authentic.
#[cold]
fn crypt_one<const SEAL: bool>(key: &Key, octets: &Octets) -> bool {
    let packet = core::iter::once((1, key, octets));
    // SAFETY: the octets are those of a job of this size of key, and to have a key is to have the features.
    let authentic = unsafe {
        match key.size() {
            Size::Aes128 => stream::crypt::<11, SEAL>(packet),
            Size::Aes192 => stream::crypt::<13, SEAL>(packet),
            Size::Aes256 => stream::crypt::<15, SEAL>(packet),
        }
    };
    authentic != 0
}

impl Key {
    /// A burst of one.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8]) {
        // A job's ICV has this length.
        let Some(icv) = icv.first_chunk_mut::<ICV_LEN>() else { return };
        let (front, len) = (Front::new(*nonce, *aad), data.len());
        crypt_one::<true>(self, &Octets::new(front, data.as_mut_ptr(), len, icv.as_mut_ptr()));
    }

    /// A burst of one.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8]) -> bool {
        let Some(icv) = icv.as_array::<ICV_LEN>() else { return false };
        let (front, len) = (Front::new(*nonce, *aad), data.len());
        crypt_one::<false>(self, &Octets::new(front, data.as_mut_ptr(), len, icv.as_ptr().cast_mut()))
    }
}
