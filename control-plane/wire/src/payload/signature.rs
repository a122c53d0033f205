//! Signatures inside Authentication payloads: of method 14 with the algorithm in front (RFC 7427 section 3), and of the methods before it, each
//! of which is one algorithm (RFC 7296 section 3.8, RFC 4754 section 3).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | ASN.1 Length  | AlgorithmIdentifier ASN.1 object              ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        Signature Value                        ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use ipsec_types::{HashAlgorithm, KeyKind, SignatureEncoding, SignatureScheme};

use super::auth::{Auth, AuthMethod};

/// A signature, and what it is one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature<'a> {
    /// The algorithm.
    pub scheme: SignatureScheme,
    /// How the numbers of ECDSA are written.
    pub encoding: SignatureEncoding,
    /// Signature Value.
    pub value: &'a [u8],
}

/// Why Authentication Data are no signature that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// The method is none of signatures.
    #[error("{0} is no signature")]
    Method(AuthMethod),
    /// The data are too short for the AlgorithmIdentifier.
    #[error("the signature is cut off")]
    Truncated,
    /// An algorithm that Culvert does not know, or parameters of RSASSA-PSS with two hash algorithms or another length of salt than that of the hash.
    #[error("the signature algorithm is not supported")]
    Algorithm,
}

impl Auth {
    /// The payload of a signature; `None` where no method has a number or a name for the scheme.
    pub fn signed(scheme: SignatureScheme, encoding: SignatureEncoding, value: Vec<u8>) -> Option<Self> {
        let method = match encoding {
            SignatureEncoding::Fixed => method_of(scheme)?,
            // Ed25519 and RSA have one encoding; which method it is, the caller says by it.
            SignatureEncoding::Der => AuthMethod::DIGITAL_SIGNATURE,
        };
        if method != AuthMethod::DIGITAL_SIGNATURE {
            return Some(Self { method, data: value });
        }
        let algorithm = algorithm(scheme)?;
        let len = u8::try_from(algorithm.len()).ok()?;
        Some(Self { method, data: [&[len], &algorithm[..], &value].concat() })
    }

    /// The signature in the payload.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn signature(&self) -> Result<Signature<'_>, SignatureError> {
        let of_method = |scheme| Ok(Signature { scheme, encoding: SignatureEncoding::Fixed, value: &self.data });
        match self.method {
            AuthMethod::RSA_SIGNATURE => of_method(SignatureScheme::RsaSha1),
            AuthMethod::ECDSA_SHA256_P256 => of_method(SignatureScheme::EcdsaSha256),
            AuthMethod::ECDSA_SHA384_P384 => of_method(SignatureScheme::EcdsaSha384),
            AuthMethod::ECDSA_SHA512_P521 => of_method(SignatureScheme::EcdsaSha512),
            AuthMethod::DIGITAL_SIGNATURE => {
                let (len, rest) = self.data.split_first().ok_or(SignatureError::Truncated)?;
                let (found, value) = rest.split_at_checked(usize::from(*len)).ok_or(SignatureError::Truncated)?;
                let scheme = SignatureScheme::ALL.iter().copied().find(|scheme| is_algorithm(found, *scheme));
                let scheme = scheme.ok_or(SignatureError::Algorithm)?;
                Ok(Signature { scheme, encoding: SignatureEncoding::Der, value })
            }
            other => Err(SignatureError::Method(other)),
        }
    }
}

/// The scheme of a key for peers without RFC 7427; `None` where there is none.
pub const fn scheme_before_rfc7427(kind: KeyKind) -> Option<SignatureScheme> {
    match kind {
        KeyKind::Rsa => Some(SignatureScheme::RsaSha1),
        KeyKind::EcdsaP256 => Some(SignatureScheme::EcdsaSha256),
        KeyKind::EcdsaP384 => Some(SignatureScheme::EcdsaSha384),
        KeyKind::EcdsaP521 => Some(SignatureScheme::EcdsaSha512),
        KeyKind::Ed25519 => None,
    }
}

