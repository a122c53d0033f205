//! Messages: a header and a chain of payloads (RFC 7296 sections 3.1 and 3.2).

use alloc::vec::Vec;

use crate::header::Framing;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Encrypted, Fault, Fragment, Header, ParseError, Part, Payload, PayloadType, Unknown, limits};

/// A message as it travels. Where it has an Encrypted payload, that is the last one and still sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The IKE header.
    pub header: Header,
    /// The payloads in their order.
    pub payloads: Vec<Payload>,
}

/// Payloads written one after the other: the cleartext of an Encrypted payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Type of the first payload, which the Next Payload field before the chain names; [`PayloadType::NONE`] where there is none.
    pub first: PayloadType,
    /// The payloads with their generic headers.
    pub octets: Vec<u8>,
}

impl Message {
    /// Reads a datagram: one IKE message without the non-ESP marker of port 4500.
    ///
    /// # Errors
    /// [`ParseError`]; its first cause wins, and nothing of the message is returned.
    pub fn parse(datagram: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(Part::Header, datagram);
        let Framing { header, next, length } = Header::parse(&mut reader)?;
        if header.version.major != 2 {
            return Err(ParseError::MajorVersion(header.version.major));
        }
        if length != datagram.len() {
            return Err(reader.fault(Fault::Length { said: length, actual: datagram.len() }));
        }
        Ok(Self { header, payloads: parse_chain(next, reader.rest(), Place::Outer)? })
    }

    /// Writes the message.
    ///
    /// # Errors
    /// [`EmitError`] for a message that no octets can say.
    pub fn emit(&self) -> Result<Vec<u8>, EmitError> {
        let mut body = Writer::new();
        let first = emit_chain(&self.payloads, Place::Outer, &mut body)?;
        let body = body.finish();
        let mut writer = Writer::new();
        self.header.emit(first, Header::LEN.saturating_add(body.len()), &mut writer)?;
        writer.slice(&body);
        Ok(writer.finish())
    }

    /// The Encrypted payload, if the message has one.
    pub fn encrypted(&self) -> Option<&Encrypted> {
        match self.payloads.last() {
            Some(Payload::Encrypted(encrypted)) => Some(encrypted),
            _ => None,
        }
    }

    /// The fragment of an Encrypted payload, if the message is one.
    pub fn fragment(&self) -> Option<&Fragment> {
        match self.payloads.last() {
            Some(Payload::Fragment(fragment)) => Some(fragment),
            _ => None,
        }
    }
}

/// Reads the payloads an Encrypted payload held, once opened: `first` is [`Encrypted::first`], `octets` the cleartext without padding.
///
/// # Errors
/// [`ParseError`], also for an Encrypted payload inside (RFC 7296 section 3.1).
pub fn parse_payloads(first: PayloadType, octets: &[u8]) -> Result<Vec<Payload>, ParseError> {
    parse_chain(first, octets, Place::Inner)
}

/// Writes the payloads that an Encrypted payload is to hold.
///
/// # Errors
/// [`EmitError`] for payloads that no octets can say, and for an Encrypted payload among them.
pub fn emit_payloads(payloads: &[Payload]) -> Result<Chain, EmitError> {
    let mut writer = Writer::new();
    let first = emit_chain(payloads, Place::Inner, &mut writer)?;
    Ok(Chain { first, octets: writer.finish() })
}

/// The first payload that is not understood but marked critical: the message must be refused with UNSUPPORTED_CRITICAL_PAYLOAD, whose
/// data is this type in one octet (RFC 7296 section 2.5).
pub fn unsupported_critical(payloads: &[Payload]) -> Option<PayloadType> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Unknown(Unknown { payload_type, critical: true, .. }) => Some(*payload_type),
        _ => None,
    })
}

/// Where a chain stands; an Encrypted payload may end the outer one only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Outer,
    Inner,
}

