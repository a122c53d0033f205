//! What goes into an [`Endpoint`](crate::Endpoint) and what comes out.
//!
//! The core does nothing by itself: the driver hands it [`Input`]s with the time, then takes [`Output`]s until there are none, in order.

mod status;
mod trace;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ike_wire::EapMessage;
use ipsec_types::{
    ChildSa, ChildSaId, EncryptionAlgorithm, Flow, Identity, IkeSpi, IntegrityAlgorithm, KeyExchangeMethod, KeyKind, Policy, PolicyId,
    Secret, SignatureEncoding, SignatureScheme, Spi, TrafficSelector,
};

use crate::config::Config;
use crate::error::{Detail, Failure};
use crate::provider::{CryptoError, EapConversation, EapStep, PeerProof, PeerVerifier, PrivateKey, Provider, SigningKey};

pub use crate::trace::KeptTrace;
pub use status::{ChildSaStatus, IkeSaStatus, LeaseStatus, PoolStatus, PpkStatus, SaState, VirtualAddresses, WantStatus};
pub use trace::{Record, Trace, TracedField, TracedPayload};

/// An IKE message between two addresses, without UDP header and without the non-ESP marker of port 4500 (RFC 3948 section 2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// This gateway's address and port.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// From the IKE header on.
    pub payload: Vec<u8>,
}

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// An IKE message arrived.
    Datagram(Datagram),
    /// The time that [`Endpoint::next_timeout`](crate::Endpoint::next_timeout) named has come.
    Timeout,
    /// An operator or the configuration wants something.
    Command(Command),
    /// A job is done.
    JobDone {
        /// From the [`Output::Job`].
        id: JobId,
        /// Its result.
        result: JobResult,
    },
    /// SPIs that were asked for by [`Output::LeaseSpis`].
    SpisLeased(Vec<Spi>),
    /// The data plane has answered an [`Output::Install`].
    Installed {
        /// Which Child SA.
        child: ChildSaId,
        /// Refusals say why.
        result: Result<(), String>,
    },
    /// The data plane reports.
    Dataplane(Dataplane),
}

/// News from the data plane.
#[derive(Debug)]
pub enum Dataplane {
    /// It is there, and accepts commands of this epoch.
    Attached {
        /// Random at each of its starts: another value than before means that every SA is gone.
        boot: [u8; 16],
        /// Rises with each attachment; the high half of new Child SA identifiers.
        epoch: u64,
        /// What it has installed.
        child_sas: Vec<InstalledChildSa>,
        /// Addresses IKE may speak from.
        local_addresses: Vec<IpAddr>,
    },
    /// It is gone; retransmission and dead-peer clocks stand still until it is back.
    Detached,
    /// A packet waits for an SA.
    Acquire {
        /// Names this Acquire in a refusal.
        id: u64,
        /// The policy that wants protection.
        policy: PolicyId,
        /// The packet.
        flow: Flow,
    },
    /// A soft limit was reached.
    SoftExpire(ChildSaId),
    /// A hard limit was reached: the SA carries nothing any more.
    HardExpire(ChildSaId),
    /// The peer's outer address changed behind its NAT.
    PeerMoved {
        /// The SA that noticed.
        child: ChildSaId,
        /// Where the peer is now.
        remote: SocketAddr,
    },
    /// ESP or AH came with an SPI that no SA has. The data plane bounds how often it says so.
    SpiMiss {
        /// This gateway.
        local: IpAddr,
        /// The sender, as it says.
        remote: IpAddr,
        /// The SPI.
        spi: u32,
    },
    /// Authenticated packets arrive: the peer lives (RFC 7296 section 2.4).
    LastInbound {
        /// The SA.
        child: ChildSaId,
        /// How long ago the last packet came.
        age: Duration,
    },
}

/// A Child SA that the data plane has, whoever installed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstalledChildSa {
    /// Its identifier.
    pub id: ChildSaId,
    /// The SPD entry it serves.
    pub policy: PolicyId,
    /// The peer's outer address.
    pub remote: IpAddr,
    /// Selectors of the local side.
    pub local_selectors: Vec<TrafficSelector>,
    /// Selectors of the remote side.
    pub remote_selectors: Vec<TrafficSelector>,
    /// Its outbound half has ended; the inbound half lingers.
    pub retiring: bool,
}

