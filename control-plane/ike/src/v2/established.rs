//! An authenticated IKE SA: its Child SAs, its queue of operations, and who gets which message.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::ExchangeType;
use ike_wire::rules::Form;
use ipsec_types::ChildSaId;

use crate::child::{Child, ChildPhase};
use crate::context::{Context, End, LeasedSpi};
use crate::error::{Failure, Fault};
use crate::io::{Event, IkeSaId, JobId, JobResult, Output, RequestId};
use crate::orphan::Orphan;
use crate::v2::auth::PeerAuthenticated;
use crate::v2::create_child::{initiator, responder};
use crate::v2::init::WantedChild;
use crate::v2::sk::SkVerified;
use crate::v2::{Core, Protected, Sk, State, Task, informational, mobike, ppk, rekey_child, rekey_ike};

/// What an authenticated IKE SA has.
pub(crate) struct Established {
    pub(crate) sk: Sk,
    pub(crate) authenticated: PeerAuthenticated,
    pub(crate) children: Vec<Child>,
    /// The operation of ours that is under way.
    pub(crate) active: Option<Active>,
    /// The response that waits for a job or the data plane.
    pub(crate) answering: Option<Answering>,
    /// The IKE SA that has taken its place: this one only waits for its deletion.
    pub(crate) heir: Option<IkeSaId>,
    /// Another is being set up in its place: see [`Self::make_way`].
    pub(crate) makes_way: bool,
}

/// An operation of ours under way: an exchange, and what goes before and after it.
pub(crate) enum Active {
    CreateChild(Box<initiator::Creating>),
    RekeyIkeSa(Box<rekey_ike::Rekeying>),
    DeleteChild {
        child: ChildSaId,
        request: Option<RequestId>,
    },
    /// The deletion of what only the peer has; the SPI is free afterwards.
    DeleteSpi(Option<LeasedSpi>),
    /// A sign of life.
    Probe,
    /// The peer has moved, and is asked where it is now.
    CheckRoute {
        cookie: Vec<u8>,
    },
    /// The peer is told that we have moved.
    UpdateAddresses,
}

/// A response of ours that is not ready.
pub(crate) enum Answering {
    /// A key exchange is being computed.
    Agreeing(Box<responder::Agreeing>),
    /// It is computed, an SPI is needed.
    Agreed(Box<responder::Agreed>),
    /// A Child SA is on its way into the data plane.
    Installing(Box<responder::Installing>),
    /// The key exchange of a new IKE SA is being computed.
    RekeyIkeSa(Box<rekey_ike::Agreeing>),
}

impl Answering {
    /// Whether it waits for this Child SA.
    pub(crate) fn installs(&self, id: ChildSaId) -> bool {
        matches!(self, Self::Installing(installing) if installing.child == id)
    }
}

impl Established {
    /// The one way to get here: a message that only the peer can have sent, and the proof of who the peer is.
    pub(crate) fn new(core: &mut Core, cx: &mut Context<'_>, sk: Sk, _verified: SkVerified, authenticated: PeerAuthenticated) -> Self {
        cx.shared.count("ike_sas_established");
        core.forget_the_way();
        ppk::audit(core, cx);
        cx.shared.event(Event::IkeSaEstablished(core.id));
        Self::heir(core, cx, sk, authenticated)
    }

    /// One that takes the place of another, whose peer is authenticated.
    pub(crate) fn heir(core: &mut Core, cx: &mut Context<'_>, sk: Sk, authenticated: PeerAuthenticated) -> Self {
        cx.shared.peers.met(core, authenticated.identity(), cx.now);
        core.begin_life(cx);
        Self { sk, authenticated, children: Vec::new(), active: None, answering: None, heir: None, makes_way: false }
    }

    /// One of its Child SAs.
    pub(crate) fn child(&self, id: ChildSaId) -> Option<&Child> {
        self.children.iter().find(|child| child.id == id)
    }

