//! Quick mode, as its initiator.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use ike_wire::NotifyType as Reason;
use ike_wire::v1::{Delete, ExchangeType, Identification, Message, Payload, Protocol};
use ipsec_types::{ChildSaId, KeyExchangeMethod, Limits, Mode, Secret, Spi, TrafficSelector};

use super::replacing::{self, Completed, Made};
use super::{encapsulation, identities, meant, open, selectors, wire};
use crate::child::{self, Agreed, ChildPhase, LINGER, Replaces};
use crate::context::{Context, LeasedSpi};
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Datagram, Job, JobId, JobResult, Output, RequestId};
use crate::negotiate::{self, ChildSuite, SelectorsNarrowed};
use crate::provider::PrivateKey;
use crate::v1::common::Task;
use crate::v1::established::{Established, heard};
use crate::v1::exchange::{Due, Exchange};
use crate::v1::keys::Iv;
use crate::v1::phase_1::{is_nonce, nonce};
use crate::v1::{Core, State, find, informational, lifetime, proposal, trace_incoming};
use crate::v2::keys::Role;

/// A quick mode of ours.
pub(crate) struct Initiating {
    pub(crate) message_id: u32,
    /// Index of the child.
    pub(crate) index: usize,
    spi: LeasedSpi,
    /// The Child SA to be replaced, and who asked for it.
    rekey: Option<(ChildSaId, Option<RequestId>)>,
    nonce: Vec<u8>,
    pub(crate) exchange: Exchange,
    iv: Iv,
    step: Step,
}

enum Step {
    /// A key pair is being made.
    Generating { job: JobId, method: KeyExchangeMethod },
    /// The first message is sent.
    AwaitAnswer { key: Option<(KeyExchangeMethod, Box<dyn PrivateKey>)>, offered: (TrafficSelector, TrafficSelector) },
    /// The shared secret is being computed.
    Agreeing { job: JobId, accepted: Accepted },
    /// The Child SA is on its way into the data plane.
    Installing { child: ChildSaId, nonce: Vec<u8> },
    /// Between two of them.
    Moving,
}

/// What the peer has answered.
struct Accepted {
    suite: ChildSuite,
    outbound: Spi,
    selectors: SelectorsNarrowed,
    nonce: Vec<u8>,
    /// What of its life is shorter than ours.
    peer_life: Limits,
}

impl Initiating {
    /// Whether it waits for this job.
    pub(crate) fn waits_for(&self, id: JobId) -> bool {
        matches!(self.step, Step::Generating { job, .. } | Step::Agreeing { job, .. } if job == id)
    }

    /// Whether it waits for this Child SA.
    pub(crate) fn installs(&self, id: ChildSaId) -> bool {
        matches!(self.step, Step::Installing { child, .. } if child == id)
    }

    /// Whether an error that the peer notifies of can mean it. Some peers name our SPI, some their own, some none: there is one of ours at a time.
    pub(crate) const fn may_be_refused(&self) -> bool {
        matches!(self.step, Step::AwaitAnswer { .. })
    }
}

/// Begins a quick mode for a task.
pub(crate) fn begin(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, task: Task, spi: LeasedSpi) {
    let (index, rekey) = match task {
        Task::CreateChild(index) => (index, None),
        Task::RekeyChild { child, request } => {
            // The peer is doing it: another one would be one too many.
            if let Some(successor) = state.children.iter().find(|other| other.predecessor == Some(child) && other.is_installing()) {
                cx.shared.return_spi(spi);
                if let Some(request) = request {
                    cx.shared.child_rekeyed(request, Ok(successor.id));
                }
                return;
            }
            let old = state.child(child).filter(|child| child.is_replaceable());
            let index = old.and_then(|old| core.connection.children.iter().position(|child| child.policy == old.policy));
            let Some(index) = index else {
                cx.shared.return_spi(spi);
                if let Some(request) = request {
                    let failure = Failure::Local("the Child SA is gone, or being replaced or deleted".into());
                    cx.shared.child_rekeyed(request, Err(failure));
                }
                return;
            };
            (index, Some((child, request)))
        }
        _ => return cx.shared.return_spi(spi),
    };
    let message_id = core.next_message_id();
    let iv = state.keys.phase_2_iv(&state.last, message_id);
    let nonce = nonce(cx);
    let mut active = Initiating { message_id, index, spi, rekey, nonce, exchange: Exchange::default(), iv, step: Step::Moving };
    let method = core.connection.child(index).map(|child| {
        let available = cx.shared.provider.methods();
        proposal::offer_child(child, spi.spi, encapsulation(core, child), &available).and_then(|(_, method)| method)
    });
    match method.flatten() {
        Some(method) => {
            let job = cx.shared.job(core.id, Job::Generate { method });
            active.step = Step::Generating { job, method };
            state.active = Some(Box::new(active));
        }
        None => ask(state, core, cx, active, None),
    }
}

