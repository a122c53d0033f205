//! The Security Association payload and its proposals (RFC 7296 sections 3.3 and 3.3.1).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   each proposal:
//! | Last Substruc |   RESERVED    |         Proposal Length       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Proposal Num  |  Protocol ID  |    SPI Size   |Num  Transforms|
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        SPI (variable)                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                        <Transforms>                           ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use ipsec_types::{ChildProposal, IkeProposal, IkeSpi, Protection, Spi};

use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError, Part, limits};

pub use super::transform::{Attribute, AttributeValue, Transform, TransformType};

numbers! {
    /// Protocol ID of proposals, notifications and deletions.
    Protocol(u8) {
        NONE = 0, "none";
        IKE = 1, "IKE";
        AH = 2, "AH";
        ESP = 3, "ESP";
    }
}

impl From<&ChildProposal> for Protocol {
    fn from(proposal: &ChildProposal) -> Self {
        match proposal {
            ChildProposal::Esp(_) => Self::ESP,
            ChildProposal::Ah(_) => Self::AH,
        }
    }
}

impl From<Protection> for Protocol {
    fn from(protection: Protection) -> Self {
        match protection {
            Protection::Esp { .. } => Self::ESP,
            Protection::Ah { .. } => Self::AH,
        }
    }
}

/// An offer, best proposal first, or the one proposal chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sa {
    /// The proposals; at least one, each numbered one higher than the one before.
    pub proposals: Vec<Proposal>,
}

/// One way to protect an SA: one transform of each type in it must be chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// Proposal Num, from 1.
    pub number: u8,
    /// What the SA is for.
    pub protocol: Protocol,
    /// The sender's SPI; empty where the IKE header has it.
    pub spi: Vec<u8>,
    /// The transforms, at least one; within a type, best first.
    pub transforms: Vec<Transform>,
}

/// Last Substruc of a proposal that another one follows.
const MORE_PROPOSALS: u8 = 2;
/// Last Substruc of a transform that another one follows.
const MORE_TRANSFORMS: u8 = 3;

impl Sa {
    /// Numbers the proposals from 1 in the order given.
    pub fn offer(proposals: impl IntoIterator<Item = Proposal>) -> Self {
        let numbered = (1..=u8::MAX).zip(proposals).map(|(number, proposal)| Proposal { number, ..proposal });
        Self { proposals: numbered.collect() }
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let mut proposals: Vec<Proposal> = Vec::new();
        while !body.is_empty() {
            if proposals.len() == limits::PROPOSALS {
                return Err(body.fault(Fault::TooMany(limits::PROPOSALS)));
            }
            let framed = body.framed(Part::Proposal)?;
            check_last(framed.lead[0], MORE_PROPOSALS, &body, &framed.body)?;
            let proposal = Proposal::parse(framed.body)?;
            let follows = proposals.last().is_none_or(|previous| previous.number.checked_add(1) == Some(proposal.number));
            if !follows {
                return Err(framed.body.fault(Fault::Value { field: "number", value: proposal.number.into() }));
            }
            proposals.push(proposal);
        }
        if proposals.is_empty() { Err(body.fault(Fault::Empty)) } else { Ok(Self { proposals }) }
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        for (left, proposal) in (0..self.proposals.len()).rev().zip(&self.proposals) {
            let last = if left == 0 { 0 } else { MORE_PROPOSALS };
            writer.framed(Part::Proposal, [last, 0], |writer| proposal.emit(writer))?;
        }
        Ok(())
    }
}

impl Proposal {
    /// An offer for an IKE SA, number 1. `spi` is `None` in IKE_SA_INIT, where the header has it (section 3.3.1).
    pub fn ike(algorithms: &IkeProposal, spi: Option<IkeSpi>) -> Self {
        let encryption = algorithms.encryption().iter().copied().map(Transform::from);
        let integrity = algorithms.integrity().iter().copied().map(Transform::from);
        let prf = algorithms.prf().iter().copied().map(Transform::from);
        let key_exchange = algorithms.key_exchange().iter().copied().map(Transform::from);
        Self {
            number: 1,
            protocol: Protocol::IKE,
            spi: spi.map(|spi| spi.value().to_be_bytes().to_vec()).unwrap_or_default(),
            transforms: encryption.chain(integrity).chain(prf).chain(key_exchange).collect(),
        }
    }

