//! A burst, sorted by what lets packets go in lockstep: the size of the key, and the length in vectors.

use core::mem::MaybeUninit;

use super::packet::{Job, Octets, Packet};
use super::{Key, LANES, Token, VECTOR, lockstep, stream};
use crate::gcm::Done;
use crate::job::Front;
use crate::x86::key_schedule::Size;
use crate::{Aad, ICV_LEN, MAX_BURST, NONCE_LEN};

/// Lists that a burst is sorted into: for each size of key four of length, in vectors.
const LISTS: usize = 8;
/// Those of AES-256 begin here.
const AES_256: usize = 4;
/// Packets beyond lockstep.
const LONG: usize = 3;

/// A burst, and where its packets stand in it, list by list. They are sorted without a branch, which the CPU would guess wrong, and stay where they are.
struct Lists<'b, 'a> {
    packets: &'b [Packet<'a>],
    places: [[MaybeUninit<u8>; MAX_BURST]; LISTS],
    /// How many packets each has, one octet each.
    lens: u64,
    /// Whether all have the same.
    one_key: bool,
}

impl<'b, 'a> Lists<'b, 'a> {
    #[inline]
    const fn new(packets: &'b [Packet<'a>]) -> Self {
        Self { packets, places: [[MaybeUninit::uninit(); MAX_BURST]; LISTS], lens: 0, one_key: true }
    }

    #[inline]
    fn write(&mut self, list: usize, at: usize, place: u8) {
        if let Some(place_there) = self.places.get_mut(list).and_then(|places| places.get_mut(at)) {
            place_there.write(place);
        }
    }

    /// Where the packets of a list stand.
    #[inline]
    fn places(&self, list: usize) -> &[u8] {
        let places = self.places.get(list).and_then(|places| places.get(..octet(self.lens, list))).unwrap_or_default();
        // SAFETY: so many are written.
        unsafe { places.assume_init_ref() }
    }

    #[inline]
    fn packet(&self, place: u8) -> Option<&'b Packet<'a>> {
        self.packets.get(usize::from(place))
    }

    /// The places that an answer has a bit for, as bits.
    #[inline]
    #[target_feature(enable = "bmi2")]
    fn in_burst(&self, places: &[u8], answer: u64) -> u64 {
        if places.len() == self.packets.len() {
            // The whole burst, in its order.
            return answer;
        }
        places.iter().enumerate().fold(0, |bits, (n, place)| bits | (answer >> n & 1) << place)
    }
}

#[inline]
fn octet(of: u64, n: usize) -> usize {
    usize::from((of >> (8 * n)).to_le_bytes()[0])
}

/// Which list of its size of key takes such data.
#[inline]
fn class(len: usize) -> usize {
    usize::from(len > VECTOR) + usize::from(len > 2 * VECTOR) + usize::from(len > lockstep::MAX_LEN)
}

