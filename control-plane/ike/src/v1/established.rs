//! Phase 1 is over: Child SAs, the queue of operations, and who gets which message.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::ConfigurationType;
use ike_wire::v1::{Delete, ExchangeType, Message, Payload, Protocol};
use ipsec_types::{ChildSaId, Identity, Instant, PolicyId};

use crate::child::{Authenticated, Bearer, Child, ChildPhase, LINGER};
use crate::context::{Context, End};
use crate::error::Failure;
use crate::io::{Datagram, Event, IkeSaId, Output};
use crate::orphan::Orphan;
use crate::peers;
use crate::v1::admission::Admission;
use crate::v1::authentication::Authentication;
use crate::v1::common::Task;
use crate::v1::exchange::Exchange;
use crate::v1::informational::{self, Probe};
use crate::v1::keys::{Iv, Keys};
use crate::v1::known::{News, Others};
use crate::v1::lifetime::{self, Phase};
use crate::v1::phase_1::{PeerAuthenticated, spi_of};
use crate::v1::proposal::Suite;
use crate::v1::quick::replacing::Made;
use crate::v1::succession::READ;
use crate::v1::transaction::{Heard, Transactions};
use crate::v1::{Core, State, mode_config, quick};
use crate::v2::keys::Role;

/// What an IKE SA has after phase 1.
pub(crate) struct Established {
    pub(crate) suite: Suite,
    pub(crate) keys: Keys,
    /// The last block of phase 1, from which the IVs of phase 2 come.
    pub(crate) last: Iv,
    pub(crate) authenticated: PeerAuthenticated,
    pub(crate) children: Vec<Child>,
    /// The quick mode of ours that is under way.
    pub(crate) active: Option<Box<quick::Initiating>>,
    /// Those of the peer, by Message ID.
    pub(crate) answering: BTreeMap<u32, quick::Responding>,
    /// What quick modes have made.
    pub(crate) made: Vec<Made>,
    /// The last of them that was deleted here because the peer has made another at once, and when.
    pub(crate) let_go: Option<(PolicyId, Instant)>,
    /// The last of ours that are over, and since when: their third message may have been lost.
    pub(crate) done: VecDeque<(u32, Exchange, Instant)>,
    pub(crate) transactions: Transactions,
    /// Message IDs of the peer's that must not come again.
    seen: VecDeque<u32>,
    pub(crate) probe: Probe,
    /// Another is being set up in its place, or has been.
    pub(crate) makes_way: bool,
    /// Another has what it had: it only waits for its end.
    pub(crate) replaced: bool,
}

/// A responder may have its SAs in place only when it has read the third message: what overtakes that is lost.
const GRACE: Duration = Duration::from_millis(200);
/// Quick modes of a peer at a time.
const MOST_ANSWERING: usize = 16;
/// Message IDs that are remembered.
const MOST_SEEN: usize = 512;
/// Quick modes of ours whose third message is kept.
const MOST_DONE: usize = 8;

impl Established {
    /// The one way to get here: with the proof of who the peer is.
    pub(crate) fn new(core: &mut Core, cx: &mut Context<'_>, admission: Admission, authenticated: PeerAuthenticated) -> Self {
        let Admission { suite, keys, last, transactions, seen, initial_contact, .. } = admission;
        cx.shared.count("ike_sas_established");
        cx.shared.event(Event::IkeSaEstablished(core.id));
        let lifetime = core.connection.lifetime;
        if let Some(rekey) = lifetime.rekey.into_iter().chain(core.connection.reauthentication).min()
            && !core.connection.remote_addrs.is_empty()
            && begins_again(core, suite.authentication)
        {
            core.later.push((cx.now + rekey.saturating_sub(cx.up_to(lifetime.jitter)), Task::Replace { request: None }));
        }
        core.later.extend(lifetime.hard.map(|hard| (cx.now + hard, Task::Expire)));
        core.limit_life(cx.now, &core.peer_life.clone());
        if let Some(Others { ids, replaced, why }) = cx.shared.v1.met(cx.now, core, authenticated.identity(), initial_contact) {
            let (title, lines, event) = peers::not_alone((core.id, &core.connection.name), authenticated.identity(), &ids, replaced, why);
            core.step(cx, title, lines);
            cx.shared.event(event);
        }
        let mut state = Self {
            suite,
            keys,
            last,
            authenticated,
            children: Vec::new(),
            active: None,
            answering: BTreeMap::new(),
            made: Vec::new(),
            let_go: None,
            done: VecDeque::new(),
            transactions,
            seen: seen.into(),
            probe: Probe::new(cx),
            makes_way: false,
            replaced: false,
        };
        state.tell_life(core, cx);
        state
    }