fn parse_chain(first: PayloadType, octets: &[u8], place: Place) -> Result<Vec<Payload>, ParseError> {
    let mut reader = Reader::new(Part::Payload(PayloadType::NONE), octets);
    let mut payloads = Vec::new();
    let mut next = first;
    while next != PayloadType::NONE {
        if payloads.len() == limits::PAYLOADS {
            return Err(reader.fault(Fault::TooMany(limits::PAYLOADS)));
        }
        let payload_type = next;
        let framed = reader.framed(Part::Payload(payload_type))?;
        let [following, flags] = framed.lead;
        next = PayloadType(following);
        if ends_the_chain(payload_type) {
            // Next Payload names the first payload inside, not one behind: nothing stands behind.
            if place == Place::Inner || !reader.is_empty() {
                return Err(framed.body.fault(Fault::NotLast));
            }
            next = PayloadType::NONE;
        }
        payloads.push(match payload_type {
            PayloadType::SKF => Payload::Fragment(Fragment::parse(PayloadType(following), framed.body)?),
            PayloadType::SK => Payload::Encrypted(Encrypted { first: PayloadType(following), body: framed.body.rest().to_vec() }),
            other => Payload::parse(other, flags, framed.body)?,
        });
    }
    reader.finish()?;
    Ok(payloads)
}

/// Whether nothing stands behind a payload of this type. A fragment (RFC 7383) ends the chain like the Encrypted payload it is a part of.
const fn ends_the_chain(payload_type: PayloadType) -> bool {
    matches!(payload_type, PayloadType::SK | PayloadType::SKF)
}

