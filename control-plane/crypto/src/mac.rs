//! HMAC (RFC 2104, RFC 2403, RFC 2404, RFC 4868), AES-XCBC (RFC 3566, RFC 4434) and AES-CMAC (RFC 4494, RFC 4615): as the PRF, and truncated as the
//! integrity algorithm beside a cipher.

use ::hmac::Hmac;
use aes::Aes128;
use aes::cipher::KeySizeUser;
use aes::cipher::typenum::U16;
use aes_xcbc::AesXcbc;
use aws_lc_rs::{constant_time, hmac};
use cmac::digest::OutputSizeUser;
use cmac::{Cmac, KeyInit, Mac};
use ike::provider::{CryptoError, Prf};
use ipsec_types::{IntegrityAlgorithm, PrfAlgorithm, Secret};
use md5::Md5;
use zeroize::Zeroizing;

/// The pseudorandom functions.
pub(crate) static PRFS: &[&dyn Prf] = &[
    &MacPrf(PrfAlgorithm::HmacSha256),
    &MacPrf(PrfAlgorithm::HmacSha384),
    &MacPrf(PrfAlgorithm::HmacSha512),
    &MacPrf(PrfAlgorithm::AesCmac),
    &MacPrf(PrfAlgorithm::AesXcbc),
    &MacPrf(PrfAlgorithm::HmacSha1),
    &MacPrf(PrfAlgorithm::HmacMd5),
];

/// The whole output, keys of any length.
#[derive(Debug)]
struct MacPrf(PrfAlgorithm);

impl Prf for MacPrf {
    fn algorithm(&self) -> PrfAlgorithm {
        self.0
    }

    fn compute(&self, key: &[u8], parts: &[&[u8]]) -> Secret {
        // In one piece and into a buffer of ours: the incremental interface of HMAC returns the output by value, in memory nobody zeroes.
        let text = Zeroizing::new(parts.concat());
        match self.0 {
            PrfAlgorithm::HmacMd5 => hmac_md5(key, &text),
            PrfAlgorithm::HmacSha1 => hmac_prf(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, &text),
            PrfAlgorithm::HmacSha256 => hmac_prf(hmac::HMAC_SHA256, key, &text),
            PrfAlgorithm::HmacSha384 => hmac_prf(hmac::HMAC_SHA384, key, &text),
            PrfAlgorithm::HmacSha512 => hmac_prf(hmac::HMAC_SHA512, key, &text),
            PrfAlgorithm::AesXcbc => Secret::copy_from(&*aes_mac::<AesXcbc>(&xcbc_prf_key(key), &text)),
            PrfAlgorithm::AesCmac => Secret::copy_from(&*aes_mac::<Cmac<Aes128>>(&cmac_prf_key(key), &text)),
        }
    }
}

/// PRF_HMAC_* (RFC 4868 section 2.1.2).
fn hmac_prf(hash: hmac::Algorithm, key: &[u8], text: &[u8]) -> Secret {
    let mut output = Zeroizing::new(vec![0; hash.digest_algorithm().output_len()]);
    // The buffer has the size of the output; what is left is the library failing to allocate, where it panics by itself elsewhere.
    hmac::sign_to_buffer(&hmac::Key::new(hash, key), text, &mut output).expect("HMAC of octets in memory");
    Secret::from(output)
}

/// PRF_HMAC_MD5, which aws-lc-rs does not have.
fn hmac_md5(key: &[u8], text: &[u8]) -> Secret {
    let mac = <Hmac<Md5> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    let output: Zeroizing<[u8; 16]> = Zeroizing::new(mac.chain_update(text).finalize().into_bytes().into());
    Secret::copy_from(&*output)
}

/// A key of PRF_AES128_XCBC: a short one is filled up with zeros, a long one is put through the function itself (RFC 4434 section 2).
fn xcbc_prf_key(key: &[u8]) -> Zeroizing<[u8; 16]> {
    let mut filled = Zeroizing::new([0; 16]);
    match filled.get_mut(..key.len()) {
        Some(front) => front.copy_from_slice(key),
        None => filled = aes_mac::<AesXcbc>(&[0; 16], key),
    }
    filled
}