    /// `<--  HDR*, HASH(1), N(RESPONDER-LIFETIME)` of a responder that lets the IKE SA live less long than was offered. Who does not hear it is told when it
    /// ends.
    fn tell_life(&mut self, core: &mut Core, cx: &mut Context<'_>) {
        let ours = lifetime::of_ike_sa(&core.connection.lifetime);
        let spi = core.cookies().map(spi_of).unwrap_or_default();
        let said = lifetime::notification(Phase::One, Protocol::ISAKMP, spi, &ours, &core.peer_life);
        if let Some(said) = said.filter(|_| core.role == Role::Responder) {
            let _sent = informational::send(self, core, cx, alloc::vec![said]);
        }
    }

    /// Who the peer is.
    pub(crate) fn identity(&self) -> &Identity {
        self.authenticated.identity()
    }

    /// One of its Child SAs.
    pub(crate) fn child(&self, id: ChildSaId) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    /// One of its Child SAs, to be changed.
    pub(crate) fn child_mut(&mut self, id: ChildSaId) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// The IKE SA as its Child SAs see it.
    pub(crate) fn bearer<'a>(&'a self, core: &'a Core) -> Bearer<'a> {
        Bearer {
            ike_sa: core.id,
            connection: &core.connection,
            spis: (Some(core.initiator_cookie), core.responder_cookie),
            ends: core.esp_ends(),
            encapsulates: core.encapsulates(),
            authenticated: &self.authenticated,
            grace: Some(GRACE),
            growth: "KEYMAT = prf(SKEYID_d, [g(qm)^xy |] protocol | SPI | Ni_b | Nr_b)",
        }
    }

    /// A Message ID of the peer's is used up.
    pub(crate) fn saw(&mut self, message_id: u32) {
        if self.seen.len() >= MOST_SEEN {
            self.seen.pop_front();
        }
        self.seen.push_back(message_id);
    }

    /// A quick mode of ours is over; its last message may have to be sent again.
    pub(crate) fn finished(&mut self, now: Instant, message_id: u32, exchange: Exchange) {
        if self.done.len() >= MOST_DONE {
            self.done.pop_front();
        }
        self.done.push_back((message_id, exchange, now));
    }

    /// Until when it stays though another has its place: a quick mode of the peer's is not over, or the peer may have to ask for a third message of ours.
    fn is_needed_until(&self, now: Instant) -> Option<Instant> {
        let answering = (!self.answering.is_empty()).then(|| now + READ);
        let said = self.done.iter().map(|(.., since)| *since + READ);
        said.chain(answering).max().filter(|until| self.replaced && *until > now)
    }

    /// Takes a Child SA out of the data plane and forgets it.
    pub(crate) fn retire(&mut self, core: &mut Core, cx: &mut Context<'_>, id: ChildSaId, linger: Duration) -> Option<Child> {
        let position = self.children.iter().position(|child| child.id == id)?;
        let child = self.children.remove(position);
        if child.is_live() {
            cx.shared.output(Output::Retire { child: id, linger });
        }
        self.forget(core, cx, &child);
        Some(child)
    }

    /// Forgets a Child SA that the data plane does not have.
    pub(crate) fn forget_refused(&mut self, cx: &mut Context<'_>, id: ChildSaId) {
        if let Some(position) = self.children.iter().position(|child| child.id == id) {
            let child = self.children.remove(position);
            cx.shared.forget_child(&child);
        }
    }

    fn forget(&self, core: &mut Core, cx: &mut Context<'_>, child: &Child) {
        cx.shared.forget_child(child);
        match child.phase {
            ChildPhase::Installing { wanted: true } => {
                core.child_failed(cx, child.policy, &Failure::Local("the Child SA was deleted before it was in use".into()));
            }
            // Nobody has been told of it.
            ChildPhase::Installing { wanted: false } => {}
            _ => cx.shared.event(Event::ChildSaClosed { ike_sa: core.id, child: child.id, name: child.name.clone() }),
        }
    }

    /// All of them, for the end of the IKE SA.
    pub(crate) fn retire_all(&mut self, core: &mut Core, cx: &mut Context<'_>, failure: &Failure) {
        if let Some(active) = self.active.take() {
            quick::abandon(self, core, cx, *active, failure);
        }
        for (_, answering) in core::mem::take(&mut self.answering) {
            quick::forget(cx, &answering);
        }
        for child in core::mem::take(&mut self.children) {
            if child.is_live() {
                cx.shared.output(Output::Retire { child: child.id, linger: Duration::ZERO });
            }
            self.forget(core, cx, &child);
        }
    }

