//! Key exchanges: X25519 (RFC 7748, RFC 8031), ECP-256, ECP-384 and ECP-521 (RFC 5903); MODP groups are in [`crate::modp`].

use aws_lc_rs::agreement::{self, Algorithm, ECDH_P256, ECDH_P384, ECDH_P521, UnparsedPublicKey};
use ike::provider::{CryptoError, KeyExchange, PrivateKey};
use ipsec_types::{KeyExchangeMethod, Secret};

use crate::modp::{MODP_768, MODP_1024, MODP_1536, MODP_2048, MODP_3072, MODP_4096};

/// The key exchange methods.
pub(crate) static KEY_EXCHANGES: &[&dyn KeyExchange] = &[
    &Curve::X25519,
    &Curve::Ecp256,
    &Curve::Ecp384,
    &Curve::Ecp521,
    &&MODP_3072,
    &&MODP_4096,
    &&MODP_2048,
    &&MODP_1536,
    &&MODP_1024,
    &&MODP_768,
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    /// Wire form: the 32 octets of the u coordinate (RFC 8031 section 2).
    X25519,
    /// Wire form: x | y, 32 octets each, without the format octet of SEC 1 (RFC 5903 section 7).
    Ecp256,
    /// Wire form: x | y, 48 octets each.
    Ecp384,
    /// Wire form: x | y, 66 octets each, of whose first the upper seven bits are zero.
    Ecp521,
}

/// First octet of an uncompressed point (SEC 1 section 2.3.3).
const UNCOMPRESSED: u8 = 4;

impl Curve {
    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::X25519 => &agreement::X25519,
            Self::Ecp256 => &ECDH_P256,
            Self::Ecp384 => &ECDH_P384,
            Self::Ecp521 => &ECDH_P521,
        }
    }
}

impl KeyExchange for Curve {
    fn method(&self) -> KeyExchangeMethod {
        match self {
            Self::X25519 => KeyExchangeMethod::X25519,
            Self::Ecp256 => KeyExchangeMethod::Ecp256,
            Self::Ecp384 => KeyExchangeMethod::Ecp384,
            Self::Ecp521 => KeyExchangeMethod::Ecp521,
        }
    }

    fn public_len(&self) -> usize {
        match self {
            Self::X25519 => 32,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
        }
    }

    fn generate(&self) -> Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError> {
        let key = agreement::PrivateKey::generate(self.algorithm()).map_err(|_| CryptoError::Unavailable)?;
        let private = CurvePrivateKey { curve: *self, key };
        let public = private.public()?;
        Ok((Box::new(private), public))
    }
}

/// A private key; the library zeroes it when dropped.
struct CurvePrivateKey {
    curve: Curve,
    key: agreement::PrivateKey,
}

impl CurvePrivateKey {
    /// The public value in wire form.
    fn public(&self) -> Result<Vec<u8>, CryptoError> {
        let public = self.key.compute_public_key().map_err(|_| CryptoError::Unavailable)?;
        match (self.curve, public.as_ref()) {
            (Curve::X25519, u) => Ok(u.to_vec()),
            (_, [UNCOMPRESSED, point @ ..]) => Ok(point.to_vec()),
            _ => Err(CryptoError::Unavailable),
        }
    }
}

impl PrivateKey for CurvePrivateKey {
    /// The library checks that a point lies on the curve and refuses an all-zero X25519 result, which a point of small order gives
    /// (RFC 8031 section 2 asks for both); of the ECP groups only the x coordinate becomes the secret (RFC 5903 section 7).
    fn agree(self: Box<Self>, peer_public: &[u8]) -> Result<Secret, CryptoError> {
        if peer_public.len() != self.curve.public_len() {
            return Err(CryptoError::PublicValue);
        }
        let encoded = match self.curve {
            Curve::X25519 => peer_public.to_vec(),
            _ => [&[UNCOMPRESSED], peer_public].concat(),
        };
        let peer = UnparsedPublicKey::new(self.curve.algorithm(), encoded);
        agreement::agree(&self.key, peer, CryptoError::PublicValue, |secret| Ok(Secret::copy_from(secret)))
    }
}

#[cfg(test)]
mod tests;