/// Seals or opens the jobs of this kernel, of the first [`MAX_BURST`].
#[inline]
pub(crate) fn crypt<'a, J: Job<'a>>(jobs: &mut [J]) -> Done {
    if Token::detect().is_none() {
        return Done::default();
    }
    // SAFETY: the token says that the CPU has the features.
    unsafe { crypt_packets::<J>(J::packets(jobs)) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
fn crypt_packets<'a, J: Job<'a>>(packets: &[Packet<'a>]) -> Done {
    let mut done = Done::default();
    let mut lists = Lists::new(packets);
    // In registers.
    let (mut lens, mut first_key, mut differ) = (0_u64, 0, 0);
    for (n, packet) in (0_u8..).zip(packets) {
        let Some(key) = packet.checked_key() else { continue };
        done.jobs |= 1 << n;
        let first = match key.size() {
            Size::Aes128 => 0,
            Size::Aes256 => AES_256,
            Size::Aes192 => {
                done.authentic |= u64::from(crypt_one::<J>(key, &packet.octets)) << n;
                continue;
            }
        };
        let address = core::ptr::from_ref(key).addr();
        first_key = if lens == 0 { address } else { first_key };
        differ |= first_key ^ address;
        let list = first + class(packet.octets.len);
        lists.write(list, octet(lens, list), n);
        lens += 1 << (8 * list);
    }
    lists.lens = lens;
    lists.one_key = differ == 0;
    if lens & u64::from(u32::MAX) != 0 {
        done.authentic |= crypt_size::<J, 11>(&lists, 0);
    }
    if lens >> 32 != 0 {
        done.authentic |= crypt_size::<J, 15>(&lists, AES_256);
    }
    done
}

/// The packets of these lists, which have this size of key; those that are authentic.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
fn crypt_size<'a, J: Job<'a>, const ROUND_KEYS: usize>(lists: &Lists<'_, 'a>, first: usize) -> u64 {
    // SAFETY: the packets are those of jobs, each taken once, of this size of key and with as many vectors.
    unsafe {
        lockstep::<J, ROUND_KEYS, 1>(lists, first)
            | lockstep::<J, ROUND_KEYS, 2>(lists, first + 1)
            | lockstep::<J, ROUND_KEYS, 4>(lists, first + 2)
            | long::<J, ROUND_KEYS>(lists, first + LONG)
    }
}

/// Long packets; those that are authentic.
///
/// # Safety
/// The packets are those of jobs of this kernel, each taken once, of the size of key that `ROUND_KEYS` says.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn long<'a, J: Job<'a>, const ROUND_KEYS: usize>(lists: &Lists<'_, 'a>, list: usize) -> u64 {
    let mut authentic = 0;
    for &place in lists.places(list) {
        if let Some(packet) = lists.packet(place) {
            // SAFETY: the caller says so.
            authentic |= u64::from(unsafe { alone::<J, ROUND_KEYS>(packet.key(), &packet.octets) }) << place;
        }
    }
    authentic
}

/// A packet that does not go in lockstep; whether it is authentic.
///
/// # Safety
/// As [`stream::crypt`] has it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn alone<'a, J: Job<'a>, const ROUND_KEYS: usize>(key: &Key, octets: &Octets) -> bool {
    // SAFETY: the caller says so.
    unsafe { if J::SEAL { stream::crypt::<ROUND_KEYS, true>(key, octets) } else { stream::crypt::<ROUND_KEYS, false>(key, octets) } }
}

/// The same of any size of key.
#[cold]
fn crypt_one<'a, J: Job<'a>>(key: &Key, octets: &Octets) -> bool {
    // SAFETY: the octets are those of a job of this size of key, and to have a key is to have the features.
    unsafe {
        match key.size() {
            Size::Aes128 => alone::<J, 11>(key, octets),
            Size::Aes192 => alone::<J, 13>(key, octets),
            Size::Aes256 => alone::<J, 15>(key, octets),
        }
    }
}

/// Short packets; those that are authentic.
///
/// # Safety
/// As [`lockstep::crypt`] has it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn lockstep<'a, J: Job<'a>, const ROUND_KEYS: usize, const VECTORS: usize>(lists: &Lists<'_, 'a>, list: usize) -> u64 {
    let places = lists.places(list);
    let Some(first) = places.first().and_then(|place| lists.packet(*place)) else { return 0 };
    let mut answer = 0;
    // One is left over: it goes alone.
    let (fours, left) = if places.len() % LANES == 1 { places.split_at(places.len() - 1) } else { (places, &[][..]) };
    if let Some(packet) = left.first().and_then(|place| lists.packet(*place)) {
        // SAFETY: the caller says so.
        answer = u64::from(unsafe { alone::<J, ROUND_KEYS>(packet.key(), &packet.octets) }) << fours.len();
    }
    // The last four are filled up.
    let mut scratch = [0; ICV_LEN];
    let idle = Packet::idle(first, scratch.as_mut_ptr());
    let fours = fours.chunks(LANES).map(|places| {
        let packet = |n: usize| places.get(n).and_then(|place| lists.packet(*place)).unwrap_or(&idle);
        [packet(0), packet(1), packet(2), packet(3)]
    });
    // SAFETY: the caller says so.
    answer |= unsafe {
        match (J::SEAL, lists.one_key) {
            (true, true) => lockstep::crypt::<ROUND_KEYS, true, VECTORS, true>(fours),
            (true, false) => lockstep::crypt::<ROUND_KEYS, false, VECTORS, true>(fours),
            (false, true) => lockstep::crypt::<ROUND_KEYS, true, VECTORS, false>(fours),
            (false, false) => lockstep::crypt::<ROUND_KEYS, false, VECTORS, false>(fours),
        }
    };
    if J::SEAL { 0 } else { lists.in_burst(places, answer) }
}

impl Key {
    /// A burst of one.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8]) {
        // A job's ICV has this length.
        let Some(icv) = icv.first_chunk_mut::<ICV_LEN>() else { return };
        let (front, len) = (Front::new(*nonce, *aad), data.len());
        crypt_one::<crate::SealJob<'_>>(self, &Octets::new(front, data.as_mut_ptr(), len, icv.as_mut_ptr()));
    }

    /// A burst of one.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8]) -> bool {
        let Some(icv) = icv.as_array::<ICV_LEN>() else { return false };
        let (front, len) = (Front::new(*nonce, *aad), data.len());
        crypt_one::<crate::OpenJob<'_>>(self, &Octets::new(front, data.as_mut_ptr(), len, icv.as_ptr().cast_mut()))
    }
}
