//! Hash functions of IKEv1 (RFC 2409 section 4): they make IVs and hide the addresses of NAT detection, and their HMACs are its PRFs.

use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA384, SHA512};
use ike::provider::{Hash, HashFunction};
use md5::Digest as _;

/// All of them.
pub(crate) static HASHES: &[&dyn Hash] = &[
    &Digest(HashFunction::Sha256, &SHA256),
    &Digest(HashFunction::Sha384, &SHA384),
    &Digest(HashFunction::Sha512, &SHA512),
    &Digest(HashFunction::Sha1, &SHA1_FOR_LEGACY_USE_ONLY),
    &Md5,
];

#[derive(Debug)]
struct Digest(HashFunction, &'static Algorithm);

impl Hash for Digest {
    fn function(&self) -> HashFunction {
        self.0
    }

    fn compute(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = Context::new(self.1);
        parts.iter().for_each(|part| context.update(part));
        context.finish().as_ref().to_vec()
    }
}

/// MD5, which aws-lc-rs does not have.
#[derive(Debug)]
struct Md5;

impl Hash for Md5 {
    fn function(&self) -> HashFunction {
        HashFunction::Md5
    }

    fn compute(&self, parts: &[&[u8]]) -> Vec<u8> {
        let mut context = md5::Md5::new();
        parts.iter().for_each(|part| context.update(part));
        context.finalize().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::hex;

    /// "abc": RFC 1321 appendix A.5, FIPS 180-2 appendices A.1, B.1, C.1 and D.1, first octets.
    #[test]
    fn the_parts_are_one_message() {
        for (function, expected) in [
            (HashFunction::Md5, "900150983cd24fb0"),
            (HashFunction::Sha1, "a9993e364706816a"),
            (HashFunction::Sha256, "ba7816bf8f01cfea"),
            (HashFunction::Sha384, "cb00753f45a35e8b"),
            (HashFunction::Sha512, "ddaf35a193617aba"),
        ] {
            let hash = crate::provider().hash(function).unwrap();
            assert_eq!(hash.compute(&[b"abc"])[..8], hex(expected)[..], "{function:?}");
            assert_eq!(hash.compute(&[b"a", b"", b"bc"]), hash.compute(&[b"abc"]));
        }
    }
}
