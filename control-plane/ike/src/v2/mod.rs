//! IKEv2 (RFC 7296): one IKE SA as a state machine.
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! Generating
//! AwaitInit       HDR, SAi1, KEi, Ni   -->
//!                                                    Responding
//!                 <--   HDR, SAr1, KEr, Nr           AwaitAuth
//! Agreeing
//! AwaitAuthResponse  HDR, SK {IDi, AUTH, SAi2, TSi, TSr}  -->
//!                                                    Installing
//!                 <--   HDR, SK {IDr, AUTH, SAr2, TSi, TSr}
//! Established                                        Established
//! ```

pub(crate) mod auth;
pub(crate) mod common;
pub(crate) mod configuration;
pub(crate) mod cookie;
pub(crate) mod crash;
pub(crate) mod create_child;
pub(crate) mod established;
pub(crate) mod find;
pub(crate) mod fragments;
mod hurdles;
pub(crate) mod informational;
pub(crate) mod init;
pub(crate) mod keys;
mod make_way;
pub(crate) mod mobike;
pub(crate) mod nat;
pub(crate) mod ppk;
pub(crate) mod reauthentication;
pub(crate) mod receive;
pub(crate) mod redirect;
pub(crate) mod rekey_child;
pub(crate) mod rekey_ike;
mod sk;

use alloc::boxed::Box;
use core::time::Duration;

use ipsec_types::{ChildSaId, Instant};

pub(crate) use self::common::{Core, Task};
pub(crate) use self::established::{Active, Established};
pub(crate) use self::receive::{Incoming, Protected};
use crate::assigned::Assigned;
use crate::child::{Child, ChildPhase};
use crate::context::{Context, End};
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Event, IkeSaStatus, JobId, JobResult, Output, RequestId, SaState};
use crate::policy::ConnectionRef;
use crate::v2::keys::{IkeKeys, Role};
use crate::want::Waiter;
use crate::window::Due;

/// The keys of an IKE SA and what they are for.
pub(crate) struct Sk {
    pub(crate) suite: crate::negotiate::IkeSuite,
    pub(crate) keys: IkeKeys,
}

/// An IKE SA: what it has in every state, and the state.
pub(crate) struct IkeSa {
    pub(crate) core: Core,
    pub(crate) state: State,
}

/// Each variant owns what only that phase knows.
pub(crate) enum State {
    /// Initiator; a key pair is being made.
    Generating(init::Generating),
    /// Initiator; waits for the IKE_SA_INIT response.
    AwaitInit(init::AwaitInit),
    /// Initiator; the shared secret is being computed.
    Agreeing(init::Agreeing),
    /// A signature of IKE_AUTH is being made or checked, or an SPI is needed. Boxed, as what does not last long shall not take room in every IKE SA.
    Authenticating(Box<auth::Authenticating>),
    /// EAP is under way.
    Conversing(Box<auth::Conversing>),
    /// Initiator; waits for the IKE_AUTH response.
    AwaitAuthResponse(auth::AwaitResponse),
    /// Responder; key pair and shared secret are being computed.
    Responding(init::Responding),
    /// Responder; waits for the IKE_AUTH request.
    AwaitAuthRequest(auth::AwaitRequest),
    /// Responder; the first Child SA is being installed, then the IKE_AUTH response goes out.
    Installing(Box<auth::Installing>),
    /// Both peers are authenticated.
    Established(Established),
    /// Our Delete is under way.
    Deleting(informational::Deleting),
    /// Gone, but for repeated requests whose answers may have been lost.
    Gone(informational::Gone),
    /// Gone.
    Closed,
}

/// A responder forgets an IKE SA that is not authenticated after this time.
const HALF_OPEN_LIFE: Duration = Duration::from_secs(30);

/// How long Child SAs that the peer has forgotten wait for others to take their traffic over.
const FORSAKEN: Duration = Duration::from_secs(5);

