//! Child SAs: offers and answers, and the CREATE_CHILD_SA exchange (RFC 7296 sections 1.3.1, 1.3.3, 2.9, 2.17).
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! Generating, with a key exchange
//! Requested   HDR, SK {[N(REKEY_SA),] [N(USE_TRANSPORT_MODE),] SA, Ni, [KEi,] TSi, TSr}  -->
//!                                                    Agreeing, with a key exchange
//!                                                    Installing
//!                 <--   HDR, SK {[N(USE_TRANSPORT_MODE),] SA, Nr, [KEr,] TSi, TSr}
//! Agreeing, with a key exchange
//! Installing
//! ```

pub(crate) mod ends;
pub(crate) mod initiator;
pub(crate) mod responder;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::{NotifyType, Payload, Proposal, Protocol, Sa, TrafficSelectors};
use ipsec_types::{ChildSaId, Limits, Mode, Secret, Spi};

use crate::child::{self, Agreed, Child, ChildPhase, Replaces};
use crate::config;
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::{Failure, Fault};
use crate::io::Event;
use crate::negotiate::{self, ChildSuite, Chosen, KeyExchange, SelectorsNarrowed};
use crate::v2::auth::{self, PeerAuthenticated};
use crate::v2::find::{self, notification};
use crate::v2::init::WantedChild;
use crate::v2::keys::Role;
use crate::v2::{Core, Established, Sk, Task};

/// What KEYMAT grows from (section 2.17).
#[derive(Clone, Copy)]
pub(crate) struct Seed<'a> {
    /// Ni and Nr of the exchange.
    pub(crate) nonces: [&'a [u8]; 2],
    /// The shared secret of a key exchange of its own.
    pub(crate) shared: Option<&'a Secret>,
}

/// A responder's Child SA, on its way into the data plane.
pub(crate) struct Answer {
    pub(crate) child: Child,
    /// `[N(USE_TRANSPORT_MODE),] SA`
    pub(crate) sa: Vec<Payload>,
    /// TSi, TSr.
    pub(crate) selectors: [Payload; 2],
}

/// What a responder has chosen from an offer.
pub(crate) struct Choice {
    index: usize,
    chosen: Chosen<ChildSuite>,
    selectors: SelectorsNarrowed,
    outbound: Spi,
    takes_tfc_padding: bool,
}

/// What an initiator has read in an answer that it accepts.
pub(crate) struct Accepted {
    suite: ChildSuite,
    selectors: SelectorsNarrowed,
    outbound: Spi,
    takes_tfc_padding: bool,
}

struct Parts<'a> {
    sa: &'a Sa,
    initiator: &'a TrafficSelectors,
    responder: &'a TrafficSelectors,
    transport_mode: bool,
    takes_tfc_padding: bool,
}

fn parts(payloads: &[Payload]) -> Option<Parts<'_>> {
    let (initiator, responder) = (find::ts_initiator(payloads)?, find::ts_responder(payloads)?);
    let says = |wanted| notification(payloads, |kind| kind == wanted).is_some();
    let transport_mode = says(NotifyType::USE_TRANSPORT_MODE);
    let takes_tfc_padding = !says(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED);
    Some(Parts { sa: find::sa(payloads)?, initiator, responder, transport_mode, takes_tfc_padding })
}

