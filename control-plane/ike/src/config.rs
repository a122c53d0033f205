//! What an endpoint is configured with (the PAD and SPD of RFC 4301 section 4.4): connections and secrets, checked before they get here.

mod methods;
mod spd;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ike_wire::{Auth, Certificate, Protocol, SignatureError};
use ipsec_types::{
    AddressRange, ChildProposal, DontFragment, DscpSet, Identity, IkeProposal, Limits, Mode, Policy, PolicyId, Secret, SignatureScheme,
    Tfc, TrafficSelector,
};

use crate::io::InstalledChildSa;
use crate::provider::{EapMethod, PeerVerifier, SigningKey, UserVerifier};

pub use methods::{MethodV1, Whose};
pub(crate) use spd::meet;
pub use spd::{Entries, overlap};

/// Everything.
#[derive(Debug, Default)]
pub struct Config {
    /// Peers, in order of preference among those that say equally much of who the peer is.
    pub connections: Vec<Connection>,
    /// Pre-shared keys.
    pub psks: Vec<Psk>,
    /// Post-quantum preshared keys (RFC 8784), with different identifiers.
    pub ppks: Vec<Ppk>,
    /// SPD entries without a peer: bypass and discard.
    pub policies: Vec<Policy>,
    /// Which children share an entry of the SPD; [`Config::share_entries`] finds out.
    pub entries: Entries,
    /// Half-open IKE SAs from which on a responder asks for a COOKIE (RFC 7296 section 2.6).
    pub cookie_threshold: usize,
    /// Half-open IKE SAs of one address from which on it has to show a cookie, and of those that have, from which on no more are begun.
    pub block_threshold: usize,
    /// From which the tokens grow that show a peer that this gateway has lost its state (RFC 6290): the same after a restart. `None` for none.
    pub crash_secret: Option<Secret>,
    /// Whether the keys of each IKE SA leave as [`Output::IkeKeys`](crate::io::Output::IkeKeys): who has them reads everything.
    pub key_log: bool,
}

/// A pre-shared key and the identities it belongs to. Without owners it belongs to everybody; with only our own it serves any peer; one
/// that names others serves them alone.
#[derive(Debug)]
pub struct Psk {
    /// Local or remote identities.
    pub owners: Vec<Identity>,
    /// The key.
    pub secret: Secret,
}

/// A post-quantum preshared key (RFC 8784).
#[derive(Debug)]
pub struct Ppk {
    /// PPK_ID, of type PPK_ID_FIXED.
    pub id: String,
    /// The key.
    pub secret: Secret,
}

/// The PPK between this gateway and a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PpkPolicy {
    /// Which; `None` for any that a peer names, of a responder.
    pub id: Option<String>,
    /// There is no IKE SA without one.
    pub required: bool,
}

/// A peer.
#[derive(Debug)]
pub struct Connection {
    /// Its name.
    pub name: String,
    /// Which versions of IKE are spoken.
    pub version: Version,
    /// Addresses of this gateway; empty for any.
    pub local_addrs: Vec<IpAddr>,
    /// Addresses of the peer, the first to be called; empty for a responder that serves any.
    pub remote_addrs: Vec<IpAddr>,
    /// Offered or accepted, in order of preference. Never empty.
    pub proposals: Vec<IkeProposal>,
    /// Who we say we are.
    pub local_identity: Identity,
    /// Who the peer must be, perhaps a pattern; `None` for anybody with the right key.
    pub remote_identity: Option<Identity>,
    /// How we show it.
    pub local_auth: LocalAuth,
    /// How the peer must.
    pub remote_auth: RemoteAuth,
    /// What else we show, in rounds of their own after the first (RFC 4739); empty as a rule.
    pub local_more: Vec<LocalRound>,
    /// What else the peer must. Whoever has to begin EAP in a round has shown by then all but that; the other side has shown everything.
    pub remote_more: Vec<RemoteRound>,
    /// The post-quantum preshared key beside that; `None` for none.
    pub ppk: Option<PpkPolicy>,
    /// Where addresses come from that the peer asks for (RFC 7296 section 2.19); empty for none.
    pub pools: Vec<Arc<Pool>>,
    /// Addresses inside the peer's network to ask it for, unspecified ones for any; empty for none.
    pub virtual_addresses: Vec<IpAddr>,
    /// With IKEv1, whether who needs an address asks for it; otherwise who has them gives one unasked (Mode Config).
    pub pull: bool,
    /// Child SAs. Never empty.
    pub children: Vec<Child>,
    /// What a second IKE SA between the same identities does.
    pub unique: Unique,
    /// Idle time after which the peer is asked for a sign of life; `None` for never.
    pub dpd_delay: Option<Duration>,
    /// Behind a NAT: idle time after which its mapping is kept alive (RFC 3948 section 4); `None` for never.
    pub keep_alive: Option<Duration>,
    /// When to repeat a request and when to give up.
    pub retransmission: Retransmission,
    /// How long an IKE SA may live.
    pub lifetime: IkeLifetime,
    /// Age of a peer's authentication at which it is asked for another at the latest; `None` for never.
    pub reauthentication: Option<Duration>,
    /// Speak as if a NAT stood in between, so that ESP always travels in UDP.
    pub force_encapsulation: bool,
    /// Messages that do not fit a datagram.
    pub fragmentation: Fragmentation,
    /// Whether the IKE SA may move between addresses (RFC 4555).
    pub mobike: bool,
    /// IKE SAs without a first Child SA.
    pub childless: Childless,
    /// IKEv1's aggressive mode: begun here, and answered. With a shared key whoever calls gets a hash by which it can be guessed at leisure.
    pub aggressive: bool,
    /// Whether the peer, where it is called, may send this gateway to another one (RFC 5685).
    pub follow_redirects: bool,
}

