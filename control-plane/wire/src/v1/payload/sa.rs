//! The Security Association payload with its proposals and transforms (RFC 2408 sections 3.4 to 3.6), in the IPsec DOI (RFC 2407).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |              Domain of Interpretation  (DOI)                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                           Situation                           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   each proposal:
//! | Next Payload  |   RESERVED    |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Proposal #   |  Protocol-Id  |    SPI Size   |# of Transforms|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        SPI (variable)                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   each transform:
//! | Next Payload  |   RESERVED    |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Transform #  |  Transform-Id |           RESERVED2           |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        SA Attributes                          ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use ipsec_types::Spi;

use crate::number::numbers;
use crate::reader::Reader;
use crate::v1::{Part, PayloadType, limits};
use crate::writer::Writer;
use crate::{Attribute, AttributeValue, EmitError, Fault, ParseError};

/// Domain of Interpretation of IPsec (RFC 2407 section 4.1).
pub(crate) const DOI_IPSEC: u32 = 1;
/// SIT_IDENTITY_ONLY (RFC 2407 section 4.2.1).
const SITUATION: u32 = 1;

numbers! {
    /// Protocol-Id of proposals, notifications and deletions (RFC 2407 section 4.4.1).
    Protocol(u8) {
        NONE = 0, "none";
        ISAKMP = 1, "ISAKMP";
        AH = 2, "AH";
        ESP = 3, "ESP";
        IPCOMP = 4, "IPCOMP";
    }
}

numbers! {
    /// Attributes of phase 1 (RFC 2409 appendix A).
    OakleyAttribute(u16) {
        ENCRYPTION = 1, "Encryption Algorithm";
        HASH = 2, "Hash Algorithm";
        AUTHENTICATION_METHOD = 3, "Authentication Method";
        GROUP = 4, "Group Description";
        GROUP_TYPE = 5, "Group Type";
        LIFE_TYPE = 11, "Life Type";
        LIFE_DURATION = 12, "Life Duration";
        PRF = 13, "PRF";
        KEY_LENGTH = 14, "Key Length";
    }
}

numbers! {
    /// Attributes of phase 2 (RFC 2407 section 4.5, RFC 4304).
    AttributeType(u16) {
        LIFE_TYPE = 1, "SA Life Type";
        LIFE_DURATION = 2, "SA Life Duration";
        GROUP = 3, "Group Description";
        ENCAPSULATION_MODE = 4, "Encapsulation Mode";
        AUTHENTICATION = 5, "Authentication Algorithm";
        KEY_LENGTH = 6, "Key Length";
        KEY_ROUNDS = 7, "Key Rounds";
        EXTENDED_SEQUENCE_NUMBERS = 11, "Extended (64-bit) Sequence Number";
    }
}

numbers! {
    /// What a life duration counts, in both phases.
    LifeType(u16) {
        SECONDS = 1, "seconds";
        KILOBYTES = 2, "kilobytes";
    }
}

/// An offer, best proposal first, or the one proposal chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// The proposals; at least one. Those with one number belong together.
    pub proposals: Vec<Proposal>,
}

/// One protocol, and the ways in which it may protect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Proposal #.
    pub number: u8,
    /// Protocol-Id.
    pub protocol: Protocol,
    /// The sender's SPI; as a rule empty in phase 1.
    pub spi: Vec<u8>,
    /// The transforms, at least one, best first. One of them is chosen, whole.
    pub transforms: Vec<Transform>,
}

/// All algorithms of an SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transform {
    /// Transform #.
    pub number: u8,
    /// Transform-Id: KEY_IKE in phase 1, the cipher of ESP or the algorithm of AH in phase 2.
    pub id: u8,
    /// What else there is to be said of it.
    pub attributes: Vec<Attribute>,
}

impl Sa {
    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        for (field, expected) in [("a DOI of", DOI_IPSEC), ("a Situation of", SITUATION)] {
            let value = body.u32()?;
            if value != expected {
                return Err(body.fault(Fault::Value { field, value: value.into() }));
            }
        }
        let mut proposals: Vec<Proposal> = Vec::new();
        while !body.is_empty() {
            if proposals.len() == limits::PROPOSALS {
                return Err(body.fault(Fault::TooMany(limits::PROPOSALS)));
            }
            let framed = body.framed(crate::Part::V1(Part::Proposal))?;
            check_next(framed.lead[0], PayloadType::PROPOSAL, &body, &framed.body)?;
            proposals.push(Proposal::parse(framed.body)?);
        }
        if proposals.is_empty() { Err(body.fault(Fault::Empty)) } else { Ok(Self { proposals }) }
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u32(DOI_IPSEC);
        writer.u32(SITUATION);
        for (left, proposal) in (0..self.proposals.len()).rev().zip(&self.proposals) {
            let next = if left == 0 { PayloadType::NONE } else { PayloadType::PROPOSAL };
            writer.framed(crate::Part::V1(Part::Proposal), [next.0, 0], |writer| proposal.emit(writer))?;
        }
        Ok(())
    }
}

