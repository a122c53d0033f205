//! AEADs of AES other than AES-GCM with its whole ICV.

use alloc::boxed::Box;
use core::fmt;

use aes::cipher::array::ArraySize;
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeySizeUser};
use aes::{Aes128, Aes192, Aes256};
use ccm::aead::{AeadInOut, KeyInit};
use ccm::consts::{U8, U11, U12, U16};
use ccm::{Ccm, Nonce, Tag, TagSize};
use subtle::ConstantTimeEq;
use zeroize::ZeroizeOnDrop;

use crate::portable::{self, Keystream};
use crate::tag::write_icv;
use crate::transform::Transform;
use crate::{Aad, ICV_LEN, NONCE_LEN};

/// AES-GCM with an ICV of 8 or 12 octets (RFC 4106 section 6).
pub(crate) struct TruncatedGcm {
    key: portable::Key,
    icv_len: usize,
}

impl TruncatedGcm {
    pub(crate) const fn new(key: portable::Key, icv_len: usize) -> Self {
        Self { key, icv_len }
    }
}

impl Transform for TruncatedGcm {
    fn icv_len(&self) -> usize {
        self.icv_len
    }

    fn iv_len(&self) -> usize {
        0
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], stream: &mut Keystream) {
        let mut tag = [0; ICV_LEN];
        portable::seal(&self.key, nonce, aad.octets(), data, &mut tag, stream);
        write_icv(&tag, icv);
    }

    fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool {
        portable::open_truncated(&self.key, nonce, aad.octets(), data, icv, stream)
    }
}

impl fmt::Display for TruncatedGcm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}-GCM with {} octets of ICV", self.key.bits(), self.icv_len)
    }
}

/// ENCR_NULL_AUTH_AES_GMAC (RFC 4543): the IV is authenticated with the packet.
pub(crate) struct Gmac(portable::Key);

impl Gmac {
    pub(crate) const fn new(key: portable::Key) -> Self {
        Self(key)
    }
}

impl Transform for Gmac {
    fn icv_len(&self) -> usize {
        ICV_LEN
    }

    fn iv_len(&self) -> usize {
        portable::IV_LEN
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], _: &mut Keystream) {
        portable::write_iv(nonce, data);
        write_icv(&portable::gmac(&self.0, nonce, aad.octets(), data), icv);
    }

    fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], _: &mut Keystream) -> bool {
        portable::gmac(&self.0, nonce, aad.octets(), data).ct_eq(icv).into()
    }
}

impl fmt::Display for Gmac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}-GMAC", self.0.bits())
    }
}

/// AES-CCM (RFC 4309). The bound is the proof that the key schedule is zeroed when dropped: it holds by a feature of `aes`.
struct CcmKey<C, M>(Ccm<C, M, U11>)
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop,
    M: ArraySize + TagSize;

/// Expands a key; `None` where its length is none of AES, or that of the ICV none of RFC 4309 section 6.
pub(crate) fn ccm(key: &[u8], icv_len: usize) -> Option<Box<dyn Transform>> {
    match icv_len {
        8 => ccm_with_icv::<U8>(key),
        12 => ccm_with_icv::<U12>(key),
        16 => ccm_with_icv::<U16>(key),
        _ => None,
    }
}

fn ccm_with_icv<M: ArraySize + TagSize + Send + Sync + 'static>(key: &[u8]) -> Option<Box<dyn Transform>> {
    Some(match key.len() {
        16 => Box::new(CcmKey::<Aes128, M>(Ccm::new_from_slice(key).ok()?)),
        24 => Box::new(CcmKey::<Aes192, M>(Ccm::new_from_slice(key).ok()?)),
        32 => Box::new(CcmKey::<Aes256, M>(Ccm::new_from_slice(key).ok()?)),
        _ => return None,
    })
}

impl<C, M> CcmKey<C, M>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + ZeroizeOnDrop,
    M: ArraySize + TagSize,
{
    /// Three octets of salt and the IV: the nonce without the octet that CCM has no room for.
    fn nonce(nonce: &[u8; NONCE_LEN]) -> Nonce<U11> {
        let [_, rest @ ..] = *nonce;
        Nonce::from(rest)
    }
}

impl<C, M> Transform for CcmKey<C, M>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeySizeUser + ZeroizeOnDrop + Send + Sync,
    M: ArraySize + TagSize + Send + Sync,
{
    fn icv_len(&self) -> usize {
        M::USIZE
    }

    fn iv_len(&self) -> usize {
        0
    }

    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], _: &mut Keystream) {
        match self.0.encrypt_inout_detached(&Self::nonce(nonce), aad.octets(), (&mut *data).into()) {
            Ok(tag) => write_icv(&tag, icv),
            // Data of 4 GiB, which no job has. Should that ever change, no octet of it leaves.
            Err(_) => data.fill(0),
        }
    }

    fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], _: &mut Keystream) -> bool {
        let Ok(tag) = Tag::<M>::try_from(icv) else { return false };
        self.0.decrypt_inout_detached(&Self::nonce(nonce), aad.octets(), data.into(), &tag).is_ok()
    }
}

impl<C, M> fmt::Display for CcmKey<C, M>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeySizeUser + ZeroizeOnDrop,
    M: ArraySize + TagSize,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AES-{}-CCM with {} octets of ICV", C::key_size() * 8, M::USIZE)
    }
}

#[cfg(test)]
mod tests;
