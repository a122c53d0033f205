//! Rekeying Child SAs, and what happens when both sides do at once (RFC 7296 sections 1.3.3, 2.8, 2.8.1, 2.25.1).
//!
//! No packet is lost: the responder's outbound half waits until the initiator has shown that it can receive, by a packet or by the Delete
//! of the old SA, and the inbound half of what is deleted lingers.

use alloc::string::ToString;
use alloc::vec::Vec;

use ike_wire::{NotifyType, Payload};
use ipsec_types::ChildSaId;

use crate::child::{Child, ChildPhase, LINGER};
use crate::context::{Context, End, LeasedSpi};
use crate::error::{Failure, Fault};
use crate::io::{Output, RequestId};
use crate::v2::create_child::initiator::{self, Born};
use crate::v2::find::notification;
use crate::v2::init::WantedChild;
use crate::v2::keys::Role;
use crate::v2::{Active, Core, Established, IkeSa, State, Task};

/// Our replacing of a Child SA.
pub(crate) struct Rekey {
    pub(crate) old: ChildSaId,
    /// Operators who wait for it.
    pub(crate) requests: Vec<RequestId>,
    /// The peer replaces the same SA.
    pub(crate) theirs: Option<Theirs>,
}

/// What is known of the peer's replacing of the same SA.
pub(crate) enum Theirs {
    /// It is not answered yet.
    Running,
    /// It has brought a Child SA.
    Done(Born),
}

impl Rekey {
    /// Whether the peer's is still to end.
    pub(crate) const fn is_undecided(&self) -> bool {
        matches!(self.theirs, Some(Theirs::Running))
    }
}

/// Begins to replace a Child SA; one that has been replaced already is answered for.
pub(crate) fn begin(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    old: ChildSaId,
    request: Option<RequestId>,
    spi: LeasedSpi,
) -> Result<(), Failure> {
    let made_by_peer = state.child(old).filter(|child| child.role == Role::Responder);
    let predecessor = made_by_peer.and_then(|child| state.child(child.predecessor?));
    if predecessor.is_some_and(|predecessor| predecessor.phase == ChildPhase::Replaced) {
        // The peer may not have our answer yet, and then it knows nothing of the SA: it will delete the one before when it has.
        cx.shared.return_spi(spi);
        core.try_later(cx, Task::RekeyChild { child: old, request });
        return Ok(());
    }
    let is_lost = state.child(old).is_some_and(|child| child.phase == ChildPhase::Lost);
    let successor = state.children.iter().find(|child| is_lost && child.predecessor == Some(old) && child.is_live());
    if successor.is_some_and(Child::is_installing) {
        cx.shared.return_spi(spi);
        core.try_later(cx, Task::RekeyChild { child: old, request });
        return Ok(());
    }
    let rekey = Rekey { old, requests: request.into_iter().collect(), theirs: None };
    let there = state.child(old).is_some_and(Child::is_replaceable) && successor.is_none();
    match index(state, core, old).filter(|_| there) {
        Some(index) => initiator::begin(state, core, cx, WantedChild { index, spi }, Some(rekey)),
        None => {
            cx.shared.return_spi(spi);
            overtaken(state, cx, Some(rekey));
            Ok(())
        }
    }
}

/// Which child of the connection a Child SA belongs to.
pub(crate) fn index(state: &Established, core: &Core, id: ChildSaId) -> Option<usize> {
    let policy = state.child(id)?.policy;
    core.connection.children.iter().position(|child| child.policy == policy)
}

/// The Child SA that a request names in REKEY_SA, by the SPI the peer receives on (section 2.25.1).
pub(crate) fn replaced(state: &Established, payloads: &[Payload]) -> Result<Option<ChildSaId>, Fault> {
    let Some(notify) = notification(payloads, |kind| kind == NotifyType::REKEY_SA) else { return Ok(None) };
    let spi = notify.child_spi().ok_or_else(|| Fault::Syntax("REKEY_SA without a legal SPI".into()))?;
    let Some(child) = state.children.iter().find(|child| (child.protocol(), child.outbound) == (notify.protocol, spi)) else {
        // It may be the one that we are waiting for.
        return Err(match state.active {
            Some(Active::CreateChild(_)) => Fault::Temporary("a Child SA is being created".into()),
            _ => Fault::NoSuchChild(notify.protocol, spi),
        });
    };
    match child.phase {
        // What our data plane has lost is replaced by whoever is first, or by both.
        ChildPhase::Installed | ChildPhase::Lost => Ok(Some(child.id)),
        ChildPhase::Deleting => Err(Fault::Temporary("the Child SA is being deleted".into())),
        ChildPhase::Replaced => Err(Fault::Temporary("the Child SA has been rekeyed already".into())),
        ChildPhase::Installing { .. } => Err(Fault::Temporary("the Child SA is still being installed".into())),
    }
}

