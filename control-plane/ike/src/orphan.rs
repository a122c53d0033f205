//! Child SAs without an IKE SA, which carry packets until a successor does: those that an earlier controller has left in the data plane,
//! and those whose IKE SA the peer has forgotten (INITIAL_CONTACT, RFC 7296 section 2.4).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use ipsec_types::{ChildSaId, Instant, PolicyId, TrafficSelector};

use crate::child::Child;
use crate::config::meet;
use crate::pool::Lease;

/// One of them.
#[derive(Debug)]
pub(crate) struct Orphan {
    pub(crate) id: ChildSaId,
    /// Its SPD entry.
    pub(crate) entry: PolicyId,
    pub(crate) local: Vec<TrafficSelector>,
    pub(crate) remote: Vec<TrafficSelector>,
    /// When it is retired, successor or not.
    pub(crate) until: Instant,
    /// Addresses of pools that it is for, which nobody else gets meanwhile.
    pub(crate) _leases: Vec<Lease>,
}

impl Orphan {
    /// Of a Child SA, until somebody takes its traffic over, or that time; nobody else gets the addresses meanwhile.
    pub(crate) fn of(child: &Child, until: Instant, leases: Vec<Lease>) -> Self {
        let (local, remote) = (child.selectors.local().to_vec(), child.selectors.remote().to_vec());
        Self { id: child.id, entry: child.entry, local, remote, until, _leases: leases }
    }
}

/// All of them, by SPD entry.
#[derive(Debug, Default)]
pub(crate) struct Orphans {
    all: BTreeMap<(PolicyId, ChildSaId), Orphan>,
    /// In order of their time.
    ends: BTreeSet<(Instant, ChildSaId, PolicyId)>,
}

impl Orphans {
    /// Takes one in.
    pub(crate) fn adopt(&mut self, orphan: Orphan) {
        self.ends.insert((orphan.until, orphan.id, orphan.entry));
        self.all.insert((orphan.entry, orphan.id), orphan);
    }

    /// A Child SA between these selectors carries packets from `at` on at the latest: those whose traffic it takes over end then.
    pub(crate) fn succeeded(&mut self, entry: PolicyId, local: &[TrafficSelector], remote: &[TrafficSelector], at: Instant) {
        let heirless = self.of(entry).filter(|orphan| orphan.until > at && orphan.shares(local, remote));
        for id in heirless.map(|orphan| orphan.id).collect::<Vec<_>>() {
            if let Some(orphan) = self.all.get_mut(&(entry, id)) {
                self.ends.remove(&(orphan.until, id, entry));
                orphan.until = at;
                self.ends.insert((at, id, entry));
            }
        }
    }

    /// The one whose traffic a Child SA between these selectors will take over.
    pub(crate) fn predecessor(&self, entry: PolicyId, local: &[TrafficSelector], remote: &[TrafficSelector]) -> Option<ChildSaId> {
        self.of(entry).filter(|orphan| orphan.shares(local, remote)).map(|orphan| orphan.id).next_back()
    }

    /// Those whose time has come, which are forgotten.
    pub(crate) fn ended(&mut self, now: Instant) -> Vec<ChildSaId> {
        let mut ended = Vec::new();
        while let Some((_, id, entry)) = self.ends.first().copied().filter(|(until, ..)| *until <= now) {
            self.ends.pop_first();
            self.all.remove(&(entry, id));
            ended.push(id);
        }
        ended
    }

    /// When the next one ends.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.ends.first().map(|(until, ..)| *until)
    }

    /// Forgets those that the data plane has not.
    pub(crate) fn retain(&mut self, is_there: impl Fn(ChildSaId) -> bool) {
        self.all.retain(|(_, id), _| is_there(*id));
        self.ends.retain(|(_, id, _)| is_there(*id));
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        for orphan in self.all.values_mut() {
            orphan.until = orphan.until + pause;
        }
        self.ends = self.all.values().map(|orphan| (orphan.until, orphan.id, orphan.entry)).collect();
    }

    /// Their identifiers.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ChildSaId> {
        self.all.keys().map(|(_, id)| *id)
    }

    fn of(&self, entry: PolicyId) -> impl DoubleEndedIterator<Item = &Orphan> {
        self.all.range((entry, ChildSaId(0))..=(entry, ChildSaId(u64::MAX))).map(|(_, orphan)| orphan)
    }
}

impl Orphan {
    fn shares(&self, local: &[TrafficSelector], remote: &[TrafficSelector]) -> bool {
        meet(&self.local, local) && meet(&self.remote, remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn net(text: &str) -> Vec<TrafficSelector> {
        alloc::vec![text.parse().unwrap()]
    }

    fn orphan(id: u64, remote: &str, until: u64) -> Orphan {
        Orphan {
            id: ChildSaId(id),
            entry: PolicyId(1),
            local: net("10.1.0.0/16"),
            remote: net(remote),
            until: at(until),
            _leases: Vec::new(),
        }
    }

    #[test]
    fn a_successor_ends_those_whose_traffic_it_takes_and_no_others() {
        let mut orphans = Orphans::default();
        orphans.adopt(orphan(1, "10.2.0.0/16", 30));
        orphans.adopt(orphan(2, "10.3.0.0/16", 30));
        assert_eq!(orphans.predecessor(PolicyId(1), &net("10.1.0.0/16"), &net("10.2.3.0/24")), Some(ChildSaId(1)));
        assert_eq!(orphans.predecessor(PolicyId(2), &net("10.1.0.0/16"), &net("10.2.3.0/24")), None);
        orphans.succeeded(PolicyId(1), &net("10.1.0.0/16"), &net("10.2.0.0/16"), at(2));
        assert_eq!(orphans.deadline(), Some(at(2)));
        assert_eq!(orphans.ended(at(1)), []);
        assert_eq!(orphans.ended(at(2)), [ChildSaId(1)]);
        assert_eq!(orphans.ended(at(30)), [ChildSaId(2)]);
        assert_eq!(orphans.deadline(), None);
    }

    #[test]
    fn a_successor_never_prolongs() {
        let mut orphans = Orphans::default();
        orphans.adopt(orphan(1, "10.2.0.0/16", 1));
        orphans.succeeded(PolicyId(1), &net("10.1.0.0/16"), &net("10.2.0.0/16"), at(2));
        assert_eq!(orphans.deadline(), Some(at(1)));
        orphans.shift(Duration::from_secs(5));
        assert_eq!(orphans.deadline(), Some(at(6)));
        orphans.retain(|_| false);
        assert_eq!((orphans.deadline(), orphans.ids().count()), (None, 0));
    }
}
