//! Quick mode, as its responder.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use ike_wire::NotifyType as Reason;
use ike_wire::v1::{ExchangeType, Identification, Message, NotifyType, Payload, Protocol, Sa};
use ipsec_types::{ChildSaId, Mode, Secret, TrafficSelector};

use super::replacing::{self, Completed, Made};
use super::{encapsulation, identities, meant, open, wire};
use crate::child::{self, Agreed, Authenticated, Child, ChildPhase, LINGER, Replaces};
use crate::config;
use crate::context::{Context, LeasedSpi};
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Datagram, Job, JobId, JobResult};
use crate::negotiate::{self, SelectorsNarrowed};
use crate::v1::established::{Established, heard};
use crate::v1::exchange::{Due, Exchange};
use crate::v1::keys::Iv;
use crate::v1::lifetime::{self, Phase};
use crate::v1::phase_1::{is_nonce, nonce};
use crate::v1::proposal::{self, Chosen};
use crate::v1::{Core, State, find, informational, trace_incoming};
use crate::v2::keys::Role;

/// A quick mode of the peer's.
pub(crate) struct Responding {
    pub(crate) exchange: Exchange,
    iv: Iv,
    /// Ni and Nr.
    nonces: [Vec<u8>; 2],
    /// IDci and IDcr as they came, if they came.
    ids: Vec<Identification>,
    step: Step,
}

enum Step {
    /// Key pair and shared secret are being computed.
    Agreeing { job: JobId, choice: Choice, spi: LeasedSpi },
    /// The Child SA is on its way into the data plane; then this is the answer.
    Installing { child: ChildSaId, answer: Vec<Payload> },
    /// The answer is sent.
    AwaitThird { child: ChildSaId },
}

/// What was chosen from an offer.
struct Choice {
    index: usize,
    chosen: Chosen,
    selectors: SelectorsNarrowed,
}

/// Why a quick mode is refused, and what the peer hears of it.
type Refusal = (NotifyType, Failure);

impl Responding {
    /// Whether it waits for this job.
    pub(crate) fn waits_for(&self, id: JobId) -> bool {
        matches!(self.step, Step::Agreeing { job, .. } if job == id)
    }

    /// What it makes of these Child SAs, once it is answered.
    pub(crate) fn made(&self, children: &[Child]) -> Option<Made> {
        let Step::AwaitThird { child } = self.step else { return None };
        let replaces = children.iter().find(|made| made.id == child)?.predecessor;
        let [ni, nr] = &self.nonces;
        Some(Made { child, replaces, lowest: ni.min(nr).clone() })
    }
}

