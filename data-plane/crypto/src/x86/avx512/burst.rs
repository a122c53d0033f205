//! A burst, sorted by what lets packets go in lockstep: the size of the key, and the length in vectors.

use core::mem::MaybeUninit;

use super::packet::Packet;
use super::{Key, LANES, Token, VECTOR, lockstep, stream};
use crate::gcm::{self, Done};
use crate::job::Front;
use crate::key::{AeadKey, Algorithm};
use crate::x86::key_schedule::Size;
use crate::{Aad, ICV_LEN, MAX_BURST, NONCE_LEN, OpenJob, SealJob};

/// A job, whichever way it goes.
pub(crate) trait Job<'a> {
    /// Whether it seals.
    const SEAL: bool;

    /// Its key, of whatever kernel.
    fn key(&self) -> &'a AeadKey;

    /// What this kernel takes of it.
    fn packet(&mut self, key: &'a Key) -> Packet<'a>;
}

impl<'a> Job<'a> for SealJob<'a> {
    const SEAL: bool = true;

    #[inline]
    fn key(&self) -> &'a AeadKey {
        self.key
    }

    #[inline]
    fn packet(&mut self, key: &'a Key) -> Packet<'a> {
        let (data, len) = (self.data.as_mut_ptr(), self.data.len());
        Packet::new(key, &raw const self.front, data, len, self.icv.as_mut_ptr())
    }
}

impl<'a> Job<'a> for OpenJob<'a> {
    const SEAL: bool = false;

    #[inline]
    fn key(&self) -> &'a AeadKey {
        self.key
    }

    #[inline]
    fn packet(&mut self, key: &'a Key) -> Packet<'a> {
        let (data, len) = (self.data.as_mut_ptr(), self.data.len());
        Packet::new(key, &raw const self.front, data, len, self.icv.as_ptr().cast_mut())
    }
}

/// Lists that a burst is sorted into: for each size of key four of length, in vectors.
const LISTS: usize = 8;
/// Those of AES-256 begin here.
const AES_256: usize = 4;
/// Packets beyond lockstep.
const LONG: usize = 3;

