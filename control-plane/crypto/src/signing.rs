//! Private keys from PEM files: PKCS #8 (RFC 5958), PKCS #1 (RFC 8017 appendix A.1.2) and SEC 1 (RFC 5915).

use std::fmt;

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair};
use ike::provider::{CryptoError, SigningKey};
use ipsec_types::{KeyKind, SignatureEncoding, SignatureScheme};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};
use zeroize::Zeroize;

/// Why a file holds no private key that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// No PEM section of a private key.
    #[error("there is no private key in it (PEM: PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY)")]
    None,
    /// A section that is encrypted with a passphrase.
    #[error("the private key is encrypted")]
    Encrypted,
    /// PEM that cannot be read.
    #[error("this is no PEM")]
    Pem,
    /// A key of another kind, or RSA of fewer than 2048 or more than 8192 bits.
    #[error("this is no RSA key of 2048 to 8192 bits, no ECDSA key on P-256, P-384 or P-521, and no Ed25519 key")]
    Unsupported,
}

/// A private key in memory. The library underneath clears it when it is dropped.
pub struct PrivateKeyFile {
    pair: Pair,
    /// SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7), DER.
    public_key: Vec<u8>,
}

enum Pair {
    Rsa(RsaKeyPair),
    /// With ECDSA in DER, and the same key with numbers of fixed length.
    Ecdsa(KeyKind, Box<[EcdsaKeyPair; 2]>),
    Ed25519(Ed25519KeyPair),
}

impl PrivateKeyFile {
    /// The first private key of a PEM file.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_pem(pem: &[u8]) -> Result<Self, KeyFileError> {
        let mut der = PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
            pem::Error::NoItemsFound if contains(pem, b"ENCRYPTED PRIVATE KEY") => KeyFileError::Encrypted,
            pem::Error::NoItemsFound => KeyFileError::None,
            // PKCS #1 says so in a header, which is no Base64.
            _ if contains(pem, b"Proc-Type: 4,ENCRYPTED") => KeyFileError::Encrypted,
            _ => KeyFileError::Pem,
        })?;
        let key = Self::from_der(&der);
        der.zeroize();
        key
    }

    fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, KeyFileError> {
        let pair = match der {
            PrivateKeyDer::Pkcs1(key) => RsaKeyPair::from_der(key.secret_pkcs1_der()).ok().map(Pair::Rsa),
            PrivateKeyDer::Sec1(key) => ecdsa(key.secret_sec1_der()),
            PrivateKeyDer::Pkcs8(key) => {
                let key = key.secret_pkcs8_der();
                let rsa = || RsaKeyPair::from_pkcs8(key).ok().map(Pair::Rsa);
                let ed25519 = || Ed25519KeyPair::from_pkcs8_maybe_unchecked(key).ok().map(Pair::Ed25519);
                ecdsa(key).or_else(rsa).or_else(ed25519)
            }
            _ => None,
        };
        let pair = pair.ok_or(KeyFileError::Unsupported)?;
        let public_key: Result<PublicKeyX509Der<'_>, _> = match &pair {
            Pair::Rsa(pair) => pair.public_key().as_der(),
            Pair::Ecdsa(_, pairs) => pairs[0].public_key().as_der(),
            Pair::Ed25519(pair) => pair.public_key().as_der(),
        };
        let public_key = public_key.map_err(|_| KeyFileError::Unsupported)?.as_ref().to_vec();
        Ok(Self { pair, public_key })
    }

    /// SubjectPublicKeyInfo, DER: what a certificate of this key has.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key
    }
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

fn ecdsa(der: &[u8]) -> Option<Pair> {
    let of = |algorithm: &'static EcdsaSigningAlgorithm| {
        EcdsaKeyPair::from_pkcs8(algorithm, der).or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, der)).ok()
    };
    let both = |asn1, fixed| Some(Box::new([of(asn1)?, of(fixed)?]));
    let p256 = || {
        Some(Pair::Ecdsa(
            KeyKind::EcdsaP256,
            both(&signature::ECDSA_P256_SHA256_ASN1_SIGNING, &signature::ECDSA_P256_SHA256_FIXED_SIGNING)?,
        ))
    };
    let p384 = || {
        Some(Pair::Ecdsa(
            KeyKind::EcdsaP384,
            both(&signature::ECDSA_P384_SHA384_ASN1_SIGNING, &signature::ECDSA_P384_SHA384_FIXED_SIGNING)?,
        ))
    };
    let p521 = || {
        Some(Pair::Ecdsa(
            KeyKind::EcdsaP521,
            both(&signature::ECDSA_P521_SHA512_ASN1_SIGNING, &signature::ECDSA_P521_SHA512_FIXED_SIGNING)?,
        ))
    };
    p256().or_else(p384).or_else(p521)
}

