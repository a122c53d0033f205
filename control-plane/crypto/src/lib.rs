//! Cryptography of IKE behind the provider traits of the crate `ike`.
//!
//! Everything comes from aws-lc-rs, but for what it does not have. AES-CBC, AES-CTR, AES-CCM, AES-XCBC and 3DES come from crates on `aes` and
//! `des` (IKE pads by itself, RFC 7296 section 3.14, and aws-lc-rs has CBC with its own padding only), the arithmetic of MODP groups from
//! `crypto-bigint`, and with the feature `legacy` RSA signatures with SHA-1 and those of IKEv1 from OpenSSL. Private keys in tokens
//! are reached by `cryptoki`. Key material is zeroed when dropped and never printed.

mod aead;
mod ccm;
pub mod eap;
mod encrypt_then_mac;
mod hash;
#[cfg(test)]
mod hex;
mod key_exchange;
#[cfg(feature = "legacy")]
mod legacy;
mod mac;
mod modp;
pub mod radius;
mod random;
mod sha1;
mod signing;
mod token;
mod x509;
mod xauth;

use ike::provider::Provider;
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm};

use encrypt_then_mac::{BareCipher, EncryptThenMac};

pub use random::SystemRandom;
pub use signing::{KeyFileError, PrivateKeyFile, bare_scheme, schemes};
pub use token::{PinSource, TokenError, TokenKey, TokenUri, UriError};
pub use x509::{
    AuthorityError, Crl, OCSP_REQUEST, Places, Refusal, RevocationPolicy, Revocations, Trust, certificates, certifies, public_key,
    raw_public_key, subject,
};
pub use xauth::XauthUsers;

/// Everything this crate can do, in order of preference.
#[must_use]
pub const fn provider() -> Provider {
    Provider {
        prfs: mac::PRFS,
        suites: SUITES,
        key_exchanges: key_exchange::KEY_EXCHANGES,
        sha1: sha1::sha1,
        hashes: hash::HASHES,
        ciphers: CIPHERS,
    }
}

/// AEADs, and each of the other ciphers with each integrity algorithm.
macro_rules! suites {
    ($($aead:expr),*; $($encryption:ident),*) => {
        &[$(&$aead),*, $(
            &suites!(@ $encryption, HmacSha256),
            &suites!(@ $encryption, HmacSha384),
            &suites!(@ $encryption, HmacSha512),
            &suites!(@ $encryption, AesCmac),
            &suites!(@ $encryption, AesXcbc),
            &suites!(@ $encryption, HmacSha1),
        )*]
    };
    (@ $encryption:ident, $integrity:ident) => {
        EncryptThenMac { encryption: EncryptionAlgorithm::$encryption, integrity: IntegrityAlgorithm::$integrity }
    };
}

static SUITES: &[&dyn ike::provider::SkSuite] = suites![
    aead::AES_GCM_256, aead::AES_GCM_192, aead::AES_GCM_128, aead::CHACHA20_POLY1305, ccm::AES_CCM_256, ccm::AES_CCM_192, ccm::AES_CCM_128;
    AesCbc256, AesCbc192, AesCbc128, AesCtr256, AesCtr192, AesCtr128, TripleDes
];

static CIPHERS: &[&dyn ike::provider::Cipher] = &[
    &BareCipher(EncryptionAlgorithm::AesCbc256),
    &BareCipher(EncryptionAlgorithm::AesCbc192),
    &BareCipher(EncryptionAlgorithm::AesCbc128),
    &BareCipher(EncryptionAlgorithm::TripleDes),
];

#[cfg(test)]
mod tests {
    use ipsec_types::{KeyExchangeMethod, PrfAlgorithm};

    use super::*;

    #[test]
    fn every_algorithm_a_proposal_can_name_is_there() {
        let provider = provider();
        for &prf in PrfAlgorithm::ALL {
            assert!(provider.prf(prf).is_some(), "{prf}");
        }
        for &method in KeyExchangeMethod::ALL {
            assert!(provider.key_exchange(method).is_some(), "{method}");
        }
        for &encryption in EncryptionAlgorithm::ALL {
            assert_eq!(provider.suite(encryption, None).is_some(), encryption.is_aead() && encryption.is_for_ike(), "{encryption} alone");
            for &integrity in IntegrityAlgorithm::ALL {
                let there = provider.suite(encryption, Some(integrity)).is_some();
                // With MD5 there is IKEv1 alone, which has no suites.
                let wanted = !encryption.is_aead() && encryption.is_for_ike() && integrity != IntegrityAlgorithm::HmacMd5;
                assert_eq!(there, wanted, "{encryption} with {integrity}");
            }
        }
    }
}