/// What an operator may ask for.
#[derive(Debug)]
pub enum Command {
    /// Replaces the configuration.
    Configure(Box<Config>),
    /// Sets a Child SA up.
    Initiate {
        /// Answered by [`Event::Answer`].
        request: RequestId,
        /// `child` or `connection/child`.
        child: String,
    },
    /// Deletes every IKE SA, and begins nothing any more.
    Shutdown,
    /// Replaces SAs by new ones with new keys (RFC 7296 section 2.8).
    Rekey {
        /// Answered by [`Event::Answer`].
        request: RequestId,
        /// Which.
        target: Target,
    },
    /// Lets the peers of IKE SAs show anew who they are, in IKE SAs that take the place of these (RFC 7296 section 2.8.3).
    Reauthenticate {
        /// Answered by [`Event::Answer`], as rekeying is.
        request: RequestId,
        /// Which.
        target: Target,
    },
    /// Deletes SAs.
    Terminate {
        /// Answered by [`Event::Answer`].
        request: RequestId,
        /// Which.
        target: Target,
    },
}

/// What to delete or rekey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Every IKE SA of the connection.
    Connection(String),
    /// Every Child SA of a child of the configuration.
    Child {
        /// Of this connection alone; `None` for whichever has a child of the name.
        connection: Option<String>,
        /// The child's name.
        name: String,
    },
    /// One IKE SA.
    IkeSa(IkeSaId),
    /// One Child SA.
    ChildSa(ChildSaId),
}

/// Names a request of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u64);

/// Names an IKE SA for operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IkeSaId(pub u64);

/// Names a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub u64);

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// Send this.
    Transmit(Datagram),
    /// Send a NAT-keepalive: UDP with the one octet 0xff, and no non-ESP marker before it (RFC 3948 section 2.3).
    KeepAlive {
        /// This gateway's address and port.
        local: SocketAddr,
        /// The peer's.
        remote: SocketAddr,
    },
    /// Ask the data plane for this many inbound SPIs.
    LeaseSpis(u32),
    /// Install this pair of SAs and answer with [`Input::Installed`].
    Install(Box<ChildSa>),
    /// Start a parked outbound SA.
    Activate(ChildSaId),
    /// Move an SA to other outer addresses.
    Retarget {
        /// Which.
        child: ChildSaId,
        /// This gateway.
        local: SocketAddr,
        /// The peer.
        remote: SocketAddr,
    },
    /// End an SA: outbound at once, inbound after `linger`.
    Retire {
        /// Which.
        child: ChildSaId,
        /// For packets still under way.
        linger: Duration,
    },
    /// The whole SPD.
    SetPolicies(Vec<Policy>),
    /// These Child SAs are known; the data plane removes the others.
    Claim(Vec<ChildSaId>),
    /// The negotiation an Acquire asked for has failed.
    RefuseAcquire {
        /// Which.
        id: u64,
        /// When the flow may ask again.
        retry_after: Duration,
    },
    /// Slow work; run it elsewhere and answer with [`Input::JobDone`].
    Job {
        /// Names it in the answer.
        id: JobId,
        /// What to do.
        job: Job,
    },
    /// The keys of an IKE SA; only where the configuration wants them ([`Config::key_log`](crate::config::Config)).
    IkeKeys(Box<IkeSaKeys>),
    /// The key of an IKE SA of version 1; where [`Self::IkeKeys`] are wanted.
    IkeV1Key(Box<IkeV1Key>),
    /// For operators and logs.
    Event(Event),
    /// A message or step, to be decoded when somebody wants to see it; secrets never.
    Trace(Box<KeptTrace>),
}

/// What opens the Encrypted payloads of an IKE SA (RFC 7296 section 2.14). Its `Debug` shows lengths alone.
#[derive(Debug)]
pub struct IkeSaKeys {
    /// Initiator's SPI.
    pub initiator_spi: IkeSpi,
    /// Responder's SPI.
    pub responder_spi: IkeSpi,
    /// The cipher.
    pub encryption: EncryptionAlgorithm,
    /// The integrity algorithm; `None` with AEAD.
    pub integrity: Option<IntegrityAlgorithm>,
    /// SK_ei, with its salt.
    pub sk_ei: Secret,
    /// SK_er, with its salt.
    pub sk_er: Secret,
    /// SK_ai; empty with AEAD.
    pub sk_ai: Secret,
    /// SK_ar; empty with AEAD.
    pub sk_ar: Secret,
}

/// What opens the messages of an IKE SA of version 1 (RFC 2409 appendix B). Its `Debug` shows lengths alone.
#[derive(Debug)]
pub struct IkeV1Key {
    /// CKY-I.
    pub initiator_cookie: IkeSpi,
    /// Of the cipher, out of SKEYID_e.
    pub key: Secret,
}

