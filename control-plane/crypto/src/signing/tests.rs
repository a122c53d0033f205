//! Signatures of IKEv1, over a hash that is there already, against what others have computed.

use ipsec_types::HashAlgorithm;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::nid::Nid;
use rcgen::KeyPair as RcgenKey;

use super::*;
use crate::hex::hex;

/// RFC 4754 section 8: the public point, the hash of "abc", r and s.
struct Rfc4754 {
    kind: KeyKind,
    public: [&'static str; 2],
    hash: &'static str,
    signature: [&'static str; 2],
}

const RFC_4754: [Rfc4754; 3] = [
    Rfc4754 {
        kind: KeyKind::EcdsaP256,
        public: [
            "2442a5cc0ecd015fa3ca31dc8e2bbc70bf42d60cbca20085e0822cb04235e970",
            "6fc98bd7e50211a4a27102fa3549df79ebcb4bf246b80945cddfe7d509bbfd7d",
        ],
        hash: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        signature: [
            "cb28e0999b9c7715fd0a80d8e47a77079716cbbf917dd72e97566ea1c066957c",
            "86fa3bb4e26cad5bf90b7f81899256ce7594bb1ea0c89212748bff3b3d5b0315",
        ],
    },
    Rfc4754 {
        kind: KeyKind::EcdsaP384,
        public: [
            "96281bf8dd5e0525ca049c048d345d3082968d10fedf5c5aca0c64e6465a97ea5ce10c9dfec21797415710721f437922",
            "447688ba94708eb6e2e4d59f6ab6d7edff9301d249fe49c33096655f5d502fad3d383b91c5e7edaa2b714cc99d5743ca",
        ],
        hash: "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        signature: [
            "fb017b914e29149432d8bac29a514640b46f53ddab2c69948084e2930f1c8f7e08e07c9c63f2d21a07dcb56a6af56eb3",
            "b263a1305e057f984d38726a1b46874109f417bca112674c528262a40a629af1cbb9f516ce0fa7d2ff630863a00e8b9f",
        ],
    },
    Rfc4754 {
        kind: KeyKind::EcdsaP521,
        public: [
            "0151518f1af0f563517edd5485190df95a4bf57b5cba4cf2a9a3f6474725a35f7afe0a6ddeb8bedbcd6a197e592d40188901cecd650699 \
         c9b5e456aea5add19052a8",
            "006f3b142ea1bfff7e2837ad44c9e4ff6d2d34c73184bbad90026dd5e6e85317d9df45cad7803c6c20035b2f3ff63aff4e1ba64d1c0775 \
         77da3f4286c58f0aeae643",
        ],
        hash: "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d442364 \
         3ce80e2a9ac94fa54ca49f",
        signature: [
            "0154fd3836af92d0dca57dd5341d3053988534fde8318fc6aaaab68e2e6f4339b19f2f281a7e0b22c269d93cf8794a9278880ed7dbb8d9 \
         362caeacee544320552251",
            "017705a7030290d1ceb605a9a1bb03ff9cdd521e87a696ec926c8c10c8362df4975367101f67d1cf9bccbf2f3d239534fa509e70aac851 \
         ae01aac68d62f866472660",
        ],
    },
];

fn nid(kind: KeyKind) -> Nid {
    match kind {
        KeyKind::EcdsaP256 => Nid::X9_62_PRIME256V1,
        KeyKind::EcdsaP384 => Nid::SECP384R1,
        _ => Nid::SECP521R1,
    }
}

#[test]
fn ecdsa_over_a_hash_is_checked_as_rfc_4754_has_it() {
    for vector in RFC_4754 {
        let point = [vec![4], vector.public.map(hex).concat()].concat();
        let (hash, mut signature) = (hex(vector.hash), vector.signature.map(hex).concat());
        let right = |hash: &[u8], signature: &[u8]| {
            let all = crate::x509::of_scheme(SignatureScheme::EcdsaBare, SignatureEncoding::Fixed);
            all.into_iter().filter(|algorithm| algorithm.verify_signature(&point, hash, signature).is_ok()).count()
        };
        assert_eq!(right(&hash, &signature), 1, "{}", vector.kind);
        assert_eq!(right(&hash[1..], &signature), 0, "{}: a hash of another length", vector.kind);
        signature[10] ^= 1;
        assert_eq!(right(&hash, &signature), 0, "{}", vector.kind);
    }
}

#[test]
fn ecdsa_over_a_hash_is_what_openssl_finds_right() {
    for (kind, algorithm) in [
        (KeyKind::EcdsaP256, &rcgen::PKCS_ECDSA_P256_SHA256),
        (KeyKind::EcdsaP384, &rcgen::PKCS_ECDSA_P384_SHA384),
        (KeyKind::EcdsaP521, &rcgen::PKCS_ECDSA_P521_SHA512),
    ] {
        let key = PrivateKeyFile::from_pem(RcgenKey::generate_for(algorithm).unwrap().serialize_pem().as_bytes()).unwrap();
        let hash = vec![
            0x5a;
            match kind {
                KeyKind::EcdsaP256 => 32,
                KeyKind::EcdsaP384 => 48,
                _ => 64,
            }
        ];
        let signature = key.sign(SignatureScheme::EcdsaBare, SignatureEncoding::Fixed, &hash).unwrap();
        let (r, s) = signature.split_at(signature.len() / 2);
        let signature = EcdsaSig::from_private_components(BigNum::from_slice(r).unwrap(), BigNum::from_slice(s).unwrap()).unwrap();
        let public = EcKey::public_key_from_der(key.public_key()).unwrap();
        assert_eq!(public.group().curve_name(), EcGroup::from_curve_name(nid(kind)).unwrap().curve_name());
        assert!(signature.verify(&hash, &public).unwrap(), "{kind}");
        let short = key.sign(SignatureScheme::EcdsaBare, SignatureEncoding::Fixed, &hash[1..]);
        assert_eq!(short, Err(CryptoError::Length), "{kind}");
    }
}

#[cfg(feature = "legacy")]
#[test]
fn rsa_over_a_hash_is_what_rfc_2409_has() {
    use rustls_pki_types::SignatureVerificationAlgorithm as _;

    let vectors: serde_json::Value = serde_json::from_str(include_str!("../../tests/vectors/rsa-bare.json")).unwrap();
    let field = |value: &serde_json::Value| hex(value.as_str().unwrap());
    let (private, public) = (field(&vectors["private"]), field(&vectors["public"]));
    let key = PrivateKeyFile::from_der(&PrivateKeyDer::Pkcs1(private.into())).unwrap();
    let algorithm = crate::legacy::RsaBare;
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 5);
    for case in cases {
        let (hash, signature) = (field(&case["hash"]), field(&case["signature"]));
        assert_eq!(key.sign(SignatureScheme::RsaBare, SignatureEncoding::Fixed, &hash).as_ref(), Ok(&signature));
        assert!(algorithm.verify_signature(&public, &hash, &signature).is_ok());
        // The beginning of the hash is not the hash, and nothing may stand behind it.
        assert!(algorithm.verify_signature(&public, &hash[..hash.len() - 1], &signature).is_err());
        assert!(algorithm.verify_signature(&public, &[&hash[..], &[0]].concat(), &signature).is_err());
        assert!(algorithm.verify_signature(&public, &hash, &signature[1..]).is_err());
        let mut other = signature.clone();
        other[100] ^= 1;
        assert!(algorithm.verify_signature(&public, &hash, &other).is_err());
        // With DigestInfo it is another signature.
        let with_info = key.sign(SignatureScheme::RsaSha256, SignatureEncoding::Fixed, &hash).unwrap();
        assert!(algorithm.verify_signature(&public, &hash, &with_info).is_err());
    }
    assert!(key.sign(SignatureScheme::RsaBare, SignatureEncoding::Fixed, &[0; 250]).is_err(), "there is no room for so much");
}

#[test]
fn keys_sign_by_ikev1_what_their_kind_can() {
    assert_eq!(SignatureScheme::RsaBare.hash(), HashAlgorithm::Identity);
    let key = PrivateKeyFile::from_pem(RcgenKey::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem().as_bytes()).unwrap();
    assert_eq!(bare_scheme(key.kind()), None);
    for scheme in [SignatureScheme::RsaBare, SignatureScheme::EcdsaBare] {
        assert_eq!(key.sign(scheme, SignatureEncoding::Fixed, &[0; 32]), Err(CryptoError::Unavailable));
    }
}
