//! From one set of policies to another.
//!
//! What has to be computed for thousands of them is computed by a thread beside the server, from what is in force and what shall be: the server does
//! what else there is to do meanwhile. Nothing of it is in force before all of it is, by one command to each worker.

use std::collections::HashSet;
use std::sync::Arc;
use std::thread;

use culvert_proto::convert::{ConvertError, Problem};
use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::failure::Reason;
use ipsec_types::{ChildSaId, Policy, PolicyId};
use tokio::sync::oneshot;

use crate::command::{Command, SLOTS_IN_COMMAND, WorkerId};
use crate::server::core::Core;
use crate::server::policies::{Policies, PolicyEntry};
use crate::server::workers::Barrier;
use crate::table::{PolicySlot, PolicySlots, Spd, TooManyPolicies};

/// The longest name of a policy, in octets.
const MAX_NAME: usize = 256;
/// Policies of a set that the server takes in itself.
const SMALL: usize = 256;
/// Policies whose SAs are removed in one go.
const SLICE: usize = 256;

/// A set of policies of which more is to come.
#[derive(Debug, Default)]
pub(super) struct Draft {
    policies: Vec<Policy>,
    seen: HashSet<PolicyId>,
    /// A part was refused: the others are, too.
    refused: bool,
}

/// Why a set of policies is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Invalid(#[from] ConvertError),
    #[error("{0}.id: {1} stands twice")]
    Twice(String, u32),
    #[error("policies: a part of this set was refused before")]
    Refused,
    #[error("policies: there is no thread to take them in")]
    NoThread,
    #[error(transparent)]
    TooMany(#[from] TooManyPolicies),
}

impl Draft {
    /// Adds a part. After one that is refused all are, to the end of the set.
    pub(super) fn add(&mut self, part: Vec<v1::Policy>, capacity: usize) -> Result<(), Unusable> {
        if self.refused {
            return Err(Unusable::Refused);
        }
        let added = self.add_all(part, capacity);
        if added.is_err() {
            *self = Self { refused: true, ..Self::default() };
        }
        added
    }

    fn add_all(&mut self, part: Vec<v1::Policy>, capacity: usize) -> Result<(), Unusable> {
        if self.policies.len() + part.len() > capacity {
            return Err(TooManyPolicies(capacity).into());
        }
        for (i, message) in part.into_iter().enumerate() {
            let field = format!("policies[{i}]");
            let policy = Policy::try_from(message).map_err(|e| e.within(&field))?;
            if !self.seen.insert(policy.id) {
                return Err(Unusable::Twice(field, policy.id.0));
            }
            if policy.name.len() > MAX_NAME {
                let problem = Problem::TooLarge { value: policy.name.len() as u64, max: MAX_NAME as u64 };
                return Err(ConvertError::new(format!("{field}.name"), problem).into());
            }
            self.policies.push(policy);
        }
        Ok(())
    }
}

/// What is in force: shared with whoever computes what comes next.
#[derive(Debug, Clone)]
pub(super) struct Former {
    policies: Arc<Policies>,
    slots: Arc<PolicySlots>,
    spd: Arc<Spd>,
}

/// What will be in force.
#[derive(Debug)]
pub(super) struct Next {
    policies: Policies,
    slots: PolicySlots,
    spd: Spd,
    /// Slots that held a policy, and hold another one or none.
    changed: Vec<PolicySlot>,
    /// Policies that protect no more.
    unprotected: Vec<PolicyId>,
}

impl Next {
    fn new(policies: Vec<Policy>, former: &Former) -> Result<Self, TooManyPolicies> {
        let mut slots = PolicySlots::clone(&former.slots);
        slots.assign(&policies)?;
        let slotted: Vec<_> = policies.into_iter().filter_map(|policy| Some((slots.slot(policy.id)?, policy))).collect();
        let (spd, mut changed) = former.spd.changed_to(&slotted);
        // Of a slot that was empty nobody knows anything.
        changed.retain(|slot| former.spd.entry(*slot).is_some());
        let entry = |(slot, policy): (PolicySlot, Policy)| {
            let base = former.policies.of(policy.id).and_then(|old| old.base);
            PolicyEntry { policy, slot, base }
        };
        let policies = Policies::new(slotted.into_iter().map(entry).collect());
        let protecting = former.policies.iter().map(|entry| entry.policy.id).filter(|id| former.policies.protects(*id));
        let unprotected = protecting.filter(|id| !policies.protects(*id)).collect();
        Ok(Self { policies, slots, spd, changed, unprotected })
    }
}

