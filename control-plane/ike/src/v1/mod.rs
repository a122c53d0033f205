//! IKEv1 (RFC 2409, over ISAKMP, RFC 2408, in the IPsec DOI, RFC 2407): one IKE SA as a state machine, for peers that have nothing newer. RFC 9395 has
//! made it historic: nothing here is a default.
//!
//! Phase 1 is main mode ([`main_mode`]) or aggressive mode ([`aggressive`]), with pre-shared keys or signatures ([`phase_1`]), after which a user may have
//! to show who it is, and addresses are given ([`admission`]); phase 2 is quick mode ([`quick`]), any number of them under one phase 1;
//! [`informational`] has deletions and Dead Peer Detection. What IKEv2 has, too, is shared: configuration, selectors, Child SAs, the wants of
//! policies.

mod admission;
mod aggressive;
pub(crate) mod authentication;
pub(crate) mod common;
mod established;
mod exchange;
mod find;
mod fragments;
mod informational;
pub(crate) mod keys;
pub(crate) mod known;
mod lifetime;
pub(crate) mod main_mode;
mod mode_config;
mod nat;
pub(crate) mod phase_1;
pub(crate) mod proposal;
mod quick;
mod succession;
mod trace;
mod transaction;
mod xauth;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;

use ike_wire::v1::{ExchangeType, Header, Message, Payload, parse_payloads};
use ipsec_types::{ChildSaId, Instant};

pub(crate) use self::common::{Core, Task};
use self::established::Established;
use self::exchange::Due;
use self::known::News;
use self::phase_1::Mode;
pub(crate) use self::succession::Estate;
pub(crate) use self::xauth::own_user;
use crate::child::{Child, ChildPhase};
use crate::context::{Context, End};
use crate::error::Failure;
use crate::io::{Datagram, Event, IkeSaStatus, JobId, JobResult, PpkStatus, RequestId, SaState};
use crate::policy::ConnectionRef;
use crate::v2::fragments::MOST_OCTETS_UNPROVEN;
use crate::v2::keys::Role;
use crate::want::Waiter;

/// An IKE SA: what it has in every state, and the state.
pub(crate) struct IkeSa {
    pub(crate) core: Core,
    pub(crate) state: State,
}

/// Each variant owns what only that phase knows.
pub(crate) enum State {
    /// Initiator; waits for the responder's choice.
    AwaitSa(main_mode::AwaitSa),
    /// Initiator; a key pair is being made.
    Generating(main_mode::Generating),
    /// Initiator; waits for the responder's public value.
    AwaitKe(Box<main_mode::AwaitKe>),
    /// Initiator; the shared secret is being computed.
    Agreeing(main_mode::Agreeing),
    /// Responder; waits for the initiator's public value.
    AwaitKeyExchange(main_mode::AwaitKeyExchange),
    /// Responder; key pair and shared secret are being computed.
    Responding(main_mode::Responding),
    /// Initiator of aggressive mode; a key pair is being made.
    Opening(aggressive::Opening),
    /// Initiator of aggressive mode; waits for everything that the responder has to say.
    AwaitAnswer(Box<aggressive::AwaitAnswer>),
    /// Initiator of aggressive mode; the shared secret is being computed.
    Concluding(aggressive::Concluding),
    /// Responder of aggressive mode; key pair and shared secret are being computed.
    Answering(Box<aggressive::Answering>),
    /// The keys are there; waits for the peer's identity.
    AwaitId(Box<phase_1::Keyed>),
    /// The keys are there; a signature is being made or checked.
    Authenticating(Box<phase_1::Authenticating>),
    /// Phase 1 is over; a user has to show who it is, or addresses are given.
    Admission(Box<admission::Admission>),
    /// Both peers are authenticated.
    Established(Box<Established>),
    /// Phase 1 cannot go on: to be closed at once.
    Failing,
    /// Gone.
    Closed,
}

/// A responder forgets an IKE SA that is not authenticated after this time.
const HALF_OPEN_LIFE: Duration = Duration::from_secs(30);

/// The payloads of a message in the clear; `None` where they cannot be read, or are encrypted.
pub(crate) fn parse(message: &Message<'_>) -> Option<Vec<Payload>> {
    if message.header.flags.encryption {
        return None;
    }
    parse_payloads(message.first, message.body).ok()
}

