//! The Security Policy Database (RFC 4301 section 4.4.1).

use ipsec_types::{Flow, Policy, PolicyAction, PolicyId, TrafficSelector};

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
        };
        Self { entries: policies.into_iter().map(entry).collect() }
    }

    /// The entry for a packet on its way out: its source is local.
    #[inline]
    pub fn outbound(&self, flow: &Flow) -> Option<&SpdEntry> {
        self.entries.iter().find(|entry| entry.selects_outbound(flow))
    }

    /// The entry for a packet that came in in the clear: its destination is local.
    #[inline]
    pub fn inbound(&self, flow: &Flow) -> Option<&SpdEntry> {
        self.entries.iter().find(|entry| entry.selects_inbound(flow))
    }

    /// All entries, in order.
    pub fn entries(&self) -> &[SpdEntry] {
        &self.entries
    }
}

impl SpdEntry {
    #[inline]
    fn selects_outbound(&self, flow: &Flow) -> bool {
        self.local.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
            && self.remote.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
    }

    #[inline]
    fn selects_inbound(&self, flow: &Flow) -> bool {
        self.local.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
            && self.remote.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
    }
}