    /// Its Child SAs go on without it for up to `time`, until others take their traffic over.
    pub(crate) fn orphan_all(&mut self, core: &mut Core, cx: &mut Context<'_>, time: Duration) {
        for child in core::mem::take(&mut self.children) {
            if child.is_live() {
                cx.shared.ended.push((child.policy, End::Forgotten));
            }
            if matches!(child.phase, ChildPhase::Installed | ChildPhase::Replaced) {
                cx.shared.orphans.adopt(Orphan::of(&child, cx.now + time, core.assigned.remote.clone()));
            } else if child.is_live() {
                cx.shared.output(Output::Retire { child: child.id, linger: Duration::ZERO });
            }
            self.forget(core, cx, &child);
        }
    }

    /// Our outer address or the peer's has changed.
    pub(crate) fn retarget(&self, core: &Core, cx: &mut Context<'_>) {
        let [local, remote] = core.esp_ends();
        for child in &self.children {
            cx.shared.output(Output::Retarget { child: child.id, local, remote });
        }
    }

    /// When the clock is next needed.
    pub(crate) fn deadline(&self, core: &Core) -> Option<Instant> {
        let active = self.active.as_ref().and_then(|active| active.exchange.deadline());
        let answering = self.answering.values().filter_map(|answering| answering.exchange.deadline()).min();
        [active, answering, self.probe.deadline(core)].into_iter().flatten().min()
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        if let Some(active) = &mut self.active {
            active.exchange.shift(pause);
        }
        self.answering.values_mut().for_each(|answering| answering.exchange.shift(pause));
        self.probe.shift(pause);
    }
}

/// Whether a new phase 1 in the place of this one is ours to begin: a user, and a peer that has an address of the other side, ask again themselves.
fn begins_again(core: &Core, method: Authentication) -> bool {
    let is_one_sided = method.user().is_some() || !core.assigned.remote.is_empty() || !core.assigned.local.addresses.is_empty();
    !is_one_sided || core.role == Role::Initiator
}

