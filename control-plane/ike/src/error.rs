//! Errors that say whose fault it was.

use alloc::string::String;
use alloc::vec::Vec;

use ike_wire::{Notify, NotifyType, PayloadType};
use ipsec_types::{KeyExchangeMethod, Spi};

/// Why a negotiation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer's message cannot be read, or breaks a rule of its exchange.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The peer did what the protocol forbids.
    #[error("the peer misbehaved: {0}")]
    PeerMisbehaved(String),
    /// Ours and theirs do not meet; the text shows both.
    #[error("incompatible: {0}")]
    Incompatible(String),
    /// The peer is not who it says, or does not hold the key.
    #[error("authentication failed: {0}")]
    Unauthenticated(String),
    /// The peer refused with an error notification.
    #[error("the peer answered {0}")]
    Refused(NotifyType),
    /// No answer after the last retransmission.
    #[error("no answer from the peer")]
    TimedOut,
    /// Something on this side: configuration, data plane, randomness.
    #[error("{0}")]
    Local(String),
}

/// What is wrong with a peer's message, precisely enough to answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be read, or breaks a rule of its exchange.
    Syntax(String),
    /// It holds a critical payload we do not know.
    Critical(PayloadType),
    /// No proposal of theirs is one of ours.
    Proposals(String),
    /// No traffic is selected by both.
    Selectors(String),
    /// The key exchange was done with a method other than the one chosen.
    Method(KeyExchangeMethod),
    /// The peer did not prove who it is.
    Authentication(String),
    /// We do not want more SAs under this IKE SA, or cannot have them.
    NoMoreSas(String),
    /// The Child SA to be replaced is not there.
    NoSuchChild(Spi),
}

/// Where the message stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// IKE_SA_INIT: nobody has proved anything.
    Init,
    /// IKE_AUTH request.
    Auth,
    /// A request under an established IKE SA.
    Established,
}

/// What to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// Nothing: an answer would help nobody but an attacker.
    Silence,
    /// Answer with this notification, and go on as before.
    Notify(Notify),
    /// Answer with this notification, and forget the IKE SA.
    NotifyAndClose(Notify),
}

impl Fault {
    /// The one place that decides (RFC 7296 section 2.21).
    pub(crate) fn reaction(&self, phase: Phase) -> Reaction {
        let notify = |kind| Notify::new(kind, Vec::new());
        match (self, phase) {
            // Section 2.21.1: an unprotected answer could be forged as well as the request; only these three move an honest peer on.
            (Self::Critical(kind), Phase::Init) => {
                Reaction::Notify(Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, alloc::vec![kind.0]))
            }
            (Self::Proposals(_), Phase::Init) => Reaction::Notify(notify(NotifyType::NO_PROPOSAL_CHOSEN)),
            (Self::Method(method), _) => Reaction::Notify(Notify::new(NotifyType::INVALID_KE_PAYLOAD, method.id().to_be_bytes().to_vec())),
            (_, Phase::Init) => Reaction::Silence,
            // Section 2.21.2: without authentication there is no IKE SA; a Child SA may fail alone.
            (Self::Authentication(_), _) => Reaction::NotifyAndClose(notify(NotifyType::AUTHENTICATION_FAILED)),
            // Section 2.21.3: fatal for the IKE SA.
            (Self::Syntax(_), _) => Reaction::NotifyAndClose(notify(NotifyType::INVALID_SYNTAX)),
            (Self::Critical(kind), Phase::Auth) => {
                Reaction::NotifyAndClose(Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, alloc::vec![kind.0]))
            }
            (Self::Critical(kind), Phase::Established) => {
                Reaction::Notify(Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, alloc::vec![kind.0]))
            }
            (Self::Proposals(_), _) => Reaction::Notify(notify(NotifyType::NO_PROPOSAL_CHOSEN)),
            (Self::Selectors(_), _) => Reaction::Notify(notify(NotifyType::TS_UNACCEPTABLE)),
            (Self::NoMoreSas(_), _) => Reaction::Notify(notify(NotifyType::NO_ADDITIONAL_SAS)),
            (Self::NoSuchChild(spi), _) => Reaction::Notify(Notify::about(ike_wire::Protocol::ESP, *spi, NotifyType::CHILD_SA_NOT_FOUND)),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax(text) => Self::Malformed(text),
            Fault::Critical(kind) => Self::PeerMisbehaved(alloc::format!("payload {kind} is critical and unknown here")),
            Fault::Proposals(text) | Fault::Selectors(text) => Self::Incompatible(text),
            Fault::Method(method) => Self::Incompatible(alloc::format!("the peer must use {method}")),
            Fault::Authentication(text) => Self::Unauthenticated(text),
            Fault::NoMoreSas(text) => Self::Local(text),
            Fault::NoSuchChild(spi) => Self::PeerMisbehaved(alloc::format!("no Child SA has SPI {spi}")),
        }
    }
}
