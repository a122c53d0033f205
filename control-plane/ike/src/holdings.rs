//! Who holds which traffic: no peer gets another's packets by asking for its addresses (RFC 3948 section 5 says why two must not have them at one time).
//!
//! Only what stands under one entry of the SPD is compared. Which of several entries a packet belongs to is the operator's word: their order.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use core::net::IpAddr;

use ipsec_types::{ChildSaId, Identity, PolicyId, TrafficSelector};

use crate::config::meet;
use crate::negotiate::SelectorsNarrowed;

/// The remote selectors of all live Child SAs, and for each the local ones.
#[derive(Debug, Default)]
pub(crate) struct Holdings {
    by_range: BTreeMap<Key, Held>,
}

/// Where a remote selector stands: those under one entry of one size, by their first address. Whatever has an address in common with a range begins not
/// further before it than its own size.
type Key = (PolicyId, Size, u128, ChildSaId, usize);

/// Whether it is of IPv6, and how many bits the distance from its first to its last address has.
type Size = (bool, u32);

#[derive(Debug)]
struct Held {
    remote: TrafficSelector,
    local: Box<[TrafficSelector]>,
    /// Whose it is, canonical.
    by: Identity,
}

/// What somebody else holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Conflict<'a> {
    pub(crate) child: ChildSaId,
    pub(crate) by: &'a Identity,
    pub(crate) remote: TrafficSelector,
}

impl Holdings {
    /// A Child SA under an entry is there.
    pub(crate) fn add(&mut self, entry: PolicyId, child: ChildSaId, by: &Identity, selectors: &SelectorsNarrowed) {
        for (index, remote) in selectors.remote().iter().enumerate() {
            let held = Held { remote: *remote, local: selectors.local().into(), by: by.canonical() };
            self.by_range.insert(key(entry, child, index, remote), held);
        }
    }

    /// It is gone.
    pub(crate) fn remove(&mut self, entry: PolicyId, child: ChildSaId, selectors: &SelectorsNarrowed) {
        for (index, remote) in selectors.remote().iter().enumerate() {
            self.by_range.remove(&key(entry, child, index, remote));
        }
    }

    /// The first that has traffic in common with these selectors and is another peer's than `own`.
    pub(crate) fn conflict(&self, entry: PolicyId, selectors: &SelectorsNarrowed, own: &Identity) -> Option<Conflict<'_>> {
        let own = own.canonical();
        selectors.remote().iter().find_map(|wanted| {
            let (first, last) = numbers(wanted);
            let mut size = (wanted.addresses().first().is_ipv6(), 0);
            let family = size.0;
            // Of each size that there is, those that may reach into the range.
            while let Some(((_, found, ..), _)) =
                self.by_range.range(key_at(entry, size, 0)..=key_at(entry, (family, u32::MAX), u128::MAX)).next()
            {
                let distance = 1u128.checked_shl(found.1).unwrap_or(0).wrapping_sub(1);
                let reach = self.by_range.range(key_at(entry, *found, first.saturating_sub(distance))..=end_at(entry, *found, last));
                let met = reach
                    .into_iter()
                    .find(|(_, held)| held.remote.intersect(wanted).is_some() && meet(&held.local, selectors.local()) && held.by != own);
                if let Some(((.., child, _), held)) = met {
                    return Some(Conflict { child: *child, by: &held.by, remote: held.remote });
                }
                size = (family, found.1.saturating_add(1));
            }
            None
        })
    }
}

fn key(entry: PolicyId, child: ChildSaId, index: usize, remote: &TrafficSelector) -> Key {
    let (first, last) = numbers(remote);
    let bits = u128::BITS.saturating_sub(last.saturating_sub(first).leading_zeros());
    (entry, (remote.addresses().first().is_ipv6(), bits), first, child, index)
}

const fn key_at(entry: PolicyId, size: Size, first: u128) -> Key {
    (entry, size, first, ChildSaId(0), 0)
}

const fn end_at(entry: PolicyId, size: Size, first: u128) -> Key {
    (entry, size, first, ChildSaId(u64::MAX), usize::MAX)
}

