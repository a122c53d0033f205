//! Errors that say whose fault it was.

use alloc::string::String;

use ike_wire::NotifyType;

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
