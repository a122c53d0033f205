//! Vectors of the RFCs, and HMAC by another way as a second opinion of what is authenticated.

extern crate std;

use hmac::{Hmac, KeyInit, Mac as _};
use serde_json::Value;
use sha2::Sha256;
use std::collections::BTreeSet;
use std::vec;
use std::vec::Vec;

use super::*;

const MAC_KEY: [u8; 32] = [0x77; 32];
const TRIPLE_DES: [u8; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];

fn vectors(json: &str) -> Vec<Value> {
    let file: Value = serde_json::from_str(json).unwrap();
    assert!(file["origin"].is_string());
    file["vectors"].as_array().unwrap().clone()
}

fn octets(vector: &Value, name: &str) -> Vec<u8> {
    let hex = vector[name].as_str().unwrap();
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect()
}

fn composed(cipher: CipherKey<'_>) -> Composed {
    Composed::new(cipher, MacKey::HmacSha256(&MAC_KEY)).unwrap()
}

/// The ICV by RFC 4303 section 2.2.1.
fn expected_icv(spi: u32, number: u64, esn: bool, data: &[u8]) -> Vec<u8> {
    let mut hmac = Hmac::<Sha256>::new_from_slice(&MAC_KEY).unwrap();
    let number = number.to_be_bytes();
    hmac.update(&spi.to_be_bytes());
    hmac.update(&number[4..]);
    hmac.update(data);
    if esn {
        hmac.update(&number[..4]);
    }
    hmac.finalize().into_bytes()[..16].to_vec()
}

#[test]
fn cbc_opens_the_cases_of_rfc_3602() {
    let mut esp_packets = 0;
    for v in vectors(include_str!("../../tests/vectors/rfc3602.json")) {
        let composed = composed(CipherKey::AesCbc(&octets(&v, "key")));
        let (spi, number) = match v.get("header") {
            Some(_) => {
                esp_packets += 1;
                let header = octets(&v, "header");
                (u32::from_be_bytes(header[..4].try_into().unwrap()), u32::from_be_bytes(header[4..].try_into().unwrap()))
            }
            None => (0x1000, 1),
        };
        let mut data = [octets(&v, "iv"), octets(&v, "ciphertext")].concat();
        let icv = expected_icv(spi, number.into(), false, &data);
        assert!(composed.open(&[0; 12], &Aad::new(spi, number), &mut data, &icv, &mut Keystream::new()));
        assert_eq!(data[16..], octets(&v, "plaintext"), "case {}", v["case"]);
    }
    assert_eq!(esp_packets, 4);
}

#[test]
fn triple_des_opens_the_cases_of_nist() {
    let vectors = vectors(include_str!("../../tests/vectors/nist_tcbcmmt3.json"));
    assert_eq!(vectors.len(), 11);
    for v in vectors {
        let composed = composed(CipherKey::TripleDesCbc(&octets(&v, "key")));
        let mut data = [octets(&v, "iv"), octets(&v, "ciphertext")].concat();
        let icv = expected_icv(0x1000, 1, false, &data);
        assert!(composed.open(&[0; 12], &Aad::new(0x1000, 1), &mut data, &icv, &mut Keystream::new()));
        assert_eq!(data[8..], octets(&v, "plaintext"), "case {}", v["case"]);
    }
}

#[test]
fn a_key_of_3des_that_is_one_of_des_is_refused() {
    let keys = |parts: [u8; 3]| -> Vec<u8> { parts.into_iter().flat_map(|octet| [octet; 8]).collect() };
    let refused = |key: &[u8]| Composed::new(CipherKey::TripleDesCbc(key), MacKey::HmacSha256(&MAC_KEY)).err();
    // 2 and 3 differ in their parity bits alone.
    for des in [[2, 2, 4], [4, 2, 2], [2, 3, 4], [4, 3, 2], [2, 2, 2]] {
        assert_eq!(refused(&keys(des)), Some(KeyError::TripleDesIsDes), "{des:?}");
    }
    assert_eq!(refused(&keys([2, 4, 6])), None);
    assert_eq!(refused(&keys([2, 4, 2])), None, "two keys: weaker, and not DES");
    for len in [0, 8, 16, 23, 25, 32] {
        assert_eq!(refused(&vec![7; len]), Some(KeyError::TripleDes(len)));
    }
}

