//! The Security Policy Database (RFC 4301 section 4.4.1).
//!
//! The first entry that selects a packet decides. Found is it in a search tree of each address family, not by asking one after the other. A database is
//! immutable for whoever reads it; a copy shares all that a change leaves as it was.

mod cell;
mod slots;
#[cfg(test)]
mod tests;
mod tree;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use ipsec_types::{Dscp, DscpSet, Flow, Policy, PolicyAction, PolicyId, TrafficSelector};

use crate::table::PolicySlot;

use cell::{Cell, Number, Point, cells};
use slots::Slots;
use tree::Tree;

/// One entry, as far as a packet is concerned that it selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpdEntry {
    /// The policy's identifier.
    pub id: PolicyId,
    /// Its slot.
    pub slot: PolicySlot,
    /// What happens to packets it selects.
    pub action: PolicyAction,
}

/// What an entry selects.
#[derive(Debug, PartialEq, Eq)]
struct Exact {
    local: Box<[TrafficSelector]>,
    remote: Box<[TrafficSelector]>,
    dscp: DscpSet,
}

/// An entry and its place in the order.
#[derive(Debug)]
struct Stored {
    entry: SpdEntry,
    priority: u32,
    /// Among entries of the same priority.
    rank: u32,
    exact: Arc<Exact>,
}

/// The entries.
#[derive(Debug, Clone)]
pub struct Spd {
    ipv4: Tree<u32>,
    ipv6: Tree<u128>,
    slots: Slots,
    /// No entry has a higher one.
    last_rank: u32,
}

/// What to do to come from one set of policies to another.
#[derive(Debug, Default)]
struct Difference {
    removed: Vec<PolicySlot>,
    added: Vec<Arc<Stored>>,
}

impl Default for Spd {
    fn default() -> Self {
        Self { ipv4: Tree::new(), ipv6: Tree::new(), slots: Slots::default(), last_rank: 0 }
    }
}

impl Spd {
    /// The database of these policies, ordered by priority; among equals the order given stays.
    pub fn new(policies: impl IntoIterator<Item = (PolicySlot, Policy)>) -> Self {
        let policies: Vec<_> = policies.into_iter().collect();
        let none = Self::default();
        Self::build(none.difference(&policies).added)
    }

    /// The database of these policies, and the slots whose content is another than in this one. What stays costs a comparison.
    #[must_use]
    pub fn changed_to(&self, policies: &[(PolicySlot, Policy)]) -> (Self, Vec<PolicySlot>) {
        let difference = self.difference(policies);
        let changes = difference.removed.len() + difference.added.len();
        let mut slots: Vec<_> = difference.added.iter().map(|stored| stored.entry.slot).chain(difference.removed.iter().copied()).collect();
        slots.sort_unstable();
        slots.dedup();
        // One by one costs several times as much for each.
        if changes > policies.len() / 4 {
            let kept = self.slots.iter().filter(|stored| slots.binary_search(&stored.entry.slot).is_err()).cloned();
            return (Self::build(kept.chain(difference.added).collect()), slots);
        }
        let mut changed = self.clone();
        difference.removed.into_iter().for_each(|slot| changed.remove(slot));
        difference.added.into_iter().for_each(|stored| changed.put(stored));
        (changed, slots)
    }

    fn build(stored: Vec<Arc<Stored>>) -> Self {
        let ipv4 = Tree::of(stored.iter().flat_map(|stored| stored.cells()).collect());
        let ipv6 = Tree::of(stored.iter().flat_map(|stored| stored.cells()).collect());
        let last_rank = stored.iter().map(|stored| stored.rank).max().unwrap_or(0);
        let mut slots = Slots::default();
        for stored in stored {
            slots.set(stored.entry.slot, Some(stored));
        }
        Self { ipv4, ipv6, slots, last_rank }
    }

    /// Entries that stay keep their rank, as long as the order given does not contradict.
    fn difference(&self, policies: &[(PolicySlot, Policy)]) -> Difference {
        let mut difference = Difference::default();
        let mut present: HashSet<PolicySlot> = HashSet::with_capacity(policies.len());
        let mut last_ranks: HashMap<u32, u32> = HashMap::new();
        for (slot, policy) in policies {
            present.insert(*slot);
            let last_rank = last_ranks.entry(policy.priority).or_default();
            let there = self.slots.of(*slot);
            if let Some(same) = there.filter(|stored| stored.is(policy) && stored.rank > *last_rank) {
                *last_rank = same.rank;
                continue;
            }
            *last_rank += 1;
            difference.removed.extend(there.map(|stored| stored.entry.slot));
            difference.added.push(Arc::new(Stored::new(*slot, policy, *last_rank)));
        }
        let gone = self.slots.iter().map(|stored| stored.entry.slot).filter(|slot| !present.contains(slot));
        difference.removed.extend(gone);
        difference
    }

