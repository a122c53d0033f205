//! Why a negotiation failed, for people: both sides of what did not meet, and what to do. Never a key.
//!
//! A responder knows both sides. An initiator is told a notification and nothing else (RFC 7296 section 3.10.1): it can say what it
//! offered, and what to compare at the peer.

mod addresses;
mod authentication;
mod overlap;
mod ppk;
mod xauth;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use ike_wire::{Gateway, NotifyType, Proposal, Protocol, Sa, TrafficSelectors, Transform, TransformType};
use ipsec_types::{
    ChildProposal, EncryptionAlgorithm, IkeProposal, IntegrityAlgorithm, KeyExchangeMethod, PrfAlgorithm, SequenceNumbers, TrafficSelector,
};

use crate::config::Child;
use crate::error::{Detail, Failure};
use crate::io::Datagram;
use crate::policy::ConnectionRef;
use crate::v2::nat::NatStatus;

pub(crate) use self::addresses::{address_required, chosen_address, no_address};
use self::authentication::own_key;
pub(crate) use self::authentication::{
    bad_identity, bad_signature, cannot_prove, eap_alone, eap_refused, endless_eap, no_key, not_aggressive, not_unique, one_round,
    other_eap_key, other_peer, other_rounds, unknown_peer, without_signature, wrong_key, wrong_method,
};
pub(crate) use self::overlap::held_by_another;
pub(crate) use self::ppk::{no_ppk_identity, or_another_ppk, peer_without_ppk, ppk_not_used, unknown_ppk};
pub(crate) use self::xauth::{no_user, not_asked, other_xauth, refused_user, unknown_xauth_question};

/// What a refusal does not say.
const NOT_TOLD: &str = "not told: a refusal names no reason; the peer's log does";

/// A configured proposal.
pub(crate) trait Configured: ToString {
    /// Its key in the configuration.
    fn key(&self) -> &'static str;

    /// What it is for.
    fn protocol(&self) -> Protocol;

    /// Every transform it names.
    fn transforms(&self) -> Vec<Transform>;
}

impl Configured for IkeProposal {
    fn key(&self) -> &'static str {
        "proposals"
    }

    fn protocol(&self) -> Protocol {
        Protocol::IKE
    }

    fn transforms(&self) -> Vec<Transform> {
        let (encryption, integrity) = (self.encryption().iter().copied(), self.integrity().iter().copied());
        let (prf, key_exchange) = (self.prf().iter().copied(), self.key_exchange().iter().copied());
        let protection = encryption.map(Transform::from).chain(integrity.map(Transform::from));
        protection.chain(prf.map(Transform::from)).chain(key_exchange.map(Transform::from)).collect()
    }
}

impl Configured for ChildProposal {
    fn key(&self) -> &'static str {
        match self {
            Self::Esp(_) => "esp_proposals",
            Self::Ah(_) => "ah_proposals",
        }
    }

    fn protocol(&self) -> Protocol {
        self.into()
    }

    fn transforms(&self) -> Vec<Transform> {
        let (encryption, integrity) = (self.encryption().iter().copied(), self.integrity().iter().copied());
        let (key_exchange, numbers) = (self.key_exchange().iter().copied(), self.sequence_numbers().iter().copied());
        let protection = encryption.map(Transform::from).chain(integrity.map(Transform::from));
        protection.chain(key_exchange.map(Transform::from)).chain(numbers.map(Transform::from)).collect()
    }
}

/// No proposal of theirs is one of ours. `compared`: the transform types that count in this exchange.
pub(crate) fn proposals<T: Configured>(ours: &[T], theirs: &Sa, compared: &[TransformType]) -> Box<Detail> {
    let pairs = ours.iter().flat_map(|own| theirs.proposals.iter().map(move |offered| (own, offered)));
    let compare = |(own, offered)| (differences(own, offered, compared), own, offered);
    let distance = |differences: &[Difference]| (differences.iter().any(Difference::is_of_protocol), differences.len());
    let closest = pairs.map(compare).min_by_key(|(differences, ..)| distance(differences));
    let (would_match, remedy) = closest.map_or_else(Default::default, |(differences, own, offered)| {
        let (key, own, offered) = (own.key(), own.to_string(), describe(offered));
        let parts: Vec<String> = differences.iter().map(ToString::to_string).collect();
        let pair =
            if ours.len() + theirs.proposals.len() > 2 { format!("closest are ours {own} and theirs {offered}: ") } else { String::new() };
        match parts.is_empty() {
            true => (format!("{pair}every transform type has one in common, but they do not go together here"), String::new()),
            false => (format!("{pair}they differ in {}", parts.join("; ")), remedy(key, &differences)),
        }
    });
    let (ours, theirs) = (list(ours, ", "), theirs.proposals.iter().map(describe).collect::<Vec<_>>().join(", "));
    Detail { summary: "no proposal in common".into(), ours, theirs, would_match, remedy }.bounded()
}