    /// An offer for a Child SA, number 1; `spi` is the one the sender will receive on. In IKE_AUTH there is no key exchange to negotiate
    /// (section 1.2): see [`Self::without_key_exchange`].
    pub fn child(algorithms: &ChildProposal, spi: Spi) -> Self {
        let encryption = algorithms.encryption().iter().copied().map(Transform::from);
        let integrity = algorithms.integrity().iter().copied().map(Transform::from);
        let key_exchange = algorithms.key_exchange().iter().copied().map(Transform::from);
        let sequence_numbers = algorithms.sequence_numbers().iter().copied().map(Transform::from);
        Self {
            number: 1,
            protocol: algorithms.into(),
            spi: spi.value().to_be_bytes().to_vec(),
            transforms: encryption.chain(integrity).chain(key_exchange).chain(sequence_numbers).collect(),
        }
    }

    /// The same proposal without transforms of type 4.
    #[must_use]
    pub fn without_key_exchange(mut self) -> Self {
        self.transforms.retain(|transform| transform.kind != TransformType::KE);
        self
    }

    /// The transforms of one type, best first.
    pub fn of_type(&self, kind: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |transform| transform.kind == kind)
    }

    /// The SPI as that of an ESP or AH SA; `None` where it has not four octets or is reserved.
    pub fn child_spi(&self) -> Option<Spi> {
        let octets = self.spi.as_slice().try_into().ok()?;
        Spi::new(u32::from_be_bytes(octets)).ok()
    }

    /// The SPI as that of an IKE SA; `None` where it has not eight octets or is zero.
    pub fn ike_spi(&self) -> Option<IkeSpi> {
        let octets = self.spi.as_slice().try_into().ok()?;
        IkeSpi::new(u64::from_be_bytes(octets))
    }

    fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [number, protocol, spi_len, said] = body.array()?;
        let spi = body.take(spi_len.into())?.to_vec();
        let said = usize::from(said);
        if said > limits::TRANSFORMS {
            return Err(body.fault(Fault::TooMany(limits::TRANSFORMS)));
        }
        let mut transforms = Vec::new();
        while !body.is_empty() && transforms.len() < said {
            let framed = body.framed(Part::Transform)?;
            check_last(framed.lead[0], MORE_TRANSFORMS, &body, &framed.body)?;
            transforms.push(Transform::parse(framed.body)?);
        }
        if transforms.len() != said {
            return Err(body.fault(Fault::Count { said, found: transforms.len() }));
        }
        body.finish()?;
        if said == 0 {
            return Err(body.fault(Fault::Empty));
        }
        Ok(Self { number, protocol: Protocol(protocol), spi, transforms })
    }

    fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u8(self.number);
        writer.u8(self.protocol.0);
        writer.count(self.spi.len(), Part::Proposal)?;
        writer.count(self.transforms.len(), Part::Proposal)?;
        writer.slice(&self.spi);
        for (left, transform) in (0..self.transforms.len()).rev().zip(&self.transforms) {
            let last = if left == 0 { 0 } else { MORE_TRANSFORMS };
            writer.framed(Part::Transform, [last, 0], |writer| transform.emit(writer))?;
        }
        Ok(())
    }
}

/// Last Substruc repeats what the lengths say already; a peer whose octets say both things is not to be trusted with either.
fn check_last(said: u8, more: u8, behind: &Reader<'_>, substructure: &Reader<'_>) -> Result<(), ParseError> {
    if said == (if behind.is_empty() { 0 } else { more }) {
        return Ok(());
    }
    Err(substructure.fault(Fault::Value { field: "Last Substruc", value: said.into() }))
}

#[cfg(test)]
mod tests;