impl IkeSa {
    /// A message for this IKE SA.
    pub(crate) fn on_datagram(&mut self, cx: &mut Context<'_>, incoming: Incoming) {
        let core = &mut self.core;
        if !core.owns(&incoming.header()) {
            return cx.shared.count("messages_ignored");
        }
        if let Some(rumour) = crash::rumour(core, &incoming) {
            cx.shared.count("messages_unprotected");
            receive::trace_clear(cx, Some(&core.connection.name), &incoming, false);
            return self.hears(cx, rumour);
        }
        self.state = match self.state.take() {
            State::AwaitInit(state) => init::on_response(state, core, cx, &incoming),
            state if state.is_half_open() && incoming.is_init_request() => {
                core.repeat_init(cx, &incoming);
                state
            }
            state => receive::protected(state, core, cx, &incoming),
        };
        self.go_on(cx);
    }

    /// A job of this IKE SA is done.
    pub(crate) fn on_job(&mut self, cx: &mut Context<'_>, id: JobId, result: JobResult) {
        let core = &mut self.core;
        self.state = match (self.state.take(), result) {
            (State::Generating(state), JobResult::Generated(result)) if state.job == id => init::on_generated(state, core, cx, result),
            (State::Agreeing(state), JobResult::Agreed(result)) if state.job == id => init::on_agreed(state, core, cx, result),
            (State::Responding(state), JobResult::GeneratedAndAgreed(result)) if state.job == id => {
                init::on_responded(state, core, cx, result)
            }
            (State::Authenticating(state), result) => auth::on_job(*state, core, cx, id, result),
            (State::Conversing(state), result) => auth::eap::on_job(*state, core, cx, id, result),
            (State::Established(state), result) => established::on_job(state, core, cx, id, result),
            (state, _) => state,
        };
        self.go_on(cx);
    }

    /// The data plane has answered an Install.
    pub(crate) fn on_installed(&mut self, cx: &mut Context<'_>, child: ChildSaId, result: Result<(), alloc::string::String>) {
        let core = &mut self.core;
        self.state = match self.state.take() {
            State::Installing(state) if state.child.id == child => auth::responder::on_installed(*state, core, cx, result),
            State::Established(state) => create_child::on_installed(state, core, cx, child, result),
            state => state,
        };
        self.go_on(cx);
    }

    /// The clock.
    pub(crate) fn on_timeout(&mut self, cx: &mut Context<'_>) {
        if self.expires().is_some_and(|at| at <= cx.now) {
            let core = &self.core;
            let failure = self.state.is_half_open().then(|| diagnosis::abandoned(core.local, core.remote, HALF_OPEN_LIFE));
            return self.close(cx, failure);
        }
        let timing = self.core.connection.retransmission;
        match self.core.window.due(cx.now, &timing) {
            Due::GiveUp => return init::give_up(self, cx),
            Due::Repeat(_) if init::is_refused(&self.state) => return init::give_up(self, cx),
            Due::Repeat(datagrams) => {
                mobike::on_silence(&mut self.core, cx);
                self.core.repeat_request(cx, datagrams);
            }
            Due::Nothing => {}
        }
        self.core.reassembly.expire(cx.now);
        self.core.queue_due(cx.now);
        if let State::Established(_) = self.state
            && self.core.probe_due().is_some_and(|at| at <= cx.now)
        {
            self.core.tasks.push_back(Task::Probe);
        }
        self.go_on(cx);
        // What went out just now has renewed the mapping.
        if self.keep_alive_due().is_some_and(|at| at <= cx.now) {
            self.core.keep_alive(cx);
        }
    }

    /// Begins what is queued, if the window is free.
    pub(crate) fn go_on(&mut self, cx: &mut Context<'_>) {
        self.state = match self.state.take() {
            State::Established(state) => match create_child::responder::go_on(state, &mut self.core, cx) {
                State::Established(state) => established::next_task(state, &mut self.core, cx),
                state => state,
            },
            State::Authenticating(state) => auth::go_on(*state, &mut self.core, cx),
            state => state,
        };
    }

    /// Whether it waits for an SPI, or might.
    pub(crate) fn needs_spi(&self) -> bool {
        match &self.state {
            State::Established(state) => !self.core.tasks.is_empty() || state.answering.is_some(),
            State::Authenticating(state) => state.needs_spi(),
            _ => false,
        }
    }