/// `HDR*, HASH(1), SA, Ni [, KE] [, IDci, IDcr]  -->`
pub(crate) fn on_request(
    mut state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> State {
    let message_id = message.header.message_id;
    if !cx.shared.can_install() {
        // The peer asks again.
        cx.shared.lease_spis();
        cx.shared.count("messages_ignored");
        return State::Established(state);
    }
    let iv = state.keys.phase_2_iv(&state.last, message_id);
    let Some((payloads, next)) = open(&state.keys, &iv, message, |rest| state.keys.hash_1(message_id, rest)) else {
        cx.shared.count("messages_unauthentic");
        return State::Established(state);
    };
    state.saw(message_id);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    heard(&state, core, cx, datagram);
    let spi = find::sa(&payloads).and_then(|sa| sa.proposals.first()).map(|proposal| (proposal.protocol, proposal.spi.clone()));
    if let Err(refusal) = consider(&mut state, core, cx, &payloads, (message_id, next, datagram)) {
        refuse(&mut state, core, cx, spi, refusal);
    }
    State::Established(state)
}

fn refuse(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, spi: Option<(Protocol, Vec<u8>)>, (kind, failure): Refusal) {
    let (protocol, spi) = spi.unwrap_or((Protocol::ISAKMP, Vec::new()));
    informational::complain(state, core, cx, protocol, spi, kind);
    cx.fail(Some(&core.connection.name), core.remote, failure);
}

fn consider(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    payloads: &[Payload],
    (message_id, iv, datagram): (u32, Iv, &Datagram),
) -> Result<(), Refusal> {
    let malformed = |text: &str| (NotifyType::PAYLOAD_MALFORMED, Failure::Malformed(text.into()));
    let (Some(sa), Some(theirs)) = (find::sa(payloads), find::nonce(payloads).filter(|nonce| is_nonce(nonce))) else {
        return Err(malformed("a first message of quick mode without SA or nonce"));
    };
    let public = find::key_exchange(payloads);
    let choice = choose(state, core, cx, payloads, sa, public.is_some())?;
    let spi = cx.shared.take_spi().ok_or_else(|| (NotifyType::INVALID_SPI, Failure::Local("no SPI is free".into())))?;
    let mut exchange = Exchange::default();
    exchange.received(&datagram.payload);
    let nonces = [theirs.to_vec(), nonce(cx)];
    let ids = find::identifications(payloads).cloned().collect();
    match (choice.chosen.suite.method, public) {
        (Some(method), Some(public)) => {
            let job = cx.shared.job(core.id, Job::GenerateAndAgree { method, peer_public: public.to_vec() });
            let step = Step::Agreeing { job, choice, spi };
            state.answering.insert(message_id, Responding { exchange, iv, nonces, ids, step });
            Ok(())
        }
        _ => install(state, core, cx, (message_id, exchange, iv), (nonces, ids), (choice, spi), None),
    }
}

/// The first child that selects what the peer asks for, and has one of its proposals: one with exactly these selectors before others.
fn choose(
    state: &Established,
    core: &Core,
    cx: &Context<'_>,
    payloads: &[Payload],
    sa: &Sa,
    key_exchange: bool,
) -> Result<Choice, Refusal> {
    let no_traffic = || (NotifyType::INVALID_ID_INFORMATION, Failure::Malformed("identities of quick mode that are no traffic".into()));
    let [theirs, ours] = identities(payloads, core.remote.ip(), core.local.ip()).ok_or_else(no_traffic)?;
    let available = cx.shared.provider.methods();
    let mut meeting: Vec<(bool, usize, &config::Child, SelectorsNarrowed)> = core
        .connection
        .children
        .iter()
        .enumerate()
        .filter_map(|(index, child)| {
            let [ours, theirs] = meant(core, child, [ours, theirs]);
            let (local, remote) = match child.mode {
                Mode::Tunnel => core.assigned.selectors(child),
                Mode::Transport => (child.local_selectors.clone(), child.remote_selectors.clone()),
            };
            let selectors = within((&local, &remote), ours, theirs)?;
            let differs = local != [ours] || remote != [theirs];
            Some((differs, index, child, selectors))
        })
        .collect();
    // Children for packets of several classes have the same selectors: the peer's SA is for one that has none, or has the oldest.
    let newest =
        |child: &config::Child| state.children.iter().filter(|sa| sa.policy == child.policy && sa.is_live()).map(|sa| sa.since).max();
    meeting.sort_by_key(|(differs, _, child, _)| (*differs, newest(child).filter(|_| core.connection.has_classes())));
    let mut refusal = None;
    for (_, index, child, selectors) in meeting {
        if child.protocol() == ike_wire::Protocol::AH && core.encapsulates() {
            let detail = diagnosis::ah_behind_nat(child, core.nat);
            refusal = Some((NotifyType::NO_PROPOSAL_CHOSEN, Failure::Incompatible(Reason::NO_PROPOSAL_CHOSEN, detail)));
            continue;
        }
        match proposal::choose_child(child, sa, encapsulation(core, child), key_exchange, &available) {
            Some(chosen) => {
                not_anothers(state, core, cx, child, &selectors)?;
                return Ok(Choice { index, chosen, selectors });
            }
            None => {
                let detail = proposal::nothing_for_child(child, sa, encapsulation(core, child), key_exchange);
                refusal = Some((NotifyType::NO_PROPOSAL_CHOSEN, Failure::Incompatible(Reason::NO_PROPOSAL_CHOSEN, detail)));
            }
        }
    }
    // A child for addresses that this peer has not asked for says more than selectors do.
    let has_none = core.assigned.remote.is_empty() && core.connection.children.iter().all(|child| child.remote_dynamic);
    if has_none && !core.connection.pools.is_empty() {
        let detail = diagnosis::address_required(&core.connection, "a quick mode without Mode Config before it");
        return Err((NotifyType::INVALID_ID_INFORMATION, Failure::Incompatible(Reason::FAILED_CP_REQUIRED, detail)));
    }
    Err(refusal.unwrap_or_else(|| {
        let detail = diagnosis::selectors(&core.connection.children, (&wire(ours), &wire(theirs)));
        (NotifyType::INVALID_ID_INFORMATION, Failure::Incompatible(Reason::TS_UNACCEPTABLE, detail))
    }))
}

/// What the selectors of a child have of two identities, where that is all of them: IKEv1 cannot narrow.
fn within(
    (local, remote): (&[TrafficSelector], &[TrafficSelector]),
    ours: TrafficSelector,
    theirs: TrafficSelector,
) -> Option<SelectorsNarrowed> {
    let narrowed = negotiate::narrow((local, remote), (&wire(ours), &wire(theirs)))?;
    (narrowed.local() == [ours] && narrowed.remote() == [theirs]).then_some(narrowed)
}

/// Whether nobody else has the traffic already.
fn not_anothers(
    state: &Established,
    core: &Core,
    cx: &Context<'_>,
    child: &config::Child,
    selectors: &SelectorsNarrowed,
) -> Result<(), Refusal> {
    let (entry, identity) = (core.connection.entry(child.policy), state.authenticated.identity());
    let Some(conflict) = cx.shared.holdings.conflict(entry, selectors, identity) else { return Ok(()) };
    let holder = cx.shared.children.get(&conflict.child).copied();
    let detail = diagnosis::held_by_another(child, identity, &conflict, holder, selectors);
    Err((NotifyType::INVALID_ID_INFORMATION, Failure::Incompatible(Reason::TS_UNACCEPTABLE, detail)))
}

/// The key exchange is computed.
pub(super) fn on_job(mut state: Box<Established>, core: &mut Core, cx: &mut Context<'_>, message_id: u32, result: JobResult) -> State {
    let Some(Responding { exchange, iv, nonces, ids, step }) = state.answering.remove(&message_id) else {
        return State::Established(state);
    };
    let (Step::Agreeing { choice, spi, .. }, JobResult::GeneratedAndAgreed(result)) = (step, result) else {
        return State::Established(state);
    };
    let about = Some((choice.chosen.answer.protocol, choice.chosen.answer.spi.clone()));
    let done = match result {
        Ok(key) => install(&mut state, core, cx, (message_id, exchange, iv), (nonces, ids), (choice, spi), Some(key)),
        Err(error) => {
            cx.shared.return_spi(spi);
            Err((NotifyType::INVALID_KEY_INFORMATION, Failure::from(error)))
        }
    };
    if let Err(refusal) = done {
        refuse(&mut state, core, cx, about, refusal);
    }
    State::Established(state)
}

fn install(
    state: &mut Established,
    core: &Core,
    cx: &mut Context<'_>,
    (message_id, exchange, iv): (u32, Exchange, Iv),
    (nonces, ids): ([Vec<u8>; 2], Vec<Identification>),
    (choice, spi): (Choice, LeasedSpi),
    key: Option<(Vec<u8>, Secret)>,
) -> Result<(), Refusal> {
    let refused = |failure: Failure| (NotifyType::NO_PROPOSAL_CHOSEN, failure);
    if !cx.shared.holds(spi) {
        return Err(refused(Failure::Local("the data plane was attached anew during the negotiation".into())));
    }
    let Choice { index, chosen, selectors } = choice;
    let Chosen { suite, answer, outbound } = chosen;
    let inbound = spi.spi;
    let shared = key.as_ref().map(|(_, shared)| shared);
    let policy = core.connection.child(index).map(|child| child.policy);
    let same = |child: &&Child| Some(child.policy) == policy && child.is_replaceable() && child.selectors == selectors;
    let old = state.children.iter().rev().find(same).map(|child| (child.id, child.phase == ChildPhase::Lost));
    let replaces = Replaces { child: old.map(|(id, _)| id), lost: old.is_some_and(|(_, lost)| lost), contested: false };
    let ours = core.connection.child(index).map(|child| lifetime::of_child(&child.lifetime)).unwrap_or_default();
    let offered = lifetime::of_chosen(Phase::Two, &answer);
    let peer_life = lifetime::shorter(&offered, &ours);
    let role = Role::Responder;
    let installed =
        state.keys.child(suite.protection, shared, [outbound, inbound], [&nonces[0], &nonces[1]]).map_err(Failure::from).and_then(|keys| {
            let agreed =
                Agreed { child: index, inbound, outbound, suite, selectors, keys, role, takes_tfc_padding: false, replaces, peer_life };
            child::install(cx, &state.bearer(core), agreed)
        });
    let child = installed.map_err(|failure| {
        cx.shared.return_spi(spi);
        refused(failure)
    })?;
    let (protocol, spi) = (answer.protocol, inbound.value().to_be_bytes().to_vec());
    let proposal = ike_wire::v1::Proposal { spi: spi.clone(), ..answer };
    let mut payloads = alloc::vec![Payload::Sa(Sa { proposals: alloc::vec![proposal] }), Payload::Nonce(nonces[1].clone())];
    payloads.extend(key.map(|(public, _)| Payload::KeyExchange(public)));
    payloads.extend(ids.iter().cloned().map(Payload::Identification));
    if child.mode == Mode::Transport && core.encapsulates() {
        payloads.extend(core.original_addresses(core.remote.ip(), core.local.ip()));
    }
    payloads.extend(lifetime::notification(Phase::Two, protocol, spi, &ours, &offered));
    let step = Step::Installing { child: child.id, answer: payloads };
    state.children.push(child);
    state.answering.insert(message_id, Responding { exchange, iv, nonces, ids, step });
    Ok(())
}

/// The data plane has answered: `<--  HDR*, HASH(2), SA, Nr [, KE] [, IDci, IDcr]`
pub(super) fn on_installed(
    mut state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    id: ChildSaId,
    result: Result<(), String>,
) -> State {
    let ours = |answering: &Responding| matches!(&answering.step, Step::Installing { child, .. } if *child == id);
    let Some(message_id) = state.answering.iter().find(|(_, answering)| ours(answering)).map(|(message_id, _)| *message_id) else {
        return State::Established(state);
    };
    let Some(mut answering) = state.answering.remove(&message_id) else { return State::Established(state) };
    let Step::Installing { child, answer } = core::mem::replace(&mut answering.step, Step::AwaitThird { child: id }) else {
        return State::Established(state);
    };
    if let Err(text) = result {
        let spi = state.child(child).map(|child| (Protocol(child.protocol().0), child.outbound.value().to_be_bytes().to_vec()));
        state.forget_refused(cx, id);
        let failure = Failure::Local(alloc::format!("the data plane refused the Child SA: {text}"));
        refuse(&mut state, core, cx, spi, (NotifyType::NO_PROPOSAL_CHOSEN, failure));
        return State::Established(state);
    }
    let header = core.header(ExchangeType::QUICK_MODE, message_id, true);
    let hash = |rest: &[u8]| state.keys.hash_2(message_id, &answering.nonces[0], rest).expose().to_vec();
    match core.send_encrypted(cx, &state.keys, &mut answering.iv, &header, answer, Some(&hash)) {
        Ok(sent) => answering.exchange.asked(cx.now, &core.connection.retransmission, sent),
        Err(failure) => return State::Established(state).close(core, cx, Some(failure)),
    }
    state.answering.insert(message_id, answering);
    State::Established(state)
}

/// `HDR*, HASH(3)  -->`: the peer receives, and has our answer.
pub(crate) fn on_third(
    mut state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> State {
    let message_id = message.header.message_id;
    let waits = |answering: &&Responding| matches!(answering.step, Step::AwaitThird { .. });
    let Some(answering) = state.answering.get(&message_id).filter(waits).filter(|_| message.header.exchange == ExchangeType::QUICK_MODE)
    else {
        cx.shared.count("messages_ignored");
        return State::Established(state);
    };
    let [ni, nr] = &answering.nonces;
    let Some((payloads, _)) = open(&state.keys, &answering.iv, message, |_| state.keys.hash_3(message_id, [ni, nr])) else {
        cx.shared.count("messages_unauthentic");
        return State::Established(state);
    };
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    heard(&state, core, cx, datagram);
    let answering = state.answering.remove(&message_id);
    if let Some(made) = answering.and_then(|answering| answering.made(&state.children)) {
        replacing::completed(&mut state, core, cx, Completed { made, request: None });
    }
    State::Established(state)
}

/// What a quick mode that will not go on has taken is given back; its Child SA is retired by whoever holds it.
pub(crate) fn forget(cx: &mut Context<'_>, answering: &Responding) {
    if let Step::Agreeing { spi, .. } = answering.step {
        cx.shared.return_spi(spi);
    }
}

/// The answer is sent again, or no more.
pub(super) fn on_timeout(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) {
    let timing = core.connection.retransmission;
    let mut silent = Vec::new();
    for (message_id, answering) in &mut state.answering {
        match answering.exchange.due(cx.now, &timing) {
            Due::Nothing => {}
            Due::Repeat(datagram) => {
                cx.shared.count("responses_retransmitted");
                core.repeat(cx, datagram);
            }
            Due::GiveUp => silent.push(*message_id),
        }
    }
    for answering in silent.into_iter().filter_map(|message_id| state.answering.remove(&message_id)).collect::<Vec<_>>() {
        let Step::AwaitThird { child } = answering.step else { continue };
        let failure = core.timed_out(cx, "the second message of Quick Mode", &answering.exchange);
        cx.fail(Some(&core.connection.name), core.remote, failure);
        state.retire(core, cx, child, LINGER);
    }
}