impl Proposal {
    /// The SPI as that of an ESP or AH SA; `None` where it has not four octets or is reserved.
    pub fn child_spi(&self) -> Option<Spi> {
        let octets = self.spi.as_slice().try_into().ok()?;
        Spi::new(u32::from_be_bytes(octets)).ok()
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [number, protocol, spi_len, said] = body.array()?;
        let spi = body.take(spi_len.into())?.to_vec();
        let said = usize::from(said);
        let mut transforms = Vec::new();
        while !body.is_empty() && transforms.len() < said {
            let framed = body.framed(crate::Part::V1(Part::Transform))?;
            check_next(framed.lead[0], PayloadType::TRANSFORM, &body, &framed.body)?;
            transforms.push(Transform::parse(framed.body)?);
        }
        if transforms.len() != said {
            return Err(body.fault(Fault::Count { said, found: transforms.len() }));
        }
        body.finish()?;
        if said == 0 { Err(body.fault(Fault::Empty)) } else { Ok(Self { number, protocol: Protocol(protocol), spi, transforms }) }
    }

    fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u8(self.number);
        writer.u8(self.protocol.0);
        writer.count(self.spi.len(), crate::Part::V1(Part::Proposal))?;
        writer.count(self.transforms.len(), crate::Part::V1(Part::Proposal))?;
        writer.slice(&self.spi);
        for (left, transform) in (0..self.transforms.len()).rev().zip(&self.transforms) {
            let next = if left == 0 { PayloadType::NONE } else { PayloadType::TRANSFORM };
            writer.framed(crate::Part::V1(Part::Transform), [next.0, 0], |writer| transform.emit(writer))?;
        }
        Ok(())
    }
}

impl Transform {
    /// KEY_IKE (RFC 2407 section 4.4.2.1), the one transform of phase 1.
    pub const KEY_IKE: u8 = 1;

    /// The value of the first attribute of this type, where it fits a number.
    pub fn value(&self, kind: u16) -> Option<u64> {
        self.attributes.iter().find(|attribute| attribute.kind == kind).and_then(number)
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [number, id, ..] = body.array::<4>()?;
        Ok(Self { number, id, attributes: parse_attributes(body.rest())? })
    }

    fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.slice(&[self.number, self.id, 0, 0]);
        self.attributes.iter().try_for_each(|attribute| attribute.emit(writer))
    }
}

/// The value of an attribute in either form; `None` where it is longer than eight octets, or has none.
/// Reads attributes one after the other: those of a transform, and what RESPONDER-LIFETIME notifies (RFC 2407 section 4.6.3.1).
///
/// # Errors
/// [`ParseError`].
pub fn parse_attributes(octets: &[u8]) -> Result<Vec<Attribute>, ParseError> {
    let mut rest = Reader::new(crate::Part::V1(Part::Attribute), octets);
    let mut attributes = Vec::new();
    while !rest.is_empty() {
        if attributes.len() == limits::ATTRIBUTES {
            return Err(rest.fault(Fault::TooMany(limits::ATTRIBUTES)));
        }
        attributes.push(Attribute::parse(&mut rest)?);
    }
    Ok(attributes)
}

/// Writes them.
///
/// # Errors
/// [`EmitError`].
pub fn emit_attributes(attributes: &[Attribute]) -> Result<Vec<u8>, EmitError> {
    let mut writer = Writer::new();
    attributes.iter().try_for_each(|attribute| attribute.emit(&mut writer))?;
    Ok(writer.finish())
}

/// Life types with their durations, which follow them, in order (RFC 2407 section 4.5, RFC 2409 appendix A). What they count in is `life_type`'s to say.
pub fn lifetimes(attributes: &[Attribute], life_type: u16, life_duration: u16) -> impl Iterator<Item = (LifeType, u64)> {
    let pairs = attributes.iter().zip(attributes.iter().skip(1));
    pairs.filter(move |(kind, duration)| kind.kind == life_type && duration.kind == life_duration).filter_map(|(kind, duration)| {
        let kind = u16::try_from(number(kind)?).ok()?;
        Some((LifeType(kind), number(duration)?))
    })
}