/// `HDR*, HASH(1), SA, Ni [, KE], IDci, IDcr  -->`
fn ask(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    mut active: Initiating,
    key: Option<(KeyExchangeMethod, Box<dyn PrivateKey>, Vec<u8>)>,
) {
    match offer(core, cx, &active, key.as_ref().map(|(_, _, public)| public.as_slice())) {
        Ok((payloads, offered)) => {
            let header = core.header(ExchangeType::QUICK_MODE, active.message_id, true);
            let message_id = active.message_id;
            let hash = |rest: &[u8]| state.keys.hash_1(message_id, rest).expose().to_vec();
            match core.send_encrypted(cx, &state.keys, &mut active.iv, &header, payloads, Some(&hash)) {
                Ok(sent) => {
                    active.exchange.asked(cx.now, &core.connection.retransmission, sent);
                    active.step = Step::AwaitAnswer { key: key.map(|(method, private, _)| (method, private)), offered };
                    state.active = Some(Box::new(active));
                }
                Err(failure) => abandon(state, core, cx, active, &failure),
            }
        }
        Err(failure) => abandon(state, core, cx, active, &failure),
    }
}

/// The payloads of the first message, and the selectors in it, ours first.
fn offer(
    core: &Core,
    cx: &Context<'_>,
    active: &Initiating,
    public: Option<&[u8]>,
) -> Result<(Vec<Payload>, (TrafficSelector, TrafficSelector)), Failure> {
    let child = core.connection.child(active.index).ok_or_else(|| Failure::Local("no such child".into()))?;
    if child.protocol() == ike_wire::Protocol::AH && core.encapsulates() {
        return Err(Failure::Incompatible(Reason::NO_PROPOSAL_CHOSEN, diagnosis::ah_behind_nat(child, core.nat)));
    }
    let (given, received) = (&core.assigned.remote, &core.assigned.local.addresses);
    if child.mode == Mode::Tunnel && ((child.local_dynamic && received.is_empty()) || (child.remote_dynamic && given.is_empty())) {
        return Err(Failure::Incompatible(Reason::TS_UNACCEPTABLE, diagnosis::no_virtual_address(child)));
    }
    let (local, remote) = selectors(core, child)
        .ok_or_else(|| Failure::Incompatible(Reason::TS_UNACCEPTABLE, diagnosis::not_between(child, core.local.ip(), core.remote.ip())))?;
    let available = cx.shared.provider.methods();
    let (sa, _) = proposal::offer_child(child, active.spi.spi, encapsulation(core, child), &available)
        .ok_or_else(|| Failure::Local(format!("no proposal of child {} can be said in IKEv1", child.name)))?;
    let said = |selector: &TrafficSelector| {
        Identification::of_selector(selector).ok_or_else(|| {
            Failure::Local(format!("IKEv1 has no words for the selector {selector} of child {}: one port or all", child.name))
        })
    };
    let mut payloads = alloc::vec![Payload::Sa(sa), Payload::Nonce(active.nonce.clone())];
    payloads.extend(public.map(|public| Payload::KeyExchange(public.to_vec())));
    payloads.extend([Payload::Identification(said(&local)?), Payload::Identification(said(&remote)?)]);
    if child.mode == Mode::Transport && core.encapsulates() {
        payloads.extend(core.original_addresses(core.local.ip(), core.remote.ip()));
    }
    Ok((payloads, (local, remote)))
}