    /// Puts a policy into a slot, behind those of its priority. What was there is gone.
    pub fn insert(&mut self, slot: PolicySlot, policy: &Policy) {
        self.remove(slot);
        self.put(Arc::new(Stored::new(slot, policy, self.last_rank.saturating_add(1))));
    }

    fn put(&mut self, stored: Arc<Stored>) {
        self.last_rank = self.last_rank.max(stored.rank);
        stored.cells().iter().for_each(|cell| self.ipv4.insert(cell));
        stored.cells().iter().for_each(|cell| self.ipv6.insert(cell));
        self.slots.set(stored.entry.slot, Some(stored));
    }

    /// Empties a slot.
    pub fn remove(&mut self, slot: PolicySlot) {
        let Some(stored) = self.slots.set(slot, None) else { return };
        stored.cells().iter().for_each(|cell| self.ipv4.remove(cell));
        stored.cells().iter().for_each(|cell| self.ipv6.remove(cell));
    }

    /// The entry in a slot.
    #[inline]
    pub fn entry(&self, slot: PolicySlot) -> Option<&SpdEntry> {
        self.slots.of(slot).map(|stored| &stored.entry)
    }

    /// All entries, in the order of their slots.
    pub fn entries(&self) -> impl Iterator<Item = &SpdEntry> {
        self.slots.iter().map(|stored| &stored.entry)
    }

    /// The entry for a packet on its way out: its source is local, and its class one of the entry's (RFC 4301 section 4.1).
    #[inline]
    pub fn outbound(&self, flow: &Flow, dscp: Dscp) -> Option<&SpdEntry> {
        let selects = |exact: &Exact| exact.selects_outbound(flow, dscp);
        if flow.source.is_ipv4() {
            find(&self.ipv4, &cell::outbound(flow)?, selects)
        } else {
            find(&self.ipv6, &cell::outbound(flow)?, selects)
        }
    }

    /// The entry for a packet that came in in the clear: its destination is local, and its class whatever its sender says.
    #[inline]
    pub fn inbound(&self, flow: &Flow) -> Option<&SpdEntry> {
        let selects = |exact: &Exact| exact.selects_inbound(flow);
        if flow.source.is_ipv4() {
            find(&self.ipv4, &cell::inbound(flow)?, selects)
        } else {
            find(&self.ipv6, &cell::inbound(flow)?, selects)
        }
    }
}

/// The entry of the lowest order with a box around the point, if that is all it takes, or that selects the packet itself.
#[inline]
fn find<'a, N: Number>(tree: &'a Tree<N>, point: &Point<N>, selects: impl Fn(&Exact) -> bool + Copy) -> Option<&'a SpdEntry> {
    let accept = |cell: &Cell<N>| cell.exact.as_ref().is_none_or(|exact| selects(exact));
    tree.find(point, accept).map(|cell| &cell.entry)
}

impl Stored {
    fn new(slot: PolicySlot, policy: &Policy, rank: u32) -> Self {
        let exact = Exact { local: policy.local.as_slice().into(), remote: policy.remote.as_slice().into(), dscp: policy.dscp };
        let entry = SpdEntry { id: policy.id, slot, action: policy.action };
        Self { entry, priority: policy.priority, rank, exact: Arc::new(exact) }
    }

    /// Whether it came from such a policy.
    fn is(&self, policy: &Policy) -> bool {
        (self.entry.id, self.entry.action, self.priority) == (policy.id, policy.action, policy.priority)
            && self.exact.dscp == policy.dscp
            && *self.exact.local == *policy.local
            && *self.exact.remote == *policy.remote
    }

    fn cells<N: Number>(&self) -> Vec<Cell<N>> {
        cells(self.entry, u64::from(self.priority) << 32 | u64::from(self.rank), &self.exact)
    }
}

impl Exact {
    /// Whether the class of a packet counts.
    fn has_classes(&self) -> bool {
        self.dscp != DscpSet::ALL
    }

    fn selects_outbound(&self, flow: &Flow, dscp: Dscp) -> bool {
        self.dscp.contains(dscp)
            && self.local.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
            && self.remote.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
    }

    fn selects_inbound(&self, flow: &Flow) -> bool {
        self.local.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
            && self.remote.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
    }
}
