//! Which policy has which slot.

use std::collections::{HashMap, HashSet};

use ipsec_types::{Policy, PolicyId};

use crate::table::PolicySlot;

/// Gives every policy a slot and keeps it while the policy is in force: on the server thread, so that what workers keep for a policy
/// outlives a new policy set.
#[derive(Debug, Clone)]
pub struct PolicySlots {
    assigned: HashMap<PolicyId, PolicySlot>,
    free: Vec<PolicySlot>,
}

/// More policies than slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("more than {0} policies: raise spd.slots in the data plane's configuration")]
pub struct TooManyPolicies(pub usize);

impl PolicySlots {
    /// `capacity` slots, all free.
    pub fn new(capacity: u32) -> Self {
        Self { assigned: HashMap::new(), free: (0..capacity).rev().map(PolicySlot).collect() }
    }

    /// How many policies there may be.
    pub fn capacity(&self) -> usize {
        self.assigned.len() + self.free.len()
    }

    /// Gives slots to the policies of a new set. Those of policies that are gone become free.
    ///
    /// # Errors
    /// [`TooManyPolicies`], and nothing changes.
    pub fn assign(&mut self, policies: &[Policy]) -> Result<(), TooManyPolicies> {
        let wanted: HashSet<_> = policies.iter().map(|policy| policy.id).collect();
        if wanted.len() > self.capacity() {
            return Err(TooManyPolicies(self.capacity()));
        }
        let free = &mut self.free;
        self.assigned.retain(|id, slot| {
            wanted.contains(id) || {
                free.push(*slot);
                false
            }
        });
        for id in wanted {
            if !self.assigned.contains_key(&id)
                && let Some(slot) = self.free.pop()
            {
                self.assigned.insert(id, slot);
            }
        }
        Ok(())
    }

    /// The slot of a policy in force.
    pub fn slot(&self, id: PolicyId) -> Option<PolicySlot> {
        self.assigned.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use ipsec_types::{DscpSet, PolicyAction};

    use super::*;

    fn policies(ids: &[u32]) -> Vec<Policy> {
        let policy = |&id| Policy {
            id: PolicyId(id),
            name: String::new(),
            priority: 0,
            action: PolicyAction::Discard,
            local: Vec::new(),
            remote: Vec::new(),
            dscp: DscpSet::ALL,
        };
        ids.iter().map(policy).collect()
    }

    #[test]
    fn a_slot_is_kept_while_its_policy_stays() {
        let mut slots = PolicySlots::new(2);
        slots.assign(&policies(&[7, 9])).unwrap();
        let nine = slots.slot(PolicyId(9));
        assert_eq!(slots.assign(&policies(&[1, 2, 3])), Err(TooManyPolicies(2)));
        assert_eq!(slots.slot(PolicyId(9)), nine, "a refusal changes nothing");
        slots.assign(&policies(&[9, 8])).unwrap();
        assert_eq!((slots.slot(PolicyId(9)), slots.slot(PolicyId(7))), (nine, None));
        assert!(slots.slot(PolicyId(8)).is_some_and(|slot| Some(slot) != nine));
    }
}