/// The responder's choice: the first child whose selectors and proposals meet the offer, or, for a rekeying, the one of `only`. Of children
/// between the same selectors for packets of different DSCPs, which are not negotiated, it is the first without an SA, so that both sides come
/// to have one for each: `existing` are those there are.
pub(crate) fn choose(
    core: &Core,
    existing: &[Child],
    payloads: &[Payload],
    only: Option<usize>,
    key_exchange: KeyExchange<'_>,
) -> Result<Choice, Fault> {
    let parts = parts(payloads).ok_or_else(|| Fault::Syntax("SA, TSi or TSr is missing".into()))?;
    let first = pick(core, &parts, |index| only.is_none_or(|only| only == index), key_exchange)?;
    let (index, chosen, selectors) = match only {
        Some(_) => first,
        None => pick(core, &parts, |index| is_idle_sibling(core, existing, first.0, index), key_exchange).unwrap_or(first),
    };
    let offered = parts.sa.proposals.iter().find(|proposal| proposal.number == chosen.answer.number);
    let outbound = offered.and_then(Proposal::child_spi).ok_or_else(|| Fault::Syntax("the proposal has no legal SPI".into()))?;
    Ok(Choice { index, chosen, selectors, outbound, takes_tfc_padding: parts.takes_tfc_padding })
}

/// Whether the child `other` has no SA yet, and is `first` or has packets of other DSCPs between the same selectors.
fn is_idle_sibling(core: &Core, existing: &[Child], first: usize, other: usize) -> bool {
    let children = core.connection.child(first).zip(core.connection.child(other));
    children.is_some_and(|(a, b)| {
        let sibling = first == other || (a.selects_like(b) && a.mode == b.mode && !a.dscp.intersects(b.dscp));
        sibling && !existing.iter().any(|sa| sa.policy == b.policy && sa.is_live())
    })
}

/// The first child that meets the offer, of those whose index is `eligible`: one with all that the peer names first before others, then one in
/// the mode that is asked for before one that declines it.
fn pick(
    core: &Core,
    parts: &Parts<'_>,
    eligible: impl Fn(usize) -> bool,
    key_exchange: KeyExchange<'_>,
) -> Result<(usize, Chosen<ChildSuite>, SelectorsNarrowed), Fault> {
    let eligible = || core.connection.children.iter().enumerate().filter(|(index, _)| eligible(*index));
    let asked = if parts.transport_mode { Mode::Transport } else { Mode::Tunnel };
    let in_order = eligible().filter(|(_, child)| child.mode == asked).chain(eligible().filter(|(_, child)| child.mode != asked));
    // The initiator's side is remote here.
    let sent = (parts.responder, parts.initiator);
    let seen = ends::as_seen_here(core, sent);
    let mut meeting: Vec<_> = in_order
        .filter_map(|(index, child)| {
            let theirs = if (child.mode, asked) == (Mode::Transport, Mode::Transport) { (&seen.0, &seen.1) } else { sent };
            let (local, remote) = ends::selectors(core, child);
            let selectors = negotiate::narrow((&local, &remote), theirs)?;
            let misses_first = !selectors.include_first(theirs);
            Some((misses_first, index, child, selectors))
        })
        .collect();
    // Section 2.9: "If the responder's policy allows it to accept the first selector of TSi and TSr, then the responder MUST narrow the
    // Traffic Selectors to a subset that includes the initiator's first choices."
    meeting.sort_by_key(|(misses_first, ..)| *misses_first);
    let mut fault = None;
    for (_, index, child, selectors) in meeting {
        // A child in tunnel mode declines transport mode by not answering the notification; one in transport mode has nothing else to offer.
        if (child.mode, asked) == (Mode::Transport, Mode::Tunnel) {
            fault = Some(Fault::Proposals(diagnosis::tunnel_mode(child, "a Child SA in tunnel mode")));
            continue;
        }
        if let Some(obstacle) = ends::obstacle(core, child) {
            fault = Some(Fault::Proposals(obstacle));
            continue;
        }
        match negotiate::choose_child(&child.proposals, parts.sa, key_exchange) {
            Some(chosen) => return Ok((index, chosen, selectors)),
            // Selectors that meet say that this child was meant: its proposals are the better reason.
            None => fault = Some(Fault::Proposals(diagnosis::proposals(&child.proposals, parts.sa, key_exchange.compared()))),
        }
    }
    Err(fault.unwrap_or_else(|| Fault::Selectors(diagnosis::selectors(&core.connection.children, sent))))
}