/// Slow work.
pub enum Job {
    /// Make a key pair.
    Generate {
        /// Of this method.
        method: KeyExchangeMethod,
    },
    /// Compute the shared secret.
    Agree {
        /// Our half.
        private: Box<dyn PrivateKey>,
        /// The peer's half.
        peer_public: Vec<u8>,
    },
    /// Both, as a responder does.
    GenerateAndAgree {
        /// The method.
        method: KeyExchangeMethod,
        /// The initiator's half.
        peer_public: Vec<u8>,
    },
    /// Sign.
    Sign {
        /// With this key.
        key: Arc<dyn SigningKey>,
        /// By this algorithm.
        scheme: SignatureScheme,
        /// Written so.
        encoding: SignatureEncoding,
        /// What is signed.
        message: Vec<u8>,
    },
    /// Check who the peer is, after the verifier's inquiries.
    Verify {
        /// By whom.
        verifier: Arc<dyn PeerVerifier>,
        /// What the peer shows.
        proof: PeerProof,
    },
    /// Go on with an EAP conversation, which others may have to answer ([`EapConversation::wait`]).
    Eap {
        /// Which.
        conversation: Box<dyn EapConversation>,
        /// What the other side has said.
        packet: Option<EapMessage>,
    },
}

/// What came of a job.
pub enum JobResult {
    /// Of [`Job::Generate`].
    Generated(Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>),
    /// Of [`Job::Agree`].
    Agreed(Result<Secret, CryptoError>),
    /// Of [`Job::GenerateAndAgree`]: our public value and the shared secret.
    GeneratedAndAgreed(Result<(Vec<u8>, Secret), CryptoError>),
    /// Of [`Job::Sign`]: the signature.
    Signed(Result<Vec<u8>, CryptoError>),
    /// Of [`Job::Verify`]: why the peer is not who it says.
    Verified(Result<(), Box<Detail>>),
    /// Of [`Job::Eap`]: the conversation, and what comes next.
    Eap(Box<dyn EapConversation>, EapStep),
}

impl Job {
    /// Whether it takes some tens of microseconds, which is what handing it to a thread and its result back takes, too.
    pub fn is_quick(&self) -> bool {
        let quick = |method| matches!(method, KeyExchangeMethod::X25519 | KeyExchangeMethod::Ecp256);
        match self {
            Self::Generate { method } | Self::GenerateAndAgree { method, .. } => quick(*method),
            Self::Sign { key, .. } => !key.waits() && matches!(key.kind(), KeyKind::EcdsaP256 | KeyKind::Ed25519),
            Self::Agree { .. } | Self::Verify { .. } | Self::Eap { .. } => false,
        }
    }

    /// Does the work. Blocks for some milliseconds, a key in a token longer.
    pub fn run(self, provider: &Provider) -> JobResult {
        let generate =
            |method| provider.key_exchange(method).ok_or(CryptoError::Unavailable).and_then(crate::provider::KeyExchange::generate);
        match self {
            Self::Generate { method } => JobResult::Generated(generate(method)),
            Self::Agree { private, peer_public } => JobResult::Agreed(private.agree(&peer_public)),
            Self::GenerateAndAgree { method, peer_public } => JobResult::GeneratedAndAgreed(
                generate(method).and_then(|(private, public)| private.agree(&peer_public).map(|secret| (public, secret))),
            ),
            Self::Sign { key, scheme, encoding, message } => JobResult::Signed(key.sign(scheme, encoding, &message)),
            Self::Verify { verifier, proof } => JobResult::Verified(verifier.verify(&proof)),
            Self::Eap { mut conversation, packet } => {
                let step = conversation.step(packet.as_deref());
                JobResult::Eap(conversation, step)
            }
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generate { .. } => "Generate",
            Self::Agree { .. } => "Agree",
            Self::GenerateAndAgree { .. } => "GenerateAndAgree",
            Self::Sign { .. } => "Sign",
            Self::Verify { .. } => "Verify",
            Self::Eap { .. } => "Eap",
        })
    }
}

impl fmt::Debug for JobResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Generated(Ok(_))
            | Self::Agreed(Ok(_))
            | Self::GeneratedAndAgreed(Ok(_))
            | Self::Signed(Ok(_))
            | Self::Verified(Ok(()))
            | Self::Eap(_, EapStep::Say(_) | EapStep::Verify { .. } | EapStep::Succeeded { .. }) => "done",
            Self::Generated(Err(_))
            | Self::Agreed(Err(_))
            | Self::GeneratedAndAgreed(Err(_))
            | Self::Signed(Err(_))
            | Self::Verified(Err(_))
            | Self::Eap(_, EapStep::Failed { .. }) => "failed",
        })
    }
}