fn emit_chain(payloads: &[Payload], place: Place, writer: &mut Writer) -> Result<PayloadType, EmitError> {
    for (i, payload) in payloads.iter().enumerate() {
        let following = payloads.get(i.saturating_add(1)).map(Payload::payload_type);
        let next = match payload {
            _ if !ends_the_chain(payload.payload_type()) => following.unwrap_or(PayloadType::NONE),
            _ if place == Place::Inner || following.is_some() => return Err(EmitError::EncryptedNotLast),
            Payload::Encrypted(encrypted) => encrypted.first,
            Payload::Fragment(fragment) => fragment.first,
            _ => PayloadType::NONE,
        };
        payload.emit(next, writer)?;
    }
    Ok(payloads.first().map_or(PayloadType::NONE, Payload::payload_type))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{ExchangeType, Flags, Notify, NotifyType, Version};

    fn message(payloads: Vec<Payload>) -> Message {
        let flags = Flags { initiator: true, ..Flags::default() };
        let exchange = ExchangeType::INFORMATIONAL;
        Message { header: Header { initiator_spi: 1, responder_spi: 2, version: Version::V2, exchange, flags, message_id: 3 }, payloads }
    }

    fn vendor_id() -> Payload {
        Payload::VendorId(vec![0xab; 3])
    }

    fn sealed() -> Payload {
        Payload::Encrypted(Encrypted { first: PayloadType::NOTIFY, body: vec![9; 24] })
    }

    fn unknown(payload_type: u8, critical: bool) -> Payload {
        Payload::Unknown(Unknown { payload_type: PayloadType(payload_type), critical, body: vec![1] })
    }

    #[test]
    fn other_versions_are_told_apart_from_nonsense() {
        let mut octets = message(vec![]).emit().unwrap();
        for (version, expected) in [(0x10, Err(ParseError::MajorVersion(1))), (0x30, Err(ParseError::MajorVersion(3))), (0x2f, Ok(()))] {
            octets[17] = version;
            assert_eq!(Message::parse(&octets).map(drop), expected, "{version:02x}");
        }
        assert_eq!(Header::peek(&octets).map(|header| header.version.minor), Ok(15));
    }

    #[test]
    fn the_length_field_measures_the_datagram() {
        let parsed = |said: u8, surplus: usize| {
            let mut octets = message(vec![vendor_id()]).emit().unwrap();
            octets[27] = said;
            octets.extend(vec![0; surplus]);
            Message::parse(&octets).map(drop)
        };
        let refused = |said, actual| Err(ParseError::Malformed { part: Part::Header, fault: Fault::Length { said, actual } });
        assert_eq!(parsed(35, 0), Ok(()));
        assert_eq!(parsed(35, 1), refused(35, 36));
        assert_eq!(parsed(36, 0), refused(36, 35));
    }

    #[test]
    fn the_encrypted_payload_stands_last_and_outermost() {
        assert_eq!(message(vec![sealed(), vendor_id()]).emit(), Err(EmitError::EncryptedNotLast));
        assert_eq!(emit_payloads(&[sealed()]), Err(EmitError::EncryptedNotLast));

        let mut octets = message(vec![vendor_id(), sealed()]).emit().unwrap();
        assert_eq!(Message::parse(&octets).map(|m| m.encrypted().is_some()), Ok(true));
        octets.push(0);
        octets[27] += 1;
        let not_last = ParseError::Malformed { part: Part::Payload(PayloadType::SK), fault: Fault::NotLast };
        assert_eq!(Message::parse(&octets), Err(not_last));
        assert_eq!(parse_payloads(PayloadType::SK, &[0, 0, 0, 4]), Err(not_last));
    }

    #[test]
    fn associated_data_end_where_the_initialization_vector_begins() {
        let octets = message(vec![vendor_id(), sealed()]).emit().unwrap();
        let Some(Payload::Encrypted(encrypted)) = Message::parse(&octets).unwrap().payloads.pop() else { panic!("sealed") };
        assert_eq!(encrypted.associated_data(&octets), &octets[..28 + 7 + 4]);
        assert_eq!(encrypted.associated_data(&[]), &[0; 0], "another datagram is no reason to panic");
    }

    #[test]
    fn critical_counts_only_where_the_type_is_unknown() {
        let notify = Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, vec![]));
        let Chain { first, mut octets } = emit_payloads(&[notify, unknown(99, false), unknown(200, true)]).unwrap();
        octets[1] |= 0xff;
        let payloads = parse_payloads(first, &octets).unwrap();
        assert_eq!(unsupported_critical(&payloads), Some(PayloadType(200)));
        assert_eq!(unsupported_critical(&payloads[..2]), None);
    }

    #[test]
    fn the_chain_is_bounded_at_exactly_the_limit() {
        let chain = |count| emit_payloads(&vec![vendor_id(); count]).unwrap();
        let Chain { first, octets } = chain(limits::PAYLOADS);
        assert_eq!(parse_payloads(first, &octets).map(|payloads| payloads.len()), Ok(limits::PAYLOADS));
        let Chain { first, octets } = chain(limits::PAYLOADS + 1);
        let fault = Fault::TooMany(limits::PAYLOADS);
        assert_eq!(parse_payloads(first, &octets), Err(ParseError::Malformed { part: Part::Payload(PayloadType::NONE), fault }));
    }

    #[test]
    fn an_empty_chain_is_empty() {
        assert_eq!(emit_payloads(&[]), Ok(Chain { first: PayloadType::NONE, octets: vec![] }));
        assert_eq!(parse_payloads(PayloadType::NONE, &[]), Ok(vec![]));
        assert!(parse_payloads(PayloadType::NONE, &[0]).is_err());
    }

    #[test]
    fn errors_say_where_what_and_which_section() {
        let error = parse_payloads(PayloadType::NONCE, &[0, 0, 0, 8, 1, 2, 3, 4]).unwrap_err();
        let text = "payload Nonce has a nonce length of 4, which is not allowed here (RFC 7296 section 3.9)";
        assert_eq!(alloc::format!("{error}"), text);
        let error = parse_payloads(PayloadType::SA, &[0, 0, 0, 9, 0, 0, 0, 8, 1]).unwrap_err();
        let text = "a proposal needs 4 more octets where 1 are left (RFC 7296 section 3.3.1)";
        assert_eq!(alloc::format!("{error}"), text);
    }
}