/// Which versions of IKE a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// IKEv1 alone (RFC 2409), which is historic (RFC 9395).
    V1,
    /// IKEv2 alone (RFC 7296).
    #[default]
    V2,
    /// Both, as the peer likes; this gateway begins with IKEv2.
    Any,
}

impl Version {
    /// Whether a peer may speak IKEv1.
    pub const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Any)
    }

    /// Whether it may speak IKEv2, as this gateway does where it begins.
    pub const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Any)
    }
}

/// Whether IKE SAs come up without a Child SA, which CREATE_CHILD_SA brings then (RFC 6023).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Childless {
    /// As the peer likes; an initiator does not begin so.
    #[default]
    Allow,
    /// As the peer likes; an initiator begins so, if the peer can.
    Prefer,
    /// In no other way.
    Force,
    /// No.
    Never,
}

/// What becomes of messages that do not fit a datagram (RFC 7383).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fragmentation {
    /// They leave it to IP to cut them.
    No,
    /// So do ours; the peer may send fragments.
    Accept,
    /// Both sides send fragments, if the peer can.
    Yes {
        /// Octets of ours in IP, its header included.
        datagram: u16,
    },
}

impl Fragmentation {
    /// Whether the peer is told that it may send fragments.
    pub(crate) const fn is_announced(self) -> bool {
        !matches!(self, Self::No)
    }

    /// Octets of a message to there that needs no fragments; `None` where this side sends none.
    pub(crate) fn most_octets(self, remote: IpAddr) -> Option<usize> {
        const UDP: usize = 8;
        const NON_ESP_MARKER: usize = 4;

        let Self::Yes { datagram } = self else { return None };
        let ip = if remote.is_ipv4() { 20 } else { 40 };
        Some(usize::from(datagram).saturating_sub(ip + UDP + NON_ESP_MARKER))
    }
}

impl Default for Fragmentation {
    /// strongSwan's, and what IPv6 carries everywhere.
    fn default() -> Self {
        Self::Yes { datagram: 1280 }
    }
}

/// Addresses of this side's network for peers, and what they are told with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The addresses; of a prefix those that hosts may have.
    pub addresses: AddressRange,
    /// Name servers.
    pub dns: Vec<IpAddr>,
    /// Networks behind this gateway, all of them prefixes.
    pub networks: Vec<AddressRange>,
}

/// How we show who we are.
#[derive(Debug, Clone, Default)]
pub enum LocalAuth {
    /// By a pre-shared key.
    #[default]
    Psk,
    /// By a signature.
    PublicKey(Credential),
    /// By EAP, as an initiator; as a responder only where the peer wants nothing but EAP (RFC 5998).
    Eap(Arc<dyn EapMethod>),
    /// By XAuth, with IKEv1 alone: as the only way (hybrid authentication), or after one of the first two.
    Xauth(XauthUser),
}

/// This gateway as a user of the peer's.
#[derive(Debug, Clone)]
pub struct XauthUser {
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Arc<Secret>,
}