fn numbers(selector: &TrafficSelector) -> (u128, u128) {
    let number = |address| match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => u128::from(address),
    };
    (number(selector.addresses().first()), number(selector.addresses().last()))
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use ike_wire::TrafficSelectors;
    use proptest::prelude::*;

    use super::*;
    use crate::negotiate::narrow;

    fn selectors(local: &str, remote: &str) -> SelectorsNarrowed {
        let [local, remote]: [Vec<TrafficSelector>; 2] = [local, remote].map(|text| alloc::vec![text.parse().unwrap()]);
        let [sent_local, sent_remote]: [TrafficSelectors; 2] = [&local, &remote].map(|list| list.iter().copied().collect());
        narrow((&local, &remote), (&sent_local, &sent_remote)).unwrap()
    }

    const ENTRY: PolicyId = PolicyId(3);

    fn peer(number: u64) -> Identity {
        alloc::format!("peer-{number}.example").parse().unwrap()
    }

    fn held(all: &[(&str, &str)]) -> Holdings {
        let mut holdings = Holdings::default();
        for (number, (local, remote)) in (1..).zip(all) {
            holdings.add(ENTRY, ChildSaId(number), &peer(number), &selectors(local, remote));
        }
        holdings
    }

    #[test]
    fn only_traffic_that_both_have_is_a_conflict() {
        let holdings = held(&[("10.1.0.0/24", "10.4.0.0/24"), ("10.1.0.0/24", "10.4.1.7[udp/53]"), ("fd01::/64", "fd04::/64")]);
        let with =
            |local: &str, remote: &str| holdings.conflict(ENTRY, &selectors(local, remote), &peer(0)).map(|conflict| conflict.child.0);
        assert_eq!(with("10.1.0.0/16", "10.4.0.9"), Some(1));
        assert_eq!(with("10.1.0.0/16", "10.0.0.0/8"), Some(2));
        assert_eq!(with("10.1.1.0/24", "10.4.0.9"), None, "of other hosts here");
        assert_eq!(with("10.1.0.0/16", "10.4.1.7[tcp]"), None, "of another protocol");
        assert_eq!(with("10.1.0.0/16", "10.4.1.7[udp]"), Some(2));
        assert_eq!(with("10.1.0.9", "0.0.0.0/0[udp/53]"), Some(2));
        assert_eq!((with("fd01::9", "fd04::9"), with("fd01::/64", "fd05::/64")), (Some(3), None));
        assert_eq!(holdings.conflict(PolicyId(4), &selectors("10.1.0.0/24", "10.4.0.0/24"), &peer(0)), None, "under another entry");
        assert_eq!(holdings.conflict(ENTRY, &selectors("10.1.0.0/24", "10.4.0.0/24"), &peer(1)), None, "the peer's own");
    }

    #[test]
    fn what_is_gone_is_free() {
        let mut holdings = held(&[("10.1.0.0/24", "10.4.0.0/24")]);
        let wanted = selectors("10.1.0.0/24", "10.4.0.9");
        let conflict = holdings.conflict(ENTRY, &wanted, &peer(0)).unwrap();
        assert_eq!((conflict.by, conflict.remote.to_string()), (&peer(1), "10.4.0.0/24".into()));
        holdings.remove(ENTRY, ChildSaId(1), &selectors("10.1.0.0/24", "10.4.0.0/24"));
        assert_eq!(holdings.conflict(ENTRY, &wanted, &peer(0)), None);
        assert!(holdings.by_range.is_empty());
    }

    proptest! {
        /// Against a look at every one.
        #[test]
        fn whatever_overlaps_is_found(
            ranges in prop::collection::vec((0u32..64, 0u32..64), 0..12),
            wanted in (0u32..64, 0u32..64),
        ) {
            let text = |(a, b): (u32, u32)| {
                let [first, last] = [a.min(b), a.max(b)].map(|n| core::net::Ipv4Addr::from(0x0a04_0000 + n));
                alloc::format!("{first}-{last}")
            };
            let all: Vec<_> = ranges.iter().map(|range| text(*range)).collect();
            let holdings = held(&all.iter().map(|remote| ("10.1.0.0/24", remote.as_str())).collect::<Vec<_>>());
            let is_met = ranges.iter().any(|(a, b)| *a.min(b) <= wanted.0.max(wanted.1) && wanted.0.min(wanted.1) <= *a.max(b));
            prop_assert_eq!(holdings.conflict(ENTRY, &selectors("10.1.0.0/24", &text(wanted)), &peer(0)).is_some(), is_met);
        }
    }
}
