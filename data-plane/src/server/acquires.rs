//! Acquires that wait for an answer. They are state: a controller that subscribes anew hears of them again.

use std::collections::BTreeMap;

use culvert_proto::dataplane::v1;
use ipsec_types::{Flow, PolicyId};

use crate::table::PolicySlot;

/// How long an Acquire waits for an Install or a refusal.
pub(super) const TIMEOUT_MS: u64 = 60_000;
/// From then on, an Acquire that workers repeat is sent again: the controller may have been about to delete the SA that was its answer.
const REPEAT_MS: u64 = 2000;

/// At most one for each policy, whatever the number of workers and flows.
#[derive(Debug, Default)]
pub(super) struct Acquires {
    waiting: BTreeMap<PolicyId, Acquire>,
    last_id: u64,
}

/// One Acquire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Acquire {
    /// Names it to the controller.
    pub(super) id: u64,
    /// The policy.
    pub(super) policy: PolicyId,
    /// Its slot.
    pub(super) slot: PolicySlot,
    /// The packet that asked first.
    pub(super) flow: Flow,
    started_ms: u64,
    /// When the subscriber was told last.
    sent_ms: Option<u64>,
}

impl Acquires {
    /// A worker asks for what nobody has asked for yet.
    pub(super) fn ask(&mut self, policy: PolicyId, slot: PolicySlot, flow: Flow, now_ms: u64) {
        let last_id = &mut self.last_id;
        self.waiting.entry(policy).or_insert_with(|| {
            *last_id += 1;
            Acquire { id: *last_id, policy, slot, flow, started_ms: now_ms, sent_ms: None }
        });
    }

    /// A worker asks. False where no Acquire of the policy waits; one that does is sent again where the last time is long ago.
    pub(super) fn repeat(&mut self, policy: PolicyId, now_ms: u64) -> bool {
        let Some(acquire) = self.waiting.get_mut(&policy) else { return false };
        acquire.sent_ms = acquire.sent_ms.filter(|at| now_ms.saturating_sub(*at) < REPEAT_MS);
        true
    }

    /// An SA of the policy carries packets: whatever waited is served.
    pub(super) fn served(&mut self, policy: PolicyId) {
        self.waiting.remove(&policy);
    }

    /// The controller refuses this Acquire.
    pub(super) fn take(&mut self, id: u64) -> Option<Acquire> {
        let policy = self.waiting.values().find(|acquire| acquire.id == id)?.policy;
        self.waiting.remove(&policy)
    }

    /// The Acquire of a policy that waits for an answer.
    pub(super) fn waiting(&self, policy: PolicyId) -> Option<u64> {
        self.waiting.get(&policy).map(|acquire| acquire.id)
    }

    /// Every Acquire is news to a new subscriber.
    pub(super) fn resend(&mut self) {
        self.waiting.values_mut().for_each(|acquire| acquire.sent_ms = None);
    }

    /// Offers each Acquire that the subscriber is to hear of to `send`, which says whether it was sent; forgets those nobody answered.
    pub(super) fn poll(&mut self, now_ms: u64, mut send: impl FnMut(v1::Acquire) -> bool) {
        self.waiting.retain(|_, acquire| now_ms.saturating_sub(acquire.started_ms) < TIMEOUT_MS);
        for acquire in self.waiting.values_mut().filter(|acquire| acquire.sent_ms.is_none()) {
            let sent = send(v1::Acquire { id: acquire.id, policy: acquire.policy.0, flow: Some(acquire.flow.into()) });
            acquire.sent_ms = sent.then_some(now_ms);
        }
    }

    /// Keeps those whose policy is in force.
    pub(super) fn retain(&mut self, in_force: impl Fn(PolicyId) -> bool) {
        self.waiting.retain(|policy, _| in_force(*policy));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow() -> Flow {
        Flow { source: [10, 0, 0, 1].into(), destination: [10, 0, 1, 1].into(), protocol: 1, source_port: None, destination_port: None }
    }

    fn sent(acquires: &mut Acquires, now_ms: u64) -> Vec<(u64, u32)> {
        let mut sent = Vec::new();
        acquires.poll(now_ms, |a| {
            sent.push((a.id, a.policy));
            true
        });
        sent
    }

    #[test]
    fn several_workers_make_one_acquire_that_is_sent_once_to_each_subscriber() {
        let mut acquires = Acquires::default();
        acquires.ask(PolicyId(7), PolicySlot(0), flow(), 0);
        acquires.ask(PolicyId(7), PolicySlot(0), flow(), 5);
        assert_eq!(sent(&mut acquires, 5), [(1, 7)]);
        assert_eq!(sent(&mut acquires, 6), []);
        acquires.resend();
        assert_eq!(sent(&mut acquires, 7), [(1, 7)]);
        acquires.served(PolicyId(7));
        acquires.resend();
        assert_eq!(sent(&mut acquires, 8), []);
    }

    #[test]
    fn what_could_not_be_sent_is_offered_again_until_the_time_is_up() {
        let mut acquires = Acquires::default();
        acquires.ask(PolicyId(7), PolicySlot(0), flow(), 0);
        acquires.poll(1, |_| false);
        assert_eq!(sent(&mut acquires, TIMEOUT_MS - 1), [(1, 7)]);
        acquires.resend();
        assert_eq!(sent(&mut acquires, TIMEOUT_MS), []);
        assert_eq!(acquires.take(1), None);
    }
}