    /// Ends the IKE SA without a word to the peer.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, failure: Option<Failure>) {
        self.state = self.state.take().close(&mut self.core, cx, failure);
    }

    /// An operator wants it gone.
    pub(crate) fn terminate(&mut self, cx: &mut Context<'_>, request: Option<RequestId>) {
        self.core.terminating.extend(request);
        match self.state {
            State::Established(_) => {
                self.core.tasks.push_back(Task::DeleteIkeSa);
                self.go_on(cx);
            }
            State::Deleting(_) => {}
            _ => self.close(cx, Some(Failure::Local("terminated by the operator".into()))),
        }
    }

    /// The peer has forgotten it: it ends without a word, and its Child SAs when others take their traffic over.
    pub(crate) fn forsake(&mut self, cx: &mut Context<'_>) {
        if let State::Established(established) = &mut self.state {
            established.orphan_all(&mut self.core, cx, FORSAKEN);
        }
        self.close(cx, None);
    }

    /// The data plane has lost its Child SAs: others take their place under the same IKE SA, with new keys.
    pub(crate) fn replace_lost(&mut self, cx: &mut Context<'_>) {
        let State::Established(established) = &self.state else { return };
        // The newest first: the peer is about to delete what it replaces.
        for lost in established.children.iter().rev().filter(|child| child.phase == ChildPhase::Lost) {
            let there = established.children.iter().any(|child| child.is_live() && child.policy == lost.policy);
            if there || self.core.wanted.contains(&lost.policy) {
                self.core.tasks.push_back(Task::DeleteChild { child: lost.id, request: None });
            } else {
                cx.shared.wants.add(cx.now, lost.policy, Waiter::Heir);
                cx.shared.wants.begun(lost.policy);
                self.core.wanted.push(lost.policy);
                self.core.tasks.push_back(Task::RekeyChild { child: lost.id, request: None });
            }
        }
        self.go_on(cx);
    }

    /// The connection is the same in a new configuration. Child SAs of children that are not are deleted.
    pub(crate) fn reconfigure(&mut self, cx: &mut Context<'_>, connection: ConnectionRef) {
        let old = core::mem::replace(&mut self.core.connection, connection);
        let new = self.core.connection.clone();
        // A child that is gone is found by no index.
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
        match &mut self.state {
            State::Generating(init::Generating { attempt, .. })
            | State::AwaitInit(init::AwaitInit { attempt, .. })
            | State::Agreeing(init::Agreeing { attempt, .. }) => attempt.child.index = moved(attempt.child.index),
            State::Authenticating(state) => {
                if let Some(child) = state.wanted_mut() {
                    child.index = moved(child.index);
                }
            }
            State::Conversing(state) => {
                if let Some(child) = state.wanted_mut() {
                    child.index = moved(child.index);
                }
            }
            State::AwaitAuthResponse(state) => state.child.index = moved(state.child.index),
            State::Established(state) => {
                if let Some(Active::CreateChild(creating)) = &mut state.active {
                    creating.wanted.index = moved(creating.wanted.index);
                }
                let gone = state.children.iter().filter(|child| !child.is_of(&new));
                self.core.tasks.extend(gone.map(|child| Task::DeleteChild { child: child.id, request: None }));
            }
            _ => {}
        }
        self.go_on(cx);
    }

    /// When the clock is next needed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let probe = if let State::Established(_) = self.state { self.core.probe_due() } else { None };
        let later = self.core.later.iter().map(|(at, _)| *at).min();
        let reassembly = self.core.reassembly.deadline();
        [self.core.window.deadline(), self.expires(), probe, self.keep_alive_due(), later, reassembly].into_iter().flatten().min()
    }

    /// When a NAT before this gateway must see a packet. Of an IKE SA that another has taken the place of, that one keeps it.
    fn keep_alive_due(&self) -> Option<Instant> {
        let carries = matches!(&self.state, State::Established(established) if established.heir.is_none());
        self.core.keep_alive_due().filter(|_| carries)
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.core.shift(pause);
        if let State::Gone(gone) = &mut self.state {
            gone.until = gone.until + pause;
        }
    }

    /// When the state ends by itself.
    fn expires(&self) -> Option<Instant> {
        match &self.state {
            State::Gone(gone) => Some(gone.until),
            state if state.is_half_open() => Some(self.core.half_open_since + HALF_OPEN_LIFE),
            _ => None,
        }
    }

    /// As operators see it; `None` once it is gone.
    pub(crate) fn status(&self, now: Instant) -> Option<IkeSaStatus> {
        let (state, established) = match &self.state {
            State::Established(established) if established.heir.is_some() => (SaState::Rekeyed, Some(established)),
            State::Established(established) => (SaState::Established, Some(established)),
            State::Deleting(_) => (SaState::Deleting, None),
            State::Gone(_) | State::Closed => return None,
            _ => (SaState::Connecting, None),
        };
        let core = &self.core;
        Some(IkeSaStatus {
            id: core.id,
            version: 2,
            connection: core.connection.name.clone(),
            initiator_spi: core.initiator_spi,
            responder_spi: core.responder_spi,
            initiator: core.role == Role::Initiator,
            state,
            local: core.local,
            remote: core.remote,
            local_identity: established.map(|_| core.connection.local_identity.clone()),
            remote_identity: established.map(|established| established.authenticated.identity().clone()),
            proposal: self.state.sk().map(|sk| sk.suite.describe()).unwrap_or_default(),
            age: now.since(core.created),
            nat_local: core.nat.local,
            nat_remote: core.nat.remote,
            ppk: core.ppk.status().clone(),
            virtual_addresses: core.assigned.status(),
            children: established.map(|e| e.children.iter().map(|child| child.status(now)).collect()).unwrap_or_default(),
        })
    }
}

