//! IKE messages: bytes to structures and back, and nothing else (RFC 7296 section 3).
//!
//! [`Message::parse`] reads a datagram, [`parse_payloads`] what an Encrypted payload held; [`Message::emit`], [`emit_payloads`] and
//! [`Encrypted::frame`] go the other way. Parsing is total: any octets give a message or a [`ParseError`], and what it allocates is
//! bounded by the length of the input and the limits in [`limits`]. What a peer may invent (algorithms, attributes, notifications,
//! selector types) is kept as numbers and never an error here: whether it is acceptable is for negotiation to say.
//!
//! IKEv1 has a form of its own, in [`v1`].
//!
//! Which payloads a message must carry is the table in [`rules`]; how it looks to a reader of traces is in [`describe`].
//!
//! ```
//! use ike_wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, Version, describe};
//!
//! let flags = Flags { response: true, ..Flags::default() };
//! let header = Header { initiator_spi: 1, responder_spi: 0, version: Version::V2, exchange: ExchangeType::IKE_SA_INIT, flags, message_id: 0 };
//! let cookie = Payload::Notify(Notify::new(NotifyType::COOKIE, vec![0xc0; 32]));
//! let datagram = Message { header, payloads: vec![cookie] }.emit()?;
//!
//! let message = Message::parse(&datagram)?;
//! assert_eq!(describe::message(&message.header, &message.payloads), "IKE_SA_INIT response 0 [ N(COOKIE) ]");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![no_std]
// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        clippy::string_slice,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable
    )
)]

extern crate alloc;

pub mod describe;
mod error;
mod header;
mod message;
mod number;
pub mod payload;
mod reader;
pub mod rules;
pub mod v1;
mod writer;

pub use error::{EmitError, Fault, ParseError, Part};
pub use header::{ExchangeType, Flags, Header, Version};
pub use message::{Chain, Message, emit_payloads, parse_payloads, unsupported_critical};
pub use payload::auth::{Auth, AuthMethod};
pub use payload::certificate::{Certificate, CertificateEncoding, CertificateRequest};
pub use payload::configuration::{Configuration, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType};
pub use payload::delete::Delete;
pub use payload::eap::{EapCode, EapMessage, EapPacket, EapTlsData, EapTlsFlags, EapType};
pub use payload::encrypted::Encrypted;
pub use payload::fragment::{Fragment, FragmentNumber};
pub use payload::identification::Identification;
pub use payload::key_exchange::KeyExchange;
pub use payload::nonce::Nonce;
pub use payload::notify::{Notify, NotifyType, PpkIdType, ppk_id};
pub use payload::redirect::{Gateway, Redirect};
pub use payload::sa::{Attribute, AttributeValue, Proposal, Protocol, Sa, Transform, TransformType};
pub use payload::signature::{Signature, SignatureError};
pub use payload::traffic_selectors::{Selector, TrafficSelectors};
pub use payload::{Payload, PayloadType, Unknown};

/// How many elements of a list are read before a message is refused. Far above what any peer sends, far below what would hurt.
pub mod limits {
    /// Payloads in one chain.
    pub const PAYLOADS: usize = 128;
    /// Proposals in an SA payload.
    pub const PROPOSALS: usize = 64;
    /// Transforms in a proposal.
    pub const TRANSFORMS: usize = 128;
    /// Attributes in a transform; RFC 7296 defines one.
    pub const ATTRIBUTES: usize = 8;
    /// Traffic selectors in a TS payload.
    pub const SELECTORS: usize = 128;
    /// Attributes in a CP payload.
    pub const CONFIGURATION_ATTRIBUTES: usize = 128;
    /// SPIs in a Delete payload.
    pub const SPIS: usize = 1024;
}