/// Transform types that count in IKE_SA_INIT, and where an IKE SA is rekeyed.
pub(crate) const IKE_TYPES: &[TransformType] = &[TransformType::ENCR, TransformType::INTEG, TransformType::PRF, TransformType::KE];
/// Those that count for the Child SA of IKE_AUTH (RFC 7296 section 1.2).
pub(crate) const FIRST_CHILD_TYPES: &[TransformType] = &[TransformType::ENCR, TransformType::INTEG, TransformType::ESN];
/// Those that count in CREATE_CHILD_SA.
pub(crate) const CHILD_TYPES: &[TransformType] = &[TransformType::ENCR, TransformType::INTEG, TransformType::KE, TransformType::ESN];

/// Where two proposals part.
enum Difference {
    /// One is for ESP, the other for AH.
    Protocol { ours: Protocol, theirs: Protocol },
    /// A transform type without a transform in common.
    Transforms { kind: TransformType, ours: Vec<Transform>, theirs: Vec<Transform> },
}

impl Difference {
    const fn is_of_protocol(&self) -> bool {
        matches!(self, Self::Protocol { .. })
    }

    fn ours(&self) -> String {
        match self {
            Self::Protocol { ours, .. } => ours.to_string(),
            Self::Transforms { ours, .. } => names(ours, " or "),
        }
    }

    fn theirs(&self) -> String {
        match self {
            Self::Protocol { theirs, .. } => theirs.to_string(),
            Self::Transforms { theirs, .. } => names(theirs, " or "),
        }
    }
}

impl core::fmt::Display for Difference {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Protocol { .. } => f.write_str("protocol")?,
            Self::Transforms { kind, .. } => kind.fmt(f)?,
        }
        write!(f, " (ours {}, theirs {})", self.ours(), self.theirs())
    }
}

fn remedy(key: &str, differences: &[Difference]) -> String {
    if differences.iter().any(Difference::is_of_protocol) {
        return "write esp_proposals on both sides, or ah_proposals".into();
    }
    let all = |of: fn(&Difference) -> String| differences.iter().map(of).collect::<Vec<_>>().join(", ");
    format!("let one of {key} here have {}, or one at the peer {}", all(Difference::theirs), all(Difference::ours))
}

fn differences<T: Configured>(own: &T, offered: &Proposal, compared: &[TransformType]) -> Vec<Difference> {
    if own.protocol() != offered.protocol {
        return alloc::vec![Difference::Protocol { ours: own.protocol(), theirs: offered.protocol }];
    }
    let (own, offered) = (&own.transforms(), &offered.transforms);
    // A type nobody here understands makes a proposal unacceptable (RFC 7296 section 3.3.6).
    let known = |kind: TransformType| IKE_TYPES.contains(&kind) || CHILD_TYPES.contains(&kind);
    let mut unknown: Vec<TransformType> = offered.iter().map(|transform| transform.kind).filter(|kind| !known(*kind)).collect();
    unknown.dedup();
    let kinds = compared.iter().copied().chain(unknown);
    kinds
        .filter_map(|kind| {
            let (ours, theirs) = (of_type(own, kind), of_type(offered, kind));
            let meet = ours.iter().any(|transform| theirs.contains(transform));
            (!meet).then_some(Difference::Transforms { kind, ours, theirs })
        })
        .collect()
}

/// The transforms of a type, with what leaving the type out means; ESN must not be left out (RFC 7296 section 3.3.3).
fn of_type(all: &[Transform], kind: TransformType) -> Vec<Transform> {
    let transforms: Vec<Transform> = all.iter().filter(|transform| transform.kind == kind).cloned().collect();
    match kind {
        _ if !transforms.is_empty() => transforms,
        TransformType::ESN => Vec::new(),
        other => alloc::vec![Transform::new(other, Transform::NONE, None)],
    }
}

