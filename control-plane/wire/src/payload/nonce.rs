//! The Nonce payload (RFC 7296 section 3.9): the generic header and 16 to 256 octets.

use alloc::vec::Vec;

use crate::reader::Reader;
use crate::{Fault, ParseError, Part, PayloadType};

/// A nonce of legal length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nonce(Vec<u8>);

impl Nonce {
    /// The shortest nonce.
    pub const MIN_LEN: usize = 16;
    /// The longest nonce.
    pub const MAX_LEN: usize = 256;

    /// Checks the length.
    ///
    /// # Errors
    /// [`ParseError::Malformed`] outside 16 to 256 octets.
    pub fn new(octets: Vec<u8>) -> Result<Self, ParseError> {
        if (Self::MIN_LEN..=Self::MAX_LEN).contains(&octets.len()) {
            return Ok(Self(octets));
        }
        let fault = Fault::Value { field: "a nonce length of", value: octets.len() as u64 };
        Err(ParseError::Malformed { part: Part::Payload(PayloadType::NONCE), fault })
    }

    /// The nonce.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn parse(body: Reader<'_>) -> Result<Self, ParseError> {
        Self::new(body.rest().to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixteen_to_two_hundred_and_fifty_six_octets() {
        for (len, legal) in [(15, false), (16, true), (256, true), (257, false)] {
            assert_eq!(Nonce::new(alloc::vec![0; len]).is_ok(), legal, "{len}");
        }
    }
}