/// What operators see happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A command is carried out, or has failed.
    Answer {
        /// Which command.
        request: RequestId,
        /// What came of it.
        result: Result<Answer, Failure>,
    },
    /// Both peers are authenticated.
    IkeSaEstablished(IkeSaId),
    /// The IKE SA is gone.
    IkeSaClosed {
        /// Which.
        id: IkeSaId,
        /// Its connection.
        connection: String,
        /// Why; `None` for an orderly deletion.
        failure: Option<Failure>,
    },
    /// One side has addresses inside the other's network.
    AddressesAssigned {
        /// Under which IKE SA.
        ike_sa: IkeSaId,
        /// Which.
        addresses: VirtualAddresses,
    },
    /// Phase 1 has been replaced, and one side has other addresses than before inside the other's network (IKEv1).
    AddressesChanged {
        /// Under which IKE SA.
        ike_sa: IkeSaId,
        /// Those under the one before.
        before: VirtualAddresses,
        /// Those now.
        after: VirtualAddresses,
        /// The Child SAs of those before, which are deleted. The side whose addresses they are sets others up.
        child_sas: Vec<ChildSaId>,
    },
    /// The Child SA is installed.
    ChildSaInstalled {
        /// Under which IKE SA.
        ike_sa: IkeSaId,
        /// Which.
        child: ChildSaId,
    },
    /// The peer has sent this gateway to another one, which is called next (RFC 5685).
    Redirected {
        /// Its connection.
        connection: String,
        /// The one that was called.
        from: IpAddr,
        /// The other one.
        to: IpAddr,
    },
    /// An IKE SA comes up without the PPK that is configured for it (RFC 8784 section 6); it is established next.
    PpkMissing {
        /// Which.
        ike_sa: IkeSaId,
        /// Its connection.
        connection: String,
        /// Why.
        why: String,
    },
    /// An EAP packet goes out (RFC 7296 section 2.16).
    EapRound {
        /// Its connection.
        connection: String,
        /// The peer.
        remote: SocketAddr,
        /// Which one of the conversation, from 1.
        round: u32,
        /// What it is, without what is in it.
        packet: String,
    },
    /// A peer is asked for its user (XAuth, with IKEv1).
    UserAsked {
        /// Its connection.
        connection: String,
        /// The peer.
        remote: SocketAddr,
    },
    /// A peer has further IKE SAs under the same identity, or had them until now.
    IkeSaNotAlone {
        /// The new one.
        ike_sa: IkeSaId,
        /// Its connection.
        connection: String,
        /// The peer: its identity in IKE, or that of the EAP user.
        remote: Identity,
        /// The others, oldest first; no more than a few of them.
        others: Vec<IkeSaId>,
        /// How many there are.
        count: usize,
        /// Whether they end.
        replaced: bool,
        /// What says so.
        why: &'static str,
    },
    /// An IKE SA has taken the place of another, with its Child SAs; the other is deleted next.
    IkeSaRekeyed {
        /// The one replaced.
        old: IkeSaId,
        /// The new one.
        new: IkeSaId,
    },
    /// A Child SA is installed in place of another, which is deleted next.
    ChildSaRekeyed {
        /// Under which IKE SA.
        ike_sa: IkeSaId,
        /// The one replaced.
        old: ChildSaId,
        /// The new one.
        new: ChildSaId,
    },
    /// The Child SA is gone.
    ChildSaClosed {
        /// Under which IKE SA.
        ike_sa: IkeSaId,
        /// Which.
        child: ChildSaId,
        /// Its name in the configuration.
        name: String,
    },
    /// A negotiation failed.
    NegotiationFailed {
        /// Its connection, where one was found.
        connection: Option<String>,
        /// The peer.
        remote: SocketAddr,
        /// Why.
        failure: Failure,
    },
    /// The data plane asked for an SA.
    Acquire {
        /// The connection that answers it.
        connection: String,
        /// The child.
        child: String,
        /// The packet.
        flow: Flow,
    },
}

/// A command's success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The Child SA is installed.
    Initiated {
        /// Its IKE SA.
        ike_sa: IkeSaId,
        /// The Child SA.
        child: ChildSaId,
    },
    /// So many SAs were deleted.
    Terminated(u32),
    /// SAs took the place of others.
    Rekeyed {
        /// The new IKE SAs.
        ike_sas: Vec<IkeSaId>,
        /// The new Child SAs.
        child_sas: Vec<ChildSaId>,
    },
}
