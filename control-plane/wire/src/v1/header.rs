//! The ISAKMP header (RFC 2408 section 3.1).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Initiator                            |
//! |                            Cookie                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Responder                            |
//! |                            Cookie                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Message ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Length                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use ipsec_types::IkeSpi;

use super::{Part, PayloadType};
use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, ParseError, Version};

/// What an ISAKMP header says, but for Next Payload and Length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Cookie of the initiator of phase 1.
    pub initiator_cookie: u64,
    /// Cookie of the responder; zero until it has chosen one.
    pub responder_cookie: u64,
    /// Minor version; sent as 0.
    pub minor: u8,
    /// Exchange Type.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Message ID: zero in phase 1, of an initiator's choice in every other exchange.
    pub message_id: u32,
}

numbers! {
    /// Exchange Type, in the words of RFC 2409 where it has some.
    ExchangeType(u8) {
        BASE = 1, "Base";
        MAIN_MODE = 2, "Main Mode";
        AUTHENTICATION_ONLY = 3, "Authentication Only";
        AGGRESSIVE_MODE = 4, "Aggressive Mode";
        INFORMATIONAL = 5, "Informational";
        TRANSACTION = 6, "Transaction";
        QUICK_MODE = 32, "Quick Mode";
        NEW_GROUP_MODE = 33, "New Group Mode";
    }
}

/// The bits of the Flags octet; the others are sent clear and ignored on receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// E: the payloads are encrypted.
    pub encryption: bool,
    /// C: the sender wants to see the SA set up before it is used.
    pub commit: bool,
    /// A: an Informational exchange that is authenticated and not encrypted.
    pub authentication_only: bool,
}

impl Flags {
    const ENCRYPTION: u8 = 1;
    const COMMIT: u8 = 2;
    const AUTHENTICATION_ONLY: u8 = 4;

    const fn from_octet(octet: u8) -> Self {
        Self {
            encryption: octet & Self::ENCRYPTION != 0,
            commit: octet & Self::COMMIT != 0,
            authentication_only: octet & Self::AUTHENTICATION_ONLY != 0,
        }
    }

    pub(crate) fn octet(self) -> u8 {
        let bit = |set, mask| if set { mask } else { 0 };
        bit(self.encryption, Self::ENCRYPTION) | bit(self.commit, Self::COMMIT) | bit(self.authentication_only, Self::AUTHENTICATION_ONLY)
    }
}

/// A header as read, with the two fields that describe what follows it.
pub(super) struct Framing {
    pub(super) header: Header,
    pub(super) next: PayloadType,
    pub(super) length: usize,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 28;

    /// A header of version 1.0.
    pub const fn new(initiator_cookie: u64, responder_cookie: u64, exchange: ExchangeType, flags: Flags, message_id: u32) -> Self {
        Self { initiator_cookie, responder_cookie, minor: 0, exchange, flags, message_id }
    }

    /// The initiator's cookie; `None` where it is zero, which no honest peer sends.
    pub const fn initiator(&self) -> Option<IkeSpi> {
        IkeSpi::new(self.initiator_cookie)
    }

    /// The responder's cookie; `None` until it has chosen one.
    pub const fn responder(&self) -> Option<IkeSpi> {
        IkeSpi::new(self.responder_cookie)
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Framing, ParseError> {
        let initiator_cookie = reader.u64()?;
        let responder_cookie = reader.u64()?;
        let next = PayloadType(reader.u8()?);
        let version = reader.u8()?;
        if version >> 4 != Version::V1.major {
            return Err(ParseError::MajorVersion(version >> 4));
        }
        let exchange = ExchangeType(reader.u8()?);
        let flags = Flags::from_octet(reader.u8()?);
        let message_id = reader.u32()?;
        let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let minor = version & 0x0f;
        Ok(Framing { header: Self { initiator_cookie, responder_cookie, minor, exchange, flags, message_id }, next, length })
    }

    /// Writes the header of a message of `length` octets in all.
    pub(super) fn emit(&self, next: PayloadType, length: usize, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u64(self.initiator_cookie);
        writer.u64(self.responder_cookie);
        writer.u8(next.0);
        writer.u8(Version::V1.major << 4 | self.minor & 0x0f);
        writer.u8(self.exchange.0);
        writer.u8(self.flags.octet());
        writer.u32(self.message_id);
        writer.u32(u32::try_from(length).map_err(|_| EmitError::Oversize(crate::Part::V1(Part::Header)))?);
        Ok(())
    }
}