/// The responder's part: derives the keys and hands the Child SA to the data plane.
pub(crate) fn answer(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    authenticated: &PeerAuthenticated,
    choice: Choice,
    seed: Seed<'_>,
    replaces: Replaces,
) -> Result<Answer, Fault> {
    let Choice { index, chosen, selectors, outbound, takes_tfc_padding } = choice;
    let local = |text: String| Fault::NoMoreSas(text);
    if replaces.child.is_none() {
        not_anothers(core, cx, authenticated, index, &selectors)?;
    }
    let keys = sk.keys.child(chosen.suite.protection, seed.shared, seed.nonces)?;
    let leased = cx.shared.take_spi().ok_or_else(|| local("no SPI is free".into()))?;
    let inbound = leased.spi;
    let answer = Proposal { spi: inbound.value().to_be_bytes().to_vec(), ..chosen.answer };
    let granted = core.connection.child(index).and_then(ends::mode_notification);
    let sa = granted.into_iter().chain([Payload::Sa(Sa { proposals: alloc::vec![answer] })]).collect();
    let answered = [
        Payload::TsInitiator(selectors.remote().iter().copied().collect()),
        Payload::TsResponder(selectors.local().iter().copied().collect()),
    ];
    let (suite, role) = (chosen.suite, Role::Responder);
    match child::install(
        cx,
        &core.bearer(authenticated),
        Agreed { child: index, inbound, outbound, suite, selectors, keys, role, takes_tfc_padding, replaces, peer_life: Limits::default() },
    ) {
        Ok(child) => Ok(Answer { child, sa, selectors: answered }),
        Err(failure) => {
            cx.shared.return_spi(leased);
            Err(local(failure.to_string()))
        }
    }
}

/// Whether nobody else has the traffic already.
fn not_anothers(
    core: &Core,
    cx: &Context<'_>,
    authenticated: &PeerAuthenticated,
    index: usize,
    selectors: &SelectorsNarrowed,
) -> Result<(), Fault> {
    let Some(child) = core.connection.child(index) else { return Ok(()) };
    let entry = core.connection.entry(child.policy);
    let Some(conflict) = cx.shared.holdings.conflict(entry, selectors, authenticated.identity()) else { return Ok(()) };
    let holder = cx.shared.children.get(&conflict.child).copied();
    Err(Fault::Selectors(diagnosis::held_by_another(child, authenticated.identity(), &conflict, holder, selectors)))
}

/// The initiator's check of an answer against what was offered.
fn check(
    core: &Core,
    cx: &Context<'_>,
    wanted: &WantedChild,
    payloads: &[Payload],
    key_exchange: KeyExchange<'_>,
) -> Result<Accepted, Failure> {
    let misbehaved = |text: &str| Failure::PeerMisbehaved(text.to_string());
    if !cx.shared.holds(wanted.spi) {
        return Err(Failure::Local("the data plane was attached anew during the negotiation".into()));
    }
    let parts = parts(payloads).ok_or_else(|| misbehaved("an answer without SA, TSi or TSr"))?;
    let configured = core.connection.child(wanted.index).ok_or_else(|| Failure::Local("no such child".into()))?;
    let suite = negotiate::accept_child(&configured.proposals, parts.sa, wanted.spi.spi, key_exchange)
        .ok_or_else(|| Failure::PeerMisbehaved(diagnosis::not_offered(&configured.proposals, parts.sa)))?;
    let outbound = parts.sa.proposals.first().and_then(Proposal::child_spi).ok_or_else(|| misbehaved("an answer without SPI"))?;
    let sent = (parts.initiator, parts.responder);
    let theirs = match (configured.mode, parts.transport_mode) {
        (Mode::Tunnel, false) => (parts.initiator.clone(), parts.responder.clone()),
        (Mode::Transport, true) => ends::as_seen_here(core, sent),
        (Mode::Tunnel, true) => return Err(misbehaved("an answer with USE_TRANSPORT_MODE, which was not asked for")),
        // Section 1.3.1: "If this is unacceptable to the initiator, the initiator MUST delete the SA." What fails here is deleted.
        (Mode::Transport, false) => {
            let detail = diagnosis::tunnel_mode(configured, "an answer without USE_TRANSPORT_MODE: tunnel mode");
            return Err(Failure::Incompatible(NotifyType::USE_TRANSPORT_MODE, detail));
        }
    };
    if configured.local_dynamic && core.assigned.local.addresses.is_empty() {
        return Err(Failure::Incompatible(NotifyType::TS_UNACCEPTABLE, diagnosis::no_virtual_address(configured)));
    }
    let (local, remote) = ends::selectors(core, configured);
    let selectors = negotiate::narrowed_by_peer((&local, &remote), (&theirs.0, &theirs.1))
        .ok_or_else(|| Failure::PeerMisbehaved(diagnosis::wider(configured, sent)))?;
    Ok(Accepted { suite, selectors, outbound, takes_tfc_padding: parts.takes_tfc_padding })
}