/// `<--  HDR*, HASH(2), SA, Nr [, KE], IDci, IDcr`
pub(crate) fn on_answer(
    mut state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> State {
    let is_quick = message.header.exchange == ExchangeType::QUICK_MODE;
    let Some(mut active) = state.active.take_if(|active| is_quick && matches!(active.step, Step::AwaitAnswer { .. })) else {
        cx.shared.count("messages_ignored");
        return State::Established(state);
    };
    let opened = open(&state.keys, &active.iv, message, |rest| state.keys.hash_2(active.message_id, &active.nonce, rest));
    let Some((payloads, next)) = opened else {
        cx.shared.count("messages_unauthentic");
        state.active = Some(active);
        return State::Established(state);
    };
    let Step::AwaitAnswer { key, offered } = core::mem::replace(&mut active.step, Step::Moving) else { return State::Established(state) };
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    heard(&state, core, cx, datagram);
    active.exchange.received(&datagram.payload);
    active.iv = next;
    let method = key.as_ref().map(|(method, _)| *method);
    match check(core, cx, &active, offered, method, &payloads) {
        Ok(accepted) => match (key, find::key_exchange(&payloads)) {
            (None, _) => install(&mut state, core, cx, *active, accepted, None),
            (Some((_, private)), Some(public)) => {
                let job = cx.shared.job(core.id, Job::Agree { private, peer_public: public.to_vec() });
                active.step = Step::Agreeing { job, accepted };
                state.active = Some(active);
            }
            (Some(_), None) => {
                let failure = Failure::PeerMisbehaved("an answer in quick mode without the public value that was asked for".into());
                give_up(&mut state, core, cx, *active, failure);
            }
        },
        Err(failure) => give_up(&mut state, core, cx, *active, failure),
    }
    State::Established(state)
}

fn check(
    core: &Core,
    cx: &Context<'_>,
    active: &Initiating,
    offered: (TrafficSelector, TrafficSelector),
    method: Option<KeyExchangeMethod>,
    payloads: &[Payload],
) -> Result<Accepted, Failure> {
    let misbehaved = |text: &str| Failure::PeerMisbehaved(text.into());
    if !cx.shared.holds(active.spi) {
        return Err(Failure::Local("the data plane was attached anew during the negotiation".into()));
    }
    let child = core.connection.child(active.index).ok_or_else(|| Failure::Local("no such child".into()))?;
    let sa = find::sa(payloads).ok_or_else(|| misbehaved("an answer in quick mode without SA"))?;
    let nonce = find::nonce(payloads).filter(|nonce| is_nonce(nonce)).ok_or_else(|| misbehaved("an answer in quick mode without nonce"))?;
    let available = cx.shared.provider.methods();
    let chosen = proposal::accept_child(child, sa, encapsulation(core, child), method, &available)
        .ok_or_else(|| misbehaved("the peer chose a proposal of quick mode that was not offered"))?;
    let ids = identities(payloads, core.local.ip(), core.remote.ip())
        .ok_or_else(|| misbehaved("identities in quick mode that are no traffic"))?;
    let [ours, theirs] = meant(core, child, ids);
    let answer = (wire(ours), wire(theirs));
    let selectors = negotiate::narrowed_by_peer((&[offered.0], &[offered.1]), (&answer.0, &answer.1))
        .ok_or_else(|| Failure::PeerMisbehaved(diagnosis::wider(child, (&answer.0, &answer.1))))?;
    let life = lifetime::of_responder(&chosen.answer, payloads);
    let peer_life = lifetime::shorter(&life, &lifetime::of_child(&child.lifetime));
    Ok(Accepted { suite: chosen.suite, outbound: chosen.outbound, selectors, nonce: nonce.to_vec(), peer_life })
}

/// A job is done.
pub(super) fn on_job(mut state: Box<Established>, core: &mut Core, cx: &mut Context<'_>, result: JobResult) -> State {
    let Some(mut active) = state.active.take() else { return State::Established(state) };
    match (core::mem::replace(&mut active.step, Step::Moving), result) {
        (Step::Generating { method, .. }, JobResult::Generated(Ok((private, public)))) => {
            ask(&mut state, core, cx, *active, Some((method, private, public)));
        }
        (Step::Generating { .. }, JobResult::Generated(Err(error))) => abandon(&mut state, core, cx, *active, &error.into()),
        (Step::Agreeing { accepted, .. }, JobResult::Agreed(Ok(shared))) => install(&mut state, core, cx, *active, accepted, Some(&shared)),
        (Step::Agreeing { .. }, JobResult::Agreed(Err(error))) => give_up(&mut state, core, cx, *active, error.into()),
        (step, _) => {
            active.step = step;
            state.active = Some(active);
        }
    }
    State::Established(state)
}

fn install(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    mut active: Initiating,
    accepted: Accepted,
    shared: Option<&Secret>,
) {
    if !cx.shared.holds(active.spi) {
        let failure = Failure::Local("the data plane was attached anew during the negotiation".into());
        return abandon(state, core, cx, active, &failure);
    }
    let Accepted { suite, outbound, selectors, nonce, peer_life } = accepted;
    let inbound = active.spi.spi;
    let old = active.rekey.and_then(|(old, _)| state.child(old));
    let replaces = Replaces { child: old.map(|old| old.id), lost: old.is_some_and(|old| old.phase == ChildPhase::Lost), contested: false };
    let installed =
        state.keys.child(suite.protection, shared, [inbound, outbound], [&active.nonce, &nonce]).map_err(Failure::from).and_then(|keys| {
            let role = Role::Initiator;
            let agreed = Agreed {
                child: active.index,
                inbound,
                outbound,
                suite,
                selectors,
                keys,
                role,
                takes_tfc_padding: false,
                replaces,
                peer_life,
            };
            child::install(cx, &state.bearer(core), agreed)
        });
    match installed {
        Ok(child) => {
            active.step = Step::Installing { child: child.id, nonce };
            state.children.push(child);
            state.active = Some(Box::new(active));
        }
        Err(failure) => give_up(state, core, cx, active, failure),
    }
}

/// The data plane has answered: `HDR*, HASH(3)  -->`, and what was replaced is deleted.
pub(super) fn on_installed(
    mut state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    id: ChildSaId,
    result: Result<(), String>,
) -> State {
    let Some(mut active) = state.active.take() else { return State::Established(state) };
    if let Err(text) = result {
        // Its SPI has been said, and is not for another one.
        state.forget_refused(cx, id);
        give_up(&mut state, core, cx, *active, Failure::Local(format!("the data plane refused the Child SA: {text}")));
        return State::Established(state);
    }
    let Step::Installing { nonce, .. } = core::mem::replace(&mut active.step, Step::Moving) else { return State::Established(state) };
    let header = core.header(ExchangeType::QUICK_MODE, active.message_id, true);
    let hash = |_: &[u8]| state.keys.hash_3(active.message_id, [&active.nonce, &nonce]).expose().to_vec();
    match core.send_encrypted(cx, &state.keys, &mut active.iv, &header, Vec::new(), Some(&hash)) {
        Ok(sent) => active.exchange.answered(sent),
        Err(failure) => return State::Established(state).close(core, cx, Some(failure)),
    }
    state.finished(cx.now, active.message_id, active.exchange);
    let (replaces, request) = active.rekey.map_or((None, None), |(old, request)| (Some(old), request));
    let made = Made { child: id, replaces, lowest: active.nonce.min(nonce) };
    replacing::completed(&mut state, core, cx, Completed { made, request });
    State::Established(state)
}

/// The peer has its half, and we do not have ours: it is told to delete it.
fn give_up(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, active: Initiating, failure: Failure) {
    let protocol = core.connection.child(active.index).map_or(Protocol::ESP, proposal::protocol);
    let delete = Delete::new(protocol, alloc::vec![active.spi.spi.value().to_be_bytes().to_vec()]);
    let _sent = informational::send(state, core, cx, alloc::vec![Payload::Delete(delete)]);
    abandon(state, core, cx, active, &failure);
}

/// A quick mode of ours comes to nothing.
pub(crate) fn abandon(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, active: Initiating, failure: &Failure) {
    match active.step {
        Step::Installing { child, .. } => {
            if let Some(position) = state.children.iter().position(|other| other.id == child) {
                let child = state.children.remove(position);
                cx.shared.output(Output::Retire { child: child.id, linger: LINGER });
                cx.shared.forget_child(&child);
            }
        }
        _ => cx.shared.return_spi(active.spi),
    }
    cx.fail(Some(&core.connection.name), core.remote, failure.clone());
    if let Some((_, Some(request))) = active.rekey {
        cx.shared.child_rekeyed(request, Err(failure.clone()));
    }
    if let Some(policy) = core.connection.child(active.index).map(|child| child.policy) {
        core.child_failed(cx, policy, failure);
    }
}

/// The first message is sent again, or no more.
pub(super) fn on_timeout(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) {
    let timing = core.connection.retransmission;
    let Some(active) = &mut state.active else { return };
    match active.exchange.due(cx.now, &timing) {
        Due::Nothing => {}
        Due::Repeat(datagram) => {
            cx.shared.count("requests_retransmitted");
            core.repeat(cx, datagram);
        }
        Due::GiveUp => {
            let Some(active) = state.active.take() else { return };
            let failure = core.timed_out(cx, "Quick Mode", &active.exchange);
            abandon(state, core, cx, *active, &failure);
        }
    }
}