/// A change under way. Other operations wait for it.
#[derive(Debug)]
pub(super) enum Change {
    Computing(oneshot::Receiver<Result<Next, TooManyPolicies>>),
    /// SAs go whose policies protect no more: an SA must not serve a policy it was not made for.
    Removing(Box<Next>),
}

impl Core {
    /// Takes a part of a set of policies; true where it was the last one, and [`Core::change`] begins.
    pub(super) fn set_policies(&mut self, set: v1::SetPolicies) -> Result<bool, Unusable> {
        let draft = self.draft.get_or_insert_default();
        let added = draft.add(set.policies, self.slots.capacity());
        if set.more {
            return added.map(|()| false);
        }
        let draft = self.draft.take().unwrap_or_default();
        added?;
        let former = self.former();
        let (result, computing) = oneshot::channel();
        // Short work takes less than to start a thread.
        let small = draft.policies.len().max(former.policies.len()) <= SMALL;
        let compute = move || drop(result.send(Next::new(draft.policies, &former)));
        if small {
            compute();
        } else {
            in_a_thread(compute);
        }
        self.change = Some(Change::Computing(computing));
        Ok(true)
    }

    fn former(&self) -> Former {
        let spd = self.snapshot.spd.as_ref().map(Arc::clone).unwrap_or_default();
        Former { policies: Arc::clone(&self.policies), slots: Arc::clone(&self.slots), spd }
    }

    /// Goes on with the change under way. Once it is on its way to the workers: the point from which it is in force, and what is in force no more then.
    pub(super) fn go_on_with_change(&mut self) -> Option<Result<(Barrier, Former), Unusable>> {
        let mut next = match self.change.take()? {
            Change::Removing(next) => next,
            Change::Computing(mut computing) => match computing.try_recv() {
                Ok(Ok(next)) => Box::new(next),
                Ok(Err(error)) => return Some(Err(error.into())),
                Err(oneshot::error::TryRecvError::Empty) => {
                    self.change = Some(Change::Computing(computing));
                    return None;
                }
                Err(oneshot::error::TryRecvError::Closed) => return Some(Err(Unusable::NoThread)),
            },
        };
        if !self.workers.is_backlogged() {
            let rest = next.unprotected.len().saturating_sub(SLICE);
            next.unprotected.split_off(rest).into_iter().for_each(|policy| self.remove_orphans(policy));
        }
        if next.unprotected.is_empty() {
            return Some(Ok(self.publish_policies(*next)));
        }
        self.change = Some(Change::Removing(next));
        None
    }

    fn remove_orphans(&mut self, policy: PolicyId) {
        let orphans: Vec<ChildSaId> = self.sad.of_policy(policy).map(|entry| entry.sa.id).collect();
        for id in orphans {
            tracing::info!(child_sa = %id, "its policy is gone: removed");
            self.remove(id);
            self.emit(v1::event::Event::HardExpire(v1::HardExpire { child_sa: id.0 }));
        }
    }

    fn publish_policies(&mut self, next: Next) -> (Barrier, Former) {
        let Next { mut policies, slots, spd, changed, .. } = next;
        let former = self.former();
        policies.begin_counting(|slot| self.policy_count(slot));
        self.acquires.retain(|policy| policies.protects(policy));
        tracing::info!(policies = policies.len(), changed = changed.len(), "policies set");
        (self.policies, self.slots, self.snapshot.spd) = (Arc::new(policies), Arc::new(slots), Some(Arc::new(spd)));
        let mut barrier = self.publish();
        for slots in changed.chunks(SLOTS_IN_COMMAND) {
            barrier = self.workers.broadcast(WorkerId(0), |_| Command::PoliciesChanged(slots.iter().copied().collect()));
        }
        (barrier, former)
    }
}

impl Unusable {
    /// How the controller is told.
    pub(super) const fn reason(&self) -> Reason {
        match self {
            Self::TooMany(_) | Self::NoThread => Reason::Exhausted,
            Self::Invalid(_) | Self::Twice(..) | Self::Refused => Reason::Invalid,
        }
    }
}

impl Former {
    /// Frees it, elsewhere where that takes long.
    pub(super) fn free(self) {
        if self.policies.len() > SMALL {
            in_a_thread(move || drop(self));
        }
    }
}

/// Runs what takes long beside the server. Without a thread to be had it is dropped.
fn in_a_thread(work: impl FnOnce() + Send + 'static) {
    if let Err(error) = thread::Builder::new().name("policies".to_owned()).spawn(work) {
        tracing::error!(%error, "no thread");
    }
}
