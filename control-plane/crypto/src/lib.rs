//! Cryptography of IKE behind the provider traits of the crate `ike`.
//!
//! Everything comes from aws-lc-rs, with two exceptions. AES-CBC: IKE pads by itself (RFC 7296 section 3.14), and aws-lc-rs has CBC with its
//! own padding only, so the blocks come from the crates `aes` and `cbc`. MODP groups, which aws-lc-rs does not have: the arithmetic comes
//! from the crate `crypto-bigint`. Key material is zeroed when dropped and never printed.

mod aead;
mod cbc_hmac;
#[cfg(test)]
mod hex;
mod hmac;
mod key_exchange;
mod modp;
mod random;
mod sha1;

use ike::provider::Provider;

pub use random::SystemRandom;

/// Everything this crate can do, in order of preference.
#[must_use]
pub const fn provider() -> Provider {
    Provider { prfs: hmac::PRFS, suites: SUITES, key_exchanges: key_exchange::KEY_EXCHANGES, sha1: sha1::sha1 }
}

/// The suites of both kinds.
static SUITES: &[&dyn ike::provider::SkSuite] = &[
    &aead::AES_GCM_256,
    &aead::AES_GCM_192,
    &aead::AES_GCM_128,
    &aead::CHACHA20_POLY1305,
    &cbc_hmac::AES_CBC_256_SHA2_256,
    &cbc_hmac::AES_CBC_256_SHA2_384,
    &cbc_hmac::AES_CBC_256_SHA2_512,
    &cbc_hmac::AES_CBC_192_SHA2_256,
    &cbc_hmac::AES_CBC_192_SHA2_384,
    &cbc_hmac::AES_CBC_192_SHA2_512,
    &cbc_hmac::AES_CBC_128_SHA2_256,
    &cbc_hmac::AES_CBC_128_SHA2_384,
    &cbc_hmac::AES_CBC_128_SHA2_512,
];

#[cfg(test)]
mod tests {
    use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm};

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
                assert_eq!(
                    there,
                    !encryption.is_aead() && encryption.is_for_ike() && integrity.is_for_ike(),
                    "{encryption} with {integrity}"
                );
            }
        }
    }
}
