//! Child SAs: where IKE's initiator and responder become the data plane's inbound and outbound.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use ike_wire::Protocol;
use ipsec_types::{
    Activation, ChildSa, ChildSaId, Flow, Identity, IkeSpi, Instant, Lifetime, Limits, Mode, PolicyId, SaKeys, Secret, Spi, Tfc,
    UdpEncapsulation,
};

use crate::config::ChildLifetime;
use crate::context::Context;
use crate::error::Failure;
use crate::io::{ChildSaStatus, IkeSaId, Output, SaState};
use crate::negotiate::{ChildSuite, SelectorsNarrowed};
use crate::policy::ConnectionRef;
use crate::v2::keys::{ChildKeys, Role};

/// How long inbound packets under way may still arrive after a deletion.
pub(crate) const LINGER: Duration = Duration::from_secs(5);
/// A responder's SA starts to carry packets then even where no sign came that the peer's half is in place.
const FALLBACK: Duration = Duration::from_secs(1);
/// What a responder's SA replaces ends then: when it carries packets for certain, and the peer's last ones on the old SA have come.
pub(crate) const TAKEN_OVER: Duration = Duration::from_secs(2);

/// A Child SA that was handed to the data plane.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: ChildSaId,
    pub(crate) name: String,
    pub(crate) policy: PolicyId,
    /// The SPD entry it stands under.
    pub(crate) entry: PolicyId,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
    pub(crate) suite: ChildSuite,
    pub(crate) mode: Mode,
    pub(crate) selectors: SelectorsNarrowed,
    pub(crate) encapsulated: bool,
    pub(crate) since: Instant,
    pub(crate) phase: ChildPhase,
    /// Our role in the exchange that created it.
    pub(crate) role: Role,
    /// The one it replaces.
    pub(crate) predecessor: Option<ChildSaId>,
    /// Its outbound half waits, as far as is known here.
    pub(crate) parked: bool,
}

/// Where a Child SA stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChildPhase {
    /// The data plane has not answered yet. `wanted`: somebody on this side asked for the SA.
    Installing { wanted: bool },
    /// In use.
    Installed,
    /// The peer has replaced it, and will delete it.
    Replaced,
    /// Our Delete is under way.
    Deleting,
    /// The data plane has lost it; the peer does not know yet.
    Lost,
}

/// What was agreed with the peer.
pub(crate) struct Agreed {
    /// Index in the connection.
    pub(crate) child: usize,
    pub(crate) inbound: Spi,
    pub(crate) outbound: Spi,
    pub(crate) suite: ChildSuite,
    pub(crate) selectors: SelectorsNarrowed,
    pub(crate) keys: ChildKeys,
    /// Our role in the exchange that created it, which need not be that in the IKE SA.
    pub(crate) role: Role,
    /// The peer has not said ESP_TFC_PADDING_NOT_SUPPORTED (section 1.3.1).
    pub(crate) takes_tfc_padding: bool,
    pub(crate) replaces: Replaces,
    /// Where the peer lets it live less long than this side does, which IKEv2 leaves to each.
    pub(crate) peer_life: Limits,
}

/// What a Child SA is to replace.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Replaces {
    /// The one before it.
    pub(crate) child: Option<ChildSaId>,
    /// The data plane has that one no more: it carries no packets.
    pub(crate) lost: bool,
    /// The initiator's half waits too: the peer is replacing the same SA, and only one of the two will stay.
    pub(crate) contested: bool,
}

/// Proof that the peer of an IKE SA is who it says: only what has checked it is one.
pub(crate) trait Authenticated {
    /// Who the peer is.
    fn identity(&self) -> &Identity;
}

/// The IKE SA under which a Child SA is, whichever version of IKE it speaks.
pub(crate) struct Bearer<'a> {
    pub(crate) ike_sa: IkeSaId,
    pub(crate) connection: &'a ConnectionRef,
    /// Of the initiator and of the responder.
    pub(crate) spis: (Option<IkeSpi>, Option<IkeSpi>),
    /// Between which ends ESP travels, ours first.
    pub(crate) ends: [SocketAddr; 2],
    /// Whether ESP travels in UDP.
    pub(crate) encapsulates: bool,
    pub(crate) authenticated: &'a dyn Authenticated,
    /// How long the responder's half may be missing still when the initiator's is in place; `None` where it is there.
    pub(crate) grace: Option<Duration>,
    /// What KEYMAT grows from, for traces.
    pub(crate) growth: &'static str,
}

