//! What a Child SA takes the place of once its quick mode is over, and what becomes of two that take the same place. IKEv1 has no words for either: both
//! sides see it by the traffic.
//!
//! Both may begin a quick mode in the place of one Child SA, or where there is none, before they hear of the other's. As in IKEv2 (RFC 7296 section 2.8.1),
//! of the two SAs the one that was made with the lowest of the four nonces goes, deleted by who began it. A peer that knows nothing of this, or a message
//! that overtakes another, may leave one behind: the other side deletes it later. Either waits until the SA that stays carries packets, and what is deleted
//! receives for a while still.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use ipsec_types::ChildSaId;

use crate::child::{self, Child, ChildPhase, TAKEN_OVER};
use crate::context::Context;
use crate::io::{Event, Output, RequestId};
use crate::v1::common::Task;
use crate::v1::established::{Established, delete_child};
use crate::v1::known::News;
use crate::v1::{Core, Estate};
use crate::v2::keys::Role;

/// When a side deletes what the other should have deleted: a Delete is not confirmed, and there are peers that leave what they have replaced.
const LEFT_BEHIND: Duration = Duration::from_secs(30);

/// When a side tries once more to replace what the peer has not let go.
const TRIED_AGAIN: Duration = Duration::from_secs(10);

/// A Child SA that a quick mode has made.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) child: ChildSaId,
    /// The one in whose place.
    pub(crate) replaces: Option<ChildSaId>,
    /// The lower one of its nonces.
    pub(crate) lowest: Vec<u8>,
}

/// The end of a quick mode: both sides have the Child SA.
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) made: Made,
    /// Who has asked for it in the place of another.
    pub(crate) request: Option<RequestId>,
}

/// A quick mode is over, and its Child SA in use.
pub(crate) fn completed(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, completed: Completed) {
    let Some(child) = state.child(completed.made.child) else { return };
    let policy = child.policy;
    // Where phase 1 has been replaced meanwhile, that which it takes the place of is under the new one.
    let Some(heir) = cx.shared.v1.sibling(core.id).filter(|_| state.replaced) else { return take_place(state, core, cx, completed) };
    let children = state.children.extract_if(.., |child| child.id == completed.made.child).collect();
    let wanted = core.wanted.extract_if(.., |wanted| *wanted == policy).collect();
    let estate = Estate::completed(children, wanted, completed);
    cx.shared.v1.news.push_back(News::Bequest { heir, estate: Box::new(estate) });
}

/// The Child SA takes the place of the one before it, under the IKE SA that has both.
pub(crate) fn take_place(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, Completed { made, request }: Completed) {
    let (id, replaces) = (made.child, made.replaces);
    let Some(child) = state.child_mut(id) else { return };
    child.phase = ChildPhase::Installed;
    let (policy, role) = (child.policy, child.role);
    if role == Role::Responder {
        child.parked = false;
        cx.shared.output(Output::Activate(id));
    }
    // The initiator's is parked for a while, too.
    child::in_use(cx, child, Role::Responder);
    cx.shared.count("child_sas_installed");
    let before = replaces.and_then(|old| state.child(old)).map(|old| old.phase);
    match replaces {
        Some(old) => {
            cx.shared.event(Event::ChildSaRekeyed { ike_sa: core.id, old, new: id });
            // It carries packets until the new one does, and brings in those that are under way.
            give_way(state, core, cx, old, role);
        }
        None => cx.shared.event(Event::ChildSaInstalled { ike_sa: core.id, child: id }),
    }
    if let Some(request) = request {
        cx.shared.child_rekeyed(request, Ok(id));
    }
    // What this side has asked for comes by its own quick mode, or by the peer's in the place of what the data plane has lost.
    if (role == Role::Initiator || before == Some(ChildPhase::Lost)) && core.wanted.contains(&policy) {
        core.wanted.retain(|wanted| *wanted != policy);
        cx.shared.child_installed(policy, core.id, id);
    }
    state.made.retain(|made| state.children.iter().any(|child| child.id == made.child));
    if let Some(rival) = rival(state, &made) {
        settle(state, core, cx, [&made, rival].map(|made| (made.child, made.lowest.clone())));
    }
    state.made.push(made);
}