/// A key of PRF_AES128_CMAC: one of any other length is put through the function itself (RFC 4615 section 3).
fn cmac_prf_key(key: &[u8]) -> Zeroizing<[u8; 16]> {
    key.try_into().map_or_else(|_| aes_mac::<Cmac<Aes128>>(&[0; 16], key), Zeroizing::new)
}

fn aes_mac<M>(key: &[u8; 16], text: &[u8]) -> Zeroizing<[u8; 16]>
where
    M: Mac + KeyInit + KeySizeUser<KeySize = U16> + OutputSizeUser<OutputSize = U16>,
{
    Zeroizing::new(<M as KeyInit>::new(key.into()).chain_update(text).finalize().into_bytes().into())
}

/// A key of an integrity algorithm. The libraries zero it when dropped.
pub(crate) struct IntegrityKey {
    mac: KeyedMac,
    icv_len: usize,
}

#[expect(clippy::large_enum_variant, reason = "one to a direction of an IKE SA, which is behind a pointer")]
enum KeyedMac {
    Hmac(hmac::Key),
    HmacMd5(Hmac<Md5>),
    AesXcbc(AesXcbc),
    AesCmac(Cmac<Aes128>),
}

impl IntegrityKey {
    /// Takes the key, whose length is fixed ([`IntegrityAlgorithm::key_len`]).
    pub(crate) fn new(algorithm: IntegrityAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        if key.len() != algorithm.key_len() {
            return Err(CryptoError::KeyLength);
        }
        let hmac = |hash| KeyedMac::Hmac(hmac::Key::new(hash, key));
        let mac = match algorithm {
            IntegrityAlgorithm::HmacMd5 => KeyInit::new_from_slice(key).map(KeyedMac::HmacMd5).map_err(|_| CryptoError::KeyLength)?,
            IntegrityAlgorithm::HmacSha1 => hmac(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            IntegrityAlgorithm::HmacSha256 => hmac(hmac::HMAC_SHA256),
            IntegrityAlgorithm::HmacSha384 => hmac(hmac::HMAC_SHA384),
            IntegrityAlgorithm::HmacSha512 => hmac(hmac::HMAC_SHA512),
            IntegrityAlgorithm::AesXcbc => AesXcbc::new_from_slice(key).map(KeyedMac::AesXcbc).map_err(|_| CryptoError::KeyLength)?,
            IntegrityAlgorithm::AesCmac => Cmac::new_from_slice(key).map(KeyedMac::AesCmac).map_err(|_| CryptoError::KeyLength)?,
        };
        Ok(Self { mac, icv_len: algorithm.icv_len() })
    }

    /// Writes the ICV of the parts in a row.
    pub(crate) fn sign(&self, parts: [&[u8]; 3], icv: &mut [u8]) -> Result<(), CryptoError> {
        if icv.len() != self.icv_len {
            return Err(CryptoError::Length);
        }
        icv.copy_from_slice(self.compute(parts).get(..self.icv_len).ok_or(CryptoError::Length)?);
        Ok(())
    }

    /// Compares the ICV in constant time.
    pub(crate) fn verify(&self, parts: [&[u8]; 3], icv: &[u8]) -> Result<(), CryptoError> {
        if icv.len() != self.icv_len {
            return Err(CryptoError::Length);
        }
        let computed = self.compute(parts);
        let expected = computed.get(..self.icv_len).ok_or(CryptoError::Length)?;
        constant_time::verify_slices_are_equal(expected, icv).map_err(|_| CryptoError::Unauthentic)
    }

    /// The whole output.
    fn compute(&self, parts: [&[u8]; 3]) -> Vec<u8> {
        match &self.mac {
            KeyedMac::Hmac(key) => {
                let mut context = hmac::Context::with_key(key);
                parts.iter().for_each(|part| context.update(part));
                context.sign().as_ref().to_vec()
            }
            KeyedMac::HmacMd5(mac) => finish(mac.clone(), parts),
            KeyedMac::AesXcbc(mac) => finish(mac.clone(), parts),
            KeyedMac::AesCmac(mac) => finish(mac.clone(), parts),
        }
    }
}

fn finish<M: Mac>(mut mac: M, parts: [&[u8]; 3]) -> Vec<u8> {
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;