/// A further round in which we show who we are.
#[derive(Debug, Clone)]
pub struct LocalRound {
    /// Who we say we are in it.
    pub identity: Identity,
    /// How we show it.
    pub auth: LocalAuth,
}

/// A further round in which a peer shows who it is.
#[derive(Debug, Clone)]
pub struct RemoteRound {
    /// Who it must be; `None` for anybody who can show it.
    pub identity: Option<Identity>,
    /// How it must.
    pub auth: RemoteAuth,
}

/// A private key, and what tells the peer of the public one.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The private key.
    pub key: Arc<dyn SigningKey>,
    /// What is sent: our certificate and those between it and the authority; or a raw public key (RFC 7670); nothing to a peer that knows the key.
    pub certificates: Vec<Certificate>,
    /// Signature schemes in order of preference, all for this kind of key.
    pub schemes: Vec<SignatureScheme>,
}

/// How a peer has to show who it is.
#[derive(Debug, Clone, Default)]
pub enum RemoteAuth {
    /// By a pre-shared key.
    #[default]
    Psk,
    /// By a signature, which is checked so.
    PublicKey(Arc<dyn PeerVerifier>),
    /// By EAP, as an initiator; as a responder by nothing else than the initiator's EAP (RFC 5998).
    Eap(Arc<dyn EapMethod>),
    /// By XAuth, with IKEv1 alone: as the only way (hybrid authentication), or after one of the first two.
    Xauth(Arc<dyn UserVerifier>),
}

/// How many IKE SAs there may be between one pair of identities (RFC 7296 section 2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unique {
    /// Any number, but INITIAL_CONTACT ends those that the peer has forgotten.
    #[default]
    No,
    /// Any number; INITIAL_CONTACT is neither sent nor heeded.
    Never,
    /// One: a new one ends those before it.
    Replace,
    /// One: the peer is refused another, unless it has forgotten the first (INITIAL_CONTACT).
    Keep,
}

/// Times of retransmission (RFC 7296 section 2.1): `timeout * base^n` after the n-th transmission.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retransmission {
    /// After the first transmission.
    pub timeout: Duration,
    /// In hundredths: 180 means that each wait is 1.8 times the one before.
    pub base_percent: u32,
    /// How many repetitions.
    pub tries: u32,
}

impl Default for Retransmission {
    /// strongSwan's: 4 s, 1.8, 5 tries; 165 s in all.
    fn default() -> Self {
        Self { timeout: Duration::from_secs(4), base_percent: 180, tries: 5 }
    }
}

/// How long an IKE SA may live (RFC 7296 section 2.8).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IkeLifetime {
    /// Age at which it is rekeyed at the latest; `None` for never.
    pub rekey: Option<Duration>,
    /// Age at which it is deleted; `None` for never.
    pub hard: Option<Duration>,
    /// Up to so much earlier it is rekeyed, by chance, so that two peers do not rekey at once.
    pub jitter: Duration,
}

/// How long a Child SA may live (RFC 7296 section 2.8, RFC 4301 section 4.4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChildLifetime {
    /// Where it is rekeyed at the latest.
    pub soft: Limits,
    /// Where it ends.
    pub hard: Limits,
    /// Up to so much earlier it is rekeyed, by chance.
    pub jitter: Limits,
}

/// What a Child SA protects.
#[derive(Debug)]
pub struct Child {
    /// Its name.
    pub name: String,
    /// Its SPD entry.
    pub policy: PolicyId,
    /// The entry's priority.
    pub priority: u32,
    /// Offered or accepted, in order of preference, all for one protocol. Never empty.
    pub proposals: Vec<ChildProposal>,
    /// Selectors of this side. Never empty.
    pub local_selectors: Vec<TrafficSelector>,
    /// Selectors of the peer's side. Never empty.
    pub remote_selectors: Vec<TrafficSelector>,
    /// `local_selectors` are those of any address that the peer may give us: once it has, they are that address.
    pub local_dynamic: bool,
    /// `remote_selectors` are those of any address that we may give to a peer: each peer's SAs have its own.
    pub remote_dynamic: bool,
    /// When to set it up.
    pub start_action: StartAction,
    /// What becomes of it when the peer is dead.
    pub dpd_action: DpdAction,
    /// What becomes of it when the peer deletes it.
    pub close_action: StartAction,
    /// Tunnel or transport mode; an SA in the other one is not accepted.
    pub mode: Mode,
    /// The DF bit of outer headers.
    pub dont_fragment: DontFragment,
    /// Whether outer headers have the DSCP of the packets inside.
    pub copy_dscp: bool,
    /// Traffic flow confidentiality; nothing but with ESP in tunnel mode.
    pub tfc: Tfc,
    /// The classes of outbound packets that its SAs carry. Children that differ in nothing else are for several SAs between the same selectors
    /// (RFC 4301 section 4.1).
    pub dscp: DscpSet,
    /// Packets of replay window; 0 for none.
    pub replay_window: u32,
    /// How long an SA may live.
    pub lifetime: ChildLifetime,
}