/// Hands a Child SA to the data plane. That both peers are authenticated and the selectors agreed on is in the types.
pub(crate) fn install(cx: &mut Context<'_>, bearer: &Bearer<'_>, agreed: Agreed) -> Result<Child, Failure> {
    let configured = bearer.connection.child(agreed.child).ok_or_else(|| Failure::Local("no such child".to_string()))?;
    let id = cx.shared.next_child(bearer.ike_sa).ok_or_else(|| Failure::Local("no data plane is attached".to_string()))?;
    let [from, to] = bearer.ends;
    let encapsulation = bearer.encapsulates.then(|| UdpEncapsulation { local_port: from.port(), remote_port: to.port() });
    let activation = activation(&agreed, bearer.grace);
    let lifetime = lifetime(cx, &configured.lifetime, &agreed.peer_life)?;
    let (inbound_keys, outbound_keys) = by_direction(agreed.role, agreed.keys);
    let entry = bearer.connection.entry(configured.policy);
    let sa = ChildSa {
        id,
        policy: entry,
        inbound_spi: agreed.inbound,
        outbound_spi: agreed.outbound,
        local: from.ip(),
        remote: to.ip(),
        encapsulation,
        protection: agreed.suite.protection,
        mode: configured.mode,
        dont_fragment: configured.dont_fragment,
        copy_dscp: configured.copy_dscp,
        tfc: Tfc { padding: configured.tfc.padding.filter(|_| agreed.takes_tfc_padding), ..configured.tfc },
        sequence_numbers: agreed.suite.sequence_numbers,
        replay_window: configured.replay_window,
        inbound_keys,
        outbound_keys,
        local_selectors: agreed.selectors.local().to_vec(),
        remote_selectors: agreed.selectors.remote().to_vec(),
        activation,
        predecessor: agreed
            .replaces
            .child
            .or_else(|| cx.shared.orphans.predecessor(entry, agreed.selectors.local(), agreed.selectors.remote())),
        lifetime,
    };
    let mut lines = describe(&sa, &agreed.suite, bearer.growth);
    if configured.tfc.padding.is_some() && !agreed.takes_tfc_padding {
        lines.push("packets are not padded: the peer said ESP_TFC_PADDING_NOT_SUPPORTED".to_string());
    }
    if let Some(time) = agreed.peer_life.time {
        lines.push(format!("it ends after {} s: the peer lets it live less long than this side would", time.as_secs()));
    }
    if let Some(octets) = agreed.peer_life.octets {
        lines.push(format!("it ends after {} kilobytes: the peer lets it carry less than this side would", octets / 1024));
    }
    cx.shared.step(Some(&bearer.connection.name), bearer.spis, &format!("install Child SA {}", configured.name), lines);
    cx.shared.output(Output::Install(Box::new(sa)));
    if bearer.connection.is_for_several(configured) {
        cx.shared.holdings.add(entry, id, bearer.authenticated.identity(), &agreed.selectors);
    }
    Ok(Child {
        id,
        name: configured.name.clone(),
        policy: configured.policy,
        entry,
        inbound: agreed.inbound,
        outbound: agreed.outbound,
        suite: agreed.suite,
        mode: configured.mode,
        selectors: agreed.selectors,
        encapsulated: encapsulation.is_some(),
        since: cx.now,
        phase: ChildPhase::Installing { wanted: agreed.role == Role::Initiator && agreed.replaces.child.is_none() },
        role: agreed.role,
        predecessor: agreed.replaces.child,
        parked: activation != Activation::Immediate,
    })
}

/// When the outbound half begins to carry packets (RFC 7296 section 2.8).
fn activation(agreed: &Agreed, grace: Option<Duration>) -> Activation {
    match agreed.role {
        Role::Initiator if agreed.replaces.contested => Activation::Parked { fallback: None },
        Role::Initiator => grace.map_or(Activation::Immediate, |grace| Activation::Parked { fallback: Some(grace) }),
        // While the SA it replaces is there, that one carries the packets.
        Role::Responder => {
            let carried = agreed.replaces.child.is_some() && !agreed.replaces.lost;
            Activation::Parked { fallback: (!carried).then_some(FALLBACK) }
        }
    }
}

/// The limits of one SA: chance keeps its soft limits away from those of the peer. What the peer ends sooner ends here with it, and is replaced before.
fn lifetime(cx: &mut Context<'_>, configured: &ChildLifetime, peer: &Limits) -> Result<Lifetime, Failure> {
    let ChildLifetime { soft, hard, jitter } = configured;
    // Whole milliseconds are what the data plane counts in; none at all would be no limit.
    let time = soft.time.map(|time| time.saturating_sub(cx.up_to(jitter.time.unwrap_or_default())).max(Duration::from_millis(1)));
    let mut earlier = |soft: Option<u64>, jitter: Option<u64>| Some(soft?.saturating_sub(cx.at_most(jitter.unwrap_or(0))).max(1));
    let soft = Limits { time, octets: earlier(soft.octets, jitter.octets), packets: earlier(soft.packets, jitter.packets) };
    let soft = Limits {
        time: soft.time.map(|time| peer.time.map_or(time, |end| time.min(replaced_before(end)))),
        octets: soft.octets.map(|octets| peer.octets.map_or(octets, |end| octets.min(end / 20 * 19))),
        ..soft
    };
    let hard = Limits { time: peer.time.or(hard.time), octets: peer.octets.or(hard.octets), ..*hard };
    Lifetime::new(soft, hard).map_err(|error| Failure::Local(error.to_string()))
}