/// The data of SIGNATURE_HASH_ALGORITHMS (RFC 7427 section 4).
pub fn hash_algorithms(hashes: &[HashAlgorithm]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| hash.id().to_be_bytes()).collect()
}

/// The hash algorithms in SIGNATURE_HASH_ALGORITHMS that are known.
pub fn known_hash_algorithms(data: &[u8]) -> Vec<HashAlgorithm> {
    data.as_chunks().0.iter().filter_map(|id| HashAlgorithm::from_id(u16::from_be_bytes(*id))).collect()
}

const fn method_of(scheme: SignatureScheme) -> Option<AuthMethod> {
    match scheme {
        SignatureScheme::RsaSha1 => Some(AuthMethod::RSA_SIGNATURE),
        SignatureScheme::EcdsaSha256 => Some(AuthMethod::ECDSA_SHA256_P256),
        SignatureScheme::EcdsaSha384 => Some(AuthMethod::ECDSA_SHA384_P384),
        SignatureScheme::EcdsaSha512 => Some(AuthMethod::ECDSA_SHA512_P521),
        _ => None,
    }
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 6;
const NULL: &[u8] = &[5, 0];

/// 1.2.840.113549.1.1, and one arc more.
const fn pkcs1(arc: u8) -> [u8; 9] {
    [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, arc]
}

/// A DER value of fewer than 128 octets, as all of these are.
fn der(tag: u8, content: &[&[u8]]) -> Vec<u8> {
    let content = content.concat();
    let len = u8::try_from(content.len()).unwrap_or(u8::MAX);
    [&[tag, len], &content[..]].concat()
}

/// The AlgorithmIdentifier of a scheme as RFC 7427 appendix A and RFC 8420 section 3 write it; those of IKEv1 have none.
fn algorithm(scheme: SignatureScheme) -> Option<Vec<u8>> {
    use SignatureScheme as S;
    let rsa = |arc| der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&pkcs1(arc)]), NULL]);
    let ecdsa = |arc| der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, arc]])]);
    Some(match scheme {
        S::RsaSha1 => rsa(5),
        S::RsaSha256 => rsa(11),
        S::RsaSha384 => rsa(12),
        S::RsaSha512 => rsa(13),
        S::RsaPssSha256 => pss(1, 32, NULL, true),
        S::RsaPssSha384 => pss(2, 48, NULL, true),
        S::RsaPssSha512 => pss(3, 64, NULL, true),
        S::EcdsaSha256 => ecdsa(2),
        S::EcdsaSha384 => ecdsa(3),
        S::EcdsaSha512 => ecdsa(4),
        S::Ed25519 => der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&[0x2b, 0x65, 0x70]])]),
        S::RsaBare | S::EcdsaBare => return None,
    })
}

/// RSASSA-PSS with its parameters: the last arc of the hash (2.16.840.1.101.3.4.2), octets of salt, the hash's own parameters, and whether the
/// trailer field, whose value is the default, is written.
fn pss(hash: u8, salt: u8, parameters: &[u8], trailer: bool) -> Vec<u8> {
    let hash = der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, hash]]), parameters]);
    let mask = der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&pkcs1(8)]), &hash]);
    let trailer: &[u8] = if trailer { &[0xa3, 3, 2, 1, 1] } else { &[] };
    let parameters = der(SEQUENCE, &[&der(0xa0, &[&hash]), &der(0xa1, &[&mask]), &[0xa2, 3, 2, 1, salt], trailer]);
    der(SEQUENCE, &[&der(OBJECT_IDENTIFIER, &[&pkcs1(10)]), &parameters])
}

