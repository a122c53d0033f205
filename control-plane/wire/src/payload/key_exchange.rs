//! The Key Exchange payload (RFC 7296 section 3.4).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   Diffie-Hellman Group Num    |           RESERVED            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                       Key Exchange Data                       ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use ipsec_types::KeyExchangeMethod;

use crate::ParseError;
use crate::reader::Reader;
use crate::writer::Writer;

/// A public value of a key exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyExchange {
    /// Transform ID of the method, known or not (Diffie-Hellman Group Num).
    pub method_id: u16,
    /// Key Exchange Data; its form is the method's.
    pub data: Vec<u8>,
}

impl KeyExchange {
    /// The public value `data` of `method`.
    pub const fn new(method: KeyExchangeMethod, data: Vec<u8>) -> Self {
        Self { method_id: method.id(), data }
    }

    /// The method, where Culvert knows it.
    pub fn method(&self) -> Option<KeyExchangeMethod> {
        KeyExchangeMethod::from_id(self.method_id, None)
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let method_id = body.u16()?;
        let _reserved = body.u16()?;
        Ok(Self { method_id, data: body.rest().to_vec() })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) {
        writer.u16(self.method_id);
        writer.u16(0);
        writer.slice(&self.data);
    }
}