/// The packets of a burst, list by list. They are sorted without a branch, which the CPU would guess wrong.
struct Lists<'a> {
    packets: [[MaybeUninit<Packet<'a>>; MAX_BURST]; LISTS],
    /// Their places in the burst.
    places: [[u8; MAX_BURST]; LISTS],
    /// How many packets each has, one octet each.
    lens: u64,
    /// Whether all have the same.
    one_key: bool,
}

impl<'a> Lists<'a> {
    #[inline]
    const fn new() -> Self {
        let packets = [[const { MaybeUninit::uninit() }; MAX_BURST]; LISTS];
        Self { packets, places: [[0; MAX_BURST]; LISTS], lens: 0, one_key: true }
    }

    #[inline]
    fn push(&mut self, list: usize, packet: Packet<'a>) {
        self.write(list, self.len(list), packet, 0);
        self.lens += 1 << (8 * list);
    }

    #[inline]
    fn write(&mut self, list: usize, at: usize, packet: Packet<'a>, place: u8) {
        if let (Some(packets), Some(places)) = (self.packets.get_mut(list), self.places.get_mut(list))
            && let (Some(packet_there), Some(place_there)) = (packets.get_mut(at), places.get_mut(at))
        {
            packet_there.write(packet);
            *place_there = place;
        }
    }

    #[inline]
    fn len(&self, list: usize) -> usize {
        octet(self.lens, list)
    }

    #[inline]
    fn packets(&self, list: usize) -> &[Packet<'a>] {
        let packets = self.packets.get(list).and_then(|packets| packets.get(..self.len(list))).unwrap_or_default();
        // SAFETY: so many are written.
        unsafe { packets.assume_init_ref() }
    }

    /// Where those stand in the burst that an answer has a bit for.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
    fn places(&self, list: usize, len: usize, answer: u64) -> u64 {
        let mut bits = 0;
        for (n, place) in self.places.get(list).and_then(|places| places.get(..len)).unwrap_or_default().iter().enumerate() {
            bits |= (answer >> n & 1) << place;
        }
        bits
    }

    /// Fills the last four up with packets that have no data, and an ICV that nobody looks at.
    #[inline]
    fn fill_up(&mut self, list: usize, scratch: &mut [u8; ICV_LEN]) {
        if let Some(first) = self.packets(list).first() {
            let idle = Packet::new(first.key, first.front, first.data, 0, scratch.as_mut_ptr());
            while !self.len(list).is_multiple_of(LANES) {
                self.push(list, idle);
            }
        }
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
    unsafe { crypt_jobs(jobs) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
fn crypt_jobs<'a, J: Job<'a>>(jobs: &mut [J]) -> Done {
    let mut done = Done::default();
    let mut lists = Lists::new();
    // In registers.
    let (mut lens, mut first_key, mut differ) = (0_u64, 0, 0);
    for (n, job) in (0_u8..).zip(jobs) {
        let Algorithm::AesGcm(gcm::Key::Avx512(key)) = &job.key().0 else { continue };
        done.jobs |= 1 << n;
        let first = match key.size() {
            Size::Aes128 => 0,
            Size::Aes256 => AES_256,
            Size::Aes192 => {
                let packet = job.packet(key);
                let right = if J::SEAL { crypt_one::<true>(&packet) } else { crypt_one::<false>(&packet) };
                done.authentic |= u64::from(right) << n;
                continue;
            }
        };
        let address = core::ptr::from_ref(key).addr();
        first_key = if lens == 0 { address } else { first_key };
        differ |= first_key ^ address;
        let packet = job.packet(key);
        let list = first + class(packet.len);
        lists.write(list, octet(lens, list), packet, n);
        lens += 1 << (8 * list);
    }
    lists.lens = lens;
    lists.one_key = differ == 0;
    if lens & u64::from(u32::MAX) != 0 {
        done.authentic |= crypt_size::<J, 11>(&mut lists, 0);
    }
    if lens >> 32 != 0 {
        done.authentic |= crypt_size::<J, 15>(&mut lists, AES_256);
    }
    done
}

/// A packet by itself; whether it is authentic.
#[cold]
fn crypt_one<const SEAL: bool>(packet: &Packet<'_>) -> bool {
    // SAFETY: the packet is one of a job of this size of key, and to have a key is to have the features.
    unsafe {
        match packet.key.size() {
            Size::Aes128 => stream::crypt::<11, SEAL>(packet),
            Size::Aes192 => stream::crypt::<13, SEAL>(packet),
            Size::Aes256 => stream::crypt::<15, SEAL>(packet),
        }
    }
}

/// The packets of these lists, which have this size of key; those that are authentic.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
fn crypt_size<'a, J: Job<'a>, const ROUND_KEYS: usize>(lists: &mut Lists<'a>, first: usize) -> u64 {
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
/// As [`stream::crypt`] has it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn long<'a, J: Job<'a>, const ROUND_KEYS: usize>(lists: &Lists<'a>, list: usize) -> u64 {
    let mut answer = 0;
    for (n, packet) in lists.packets(list).iter().enumerate() {
        // SAFETY: the caller says so.
        answer |= u64::from(unsafe { alone::<J, ROUND_KEYS>(packet) }) << n;
    }
    if J::SEAL { 0 } else { lists.places(list, lists.len(list), answer) }
}

/// A packet that does not go in lockstep; whether it is authentic.
///
/// # Safety
/// As [`stream::crypt`] has it.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn alone<'a, J: Job<'a>, const ROUND_KEYS: usize>(packet: &Packet<'a>) -> bool {
    // SAFETY: the caller says so.
    unsafe { if J::SEAL { stream::crypt::<ROUND_KEYS, true>(packet) } else { stream::crypt::<ROUND_KEYS, false>(packet) } }
}

/// Short packets; those that are authentic.
///
/// # Safety
/// As [`lockstep::crypt`] has it.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,vaes,vpclmulqdq,aes,pclmulqdq,sse4.1,bmi2")]
unsafe fn lockstep<'a, J: Job<'a>, const ROUND_KEYS: usize, const VECTORS: usize>(lists: &mut Lists<'a>, list: usize) -> u64 {
    let len = lists.len(list);
    if len == 0 {
        return 0;
    }
    let mut answer = 0;
    let mut scratch = [0; ICV_LEN];
    if len % LANES == 1 {
        if let Some(last) = lists.packets(list).last() {
            // SAFETY: the caller says so.
            answer = u64::from(unsafe { alone::<J, ROUND_KEYS>(last) }) << (len - 1);
        }
    } else {
        lists.fill_up(list, &mut scratch);
    }
    let (fours, _) = lists.packets(list).as_chunks();
    // SAFETY: the caller says so.
    answer |= unsafe {
        match (J::SEAL, lists.one_key) {
            (true, true) => lockstep::crypt::<ROUND_KEYS, true, VECTORS, true>(fours),
            (true, false) => lockstep::crypt::<ROUND_KEYS, false, VECTORS, true>(fours),
            (false, true) => lockstep::crypt::<ROUND_KEYS, true, VECTORS, false>(fours),
            (false, false) => lockstep::crypt::<ROUND_KEYS, false, VECTORS, false>(fours),
        }
    };
    if J::SEAL { 0 } else { lists.places(list, len, answer) }
}

impl Key {
    /// A burst of one.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8]) {
        // A job's ICV has this length.
        let Some(icv) = icv.first_chunk_mut::<ICV_LEN>() else { return };
        let front = Front::new(*nonce, *aad);
        let (data, len) = (data.as_mut_ptr(), data.len());
        crypt_one::<true>(&Packet::new(self, &raw const front, data, len, icv.as_mut_ptr()));
    }

    /// A burst of one.
    pub(crate) fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8]) -> bool {
        let Some(icv) = icv.as_array::<ICV_LEN>() else { return false };
        let front = Front::new(*nonce, *aad);
        let (data, len) = (data.as_mut_ptr(), data.len());
        crypt_one::<false>(&Packet::new(self, &raw const front, data, len, icv.as_ptr().cast_mut()))
    }
}
