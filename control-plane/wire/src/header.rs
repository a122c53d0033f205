//! The IKE header (RFC 7296 section 3.1).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Initiator's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       IKE SA Responder's SPI                  |
//! |                                                               |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Next Payload | MjVer | MnVer | Exchange Type |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                          Message ID                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                            Length                             |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use ipsec_types::IkeSpi;

use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, ParseError, Part, PayloadType};

/// What an IKE header says, but for Next Payload and Length: those follow from what stands behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// SPI of the initiator of the IKE SA.
    pub initiator_spi: u64,
    /// SPI of the responder; zero until it has chosen one.
    pub responder_spi: u64,
    /// Protocol version.
    pub version: Version,
    /// Exchange Type.
    pub exchange: ExchangeType,
    /// Flags.
    pub flags: Flags,
    /// Message ID.
    pub message_id: u32,
}

/// Major and minor version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// 2 for IKEv2, 1 for IKEv1.
    pub major: u8,
    /// Sent as 0, ignored on receipt.
    pub minor: u8,
}

numbers! {
    /// Exchange Type.
    ExchangeType(u8) {
        IKE_SA_INIT = 34, "IKE_SA_INIT";
        IKE_AUTH = 35, "IKE_AUTH";
        CREATE_CHILD_SA = 36, "CREATE_CHILD_SA";
        INFORMATIONAL = 37, "INFORMATIONAL";
        IKE_SESSION_RESUME = 38, "IKE_SESSION_RESUME";
        IKE_INTERMEDIATE = 43, "IKE_INTERMEDIATE";
        IKE_FOLLOWUP_KE = 44, "IKE_FOLLOWUP_KE";
    }
}

/// The bits of the Flags octet that mean something; the others are sent clear and ignored on receipt.
///
/// ```text
/// +-+-+-+-+-+-+-+-+
/// |X|X|R|V|I|X|X|X|
/// +-+-+-+-+-+-+-+-+
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags {
    /// I: the sender is the original initiator of the IKE SA.
    pub initiator: bool,
    /// R: the message is a response.
    pub response: bool,
    /// V: the sender speaks a higher major version. Sent clear, ignored on receipt.
    pub version: bool,
}

impl Version {
    /// IKEv1 as of RFC 2409, which is ISAKMP 1.0.
    pub const V1: Self = Self { major: 1, minor: 0 };
    /// IKEv2 as of RFC 7296.
    pub const V2: Self = Self { major: 2, minor: 0 };
}

impl Flags {
    const INITIATOR: u8 = 0x08;
    const VERSION: u8 = 0x10;
    const RESPONSE: u8 = 0x20;

    const fn from_octet(octet: u8) -> Self {
        Self { initiator: octet & Self::INITIATOR != 0, response: octet & Self::RESPONSE != 0, version: octet & Self::VERSION != 0 }
    }

    pub(crate) fn octet(self) -> u8 {
        let bit = |set, mask| if set { mask } else { 0 };
        bit(self.initiator, Self::INITIATOR) | bit(self.response, Self::RESPONSE) | bit(self.version, Self::VERSION)
    }
}

/// A header as read, with the two fields that describe what follows it.
pub(crate) struct Framing {
    pub(crate) header: Header,
    pub(crate) next: PayloadType,
    pub(crate) length: usize,
}

impl Header {
    /// Octets of the header.
    pub const LEN: usize = 28;

    /// Reads the header at the start of a datagram, of any version: what it takes to find the IKE SA or to answer
    /// INVALID_MAJOR_VERSION before the rest is looked at.
    ///
    /// # Errors
    /// [`ParseError::Malformed`] where there are fewer than 28 octets.
    pub fn peek(datagram: &[u8]) -> Result<Self, ParseError> {
        Self::parse(&mut Reader::new(Part::Header, datagram)).map(|framing| framing.header)
    }

    /// The initiator's SPI; `None` where it is zero, which no honest peer sends.
    pub const fn initiator(&self) -> Option<IkeSpi> {
        IkeSpi::new(self.initiator_spi)
    }

    /// The responder's SPI; `None` until it has chosen one.
    pub const fn responder(&self) -> Option<IkeSpi> {
        IkeSpi::new(self.responder_spi)
    }

    pub(crate) fn parse(reader: &mut Reader<'_>) -> Result<Framing, ParseError> {
        let initiator_spi = reader.u64()?;
        let responder_spi = reader.u64()?;
        let next = PayloadType(reader.u8()?);
        let version = reader.u8()?;
        let exchange = ExchangeType(reader.u8()?);
        let flags = Flags::from_octet(reader.u8()?);
        let message_id = reader.u32()?;
        let length = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        let version = Version { major: version >> 4, minor: version & 0x0f };
        Ok(Framing { header: Self { initiator_spi, responder_spi, version, exchange, flags, message_id }, next, length })
    }

    /// Writes the header of a message of `length` octets in all.
    pub(crate) fn emit(&self, next: PayloadType, length: usize, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u64(self.initiator_spi);
        writer.u64(self.responder_spi);
        writer.u8(next.0);
        writer.u8(self.version.major << 4 | self.version.minor & 0x0f);
        writer.u8(self.exchange.0);
        writer.u8(self.flags.octet());
        writer.u32(self.message_id);
        writer.u32(u32::try_from(length).map_err(|_| EmitError::Oversize(Part::Header))?);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drawing_gives_the_offsets() {
        let octets = [
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x21, 0x20, 0x22, 0x28, 0x31,
            0x32, 0x33, 0x34, 0x00, 0x00, 0x01, 0x02,
        ];
        let Framing { header, next, length } = Header::parse(&mut Reader::new(Part::Header, &octets)).ok().unwrap();
        assert_eq!((next, length), (PayloadType::SA, 0x102));
        assert_eq!((header.initiator_spi, header.responder_spi), (0x0102_0304_0506_0708, 0x1112_1314_1516_1718));
        assert_eq!((header.version, header.exchange, header.message_id), (Version::V2, ExchangeType::IKE_SA_INIT, 0x3132_3334));
        assert_eq!(header.flags, Flags { initiator: true, response: true, version: false });

        let mut writer = Writer::new();
        header.emit(next, length, &mut writer).unwrap();
        assert_eq!(writer.finish(), octets);
    }

    #[test]
    fn meaningless_flags_are_ignored_and_sent_clear() {
        assert_eq!(Flags::from_octet(0xff).octet(), 0x38);
        assert_eq!(Flags::from_octet(!0x38), Flags::default());
    }

    #[test]
    fn one_octet_less_is_no_header() {
        assert!(Header::peek(&[0; Header::LEN]).is_ok());
        assert!(Header::peek(&[0; Header::LEN - 1]).is_err());
    }
}
