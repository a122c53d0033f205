//! What every transform does that is not worth a variant of its own.

use core::fmt;

use crate::portable::Keystream;
use crate::{Aad, NONCE_LEN};

/// The keys of a transform, displayed as its name. They zero themselves when dropped.
pub(crate) trait Transform: fmt::Display + Send + Sync {
    /// Octets of every ICV.
    fn icv_len(&self) -> usize;

    /// Octets of IV in front of the data.
    fn iv_len(&self) -> usize;

    /// Encrypts the data behind their IV, in place, and writes the ICV, which has the right length.
    fn seal(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &mut [u8], stream: &mut Keystream);

    /// Compares the ICV, which has the right length, in constant time, and only then decrypts.
    fn open(&self, nonce: &[u8; NONCE_LEN], aad: &Aad, data: &mut [u8], icv: &[u8], stream: &mut Keystream) -> bool;
}
