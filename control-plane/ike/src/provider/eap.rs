//! EAP (RFC 3748) as the core sees it: packets in, packets out, and in the end a key.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

pub use ike_wire::{EapCode, EapPacket, EapType};
use ipsec_types::{Identity, Secret};

use crate::error::Detail;

/// One side of an EAP method as a connection is configured with it: the peer's, which shows who it is, or the authenticator's.
pub trait EapMethod: fmt::Debug + Send + Sync {
    /// As the configuration writes it, such as `eap-mschapv2`.
    fn keyword(&self) -> &'static str;

    /// Whether it shows each side who the other is, and makes a key: only such a method may stand alone (RFC 5998 section 4).
    fn is_mutual(&self) -> bool;

    /// Begins a conversation between the initiator and the responder with these identities in IKE.
    fn begin(&self, initiator: &Identity, responder: &Identity) -> Box<dyn EapConversation>;
}

/// One conversation. It works as a job and may wait for others; nothing else waits meanwhile.
pub trait EapConversation: Send {
    /// Goes on with the other side's packet; the authenticator begins without one.
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep;
}

/// What comes next.
pub enum EapStep {
    /// This is said, and the other side's answer awaited.
    Say(Vec<u8>),
    /// Done. The authenticator has a last packet to send, EAP Success.
    Succeeded {
        /// That packet.
        last: Option<Vec<u8>>,
        /// What came of it.
        outcome: EapOutcome,
    },
    /// Over. The authenticator has a last packet to send, EAP Failure.
    Failed {
        /// That packet.
        last: Option<Vec<u8>>,
        /// Why, for people.
        why: Box<Detail>,
    },
}

/// What a conversation that has succeeded leaves.
#[derive(Debug)]
pub struct EapOutcome {
    /// The Master Session Key, where the method makes one.
    pub msk: Option<Secret>,
    /// Who the EAP peer is, as far as the authenticator knows better than IKE (RFC 7296 section 2.16).
    pub user: Option<Identity>,
}

impl fmt::Debug for EapStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(packet) => write!(f, "Say({} octets)", packet.len()),
            Self::Succeeded { outcome, .. } => f.debug_tuple("Succeeded").field(outcome).finish(),
            Self::Failed { why, .. } => f.debug_tuple("Failed").field(why).finish(),
        }
    }
}
