//! Messages: a header and a chain of payloads (RFC 2408 sections 3.1 and 3.2).

use alloc::vec::Vec;

use super::header::Framing;
use super::{Header, Part, Payload, PayloadType, limits};
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError};

/// A message as it travels: what stands behind the header may be encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The ISAKMP header.
    pub header: Header,
    /// Type of the first payload.
    pub first: PayloadType,
    /// All that stands behind the header.
    pub body: &'a [u8],
}

/// Payloads written one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Type of the first payload, which the Next Payload field before the chain names; [`PayloadType::NONE`] where there is none.
    pub first: PayloadType,
    /// The payloads with their generic headers.
    pub octets: Vec<u8>,
}

impl<'a> Message<'a> {
    /// Reads a datagram: one message without the non-ESP marker of port 4500.
    ///
    /// # Errors
    /// [`ParseError`]: another major version than 1, or a length other than the datagram's.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(crate::Part::V1(Part::Header), datagram);
        let Framing { header, next, length } = Header::parse(&mut reader)?;
        if length != datagram.len() {
            return Err(reader.fault(Fault::Length { said: length, actual: datagram.len() }));
        }
        Ok(Self { header, first: next, body: reader.rest() })
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EmitError`] where it is too long.
    pub fn emit(&self) -> Result<Vec<u8>, EmitError> {
        let length = Header::LEN.saturating_add(self.body.len());
        let mut writer = Writer::with_capacity(length);
        self.header.emit(self.first, length, &mut writer)?;
        writer.slice(self.body);
        Ok(writer.finish())
    }
}

/// Reads payloads that nothing follows: those of a message in the clear.
///
/// # Errors
/// [`ParseError`]; its first cause wins, and nothing is returned.
pub fn parse_payloads(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, ParseError> {
    let (payloads, rest) = parse_chain(first, octets)?;
    rest.finish()?;
    Ok(payloads)
}

/// Reads payloads that padding may follow, whatever it holds: those of a message that was encrypted (RFC 2409 appendix B). Gives back how many octets they
/// have: a hash covers no padding.
///
/// # Errors
/// [`ParseError`].
pub fn parse_padded(first: PayloadType, octets: &[u8]) -> Result<(Vec<Payload>, usize), ParseError> {
    let (payloads, rest) = parse_chain(first, octets)?;
    Ok((payloads, octets.len().saturating_sub(rest.rest().len())))
}

/// Writes payloads one after the other.
///
/// # Errors
/// [`EmitError`] for payloads that no octets can say.
pub fn emit_payloads(payloads: &[Payload]) -> Result<Chain, EmitError> {
    let mut writer = Writer::new();
    for (i, payload) in payloads.iter().enumerate() {
        let following = payloads.get(i.saturating_add(1)).map_or(PayloadType::NONE, Payload::payload_type);
        payload.emit(following, &mut writer)?;
    }
    Ok(Chain { first: payloads.first().map_or(PayloadType::NONE, Payload::payload_type), octets: writer.finish() })
}

fn parse_chain(first: PayloadType, octets: &[u8]) -> Result<(Vec<Payload>, Reader<'_>), ParseError> {
    let mut reader = Reader::new(crate::Part::V1(Part::Payload(PayloadType::NONE)), octets);
    let mut payloads = Vec::new();
    let mut next = first;
    while next != PayloadType::NONE {
        if payloads.len() == limits::PAYLOADS {
            return Err(reader.fault(Fault::TooMany(limits::PAYLOADS)));
        }
        let framed = reader.framed(crate::Part::V1(Part::Payload(next)))?;
        payloads.push(Payload::parse(next, framed.body)?);
        next = PayloadType(framed.lead[0]);
    }
    Ok((payloads, reader))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::v1::{ExchangeType, Flags};

    fn datagram(payloads: &[Payload]) -> Vec<u8> {
        let Chain { first, octets } = emit_payloads(payloads).unwrap();
        let header = Header::new(1, 2, ExchangeType::MAIN_MODE, Flags::default(), 0);
        Message { header, first, body: &octets }.emit().unwrap()
    }

    fn vendor_id() -> Payload {
        Payload::VendorId(vec![0xab; 3])
    }

    #[test]
    fn the_drawing_gives_the_offsets() {
        let octets = [
            0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x05, 0x10, 0x20, 0x03, 0x31,
            0x32, 0x33, 0x34, 0x00, 0x00, 0x00, 0x20, 9, 9, 9, 9,
        ];
        let message = Message::parse(&octets).unwrap();
        let Header { initiator_cookie, responder_cookie, minor, exchange, flags, message_id } = message.header;
        assert_eq!((initiator_cookie, responder_cookie), (0x0102_0304_0506_0708, 0x1112_1314_1516_1718));
        assert_eq!((minor, exchange, message_id), (0, ExchangeType::QUICK_MODE, 0x3132_3334));
        assert_eq!(flags, Flags { encryption: true, commit: true, authentication_only: false });
        assert_eq!((message.first, message.body), (PayloadType::ID, &[9; 4][..]));
        assert_eq!(message.emit().unwrap(), octets);
    }

    #[test]
    fn other_versions_and_lengths_are_refused() {
        let whole = datagram(&[vendor_id()]);
        for version in [0x00, 0x20, 0xf1] {
            let mut octets = whole.clone();
            octets[17] = version;
            assert_eq!(Message::parse(&octets), Err(ParseError::MajorVersion(version >> 4)));
        }
        let mut minor = whole.clone();
        minor[17] = 0x13;
        assert_eq!(Message::parse(&minor).map(|message| message.header.minor), Ok(3));
        assert!(Message::parse(&whole[..whole.len() - 1]).is_err());
        assert!(Message::parse(&[&whole[..], &[0]].concat()).is_err());
    }

    #[test]
    fn padding_may_follow_what_was_encrypted_and_nothing_else() {
        let Chain { first, mut octets } = emit_payloads(&[vendor_id()]).unwrap();
        let length = octets.len();
        octets.extend([0xff; 5]);
        assert_eq!(parse_padded(first, &octets), Ok((vec![vendor_id()], length)));
        let error = parse_payloads(first, &octets).unwrap_err();
        let text = "the chain of payloads is followed by 5 octets that belong to nothing (RFC 2408 section 3.2)";
        assert_eq!(alloc::format!("{error}"), text);
    }

    #[test]
    fn the_chain_is_bounded_at_exactly_the_limit() {
        let chain = |count| emit_payloads(&vec![vendor_id(); count]).unwrap();
        let Chain { first, octets } = chain(limits::PAYLOADS);
        assert_eq!(parse_payloads(first, &octets).map(|payloads| payloads.len()), Ok(limits::PAYLOADS));
        let Chain { first, octets } = chain(limits::PAYLOADS + 1);
        assert!(parse_payloads(first, &octets).is_err());
    }

    #[test]
    fn meaningless_flags_are_ignored_and_sent_clear() {
        let mut octets = datagram(&[]);
        octets[19] = 0xff;
        let header = Message::parse(&octets).unwrap().header;
        assert_eq!(header.flags, Flags { encryption: true, commit: true, authentication_only: true });
        assert_eq!(Message { header, first: PayloadType::NONE, body: &[] }.emit().unwrap()[19], 7);
    }
}
