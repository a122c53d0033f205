//! Hash functions of IKEv1 (RFC 2409 section 4): they make IVs and hide the addresses of NAT detection, and their HMACs are its PRFs.

use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use ike::provider::Hash;
use ipsec_types::HashAlgorithm;

/// All of them.
pub(crate) static HASHES: &[&dyn Hash] = &[
    &Digest(HashAlgorithm::Sha256, &SHA256),
    &Digest(HashAlgorithm::Sha384, &SHA384),
    &Digest(HashAlgorithm::Sha512, &SHA512),
    &Digest(HashAlgorithm::Sha1, &SHA1_FOR_LEGACY_USE_ONLY),
];

#[derive(Debug)]
struct Digest(HashAlgorithm, &'static Algorithm);

impl Hash for Digest {
    fn algorithm(&self) -> HashAlgorithm {
        self.0
    }

    fn compute(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = Context::new(self.1);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    /// "abc": FIPS 180-2 appendices A.1, B.1, C.1 and D.1, first octets.
    #[test]
    fn the_parts_are_one_message() {
        for (algorithm, expected) in [
            (HashAlgorithm::Sha1, "a9993e364706816a"),
            (HashAlgorithm::Sha256, "ba7816bf8f01cfea"),
            (HashAlgorithm::Sha384, "cb00753f45a35e8b"),
            (HashAlgorithm::Sha512, "ddaf35a193617aba"),
        ] {
            let hash = crate::provider().hash(algorithm).unwrap();
            assert_eq!(hash.compute(&[b"abc"])[..8], hex(expected)[..], "{algorithm:?}");
            assert_eq!(hash.compute(&[b"a", b"", b"bc"]), hash.compute(&[b"abc"]));
        }
    }
}