/// In the syntax of the configuration where the algorithms are known, by number where not.
pub(crate) fn describe(proposal: &Proposal) -> String {
    let protocol = if proposal.protocol == Protocol::AH { "AH " } else { "" };
    format!("{protocol}{}", names(&proposal.transforms, "-"))
}

fn names(transforms: &[Transform], separator: &str) -> String {
    let names: Vec<String> = transforms.iter().map(name).collect();
    if names.is_empty() { "nothing".into() } else { names.join(separator) }
}

fn name(transform: &Transform) -> String {
    let keyword = match transform.kind {
        TransformType::ENCR => transform.encryption().map(EncryptionAlgorithm::keyword),
        TransformType::PRF => transform.prf().map(PrfAlgorithm::keyword),
        TransformType::INTEG | TransformType::KE if transform.id == Transform::NONE => Some("none"),
        TransformType::INTEG => transform.integrity().map(IntegrityAlgorithm::keyword),
        TransformType::KE => transform.key_exchange().map(KeyExchangeMethod::keyword),
        TransformType::ESN => transform.sequence_numbers().map(SequenceNumbers::keyword),
        _ => None,
    };
    let unknown = || if transform.name().is_some() { transform.to_string() } else { format!("{}:{}", transform.kind, transform.id) };
    keyword.map_or_else(unknown, ToString::to_string)
}

/// A choice that was not offered, in a line: the peer breaks section 2.7.
pub(crate) fn not_offered<T: Configured>(ours: &[T], answer: &Sa) -> String {
    let chosen: Vec<String> = answer.proposals.iter().map(describe).collect();
    format!("it chose {}, offered were {}", chosen.join(", "), list(ours, ", "))
}

/// No child of ours selects traffic that the peer wants; `theirs` is what it wants of our side and of its own.
pub(crate) fn selectors(children: &[Child], theirs: (&TrafficSelectors, &TrafficSelectors)) -> Box<Detail> {
    let ours: Vec<String> = children.iter().map(|child| format!("{} {}", child.name, both(child))).collect();
    let parts: Vec<String> = children
        .iter()
        .map(|child| {
            let (local, remote) = (in_common(&child.local_selectors, theirs.0), in_common(&child.remote_selectors, theirs.1));
            format!("{}: of our side {local}, of theirs {remote}", child.name)
        })
        .collect();
    let wanted = (wire(theirs.0), wire(theirs.1));
    let remedy =
        format!("let a child here have local_ts {} and remote_ts {}, or change the peer's to mirror a child here", wanted.0, wanted.1);
    Detail {
        summary: "no traffic selectors in common".into(),
        ours: ours.join("; "),
        theirs: format!("{} === {}", wanted.0, wanted.1),
        would_match: parts.join("; "),
        remedy,
    }
    .bounded()
}

/// An answer with more than was offered, in a line: the peer breaks section 2.9.
pub(crate) fn wider(child: &Child, answer: (&TrafficSelectors, &TrafficSelectors)) -> String {
    format!("it answered {} === {}, offered were {}", wire(answer.0), wire(answer.1), both(child))
}

/// `local === remote`.
fn both(child: &Child) -> String {
    format!("{} === {}", list(&child.local_selectors, " "), list(&child.remote_selectors, " "))
}

fn wire(selectors: &TrafficSelectors) -> String {
    list(&selectors.selectors, " ")
}

/// What both select, or why that is nothing.
fn in_common(ours: &[TrafficSelector], theirs: &TrafficSelectors) -> String {
    let pairs: Vec<(TrafficSelector, TrafficSelector)> =
        theirs.supported().flat_map(|offered| ours.iter().map(move |own| (*own, offered))).collect();
    let common: Vec<TrafficSelector> = pairs.iter().filter_map(|(own, offered)| own.intersect(offered)).collect();
    if !common.is_empty() {
        return format!("{} in common", list(&common, " "));
    }
    let overlaps = |(own, offered): &&(TrafficSelector, TrafficSelector)| own.addresses().intersect(offered.addresses()).is_some();
    let protocols = |(own, offered): &&(TrafficSelector, TrafficSelector)| {
        own.protocol() == offered.protocol() || own.protocol() == 0 || offered.protocol() == 0
    };
    let same_family =
        |(own, offered): &(TrafficSelector, TrafficSelector)| own.addresses().first().is_ipv4() == offered.addresses().first().is_ipv4();
    let why = if pairs.is_empty() {
        "theirs are of no kind that can be enforced here"
    } else if !pairs.iter().any(same_family) {
        "the address families differ"
    } else if pairs.iter().all(|pair| !overlaps(&pair)) {
        "the addresses do not overlap"
    } else if !pairs.iter().filter(overlaps).any(|pair| protocols(&pair)) {
        "the addresses overlap, the protocols differ"
    } else {
        "addresses and protocol overlap, the ports do not"
    };
    format!("nothing in common ({why})")
}

