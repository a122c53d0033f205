//! An IKE SA under which nothing can be made or rekeyed any more makes way for a new one. "The implementation MUST be capable of instead
//! deleting the old SA and creating a new one" (RFC 7296 section 4); here the new one comes first, so that no packet is lost: the Child
//! SAs carry packets until others do in their place (section 2.8).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use ipsec_types::PolicyId;

use crate::child::ChildPhase;
use crate::context::{Context, End, MakingWay};
use crate::v2::{Core, Established, Task};
use crate::want::{Admission, Waiter};

impl Established {
    /// Lets a new IKE SA be set up with a Child SA for each policy that this one serves. It is deleted when they are there, or will not come;
    /// at once where there is nothing to be kept, or nobody to be called.
    pub(crate) fn make_way(&mut self, core: &mut Core, cx: &mut Context<'_>) {
        if core.is_ending() {
            return;
        }
        let for_the_new_one = |task: &Task| matches!(task, Task::CreateChild(_) | Task::RekeyIkeSa { request: None });
        core.tasks.retain(|task| !for_the_new_one(task));
        core.later.retain(|(_, task)| !for_the_new_one(task));
        for policy in core::mem::take(&mut core.wanted) {
            cx.shared.wants.again(policy);
        }
        if core::mem::replace(&mut self.makes_way, true) {
            return;
        }
        core.end = Some(End::Failed);
        let kept = self.children.iter().filter(|child| child.phase != ChildPhase::Deleting).map(|child| child.policy);
        let mut policies: BTreeSet<PolicyId> = kept.filter(|policy| core.connection.child_of(*policy).is_some()).collect();
        if core.connection.remote_addrs.is_empty() {
            policies.clear();
        }
        policies.retain(|policy| cx.shared.wants.add(cx.now, *policy, Waiter::Predecessor(core.id)) == Admission::Waits);
        if policies.is_empty() {
            core.give_up();
        } else {
            cx.shared.making_way.insert(core.id, MakingWay { waiting: policies.len(), requests: Vec::new() });
        }
    }
}
