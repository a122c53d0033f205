//! Integrity algorithms that stand by themselves: HMAC (RFC 2104) with MD5 (RFC 2403), SHA-1 (RFC 2404) and SHA-2 (RFC 4868), and AES in XCBC
//! (RFC 3566) and CMAC (RFC 4494).

use core::fmt;

use aes::Aes128;
use aes_xcbc::AesXcbc;
use cmac::Cmac;
use hmac::{Hmac, KeyInit};
use md5::Md5;
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::KeyError;
use crate::tag::write_icv;

/// Octets of the longest ICV, that of HMAC-SHA2-512-256.
pub const MAX_ICV_LEN: usize = 32;

/// An integrity algorithm with its key.
#[derive(Clone, Copy)]
pub enum MacKey<'a> {
    /// HMAC-MD5-96 (RFC 2403), 16 octets.
    HmacMd5(&'a [u8]),
    /// HMAC-SHA1-96 (RFC 2404), 20 octets.
    HmacSha1(&'a [u8]),
    /// HMAC-SHA2-256-128 (RFC 4868), 32 octets.
    HmacSha256(&'a [u8]),
    /// HMAC-SHA2-384-192, 48 octets.
    HmacSha384(&'a [u8]),
    /// HMAC-SHA2-512-256, 64 octets.
    HmacSha512(&'a [u8]),
    /// AES-XCBC-MAC-96 (RFC 3566), 16 octets.
    AesXcbc(&'a [u8]),
    /// AES-CMAC-96 (RFC 4494), 16 octets.
    AesCmac(&'a [u8]),
}

impl fmt::Debug for MacKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HmacMd5(_) => "HmacMd5",
            Self::HmacSha1(_) => "HmacSha1",
            Self::HmacSha256(_) => "HmacSha256",
            Self::HmacSha384(_) => "HmacSha384",
            Self::HmacSha512(_) => "HmacSha512",
            Self::AesXcbc(_) => "AesXcbc",
            Self::AesCmac(_) => "AesCmac",
        })
    }
}

/// The state behind the key, computed ahead; zeroed when dropped.
pub(crate) enum Mac {
    HmacMd5(Hmac<Md5>),
    HmacSha1(Hmac<Sha1>),
    HmacSha256(Hmac<Sha256>),
    HmacSha384(Hmac<Sha384>),
    HmacSha512(Hmac<Sha512>),
    AesXcbc(AesXcbc),
    AesCmac(Cmac<Aes128>),
}

impl Mac {
    /// Takes a key, whose length is fixed (RFC 2403 section 3, RFC 2404 section 3, RFC 3566 section 4, RFC 4494 section 4, RFC 4868 section 2.1.1).
    pub(crate) fn new(key: MacKey<'_>) -> Result<Self, KeyError> {
        match key {
            MacKey::HmacMd5(key) => keyed(key, 16).map(Self::HmacMd5),
            MacKey::HmacSha1(key) => keyed(key, 20).map(Self::HmacSha1),
            MacKey::HmacSha256(key) => keyed(key, 32).map(Self::HmacSha256),
            MacKey::HmacSha384(key) => keyed(key, 48).map(Self::HmacSha384),
            MacKey::HmacSha512(key) => keyed(key, 64).map(Self::HmacSha512),
            MacKey::AesXcbc(key) => keyed(key, 16).map(Self::AesXcbc),
            MacKey::AesCmac(key) => keyed(key, 16).map(Self::AesCmac),
        }
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::HmacMd5(_) => "HMAC-MD5-96",
            Self::HmacSha1(_) => "HMAC-SHA1-96",
            Self::HmacSha256(_) => "HMAC-SHA2-256-128",
            Self::HmacSha384(_) => "HMAC-SHA2-384-192",
            Self::HmacSha512(_) => "HMAC-SHA2-512-256",
            Self::AesXcbc(_) => "AES-XCBC-96",
            Self::AesCmac(_) => "AES-CMAC-96",
        }
    }

    /// Octets of the truncated ICV.
    pub(crate) const fn icv_len(&self) -> usize {
        match self {
            Self::HmacMd5(_) | Self::HmacSha1(_) | Self::AesXcbc(_) | Self::AesCmac(_) => 12,
            Self::HmacSha256(_) => 16,
            Self::HmacSha384(_) => 24,
            Self::HmacSha512(_) => 32,
        }
    }

    /// Writes as much of the output as `icv` takes.
    pub(crate) fn sign(&self, parts: [&[u8]; 3], icv: &mut [u8]) {
        match self {
            Self::HmacMd5(mac) => sign(mac, parts, icv),
            Self::HmacSha1(mac) => sign(mac, parts, icv),
            Self::HmacSha256(mac) => sign(mac, parts, icv),
            Self::HmacSha384(mac) => sign(mac, parts, icv),
            Self::HmacSha512(mac) => sign(mac, parts, icv),
            Self::AesXcbc(mac) => sign(mac, parts, icv),
            Self::AesCmac(mac) => sign(mac, parts, icv),
        }
    }

    /// Compares the ICV in constant time.
    pub(crate) fn verify(&self, parts: [&[u8]; 3], icv: &[u8]) -> bool {
        let mut expected = Zeroizing::new([0; MAX_ICV_LEN]);
        let Some(expected) = expected.get_mut(..self.icv_len()) else { return false };
        self.sign(parts, expected);
        expected.ct_eq(icv).into()
    }
}

fn keyed<M: KeyInit>(key: &[u8], expected: usize) -> Result<M, KeyError> {
    let wrong = KeyError::Integrity { expected, actual: key.len() };
    if key.len() == expected { M::new_from_slice(key).map_err(|_| wrong) } else { Err(wrong) }
}

fn sign<M: hmac::Mac + Clone>(mac: &M, parts: [&[u8]; 3], icv: &mut [u8]) {
    let mut mac = mac.clone();
    for part in parts {
        mac.update(part);
    }
    write_icv(&mac.finalize().into_bytes(), icv);
}

#[cfg(test)]
mod tests;
