//! The SPD of a configuration (RFC 4301 section 4.4.1).
//!
//! A child whose peers call, each from addresses of its own, says nothing of where its packets go before they have called: its entry stands for the
//! addresses of all of them, as RFC 4301 section 4.4.1.1 lets an entry by name do. Several such children with the same addresses share one entry, so
//! that none hides the others: which SA a packet crosses in is what the SAs' own selectors say.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ipsec_types::{Mode, Policy, PolicyAction, PolicyId, TrafficSelector};

use super::{Child, Config, Connection};

/// Which children share an entry of the SPD.
#[derive(Debug, Default)]
pub struct Entries {
    groups: Vec<Group>,
    /// The place of the group that a child is in, by its policy.
    of: BTreeMap<PolicyId, usize>,
}

#[derive(Debug)]
struct Group {
    /// The identifier of the entry.
    id: PolicyId,
    /// The policies of its children, in the order of the SPD.
    members: Vec<PolicyId>,
}

impl Config {
    /// The whole SPD: PROTECT entries for the children, and the entries without a peer.
    pub fn spd(&self) -> Vec<Policy> {
        let alone = self.one_each();
        let (shared, others): (Vec<Policy>, Vec<Policy>) = alone.into_iter().partition(|policy| self.entries.of.contains_key(&policy.id));
        let of = |id: &PolicyId| shared.iter().find(|policy| policy.id == *id);
        let together = self.entries.groups.iter().filter_map(|group| {
            let mut entry = of(group.members.first()?)?.clone();
            entry.id = group.id;
            for selector in group.members.iter().filter_map(of).flat_map(|policy| &policy.local) {
                if !entry.local.contains(selector) {
                    entry.local.push(*selector);
                }
            }
            Some(entry)
        });
        together.chain(others).collect()
    }

    /// The SPD entry that a child stands under.
    pub fn entry(&self, policy: PolicyId) -> PolicyId {
        self.entries.of.get(&policy).and_then(|group| self.entries.groups.get(*group)).map_or(policy, |group| group.id)
    }

    /// Whether others stand under the same entry.
    pub(crate) fn shares_entry(&self, policy: PolicyId) -> bool {
        self.entries.of.get(&policy).and_then(|group| self.entries.groups.get(*group)).is_some_and(|group| group.members.len() > 1)
    }

    /// Finds out which children share an entry. Those that stood under one in `before` do so further, as far as they can: the SAs in the data plane
    /// name it.
    pub fn share_entries(&mut self, before: &Self) {
        let mut entries = Entries::default();
        let mut ordered = self.one_each();
        // As the data plane does: among equals the order given stays.
        ordered.sort_by_key(|policy| policy.priority);
        let callers: BTreeSet<PolicyId> =
            self.children().filter(|(of, child)| is_called(of, child)).map(|(_, child)| child.policy).collect();
        for (place, policy) in ordered.iter().enumerate().filter(|(_, policy)| callers.contains(&policy.id)) {
            let joined = entries.groups.iter().position(|group| may_join(&ordered, place, policy, group));
            let group = joined.unwrap_or_else(|| {
                entries.groups.push(Group { id: policy.id, members: Vec::new() });
                entries.groups.len().saturating_sub(1)
            });
            entries.of.insert(policy.id, group);
            if let Some(group) = entries.groups.get_mut(group) {
                group.members.push(policy.id);
            }
        }
        entries.keep_names(before);
        self.entries = entries;
    }

    fn children(&self) -> impl Iterator<Item = (&Connection, &Child)> {
        self.connections.iter().flat_map(|connection| connection.children.iter().map(move |child| (connection, child)))
    }

    /// As if no entry were shared.
    fn one_each(&self) -> Vec<Policy> {
        let protect = self.children().map(|(_, child)| Policy {
            id: child.policy,
            name: child.name.clone(),
            priority: child.priority,
            action: PolicyAction::Protect,
            local: child.local_selectors.clone(),
            remote: child.remote_selectors.clone(),
            dscp: child.dscp,
        });
        protect.chain(self.policies.iter().cloned()).collect()
    }
}

/// Whether the peers of a child come to this gateway, and bring their addresses or get them here.
fn is_called(connection: &Connection, child: &Child) -> bool {
    child.mode == Mode::Tunnel && (child.remote_dynamic || connection.remote_addrs.is_empty())
}

/// Whether a policy may stand where the first of a group does: it is for the same addresses and packets, and nothing in between has a say in them.
fn may_join(ordered: &[Policy], place: usize, policy: &Policy, group: &Group) -> bool {
    let first = ordered.iter().position(|other| Some(&other.id) == group.members.first());
    let Some((first, head)) = first.and_then(|first| Some((first, ordered.get(first)?))) else { return false };
    let between = ordered.get(first..place).unwrap_or_default().iter().filter(|other| !group.members.contains(&other.id));
    (&head.remote, head.dscp) == (&policy.remote, policy.dscp) && !between.into_iter().any(|other| overlap(other, policy))
}

/// Whether two entries have a packet in common.
pub fn overlap(a: &Policy, b: &Policy) -> bool {
    a.dscp.intersects(b.dscp) && meet(&a.local, &b.local) && meet(&a.remote, &b.remote)
}

/// Whether two lists of selectors have something in common.
pub(crate) fn meet(a: &[TrafficSelector], b: &[TrafficSelector]) -> bool {
    a.iter().any(|a| b.iter().any(|b| a.intersect(b).is_some()))
}

impl Entries {
    /// Entries keep the identifiers that they had with `before`. One that is a child's own is not given to another while that child is there.
    fn keep_names(&mut self, before: &Config) {
        let mut taken = BTreeSet::new();
        for group in &mut self.groups {
            let is_free = |id: &PolicyId| !taken.contains(id) && (group.members.contains(id) || !self.of.contains_key(id));
            let former = group.members.iter().filter(|member| before.entries.of.contains_key(member)).map(|member| before.entry(*member));
            let id = former.chain(group.members.iter().copied()).find(is_free);
            group.id = id.unwrap_or(group.id);
            taken.insert(group.id);
        }
    }
}

#[cfg(test)]
mod tests;
