//! Domain types of IPsec (RFC 4301, 4303, 7296): checked when built, silent when printed.
//!
//! Both planes and the contract between them speak in these types. A value that exists is legal: a [`Spi`] is never reserved, an
//! [`AddressRange`] never runs backwards, an [`EspProposal`] never mixes AEAD with separate integrity. Secrets print their length only.
#![no_std]
// A packet from the network never panics: what could is not compiled.
#![cfg_attr(
    not(test),
    deny(clippy::indexing_slicing, clippy::string_slice, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::unreachable)
)]

extern crate alloc;

mod distinguished_name;
mod dscp;
mod identity;
mod identity_pattern;
mod lifetime;
mod proposal;
mod sa;
mod secret;
mod selector;
mod signature;
mod spi;
mod time;
mod transform;

pub use distinguished_name::{DistinguishedName, DistinguishedNameError};
pub use dscp::{Dscp, DscpError, DscpSet};
pub use identity::{Identity, IdentityError};
pub use lifetime::{Lifetime, LifetimeError, Limits};
pub use proposal::{AhProposal, ChildProposal, EspProposal, IkeProposal, ProposalError};
pub use sa::{
    Activation, ChildSa, ChildSaId, DontFragment, Mode, Policy, PolicyAction, PolicyId, Protection, SaKeys, Tfc, TfcPadding,
    UdpEncapsulation,
};
pub use secret::Secret;
pub use selector::{AddressRange, Flow, PortRange, SelectorError, TrafficSelector};
pub use signature::{HashAlgorithm, KeyKind, SignatureEncoding, SignatureScheme};
pub use spi::{IkeSpi, ReservedSpi, Spi};
pub use time::Instant;
pub use transform::{CipherMode, EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, SequenceNumbers};
