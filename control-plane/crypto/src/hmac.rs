//! HMAC-SHA2 (RFC 2104, RFC 4868): as the PRF, and truncated as the integrity algorithm beside CBC.

use aws_lc_rs::{constant_time, hmac};
use ike::provider::{CryptoError, Prf};
use ipsec_types::{IntegrityAlgorithm, PrfAlgorithm, Secret};
use zeroize::Zeroizing;

/// The pseudorandom functions.
pub(crate) static PRFS: &[&dyn Prf] =
    &[&HmacPrf(PrfAlgorithm::HmacSha256), &HmacPrf(PrfAlgorithm::HmacSha384), &HmacPrf(PrfAlgorithm::HmacSha512)];

/// PRF_HMAC_SHA2_* (RFC 4868 section 2.1.2): the whole output, keys of any length.
#[derive(Debug)]
struct HmacPrf(PrfAlgorithm);

impl Prf for HmacPrf {
    fn algorithm(&self) -> PrfAlgorithm {
        self.0
    }

    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        let hash = match self.0 {
            PrfAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            PrfAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            PrfAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
        };
        // In one piece and into a buffer of ours: the incremental interface returns the output by value, in memory nobody zeroes.
        let text = Zeroizing::new(parts.concat());
        let mut output = Zeroizing::new(vec![0; self.0.output_len()]);
        // The buffer has the size of the output; what is left is the library failing to allocate, where it panics by itself elsewhere.
        hmac::sign_to_buffer(&hmac::Key::new(hash, key), &text, &mut output).expect("HMAC of octets in memory");
        Secret::from(output)
    }
}

/// A key of AUTH_HMAC_SHA2_* (RFC 4868 section 2.3). The library zeroes it when dropped.
pub(crate) struct IntegrityKey {
    key: hmac::Key,
    icv_len: usize,
}

impl IntegrityKey {
    /// Takes the key, whose length is fixed (RFC 4868 section 2.1.1).
    pub(crate) fn new(algorithm: IntegrityAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        if key.len() != algorithm.key_len() {
            return Err(CryptoError::KeyLength);
        }
        let hash = match algorithm {
            IntegrityAlgorithm::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            IntegrityAlgorithm::HmacSha256 => hmac::HMAC_SHA256,
            IntegrityAlgorithm::HmacSha384 => hmac::HMAC_SHA384,
            IntegrityAlgorithm::HmacSha512 => hmac::HMAC_SHA512,
            IntegrityAlgorithm::AesXcbc | IntegrityAlgorithm::AesCmac => return Err(CryptoError::Unavailable),
        };
        Ok(Self { key: hmac::Key::new(hash, key), icv_len: algorithm.icv_len() })
    }

    /// Writes the ICV of the parts in a row.
    pub(crate) fn sign(&self, parts: [&[u8]; 3], icv: &mut [u8]) -> Result<(), CryptoError> {
        if icv.len() != self.icv_len {
            return Err(CryptoError::Length);
        }
        icv.copy_from_slice(self.compute(parts).as_ref().get(..self.icv_len).ok_or(CryptoError::Length)?);
        Ok(())
    }

    /// Compares the ICV in constant time.
    pub(crate) fn verify(&self, parts: [&[u8]; 3], icv: &[u8]) -> Result<(), CryptoError> {
        if icv.len() != self.icv_len {
            return Err(CryptoError::Length);
        }
        let computed = self.compute(parts);
        let expected = computed.as_ref().get(..self.icv_len).ok_or(CryptoError::Length)?;
        constant_time::verify_slices_are_equal(expected, icv).map_err(|_| CryptoError::Unauthentic)
    }

    fn compute(&self, parts: [&[u8]; 3]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        context.sign()
    }
}

#[cfg(test)]
mod tests;