/// The initiator's part: derives the keys and hands the Child SA to the data plane.
fn accept(
    core: &Core,
    cx: &mut Context<'_>,
    (sk, authenticated): (&Sk, &PeerAuthenticated),
    wanted: &WantedChild,
    accepted: Accepted,
    seed: Seed<'_>,
    replaces: Replaces,
) -> Result<Child, Failure> {
    if !cx.shared.holds(wanted.spi) {
        return Err(Failure::Local("the data plane was attached anew during the negotiation".into()));
    }
    let Accepted { suite, selectors, outbound, takes_tfc_padding } = accepted;
    let keys = sk.keys.child(suite.protection, seed.shared, seed.nonces)?;
    let (inbound, role) = (wanted.spi.spi, Role::Initiator);
    child::install(
        cx,
        &core.bearer(authenticated),
        Agreed {
            child: wanted.index,
            inbound,
            outbound,
            suite,
            selectors,
            keys,
            role,
            takes_tfc_padding,
            replaces,
            peer_life: Limits::default(),
        },
    )
}

/// The refusal in an answer without a Child SA.
fn refusal(core: &Core, wanted: &WantedChild, payloads: &[Payload]) -> Option<Failure> {
    let kind = notification(payloads, NotifyType::is_error).filter(|_| parts(payloads).is_none())?.kind;
    let asked = core.connection.child(wanted.index).map_or(Asked::Nothing, Asked::Child);
    Some(diagnosis::refused(&core.connection, kind, asked))
}

impl Established {
    /// The peer has answered the Child SA of IKE_AUTH. Who waits for it is still to be told of a failure.
    pub(crate) fn take_answer(
        &mut self,
        core: &mut Core,
        cx: &mut Context<'_>,
        wanted: &WantedChild,
        payloads: &[Payload],
        nonces: [&[u8]; 2],
    ) -> Result<(), Failure> {
        let seed = Seed { nonces, shared: None };
        let result = match refusal(core, wanted, payloads) {
            Some(refusal) => Err(refusal),
            None => check(core, cx, wanted, payloads, KeyExchange::Ignored)
                .and_then(|accepted| accept(core, cx, (&self.sk, &self.authenticated), wanted, accepted, seed, Replaces::default())),
        };
        match result {
            Ok(child) => {
                self.children.push(child);
                Ok(())
            }
            Err(failure) => {
                give_back(core, cx, wanted, parts(payloads).is_some());
                cx.fail(Some(&core.connection.name), core.remote, failure.clone());
                Err(failure)
            }
        }
    }

    /// CREATE_CHILD_SA has failed for good. An IKE SA without any Child SA makes way for a new one: its IKE_AUTH asks for no key exchange
    /// of the Child SA's own and may succeed where this cannot.
    pub(crate) fn cannot_create(&mut self, core: &mut Core, cx: &mut Context<'_>, index: usize, failure: &Failure) {
        // Where IKE_AUTH brings no Child SA, a new IKE SA can do no more than this one.
        if self.children.iter().any(Child::is_live) || auth::begins_childless(core) {
            core.wanted_child_failed(cx, index, failure);
        } else {
            self.make_way(core, cx);
        }
    }

