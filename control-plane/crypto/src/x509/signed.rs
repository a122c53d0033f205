//! What an authority has signed besides certificates: lists of revocations, and answers about single certificates.

use rustls_pki_types::SubjectPublicKeyInfoDer;
use webpki::RawPublicKeyEntity;
use x509_cert::der::asn1::BitStringRef;
use x509_cert::der::{Decode, Header, Reader, SliceReader, Tag};

use super::path::OF_CERTIFICATES;

/// `SEQUENCE { toBeSigned, signatureAlgorithm, signature, ... }` (RFC 5280 section 5.1, RFC 6960 section 4.2.1).
pub(super) struct Signed<'a> {
    /// The octets that are signed.
    pub(super) content: &'a [u8],
    /// AlgorithmIdentifier, without tag and length.
    algorithm: &'a [u8],
    signature: &'a [u8],
    /// What stands behind the signature.
    pub(super) rest: &'a [u8],
}

impl<'a> Signed<'a> {
    pub(super) fn from_der(der: &'a [u8]) -> Option<Self> {
        let mut reader = sequence(der)?;
        let content = reader.tlv_bytes().ok()?;
        let header = Header::decode(&mut reader).ok().filter(|header| header.tag() == Tag::Sequence)?;
        let algorithm = reader.read_slice(header.length()).ok()?;
        let signature = BitStringRef::decode(&mut reader).ok()?.as_bytes()?;
        let rest = reader.read_slice(reader.remaining_len()).ok()?;
        Some(Self { content, algorithm, signature, rest })
    }

    /// Whether the key of this SubjectPublicKeyInfo has signed it, by an algorithm that certificates may be signed by.
    pub(super) fn is_by(&self, public_key: &[u8]) -> bool {
        let key = SubjectPublicKeyInfoDer::from(public_key);
        let Ok(entity) = RawPublicKeyEntity::try_from(&key) else { return false };
        let named = OF_CERTIFICATES.iter().filter(|algorithm| algorithm.signature_alg_id().as_ref() == self.algorithm);
        // One for each curve.
        named.into_iter().any(|&algorithm| entity.verify_signature(algorithm, self.content, self.signature).is_ok())
    }
}

/// What is in a SEQUENCE, and nothing behind it.
pub(super) fn sequence(der: &[u8]) -> Option<SliceReader<'_>> {
    let mut outer = SliceReader::new(der).ok()?;
    let header = Header::decode(&mut outer).ok().filter(|header| header.tag() == Tag::Sequence)?;
    let content = outer.read_slice(header.length()).ok()?;
    outer.finish().ok()?;
    SliceReader::new(content).ok()
}
