//! The Encrypted Fragment payload (RFC 7383 section 2.5).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |        Fragment Number        |        Total Fragments        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                     Initialization Vector                     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                      Encrypted content                        ~
//! +               +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |               |             Padding (0-255 octets)            |
//! +-+-+-+-+-+-+-+-+                               +-+-+-+-+-+-+-+-+
//! |                                               |  Pad Length   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                    Integrity Checksum Data                    ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::reader::{FRAME_LEN, Reader};
use crate::writer::Writer;
use crate::{EmitError, Header, ParseError, Part, PayloadType};

/// One part of what an Encrypted payload would hold, sealed by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Type of the first payload inside the whole, in the first fragment; [`PayloadType::NONE`] in the others.
    pub first: PayloadType,
    /// Which of them it is.
    pub number: FragmentNumber,
    /// Everything behind Total Fragments: initialization vector, ciphertext, integrity checksum data.
    pub body: Vec<u8>,
}

/// Fragment Number and Total Fragments: the number is from 1 to the total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FragmentNumber {
    number: u16,
    total: u16,
}

impl FragmentNumber {
    /// The fragment with this number of so many; `None` for a number that is zero or above the total.
    pub const fn new(number: u16, total: u16) -> Option<Self> {
        if number == 0 || number > total { None } else { Some(Self { number, total }) }
    }

    /// From 1 on.
    pub const fn number(self) -> u16 {
        self.number
    }

    /// At least 1.
    pub const fn total(self) -> u16 {
        self.total
    }
}

impl Fragment {
    /// Octets of Fragment Number and Total Fragments.
    const NUMBERS_LEN: usize = 4;
    /// Octets of a message of one fragment that are not its body.
    pub const OVERHEAD: usize = Header::LEN + FRAME_LEN + Self::NUMBERS_LEN;

    /// What of `datagram`, the message this payload was read from, stands before the body: its associated data, as
    /// [`Encrypted::associated_data`](crate::Encrypted::associated_data), with the two numbers.
    pub fn associated_data<'a>(&self, datagram: &'a [u8]) -> &'a [u8] {
        datagram.len().checked_sub(self.body.len()).and_then(|len| datagram.get(..len)).unwrap_or_default()
    }

    /// Begins a message whose only payload is a fragment, as [`Encrypted::frame`](crate::Encrypted::frame) does: the octets returned are
    /// the associated data, and what follows them is the body of `body_len` octets.
    ///
    /// # Errors
    /// [`EmitError::Oversize`] where the body does not fit a payload.
    pub fn frame(header: &Header, first: PayloadType, number: FragmentNumber, body_len: usize) -> Result<Vec<u8>, EmitError> {
        let oversize = EmitError::Oversize(Part::Payload(PayloadType::SKF));
        let payload_len = body_len.checked_add(FRAME_LEN + Self::NUMBERS_LEN).and_then(|len| u16::try_from(len).ok()).ok_or(oversize)?;
        let length = Header::LEN + usize::from(payload_len);
        let mut writer = Writer::with_capacity(length);
        header.emit(PayloadType::SKF, length, &mut writer)?;
        writer.slice(&[first.0, 0]);
        writer.u16(payload_len);
        writer.u16(number.number);
        writer.u16(number.total);
        Ok(writer.finish())
    }

    pub(crate) fn parse(first: PayloadType, mut body: Reader<'_>) -> Result<Self, ParseError> {
        let (number, total) = (body.u16()?, body.u16()?);
        let field = |field, value: u16| body.fault(crate::Fault::Value { field, value: value.into() });
        // Section 2.6: these are silently discarded.
        let number = FragmentNumber::new(number, total)
            .ok_or_else(|| if total == 0 { field("Total Fragments", total) } else { field("Fragment Number", number) })?;
        Ok(Self { first, number, body: body.rest().to_vec() })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) {
        writer.u16(self.number.number);
        writer.u16(self.number.total);
        writer.slice(&self.body);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{ExchangeType, Fault, Flags, Message, Payload, Version};

    fn header() -> Header {
        let flags = Flags { initiator: true, ..Flags::default() };
        Header { initiator_spi: 1, responder_spi: 2, version: Version::V2, exchange: ExchangeType::IKE_AUTH, flags, message_id: 1 }
    }

    #[test]
    fn a_number_is_from_one_to_the_total() {
        let read = |number: [u8; 2], total: [u8; 2]| {
            let mut octets = Fragment::frame(&header(), PayloadType::IDI, FragmentNumber::new(1, 2).unwrap(), 3).unwrap();
            octets.extend([7; 3]);
            octets[32..34].copy_from_slice(&number);
            octets[34..36].copy_from_slice(&total);
            Message::parse(&octets).map(|message| message.payloads)
        };
        let refused = |field, value| {
            let fault = Fault::Value { field, value };
            Err(ParseError::Malformed { part: Part::Payload(PayloadType::SKF), fault })
        };
        let good = |number, total| {
            let number = FragmentNumber::new(number, total).unwrap();
            Ok(vec![Payload::Fragment(Fragment { first: PayloadType::IDI, number, body: vec![7; 3] })])
        };
        assert_eq!(read([0, 1], [0, 1]), good(1, 1));
        assert_eq!(read([0xff, 0xff], [0xff, 0xff]), good(65_535, 65_535));
        assert_eq!(read([0, 0], [0, 1]), refused("Fragment Number", 0));
        assert_eq!(read([0, 0], [0, 0]), refused("Total Fragments", 0));
        assert_eq!(read([0, 3], [0, 2]), refused("Fragment Number", 3));
        assert_eq!(read([0xff, 0xff], [0, 0]), refused("Total Fragments", 0));
    }

    #[test]
    fn a_frame_is_what_emit_writes_and_its_body_is_sealed_with_the_numbers() {
        let number = FragmentNumber::new(2, 3).unwrap();
        let mut framed = Fragment::frame(&header(), PayloadType::NONE, number, 5).unwrap();
        assert_eq!(framed.len(), Fragment::OVERHEAD);
        framed.extend([9; 5]);
        let fragment = Fragment { first: PayloadType::NONE, number, body: vec![9; 5] };
        let message = Message { header: header(), payloads: vec![Payload::Fragment(fragment.clone())] };
        assert_eq!(message.emit().unwrap(), framed);
        assert_eq!(fragment.associated_data(&framed), &framed[..Fragment::OVERHEAD]);
        assert_eq!(fragment.associated_data(&[]), &[0; 0], "another datagram is no reason to panic");
        assert!(Fragment::frame(&header(), PayloadType::NONE, number, 65_528).is_err(), "one octet more than a payload holds");
    }
}
