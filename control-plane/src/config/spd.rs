//! The order of the SPD's entries, and which of them no packet ever reaches.

use std::collections::BTreeMap;
use std::ops::Range;

use ike::config::{Child, Config, Connection, overlap};
use ipsec_types::{DscpSet, Policy, PolicyId, TrafficSelector};

use super::diagnostic::Report;
use super::section::Section;

/// Numbers the entries of the SPD as they are read.
#[derive(Debug, Default)]
pub(super) struct Spd {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    span: Range<usize>,
    path: String,
    /// As it was given.
    priority: Option<u32>,
}

impl Spd {
    pub(super) fn enter(&mut self, section: &Section<'_>, priority: Option<u32>) -> PolicyId {
        self.entries.push(Entry { span: section.span(), path: section.own_path().to_owned(), priority });
        PolicyId(u32::try_from(self.entries.len()).unwrap_or(u32::MAX))
    }

    /// Entries without a priority are looked at in the order of the file: 1000, 1010, and so on.
    pub(super) fn assign_priorities(&self, connections: &mut [Connection], policies: &mut [Policy]) {
        let priority_of = |id| {
            self.entry(id).map_or(u32::MAX, |own| {
                let before = self.entries.iter().filter(|other| other.span.start < own.span.start).count();
                own.priority.unwrap_or_else(|| u32::try_from(1000 + 10 * before).unwrap_or(u32::MAX))
            })
        };
        for child in connections.iter_mut().flat_map(|connection| &mut connection.children) {
            child.priority = priority_of(child.policy);
        }
        for policy in policies {
            policy.priority = priority_of(policy.id);
        }
    }

    /// Warns of entries all of whose traffic is selected by entries before them.
    pub(super) fn warn_of_hidden(&self, policies: &[Policy], report: &Report<'_>) {
        let mut ordered: Vec<&Policy> = policies.iter().collect();
        // As the data plane does: among equals the order given stays.
        ordered.sort_by_key(|policy| policy.priority);
        for (place, policy) in ordered.iter().enumerate() {
            let earlier = ordered.get(..place).unwrap_or_default();
            let (Some(hiders), Some(entry)) = (hidden_by(policy, earlier), self.entry(policy.id)) else { continue };
            let names: Vec<_> = hiders.iter().filter_map(|hider| Some(self.entry(hider.id)?.path.as_str())).collect();
            let verb = if names.len() == 1 { "selects" } else { "select" };
            let problem = format!("no packet reaches this entry: {} {verb} all of its traffic before it", names.join(" and "));
            let below = hiders.iter().map(|hider| hider.priority).min().unwrap_or_default();
            report.warn(&entry.span, &entry.path, problem, format!("narrow what hides it, or give it a priority below {below}"));
        }
    }

    /// Notes children of two peers that select the same packets, where nothing says whose they are: neither the order that a `priority` gives, nor what
    /// the peers bring along or get from a pool.
    pub(super) fn refuse_overlaps(&self, config: &Config, report: &Report<'_>) {
        let spd: BTreeMap<PolicyId, Policy> = config.spd().into_iter().map(|policy| (policy.id, policy)).collect();
        let said = |child: &Child| self.entry(child.policy).is_some_and(|entry| entry.priority.is_some());
        let all = config.connections.iter().flat_map(|of| of.children.iter().filter(|child| !said(child)).map(move |child| (of, child)));
        let all: Vec<_> = all.filter_map(|(of, child)| Some((of, child, spd.get(&config.entry(child.policy))?))).collect();
        for (place, (of, child, policy)) in all.iter().enumerate() {
            let earlier = all.get(..place).unwrap_or_default().iter();
            let mut others =
                earlier.filter(|(other, _, entry)| entry.id != policy.id && overlap(entry, policy) && !is_same_peer(other, of));
            let (Some((_, other, _)), Some(entry)) = (others.next(), self.entry(child.policy)) else { continue };
            let name = self.entry(other.policy).map(|entry| entry.path.as_str()).unwrap_or_default();
            let (local, remote) =
                (common(&other.local_selectors, &child.local_selectors), common(&other.remote_selectors, &child.remote_selectors));
            let problem = format!("{name}, of another peer, selects some of the same packets: {local} === {remote}");
            let remedy = if other.remote_dynamic && child.remote_dynamic {
                // An order would send packets for a lease of the later one to the earlier one.
                "give both connections the same pools in the same order, both children networks of the same families in local_ts, and let no policy for \
                 some of these packets stand between them; or give each connection pools of its own"
            } else {
                "let the selectors of both have nothing in common, or write priority in one of them: the lower is looked at first"
            };
            report.add(&entry.span, &entry.path, problem, remedy);
        }
    }