impl State {
    /// Takes the state out for a step, which puts the next one in its place.
    pub(crate) fn take(&mut self) -> Self {
        core::mem::replace(self, Self::Closed)
    }

    /// The keys, once there are any.
    pub(crate) fn sk(&self) -> Option<&Sk> {
        match self {
            Self::Authenticating(state) => Some(&state.sk),
            Self::Conversing(state) => Some(state.sk()),
            Self::AwaitAuthResponse(state) => Some(&state.sk),
            Self::AwaitAuthRequest(state) => Some(&state.sk),
            Self::Installing(state) => Some(&state.sk),
            Self::Established(state) => Some(&state.sk),
            Self::Deleting(state) => Some(&state.sk),
            Self::Gone(state) => Some(&state.sk),
            Self::Generating(_) | Self::AwaitInit(_) | Self::Agreeing(_) | Self::Responding(_) | Self::Closed => None,
        }
    }

    /// A responder's that is not authenticated yet.
    pub(crate) const fn is_half_open(&self) -> bool {
        match self {
            Self::Authenticating(state) => matches!(state.role(), Role::Responder),
            Self::Conversing(state) => matches!(state.role(), Role::Responder),
            _ => matches!(self, Self::Responding(_) | Self::AwaitAuthRequest(_) | Self::Installing(_)),
        }
    }

    /// Whether a responder keeps it for a peer that is not authenticated, or was refused: anybody can cause any number of these.
    pub(crate) const fn is_unproven(&self) -> bool {
        self.is_half_open() || matches!(self, Self::Gone(informational::Gone { was_half_open: true, .. }))
    }

    /// Whether nothing is left of it.
    pub(crate) const fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether Child SAs may be created under it now or soon.
    pub(crate) const fn takes_tasks(&self) -> bool {
        match self {
            Self::Established(established) => established.heir.is_none() && !established.makes_way,
            Self::Authenticating(state) => matches!(state.role(), Role::Initiator),
            Self::Conversing(state) => matches!(state.role(), Role::Initiator),
            state => matches!(state, Self::Generating(_) | Self::AwaitInit(_) | Self::Agreeing(_) | Self::AwaitAuthResponse(_)),
        }
    }

