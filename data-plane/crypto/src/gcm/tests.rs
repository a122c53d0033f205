//! Every kernel against the portable one, which `portable/tests.rs` holds against vectors and other code.

extern crate std;

use proptest::prelude::*;
use std::string::ToString;

use super::*;
use crate::AeadKey;

fn sealed(kernel: Kernel, key: &[u8], nonce: &[u8; 12], aad: &Aad, data: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let key = Key::new(kernel, key).unwrap();
    let (mut data, mut icv) = (data.to_vec(), [0; 16]);
    key.seal(nonce, aad, &mut data, &mut icv, &mut Keystream::new());
    (data, icv)
}

/// A vector of others, which the portable kernel has passed, on every kernel, in place and in a burst of as many copies as lockstep may take. Where its AAD is
/// none of ESP, the ciphertext is still the vector's, and the tag the portable kernel's for another AAD. Whether its AAD was one of ESP.
pub(crate) fn vector_passes(key: &[u8], nonce: &[u8; 12], aad: &[u8], plaintext: &[u8], ciphertext: &[u8], tag: &[u8; 16]) -> bool {
    let octets = |at: usize| u32::from_be_bytes(aad[at..at + 4].try_into().unwrap());
    let (aad, of_esp) = match aad.len() {
        8 => (Aad::new(octets(0), octets(4)), true),
        12 => (Aad::extended(octets(0), u64::from(octets(4)) << 32 | u64::from(octets(8))), true),
        _ => (Aad::new(5, 6), false),
    };
    let tag = if of_esp { *tag } else { sealed(Kernel::Portable, key, nonce, &aad, plaintext).1 };
    for kernel in Kernel::available() {
        let key = AeadKey::aes_gcm_for(kernel, key).unwrap();
        for count in [1, 4, 7] {
            let (mut data, mut icvs) = (std::vec![plaintext.to_vec(); count], std::vec![[0; 16]; count]);
            let packets = data.iter_mut().zip(&mut icvs);
            crate::seal_burst(&mut packets.map(|(data, icv)| SealJob::new(&key, *nonce, aad, data, icv).unwrap()).collect::<Vec<_>>());
            assert!(
                data.iter().all(|data| data == ciphertext) && icvs.iter().all(|icv| *icv == tag),
                "{kernel}, {} octets",
                plaintext.len()
            );
            let jobs = data.iter_mut().zip(&icvs).map(|(data, icv)| OpenJob::new(&key, *nonce, aad, data, icv).unwrap());
            let verified = crate::open_burst(&mut jobs.collect::<Vec<_>>());
            assert_eq!(verified.bits(), (1 << count) - 1, "{kernel}, {} octets", plaintext.len());
            assert!(data.iter().all(|data| data == plaintext), "{kernel}, {} octets", plaintext.len());
        }
    }
    of_esp
}

/// A tag that is wrong in these bits: no kernel takes it.
pub(crate) fn forgery_is_refused(key: &[u8], nonce: &[u8; 12], plaintext: &[u8], wrong: &[u8; 16]) {
    let aad = Aad::new(5, 6);
    let (ciphertext, mut tag) = sealed(Kernel::Portable, key, nonce, &aad, plaintext);
    tag.iter_mut().zip(wrong).for_each(|(octet, wrong)| *octet ^= wrong);
    for kernel in Kernel::available() {
        let key = AeadKey::aes_gcm_for(kernel, key).unwrap();
        let mut data = ciphertext.clone();
        let mut jobs = [OpenJob::new(&key, *nonce, aad, &mut data, &tag).unwrap()];
        assert_eq!(crate::open_burst(&mut jobs).bits(), 0, "{kernel}");
    }
}