/// What becomes of a Child SA whose peer does not answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DpdAction {
    /// Nothing beyond what its start action says.
    #[default]
    Clear,
    /// It is set up again with the first packet that matches.
    Trap,
    /// It is set up again at once.
    Restart,
}

/// When to set a Child SA up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartAction {
    /// When the peer or an operator does; packets that match are dropped before.
    None,
    /// When the first packet matches.
    Trap,
    /// At once.
    Start,
}

impl Connection {
    /// Whether some of its children are for packets of certain classes alone.
    pub(crate) fn has_classes(&self) -> bool {
        self.children.iter().any(|child| child.dscp != DscpSet::ALL)
    }

    /// Who we say we are in each round of authentication, and how we show it.
    pub(crate) fn local_rounds(&self) -> impl DoubleEndedIterator<Item = (&Identity, &LocalAuth)> {
        let more = self.local_more.iter().map(|round| (&round.identity, &round.auth));
        core::iter::once((&self.local_identity, &self.local_auth)).chain(more)
    }

    /// Who the peer must be in each round, and how it shows it.
    pub(crate) fn remote_rounds(&self) -> impl DoubleEndedIterator<Item = (Option<&Identity>, &RemoteAuth)> {
        let more = self.remote_more.iter().map(|round| (round.identity.as_ref(), &round.auth));
        core::iter::once((self.remote_identity.as_ref(), &self.remote_auth)).chain(more)
    }

    /// Whether either side shows a user by XAuth.
    pub(crate) fn has_users(&self) -> bool {
        self.local_rounds().any(|(_, way)| matches!(way, LocalAuth::Xauth(_)))
            || self.remote_rounds().any(|(_, way)| matches!(way, RemoteAuth::Xauth(_)))
    }

    /// Whether either side authenticates more than once.
    pub(crate) const fn has_rounds(&self) -> bool {
        !self.local_more.is_empty() || !self.remote_more.is_empty()
    }
}

impl LocalAuth {
    /// As the configuration writes it.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::PublicKey(_) => "pubkey",
            Self::Eap(method) => method.keyword(),
            Self::Xauth(_) => "xauth",
        }
    }
}

impl RemoteAuth {
    /// As the configuration writes it.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::PublicKey(_) => "pubkey",
            Self::Eap(method) => method.keyword(),
            Self::Xauth(_) => "xauth",
        }
    }

    /// Whether an AUTH payload is of this kind, or for EAP that there is none.
    pub(crate) fn takes(&self, auth: Option<&Auth>) -> bool {
        let is_signature = |auth: &Auth| !matches!(auth.signature(), Err(SignatureError::Method(_)));
        match self {
            Self::Psk => auth.is_some_and(|auth| !is_signature(auth)),
            Self::PublicKey(_) => auth.is_some_and(is_signature),
            Self::Eap(_) => auth.is_none(),
            Self::Xauth(_) => false,
        }
    }
}

impl Child {
    /// The protocol of its SAs.
    pub(crate) fn protocol(&self) -> Protocol {
        self.proposals.first().map_or(Protocol::ESP, Protocol::from)
    }

    /// Whether the other is between the same selectors.
    pub fn selects_like(&self, other: &Self) -> bool {
        (&self.local_selectors, &self.remote_selectors) == (&other.local_selectors, &other.remote_selectors)
    }

    /// Whether an SA of an earlier time is what it would set up.
    pub(crate) fn covers(&self, child_sa: &InstalledChildSa) -> bool {
        let within = |ours: &[TrafficSelector], theirs: &[TrafficSelector]| {
            theirs.iter().all(|theirs| ours.iter().any(|ours| ours.intersect(theirs) == Some(*theirs)))
        };
        within(&self.local_selectors, &child_sa.local_selectors) && within(&self.remote_selectors, &child_sa.remote_selectors)
    }
}