/// The peer replaces a Child SA: if we do too, the nonces will decide.
pub(crate) fn noticed(state: &mut Established, old: ChildSaId) {
    if let Some(rekey) = ours(state, old) {
        rekey.theirs = Some(Theirs::Running);
    }
}

/// The peer's replacing of a Child SA is answered: with a new one and the lowest nonce it was made with, or not at all.
pub(crate) fn answered(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, old: ChildSaId, new: Option<(ChildSaId, Vec<u8>)>) {
    if let Some(child) = state.child_mut(old).filter(|child| child.phase == ChildPhase::Installed && new.is_some()) {
        child.phase = ChildPhase::Replaced;
    }
    let Some(rekey) = ours(state, old) else {
        if let Some((new, _)) = new {
            follow(core, old, new);
        }
        return;
    };
    rekey.theirs = new.map(|(child, lowest)| Theirs::Done(Born { child, lowest }));
    let installed = |active: &mut Active| matches!(active, Active::CreateChild(creating) if creating.is_installed());
    if let Some(Active::CreateChild(creating)) = state.active.take_if(installed)
        && let Some((rekey, born)) = creating.into_installed()
    {
        settle(state, core, cx, rekey, &born);
    }
}

/// Both sides have done what they wanted. "The SA created with the lowest of the four nonces used in the two exchanges SHOULD be closed by
/// the endpoint that created it. [...] The node that initiated the surviving rekeyed SA should delete the replaced SA" (section 2.8.1).
pub(crate) fn settle(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, rekey: Rekey, born: &Born) {
    let winner = match rekey.theirs {
        Some(Theirs::Done(theirs)) if born.lowest < theirs.lowest => {
            core.tasks.push_front(Task::DeleteChild { child: born.child, request: None });
            theirs.child
        }
        _ => {
            activate(state, cx, born.child);
            core.tasks.push_front(Task::DeleteChild { child: rekey.old, request: None });
            born.child
        }
    };
    follow(core, rekey.old, winner);
    for request in rekey.requests {
        cx.shared.child_rekeyed(request, Ok(winner));
    }
}

/// Our request was refused, or its outcome could not be installed.
pub(crate) fn failed(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, rekey: Rekey, failure: Failure) {
    if let Some(Theirs::Done(_)) = rekey.theirs {
        // The peer was faster: "it can ignore the error message" (section 2.8.1).
        return overtaken(state, cx, Some(rekey));
    }
    let old = state.child(rekey.old).filter(|child| child.is_replaceable()).map(|child| child.phase);
    if old.is_none() && rekey.theirs.is_none() {
        return overtaken(state, cx, Some(rekey));
    }
    let temporary = failure.is_refusal(NotifyType::TEMPORARY_FAILURE) || rekey.theirs.is_some();
    if temporary {
        let requests = rekey.requests.iter().map(|request| Some(*request)).chain(rekey.requests.is_empty().then_some(None));
        for request in requests {
            state.ask_later(core, cx, Task::RekeyChild { child: rekey.old, request });
        }
        return;
    }
    cx.fail(Some(&core.connection.name), core.remote, failure.clone());
    match &failure {
        Failure::Refused(NotifyType::CHILD_SA_NOT_FOUND, _) => start_afresh(state, core, cx, rekey.old),
        Failure::Refused(NotifyType::NO_ADDITIONAL_SAS, _) => state.make_way(core, cx),
        // Nothing carries packets: what cannot take its place may do as a new one.
        _ if old == Some(ChildPhase::Lost) => {
            core.tasks.extend(index(state, core, rekey.old).map(Task::CreateChild));
            core.tasks.push_back(Task::DeleteChild { child: rekey.old, request: None });
        }
        // Whoever asked for it is told; what is due by its lifetime is tried again.
        _ if rekey.requests.is_empty() => core.try_later(cx, Task::RekeyChild { child: rekey.old, request: None }),
        _ => {}
    }
    for request in rekey.requests {
        cx.shared.child_rekeyed(request, Err(failure.clone()));
    }
}

