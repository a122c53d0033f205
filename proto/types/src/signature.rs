//! Signatures that prove an identity (RFC 7296 section 3.8, RFC 7427, RFC 8420).

use core::fmt;

/// What a public key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// ECDSA on P-256.
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// ECDSA on P-521.
    EcdsaP521,
    /// Ed25519 (RFC 8032).
    Ed25519,
}

/// Hash algorithms that peers say they take in signatures (RFC 7427 section 4, RFC 8420 section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HashAlgorithm {
    /// SHA-1.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
    /// None: the signature algorithm takes the whole message.
    Identity,
}

/// A signature algorithm with its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureScheme {
    /// RSASSA-PKCS1-v1_5 with SHA-1.
    RsaSha1,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RsaSha384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RsaSha512,
    /// RSASSA-PSS with SHA-256, for the mask too, and a salt of 32 octets.
    RsaPssSha256,
    /// RSASSA-PSS with SHA-384, for the mask too, and a salt of 48 octets.
    RsaPssSha384,
    /// RSASSA-PSS with SHA-512, for the mask too, and a salt of 64 octets.
    RsaPssSha512,
    /// ECDSA with SHA-256, on any of the curves.
    EcdsaSha256,
    /// ECDSA with SHA-384, on any of the curves.
    EcdsaSha384,
    /// ECDSA with SHA-512, on any of the curves.
    EcdsaSha512,
    /// Ed25519.
    Ed25519,
    /// RSASSA-PKCS1-v1_5 of octets that are a hash already, without their DigestInfo: IKEv1's (RFC 2409 section 5.1). No configuration names it.
    RsaBare,
    /// ECDSA of octets that are a hash already, on any of the curves: IKEv1's (RFC 4754 section 4). No configuration names it.
    EcdsaBare,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SignatureEncoding {
    /// As method 14 has it: ECDSA as the two numbers in DER (RFC 7427 section 3).
    Der,
    /// As the methods before it have it: ECDSA as the two numbers, each of the curve's length (RFC 4754 section 7).
    Fixed,
}

impl HashAlgorithm {
    /// Every one that there is.
    pub const ALL: &[Self] = &[Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Identity];

    /// The number in SIGNATURE_HASH_ALGORITHMS.
    pub const fn id(self) -> u16 {
        match self {
            Self::Sha1 => 1,
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
            Self::Identity => 5,
        }
    }

    /// The algorithm of a number.
    pub fn from_id(id: u16) -> Option<Self> {
        Self::ALL.iter().copied().find(|hash| hash.id() == id)
    }

    /// Its name in the configuration.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
            Self::Identity => "identity",
        }
    }
}

impl SignatureScheme {
    /// Every one that a configuration can name, in order of preference for a key of each kind: PKCS #1 v1.5 before PSS, which fewer peers know.
    pub const ALL: &[Self] = &[
        Self::RsaSha256,
        Self::RsaSha384,
        Self::RsaSha512,
        Self::RsaPssSha256,
        Self::RsaPssSha384,
        Self::RsaPssSha512,
        Self::EcdsaSha256,
        Self::EcdsaSha384,
        Self::EcdsaSha512,
        Self::Ed25519,
        Self::RsaSha1,
    ];

    /// The hash algorithm.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::RsaSha1 => HashAlgorithm::Sha1,
            Self::RsaSha256 | Self::RsaPssSha256 | Self::EcdsaSha256 => HashAlgorithm::Sha256,
            Self::RsaSha384 | Self::RsaPssSha384 | Self::EcdsaSha384 => HashAlgorithm::Sha384,
            Self::RsaSha512 | Self::RsaPssSha512 | Self::EcdsaSha512 => HashAlgorithm::Sha512,
            Self::Ed25519 | Self::RsaBare | Self::EcdsaBare => HashAlgorithm::Identity,
        }
    }

    /// Whether a key of this kind can make and check such signatures.
    pub const fn suits(self, kind: KeyKind) -> bool {
        match self {
            Self::RsaSha1
            | Self::RsaSha256
            | Self::RsaSha384
            | Self::RsaSha512
            | Self::RsaPssSha256
            | Self::RsaPssSha384
            | Self::RsaPssSha512
            | Self::RsaBare => matches!(kind, KeyKind::Rsa),
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::EcdsaBare => {
                matches!(kind, KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521)
            }
            Self::Ed25519 => matches!(kind, KeyKind::Ed25519),
        }
    }

    /// The one of IKEv1 for the same kinds of keys; `None` where there is none.
    pub const fn bare(self) -> Option<Self> {
        match self {
            Self::Ed25519 => None,
            Self::EcdsaSha256 | Self::EcdsaSha384 | Self::EcdsaSha512 | Self::EcdsaBare => Some(Self::EcdsaBare),
            _ => Some(Self::RsaBare),
        }
    }

    /// Its name in the configuration, as in swanctl.conf.
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::RsaSha1 => "rsa-sha1",
            Self::RsaSha256 => "rsa-sha256",
            Self::RsaSha384 => "rsa-sha384",
            Self::RsaSha512 => "rsa-sha512",
            Self::RsaPssSha256 => "rsa/pss-sha256",
            Self::RsaPssSha384 => "rsa/pss-sha384",
            Self::RsaPssSha512 => "rsa/pss-sha512",
            Self::EcdsaSha256 => "ecdsa-sha256",
            Self::EcdsaSha384 => "ecdsa-sha384",
            Self::EcdsaSha512 => "ecdsa-sha512",
            Self::Ed25519 => "ed25519",
            Self::RsaBare => "rsa-ikev1",
            Self::EcdsaBare => "ecdsa-ikev1",
        }
    }

    /// The scheme of a name.
    pub fn from_keyword(keyword: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|scheme| scheme.keyword() == keyword)
    }
}

impl fmt::Display for KeyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa => "RSA",
            Self::EcdsaP256 => "ECDSA P-256",
            Self::EcdsaP384 => "ECDSA P-384",
            Self::EcdsaP521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
        })
    }
}

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

impl fmt::Display for HashAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.keyword())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_are_read_as_they_are_written() {
        for &scheme in SignatureScheme::ALL {
            assert_eq!(SignatureScheme::from_keyword(scheme.keyword()), Some(scheme));
        }
        for &hash in HashAlgorithm::ALL {
            assert_eq!(HashAlgorithm::from_id(hash.id()), Some(hash));
        }
    }

    #[test]
    fn every_kind_of_key_has_a_scheme() {
        for kind in [KeyKind::Rsa, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521, KeyKind::Ed25519] {
            assert!(SignatureScheme::ALL.iter().any(|scheme| scheme.suits(kind)), "{kind}");
        }
    }
}