/// Shows a message that came.
pub(crate) fn trace_incoming(cx: &mut Context<'_>, core: &Core, datagram: &Datagram, header: &Header, payloads: &[Payload]) {
    show(cx, Some(&core.connection.name), datagram, header, payloads);
}

/// The same of a message of no IKE SA.
pub(crate) fn show(cx: &mut Context<'_>, connection: Option<&str>, datagram: &Datagram, header: &Header, payloads: &[Payload]) {
    let (addresses, octets) = ((datagram.local, datagram.remote), datagram.payload.len());
    trace::message(cx.shared, &trace::Traced { connection, outbound: false, addresses, header, payloads, octets, retransmission: false });
}

/// Shows a message of ours that belongs to no IKE SA.
pub(crate) fn show_sent(cx: &mut Context<'_>, addresses: (SocketAddr, SocketAddr), header: &Header, payloads: &[Payload], octets: usize) {
    let connection = None;
    trace::message(cx.shared, &trace::Traced { connection, outbound: true, addresses, header, payloads, octets, retransmission: false });
}

impl IkeSa {
    /// A message for this IKE SA.
    pub(crate) fn on_datagram(mut self, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> Self {
        let core = &mut self.core;
        if !core.owns(&message.header) {
            cx.shared.count("messages_ignored");
            return self;
        }
        let state = match (self.state, message.header.exchange) {
            (state, exchange) if Mode::of(exchange) == Some(core.mode) && message.header.message_id == 0 => {
                phase_1::on_message(state, core, cx, datagram, message)
            }
            (State::Established(state), _) => established::on_message(state, core, cx, datagram, message),
            (State::Admission(state), _) => admission::on_message(state, core, cx, datagram, message),
            // The peer believes that phase 1 is over, which it may be here when the message before has come, or its signature is checked.
            (state @ (State::AwaitId(_) | State::Authenticating(_)), ExchangeType::TRANSACTION)
                if datagram.payload.len() <= MOST_OCTETS_UNPROVEN =>
            {
                core.early = Some(datagram.clone());
                state
            }
            (state, ExchangeType::INFORMATIONAL) => informational::on_early(state, core, cx, datagram, message),
            (State::AwaitId(keyed), ExchangeType::QUICK_MODE) if message.header.flags.encryption => {
                // The initiator of aggressive mode believes that phase 1 is over: its last message has been lost.
                if let Some(again) = core.phase_1.unanswered().filter(|_| core.mode == Mode::Aggressive).map(<[u8]>::to_vec) {
                    cx.shared.count("responses_retransmitted");
                    core.repeat(cx, again);
                }
                State::AwaitId(keyed)
            }
            (state, _) => {
                cx.shared.count("messages_ignored");
                state
            }
        };
        Self { core: self.core, state }.go_on(cx)
    }

    /// A job of this IKE SA is done.
    pub(crate) fn on_job(mut self, cx: &mut Context<'_>, id: JobId, result: JobResult) -> Self {
        let core = &mut self.core;
        let state = match (self.state, result) {
            (State::Generating(state), JobResult::Generated(result)) if state.job == id => main_mode::on_generated(state, core, cx, result),
            (State::Agreeing(state), JobResult::Agreed(result)) if state.job == id => main_mode::on_agreed(state, core, cx, result),
            (State::Responding(state), JobResult::GeneratedAndAgreed(result)) if state.job == id => {
                main_mode::on_responded(state, core, cx, result)
            }
            (State::Opening(state), JobResult::Generated(result)) if state.job == id => aggressive::on_generated(state, core, cx, result),
            (State::Concluding(state), JobResult::Agreed(result)) if state.job == id => aggressive::on_agreed(state, core, cx, result),
            (State::Answering(state), JobResult::GeneratedAndAgreed(result)) if state.job == id => {
                aggressive::on_responded(*state, core, cx, result)
            }
            (State::Authenticating(state), result) if state.job == id => phase_1::authenticating::on_job(*state, core, cx, result),
            (State::Established(state), result) => quick::on_job(state, core, cx, id, result),
            (state, _) => state,
        };
        Self { core: self.core, state }.go_on(cx)
    }

    /// The data plane has answered an Install.
    pub(crate) fn on_installed(mut self, cx: &mut Context<'_>, child: ChildSaId, result: Result<(), String>) -> Self {
        let state = match self.state {
            State::Established(state) => quick::on_installed(state, &mut self.core, cx, child, result),
            state => state,
        };
        Self { core: self.core, state }.go_on(cx)
    }

    /// The clock.
    pub(crate) fn on_timeout(mut self, cx: &mut Context<'_>) -> Self {
        if self.expires().is_some_and(|at| at <= cx.now) {
            let failure = self.core.refused.take().unwrap_or_else(|| phase_1::abandoned(&self.core, HALF_OPEN_LIFE));
            return self.close(cx, Some(failure));
        }
        self.core.fragments.expire(cx.now);
        let timing = self.core.connection.retransmission;
        match self.core.phase_1.due(cx.now, &timing) {
            Due::Nothing => {}
            Due::Repeat(datagram) if self.core.refused.is_none() => {
                cx.shared.count("requests_retransmitted");
                self.core.repeat(cx, datagram);
            }
            Due::Repeat(_) | Due::GiveUp => {
                let failure =
                    self.core.refused.take().unwrap_or_else(|| self.core.timed_out(cx, self.core.mode.name(), &self.core.phase_1));
                return self.close(cx, Some(failure));
            }
        }
        self.core.queue_due(cx.now);
        let state = match self.state {
            State::Established(mut state) => {
                quick::on_timeout(&mut state, &mut self.core, cx);
                informational::on_timeout(state, &mut self.core, cx)
            }
            State::Admission(state) => admission::on_timeout(state, &mut self.core, cx),
            state => state,
        };
        let mut sa = Self { core: self.core, state }.go_on(cx);
        if sa.keep_alive_due().is_some_and(|at| at <= cx.now) {
            sa.core.keep_alive(cx);
        }
        sa
    }

    /// Begins what is queued.
    pub(crate) fn go_on(mut self, cx: &mut Context<'_>) -> Self {
        self.state = match self.state {
            State::Established(state) => established::next_task(state, &mut self.core, cx),
            state => state,
        };
        self
    }

    /// Queues an operation.
    pub(crate) fn queue(mut self, cx: &mut Context<'_>, task: Task) -> Self {
        if !self.core.tasks.contains(&task) {
            self.core.tasks.push_back(task);
        }
        self.go_on(cx)
    }

    /// Whether it waits for an SPI.
    pub(crate) fn needs_spi(&self) -> bool {
        matches!(self.state, State::Established(_)) && !self.core.tasks.is_empty()
    }

    /// Ends the IKE SA without a word to the peer.
    pub(crate) fn close(mut self, cx: &mut Context<'_>, failure: Option<Failure>) -> Self {
        self.state = self.state.close(&mut self.core, cx, failure);
        self
    }

    /// An operator wants it gone.
    pub(crate) fn terminate(mut self, cx: &mut Context<'_>, request: Option<RequestId>) -> Self {
        self.core.terminating.extend(request);
        match self.state {
            State::Established(_) => {
                self.core.tasks.push_front(Task::Delete);
                // What is under way is not waited for.
                if let State::Established(state) = &mut self.state
                    && let Some(active) = state.active.take()
                {
                    quick::abandon(state, &mut self.core, cx, *active, &Failure::Local("terminated by the operator".into()));
                }
                self.go_on(cx)
            }
            _ => {
                if let State::Admission(state) = &self.state {
                    state.gone(&mut self.core, cx, None);
                }
                self.close(cx, Some(Failure::Local("terminated by the operator".into())))
            }
        }
    }

    /// The hard limit of a Child SA is reached.
    pub(crate) fn on_hard_expire(mut self, cx: &mut Context<'_>, id: ChildSaId) -> Self {
        if let State::Established(state) = &mut self.state
            && let Some((policy, phase)) = state.child(id).map(|child| (child.policy, child.phase))
        {
            established::delete_child(state, &mut self.core, cx, id);
            let served = state.children.iter().any(|child| child.policy == policy && child.is_live());
            if phase == ChildPhase::Installed && !served {
                cx.shared.ended.push((policy, End::Expired));
            }
        }
        self.go_on(cx)
    }

    /// The data plane saw authentic packets of a Child SA come from elsewhere (RFC 3947 section 7, in spirit: only behind a NAT).
    pub(crate) fn on_peer_moved(mut self, cx: &mut Context<'_>, remote: SocketAddr) -> Self {
        if let State::Established(state) = &self.state
            && self.core.nat.follows()
            && self.core.remote != remote
            && remote.port() != 0
        {
            self.core.remote = remote;
            state.retarget(&self.core, cx);
        }
        self
    }

    /// The data plane has lost its Child SAs.
    pub(crate) fn lose_children(&mut self) -> bool {
        let State::Established(state) = &mut self.state else { return false };
        let installed = state.children.iter_mut().filter(|child| matches!(child.phase, ChildPhase::Installed | ChildPhase::Replaced));
        installed.map(|child| child.phase = ChildPhase::Lost).count() > 0
    }

    /// Others take the place of those, under the same IKE SA.
    pub(crate) fn replace_lost(mut self, cx: &mut Context<'_>) -> Self {
        let State::Established(state) = &self.state else { return self };
        for lost in state.children.iter().rev().filter(|child| child.phase == ChildPhase::Lost) {
            let there = state.children.iter().any(|child| child.is_live() && child.policy == lost.policy);
            if there || self.core.wanted.contains(&lost.policy) {
                self.core.tasks.push_back(Task::DeleteChild { child: lost.id, request: None });
            } else {
                cx.shared.wants.add(cx.now, lost.policy, Waiter::Heir);
                cx.shared.wants.begun(lost.policy);
                self.core.wanted.push(lost.policy);
                self.core.tasks.push_back(Task::RekeyChild { child: lost.id, request: None });
            }
        }
        self.go_on(cx)
    }

    /// The connection is the same in a new configuration. Child SAs of children that are not are deleted.
    pub(crate) fn reconfigure(mut self, cx: &mut Context<'_>, connection: ConnectionRef) -> Self {
        let old = core::mem::replace(&mut self.core.connection, connection);
        let new = self.core.connection.clone();
        let moved = |index: usize| {
            let policy = old.child(index).map(|child| child.policy);
            new.children.iter().position(|child| Some(child.policy) == policy).unwrap_or(usize::MAX)
        };
        let tasks = self.core.tasks.iter_mut().chain(self.core.later.iter_mut().map(|(_, task)| task));
        for task in tasks {
            if let Task::CreateChild(index) = task {
                *index = moved(*index);
            }
        }
        if let State::Established(state) = &mut self.state {
            if let Some(active) = &mut state.active {
                active.index = moved(active.index);
            }
            let gone = state.children.iter().filter(|child| !child.is_of(&new));
            self.core.tasks.extend(gone.map(|child| Task::DeleteChild { child: child.id, request: None }));
        }
        self.go_on(cx)
    }

    /// When the clock is next needed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let established = match &self.state {
            State::Established(state) => state.deadline(&self.core),
            State::Admission(state) => Some(state.deadline()),
            _ => None,
        };
        let later = self.core.later.iter().map(|(at, _)| *at).min();
        let fragments = self.core.fragments.deadline();
        [self.core.phase_1.deadline(), self.expires(), established, later, fragments, self.keep_alive_due()].into_iter().flatten().min()
    }

    fn keep_alive_due(&self) -> Option<Instant> {
        let carries = matches!(&self.state, State::Established(state) if !state.makes_way);
        self.core.keep_alive_due().filter(|_| carries)
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.core.shift(pause);
        match &mut self.state {
            State::Established(state) => state.shift(pause),
            State::Admission(state) => state.shift(pause),
            _ => {}
        }
    }

    /// When a responder's that is not authenticated is forgotten.
    fn expires(&self) -> Option<Instant> {
        // An admission has a time of its own.
        (self.is_half_open() && !matches!(self.state, State::Admission(_))).then(|| self.core.half_open_since + HALF_OPEN_LIFE)
    }

    /// A responder's that is not authenticated yet: anybody can cause any number of these.
    pub(crate) fn is_half_open(&self) -> bool {
        self.core.role == Role::Responder && !matches!(self.state, State::Established(_) | State::Closed)
    }

    /// Whether nothing is left of it.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether Child SAs may be created under it now or soon.
    pub(crate) fn takes_tasks(&self) -> bool {
        match &self.state {
            State::Established(state) => !state.makes_way && !self.core.is_ending(),
            State::Closed | State::Failing => false,
            _ => self.core.role == Role::Initiator,
        }
    }

    /// Whether phase 1 is over.
    pub(crate) const fn is_established(&self) -> bool {
        matches!(self.state, State::Established(_))
    }

    /// Its Child SAs.
    pub(crate) fn children(&self) -> &[Child] {
        if let State::Established(state) = &self.state { &state.children } else { &[] }
    }

    /// Those of them that are in use or will be.
    pub(crate) fn live_children(&self) -> impl Iterator<Item = &Child> {
        self.children().iter().filter(|child| child.is_live())
    }

    /// As operators see it; `None` once it is gone.
    pub(crate) fn status(&self, now: Instant) -> Option<IkeSaStatus> {
        let core = &self.core;
        let (state, established) = match &self.state {
            State::Established(established) if established.replaced => (SaState::Rekeyed, Some(established)),
            State::Established(established) => (SaState::Established, Some(established)),
            State::Closed | State::Failing => return None,
            _ => (SaState::Connecting, None),
        };
        let suite = match &self.state {
            State::Established(state) => Some(&state.suite),
            State::AwaitId(keyed) => Some(&keyed.suite),
            State::Admission(state) => Some(&state.suite),
            State::Authenticating(state) => Some(&state.keyed.suite),
            _ => None,
        };
        Some(IkeSaStatus {
            id: core.id,
            version: 1,
            connection: core.connection.name.clone(),
            initiator_spi: core.initiator_cookie,
            responder_spi: core.responder_cookie,
            initiator: core.role == Role::Initiator,
            state,
            local: core.local,
            remote: core.remote,
            local_identity: established.map(|_| core.connection.local_identity.clone()),
            remote_identity: established.map(|established| established.identity().clone()),
            proposal: suite.map(proposal::Suite::describe).unwrap_or_default(),
            age: now.since(core.created),
            nat_local: core.nat.local,
            nat_remote: core.nat.remote,
            ppk: PpkStatus::NotWanted,
            virtual_addresses: core.assigned.status(),
            children: established.map(|e| e.children.iter().map(|child| child.status(now)).collect()).unwrap_or_default(),
        })
    }
}

