//! From a tag to an ICV and back.

use subtle::ConstantTimeEq;

use crate::ICV_LEN;

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