/// A child for AH, and a NAT before one of the gateways, or what looks like one.
pub(crate) fn ah_behind_nat(child: &Child, nat: NatStatus) -> Box<Detail> {
    let theirs = match (nat.local, nat.remote) {
        (true, true) => "NATs stand before both gateways",
        (true, false) => "a NAT stands before this gateway",
        (false, true) => "a NAT stands before the peer, or it says so to have ESP in UDP",
        (false, false) => "this connection has encap = true, which is for ESP",
    };
    Detail {
        summary: "AH cannot cross a NAT".into(),
        ours: format!("child {}: ah_proposals {}", child.name, list(&child.proposals, ", ")),
        theirs: theirs.into(),
        would_match: "gateways that see each other's own addresses".into(),
        remedy: "write esp_proposals on both sides: ESP in UDP crosses a NAT (null and an integrity algorithm, or aes128gmac, protect as AH does, but for the outer header)".into(),
    }
    .bounded()
}

/// A child in transport mode, and a peer that wants tunnel mode.
pub(crate) fn tunnel_mode(child: &Child, theirs: &str) -> Box<Detail> {
    Detail {
        summary: "the peer is for tunnel mode".into(),
        ours: format!("child {}: mode = transport", child.name),
        theirs: theirs.into(),
        would_match: "USE_TRANSPORT_MODE in request and answer (RFC 7296 section 1.3.1)".into(),
        remedy: "let this child be in transport mode at the peer, or write mode = \"tunnel\" here".into(),
    }
    .bounded()
}

/// A child in transport mode whose selectors do not have the ends of the IKE SA.
pub(crate) fn not_between(child: &Child, local: IpAddr, remote: IpAddr) -> Box<Detail> {
    Detail {
        summary: format!("transport mode is between {local} and {remote}, which child {} does not select", child.name),
        ours: both(child),
        theirs: String::new(),
        would_match: format!("{local} === {remote}"),
        remedy: format!("let local_ts have {local} and remote_ts {remote}, or leave both out"),
    }
    .bounded()
}

/// A child for addresses that were not given.
pub(crate) fn no_virtual_address(child: &Child) -> Box<Detail> {
    let (summary, remedy) = match child.local_dynamic {
        true => (
            format!("child {} is for an address inside the peer's network, and the peer gave no address", child.name),
            "let the peer have a pool for this connection, or write local_ts",
        ),
        false => (
            format!("child {} is for an address that a peer has of a pool, and this one has none", child.name),
            "let the peer ask for an address when it connects, or write remote_ts",
        ),
    };
    Detail { summary, ours: both(child), remedy: remedy.into(), ..Detail::default() }.bounded()
}

/// Nobody at this address is to be spoken to.
pub(crate) fn no_connection(datagram: &Datagram) -> Box<Detail> {
    let (local, remote) = (datagram.local.ip(), datagram.remote.ip());
    Detail {
        summary: format!("no connection is configured between {local} and {remote}"),
        remedy: format!("let a connection have {local} among its local_addrs and {remote} among its remote_addrs, or leave them out"),
        ..Detail::default()
    }
    .bounded()
}

/// The peer has to begin without a Child SA, and cannot.
pub(crate) fn not_childless(connection: &ConnectionRef) -> Failure {
    let detail = Detail {
        summary: "the peer does not know IKE SAs without a Child SA (RFC 6023), or does not allow them".into(),
        ours: format!("connection {} has childless = \"force\"", connection.name),
        remedy: "allow childless IKE SAs for this connection at the peer, or write childless = \"prefer\"".into(),
        ..Detail::default()
    };
    Failure::Incompatible(NotifyType::CHILDLESS_IKEV2_SUPPORTED, detail.bounded())
}