    /// A responder's first Child SA, already installed.
    pub(crate) fn adopt(&mut self, core: &mut Core, cx: &mut Context<'_>, mut child: Child) {
        child.phase = ChildPhase::Installed;
        child::in_use(cx, &child, Role::Responder);
        cx.shared.count("child_sas_installed");
        cx.shared.event(Event::ChildSaInstalled { ike_sa: core.id, child: child.id });
        // Most IKE SAs have no other.
        self.children.reserve_exact(1);
        self.children.push(child);
    }
}

/// An SPI that no SA was installed with. `answered`: the peer has installed its half, and is told to remove it by the SPI that it knows.
fn give_back(core: &mut Core, cx: &mut Context<'_>, wanted: &WantedChild, answered: bool) {
    if answered {
        let protocol = core.connection.child(wanted.index).map_or(Protocol::ESP, config::Child::protocol);
        core.tasks.push_back(Task::DeleteSpi { protocol, spi: wanted.spi.spi, unused: Some(wanted.spi) });
    } else {
        cx.shared.return_spi(wanted.spi);
    }
}

/// The data plane has answered an Install.
pub(crate) fn on_installed(
    mut state: Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    id: ChildSaId,
    result: Result<(), String>,
) -> crate::v2::State {
    let Some(position) = state.children.iter().position(|child| child.id == id) else { return crate::v2::State::Established(state) };
    let installed = result.is_ok();
    match result {
        Ok(()) => state.installed(core, cx, position),
        Err(text) => {
            let child = state.children.remove(position);
            let answering = state.answering.as_ref().is_some_and(|answering| answering.installs(id));
            state.install_failed(core, cx, &child, text, answering);
        }
    }
    initiator::on_installed(&mut state, core, cx, id, installed);
    responder::on_installed(state, core, cx, id, installed)
}

impl Established {
    fn installed(&mut self, core: &mut Core, cx: &mut Context<'_>, position: usize) {
        let lost = |old: ChildSaId| self.child(old).is_some_and(|old| old.phase == ChildPhase::Lost);
        let replaces_lost = self.children.get(position).and_then(|child| child.predecessor).is_some_and(lost);
        let Some(child) = self.children.get_mut(position) else { return };
        // One that was lost is wanted, too, by the policy, whoever brings it.
        let wanted = (child.role == Role::Initiator || replaces_lost) && core.wanted.contains(&child.policy);
        if matches!(child.phase, ChildPhase::Installing { .. }) {
            child.phase = ChildPhase::Installed;
        }
        child::in_use(cx, child, child.role);
        let (id, policy, ike_sa) = (child.id, child.policy, core.id);
        cx.shared.count("child_sas_installed");
        match child.predecessor {
            Some(old) => cx.shared.event(Event::ChildSaRekeyed { ike_sa, old, new: id }),
            None => cx.shared.event(Event::ChildSaInstalled { ike_sa, child: id }),
        }
        if wanted {
            core.wanted.retain(|wanted| *wanted != policy);
            cx.shared.child_installed(policy, core.id, id);
        }
    }

    fn install_failed(&mut self, core: &mut Core, cx: &mut Context<'_>, child: &Child, text: String, answering: bool) {
        let failure = Failure::Local(format!("the data plane refused the Child SA: {text}"));
        cx.shared.forget_child(child);
        cx.fail(Some(&core.connection.name), core.remote, failure.clone());
        if !answering {
            core.tasks.push_back(Task::DeleteSpi { protocol: child.protocol(), spi: child.inbound, unused: None });
        }
        if matches!(child.phase, ChildPhase::Installing { wanted: true }) {
            core.child_failed(cx, child.policy, &failure);
        }
    }
}
