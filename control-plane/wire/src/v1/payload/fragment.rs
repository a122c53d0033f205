//! The Fragment payload of the vendors' IKE fragmentation, which no RFC describes: part of an ISAKMP message, its header and encryption included.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |   RESERVED    |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |          Fragment ID          |    Number     |     Flags     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Fragment Data                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::num::NonZeroU8;

use crate::reader::Reader;
use crate::v1::Header;
use crate::writer::Writer;
use crate::{Fault, ParseError};

/// A fragment of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Which message it is of.
    pub id: u16,
    /// Which part of it, from 1.
    pub number: NonZeroU8,
    /// Whether it is the last part.
    pub last: bool,
    /// The part.
    pub data: Vec<u8>,
}

impl Fragment {
    /// Octets of a message that holds a fragment, without its data.
    pub const OVERHEAD: usize = Header::LEN + 8;
    const LAST: u8 = 1;

    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let id = body.u16()?;
        let number = body.u8()?;
        let number =
            NonZeroU8::new(number).ok_or_else(|| body.fault(Fault::Value { field: "a Fragment Number of", value: number.into() }))?;
        let last = body.u8()? & Self::LAST != 0;
        Ok(Self { id, number, last, data: body.rest().to_vec() })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u16(self.id);
        writer.u8(self.number.get());
        writer.u8(if self.last { Self::LAST } else { 0 });
        writer.slice(&self.data);
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::vec;

    use crate::v1::{Payload, PayloadType, parse_payloads};

    #[test]
    fn the_drawing_gives_the_offsets_and_numbers_begin_with_1() {
        let octets = [0, 0, 0, 10, 0x12, 0x34, 2, 0xff, 0xaa, 0xbb];
        let read = parse_payloads(PayloadType(132), &octets).unwrap();
        let [Payload::Fragment(fragment)] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((fragment.id, fragment.number.get(), fragment.last, &fragment.data), (0x1234, 2, true, &vec![0xaa, 0xbb]));
        let error = parse_payloads(PayloadType(132), &[0, 0, 0, 10, 0, 1, 0, 1, 9, 9]).unwrap_err();
        assert!(format!("{error}").contains("a Fragment Number of 0"), "{error}");
        assert!(parse_payloads(PayloadType(132), &[0, 0, 0, 7, 0, 1, 1]).is_err());
    }
}