/// The peer does not know RFC 4739, and without it one of the two sides shows too little.
pub(crate) fn not_multiple(connection: &ConnectionRef) -> Failure {
    Failure::Incompatible(NotifyType::MULTIPLE_AUTH_SUPPORTED, one_round(connection))
}

/// The peer sends us to another gateway, and we do not go.
pub(crate) fn redirect(connection: &ConnectionRef, gateway: &Gateway, why: &str, remedy: &str) -> Box<Detail> {
    Detail {
        summary: format!("the peer sends this gateway to {gateway} (RFC 5685): {why}"),
        ours: format!("connection {}: follow_redirects = {}", connection.name, connection.follow_redirects),
        theirs: format!("REDIRECT to {gateway}"),
        remedy: remedy.into(),
        ..Detail::default()
    }
    .bounded()
}

/// What an initiator asked for.
#[derive(Clone, Copy)]
pub(crate) enum Asked<'a> {
    /// An IKE SA.
    IkeSa,
    /// A Child SA, perhaps together with the IKE SA.
    Child(&'a Child),
    /// Neither.
    Nothing,
}

/// The peer has refused what was asked of it.
pub(crate) fn refused(connection: &ConnectionRef, kind: NotifyType, asked: Asked<'_>) -> Failure {
    let (ours, remedy) = match (kind, asked) {
        (NotifyType::NO_PROPOSAL_CHOSEN | NotifyType::INVALID_KE_PAYLOAD, Asked::IkeSa) => (
            format!("proposals offered: {}", list(&connection.proposals, ", ")),
            "compare with the IKE proposals of this connection at the peer: one of them must have a transform of each type (ENCR, INTEG unless AEAD, PRF, KE) in common with one of ours",
        ),
        (NotifyType::NO_PROPOSAL_CHOSEN | NotifyType::INVALID_KE_PAYLOAD, Asked::Child(child)) => (
            format!("{} offered for {}: {}", key(child), child.name, list(&child.proposals, ", ")),
            match child.protocol() {
                Protocol::AH => {
                    "compare with the AH proposals of this child at the peer: one of them must have a transform of each type (INTEG, KE for a rekey, ESN) in common with one of ours"
                }
                _ => {
                    "compare with the ESP proposals of this child at the peer: one of them must have a transform of each type (ENCR, INTEG unless AEAD, KE for a rekey, ESN) in common with one of ours"
                }
            },
        ),
        (NotifyType::TS_UNACCEPTABLE, Asked::Child(child)) => (
            format!("offered for {}: {}", child.name, both(child)),
            "compare with the traffic selectors at the peer: its remote_ts must overlap our local_ts, and its local_ts our remote_ts",
        ),
        (NotifyType::AUTHENTICATION_FAILED, _) => (
            connection
                .expected_peer()
                .map_or_else(|| format!("this gateway is {}", connection.local_identity), |remote| own_key(connection, &remote)),
            "compare at the peer: its connection must expect our identity, and its secret for these two identities must be ours, and so the PPK's, if ppk_id names one",
        ),
        (NotifyType::INTERNAL_ADDRESS_FAILURE, _) => (
            format!("asked for: {}", list(&connection.virtual_addresses, ", ")),
            "let the peer have a pool with addresses left of this family, or leave vips out here",
        ),
        (NotifyType::FAILED_CP_REQUIRED, _) => {
            (String::new(), "the peer wants to be asked for an address: write vips = [\"0.0.0.0\"] in this connection")
        }
        (NotifyType::NO_ADDITIONAL_SAS, _) => (
            String::new(),
            "the peer wants no further SAs under this IKE SA: look for its limit, or let this child have a connection of its own",
        ),
        (NotifyType::TEMPORARY_FAILURE, _) => (String::new(), "the peer is rekeying or deleting; it is asked again later"),
        _ => (String::new(), "the peer's log says why"),
    };
    let detail = Detail {
        summary: format!("the peer answered {kind}"),
        ours,
        theirs: NOT_TOLD.into(),
        would_match: String::new(),
        remedy: remedy.into(),
    };
    Failure::Refused(kind, detail.bounded())
}

