//! What ages: limits of SAs (RFC 4301 section 4.4.2.1; hard ones in octets and packets are kept by the workers, too), parked halves, lingering halves,
//! SAs nobody claims; and signs of life.

use std::collections::HashSet;

use culvert_proto::dataplane::v1;
use ipsec_types::{ChildSaId, Lifetime, Limits, SequenceNumbers};

use crate::clock;
use crate::command::{Command, WorkerId};
use crate::server::core::Core;
use crate::server::sad::Entry;

/// Life of an SA is reported once in this time.
const LIFE_MS: u64 = 1000;
/// From here on, an SA with 32-bit sequence numbers asks to be replaced: three quarters of what it can send.
const SEQUENCE_SOFT: u64 = 3 << 30;

/// SAs looked at in one go: what else the server has to do waits meanwhile.
const SLICE: usize = 1024;

/// What an SA is due for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    Remove,
    HardExpire,
    Fallback,
    SoftExpire,
    Life,
}

impl Core {
    /// Begins to look at every SA. One that has not got round yet goes on.
    pub(super) fn begin_sweep(&mut self) {
        self.sweep_from = self.sweep_from.or(Some(0));
        if self.claim_until_ms.is_some_and(|until| until <= self.now_ms) {
            tracing::warn!("no Claim within the grace period");
            self.remove_unclaimed(&[]);
        }
        self.expire_path_mtus();
    }

    /// Looks at some more of the SAs; true where there are others.
    pub(super) fn sweep(&mut self) -> bool {
        let Some(from) = self.sweep_from.take() else { return false };
        let now_ms = self.now_ms;
        let (mut due, mut dummies) = (Vec::new(), Vec::new());
        for (looked_at, (next, entry)) in (1..).zip(self.sad.entries_from(from).take(SLICE)) {
            self.sweep_from = (looked_at == SLICE).then_some(next);
            due.extend(entry.due(now_ms).map(|due| (entry.sa.id, due)));
            dummies.extend(entry.dummies_due(now_ms));
        }
        for (id, due) in due {
            match due {
                Due::Remove => self.remove(id),
                Due::HardExpire => self.expire_hard(id),
                Due::Fallback => self.activate(id),
                Due::SoftExpire => {
                    if let Some(entry) = self.sad.entry_mut(id) {
                        entry.soft_reported = true;
                        self.emit(v1::event::Event::SoftExpire(v1::SoftExpire { child_sa: id.0 }));
                    }
                }
                Due::Life => self.report_life(id),
            }
        }
        self.send_dummies(dummies);
        self.sweep_from.is_some()
    }

    /// A hard limit is reached: both halves end. That of one which the controller has retired is no news to it.
    pub(super) fn expire_hard(&mut self, id: ChildSaId) {
        let Some(entry) = self.sad.entry(id) else { return };
        let news = entry.remove_ms.is_none();
        self.remove(id);
        if news {
            tracing::info!(child_sa = %id, "hard limit reached");
            self.emit(v1::event::Event::HardExpire(v1::HardExpire { child_sa: id.0 }));
        }
    }

    /// The outbound half of an SA is about to end: those that wait to replace it do so at once, so that no packet finds neither. Where it
    /// was parked itself, they wait for what it waited for.
    pub(super) fn hand_over(&mut self, id: ChildSaId) {
        let Some(entry) = self.sad.entry_mut(id) else { return };
        let (active, predecessor) = (entry.sa.state.is_active(), entry.predecessor);
        for successor in std::mem::take(&mut entry.successors) {
            if active {
                if self.sad.entry(successor).is_some_and(|entry| entry.remove_ms.is_none()) {
                    self.activate(successor);
                }
                continue;
            }
            if let Some(successor) = self.sad.entry_mut(successor) {
                successor.predecessor = predecessor;
            }
            if let Some(predecessor) = predecessor.and_then(|id| self.sad.entry_mut(id)) {
                predecessor.successors.push(successor);
            }
        }
    }

    /// Takes an SA out of all tables.
    pub(super) fn remove(&mut self, id: ChildSaId) {
        self.hand_over(id);
        if let Some(entry) = self.sad.remove(id, self.now_ms) {
            let slot = entry.sa.slot;
            let _removed = self.workers.broadcast(WorkerId(0), |_| Command::Remove(slot));
        }
    }

    /// Lets the outbound half of an SA carry packets.
    pub(super) fn activate(&mut self, id: ChildSaId) {
        let Some(entry) = self.sad.entry_mut(id) else { return };
        entry.fallback_ms = None;
        entry.sa.state.activate();
        let policy = entry.policy;
        self.acquires.served(policy);
    }

    /// Removes the SAs of earlier controllers that are not among `claimed`, and takes those that are over.
    pub(super) fn remove_unclaimed(&mut self, claimed: &[u64]) {
        self.claim_until_ms = None;
        let claimed: HashSet<u64> = claimed.iter().copied().collect();
        let epoch = self.epoch;
        for id in self.sad.ids() {
            let Some(entry) = self.sad.entry_mut(id) else { continue };
            if claimed.contains(&id.0) {
                entry.epoch = epoch;
            } else if entry.epoch != epoch {
                tracing::info!(child_sa = %id, "nobody claims it: removed");
                self.remove(id);
            }
        }
    }

    fn report_life(&mut self, id: ChildSaId) {
        let now_ms = self.now_ms;
        let Some(entry) = self.sad.entry_mut(id) else { return };
        entry.life_packet_ms = entry.sa.state.last_inbound_ms();
        entry.life_reported_ms = now_ms;
        let age_ms = now_ms.saturating_sub(entry.life_packet_ms);
        self.emit(v1::event::Event::LastInbound(v1::LastInbound { child_sa: id.0, age_ms }));
    }
}

impl Entry {
    fn due(&self, now_ms: u64) -> Option<Due> {
        let passed = |at: Option<u64>| at.is_some_and(|at| at <= now_ms);
        if passed(self.remove_ms) {
            return Some(Due::Remove);
        }
        if self.reached(Lifetime::hard, now_ms) {
            return Some(Due::HardExpire);
        }
        if passed(self.fallback_ms) {
            return Some(Due::Fallback);
        }
        if !self.soft_reported && self.remove_ms.is_none() && (self.reached(Lifetime::soft, now_ms) || self.runs_out_of_numbers()) {
            return Some(Due::SoftExpire);
        }
        let last = self.sa.state.last_inbound_ms();
        let news = last != 0 && last != self.life_packet_ms && now_ms.saturating_sub(self.life_reported_ms) >= LIFE_MS;
        news.then_some(Due::Life)
    }

    fn reached(&self, limits: impl Fn(&Lifetime) -> &Limits, now_ms: u64) -> bool {
        let Some(limits) = self.lifetime.as_deref().map(limits) else { return false };
        if limits.time.is_some_and(|time| now_ms.saturating_sub(self.installed_ms) >= clock::millis(time)) {
            return true;
        }
        // Reading counters is what a look at an SA costs most.
        if limits.octets.is_none() && limits.packets.is_none() {
            return false;
        }
        let ((in_packets, in_octets), (out_packets, out_octets)) = (self.sa.state.inbound(), self.sa.state.outbound());
        let over = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used >= limit);
        over(limits.octets, in_octets.max(out_octets)) || over(limits.packets, in_packets.max(out_packets))
    }

    fn runs_out_of_numbers(&self) -> bool {
        self.sa.outbound.sequence_numbers() == SequenceNumbers::Standard && self.sa.outbound.last_taken() >= SEQUENCE_SOFT
    }
}