    fn entry(&self, PolicyId(id): PolicyId) -> Option<&Entry> {
        self.entries.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }
}

/// Whether two connections are for one peer, which may have its packets in either.
fn is_same_peer(a: &Connection, b: &Connection) -> bool {
    match (&a.remote_identity, &b.remote_identity) {
        (Some(a), Some(b)) => a.admits(b) || b.admits(a),
        _ => a.remote_addrs.iter().any(|address| b.remote_addrs.contains(address)),
    }
}

fn common(a: &[TrafficSelector], b: &[TrafficSelector]) -> String {
    let both = a.iter().flat_map(|a| b.iter().filter_map(|b| a.intersect(b)));
    both.map(|selector| selector.to_string()).collect::<Vec<_>>().join(" ")
}

/// Traffic as ranges: address family, local and remote address, protocol, local and remote port.
type Cube = [(u128, u128); 6];

/// Pieces of an entry's traffic that are looked at; with more it counts as reachable.
const MOST_PIECES: usize = 4096;

/// The entries that together select all of a policy's traffic before it; `None` where something is left.
fn hidden_by<'p>(policy: &Policy, earlier: &[&'p Policy]) -> Option<Vec<&'p Policy>> {
    let mut left = cubes(policy);
    let mut hiders = Vec::new();
    // One that takes some of the policy's code points alone leaves something of all its traffic.
    for other in earlier.iter().filter(|other| policy.dscp.without(other.dscp) == DscpSet::EMPTY && overlap(other, policy)) {
        let before = left.clone();
        for cut in cubes(other) {
            left = left.iter().flat_map(|cube| without(cube, &cut)).collect();
            if left.len() > MOST_PIECES {
                return None;
            }
        }
        if left != before {
            hiders.push(*other);
        }
        if left.is_empty() {
            return Some(hiders);
        }
    }
    None
}

/// Any local selector with any remote one.
fn cubes(policy: &Policy) -> Vec<Cube> {
    policy.local.iter().flat_map(|local| policy.remote.iter().filter_map(|remote| cube(local, remote))).collect()
}

/// `None` where both have no packet in common.
fn cube(local: &TrafficSelector, remote: &TrafficSelector) -> Option<Cube> {
    let addresses = |selector: &TrafficSelector| {
        let number = |address| match address {
            std::net::IpAddr::V4(address) => (4, u128::from(u32::from(address))),
            std::net::IpAddr::V6(address) => (6, u128::from(address)),
        };
        let ((family, first), (_, last)) = (number(selector.addresses().first()), number(selector.addresses().last()));
        (family, (first, last))
    };
    let ports = |selector: &TrafficSelector| (selector.ports().first().into(), selector.ports().last().into());
    let protocol = match (local.protocol(), remote.protocol()) {
        (0, 0) => (0, u8::MAX.into()),
        (0, one) | (one, 0) => (one.into(), one.into()),
        (one, other) => (one == other).then_some((one.into(), one.into()))?,
    };
    let ((family, locals), (other_family, remotes)) = (addresses(local), addresses(remote));
    (family == other_family).then_some([(family, family), locals, remotes, protocol, ports(local), ports(remote)])
}

