//! The packet in an EAP payload (RFC 7296 section 3.16, RFC 3748 section 4).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Code      | Identifier    |           Length              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      | Type-Data ...           only in Request and Response
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-
//! ```

use alloc::vec::Vec;
use core::fmt;

use crate::number::numbers;
use crate::reader::Reader;
use crate::{Fault, ParseError, Part, PayloadType};

numbers! {
    /// Code.
    EapCode(u8) {
        REQUEST = 1, "Request";
        RESPONSE = 2, "Response";
        SUCCESS = 3, "Success";
        FAILURE = 4, "Failure";
    }
}

numbers! {
    /// Type of a Request or Response.
    EapType(u8) {
        IDENTITY = 1, "Identity";
        NOTIFICATION = 2, "Notification";
        NAK = 3, "Nak";
        MD5_CHALLENGE = 4, "MD5-Challenge";
        GTC = 6, "GTC";
        TLS = 13, "TLS";
        MSCHAPV2 = 26, "MSCHAPv2";
        EXPANDED = 254, "Expanded";
    }
}

/// One packet, read where it lies. Of Type-Data, which may hold a password, `Debug` shows the length.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct EapPacket<'a> {
    /// Request, Response, Success or Failure.
    pub code: EapCode,
    /// Ties a Response to its Request.
    pub identifier: u8,
    /// Type and Type-Data; `None` in Success and Failure.
    pub content: Option<(EapType, &'a [u8])>,
}

impl<'a> EapPacket<'a> {
    /// Reads a whole packet.
    ///
    /// # Errors
    /// [`ParseError`] where a Request or Response has no type, a Success or Failure anything behind its length, the code is another, or the
    /// length is not that of the octets.
    pub fn parse(octets: &'a [u8]) -> Result<Self, ParseError> {
        let part = Part::Payload(PayloadType::EAP);
        let wrong = |field, value: usize| ParseError::Malformed { part, fault: Fault::Value { field, value: value as u64 } };
        let mut reader = Reader::new(part, octets);
        let (code, identifier, length) = (EapCode(reader.u8()?), reader.u8()?, reader.u16()?);
        if usize::from(length) != octets.len() {
            return Err(wrong("an EAP length of", length.into()));
        }
        let content = match code {
            EapCode::REQUEST | EapCode::RESPONSE => Some((EapType(reader.u8()?), reader.rest())),
            EapCode::SUCCESS | EapCode::FAILURE if reader.rest().is_empty() => None,
            EapCode::SUCCESS | EapCode::FAILURE => return Err(wrong("an EAP length of", length.into())),
            EapCode(other) => return Err(wrong("an EAP code of", other.into())),
        };
        Ok(Self { code, identifier, content })
    }

    /// A Request or Response; `None` where no length can say how long it is.
    pub fn emit(code: EapCode, identifier: u8, kind: EapType, data: &[u8]) -> Option<Vec<u8>> {
        let length = u16::try_from(data.len().checked_add(5)?).ok()?;
        let mut octets = Vec::with_capacity(length.into());
        octets.extend([code.0, identifier]);
        octets.extend(length.to_be_bytes());
        octets.push(kind.0);
        octets.extend(data);
        Some(octets)
    }

    /// A Success or Failure.
    pub fn verdict(code: EapCode, identifier: u8) -> Vec<u8> {
        alloc::vec![code.0, identifier, 0, 4]
    }
}

impl fmt::Debug for EapPacket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.content.map(|(kind, data)| (kind, data.len()));
        f.debug_struct("EapPacket").field("code", &self.code).field("identifier", &self.identifier).field("content", &kind).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let octets = EapPacket::emit(EapCode::REQUEST, 7, EapType::IDENTITY, b"who?").unwrap();
        assert_eq!(octets, b"\x01\x07\x00\x09\x01who?");
        let read = EapPacket::parse(&octets).ok().unwrap();
        assert_eq!((read.code, read.identifier), (EapCode::REQUEST, 7));
        assert!(read.content == Some((EapType::IDENTITY, b"who?")));
        let success = EapPacket::verdict(EapCode::SUCCESS, 9);
        assert!(EapPacket::parse(&success).ok().unwrap().content.is_none());
        assert!(EapPacket::emit(EapCode::REQUEST, 1, EapType::TLS, &alloc::vec![0; 65_531]).is_none());
        assert!(EapPacket::emit(EapCode::REQUEST, 1, EapType::TLS, &alloc::vec![0; 65_530]).is_some());
    }

    #[test]
    fn every_length_but_the_right_one_is_refused() {
        for octets in [
            &b""[..],
            b"\x01\x07\x00",
            b"\x01\x07\x00\x04",     // no type
            b"\x01\x07\x00\x06\x01", // longer than it is
            b"\x01\x07\x00\x04\x01", // shorter
            b"\x03\x07\x00\x05\x00", // Success with something
            b"\x05\x07\x00\x05\x01", // no such code
        ] {
            assert!(EapPacket::parse(octets).is_err(), "{octets:?}");
        }
    }
}
