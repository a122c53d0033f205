//! How the two sides of phase 1 show who they are (RFC 2409 section 5): what is negotiated as the Authentication Method.

use alloc::vec::Vec;
use core::fmt;

use ipsec_types::{KeyKind, PrfAlgorithm, SignatureScheme};

use crate::config::{Connection, Credential, LocalAuth, MethodV1, RemoteAuth, Whose};
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
    /// Both sides have a key in common, and the one of this role shows a user as well (draft-beaulieu-ike-xauth-02).
    XauthPsk(Role),
    /// Both sign, by RSA, and the one of this role shows a user as well.
    XauthRsa(Role),
    /// The one of this role shows a user, and nothing else; the other signs, by RSA (draft-ietf-ipsec-isakmp-hybrid-auth-05).
    HybridRsa(Role),
}

impl Authentication {
    /// Every one that is spoken here.
    const ALL: [Self; 11] = [
        Self::Psk,
        Self::RsaSignature,
        Self::Ecdsa256,
        Self::Ecdsa384,
        Self::Ecdsa521,
        Self::XauthPsk(Role::Initiator),
        Self::XauthPsk(Role::Responder),
        Self::XauthRsa(Role::Initiator),
        Self::XauthRsa(Role::Responder),
        Self::HybridRsa(Role::Initiator),
        Self::HybridRsa(Role::Responder),
    ];

    /// The one of a connection in this role, in which both sides use it; `None` where IKEv1 has none for what is configured.
    pub(crate) fn of(connection: &Connection, role: Role) -> Option<Self> {
        let ours: Vec<&LocalAuth> = connection.local_rounds().map(|(_, way)| way).collect();
        let theirs: Vec<&RemoteAuth> = connection.remote_rounds().map(|(_, way)| way).collect();
        let role_of = |whose| if whose == Whose::Ours { role } else { role.other() };
        // After signatures of other keys a user has no number.
        let by_rsa = |own: &Credential, method| (own.key.kind() == KeyKind::Rsa).then_some(method);
        match MethodV1::of(&ours, &theirs)? {
            MethodV1::SharedKey { user: None } => Some(Self::Psk),
            MethodV1::SharedKey { user: Some(user) } => Some(Self::XauthPsk(role_of(user))),
            MethodV1::Signatures { own, user: None } => Self::by_key(own.key.kind()),
            MethodV1::Signatures { own, user: Some(user) } => by_rsa(own, Self::XauthRsa(role_of(user))),
            MethodV1::Hybrid { own: None } => Some(Self::HybridRsa(role)),
            MethodV1::Hybrid { own: Some(own) } => by_rsa(own, Self::HybridRsa(role.other())),
        }
    }

    /// The side that has to show a user after phase 1 (XAuth).
    pub(crate) const fn user(self) -> Option<Role> {
        match self {
            Self::XauthPsk(user) | Self::XauthRsa(user) | Self::HybridRsa(user) => Some(user),
            Self::Psk | Self::RsaSignature | Self::Ecdsa256 | Self::Ecdsa384 | Self::Ecdsa521 => None,
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
        matches!(self, Self::Psk | Self::XauthPsk(_))
    }

    /// By what the side of this role signs its hash; `None` where the hash alone shows who it is.
    pub(crate) fn signature(self, role: Role) -> Option<SignatureScheme> {
        match self {
            Self::Psk | Self::XauthPsk(_) => None,
            Self::HybridRsa(user) if user == role => None,
            Self::RsaSignature | Self::XauthRsa(_) | Self::HybridRsa(_) => Some(SignatureScheme::RsaBare),
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
            Self::XauthPsk(Role::Initiator) => 65001,
            Self::XauthPsk(Role::Responder) => 65002,
            Self::XauthRsa(Role::Initiator) => 65005,
            Self::XauthRsa(Role::Responder) => 65006,
            Self::HybridRsa(Role::Initiator) => 64221,
            Self::HybridRsa(Role::Responder) => 64222,
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
            Self::Psk | Self::RsaSignature | Self::XauthPsk(_) | Self::XauthRsa(_) | Self::HybridRsa(_) => None,
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
            Self::XauthPsk(Role::Initiator) => "pre-shared key and XAuth of the initiator",
            Self::XauthPsk(Role::Responder) => "pre-shared key and XAuth of the responder",
            Self::XauthRsa(Role::Initiator) => "RSA signatures and XAuth of the initiator",
            Self::XauthRsa(Role::Responder) => "RSA signatures and XAuth of the responder",
            Self::HybridRsa(Role::Initiator) => "RSA signature of the responder and XAuth of the initiator",
            Self::HybridRsa(Role::Responder) => "RSA signature of the initiator and XAuth of the responder",
        })
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The registry "IPSEC Authentication Methods (Value 3)", and the drafts of XAuth and of hybrid authentication.
    #[test]
    fn numbers_are_those_of_the_registry() {
        let numbers: Vec<u16> = Authentication::ALL.map(Authentication::number).to_vec();
        assert_eq!(numbers, [1, 3, 9, 10, 11, 65001, 65002, 65005, 65006, 64221, 64222]);
        assert_eq!(Authentication::from_number(10), Some(Authentication::Ecdsa384));
        // DSS, RSA encryption and its revised mode, ECDSA without a curve.
        assert!([0, 2, 4, 5, 8, 12].into_iter().all(|number| Authentication::from_number(number).is_none()));
    }

    #[test]
    fn each_kind_of_key_has_its_method_and_signs_by_a_scheme_that_suits_it() {
        for kind in [KeyKind::Rsa, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521] {
            let method = Authentication::by_key(kind).unwrap();
            for role in [Role::Initiator, Role::Responder] {
                assert!(method.signature(role).unwrap().suits(kind), "{kind}");
            }
            assert!(!method.is_by_shared_key());
        }
        assert_eq!(Authentication::by_key(KeyKind::Ed25519), None);
        assert_eq!((Authentication::Psk.signature(Role::Initiator), Authentication::Psk.own_prf()), (None, None));
    }
}