/// What is left of a cube.
fn without(cube: &Cube, cut: &Cube) -> Vec<Cube> {
    if cube.iter().zip(cut).any(|(own, other)| own.1 < other.0 || other.1 < own.0) {
        return vec![*cube];
    }
    let (mut pieces, mut rest) = (Vec::new(), *cube);
    for (place, other) in cut.iter().enumerate() {
        let Some(own) = rest.get(place).copied() else { continue };
        let mut piece = |range| {
            let mut piece = rest;
            if let Some(at) = piece.get_mut(place) {
                *at = range;
                pieces.push(piece);
            }
        };
        if own.0 < other.0 {
            piece((own.0, other.0 - 1));
        }
        if own.1 > other.1 {
            piece((other.1 + 1, own.1));
        }
        if let Some(at) = rest.get_mut(place) {
            *at = (own.0.max(other.0), own.1.min(other.1));
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use ipsec_types::PolicyAction;
    use proptest::prelude::*;

    use super::*;

    fn policy(id: u32, local: &[&str], remote: &[&str]) -> Policy {
        let selectors = |list: &[&str]| list.iter().map(|text| text.parse().unwrap()).collect();
        let (local, remote) = (selectors(local), selectors(remote));
        Policy { id: PolicyId(id), name: id.to_string(), priority: id, action: PolicyAction::Discard, local, remote, dscp: DscpSet::ALL }
    }

    fn hiders(policy: &Policy, earlier: &[&Policy]) -> Option<Vec<u32>> {
        hidden_by(policy, earlier).map(|all| all.iter().map(|hider| hider.id.0).collect())
    }

    #[test]
    fn an_entry_is_hidden_by_one_or_by_several_together() {
        let all = policy(1, &["10.1.0.0/24"], &["10.2.0.0/24"]);
        let (low, high) = (policy(2, &["10.0.0.0/8"], &["10.2.0.0/25"]), policy(3, &["10.0.0.0/8"], &["10.2.0.128/25"]));
        let elsewhere = policy(4, &["10.1.0.0/24"], &["10.3.0.0/24"]);
        assert_eq!(hiders(&all, &[&low]), None);
        assert_eq!(hiders(&all, &[&low, &elsewhere, &high]), Some(vec![2, 3]));
        assert_eq!(hiders(&policy(5, &["10.1.0.7[tcp/22]"], &["10.2.0.9"]), &[&all]), Some(vec![1]));
        assert_eq!(hiders(&all, &[&policy(6, &["10.1.0.0/24[udp]"], &["10.2.0.0/24"])]), None);
        let (below, above) =
            (policy(7, &["10.1.0.0/24[tcp/0-22]"], &["10.2.0.0/24"]), policy(8, &["10.1.0.0/24[tcp/23-65535]"], &["0.0.0.0/0"]));
        assert_eq!(hiders(&policy(9, &["10.1.0.0/24[tcp]"], &["10.2.0.0/24"]), &[&below, &above]), Some(vec![7, 8]));
    }

    #[test]
    fn the_families_are_apart() {
        let both = policy(1, &["0.0.0.0/0", "::/0"], &["0.0.0.0/0", "::/0"]);
        let six = policy(2, &["fd00:1::/64"], &["fd00:2::/64"]);
        assert_eq!(hiders(&six, &[&both]), Some(vec![1]));
        assert_eq!(hiders(&both, &[&policy(3, &["0.0.0.0/0"], &["0.0.0.0/0"])]), None);
    }

    proptest! {
        /// Against a search of every packet there is.
        #[test]
        fn nothing_that_is_left_is_lost(
            cube in prop::array::uniform6((0u128..4, 0u128..4)),
            cut in prop::array::uniform6((0u128..4, 0u128..4)),
            packet in prop::array::uniform6(0u128..4),
        ) {
            let ordered = |cube: Cube| cube.map(|(a, b)| (a.min(b), a.max(b)));
            let (cube, cut) = (ordered(cube), ordered(cut));
            let holds = |cube: &Cube| cube.iter().zip(&packet).all(|(range, at)| range.0 <= *at && *at <= range.1);
            let found = without(&cube, &cut).iter().filter(|piece| holds(piece)).count();
            prop_assert_eq!(found, usize::from(holds(&cube) && !holds(&cut)));
        }
    }
}
