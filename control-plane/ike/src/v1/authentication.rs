//! How the two sides of phase 1 show who they are (RFC 2409 section 5): what is negotiated as the Authentication Method.

use core::fmt;

use ipsec_types::{KeyKind, PrfAlgorithm, SignatureScheme};

use crate::config::{Connection, LocalAuth, RemoteAuth};
use crate::v2::keys::Role;

/// Authentication Method (RFC 2409 appendix A and the registry after it).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authentication {
    /// Both sides have a key in common.
    Psk,
    /// Both sign, by RSA.
    RsaSignature,
    /// Both sign, by ECDSA on P-256 with SHA-256 (RFC 4754).
    Ecdsa256,
    /// The same on P-384 with SHA-384.
    Ecdsa384,
    /// The same on P-521 with SHA-512.
    Ecdsa521,
}

impl Authentication {
    /// Every one that is spoken here.
    const ALL: [Self; 5] = [Self::Psk, Self::RsaSignature, Self::Ecdsa256, Self::Ecdsa384, Self::Ecdsa521];

    /// The one of a connection, which both sides use; `None` where IKEv1 has none for what is configured.
    pub(crate) fn of(connection: &Connection) -> Option<Self> {
        if connection.has_rounds() {
            return None;
        }
        match (&connection.local_auth, &connection.remote_auth) {
            (LocalAuth::Psk, RemoteAuth::Psk) => Some(Self::Psk),
            (LocalAuth::PublicKey(credential), RemoteAuth::PublicKey(_)) => Self::by_key(credential.key.kind()),
            _ => None,
        }
    }

    /// Signatures by a key of this kind.
    const fn by_key(kind: KeyKind) -> Option<Self> {
        match kind {
            KeyKind::Rsa => Some(Self::RsaSignature),
            KeyKind::EcdsaP256 => Some(Self::Ecdsa256),
            KeyKind::EcdsaP384 => Some(Self::Ecdsa384),
            KeyKind::EcdsaP521 => Some(Self::Ecdsa521),
            KeyKind::Ed25519 => None,
        }
    }

    /// Whether SKEYID grows from a shared key, rather than from the nonces and the key exchange.
    pub(crate) const fn is_by_shared_key(self) -> bool {
        matches!(self, Self::Psk)
    }

    /// By what the side of this role signs its hash; `None` where the hash alone shows who it is.
    pub(crate) const fn signature(self, _role: Role) -> Option<SignatureScheme> {
        match self {
            Self::Psk => None,
            Self::RsaSignature => Some(SignatureScheme::RsaBare),
            Self::Ecdsa256 | Self::Ecdsa384 | Self::Ecdsa521 => Some(SignatureScheme::EcdsaBare),
        }
    }

    /// Its number.
    pub(crate) const fn number(self) -> u16 {
        match self {
            Self::Psk => 1,
            Self::RsaSignature => 3,
            Self::Ecdsa256 => 9,
            Self::Ecdsa384 => 10,
            Self::Ecdsa521 => 11,
        }
    }

    /// The one of a number.
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|method| u64::from(method.number()) == number)
    }

    /// The PRF of HASH_I and HASH_R where the method has one of its own: "except using the HMAC version of the hash algorithm associated with the
    /// signature method" (section 5).
    pub(crate) const fn own_prf(self) -> Option<PrfAlgorithm> {
        match self {
            Self::Psk | Self::RsaSignature => None,
            Self::Ecdsa256 => Some(PrfAlgorithm::HmacSha256),
            Self::Ecdsa384 => Some(PrfAlgorithm::HmacSha384),
            Self::Ecdsa521 => Some(PrfAlgorithm::HmacSha512),
        }
    }
}

impl fmt::Display for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Psk => "pre-shared key",
            Self::RsaSignature => "RSA signatures",
            Self::Ecdsa256 => "ECDSA-256 signatures",
            Self::Ecdsa384 => "ECDSA-384 signatures",
            Self::Ecdsa521 => "ECDSA-521 signatures",
        })
    }
}