#[test]
fn ctr_seals_and_opens_the_vectors_of_rfc_3686() {
    let mut seen = 0;
    for v in vectors(include_str!("../../tests/vectors/rfc3686.json")) {
        let composed = composed(CipherKey::AesCtr(&octets(&v, "key")));
        let nonce: [u8; 12] = [octets(&v, "nonce"), octets(&v, "iv")].concat().try_into().unwrap();
        let (mut data, mut icv) = ([vec![0; 8], octets(&v, "plaintext")].concat(), [0; 16]);
        let aad = Aad::extended(0x1000, 7 << 32 | 1);
        composed.seal(&nonce, &aad, &mut data, &mut icv, &mut Keystream::new());
        assert_eq!(data, [octets(&v, "iv"), octets(&v, "ciphertext")].concat());
        assert_eq!(icv[..], expected_icv(0x1000, 7 << 32 | 1, true, &data));
        assert!(composed.open(&nonce, &aad, &mut data, &icv, &mut Keystream::new()));
        assert_eq!(data[8..], octets(&v, "plaintext"));
        seen += 1;
    }
    assert_eq!(seen, 9);
}

#[test]
fn the_icv_is_that_of_rfc_4303_with_and_without_esn() {
    for cipher in [CipherKey::Null, CipherKey::AesCbc(&[1; 24]), CipherKey::AesCtr(&[2; 32]), CipherKey::TripleDesCbc(&TRIPLE_DES)] {
        let composed = composed(cipher);
        for number in [1, 0xffff_ffff, 0x1_0000_0000, 0x1234_5678_9abc_def0_u64] {
            for esn in [false, true] {
                let low = u32::try_from(number & 0xffff_ffff).unwrap();
                let aad = if esn { Aad::extended(0x1234, number) } else { Aad::new(0x1234, low) };
                let (mut data, mut icv) = (vec![5; composed.iv_len() + 64], [0; 16]);
                composed.seal(&[3; 12], &aad, &mut data, &mut icv, &mut Keystream::new());
                assert_eq!(icv[..], expected_icv(0x1234, number, esn, &data), "{cipher:?} {number:x} {esn}");
            }
        }
    }
}

#[test]
fn null_leaves_the_data_alone() {
    let (mut data, mut icv) = (*b"in the clear", [0; 16]);
    composed(CipherKey::Null).seal(&[0; 12], &Aad::new(0x1000, 1), &mut data, &mut icv, &mut Keystream::new());
    assert_eq!(&data, b"in the clear");
}

/// Unpredictable: no counter, and not what the key of the data would make of one.
#[test]
fn ivs_of_cbc_differ_and_are_not_made_with_the_key_of_the_data() {
    let key = [9; 16];
    let composed = composed(CipherKey::AesCbc(&key));
    let mut ivs = BTreeSet::new();
    for number in 0..1000_u64 {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&number.to_be_bytes());
        let mut data = vec![0; 32];
        composed.seal(&nonce, &Aad::new(0x1000, 1), &mut data, &mut [0; 16], &mut Keystream::new());
        let mut block = [Block::default()];
        block[0][4..].copy_from_slice(&nonce);
        assert_ne!(data[..16], block[0][..]);
        Cipher::new(&key).unwrap().encrypt(&mut block);
        assert_ne!(data[..16], block[0][..]);
        ivs.insert(data[..16].to_vec());
    }
    assert_eq!(ivs.len(), 1000);
    // Another integrity key makes others.
    let other = Composed::new(CipherKey::AesCbc(&key), MacKey::HmacSha256(&[0x78; 32])).unwrap();
    let mut data = vec![0; 32];
    other.seal(&[0; 12], &Aad::new(0x1000, 1), &mut data, &mut [0; 16], &mut Keystream::new());
    assert!(!ivs.contains(&data[..16]));
}

#[test]
fn authentic_data_of_no_whole_number_of_blocks_are_not_opened() {
    for (cipher, lens) in [(CipherKey::AesCbc(&[9; 16]), [0, 15, 17, 31, 33]), (CipherKey::TripleDesCbc(&TRIPLE_DES), [0, 7, 9, 15, 17])] {
        for len in lens {
            let mut data = vec![1; len];
            let icv = expected_icv(0x1000, 1, false, &data);
            let aad = Aad::new(0x1000, 1);
            assert!(!composed(cipher).open(&[0; 12], &aad, &mut data, &icv, &mut Keystream::new()), "{cipher:?} {len}");
        }
    }
}