    /// Its Child SAs.
    pub(crate) fn children(&self) -> &[Child] {
        match self {
            Self::Established(state) => &state.children,
            Self::Installing(state) => core::slice::from_ref(&state.child),
            _ => &[],
        }
    }

    /// Those of them that are in use or will be.
    pub(crate) fn live_children(&self) -> impl Iterator<Item = &Child> {
        self.children().iter().filter(|child| child.is_live())
    }

    /// Whether another is being set up in its place.
    pub(crate) const fn makes_way(&self) -> bool {
        matches!(self, Self::Established(Established { makes_way: true, .. }))
    }

    /// Ends it without a word to the peer.
    pub(crate) fn close(self, core: &mut Core, cx: &mut Context<'_>, failure: Option<Failure>) -> Self {
        self.finish(core, cx, failure);
        Self::Closed
    }

    /// The end, of which operators are told; gives back the keys, if it had any.
    pub(crate) fn finish(self, core: &mut Core, cx: &mut Context<'_>, failure: Option<Failure>) -> Option<Sk> {
        let seen = match &self {
            Self::Established(_) => Some(failure.clone()),
            Self::Deleting(state) if state.was_established => Some(state.failure.clone()),
            _ => None,
        };
        let sk = self.wind_up(core, cx, failure.as_ref());
        if let Some(failure) = seen {
            cx.shared.event(Event::IkeSaClosed { id: core.id, connection: core.connection.name.clone(), failure });
        }
        for request in core.terminating.split_off(0) {
            cx.shared.terminated(request);
        }
        sk
    }

    /// What waited for it is told, what it had is given back, its Child SAs are retired. Gives back the keys, if it had any.
    pub(crate) fn wind_up(self, core: &mut Core, cx: &mut Context<'_>, failure: Option<&Failure>) -> Option<Sk> {
        let reason = failure.cloned().unwrap_or_else(|| Failure::Local("the IKE SA was deleted".into()));
        let failed = |core: &Core, cx: &mut Context<'_>| cx.fail(Some(&core.connection.name), core.remote, reason.clone());
        let sk = match self {
            Self::Generating(init::Generating { attempt, .. })
            | Self::AwaitInit(init::AwaitInit { attempt, .. })
            | Self::Agreeing(init::Agreeing { attempt, .. }) => {
                cx.shared.return_spi(attempt.child.spi);
                failed(core, cx);
                None
            }
            Self::Authenticating(state) => {
                if let Some(child) = state.wanted() {
                    cx.shared.return_spi(child.spi);
                }
                failed(core, cx);
                Some(state.sk)
            }
            Self::Conversing(state) => {
                if let Some(child) = state.wanted() {
                    cx.shared.return_spi(child.spi);
                }
                failed(core, cx);
                Some(state.into_sk())
            }
            Self::AwaitAuthResponse(state) => {
                cx.shared.return_spi(state.child.spi);
                failed(core, cx);
                Some(state.sk)
            }
            Self::Responding(_) => {
                failed(core, cx);
                None
            }
            Self::AwaitAuthRequest(state) => {
                failed(core, cx);
                Some(state.sk)
            }
            Self::Installing(state) => {
                cx.shared.forget_child(&state.child);
                cx.shared.output(Output::Retire { child: state.child.id, linger: Duration::ZERO });
                failed(core, cx);
                Some(state.sk)
            }
            Self::Established(mut state) => {
                cx.shared.peers.left(core.id);
                cx.shared.has_made_way(core.id, Err(&reason));
                let end = match failure {
                    Some(Failure::TimedOut(_)) => Some(End::Dead),
                    Some(_) => Some(End::Failed),
                    None => core.end,
                };
                let live = state.children.iter().filter(|child| child.is_live());
                cx.shared.ended.extend(end.into_iter().flat_map(|end| live.clone().map(move |child| (child.policy, end))));
                state.retire_all(core, cx);
                Some(state.sk)
            }
            Self::Deleting(state) => Some(state.sk),
            Self::Gone(state) => Some(state.sk),
            Self::Closed => None,
        };
        core.release(cx, &reason);
        // The peer may come back at once, and shall find its address free.
        core.assigned = Assigned::default();
        sk
    }
}
