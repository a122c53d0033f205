//! What every transform does that is not worth a variant of its own.

use core::fmt;

use subtle::ConstantTimeEq;

use crate::portable::Keystream;
use crate::{Aad, ICV_LEN, NONCE_LEN};

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

/// Writes as much of a tag as the ICV takes.
#[inline]
pub(crate) fn write_icv(tag: &[u8], icv: &mut [u8]) {
    icv.iter_mut().zip(tag).for_each(|(octet, of_tag)| *octet = *of_tag);
}

/// Whether an ICV is the tag, in constant time and eight octets at a time: one by one, they cost as much as a short packet.
#[inline]
pub(crate) fn is_tag(icv: &[u8; ICV_LEN], tag: &[u8; ICV_LEN]) -> bool {
    let halves = |octets: &[u8; ICV_LEN]| {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *octets;
        [u64::from_ne_bytes([a, b, c, d, e, f, g, h]), u64::from_ne_bytes([i, j, k, l, m, n, o, p])]
    };
    halves(icv).ct_eq(&halves(tag)).into()
}