    /// One of its Child SAs, to be changed.
    pub(crate) fn child_mut(&mut self, id: ChildSaId) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.id == id)
    }

    /// Takes a Child SA out of the data plane and forgets it.
    pub(crate) fn retire(&mut self, core: &mut Core, cx: &mut Context<'_>, id: ChildSaId, linger: Duration) -> Option<Child> {
        let position = self.children.iter().position(|child| child.id == id)?;
        let child = self.children.remove(position);
        rekey_child::activate_successor(self, cx, id);
        if child.is_live() {
            cx.shared.output(Output::Retire { child: id, linger });
        }
        rekey_child::reinstate(self, core, cx, &child);
        self.forget(core, cx, &child);
        Some(child)
    }

    /// All of them, for the end of the IKE SA.
    pub(crate) fn retire_all(&mut self, core: &mut Core, cx: &mut Context<'_>) {
        for child in core::mem::take(&mut self.children) {
            if child.is_live() {
                cx.shared.output(Output::Retire { child: child.id, linger: Duration::ZERO });
            }
            self.forget(core, cx, &child);
        }
        match self.active.take() {
            Some(Active::CreateChild(creating)) => {
                if creating.holds_spi() {
                    cx.shared.return_spi(creating.wanted.spi);
                }
                rekey_child::overtaken(self, cx, creating.rekey);
            }
            Some(Active::RekeyIkeSa(rekeying)) => rekey_ike::abandon(cx, *rekeying),
            Some(Active::DeleteChild { request: Some(request), .. }) => cx.shared.terminated(request),
            Some(Active::DeleteSpi(Some(unused))) => cx.shared.return_spi(unused),
            _ => {}
        }
    }

    /// Its Child SAs go on without it for up to `time`, until others take their traffic over.
    pub(crate) fn orphan_all(&mut self, core: &mut Core, cx: &mut Context<'_>, time: Duration) {
        for child in core::mem::take(&mut self.children) {
            if child.is_live() {
                cx.shared.ended.push((child.policy, End::Forgotten));
            }
            // One that was being rekeyed may still be what the peer's data plane sends with.
            if matches!(child.phase, ChildPhase::Installed | ChildPhase::Replaced) {
                cx.shared.orphans.adopt(Orphan::of(&child, cx.now + time, core.assigned.remote.clone()));
            } else if child.is_live() {
                cx.shared.output(Output::Retire { child: child.id, linger: Duration::ZERO });
            }
            self.forget(core, cx, &child);
        }
    }

    fn forget(&self, core: &mut Core, cx: &mut Context<'_>, child: &Child) {
        cx.shared.forget_child(child);
        if matches!(child.phase, ChildPhase::Installing { wanted: true }) {
            core.child_failed(cx, child.policy, &Failure::Local("the Child SA was deleted before it was in use".into()));
        } else {
            cx.shared.event(Event::ChildSaClosed { ike_sa: core.id, child: child.id, name: child.name.clone() });
        }
    }

    /// Whether the data plane has still to answer for one of its Child SAs.
    pub(crate) fn is_installing_any(&self) -> bool {
        self.children.iter().any(Child::is_installing)
    }

    fn is_installing(&self, id: ChildSaId) -> bool {
        self.child(id).is_some_and(Child::is_installing)
    }

    /// Our outer address or the peer's has changed.
    pub(crate) fn retarget(&self, core: &Core, cx: &mut Context<'_>) {
        let [local, remote] = core.esp_ends();
        for child in &self.children {
            cx.shared.output(Output::Retarget { child: child.id, local, remote });
        }
    }
}

/// The peer asks.
pub(crate) fn on_request(state: Established, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    match message.header.exchange {
        ExchangeType::CREATE_CHILD_SA if message.form == Form::ChildSa => responder::on_request(state, core, cx, message),
        ExchangeType::CREATE_CHILD_SA => rekey_ike::on_request(state, core, cx, message),
        ExchangeType::INFORMATIONAL => informational::on_request(state, core, cx, message),
        other => {
            core.window.accepted();
            let fault = Fault::Syntax(alloc::format!("{other} after authentication"));
            responder::refuse(state, core, cx, &message.header, fault)
        }
    }
}

/// The peer answers.
pub(crate) fn on_response(mut state: Established, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    core.window.completed();
    if let Some(failure) = informational::fatal(core, message) {
        rekey_ike::on_end_by_peer(&mut state, core, cx);
        return State::Established(state).close(core, cx, Some(failure));
    }
    mobike::on_answer(core);
    match state.active.take() {
        Some(Active::CreateChild(creating)) => {
            if let Err(failure) = initiator::on_response(&mut state, core, cx, *creating, message) {
                return State::Established(state).close(core, cx, Some(failure));
            }
        }
        Some(Active::RekeyIkeSa(rekeying)) => rekey_ike::on_response(&mut state, core, cx, *rekeying, message),
        Some(Active::DeleteChild { child, request }) => {
            state.retire(core, cx, child, Duration::ZERO);
            if let Some(request) = request {
                cx.shared.terminated(request);
            }
        }
        Some(Active::DeleteSpi(Some(unused))) => cx.shared.return_spi(unused),
        Some(Active::Probe) => mobike::on_probed(core, &message.payloads),
        Some(Active::CheckRoute { cookie }) => {
            if let Err(failure) = mobike::on_route(&state, core, cx, &cookie, &message.payloads) {
                return informational::delete_because(State::Established(state), core, cx, failure, Vec::new());
            }
        }
        Some(Active::UpdateAddresses) => mobike::on_updated(&state, core, cx, &message.payloads),
        Some(Active::DeleteSpi(None)) | None => {}
    }
    State::Established(state)
}