#[test]
fn kernels_have_names_and_the_portable_one_is_everywhere() {
    for kernel in Kernel::ALL {
        assert_eq!(kernel.to_string().parse(), Ok(kernel));
        assert_eq!(kernel.checked().is_ok(), Kernel::available().any(|other| other == kernel));
    }
    assert_eq!("sse9".parse::<Kernel>(), Err(UnknownKernel));
    assert_eq!(Kernel::available().last(), Some(Kernel::Portable));
    assert_eq!(Kernel::available().next(), Some(Kernel::best()));
    assert!(UnknownKernel.to_string().ends_with("avx512, avx2, aesni, portable"));
    assert!(KernelUnavailable(Kernel::Avx512).to_string().contains("does not run the kernel avx512: it runs "));
}

/// Octets before and behind the data that nobody may touch.
const MARGIN: usize = 80;

fn agree(key: &[u8], nonce: &[u8; 12], aad: &Aad, data: &[u8], offset: usize) {
    let (ciphertext, icv) = sealed(Kernel::Portable, key, nonce, aad, data);
    for kernel in Kernel::available() {
        let key = Key::new(kernel, key).unwrap();
        let mut room = std::vec![0xa5_u8; MARGIN + offset + data.len() + MARGIN];
        let place = MARGIN + offset..MARGIN + offset + data.len();
        room[place.clone()].copy_from_slice(data);
        let mut tag = [0; 16];
        key.seal(nonce, aad, &mut room[place.clone()], &mut tag, &mut Keystream::new());
        assert_eq!((&room[place.clone()], tag), (&ciphertext[..], icv), "{kernel:?}, {} octets", data.len());
        assert!(!key.open(nonce, aad, &mut room.clone()[place.clone()], &[tag[0] ^ 1; 16], &mut Keystream::new()));
        assert!(key.open(nonce, aad, &mut room[place.clone()], &tag, &mut Keystream::new()));
        assert_eq!(&room[place.clone()], data);
        assert!(room[..place.start].iter().chain(&room[place.end..]).all(|octet| *octet == 0xa5), "{kernel:?} touched what is not its own");
    }
}

