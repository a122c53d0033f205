//! What can be wrong with octets from a peer, and with a message of our own.

use core::fmt;

use crate::{PayloadType, v1};

/// Why octets are no message of the version of IKE that they are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Another major version: above 2 the answer is INVALID_MAJOR_VERSION (RFC 7296 section 2.5).
    #[error("major version {0} is not the one expected here")]
    MajorVersion(u8),
    /// The octets break a rule of the format; inside an IKE SA the answer is INVALID_SYNTAX (RFC 7296 section 2.21).
    #[error("{part} {fault} (RFC {} section {})", part.rfc(), part.section())]
    Malformed {
        /// Where.
        part: Part,
        /// What.
        fault: Fault,
    },
}

/// Why a message cannot be written: only a caller who builds an impossible one sees this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// Longer, or with more elements, than its length and count fields can say.
    #[error("{part} does not fit its length and count fields (RFC {rfc} section {section})", part = .0, rfc = .0.rfc(), section = .0.section())]
    Oversize(Part),
    /// The Encrypted payload must be the last one and holds no other.
    #[error("an Encrypted payload must stand last and outermost (RFC 7296 section 3.14)")]
    EncryptedNotLast,
}

/// A structure of RFC 7296 section 3, or of RFC 2408 section 3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The IKE header.
    Header,
    /// A payload, its generic header included.
    Payload(PayloadType),
    /// A proposal of an SA payload.
    Proposal,
    /// A transform of a proposal.
    Transform,
    /// An attribute of a transform.
    Attribute,
    /// One selector of a TS payload.
    Selector,
    /// A structure of IKEv1.
    V1(v1::Part),
}

impl Part {
    /// The RFC that draws it.
    pub const fn rfc(self) -> u16 {
        if let Self::V1(_) = self { 2408 } else { 7296 }
    }

    /// The section that does.
    pub const fn section(self) -> &'static str {
        match self {
            Self::Header => "3.1",
            Self::Proposal => "3.3.1",
            Self::Transform => "3.3.2",
            Self::Attribute => "3.3.5",
            Self::Selector => "3.13.1",
            Self::Payload(kind) => kind.section(),
            Self::V1(part) => part.section(),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header => f.write_str("the IKE header"),
            Self::Proposal => f.write_str("a proposal"),
            Self::Transform => f.write_str("a transform"),
            Self::Attribute => f.write_str("an attribute"),
            Self::Selector => f.write_str("a traffic selector"),
            Self::Payload(PayloadType::NONE) => f.write_str("the chain of payloads"),
            Self::Payload(kind) => write!(f, "payload {kind}"),
            Self::V1(part) => part.fmt(f),
        }
    }
}

/// What is wrong with a [`Part`]; reads on after its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A field or substructure runs past the end.
    #[error("needs {needed} more octets where {left} are left")]
    Truncated {
        /// Octets of the field.
        needed: usize,
        /// Octets there are.
        left: usize,
    },
    /// Octets after the last field.
    #[error("is followed by {0} octets that belong to nothing")]
    Trailing(usize),
    /// A length field that contradicts the octets it measures.
    #[error("says it is {said} octets long and is {actual}")]
    Length {
        /// The field.
        said: usize,
        /// What is there, or the least there must be.
        actual: usize,
    },
    /// A count field that contradicts what follows.
    #[error("says it holds {said} elements and holds {found}")]
    Count {
        /// The field.
        said: usize,
        /// What is there.
        found: usize,
    },
    /// More elements than [`limits`](crate::limits) allows.
    #[error("holds more than {0} elements")]
    TooMany(usize),
    /// A list that must not be empty.
    #[error("holds no element")]
    Empty,
    /// A field whose value the RFC excludes.
    #[error("has {field} {value}, which is not allowed here")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// Its value.
        value: u64,
    },
    /// The Encrypted payload stands inside another, or something follows it.
    #[error("must stand last and outermost")]
    NotLast,
}
