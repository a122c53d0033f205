//! The Identification payloads (RFC 7296 section 3.5).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   ID Type     |                 RESERVED                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                   Identification Data                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use ipsec_types::{Identity, IdentityError};

use crate::ParseError;
use crate::reader::Reader;

/// Whom one side claims to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// ID Type, known or not.
    pub id_type: u8,
    /// Sent as zero and without meaning, but signed: AUTH covers the octets as they were sent (section 2.15).
    reserved: [u8; 3],
    /// Identification Data.
    pub data: Vec<u8>,
}

impl Identification {
    /// `data` of any type, as [`Identity`] does not know it.
    pub const fn new(id_type: u8, data: Vec<u8>) -> Self {
        Self { id_type, reserved: [0; 3], data }
    }

    /// The identity, where its type and data are legal.
    ///
    /// # Errors
    /// [`IdentityError`] for a type Culvert does not know or data that do not fit it.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::from_wire(self.id_type, &self.data)
    }

    /// Everything behind the generic header, as sent: RestOfInitIDPayload and RestOfRespIDPayload of section 2.15.
    pub fn octets(&self) -> Vec<u8> {
        [&[self.id_type][..], &self.reserved, &self.data].concat()
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let id_type = body.u8()?;
        let reserved = body.array()?;
        Ok(Self { id_type, reserved, data: body.rest().to_vec() })
    }
}

impl From<&Identity> for Identification {
    fn from(identity: &Identity) -> Self {
        Self::new(identity.id_type(), identity.data())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Part, PayloadType};

    #[test]
    fn reserved_octets_are_ignored_but_signed_as_sent() {
        let sent = [1, 0xde, 0xad, 0xbe, 10, 0, 0, 1];
        let id = Identification::parse(Reader::new(Part::Payload(PayloadType::IDI), &sent)).unwrap();
        assert_eq!(id.identity(), "10.0.0.1".parse());
        assert_eq!(id.octets(), sent);
        assert_eq!(Identification::from(&id.identity().unwrap()).octets(), [1, 0, 0, 0, 10, 0, 0, 1]);
    }

    #[test]
    fn an_identity_nobody_understands_is_still_read() {
        let id = Identification::new(201, vec![1, 2]);
        assert!(id.identity().is_err());
        assert_eq!(id.octets(), [201, 0, 0, 0, 1, 2]);
    }
}