#[test]
fn every_length_of_every_key() {
    let data: Vec<u8> = (0..=u8::MAX).cycle().step_by(7).take(2100).collect();
    for key_len in [16, 24, 32] {
        for len in 0..=2100 {
            agree(&data[..key_len], &[9; 12], &Aad::new(1, 2), &data[..len], len % 64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn kernels_agree(
        key in prop::sample::select(std::vec![16_usize, 24, 32]).prop_flat_map(|len| prop::collection::vec(any::<u8>(), len)),
        nonce: [u8; 12], spi: u32, number: u64, extended: bool,
        data in prop_oneof![prop::collection::vec(any::<u8>(), 0..700), prop::collection::vec(any::<u8>(), 0..9300)],
        offset in 0..64_usize,
    ) {
        let aad = if extended { Aad::extended(spi, number) } else { Aad::new(spi, 7) };
        agree(&key, &nonce, &aad, &data, offset);
    }
}

#[test]
fn the_longest_packet() {
    agree(&[1; 32], &[2; 12], &Aad::extended(3, 4), &std::vec![5; crate::MAX_DATA_LEN], 1);
}

/// One packet of a burst.
#[derive(Debug, Clone)]
struct Sample {
    key: usize,
    nonce: [u8; 12],
    aad: Aad,
    data: Vec<u8>,
    offset: usize,
}

/// Of AES-128 twice, AES-192 and AES-256 twice.
fn raw_key(n: usize) -> Vec<u8> {
    (0..[16, 32, 16, 32, 24][n]).map(|octet: u8| octet.wrapping_mul(31) ^ u8::try_from(n).unwrap()).collect()
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    // As many SAs as a burst may have, from one on.
    (1..=5_usize).prop_flat_map(|keys| {
        let lens = prop_oneof![8 => 0..=64_usize, 4 => 0..330_usize, 3 => 330..2100_usize, 1 => 2100..9217_usize];
        let sample = (0..keys, any::<[u8; 12]>(), any::<bool>(), any::<(u32, u64)>(), lens, any::<u8>(), 0..64_usize);
        let sample = sample.prop_map(|(key, nonce, extended, (spi, number), len, seed, offset)| {
            let aad = if extended { Aad::extended(spi, number) } else { Aad::new(spi, 9) };
            let data = (0..len).map(|at| seed.wrapping_add(u8::try_from(at * 7 % 251).unwrap())).collect();
            Sample { key, nonce, aad, data, offset }
        });
        prop::collection::vec(sample, 1..=crate::MAX_BURST)
    })
}

/// Seals and opens a burst with a kernel: each packet as the portable one has it by itself, and those that are forged refused, in whatever place.
fn burst_agrees(kernel: Kernel, samples: &[Sample], forged: u64) {
    let keys: Vec<_> = (0..5).map(|n| AeadKey::aes_gcm_for(kernel, &raw_key(n)).unwrap()).collect();
    let mut rooms: Vec<_> = samples.iter().map(|sample| std::vec![0xa5_u8; 2 * MARGIN + sample.offset + sample.data.len()]).collect();
    let place = |sample: &Sample| MARGIN + sample.offset..MARGIN + sample.offset + sample.data.len();
    let mut icvs = std::vec![[0; 16]; samples.len()];
    let mut jobs = Vec::new();
    for ((sample, room), icv) in samples.iter().zip(&mut rooms).zip(&mut icvs) {
        room[place(sample)].copy_from_slice(&sample.data);
        jobs.push(SealJob::new(&keys[sample.key], sample.nonce, sample.aad, &mut room[place(sample)], icv).unwrap());
    }
    crate::seal_burst(&mut jobs);
    for ((sample, room), icv) in samples.iter().zip(&rooms).zip(&icvs) {
        let (ciphertext, tag) = sealed(Kernel::Portable, &raw_key(sample.key), &sample.nonce, &sample.aad, &sample.data);
        assert_eq!((&room[place(sample)], icv), (&ciphertext[..], &tag), "{kernel}, {} octets", sample.data.len());
    }
    let is_forged = |n: usize| forged >> n & 1 == 1;
    let mut jobs = Vec::new();
    for (n, ((sample, room), icv)) in samples.iter().zip(&mut rooms).zip(&mut icvs).enumerate() {
        icv[usize::from(sample.nonce[0]) % 16] ^= u8::from(is_forged(n)) << (sample.nonce[1] % 8);
        jobs.push(OpenJob::new(&keys[sample.key], sample.nonce, sample.aad, &mut room[place(sample)], icv).unwrap());
    }
    let verified = crate::open_burst(&mut jobs);
    for (n, (sample, room)) in samples.iter().zip(&rooms).enumerate() {
        assert_eq!(verified.contains(n), !is_forged(n), "{kernel}, packet {n} of {}, {} octets", samples.len(), sample.data.len());
        assert!(is_forged(n) || room[place(sample)] == sample.data, "{kernel}, packet {n}, {} octets", sample.data.len());
        let around = room[..place(sample).start].iter().chain(&room[place(sample).end..]);
        assert!({ around }.all(|octet| *octet == 0xa5), "{kernel} touched what is not its own");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn bursts_agree(samples in samples(), forged: u64, none: bool) {
        for kernel in Kernel::available() {
            burst_agrees(kernel, &samples, if none { 0 } else { forged });
        }
    }
}

/// Bursts of one length, whole and in every size around a group of four: as short ones come.
#[test]
fn bursts_of_every_short_length() {
    for kernel in Kernel::available() {
        for len in 0..=330_usize {
            let count = 1 + len % 9;
            let sample = |n: usize| Sample {
                key: if len.is_multiple_of(2) { 0 } else { n % 5 },
                nonce: [u8::try_from(n).unwrap(); 12],
                aad: if n.is_multiple_of(3) { Aad::extended(7, u64::MAX - 5) } else { Aad::new(7, 8) },
                data: std::vec![0x5a; len],
                offset: n,
            };
            burst_agrees(kernel, &(0..count).map(sample).collect::<Vec<_>>(), 1 << (len % count));
        }
    }
}
