//! The policies in force.

use std::collections::HashMap;

use ipsec_types::{Policy, PolicyAction, PolicyId};

use crate::stats::PolicyCount;
use crate::table::PolicySlot;

/// All of them, as the controller set them.
#[derive(Debug, Default)]
pub(super) struct Policies {
    /// In the order they are looked at.
    entries: Vec<PolicyEntry>,
    places: HashMap<PolicyId, usize>,
}

/// A policy in force.
#[derive(Debug)]
pub(super) struct PolicyEntry {
    pub(super) policy: Policy,
    pub(super) slot: PolicySlot,
    /// What the slot had counted before it became this policy's; `None` before it is in force.
    pub(super) base: Option<PolicyCount>,
}

impl Policies {
    /// These policies; among those of the same priority the order given stays.
    pub(super) fn new(mut entries: Vec<PolicyEntry>) -> Self {
        entries.sort_by_key(|entry| entry.policy.priority);
        let places = entries.iter().enumerate().map(|(place, entry)| (entry.policy.id, place)).collect();
        Self { entries, places }
    }

    /// They are about to be in force, and their slots have counted so much by now.
    pub(super) fn begin_counting(&mut self, count: impl Fn(PolicySlot) -> PolicyCount) {
        for entry in &mut self.entries {
            entry.base.get_or_insert_with(|| count(entry.slot));
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// In the order they are looked at.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PolicyEntry> {
        self.entries.iter()
    }

    /// The policy of this identifier.
    pub(super) fn of(&self, id: PolicyId) -> Option<&PolicyEntry> {
        self.entries.get(*self.places.get(&id)?)
    }

    /// Whether there is one of this identifier, which protects.
    pub(super) fn protects(&self, id: PolicyId) -> bool {
        self.of(id).is_some_and(|entry| entry.policy.action == PolicyAction::Protect)
    }
}
