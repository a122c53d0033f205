//! How a token is told to sign.

use aws_lc_rs::digest::{self, Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use ipsec_types::{HashAlgorithm, SignatureScheme};

/// The first way for `scheme` that the token has. What can be hashed here is: it is little to send to a card, and most tokens can do it.
pub(super) fn mechanism(scheme: SignatureScheme, token: &[MechanismType]) -> Option<(Mechanism<'static>, Input)> {
    ways(scheme).into_iter().flatten().find(|(mechanism, _)| token.contains(&mechanism.mechanism_type()))
}

/// What is handed to the token.
#[derive(Clone, Copy)]
pub(super) enum Input {
    Message,
    Hash(&'static Algorithm),
    /// DigestInfo (RFC 8017 section 9.2): its beginning, which the hash follows.
    DigestInfo(&'static [u8], &'static Algorithm),
}

impl Input {
    pub(super) fn of(self, message: &[u8]) -> Vec<u8> {
        match self {
            Self::Message => message.to_vec(),
            Self::Hash(algorithm) => digest::digest(algorithm, message).as_ref().to_vec(),
            Self::DigestInfo(begin, algorithm) => [begin, digest::digest(algorithm, message).as_ref()].concat(),
        }
    }
}

fn ways(scheme: SignatureScheme) -> [Option<(Mechanism<'static>, Input)>; 2] {
    use Mechanism as M;
    use SignatureScheme as S;
    let hash = hash(scheme);
    let first = match scheme {
        S::RsaSha1 | S::RsaSha256 | S::RsaSha384 | S::RsaSha512 => {
            hash.map(|hash| (M::RsaPkcs, Input::DigestInfo(hash.info, hash.algorithm)))
        }
        S::RsaPssSha256 | S::RsaPssSha384 | S::RsaPssSha512 => hash.map(|hash| (M::RsaPkcsPss(hash.pss), Input::Hash(hash.algorithm))),
        S::EcdsaSha256 | S::EcdsaSha384 | S::EcdsaSha512 => hash.map(|hash| (M::Ecdsa, Input::Hash(hash.algorithm))),
        S::Ed25519 => Some((M::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)), Input::Message)),
        S::RsaBare => Some((M::RsaPkcs, Input::Message)),
        S::EcdsaBare => Some((M::Ecdsa, Input::Message)),
    };
    let second = match scheme {
        S::RsaSha1 => Some(M::Sha1RsaPkcs),
        S::RsaSha256 => Some(M::Sha256RsaPkcs),
        S::RsaSha384 => Some(M::Sha384RsaPkcs),
        S::RsaSha512 => Some(M::Sha512RsaPkcs),
        S::RsaPssSha256 => hash.map(|hash| M::Sha256RsaPkcsPss(hash.pss)),
        S::RsaPssSha384 => hash.map(|hash| M::Sha384RsaPkcsPss(hash.pss)),
        S::RsaPssSha512 => hash.map(|hash| M::Sha512RsaPkcsPss(hash.pss)),
        S::EcdsaSha256 => Some(M::EcdsaSha256),
        S::EcdsaSha384 => Some(M::EcdsaSha384),
        S::EcdsaSha512 => Some(M::EcdsaSha512),
        S::Ed25519 | S::RsaBare | S::EcdsaBare => None,
    };
    [first, second.map(|mechanism| (mechanism, Input::Message))]
}

#[derive(Clone, Copy)]
struct Hash {
    algorithm: &'static Algorithm,
    info: &'static [u8],
    /// With a salt of the hash's length (RFC 7427 appendix A.4, RFC 4055 section 3.1).
    pss: PkcsPssParams,
}

/// RFC 8017 section 9.2, note 1.
fn hash(scheme: SignatureScheme) -> Option<Hash> {
    let of = |algorithm, info, hash_alg, mgf, salt: u64| {
        Some(Hash { algorithm, info, pss: PkcsPssParams { hash_alg, mgf, s_len: salt.into() } })
    };
    match scheme.hash() {
        HashAlgorithm::Sha1 => of(
            &SHA1_FOR_LEGACY_USE_ONLY,
            b"\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
            MechanismType::SHA1,
            PkcsMgfType::MGF1_SHA1,
            20,
        ),
        HashAlgorithm::Sha256 => of(
            &SHA256,
            b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
            MechanismType::SHA256,
            PkcsMgfType::MGF1_SHA256,
            32,
        ),
        HashAlgorithm::Sha384 => of(
            &SHA384,
            b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30",
            MechanismType::SHA384,
            PkcsMgfType::MGF1_SHA384,
            48,
        ),
        HashAlgorithm::Sha512 => of(
            &SHA512,
            b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40",
            MechanismType::SHA512,
            PkcsMgfType::MGF1_SHA512,
            64,
        ),
        HashAlgorithm::Identity => None,
    }
}
