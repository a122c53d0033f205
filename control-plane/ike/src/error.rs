//! Errors that say whose fault it was.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use ike_wire::{Notify, NotifyType, PayloadType, Protocol};
use ipsec_types::{KeyExchangeMethod, Spi};

use crate::provider::CryptoError;

/// Why a negotiation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The peer's message cannot be read, or breaks a rule of its exchange.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The peer did what the protocol forbids.
    #[error("the peer misbehaved: {0}")]
    PeerMisbehaved(String),
    /// Ours and theirs do not meet: the notification that says so, and both sides.
    #[error("{summary} ({0}){rest}", summary = .1.summary, rest = .1.behind())]
    Incompatible(NotifyType, Box<Detail>),
    /// The peer is not who it says, or does not hold the key.
    #[error("authentication failed: {0}")]
    Unauthenticated(Box<Detail>),
    /// The peer refused with an error notification.
    #[error("the peer answered {0}{rest}", rest = .1.behind())]
    Refused(NotifyType, Box<Detail>),
    /// No answer after the last retransmission.
    #[error("{0}")]
    TimedOut(Box<Detail>),
    /// Something on this side: configuration, data plane, randomness.
    #[error("{0}")]
    Local(String),
}

/// What an operator needs to know to put a failed negotiation right. Shown to everybody who may operate the gateway: never a secret.
/// Fields without content are empty; none is longer than [`Detail::LONGEST`] characters, as some quote what a peer has sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// What happened.
    pub summary: String,
    /// What this gateway offered, demands or is.
    pub ours: String,
    /// What the peer offered or is, as far as it said.
    pub theirs: String,
    /// What both have in common, and where they part.
    pub would_match: String,
    /// What to do, or to compare at the peer.
    pub remedy: String,
}

/// Reasons of failures that are no notifications of IKE, as programs read them.
pub mod reason {
    /// [`Malformed`](super::Failure::Malformed).
    pub const MALFORMED: &str = "MALFORMED";
    /// [`PeerMisbehaved`](super::Failure::PeerMisbehaved).
    pub const PEER_MISBEHAVED: &str = "PEER_MISBEHAVED";
    /// [`Unauthenticated`](super::Failure::Unauthenticated): also the notification's name.
    pub const AUTHENTICATION_FAILED: &str = "AUTHENTICATION_FAILED";
    /// [`TimedOut`](super::Failure::TimedOut).
    pub const TIMED_OUT: &str = "TIMED_OUT";
    /// [`Local`](super::Failure::Local).
    pub const LOCAL: &str = "LOCAL";
}

impl Failure {
    /// Whether the peer refused with this notification.
    pub(crate) fn is_refusal(&self, notification: NotifyType) -> bool {
        matches!(self, Self::Refused(kind, _) if *kind == notification)
    }

    /// For programs: one of [`reason`], or the notification's name, such as `NO_PROPOSAL_CHOSEN`; `NOTIFY_40000` where it has none.
    pub fn reason(&self) -> String {
        match self {
            Self::Malformed(_) => reason::MALFORMED.into(),
            Self::PeerMisbehaved(_) => reason::PEER_MISBEHAVED.into(),
            Self::Unauthenticated(_) => reason::AUTHENTICATION_FAILED.into(),
            Self::TimedOut(_) => reason::TIMED_OUT.into(),
            Self::Local(_) => reason::LOCAL.into(),
            Self::Incompatible(kind, _) | Self::Refused(kind, _) => {
                kind.name().map_or_else(|| alloc::format!("NOTIFY_{}", kind.0), String::from)
            }
        }
    }

    /// What happened, in a line: [`Display`](core::fmt::Display) adds the rest of [`Self::detail`].
    pub fn headline(&self) -> String {
        match self {
            Self::Incompatible(kind, detail) => alloc::format!("{} ({kind})", detail.summary),
            Self::Unauthenticated(detail) => alloc::format!("authentication failed: {}", detail.summary),
            Self::Refused(kind, _) => alloc::format!("the peer answered {kind}"),
            Self::TimedOut(detail) => detail.summary.clone(),
            Self::Malformed(_) | Self::PeerMisbehaved(_) | Self::Local(_) => alloc::format!("{self}"),
        }
    }

    /// Both sides, and what to do.
    pub fn detail(&self) -> Option<&Detail> {
        match self {
            Self::Incompatible(_, detail) | Self::Unauthenticated(detail) | Self::Refused(_, detail) | Self::TimedOut(detail) => {
                Some(detail)
            }
            Self::Malformed(_) | Self::PeerMisbehaved(_) | Self::Local(_) => None,
        }
    }
}