/// Schemes that a key of this kind signs by here, in order of preference. ECDSA has the hash of the curve's strength.
#[must_use]
pub fn schemes(kind: KeyKind) -> &'static [SignatureScheme] {
    use SignatureScheme as S;
    match kind {
        #[cfg(not(feature = "legacy"))]
        KeyKind::Rsa => &[S::RsaSha256, S::RsaSha384, S::RsaSha512, S::RsaPssSha256, S::RsaPssSha384, S::RsaPssSha512],
        #[cfg(feature = "legacy")]
        KeyKind::Rsa => &[S::RsaSha256, S::RsaSha384, S::RsaSha512, S::RsaPssSha256, S::RsaPssSha384, S::RsaPssSha512, S::RsaSha1],
        KeyKind::EcdsaP256 => &[S::EcdsaSha256],
        KeyKind::EcdsaP384 => &[S::EcdsaSha384],
        KeyKind::EcdsaP521 => &[S::EcdsaSha512],
        KeyKind::Ed25519 => &[S::Ed25519],
    }
}

/// The scheme of IKEv1 that a key of this kind signs by here; `None` where there is none.
#[must_use]
pub const fn bare_scheme(kind: KeyKind) -> Option<SignatureScheme> {
    match kind {
        KeyKind::Rsa if cfg!(feature = "legacy") => Some(SignatureScheme::RsaBare),
        KeyKind::Rsa | KeyKind::Ed25519 => None,
        KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => Some(SignatureScheme::EcdsaBare),
    }
}

/// A hash that was computed elsewhere, of the length that ECDSA on this curve has it in (RFC 4754 section 4).
fn hashed(kind: KeyKind, hash: &[u8]) -> Option<Digest> {
    let algorithm = match kind {
        KeyKind::EcdsaP256 => &digest::SHA256,
        KeyKind::EcdsaP384 => &digest::SHA384,
        KeyKind::EcdsaP521 => &digest::SHA512,
        KeyKind::Rsa | KeyKind::Ed25519 => return None,
    };
    Digest::import_less_safe(hash, algorithm).ok()
}

impl SigningKey for PrivateKeyFile {
    fn kind(&self) -> KeyKind {
        match &self.pair {
            Pair::Rsa(_) => KeyKind::Rsa,
            Pair::Ecdsa(kind, _) => *kind,
            Pair::Ed25519(_) => KeyKind::Ed25519,
        }
    }

    fn sign(&self, scheme: SignatureScheme, encoding: SignatureEncoding, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if !schemes(self.kind()).contains(&scheme) && bare_scheme(self.kind()) != Some(scheme) {
            return Err(CryptoError::Unavailable);
        }
        let random = SystemRandom::new();
        let unavailable = |_| CryptoError::Unavailable;
        match &self.pair {
            #[cfg(feature = "legacy")]
            Pair::Rsa(pair) if scheme == SignatureScheme::RsaSha1 => crate::legacy::sign(pair, message),
            #[cfg(feature = "legacy")]
            Pair::Rsa(pair) if scheme == SignatureScheme::RsaBare => crate::legacy::sign_bare(pair, message),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(rsa(scheme)?, &random, message, &mut signature).map_err(unavailable)?;
                Ok(signature)
            }
            Pair::Ecdsa(kind, pairs) => {
                let [der, fixed] = &**pairs;
                let pair = if encoding == SignatureEncoding::Der { der } else { fixed };
                let signature = if scheme == SignatureScheme::EcdsaBare {
                    pair.sign_digest(&hashed(*kind, message).ok_or(CryptoError::Length)?)
                } else {
                    pair.sign(&random, message)
                };
                Ok(signature.map_err(unavailable)?.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
        }
    }
}

fn rsa(scheme: SignatureScheme) -> Result<&'static dyn RsaEncoding, CryptoError> {
    Ok(match scheme {
        SignatureScheme::RsaSha256 => &signature::RSA_PKCS1_SHA256,
        SignatureScheme::RsaSha384 => &signature::RSA_PKCS1_SHA384,
        SignatureScheme::RsaSha512 => &signature::RSA_PKCS1_SHA512,
        SignatureScheme::RsaPssSha256 => &signature::RSA_PSS_SHA256,
        SignatureScheme::RsaPssSha384 => &signature::RSA_PSS_SHA384,
        SignatureScheme::RsaPssSha512 => &signature::RSA_PSS_SHA512,
        _ => return Err(CryptoError::Unavailable),
    })
}

impl fmt::Debug for PrivateKeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKeyFile({})", self.kind())
    }
}

#[cfg(test)]
mod tests;
