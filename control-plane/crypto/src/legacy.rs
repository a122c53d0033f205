//! RSA with SHA-1, the default of AUTH method 1 (RFC 7296 section 3.8), for peers that do not know RFC 7427. Whoever finds collisions of SHA-1 may forge
//! such signatures: nothing of it is used unless the configuration writes it out. aws-lc-rs checks them, but does not make them; OpenSSL does. And RSA over
//! a hash without DigestInfo, as IKEv1 has it (RFC 2409 section 5.1), which aws-lc-rs neither makes nor checks.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RsaKeyPair, UnparsedPublicKey};
use ike::provider::CryptoError;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::Signer;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};

/// Signs by RSASSA-PKCS1-v1_5 with SHA-1. The key is read by OpenSSL, and cleared by both libraries, for each signature.
pub(crate) fn sign(pair: &RsaKeyPair, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| CryptoError::Unavailable)?;
    let signature =
        PKey::private_key_from_pkcs8(pkcs8.as_ref()).and_then(|key| Signer::new(MessageDigest::sha1(), &key)?.sign_oneshot_to_vec(message));
    signature.map_err(|_| CryptoError::Unavailable)
}

/// Signs what is a hash already by RSASSA-PKCS1-v1_5 without DigestInfo: "encoded as [...] PKCS #1 block type 1".
pub(crate) fn sign_bare(pair: &RsaKeyPair, hash: &[u8]) -> Result<Vec<u8>, CryptoError> {
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| CryptoError::Unavailable)?;
    let signature = PKey::private_key_from_pkcs8(pkcs8.as_ref()).and_then(|key| {
        let key = key.rsa()?;
        let mut signature = vec![0; pair.public_modulus_len()];
        let len = key.private_encrypt(hash, &mut signature, Padding::PKCS1)?;
        signature.truncate(len);
        Ok(signature)
    });
    signature.map_err(|_| CryptoError::Unavailable)
}

/// Checks such signatures, by keys of 2048 to 8192 bits.
#[derive(Debug)]
pub(crate) struct RsaBare;

impl SignatureVerificationAlgorithm for RsaBare {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = Rsa::public_key_from_der_pkcs1(public_key).map_err(|_| InvalidSignature)?;
        let len = usize::try_from(key.size()).unwrap_or(0);
        if !(256..=1024).contains(&len) || signature.len() != len {
            return Err(InvalidSignature);
        }
        // Everything behind the padding is the hash: there is no room for what a forger would need where the exponent is small.
        let mut opened = vec![0; len];
        let found = key.public_decrypt(signature, &mut opened, Padding::PKCS1).map_err(|_| InvalidSignature)?;
        if opened.get(..found) == Some(message) { Ok(()) } else { Err(InvalidSignature) }
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }
}

/// Checks signatures of RSASSA-PKCS1-v1_5 with SHA-1 by keys of 2048 to 8192 bits.
#[derive(Debug)]
pub(crate) struct RsaSha1;

/// sha1WithRSAEncryption (RFC 3279 section 2.2.1) and its NULL.
const SHA1_WITH_RSA: &[u8] = &[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 5, 5, 0];

impl SignatureVerificationAlgorithm for RsaSha1 {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, public_key);
        key.verify(message, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::RSA_ENCRYPTION
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        AlgorithmIdentifier::from_slice(SHA1_WITH_RSA)
    }
}
