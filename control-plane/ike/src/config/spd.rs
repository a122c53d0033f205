//! The SPD of a configuration (RFC 4301 section 4.4.1).
//!
//! A child whose peers call, each from addresses of its own, says nothing of where its packets go before they have called: its entry stands for the
//! addresses of all of them, as RFC 4301 section 4.4.1.1 lets an entry by name do. Several such children with the same addresses share one entry, so
//! that none hides the others: which SA a packet crosses in is what the SAs' own selectors say.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use ipsec_types::{AddressRange, Mode, Policy, PolicyAction, PolicyId, TrafficSelector};

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
        let shared: BTreeMap<PolicyId, Policy> = shared.into_iter().map(|policy| (policy.id, policy)).collect();
        let together = self.entries.groups.iter().filter_map(|group| {
            let mut entry = shared.get(group.members.first()?)?.clone();
            entry.id = group.id;
            for selector in group.members.iter().filter_map(|id| shared.get(id)).flat_map(|policy| &policy.local) {
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
        // By remote addresses, the places where groups begin; and by place, the group of each policy so far. There may be thousands of either.
        let mut begun: BTreeMap<Vec<AddressRange>, Vec<(usize, usize)>> = BTreeMap::new();
        let mut group_at: Vec<Option<usize>> = Vec::with_capacity(ordered.len());
        for (place, policy) in ordered.iter().enumerate() {
            if !callers.contains(&policy.id) {
                group_at.push(None);
                continue;
            }
            let heads = begun.entry(policy.remote.iter().map(|selector| *selector.addresses()).collect()).or_default();
            let joins =
                |(head, group): &(usize, usize)| may_join(&ordered, *head, place, |other| group_at.get(other) == Some(&Some(*group)));
            let joined = heads.iter().copied().find(joins);
            let group = joined.map_or(entries.groups.len(), |(_, group)| group);
            if joined.is_none() {
                entries.groups.push(Group { id: policy.id, members: Vec::new() });
                heads.push((place, group));
            }
            group_at.push(Some(group));
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

/// Whether the policy at a place may stand where the first of a group does: it is for the same addresses and packets, and nothing in between but
/// members has a say in them.
fn may_join(ordered: &[Policy], head: usize, place: usize, is_member: impl Fn(usize) -> bool) -> bool {
    let (Some(first), Some(policy)) = (ordered.get(head), ordered.get(place)) else { return false };
    let mut between = (head..place).filter(|other| !is_member(*other)).filter_map(|other| ordered.get(other));
    (&first.remote, first.dscp) == (&policy.remote, policy.dscp) && !between.any(|other| overlap(other, policy))
}

/// Whether two entries have a packet in common.
pub fn overlap(a: &Policy, b: &Policy) -> bool {
    a.dscp.intersects(b.dscp) && meet(&a.remote, &b.remote) && meet(&a.local, &b.local)
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
