//! Messages: a header and a chain of payloads (RFC 7296 sections 3.1 and 3.2).

use alloc::vec::Vec;

use crate::header::Framing;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Encrypted, Fault, Header, ParseError, Part, Payload, PayloadType, Unknown, limits};

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
        self.header.emit(first, Header::LEN + body.len(), &mut writer)?;
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
            PayloadType::SK => Payload::Encrypted(Encrypted { first: PayloadType(following), body: framed.body.rest().to_vec() }),
            other => Payload::parse(other, flags, framed.body)?,
        });
    }
    reader.finish()?;
    Ok(payloads)
}

/// Whether nothing stands behind a payload of this type. A fragment (RFC 7383) ends the chain like the Encrypted payload it is a part of;
/// it is carried as [`Unknown`].
const fn ends_the_chain(payload_type: PayloadType) -> bool {
    matches!(payload_type, PayloadType::SK | PayloadType::SKF)
}

fn emit_chain(payloads: &[Payload], place: Place, writer: &mut Writer) -> Result<PayloadType, EmitError> {
    for (i, payload) in payloads.iter().enumerate() {
        let following = payloads.get(i + 1).map(Payload::payload_type);
        let next = match payload {
            _ if !ends_the_chain(payload.payload_type()) => following.unwrap_or(PayloadType::NONE),
            _ if place == Place::Inner || following.is_some() => return Err(EmitError::EncryptedNotLast),
            Payload::Encrypted(encrypted) => encrypted.first,
            _ => PayloadType::NONE,
        };
        payload.emit(next, writer)?;
    }
    Ok(payloads.first().map_or(PayloadType::NONE, Payload::payload_type))
}
