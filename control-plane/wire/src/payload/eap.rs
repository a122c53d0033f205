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
use core::ops::Deref;

use zeroize::Zeroizing;

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

/// A packet in memory of its own. It may hold a password: `Debug` shows how long it is, and it is zeroed when it is dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EapMessage(Zeroizing<Vec<u8>>);

impl From<Vec<u8>> for EapMessage {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets.into())
    }
}

impl Deref for EapMessage {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for EapMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EapMessage({} octets)", self.len())
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

/// Type-Data of EAP-TLS (RFC 5216 section 3.1): flags, the length of the whole TLS message where there is one, and TLS data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EapTlsData<'a> {
    /// What else is there, and what follows.
    pub flags: EapTlsFlags,
    /// Octets of the whole TLS message.
    pub total: Option<u32>,
    /// TLS records, or a part of them.
    pub data: &'a [u8],
}

/// Flags of EAP-TLS. The other five bits are reserved, and not looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EapTlsFlags {
    /// L: the length is there.
    pub length: bool,
    /// M: more fragments follow.
    pub more: bool,
    /// S: the server asks the peer to begin.
    pub start: bool,
}

impl<'a> EapTlsData<'a> {
    /// The flags of the server's first Request, which is nothing else.
    pub const START: u8 = 0x20;
    const LENGTH: u8 = 0x80;
    const MORE: u8 = 0x40;

    /// Reads Type-Data; `None` where flags are missing, or the length that they announce.
    pub fn parse(octets: &'a [u8]) -> Option<Self> {
        let (&flags, rest) = octets.split_first()?;
        let flags = EapTlsFlags { length: flags & Self::LENGTH != 0, more: flags & Self::MORE != 0, start: flags & Self::START != 0 };
        let (total, data) = match rest.split_first_chunk() {
            Some((total, data)) if flags.length => (Some(u32::from_be_bytes(*total)), data),
            None if flags.length => return None,
            _ => (None, rest),
        };
        Some(Self { flags, total, data })
    }

    /// Type-Data that is not the start.
    pub fn emit(total: Option<u32>, more: bool, data: &[u8]) -> Vec<u8> {
        let mut octets = Vec::with_capacity(data.len().saturating_add(5));
        octets.push(if total.is_some() { Self::LENGTH } else { 0 } | if more { Self::MORE } else { 0 });
        octets.extend(total.into_iter().flat_map(u32::to_be_bytes));
        octets.extend(data);
        octets
    }
}

impl fmt::Display for EapTlsFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [(self.length, "length included"), (self.more, "more fragments"), (self.start, "start")];
        let mut separator = "";
        for (_, name) in set.iter().filter(|(set, _)| *set) {
            write!(f, "{separator}{name}")?;
            separator = ", ";
        }
        if separator.is_empty() { f.write_str("-") } else { Ok(()) }
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
    fn eap_tls_has_flags_and_a_length_where_they_say_so() {
        let read = |octets| EapTlsData::parse(octets).map(|tls| (alloc::format!("{}", tls.flags), tls.total, tls.data));
        assert_eq!(read(b"\xc0\x00\x00\x10\x00data"), Some(("length included, more fragments".into(), Some(4096), &b"data"[..])));
        assert_eq!(read(b"\x20"), Some(("start".into(), None, &b""[..])));
        assert_eq!(read(b"\x1fdata"), Some(("-".into(), None, &b"data"[..])), "reserved bits");
        assert_eq!((read(b""), read(b"\x80\x00\x00\x10")), (None, None));
        assert_eq!(EapTlsData::emit(Some(4096), true, b"data"), b"\xc0\x00\x00\x10\x00data");
        assert_eq!(EapTlsData::emit(None, false, b""), b"\x00");
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
