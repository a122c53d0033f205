//! The Security Policy Database (RFC 4301 section 4.4.1).

use ipsec_types::{Dscp, DscpSet, Flow, Policy, PolicyAction, PolicyId, TrafficSelector};

use crate::table::PolicySlot;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpdEntry {
    /// The policy's identifier.
    pub id: PolicyId,
    /// Its slot.
    pub slot: PolicySlot,
    /// What happens to packets it selects.
    pub action: PolicyAction,
    local: Box<[TrafficSelector]>,
    remote: Box<[TrafficSelector]>,
    dscp: DscpSet,
}

/// The ordered list of entries. The first that selects a packet decides.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spd {
    entries: Box<[SpdEntry]>,
}

impl Spd {
    /// The database of these policies, ordered by priority; among equals the order given stays.
    pub fn new(policies: impl IntoIterator<Item = (PolicySlot, Policy)>) -> Self {
        let mut policies: Vec<_> = policies.into_iter().collect();
        policies.sort_by_key(|(_, policy)| policy.priority);
        let entry = |(slot, policy): (PolicySlot, Policy)| SpdEntry {
            id: policy.id,
            slot,
            action: policy.action,
            local: policy.local.into_boxed_slice(),
            remote: policy.remote.into_boxed_slice(),
            dscp: policy.dscp,
        };
        Self { entries: policies.into_iter().map(entry).collect() }
    }

    /// All entries, the first to be asked first.
    pub fn entries(&self) -> &[SpdEntry] {
        &self.entries
    }

    /// The entry for a packet on its way out: its source is local, and its class one of the entry's (RFC 4301 section 4.1).
    #[inline]
    pub fn outbound(&self, flow: &Flow, dscp: Dscp) -> Option<&SpdEntry> {
        self.entries.iter().find(|entry| entry.selects_outbound(flow, dscp))
    }

    /// The entry for a packet that came in in the clear: its destination is local, and its class whatever its sender says.
    #[inline]
    pub fn inbound(&self, flow: &Flow) -> Option<&SpdEntry> {
        self.entries.iter().find(|entry| entry.selects_inbound(flow))
    }
}

impl SpdEntry {
    #[inline]
    fn selects_outbound(&self, flow: &Flow, dscp: Dscp) -> bool {
        self.local.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
            && self.remote.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
            && self.dscp.contains(dscp)
    }

    #[inline]
    fn selects_inbound(&self, flow: &Flow) -> bool {
        self.local.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
            && self.remote.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use ipsec_types::{AddressRange, PortRange};
    use proptest::prelude::*;

    use super::*;

    /// A selector and a packet's side of it as plain numbers, for a search written without the types under test.
    type Side = ((u8, u8), u8, (u16, u16));

    /// Few addresses, protocols and ports, so that everything overlaps.
    fn side() -> impl Strategy<Value = Side> {
        let range = (0u8..8, 0u8..8).prop_map(|(a, b)| (a.min(b), a.max(b)));
        let ports = prop_oneof![Just((0, u16::MAX)), (0u16..4, 0u16..4).prop_map(|(a, b)| (a.min(b), a.max(b)))];
        (range, prop_oneof![Just(0), Just(6), Just(17)], ports)
            .prop_map(|(range, protocol, ports)| (range, protocol, if protocol == 0 { (0, u16::MAX) } else { ports }))
    }

    fn address(last: u8) -> std::net::IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn selector(&((first, last), protocol, ports): &Side) -> TrafficSelector {
        let range = AddressRange::new(address(first), address(last)).unwrap();
        TrafficSelector::new(range, protocol, PortRange::new(ports.0, ports.1).unwrap()).unwrap()
    }

    fn selects(sides: &[Side], host: u8, protocol: u8, port: u16) -> bool {
        sides.iter().any(|&((first, last), wanted, (low, high))| {
            (first..=last).contains(&host) && (wanted == 0 || wanted == protocol) && (low..=high).contains(&port)
        })
    }

    proptest! {
        #[test]
        fn the_lowest_priority_value_that_selects_decides_in_either_direction(
            policies in prop::collection::vec((0u32..4, prop::collection::vec(side(), 0..3), prop::collection::vec(side(), 0..3), 1u8..16), 0..12),
            (local, remote, protocol) in (0u8..8, 0u8..8, prop_oneof![Just(1u8), Just(6), Just(17)]),
            (local_port, remote_port, class) in (0u16..4, 0u16..4, 0u8..4),
        ) {
            let spd = Spd::new((0..).zip(&policies).map(|(n, (priority, locals, remotes, classes))| {
                let (local, remote) = (locals.iter().map(selector).collect(), remotes.iter().map(selector).collect());
                let policy = Policy {
                    id: PolicyId(n.into()),
                    name: String::new(),
                    priority: *priority,
                    action: PolicyAction::Discard,
                    local,
                    remote,
                    dscp: (0..4).filter(|class| classes >> class & 1 == 1).filter_map(Dscp::new).collect(),
                };
                (PolicySlot(n), policy)
            }));
            let naive = |classes_count: bool| (0..4).find_map(|wanted| {
                (0..).zip(&policies).find_map(|(n, (priority, locals, remotes, classes))| {
                    let selected = selects(locals, local, protocol, local_port) && selects(remotes, remote, protocol, remote_port);
                    let of_class = !classes_count || [1, 2, 4, 8][usize::from(class)] & classes != 0;
                    (*priority == wanted && selected && of_class).then_some(PolicySlot(n))
                })
            });
            let out = Flow { source: address(local), destination: address(remote), protocol, source_port: Some(local_port), destination_port: Some(remote_port) };
            let into = Flow { source: address(remote), destination: address(local), protocol, source_port: Some(remote_port), destination_port: Some(local_port) };
            prop_assert_eq!(spd.outbound(&out, Dscp::new(class).unwrap()).map(|entry| entry.slot), naive(true));
            prop_assert_eq!(spd.inbound(&into).map(|entry| entry.slot), naive(false));
        }
    }
}
