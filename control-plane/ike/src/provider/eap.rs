//! EAP (RFC 3748) as the core sees it: packets in, packets out, and in the end a key.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::time::Duration;

pub use ike_wire::{EapCode, EapPacket, EapTlsData, EapType};
use ipsec_types::{Identity, Secret};

use super::{PeerProof, PeerVerifier};
use crate::error::Detail;

/// One side of an EAP method as a connection is configured with it: the peer's, which shows who it is, or the authenticator's.
pub trait EapMethod: fmt::Debug + Send + Sync {
    /// As the configuration writes it, such as `eap-mschapv2`.
    fn keyword(&self) -> &'static str;

    /// Whether it shows each side who the other is, and makes a key: only such a method may stand alone (RFC 5998 section 4).
    fn is_mutual(&self) -> bool;

    /// Begins a conversation.
    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation>;
}

/// Between whom a conversation is.
#[derive(Debug, Clone, Copy)]
pub struct EapBetween<'a> {
    /// The initiator's identity in IKE.
    pub initiator: &'a Identity,
    /// The responder's.
    pub responder: &'a Identity,
    /// Where we are.
    pub local: SocketAddr,
    /// Where the other side is.
    pub remote: SocketAddr,
}

/// One conversation. It works as a job.
pub trait EapConversation: Send {
    /// Goes on with the other side's packet; the authenticator begins without one. Computes, and waits for nobody.
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep;

    /// Goes on in the same way where that means to wait for others: the driver awaits it, and keeps no thread for it. `None` where
    /// [`step`](Self::step) goes on.
    fn wait<'a>(&'a mut self, _packet: Option<&'a [u8]>) -> Option<EapWait<'a>> {
        None
    }

    /// Goes on after [`EapStep::Verify`]; only conversations that say it are asked. This is no slow work.
    fn verified(&mut self, verdict: Result<(), Box<Detail>>) -> EapStep {
        let why = verdict.err().unwrap_or_else(|| Box::new(Detail { summary: "nothing was to be verified".into(), ..Detail::default() }));
        EapStep::Failed { last: None, why }
    }

    /// EAP Failure has come: what the method knows of the reason. This is no slow work.
    fn refused(&mut self) -> Option<Box<Detail>> {
        None
    }
}

/// What others have to answer before the next step is known.
pub type EapWait<'a> = Pin<Box<dyn Future<Output = EapStep> + Send + 'a>>;

/// What comes next.
pub enum EapStep {
    /// This is said, and the other side's answer awaited.
    Say(Vec<u8>),
    /// Others have to be asked about the other side's certificate before anything else happens; then [`EapConversation::verified`].
    Verify {
        /// Who asks them, and says.
        verifier: Arc<dyn PeerVerifier>,
        /// What the other side has shown.
        proof: Box<PeerProof>,
    },
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
#[derive(Debug, Default)]
pub struct EapOutcome {
    /// The Master Session Key, where the method makes one.
    pub msk: Option<Secret>,
    /// Who the EAP peer is, as far as the authenticator knows better than IKE (RFC 7296 section 2.16).
    pub user: Option<Identity>,
    /// How long the EAP peer is believed, where somebody says so.
    pub lifetime: Option<Duration>,
    /// Addresses inside the authenticator's network that somebody else has chosen for the EAP peer; empty as a rule.
    pub addresses: Vec<IpAddr>,
}

impl fmt::Debug for EapStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(packet) => write!(f, "Say({} octets)", packet.len()),
            Self::Verify { proof, .. } => f.debug_tuple("Verify").field(&proof.identity).finish(),
            Self::Succeeded { outcome, .. } => f.debug_tuple("Succeeded").field(outcome).finish(),
            Self::Failed { why, .. } => f.debug_tuple("Failed").field(why).finish(),
        }
    }
}
