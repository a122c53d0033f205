//! Which IKE SA takes over what another with the same peer has had.

use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::v1::Delete;
use ipsec_types::{Instant, PolicyId};

use crate::assigned::Assigned;
use crate::child::Child;
use crate::context::Context;
use crate::v1::common::Task;
use crate::v1::established::Established;
use crate::v1::quick::replacing::{self, Completed, Made};
use crate::v1::{Core, IkeSa, State, informational, mode_config};

/// What an IKE SA leaves to another with the same peer.
#[derive(Debug, Default)]
pub(crate) struct Estate {
    pub(crate) children: Vec<Child>,
    made: Vec<Made>,
    wanted: Vec<PolicyId>,
    tasks: Vec<Task>,
    later: Vec<(Instant, Task)>,
    assigned: Assigned,
    /// Quick modes that have ended where phase 1 has been replaced.
    completed: Vec<Completed>,
}

impl Estate {
    /// What goes on when an IKE SA ends: Child SAs, and which of them were to be deleted. A quick mode of the peer's that was answered is over for the peer,
    /// which does not end an IKE SA before: its last word is lost.
    pub(crate) fn of(state: &mut Established, core: &mut Core) -> Self {
        let is_deletion = |task: &Task| matches!(task, Task::DeleteChild { .. } | Task::LetGo { .. });
        let (tasks, own) = core::mem::take(&mut core.tasks).into_iter().partition::<Vec<_>, _>(is_deletion);
        core.tasks = own.into();
        let later = core.later.extract_if(.., |(_, task)| is_deletion(task)).collect();
        let answered = state.answering.values().filter_map(|answering| answering.made(&state.children));
        let completed: Vec<Completed> = answered.map(|made| Completed { made, request: None }).collect();
        let goes_on = |child: &Child| !child.is_installing() || completed.iter().any(|completed| completed.made.child == child.id);
        let children = state.children.extract_if(.., |child| goes_on(child)).collect();
        let (made, assigned) = (core::mem::take(&mut state.made), core.assigned.clone());
        Self { children, made, tasks, later, assigned, completed, ..Self::default() }
    }

    /// The Child SA of a quick mode that is over, and whose wish it is.
    pub(crate) fn completed(children: Vec<Child>, wanted: Vec<PolicyId>, completed: Completed) -> Self {
        Self { children, wanted, completed: alloc::vec![completed], ..Self::default() }
    }
}

/// How long Child SAs that the peer has forgotten wait for others to take their traffic over.
const FORSAKEN: Duration = Duration::from_secs(5);

/// How long a peer may take to read a message that it does not answer, even where it has to ask for it again.
pub(crate) const READ: Duration = Duration::from_secs(10);

impl IkeSa {
    /// The peer has forgotten it: it ends without a word, and its Child SAs when others take their traffic over.
    pub(crate) fn forsake(mut self, cx: &mut Context<'_>) -> Self {
        if let State::Established(established) = &mut self.state {
            established.orphan_all(&mut self.core, cx, FORSAKEN);
        }
        self.core.end = None;
        self.close(cx, None)
    }

    /// Another has taken its place: it is deleted, and leaves what it has to that one.
    pub(crate) fn superseded(mut self, cx: &mut Context<'_>) -> (Self, Estate) {
        let estate = self.hand_over();
        if self.core.connection.has_users() {
            // The last word about a user may be ours. Until the peer has read it, the Child SAs are those of the old one there.
            self.core.later.push((cx.now + READ, Task::Delete));
        } else {
            self.core.tasks.push_front(Task::Delete);
        }
        (self.go_on(cx), estate)
    }

    /// Another peer that calls itself the same has taken its place: it is deleted, with what it has.
    pub(crate) fn unwanted(mut self, cx: &mut Context<'_>) -> Self {
        self.core.tasks.push_front(Task::Delete);
        self.go_on(cx)
    }

    /// The peer has begun a newer one: that one gets what this one has, which the peer will delete (or its own limit will).
    pub(crate) fn overtaken(mut self, cx: &mut Context<'_>) -> (Self, Estate) {
        let of_ours = |task: &Task| matches!(task, Task::Replace { request: None });
        self.core.tasks.retain(|task| !of_ours(task));
        self.core.later.retain(|(_, task)| !of_ours(task));
        let estate = self.hand_over();
        (self.go_on(cx), estate)
    }

    /// What another one with the same peer takes over: Child SAs that are in place, and what was to be done about them.
    fn hand_over(&mut self) -> Estate {
        let State::Established(state) = &mut self.state else { return Estate::default() };
        (state.makes_way, state.replaced) = (true, true);
        let children = state.children.extract_if(.., |child| !child.is_installing()).collect();
        let made = core::mem::take(&mut state.made);
        let under_way = state.active.as_ref().and_then(|active| self.core.connection.child(active.index)).map(|child| child.policy);
        let (stays, wanted) = core::mem::take(&mut self.core.wanted).into_iter().partition(|policy| Some(*policy) == under_way);
        self.core.wanted = stays;
        let of_child = |task: &Task| !matches!(task, Task::Replace { .. } | Task::Delete | Task::Expire);
        let (tasks, own) = core::mem::take(&mut self.core.tasks).into_iter().partition::<Vec<_>, _>(of_child);
        self.core.tasks = own.into();
        let (later, own) = core::mem::take(&mut self.core.later).into_iter().partition(|(_, task)| of_child(task));
        self.core.later = own;
        Estate { children, made, wanted, tasks, later, assigned: self.core.assigned.clone(), completed: Vec::new() }
    }

    /// The peer has deleted Child SAs under another IKE SA.
    pub(crate) fn on_deleted(mut self, cx: &mut Context<'_>, delete: &Delete) -> Self {
        if let State::Established(state) = &mut self.state {
            let _elsewhere = informational::delete_by_peer(state, &mut self.core, cx, delete);
        }
        self.go_on(cx)
    }

    /// Takes over what another one with the same peer had.
    pub(crate) fn inherit(mut self, cx: &mut Context<'_>, estate: Estate) -> Self {
        if let State::Established(state) = &mut self.state {
            let before = estate.assigned.status();
            self.core.assigned.inherit(&self.core.connection, estate.assigned);
            state.children.extend(estate.children);
            state.made.extend(estate.made);
            self.core.wanted.extend(estate.wanted);
            self.core.tasks.extend(estate.tasks);
            self.core.later.extend(estate.later);
            for completed in estate.completed {
                replacing::take_place(state, &mut self.core, cx, completed);
            }
            mode_config::follow(state, &mut self.core, cx, before);
        }
        self.go_on(cx)
    }

    /// A successor that was to be set up has failed: it stays, and tries again later.
    pub(crate) fn stays(mut self, cx: &mut Context<'_>) -> Self {
        const AGAIN: Duration = Duration::from_secs(60);

        if let State::Established(state) = &mut self.state {
            state.makes_way = false;
            self.core.later.push((cx.now + AGAIN, Task::Replace { request: None }));
        }
        self
    }
}
