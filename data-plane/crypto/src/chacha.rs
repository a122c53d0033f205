//! ChaCha20-Poly1305 of the crate of that name, which picks the widest code the CPU has.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{ChaCha20Poly1305, Nonce, Tag};

use crate::NONCE_LEN;
use crate::tag::write_icv;

/// A key; zeroed when dropped.
pub(crate) struct Key(ChaCha20Poly1305);

impl Key {
    /// Takes a key; `None` where it does not have 32 octets.
    pub(crate) fn new(key: &[u8]) -> Option<Self> {
        ChaCha20Poly1305::new_from_slice(key).ok().map(Self)
    }
}

/// RFC 8439 section 2.8.1, in place.
#[inline]
pub(crate) fn seal(key: &Key, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8], icv: &mut [u8]) {
    match key.0.encrypt_inout_detached(&Nonce::from(*nonce), aad, data.into()) {
        Ok(tag) => write_icv(&tag, icv),
        // Data of 256 GiB, which no job has. Should that ever change, no octet of it leaves.
        Err(_) => data.fill(0),
    }
}

/// The tag first, in constant time, and only then the data.
#[inline]
pub(crate) fn open(key: &Key, nonce: &[u8; NONCE_LEN], aad: &[u8], data: &mut [u8], icv: &[u8]) -> bool {
    let Ok(tag) = Tag::try_from(icv) else { return false };
    key.0.decrypt_inout_detached(&Nonce::from(*nonce), aad, data.into(), &tag).is_ok()
}

#[cfg(test)]
mod tests;