/// Whether an AlgorithmIdentifier is that of a scheme, in any way that peers write it. The identifier of RSASSA-PSS alone, behind two tags with their
/// lengths, says which of these are worth writing.
fn is_algorithm(found: &[u8], scheme: SignatureScheme) -> bool {
    let is_pss = found.get(4..13) == Some(&pkcs1(10)[..]);
    let in_any_way =
        |hash, salt| [NULL, &[]].iter().any(|null| [true, false].iter().any(|trailer| found == pss(hash, salt, null, *trailer)));
    match scheme {
        SignatureScheme::RsaPssSha256 => is_pss && in_any_way(1, 32),
        SignatureScheme::RsaPssSha384 => is_pss && in_any_way(2, 48),
        SignatureScheme::RsaPssSha512 => is_pss && in_any_way(3, 64),
        scheme => !is_pss && algorithm(scheme).is_some_and(|own| own == found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(core::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// RFC 7427 appendix A, RFC 8420 appendix A.
    #[test]
    fn algorithms_are_written_as_the_rfcs_write_them() {
        use SignatureScheme as S;
        for (scheme, expected) in [
            (S::RsaSha1, "300d 0609 2a86 4886 f70d 0101 0505 00"),
            (S::RsaSha256, "300d 0609 2a86 4886 f70d 0101 0b05 00"),
            (S::RsaSha384, "300d 0609 2a86 4886 f70d 0101 0c05 00"),
            (S::RsaSha512, "300d 0609 2a86 4886 f70d 0101 0d05 00"),
            (S::EcdsaSha256, "300a 0608 2a86 48ce 3d04 0302"),
            (S::EcdsaSha384, "300a 0608 2a86 48ce 3d04 0303"),
            (S::EcdsaSha512, "300a 0608 2a86 48ce 3d04 0304"),
            (
                S::RsaPssSha256,
                "3046 0609 2a86 4886 f70d 0101 0a30 39a0 0f30 0d06 0960 8648 0165 0304 0201 0500 a11c 301a 0609 2a86 4886 f70d 0101 0830 \
                 0d06 0960 8648 0165 0304 0201 0500 a203 0201 20a3 0302 0101",
            ),
            (S::Ed25519, "3005 0603 2b65 70"),
        ] {
            assert_eq!(algorithm(scheme), Some(octets(expected)), "{scheme}");
        }
    }

    #[test]
    fn a_signature_comes_back_with_its_algorithm() {
        for &scheme in SignatureScheme::ALL {
            for encoding in [SignatureEncoding::Der, SignatureEncoding::Fixed] {
                let Some(auth) = Auth::signed(scheme, encoding, alloc::vec![7; 3]) else {
                    assert_eq!(encoding, SignatureEncoding::Fixed, "{scheme}");
                    continue;
                };
                assert_eq!(auth.signature(), Ok(Signature { scheme, encoding, value: &[7; 3] }));
                assert_eq!(encoding == SignatureEncoding::Fixed, auth.method != AuthMethod::DIGITAL_SIGNATURE);
            }
        }
    }

    #[test]
    fn pss_is_known_without_what_der_leaves_out() {
        let algorithm = pss(2, 48, &[], false);
        let data = [&[u8::try_from(algorithm.len()).unwrap()], &algorithm[..], &[9]].concat();
        let auth = Auth { method: AuthMethod::DIGITAL_SIGNATURE, data };
        assert_eq!(auth.signature().map(|signature| signature.scheme), Ok(SignatureScheme::RsaPssSha384));
    }

    #[test]
    fn what_is_no_signature_is_refused() {
        let of = |method, data: &[u8]| Auth { method, data: data.to_vec() }.signature().unwrap_err();
        assert_eq!(of(AuthMethod::SHARED_KEY, &[1]), SignatureError::Method(AuthMethod::SHARED_KEY));
        assert_eq!(of(AuthMethod::DIGITAL_SIGNATURE, &[]), SignatureError::Truncated);
        assert_eq!(of(AuthMethod::DIGITAL_SIGNATURE, &[9, 1, 2]), SignatureError::Truncated);
        // RSASSA-PSS with its default parameters, which are SHA-1's.
        let defaults = octets("0f 300d 0609 2a86 4886 f70d 0101 0a30 00");
        assert_eq!(of(AuthMethod::DIGITAL_SIGNATURE, &defaults), SignatureError::Algorithm);
    }

    #[test]
    fn hash_algorithms_that_are_not_known_are_passed_over() {
        let data = [&hash_algorithms(HashAlgorithm::ALL)[..], &[0, 99, 7]].concat();
        assert_eq!(known_hash_algorithms(&data), HashAlgorithm::ALL);
    }
}