/// Another takes the place of this one, which is deleted when that carries packets, by who began that, and by the other side if it is there for long.
fn give_way(state: &mut Established, core: &mut Core, cx: &Context<'_>, old: ChildSaId, deletes: Role) {
    set_aside(state, old);
    // What is for packets of which class the peer alone knows: it may mean another one.
    if deletes == Role::Initiator || !core.connection.has_classes() {
        core.later.push((cx.now + patience(deletes), Task::DeleteChild { child: old, request: None }));
    }
}

fn set_aside(state: &mut Established, old: ChildSaId) {
    if let Some(old) = state.child_mut(old).filter(|old| old.phase == ChildPhase::Installed) {
        old.phase = ChildPhase::Replaced;
    }
}

/// How long this side waits with a deletion, as who has to delete or as the other.
const fn patience(deletes: Role) -> Duration {
    match deletes {
        Role::Initiator => TAKEN_OVER,
        Role::Responder => LEFT_BEHIND,
    }
}

/// Another with the same traffic, which this one does not replace: of a quick mode that was begun before its initiator heard of this one.
fn rival<'a>(state: &'a Established, made: &Made) -> Option<&'a Made> {
    let ours = state.child(made.child)?;
    let contests = |other: &Child| other.phase == ChildPhase::Installed && is_alike(other, ours);
    state.made.iter().find(|other| state.child(other.child).is_some_and(contests))
}

/// Of two Child SAs with the same traffic, one stays.
fn settle(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, mut both: [(ChildSaId, Vec<u8>); 2]) {
    both.sort_by(|(_, lowest), (_, other)| lowest.cmp(other));
    let [(goes, _), (stays, _)] = both;
    let Some(role) = state.child(goes).map(|child| child.role) else { return };
    let (whose, who) = match role {
        Role::Initiator => ("ours", "which this side deletes"),
        Role::Responder => ("the peer's", "which the peer should delete"),
    };
    let lines = alloc::vec![
        alloc::format!("Child SA {stays} stays"),
        alloc::format!("Child SA {goes}, {whose}, was made with the lowest of the four nonces: it goes, {who}"),
    ];
    core.step(cx, "both sides have made a Child SA for the same traffic at once", lines);
    set_aside(state, goes);
    core.later.push((cx.now + patience(role), Task::LetGo { child: goes }));
    cx.shared.event(Event::ChildSaRekeyed { ike_sa: core.id, old: goes, new: stays });
}

/// One that was to go is deleted, if another is there still.
pub(crate) fn let_go(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, goes: ChildSaId) {
    let Some(child) = state.child(goes).filter(|child| child.phase == ChildPhase::Replaced) else { return };
    if !state.children.iter().any(|other| other.phase == ChildPhase::Installed && is_alike(other, child)) {
        return reinstate_one(state, core, goes);
    }
    state.let_go = Some((child.policy, cx.now));
    delete_child(state, core, cx, goes);
}

/// The peer has deleted a Child SA: what it had taken the place of is as it was, if it is still there. Where this side wanted another, it tries again.
pub(crate) fn reinstate(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, ended: &Child) {
    let served = |child: &Child| is_alike(child, ended) && (child.is_installing() || child.phase == ChildPhase::Installed);
    if state.children.iter().any(served) {
        return;
    }
    if let Some(old) = state.children.iter().rev().find(|child| child.phase == ChildPhase::Replaced && is_alike(child, ended)) {
        let id = old.id;
        reinstate_one(state, core, id);
        let again = Task::RekeyChild { child: id, request: None };
        core.later.extend((ended.role == Role::Initiator).then_some((cx.now + TRIED_AGAIN, again)));
    } else if state.let_go.take_if(|(policy, since)| *policy == ended.policy && cx.now < *since + LEFT_BEHIND * 2).is_some() {
        // Each side has let go what the other keeps: they may see the order of several in another way, and a Delete is not confirmed.
        core.want_again(cx, ended.policy);
    }
}

fn reinstate_one(state: &mut Established, core: &mut Core, id: ChildSaId) {
    if let Some(child) = state.child_mut(id) {
        child.phase = ChildPhase::Installed;
    }
    let of_it = |task: &Task| matches!(task, Task::DeleteChild { child, request: None } | Task::LetGo { child } if *child == id);
    core.tasks.retain(|task| !of_it(task));
    core.later.retain(|(_, task)| !of_it(task));
}

/// Whether two have the same traffic.
fn is_alike(one: &Child, other: &Child) -> bool {
    (one.policy, &one.selectors) == (other.policy, &other.selectors)
}