/// A job is done, for one side of an exchange or the other.
pub(crate) fn on_job(mut state: Established, core: &mut Core, cx: &mut Context<'_>, id: JobId, result: JobResult) -> State {
    if let Some(Answering::Agreeing(agreeing)) =
        state.answering.take_if(|a| matches!(a, Answering::Agreeing(agreeing) if agreeing.job == id))
    {
        let JobResult::GeneratedAndAgreed(result) = result else { return State::Established(state) };
        return responder::on_agreed(state, core, cx, *agreeing, result);
    }
    if let Some(Answering::RekeyIkeSa(agreeing)) =
        state.answering.take_if(|a| matches!(a, Answering::RekeyIkeSa(agreeing) if agreeing.job == id))
    {
        let JobResult::GeneratedAndAgreed(result) = result else { return State::Established(state) };
        return rekey_ike::on_agreed(state, core, cx, *agreeing, result);
    }
    let went_on = match state.active.take() {
        Some(Active::CreateChild(creating)) => initiator::on_job(&mut state, core, cx, *creating, id, result),
        Some(Active::RekeyIkeSa(rekeying)) => rekey_ike::on_job(&mut state, core, cx, *rekeying, id, result),
        other => {
            state.active = other;
            Ok(())
        }
    };
    match went_on {
        Ok(()) => State::Established(state),
        Err(failure) => State::Established(state).close(core, cx, Some(failure)),
    }
}

/// Begins the next operation, if none is under way (RFC 7296 section 2.3: a window of one).
pub(crate) fn next_task(mut state: Established, core: &mut Core, cx: &mut Context<'_>) -> State {
    if core.window.is_exhausted() {
        core.give_up();
    }
    while state.active.is_none() && !core.window.is_busy() {
        let Some(task) = core.tasks.pop_front() else { break };
        let begun = match task {
            Task::CreateChild(_) | Task::RekeyChild { .. } => {
                let Some(spi) = cx.shared.take_spi() else {
                    // It goes on when SPIs have come; what stands behind it waits too, but nothing of it is urgent.
                    core.tasks.push_front(task);
                    break;
                };
                begin_child(&mut state, core, cx, task, spi)
            }
            // The peer may not know of it yet: first it is answered, then the SA is deleted.
            Task::DeleteChild { child, .. } if state.is_installing(child) => {
                core.tasks.push_front(task);
                break;
            }
            Task::DeleteChild { child, request } => informational::delete_child(&mut state, core, cx, child, request),
            Task::DeleteSpi { protocol, spi, unused } => informational::delete_spi(&mut state, core, cx, (protocol, spi), unused),
            Task::Probe => informational::probe(&mut state, core, cx),
            Task::CheckRoute => mobike::check_route(&mut state, core, cx),
            Task::UpdateAddresses => mobike::update(&mut state, core, cx),
            Task::SendToken => informational::send_token(&mut state, core, cx),
            // The peer's Child SA is answered first: it must not come between two IKE SAs.
            Task::RekeyIkeSa { .. } if state.answering.is_some() || state.is_installing_any() => {
                core.tasks.push_front(task);
                break;
            }
            Task::RekeyIkeSa { request } => {
                rekey_ike::begin(&mut state, core, cx, request);
                Ok(())
            }
            Task::Reauthenticate { request } => {
                cx.shared.count("reauthentications");
                state.make_way(core, cx);
                cx.shared.awaits_successor(core.id, request);
                Ok(())
            }
            Task::ExpireIkeSa | Task::ExpireAuthentication => {
                core.give_up();
                Ok(())
            }
            Task::DeleteIkeSa => return informational::delete(State::Established(state), core, cx),
        };
        if let Err(failure) = begun {
            return State::Established(state).close(core, cx, Some(failure));
        }
    }
    // What was to bring them has been overtaken by the peer, whose own attempt may have failed since: whoever still waits asks again.
    if state.active.is_none() && state.answering.is_none() && !state.is_installing_any() && core.is_idle() {
        core.all_failed(cx, &Failure::Local("nothing came of the negotiation".into()));
    }
    State::Established(state)
}

fn begin_child(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, task: Task, spi: LeasedSpi) -> Result<(), Failure> {
    match task {
        Task::RekeyChild { child, request } => rekey_child::begin(state, core, cx, child, request, spi),
        Task::CreateChild(index) => initiator::begin(state, core, cx, WantedChild { index, spi }, None),
        _ => Ok(()),
    }
}
