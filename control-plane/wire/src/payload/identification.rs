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
        Self { id_type: identity.id_type(), reserved: [0; 3], data: identity.data() }
    }
}
