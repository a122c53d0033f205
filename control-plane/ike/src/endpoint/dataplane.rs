//! News from the data plane.

use alloc::string::String;
use core::time::Duration;

use ipsec_types::{ChildSaId, Flow};

use super::*;
use crate::child::ChildPhase;
use crate::config::StartAction;
use crate::context::Attachment;
use crate::io::{Dataplane, Event, InstalledChildSa};
use crate::v1::{IkeSa as IkeSaV1, Task as TaskV1};
use crate::v2::State;
use crate::v2::common::Task;
use crate::want::{Admission, Waiter};

/// When a flow whose policy has no peer to call may ask again.
const LONG: Duration = Duration::from_secs(60);

impl Endpoint {
    pub(super) fn on_dataplane(&mut self, now: Instant, random: &mut dyn Random, news: Dataplane) {
        match news {
            Dataplane::Attached { boot, epoch, child_sas, local_addresses } => {
                self.on_attached(now, random, Attachment { boot, epoch, local_addresses }, &child_sas);
            }
            Dataplane::Detached => {
                self.shared.attachment = None;
                self.detached_since.get_or_insert(now);
            }
            Dataplane::Acquire { id, policy, flow } => self.on_acquire(now, id, policy, flow),
            Dataplane::SoftExpire(child) => self.on_soft_expire(now, random, child),
            Dataplane::HardExpire(child) => self.on_hard_expire(now, random, child),
            Dataplane::PeerMoved { child, remote } => {
                self.for_child(now, random, child, |sa, cx| sa.on_peer_moved(cx, remote));
                self.for_v1_child(now, random, child, |sa, cx| sa.on_peer_moved(cx, remote));
            }
            Dataplane::SpiMiss { local, remote, spi } => self.on_spi_miss(now, random, (local, remote), spi),
            Dataplane::LastInbound { child, age } => {
                let at = Instant::from_nanos(now.as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)));
                self.for_child(now, random, child, |sa, _| sa.core.last_inbound = sa.core.last_inbound.max(at));
                self.for_v1_child(now, random, child, |mut sa, _| {
                    sa.core.last_inbound = sa.core.last_inbound.max(at);
                    sa
                });
            }
        }
    }

    /// A limit is near, or the sequence numbers are: the SA is replaced.
    fn on_soft_expire(&mut self, now: Instant, random: &mut dyn Random, child: ChildSaId) {
        self.shared.count("soft_expires");
        self.for_child(now, random, child, |sa, cx| {
            let task = Task::RekeyChild { child, request: None };
            if !sa.core.tasks.contains(&task) {
                sa.core.tasks.push_back(task);
            }
            sa.go_on(cx);
        });
        self.for_v1_child(now, random, child, |sa, cx| sa.queue(cx, TaskV1::RekeyChild { child, request: None }));
    }

    /// The SA carries nothing any more: the peer is told, and what the configuration wants at once is wanted again.
    fn on_hard_expire(&mut self, now: Instant, random: &mut dyn Random, child: ChildSaId) {
        self.for_child(now, random, child, |sa, cx| sa.on_hard_expire(cx, child));
        self.for_v1_child(now, random, child, |sa, cx| sa.on_hard_expire(cx, child));
    }

    fn for_child(&mut self, now: Instant, random: &mut dyn Random, child: ChildSaId, step: impl FnOnce(&mut IkeSa, &mut Context<'_>)) {
        if let Some(id) = self.shared.children.get(&child).copied() {
            self.with(now, random, id, step);
        }
    }

    fn for_v1_child(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        child: ChildSaId,
        step: impl FnOnce(IkeSaV1, &mut Context<'_>) -> IkeSaV1,
    ) {
        if let Some(id) = self.shared.children.get(&child).copied() {
            self.with_v1(now, random, id, step);
        }
    }

    fn on_attached(&mut self, now: Instant, random: &mut dyn Random, attachment: Attachment, there: &[InstalledChildSa]) {
        self.resume(now);
        let first = self.last_boot.is_none();
        let restarted = self.last_boot.is_some_and(|boot| boot != attachment.boot);
        self.last_boot = Some(attachment.boot);
        self.shared.attachment = Some(attachment);
        self.shared.forget_spis();
        self.shared.output(Output::SetPolicies(self.shared.config.spd()));
        if restarted {
            self.lose_child_sas(now);
        }
        let mut known = if first { self.inherit(now, there) } else { Vec::new() };
        let there: BTreeSet<ChildSaId> = there.iter().map(|child_sa| child_sa.id).collect();
        self.shared.orphans.retain(|id| there.contains(&id));
        // Before the claim, so that what was installed without our knowing is known now.
        self.settle(now, random, &there);
        // Not those under deletion: their Retire may have been lost with the connection, and is not sent again.
        known.extend(self.sas.values().flat_map(|sa| sa.state.live_children().map(|child| child.id)));
        known.extend(self.v1_children().map(|(_, child)| child.id));
        known.extend(self.shared.orphans.ids());
        self.shared.output(Output::Claim(known));
        self.shared.lease_spis();
        self.want_starts(now);
    }

    /// The clocks go on where they stood.
    fn resume(&mut self, now: Instant) {
        let Some(since) = self.detached_since.take() else { return };
        let pause = now.since(since);
        self.sas.values_mut().for_each(|sa| sa.shift(pause));
        self.v1.values_mut().for_each(|sa| sa.shift(pause));
        self.deadlines = self.sas.values().filter_map(|sa| Some((sa.deadline()?, sa.core.id))).collect();
        self.deadlines.extend(self.v1.values().filter_map(|sa| Some((sa.deadline()?, sa.core.id))));
        self.shared.wants.shift(pause);
        self.shared.orphans.shift(pause);
        self.recovery.shift(pause);
    }

    /// Installs whose answer was lost with the connection, and SAs that came to their end meanwhile.
    fn settle(&mut self, now: Instant, random: &mut dyn Random, there: &BTreeSet<ChildSaId>) {
        let unanswered = self.sas.values().flat_map(|sa| {
            let installing = sa.state.children().iter().filter(|child| matches!(child.phase, ChildPhase::Installing { .. }));
            installing.map(|child| (sa.core.id, child.id))
        });
        let of_v1 = self.v1_children().filter(|(_, child)| matches!(child.phase, ChildPhase::Installing { .. }));
        let unanswered: Vec<(IkeSaId, ChildSaId)> = unanswered.chain(of_v1.map(|(id, child)| (id, child.id))).collect();
        let ended = self.sas.values().flat_map(|sa| {
            let installed = sa.state.children().iter().filter(|child| child.phase == ChildPhase::Installed && !there.contains(&child.id));
            installed.map(|child| child.id)
        });
        let gone = |child: &crate::child::Child| child.phase == ChildPhase::Installed && !there.contains(&child.id);
        let of_v1 = self.v1_children().filter(|(_, child)| gone(child)).map(|(_, child)| child.id);
        for child in ended.chain(of_v1).collect::<Vec<_>>() {
            self.on_hard_expire(now, random, child);
        }
        for (id, child) in unanswered {
            let result = if there.contains(&child) { Ok(()) } else { Err(String::from("the connection to the data plane was lost")) };
            if self.v1.contains_key(&id) {
                self.with_v1(now, random, id, |sa, cx| sa.on_installed(cx, child, result));
            } else {
                self.with(now, random, id, |sa, cx| sa.on_installed(cx, child, result));
            }
        }
    }

    fn on_acquire(&mut self, now: Instant, id: u64, entry: PolicyId, flow: Flow) {
        self.shared.count("acquires");
        if self.closing {
            // The next controller is asked anew.
            return self.shared.output(Output::RefuseAcquire { id, retry_after: Duration::ZERO });
        }
        let begins = |(connection, index): &(ConnectionRef, usize)| {
            let child = connection.child(*index);
            child.is_some_and(|child| child.start_action != StartAction::None || self.shared.trapped.contains(&child.policy))
        };
        let mut all = ConnectionRef::of_entry(&self.shared.config, entry).peekable();
        let first = all.peek().cloned();
        let found = all.find(begins);
        let may_begin = found.is_some();
        let named = found.or(first).and_then(|(connection, index)| {
            let child = connection.child(index)?;
            Some((connection.name.clone(), child.name.clone(), child.policy))
        });
        let Some((connection, child, policy)) = named else {
            return self.shared.output(Output::RefuseAcquire { id, retry_after: LONG });
        };
        // A Child SA that carries the flow answers the Acquire by being there; one that the peer narrowed too far would be again.
        let all = self.sas.values().flat_map(|sa| sa.state.live_children()).chain(self.v1_children().map(|(_, child)| child));
        let mut installed = all.filter(|child| child.entry == entry).peekable();
        if installed.peek().is_some() && !self.shared.wants.is_active(policy) {
            let carried = installed.any(|child| child.carries(&flow));
            drop(installed);
            if !carried {
                self.shared.output(Output::RefuseAcquire { id, retry_after: LONG });
            }
            return;
        }
        drop(installed);
        if !may_begin {
            return self.shared.output(Output::RefuseAcquire { id, retry_after: LONG });
        }
        self.shared.event(Event::Acquire { connection, child, flow });
        if let Admission::Refused(retry_after) = self.shared.wants.add(now, policy, Waiter::Acquire(id)) {
            self.shared.output(Output::RefuseAcquire { id, retry_after });
        }
    }
}

impl IkeSa {
    /// The data plane saw authentic packets of a Child SA come from elsewhere (RFC 7296 section 2.23).
    fn on_peer_moved(&mut self, cx: &mut Context<'_>, remote: SocketAddr) {
        if let State::Established(established) = &self.state
            && self.core.nat.follows()
            && !self.core.extensions.mobike
            && self.core.remote != remote
            && remote.port() != 0
        {
            self.core.remote = remote;
            established.retarget(&self.core, cx);
        }
    }
}