/// When a side replaces what the peer ends after `life` and has not replaced itself.
pub(crate) fn replaced_before(life: Duration) -> Duration {
    life / 20 * 19
}

/// The one place where directions are named: what the initiator of the exchange sends is inbound for its responder.
fn by_direction(role: Role, keys: ChildKeys) -> (SaKeys, SaKeys) {
    match role {
        Role::Initiator => (keys.responder_to_initiator, keys.initiator_to_responder),
        Role::Responder => (keys.initiator_to_responder, keys.responder_to_initiator),
    }
}

fn describe(sa: &ChildSa, suite: &ChildSuite, growth: &str) -> Vec<String> {
    let selectors = |selectors: &[ipsec_types::TrafficSelector]| {
        let texts: Vec<String> = selectors.iter().map(ToString::to_string).collect();
        texts.join(" ")
    };
    let protocol = Protocol::from(suite.protection);
    let mode = match sa.mode {
        Mode::Tunnel => "tunnel mode",
        Mode::Transport => "transport mode",
    };
    let carried = sa.encapsulation.map(|ports| format!(" in UDP {} -> {}", ports.local_port, ports.remote_port)).unwrap_or_default();
    let key = sa.inbound_keys.encryption.len() + sa.inbound_keys.integrity.as_ref().map_or(0, Secret::len);
    alloc::vec![
        format!("inbound SPI {}, outbound SPI {}", sa.inbound_spi, sa.outbound_spi),
        format!("{protocol}{carried}, {mode}, {}, {} -> {}", suite.describe(), sa.local, sa.remote),
        format!("local {}, remote {}", selectors(&sa.local_selectors), selectors(&sa.remote_selectors)),
        format!("{growth}: {key} octets of keys for each direction"),
    ]
}

/// A Child SA is in use: what it takes the traffic of may go. The initiator's carries packets at once, the responder's a little later.
pub(crate) fn in_use(cx: &mut Context<'_>, child: &Child, role: Role) {
    let at = match role {
        Role::Initiator => cx.now,
        Role::Responder => cx.now + TAKEN_OVER,
    };
    cx.shared.orphans.succeeded(child.entry, child.selectors.local(), child.selectors.remote(), at);
}

impl Child {
    /// Its protocol, as IKE numbers it.
    pub(crate) fn protocol(&self) -> Protocol {
        self.suite.protection.into()
    }

    /// Whether it is in use or will be.
    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.phase, ChildPhase::Deleting | ChildPhase::Lost)
    }

    /// Whether the data plane has still to answer for it.
    pub(crate) const fn is_installing(&self) -> bool {
        matches!(self.phase, ChildPhase::Installing { .. })
    }

    /// Whether the connection has its child, with the same entry of the SPD.
    pub(crate) fn is_of(&self, connection: &ConnectionRef) -> bool {
        connection.child_of(self.policy).is_some() && connection.entry(self.policy) == self.entry
    }

    /// Whether another may take its place.
    pub(crate) fn is_replaceable(&self) -> bool {
        matches!(self.phase, ChildPhase::Installed | ChildPhase::Lost)
    }

    /// Whether an outbound packet crosses in it.
    pub(crate) fn carries(&self, flow: &Flow) -> bool {
        let local = self.selectors.local().iter().any(|selector| selector.matches(flow.source, flow.protocol, flow.source_port));
        let to = |selector: &ipsec_types::TrafficSelector| selector.matches(flow.destination, flow.protocol, flow.destination_port);
        local && self.selectors.remote().iter().any(to)
    }

    /// As operators see it.
    pub(crate) fn status(&self, now: Instant) -> ChildSaStatus {
        let state = match self.phase {
            ChildPhase::Installing { .. } => SaState::Connecting,
            ChildPhase::Installed => SaState::Established,
            ChildPhase::Replaced => SaState::Rekeyed,
            ChildPhase::Deleting | ChildPhase::Lost => SaState::Deleting,
        };
        ChildSaStatus {
            id: self.id,
            name: self.name.clone(),
            state,
            inbound_spi: self.inbound,
            outbound_spi: self.outbound,
            protection: self.suite.protection,
            mode: self.mode,
            proposal: self.suite.describe(),
            udp_encapsulation: self.encapsulated,
            local_selectors: self.selectors.local().to_vec(),
            remote_selectors: self.selectors.remote().to_vec(),
            age: now.since(self.since),
        }
    }
}
