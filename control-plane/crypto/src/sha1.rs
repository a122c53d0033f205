//! SHA-1 for the hashes of NAT detection (RFC 7296 section 2.23), which protect nothing.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};

/// SHA-1 over the parts, one after the other.
pub(crate) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut context = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    parts.iter().for_each(|part| context.update(part));
    let mut output = [0; 20];
    output.copy_from_slice(context.finish().as_ref());
    output
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_one_message() {
        // FIPS 180-2 appendix A.1.
        let abc = [0xa9, 0x99, 0x3e, 0x36, 0x47, 0x06, 0x81, 0x6a, 0xba, 0x3e, 0x25, 0x71, 0x78, 0x50, 0xc2, 0x6c, 0x9c, 0xd0, 0xd8, 0x9d];
        assert_eq!(sha1(&[b"abc"]), abc);
        assert_eq!(sha1(&[b"a", b"", b"bc"]), abc);
    }
}
