use alloc::string::ToString;

use ipsec_types::DscpSet;

use super::*;

fn policy(id: u32, local: &str, remote: &str) -> Policy {
    let [local, remote] = [local, remote].map(|text| alloc::vec![text.parse().unwrap()]);
    Policy { id: PolicyId(id), name: id.to_string(), priority: id, action: PolicyAction::Protect, local, remote, dscp: DscpSet::ALL }
}

fn group(id: u32, members: &[u32]) -> Group {
    Group { id: PolicyId(id), members: members.iter().copied().map(PolicyId).collect() }
}

fn entries(groups: Vec<Group>) -> Entries {
    let of = groups.iter().enumerate().flat_map(|(place, group)| group.members.iter().map(move |member| (*member, place))).collect();
    Entries { groups, of }
}

#[test]
fn one_joins_those_with_the_same_addresses_and_nothing_of_its_traffic_in_between() {
    let first = policy(1, "10.1.0.0/24", "10.9.0.0/24");
    let joins = |between: Policy, last: Policy| may_join(&[first.clone(), between, last], 0, 2, |other| other == 0);
    let last = || policy(3, "10.1.0.0/16", "10.9.0.0/24");
    assert!(joins(policy(2, "10.8.0.0/16", "10.9.0.0/24"), last()), "other traffic");
    assert!(!joins(policy(2, "10.1.7.0/24", "10.9.0.0/16"), last()), "an operator's word about some of it");
    assert!(!joins(policy(2, "10.8.0.0/16", "10.9.0.0/24"), policy(3, "10.1.0.0/16", "10.9.0.0/25")), "other addresses");
    let classed = Policy { dscp: DscpSet::EMPTY, ..last() };
    assert!(!joins(policy(2, "10.8.0.0/16", "10.9.0.0/24"), classed), "other packets");
    assert!(may_join(&[first.clone(), policy(2, "10.1.0.0/16", "10.9.0.0/24"), last()], 0, 2, |other| other < 2), "its own kind");
}

/// What the SAs in the data plane name stays; a child's own number is never another's entry while it is there.
#[test]
fn entries_keep_their_names() {
    let before = Config { entries: entries(alloc::vec![group(1, &[1, 2, 3])]), ..Config::default() };
    let named = |groups| {
        let mut now = entries(groups);
        now.keep_names(&before);
        now.groups.iter().map(|group| group.id.0).collect::<Vec<_>>()
    };
    assert_eq!(named(alloc::vec![group(1, &[1, 2, 3])]), [1]);
    assert_eq!(named(alloc::vec![group(2, &[2, 3])]), [1], "the first is gone");
    assert_eq!(named(alloc::vec![group(2, &[2]), group(1, &[1, 3])]), [2, 1], "the first stands elsewhere");
    assert_eq!(named(alloc::vec![group(2, &[2]), group(3, &[3])]), [1, 3]);
    assert_eq!(named(alloc::vec![group(7, &[7, 2])]), [1]);
}
