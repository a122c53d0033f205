//! IKEv1 messages, which are ISAKMP's: bytes to structures and back (RFC 2408 section 3, with the numbers of RFC 2407, RFC 2409 and RFC 3947).
//!
//! [`Message::parse`] reads a datagram, [`parse_payloads`] the payloads behind a header, [`parse_padded`] those of a message that was encrypted, where
//! octets of padding follow; [`emit_payloads`] and [`Message::emit`] go the other way. As for IKEv2, parsing is total and bounded, and what a peer may
//! invent is kept as numbers.
//!
//! ```
//! use ike_wire::v1::{Chain, ExchangeType, Flags, Header, Message, Payload, describe, emit_payloads, parse_payloads};
//!
//! let header = Header::new(1, 0, ExchangeType::MAIN_MODE, Flags::default(), 0);
//! let Chain { first, octets } = emit_payloads(&[Payload::VendorId(vec![0xaf; 16])])?;
//! let datagram = Message { header, first, body: &octets }.emit()?;
//!
//! let message = Message::parse(&datagram)?;
//! let payloads = parse_payloads(message.first, message.body)?;
//! assert_eq!(describe::message(&message.header, &payloads), "Main Mode [ V ]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod describe;
mod header;
mod message;
pub mod payload;

pub use header::{ExchangeType, Flags, Header};
pub use message::{Chain, Message, emit_payloads, parse_padded, parse_payloads};
pub use payload::attributes::{Attributes, TransactionAttribute, TransactionAttributeType, TransactionValue};
pub use payload::fragment::Fragment;
pub use payload::identification::Identification;
pub use payload::notify::{Delete, Notify, NotifyType};
pub use payload::sa::{
    AttributeType, LifeType, OakleyAttribute, Proposal, Protocol, Sa, Transform, emit_attributes, lifetimes, parse_attributes,
};
pub use payload::{Certificate, NatOriginalAddress, Payload, PayloadType, Spelling};

pub use crate::{Attribute, AttributeValue, ConfigurationType};

/// How many elements of a list are read before a message is refused.
pub mod limits {
    /// Payloads in one chain.
    pub const PAYLOADS: usize = 64;
    /// Proposals in an SA payload.
    pub const PROPOSALS: usize = 64;
    /// Transforms in a proposal, which IKEv1 has one of for each combination of algorithms.
    pub const TRANSFORMS: usize = 255;
    /// Attributes in a transform.
    pub const ATTRIBUTES: usize = 32;
    /// Attributes in an Attributes payload.
    pub const TRANSACTION_ATTRIBUTES: usize = 128;
    /// SPIs in a Delete payload.
    pub const SPIS: usize = 1024;
}

/// A structure of RFC 2408 section 3, as errors name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The ISAKMP header.
    Header,
    /// A payload, its generic header included.
    Payload(PayloadType),
    /// A Proposal payload.
    Proposal,
    /// A Transform payload.
    Transform,
    /// A data attribute.
    Attribute,
}

impl Part {
    /// The section of RFC 2408 that draws it.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Header => "3.1",
            Self::Attribute => "3.3",
            Self::Proposal => "3.5",
            Self::Transform => "3.6",
            Self::Payload(kind) => kind.section(),
        }
    }
}

impl core::fmt::Display for Part {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Header => f.write_str("the ISAKMP header"),
            Self::Proposal => f.write_str("a proposal"),
            Self::Transform => f.write_str("a transform"),
            Self::Attribute => f.write_str("an attribute"),
            Self::Payload(PayloadType::NONE) => f.write_str("the chain of payloads"),
            Self::Payload(kind) => write!(f, "payload {kind}"),
        }
    }
}