fn number(attribute: &Attribute) -> Option<u64> {
    match &attribute.value {
        AttributeValue::Short(value) => Some((*value).into()),
        AttributeValue::Long(octets) if (1..=8).contains(&octets.len()) => {
            Some(octets.iter().fold(0, |number, octet| number << 8 | u64::from(*octet)))
        }
        AttributeValue::Long(_) => None,
    }
}

/// Next Payload repeats what the lengths say already; a peer whose octets say both things is not to be trusted with either.
fn check_next(said: u8, more: PayloadType, behind: &Reader<'_>, substructure: &Reader<'_>) -> Result<(), ParseError> {
    if said == (if behind.is_empty() { 0 } else { more.0 }) {
        return Ok(());
    }
    Err(substructure.fault(Fault::Value { field: "a Next Payload of", value: said.into() }))
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::v1::{Chain, Payload, emit_payloads, parse_payloads};

    fn attribute(kind: u16, value: u16) -> Attribute {
        Attribute { kind, value: AttributeValue::Short(value) }
    }

    fn sa() -> Sa {
        let transform = |number| Transform {
            number,
            id: Transform::KEY_IKE,
            attributes: vec![
                attribute(1, 7),
                attribute(11, 1),
                Attribute { kind: 12, value: AttributeValue::Long(vec![0, 0, 0x70, 0x80]) },
                attribute(11, 2),
                attribute(12, 5000),
            ],
        };
        let proposal = |number| Proposal { number, protocol: Protocol::ISAKMP, spi: vec![], transforms: vec![transform(1), transform(2)] };
        Sa { proposals: vec![proposal(1), proposal(2)] }
    }

    #[test]
    fn an_offer_is_read_as_it_was_written() {
        let Chain { first, octets } = emit_payloads(&[Payload::Sa(sa())]).unwrap();
        assert_eq!(parse_payloads(first, &octets), Ok(vec![Payload::Sa(sa())]));
    }

    #[test]
    fn doi_situation_and_next_payload_must_be_what_they_are() {
        let Chain { first, octets } = emit_payloads(&[Payload::Sa(sa())]).unwrap();
        // DOI, Situation, Next Payload and number of transforms of the first proposal, Next Payload of its first transform.
        for at in [7, 11, 12, 19, 20] {
            let mut spoilt = octets.clone();
            spoilt[at] = spoilt[at].wrapping_add(1);
            assert!(parse_payloads(first, &spoilt).is_err(), "octet {at}");
        }
        let error = parse_payloads(PayloadType::SA, &[0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 1]).unwrap_err();
        assert_eq!(alloc::format!("{error}"), "payload SA has a DOI of 0, which is not allowed here (RFC 2408 section 3.4)");
        assert!(parse_payloads(PayloadType::SA, &[0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 1]).is_err(), "no proposal");
    }

    #[test]
    fn a_duration_belongs_to_the_type_before_it_in_both_forms() {
        let transform = &sa().proposals[0].transforms[0];
        let found: Vec<_> = lifetimes(&transform.attributes, OakleyAttribute::LIFE_TYPE.0, OakleyAttribute::LIFE_DURATION.0).collect();
        let again = parse_attributes(&emit_attributes(&transform.attributes).unwrap());
        assert_eq!(again.as_ref(), Ok(&transform.attributes));
        assert_eq!(found, [(LifeType::SECONDS, 28800), (LifeType::KILOBYTES, 5000)]);
        assert_eq!((transform.value(1), transform.value(2)), (Some(7), None));
        let long =
            |len| Transform { attributes: vec![Attribute { kind: 1, value: AttributeValue::Long(vec![1; len]) }], ..transform.clone() };
        assert_eq!((long(0).value(1), long(8).value(1), long(9).value(1)), (None, Some(0x0101_0101_0101_0101), None));
    }

    #[test]
    fn attributes_are_bounded_at_exactly_the_limit() {
        let read = |count| {
            let mut sa = sa();
            sa.proposals[0].transforms[0].attributes = vec![attribute(1, 1); count];
            let Chain { first, octets } = emit_payloads(&[Payload::Sa(sa)]).unwrap();
            parse_payloads(first, &octets).is_ok()
        };
        assert!(read(limits::ATTRIBUTES) && !read(limits::ATTRIBUTES + 1));
    }
}