impl State {
    /// Ends it without a word to the peer. What waited for it is told, what it had is given back; its Child SAs go on under another IKE SA with
    /// the same peer, if there is one and nobody here wanted them gone.
    pub(crate) fn close(self, core: &mut Core, cx: &mut Context<'_>, failure: Option<Failure>) -> Self {
        let reason = failure.clone().unwrap_or_else(|| Failure::Local("the IKE SA was deleted".into()));
        match self {
            Self::Established(mut state) => {
                let heir = cx.shared.v1.sibling(core.id).filter(|_| failure.is_none() && core.terminating.is_empty());
                cx.shared.v1.left(core.id);
                if let Some(heir) = heir {
                    let estate = Estate::of(&mut state, core);
                    cx.shared.v1.news.push_back(News::Bequest { heir, estate: Box::new(estate) });
                }
                let end = match failure {
                    Some(Failure::TimedOut(_)) => Some(End::Dead),
                    Some(_) => Some(End::Failed),
                    None => core.end,
                };
                let live = state.children.iter().filter(|child| child.is_live());
                cx.shared.ended.extend(end.into_iter().flat_map(|end| live.clone().map(move |child| (child.policy, end))));
                state.retire_all(core, cx, &reason);
                cx.shared.event(Event::IkeSaClosed { id: core.id, connection: core.connection.name.clone(), failure });
            }
            Self::Closed => {}
            _ => cx.fail(Some(&core.connection.name), core.remote, reason.clone()),
        }
        if let Some((old, _)) = core.predecessor {
            cx.shared.v1.news.push_back(News::NoSuccessor(old));
        }
        core.release(cx, &reason);
        for request in core.terminating.split_off(0) {
            cx.shared.terminated(request);
        }
        Self::Closed
    }
}
