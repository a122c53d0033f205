//! What outlives a restart: of the data plane, whose SAs are lost; of this control plane, whose SAs are still there; of a peer.

use alloc::collections::VecDeque;
use core::time::Duration;

use ipsec_types::{AddressRange, ChildSaId};

use super::*;
use crate::child::{ChildPhase, LINGER, TAKEN_OVER};
use crate::io::InstalledChildSa;
use crate::orphan::Orphan;
use crate::peers::Superseded;
use crate::pool::Lease;
use crate::v2::State;
use crate::want::Waiter;

/// IKE SAs whose Child SAs are lost begin to replace them, so many at a time and so often: a thousand in a second.
const BATCH: usize = 20;
const PAUSE: Duration = Duration::from_millis(20);
/// How long Child SAs of an earlier controller wait for successors.
const INHERITED: Duration = Duration::from_secs(30);

/// What is still to be done.
#[derive(Debug, Default)]
pub(super) struct Recovery {
    /// IKE SAs with lost Child SAs.
    lost: VecDeque<IkeSaId>,
    next_batch: Option<Instant>,
    /// IKE SAs that others have taken the place of, in order of their time.
    unwanted: VecDeque<(Instant, IkeSaId)>,
}

impl Recovery {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.next_batch.into_iter().chain(self.unwanted.front().map(|(at, _)| *at)).min()
    }

    pub(super) fn shift(&mut self, pause: Duration) {
        self.next_batch = self.next_batch.map(|at| at + pause);
        self.unwanted.iter_mut().for_each(|(at, _)| *at = *at + pause);
    }
}

impl Endpoint {
    /// The data plane has lost every SA. Their keys must not be used again, as the sequence numbers would begin anew: under each IKE SA
    /// the same Child SAs are negotiated afresh, and the peer is told to delete the old ones.
    pub(super) fn lose_child_sas(&mut self, now: Instant) {
        self.shared.orphans.retain(|_| false);
        for sa in self.sas.values_mut() {
            let State::Established(established) = &mut sa.state else { continue };
            let installed =
                established.children.iter_mut().filter(|child| matches!(child.phase, ChildPhase::Installed | ChildPhase::Replaced));
            if installed.map(|child| child.phase = ChildPhase::Lost).count() > 0 {
                self.recovery.lost.push_back(sa.core.id);
            }
        }
        for sa in self.v1.values_mut() {
            if sa.lose_children() {
                self.recovery.lost.push_back(sa.core.id);
            }
        }
        self.recovery.next_batch = (!self.recovery.lost.is_empty()).then_some(now);
    }

    /// This process is new and the data plane is not. Its Child SAs, where the configuration still wants them, carry packets until they
    /// have successors. Gives back what is to be claimed.
    pub(super) fn inherit(&mut self, now: Instant, there: &[InstalledChildSa]) -> Vec<ChildSaId> {
        let mut retiring = Vec::new();
        for child_sa in there {
            if child_sa.retiring {
                retiring.push(child_sa.id);
                continue;
            }
            let serves = |(connection, index): &(ConnectionRef, usize)| {
                let is_peer = connection.remote_addrs.is_empty() || connection.remote_addrs.contains(&child_sa.remote);
                is_peer && connection.child(*index).is_some_and(|child| child.covers(child_sa))
            };
            let found = ConnectionRef::of_entry(&self.shared.config, child_sa.policy).find(serves);
            let Some((connection, policy)) =
                found.and_then(|(connection, index)| Some((connection.clone(), connection.child(index)?.policy)))
            else {
                continue;
            };
            let leases = self.keep_addresses(&connection, child_sa);
            self.shared.orphans.adopt(Orphan {
                id: child_sa.id,
                entry: child_sa.policy,
                local: child_sa.local_selectors.clone(),
                remote: child_sa.remote_selectors.clone(),
                until: now + INHERITED,
                _leases: leases,
            });
            // Where the peer cannot be called, it has to call.
            if !connection.remote_addrs.is_empty() {
                self.shared.wants.add(now, policy, Waiter::Heir);
            }
        }
        retiring
    }

    /// Keeps the addresses of a connection's pools that a Child SA is for.
    fn keep_addresses(&mut self, connection: &ConnectionRef, child_sa: &InstalledChildSa) -> Vec<Lease> {
        let single = |range: &AddressRange| (range.first() == range.last()).then_some(range.first());
        let addresses = child_sa.remote_selectors.iter().filter_map(|selector| single(selector.addresses()));
        addresses
            .filter_map(|address| connection.pools.iter().find_map(|pool| self.shared.leases.keep(pool, address, child_sa.remote)))
            .collect()
    }

    /// What is due.
    pub(super) fn recover(&mut self, now: Instant, random: &mut dyn Random) {
        while let Some(superseded) = self.shared.peers.superseded.pop_front() {
            match superseded {
                Superseded::Forgotten(id) => self.with(now, random, id, |sa, cx| sa.forsake(cx)),
                Superseded::Unwanted(id) => self.recovery.unwanted.push_back((now + TAKEN_OVER, id)),
            }
        }
        if self.shared.attachment.is_none() {
            return;
        }
        while let Some((_, id)) = self.recovery.unwanted.pop_front_if(|(at, _)| *at <= now) {
            self.with(now, random, id, |sa, cx| sa.terminate(cx, None));
        }
        for child in self.shared.orphans.ended(now) {
            self.shared.output(Output::Retire { child, linger: LINGER });
        }
        if self.recovery.next_batch.is_some_and(|at| at <= now) {
            for id in self.recovery.lost.drain(..BATCH.min(self.recovery.lost.len())).collect::<Vec<_>>() {
                self.with(now, random, id, |sa, cx| sa.replace_lost(cx));
                self.with_v1(now, random, id, |sa, cx| sa.replace_lost(cx));
            }
            self.recovery.next_batch = (!self.recovery.lost.is_empty()).then(|| now + PAUSE);
        }
    }
}
