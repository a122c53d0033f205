//! Messages and steps, as operators see them.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;

use ipsec_types::IkeSpi;

/// One line of a sequence diagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The connection, once it is known.
    pub connection: Option<String>,
    /// Initiator's SPI.
    pub initiator_spi: Option<IkeSpi>,
    /// Responder's SPI.
    pub responder_spi: Option<IkeSpi>,
    /// What it shows.
    pub record: Record,
}

/// A message, or a step that sends nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A message.
    Message {
        /// From here to the peer.
        outbound: bool,
        /// This gateway.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
        /// Such as `IKE_SA_INIT request 0`.
        title: String,
        /// The fields of its header.
        header: Vec<TracedField>,
        /// Its payloads; those inside SK stand behind it.
        payloads: Vec<TracedPayload>,
        /// Octets of the IKE message.
        octets: usize,
        /// Sent or received before.
        retransmission: bool,
    },
    /// Configuration, key derivation, installation.
    Step {
        /// Such as `derive keys`.
        title: String,
        /// Details; never secrets.
        lines: Vec<String>,
    },
}

/// A payload in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedPayload {
    /// Such as `SA` or `N(COOKIE)`.
    pub name: String,
    /// Whether it travelled inside the Encrypted payload.
    pub encrypted: bool,
    /// Its fields.
    pub fields: Vec<TracedField>,
}

/// A field in a trace, perhaps with fields of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedField {
    /// The RFC's name.
    pub name: &'static str,
    /// The value, readable.
    pub value: String,
    /// Fields inside it.
    pub fields: Vec<Self>,
}