/// A request without an answer.
pub(crate) struct Silence<'a> {
    /// Such as `IKE_SA_INIT request 0`.
    pub(crate) request: &'a str,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    /// Transmissions.
    pub(crate) tries: u32,
    pub(crate) elapsed: Duration,
    /// How long ago something came from the peer's address; `None` for never since it was first called.
    pub(crate) heard: Option<Duration>,
    /// Whether the peer has spoken under this IKE SA.
    pub(crate) answered: bool,
}

/// The peer has begun anew without the IKE SA.
pub(crate) fn restarted(local: SocketAddr, remote: SocketAddr) -> Failure {
    let detail = Detail {
        summary: format!("{remote} has lost its state and does not know the IKE SA any more"),
        ours: format!("the IKE SA between {local} and {remote}"),
        theirs: "it shows the token that only it can know (RFC 6290)".into(),
        remedy: "nothing: the Child SAs are set up again as dpd_action and start_action say; look at the peer for why it was restarted"
            .into(),
        ..Detail::default()
    };
    Failure::TimedOut(detail.bounded())
}

/// The peer is silent.
pub(crate) fn timed_out(silence: &Silence<'_>) -> Failure {
    let Silence { request, local, remote, tries, elapsed, heard, answered } = silence;
    let theirs = match heard {
        None => format!("nothing has ever come from {}", remote.ip()),
        Some(ago) => format!("the last message from {} came {} ago", remote.ip(), seconds(*ago)),
    };
    let remedy = match (answered, heard) {
        (false, None) => format!(
            "check that {} is the peer's address and reachable, that IKE runs there, and that UDP ports 500 and 4500 pass every firewall in both directions",
            remote.ip()
        ),
        (false, Some(_)) => "check that IKE still runs at the peer and that its log mentions this request; UDP ports 500 and 4500 must pass in both directions".into(),
        (true, _) => format!(
            "the peer answered before: check that it still runs, that UDP port {} passes every firewall in both directions, and that large datagrams are not lost on the way",
            remote.port()
        ),
    };
    let times = if *tries == 1 { "once".into() } else { format!("{tries} times") };
    let detail = Detail {
        summary: format!("no answer from {remote} to {request}, sent {times} in {}", seconds(*elapsed)),
        ours: format!("{request} from {local} to {remote}, {times}"),
        theirs,
        would_match: String::new(),
        remedy,
    };
    Failure::TimedOut(detail.bounded())
}

/// An initiator that did not go on after our answer.
pub(crate) fn abandoned(local: SocketAddr, remote: SocketAddr, after: Duration) -> Failure {
    let detail = Detail {
        summary: format!("{remote} has not gone on: no IKE_AUTH request within {}", seconds(after)),
        ours: format!("IKE_SA_INIT response 0 from {local} to {remote}"),
        theirs: "an IKE_SA_INIT request, then nothing".into(),
        would_match: String::new(),
        remedy: "check that our answer reaches the peer, and that its IKE_AUTH request, to UDP port 4500 where NAT detection is on, passes every firewall"
            .into(),
    };
    Failure::TimedOut(detail.bounded())
}

/// What an initiator is configured with, for the trace.
pub(crate) fn begins(connection: &ConnectionRef, child: usize, local: SocketAddr, remote: SocketAddr) -> Vec<String> {
    let auth = match (connection.local_auth.keyword(), connection.remote_auth.keyword()) {
        (ours, theirs) if ours == theirs => ours.to_string(),
        (ours, theirs) => format!("{ours}, the peer's {theirs}"),
    };
    let peer = connection.remote_identity.as_ref().map_or_else(|| "anybody with the key".to_string(), ToString::to_string);
    let mut lines = alloc::vec![
        format!("{local} -> {remote}"),
        format!("local id {}, remote id {peer}, auth {auth}", connection.local_identity),
        format!("proposals {}", list(&connection.proposals, ", ")),
    ];
    if let Some(child) = connection.child(child) {
        lines.push(format!("child {}: {}, {} {}", child.name, both(child), key(child), list(&child.proposals, ", ")));
    }
    lines
}

/// The key of a child's proposals.
fn key(child: &Child) -> &'static str {
    child.proposals.first().map_or("esp_proposals", Configured::key)
}

fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_millis() + 500) / 1000)
}

fn list<T: ToString>(items: &[T], separator: &str) -> String {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    items.join(separator)
}

#[cfg(test)]
mod tests;