/// The Child SA is gone, or has a successor that the peer made.
pub(crate) fn overtaken(state: &Established, cx: &mut Context<'_>, rekey: Option<Rekey>) {
    let Some(rekey) = rekey else { return };
    let successor = state.children.iter().find(|child| child.predecessor == Some(rekey.old) && child.phase == ChildPhase::Installed);
    let lost = state.child(rekey.old).filter(|child| child.phase == ChildPhase::Lost);
    if let (Some(lost), None) = (lost, successor) {
        cx.shared.ended.push((lost.policy, End::Expired));
    }
    let result = successor.map(|child| child.id).ok_or_else(|| Failure::Local("the Child SA was deleted".to_string()));
    for request in rekey.requests {
        cx.shared.child_rekeyed(request, result.clone());
    }
}

/// Section 2.25: "A peer that receives a CHILD_SA_NOT_FOUND notification SHOULD silently delete the Child SA (if it still exists) and send
/// a request to create a new Child SA from scratch".
fn start_afresh(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, old: ChildSaId) {
    let index = index(state, core, old);
    state.retire(core, cx, old, LINGER);
    core.tasks.extend(index.map(Task::CreateChild));
}

/// Lets the parked outbound half of a Child SA carry packets.
pub(crate) fn activate(state: &mut Established, cx: &mut Context<'_>, id: ChildSaId) {
    if let Some(child) = state.child_mut(id).filter(|child| child.parked) {
        child.parked = false;
        cx.shared.output(Output::Activate(id));
    }
}

/// A Child SA ends: what replaces it takes its packets. Where both sides made one and ours was not settled yet, the peer's is the one that
/// its maker knows to be in place.
pub(crate) fn activate_successor(state: &mut Established, cx: &mut Context<'_>, old: ChildSaId) {
    let successors = || state.children.iter().filter(|child| child.predecessor == Some(old) && child.phase == ChildPhase::Installed);
    if successors().any(|child| !child.parked) {
        return;
    }
    let found = successors().find(|child| child.role == Role::Responder).or_else(|| successors().next()).map(|child| child.id);
    if let Some(id) = found {
        activate(state, cx, id);
    }
}

/// A Child SA has ended that the peer had made in place of another: that one is as it was, if it is still there.
pub(crate) fn reinstate(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, ended: &Child) {
    let Some(old) = ended.predecessor else { return };
    if let Some(rekey) = ours(state, old)
        && matches!(&rekey.theirs, Some(Theirs::Done(theirs)) if theirs.child == ended.id)
    {
        rekey.theirs = None;
    }
    let replaces = |predecessor| move |child: &Child| child.predecessor == Some(predecessor) && child.is_live();
    let replaced_again = state.children.iter().any(replaces(old)) || state.children.iter().any(replaces(ended.id));
    let child = state.child_mut(old).filter(|child| child.phase == ChildPhase::Replaced && !replaced_again);
    if let Some(child) = child {
        child.phase = ChildPhase::Installed;
        core.try_later(cx, Task::RekeyChild { child: old, request: None });
    }
}

impl IkeSa {
    /// A Child SA has reached a hard limit: the data plane has it no more. The peer is told, and if there is no successor on its way, what
    /// the configuration wants is wanted again.
    pub(crate) fn on_hard_expire(&mut self, cx: &mut Context<'_>, id: ChildSaId) {
        let State::Established(state) = &mut self.state else { return };
        let Some(child) = state.child_mut(id).filter(|child| child.is_live()) else { return };
        child.phase = ChildPhase::Lost;
        let policy = child.policy;
        activate_successor(state, cx, id);
        if ours(state, id).is_none() {
            cx.shared.ended.push((policy, End::Expired));
        }
        self.core.tasks.push_back(Task::DeleteChild { child: id, request: None });
        self.go_on(cx);
    }
}

/// What an operator wants to be deleted is what stands in its place now.
fn follow(core: &mut Core, old: ChildSaId, new: ChildSaId) {
    for task in &mut core.tasks {
        if let Task::DeleteChild { child, request: Some(_) } = task
            && *child == old
        {
            *child = new;
        }
    }
}

/// Our own rekeying of the Child SA, if one is under way.
fn ours(state: &mut Established, old: ChildSaId) -> Option<&mut Rekey> {
    match &mut state.active {
        Some(Active::CreateChild(creating)) => creating.rekey.as_mut().filter(|rekey| rekey.old == old),
        _ => None,
    }
}