/// A message of phase 2.
pub(crate) fn on_message(
    state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> State {
    let message_id = message.header.message_id;
    if message_id == 0 || !message.header.flags.encryption || message.header.responder() != core.responder_cookie {
        cx.shared.count("messages_ignored");
        return State::Established(state);
    }
    let over = state.done.iter().find(|(id, ..)| *id == message_id);
    if let Some(again) = over.and_then(|(_, exchange, _)| exchange.repeated(&datagram.payload)).map(<[u8]>::to_vec) {
        core.repeat(cx, again);
        return State::Established(state);
    }
    if state.active.as_ref().is_some_and(|active| active.message_id == message_id) {
        return quick::on_answer(state, core, cx, datagram, message);
    }
    if let Some(answering) = state.answering.get(&message_id) {
        if let Some(again) = answering.exchange.repeated(&datagram.payload).map(<[u8]>::to_vec) {
            core.repeat(cx, again);
            return State::Established(state);
        }
        return quick::on_third(state, core, cx, datagram, message);
    }
    let is_transaction = message.header.exchange == ExchangeType::TRANSACTION;
    if is_transaction && state.transactions.has(message_id) {
        return on_transaction(state, core, cx, datagram, message);
    }
    // What was begun here and comes back is a reflection, what has come before a repetition.
    if core.has_used(message_id) || state.seen.contains(&message_id) {
        cx.shared.count("messages_ignored");
        return State::Established(state);
    }
    match message.header.exchange {
        ExchangeType::QUICK_MODE if state.answering.len() < MOST_ANSWERING => quick::on_request(state, core, cx, datagram, message),
        ExchangeType::INFORMATIONAL => informational::on_message(state, core, cx, datagram, message),
        ExchangeType::TRANSACTION => on_transaction(state, core, cx, datagram, message),
        _ => {
            cx.shared.count("messages_ignored");
            State::Established(state)
        }
    }
}

/// The peer asks for addresses, or repeats what was said before phase 2.
fn on_transaction(mut state: Box<Established>, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    let heard = state.transactions.receive(core, cx, (&state.keys, &state.last), datagram, message);
    let Some(Heard::Asked(message_id, asked)) = heard else { return State::Established(state) };
    state.saw(message_id);
    self::heard(&state, core, cx, datagram);
    let given = match asked.kind {
        ConfigurationType::REQUEST => mode_config::answer(core, cx, state.authenticated.identity(), &asked),
        _ => Ok(Vec::new()),
    };
    let given = given.unwrap_or_else(|failure| {
        cx.fail(Some(&core.connection.name), core.remote, failure);
        Vec::new()
    });
    match state.transactions.answer(core, cx, &state.keys, (message_id, &asked), given) {
        Ok(()) => State::Established(state),
        Err(failure) => State::Established(state).close(core, cx, Some(failure)),
    }
}

/// The peer has spoken: where it is now is followed as far as a NAT may have moved it.
pub(crate) fn heard(state: &Established, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram) {
    core.last_inbound = cx.now;
    core.protected(cx.now, datagram.payload.len());
    if (core.local, core.remote) != (datagram.local, datagram.remote) && core.nat.follows() {
        core.local = datagram.local;
        core.remote = datagram.remote;
        core.step(cx, "the peer has moved", alloc::vec![alloc::format!("to {}", core.remote)]);
        state.retarget(core, cx);
    }
}

/// Begins the next operation, if none is under way.
pub(crate) fn next_task(mut state: Box<Established>, core: &mut Core, cx: &mut Context<'_>) -> State {
    while state.active.is_none() {
        let Some(task) = core.tasks.pop_front() else { break };
        match task {
            Task::CreateChild(_) | Task::RekeyChild { .. } => {
                let Some(spi) = cx.shared.take_spi() else {
                    core.tasks.push_front(task);
                    break;
                };
                quick::begin(&mut state, core, cx, task, spi);
            }
            Task::DeleteChild { child, request } => match owner_of(core, cx, child).filter(|_| state.child(child).is_none()) {
                Some(ike_sa) => cx.shared.v1.news.push_back(News::Task { ike_sa, task }),
                None => {
                    delete_child(&mut state, core, cx, child);
                    if let Some(request) = request {
                        cx.shared.terminated(request);
                    }
                }
            },
            Task::LetGo { child } => quick::replacing::let_go(&mut state, core, cx, child),
            Task::Replace { request } => {
                if core::mem::replace(&mut state.makes_way, true) {
                    if let Some(request) = request {
                        cx.shared.ike_rekeyed(request, Err(Failure::Local("the IKE SA is being replaced already".into())));
                    }
                } else {
                    cx.shared.v1.news.push_back(News::Replace { ike_sa: core.id, request });
                }
            }
            Task::Expire => {
                core.end = Some(End::Failed);
                return delete(state, core, cx, None);
            }
            Task::Delete => match state.is_needed_until(cx.now).filter(|_| core.terminating.is_empty()) {
                Some(until) => core.later.push((until, task)),
                None => return delete(state, core, cx, None),
            },
        }
    }
    State::Established(state)
}

/// The other IKE SA that has a Child SA.
fn owner_of(core: &Core, cx: &Context<'_>, child: ChildSaId) -> Option<IkeSaId> {
    cx.shared.children.get(&child).copied().filter(|owner| *owner != core.id)
}

/// `HDR*, HASH(1), D  -->` for a Child SA, which is not answered.
pub(crate) fn delete_child(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, id: ChildSaId) {
    let Some(child) = state.child(id) else { return };
    let delete = Delete::new(Protocol(child.protocol().0), alloc::vec![child.inbound.value().to_be_bytes().to_vec()]);
    let _sent = informational::send(state, core, cx, alloc::vec![Payload::Delete(delete)]);
    state.retire(core, cx, id, LINGER);
}

/// `HDR*, HASH(1), D  -->` for each Child SA and then for the IKE SA itself.
pub(crate) fn delete(mut state: Box<Established>, core: &mut Core, cx: &mut Context<'_>, failure: Option<Failure>) -> State {
    let live: Vec<ChildSaId> = state.children.iter().filter(|child| child.phase != ChildPhase::Deleting).map(|child| child.id).collect();
    // Under another IKE SA with the same peer they go on.
    let go_on = core.terminating.is_empty() && cx.shared.v1.sibling(core.id).is_some();
    if !go_on {
        let ended = state.children.iter().filter(|child| child.is_live()).map(|child| child.policy);
        cx.shared.ended.extend(core.end.into_iter().flat_map(|end| ended.clone().map(move |policy| (policy, end))));
        for id in live {
            delete_child(&mut state, core, cx, id);
        }
    }
    informational::end(core, cx, (&state.keys, &state.last), None);
    State::Established(state).close(core, cx, failure)
}