impl Detail {
    /// Characters of a field.
    pub const LONGEST: usize = 600;

    /// The same with fields of bounded length.
    pub(crate) fn bounded(mut self) -> Box<Self> {
        for field in [&mut self.summary, &mut self.ours, &mut self.theirs, &mut self.would_match, &mut self.remedy] {
            if let Some((end, _)) = field.char_indices().nth(Self::LONGEST) {
                field.truncate(end);
                field.push_str("...");
            }
        }
        Box::new(self)
    }

    /// The fields that have content, with their names.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("ours", &self.ours), ("theirs", &self.theirs), ("would match", &self.would_match), ("remedy", &self.remedy)];
        all.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name, text.as_str()))
    }

    /// Everything but the summary.
    fn behind(&self) -> String {
        self.named().map(|(name, text)| alloc::format!("; {name}: {text}")).collect()
    }
}

impl fmt::Display for Detail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.summary, self.behind())
    }
}

/// What is wrong with a peer's message, precisely enough to answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It cannot be read, or breaks a rule of its exchange.
    Syntax(String),
    /// It holds a critical payload we do not know.
    Critical(PayloadType),
    /// No proposal of theirs is one of ours.
    Proposals(Box<Detail>),
    /// No traffic is selected by both.
    Selectors(Box<Detail>),
    /// The peer asks for an address, and none is left.
    NoAddress(Box<Detail>),
    /// The peer does not ask for an address, and no child is for one without.
    AddressRequired(Box<Detail>),
    /// The key exchange was done with a method other than the one chosen.
    Method(KeyExchangeMethod),
    /// The peer did not prove who it is.
    Authentication(Box<Detail>),
    /// We do not want more SAs under this IKE SA, or cannot have them.
    NoMoreSas(String),
    /// The Child SA to be replaced is not there.
    NoSuchChild(Protocol, Spi),
    /// Another operation stands in the way; the peer may ask again later (section 2.25).
    Temporary(String),
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
            // Section 3.15.4.
            (Self::NoAddress(_), _) => Reaction::Notify(notify(NotifyType::INTERNAL_ADDRESS_FAILURE)),
            // Section 2.19.
            (Self::AddressRequired(_), _) => Reaction::Notify(notify(NotifyType::FAILED_CP_REQUIRED)),
            (Self::NoMoreSas(_), _) => Reaction::Notify(notify(NotifyType::NO_ADDITIONAL_SAS)),
            (Self::Temporary(_), _) => Reaction::Notify(notify(NotifyType::TEMPORARY_FAILURE)),
            (Self::NoSuchChild(protocol, spi), _) => Reaction::Notify(Notify::about(*protocol, *spi, NotifyType::CHILD_SA_NOT_FOUND)),
        }
    }
}

impl From<CryptoError> for Failure {
    fn from(error: CryptoError) -> Self {
        match error {
            CryptoError::PublicValue => Self::PeerMisbehaved(error.to_string()),
            error => Self::Local(error.to_string()),
        }
    }
}

impl From<CryptoError> for Fault {
    fn from(error: CryptoError) -> Self {
        match error {
            // RFC 6989 section 2.5.
            CryptoError::PublicValue => Self::Syntax(error.to_string()),
            error => Self::NoMoreSas(error.to_string()),
        }
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Syntax(text) => Self::Malformed(text),
            Fault::Critical(kind) => Self::PeerMisbehaved(alloc::format!("payload {kind} is critical and unknown here")),
            Fault::Proposals(detail) => Self::Incompatible(NotifyType::NO_PROPOSAL_CHOSEN, detail),
            Fault::Selectors(detail) => Self::Incompatible(NotifyType::TS_UNACCEPTABLE, detail),
            Fault::NoAddress(detail) => Self::Incompatible(NotifyType::INTERNAL_ADDRESS_FAILURE, detail),
            Fault::AddressRequired(detail) => Self::Incompatible(NotifyType::FAILED_CP_REQUIRED, detail),
            Fault::Method(method) => {
                let summary = alloc::format!("the key exchange must be done with {method}");
                Self::Incompatible(NotifyType::INVALID_KE_PAYLOAD, Box::new(Detail { summary, ..Detail::default() }))
            }
            Fault::Authentication(detail) => Self::Unauthenticated(detail),
            Fault::NoMoreSas(text) | Fault::Temporary(text) => Self::Local(text),
            Fault::NoSuchChild(protocol, spi) => Self::PeerMisbehaved(alloc::format!("no Child SA has SPI {spi} of {protocol}")),
        }
    }
}
