//! Operations of the controller: run in order, answered when every worker has applied them.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use culvert_proto::convert::{self, ConvertError, Problem};
use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::failure::Reason;
use culvert_proto::dataplane::v1::operation::Operation;
use esp::{Ends, InboundSa, OutboundSa, Protocol, ReplayWindow, SaKey, Selectors, Tunnel, UdpPorts, WindowSize};
use ipsec_types::{Activation, ChildSa, ChildSaId, Lifetime, Spi, UdpEncapsulation};
use tokio::sync::oneshot;
use tonic::Status;

use crate::clock;
use crate::command::{Command, InstalledSa, Quota, SaState, WorkerId};
use crate::server::change::{Change, Former, Unusable};
use crate::server::core::Core;
use crate::server::outcomes::{done, failure};
use crate::server::sad::Entry;
use crate::server::workers::{Barrier, SILENCE_MS};
use crate::stats::PolicyCount;
use crate::table::{PolicySlot, SaSlot};

/// SPIs that one operation may lease.
const MAX_LEASE: u32 = 1024;

/// Operations that came together and are answered together.
#[derive(Debug)]
pub(super) struct Batch {
    epoch: u64,
    operations: VecDeque<v1::Operation>,
    progress: Vec<Progress>,
    reply: oneshot::Sender<Result<v1::ProgramResponse, Status>>,
}

/// How far an operation is.
#[derive(Debug)]
enum Progress {
    Done(v1::Outcome),
    /// Other policies are being put in force.
    Changing(u64),
    /// Commands are on their way to the workers.
    Waiting(Waiting),
    /// Repeats an operation that is still under way.
    Repeats(u64),
}

#[derive(Debug)]
struct Waiting {
    id: u64,
    barrier: Barrier,
    /// By [`Workers::watched_ms`](super::workers::Workers::watched_ms).
    deadline_ms: u64,
    /// To be taken back when a worker stays silent.
    installs: Option<ChildSaId>,
    /// What no worker uses any more when all have applied it.
    former: Option<Former>,
}

/// What an operation has done so far.
enum Step {
    Outcome(v1::outcome::Outcome),
    Changing,
    Sent(Barrier),
    Installing(ChildSaId, Barrier),
}

/// Why an operation is refused.
struct Refusal {
    reason: Reason,
    detail: String,
}

impl From<Unusable> for Refusal {
    fn from(error: Unusable) -> Self {
        refuse(error.reason(), error.to_string())
    }
}

impl From<ConvertError> for Refusal {
    fn from(error: ConvertError) -> Self {
        refuse(Reason::Invalid, error.to_string())
    }
}

fn refuse(reason: Reason, detail: impl Into<String>) -> Refusal {
    Refusal { reason, detail: detail.into() }
}

const DONE: Step = Step::Outcome(v1::outcome::Outcome::Done(v1::Done {}));

impl Core {
    /// Queues a batch. The answer comes when all its operations are in force or refused.
    pub fn submit(&mut self, request: v1::ProgramRequest) -> oneshot::Receiver<Result<v1::ProgramResponse, Status>> {
        let (reply, answer) = oneshot::channel();
        let progress = Vec::with_capacity(request.operations.len());
        self.batches.push_back(Batch { epoch: request.epoch, operations: request.operations.into(), progress, reply });
        answer
    }

    /// Runs what is queued as far as the workers take it, and answers what is complete.
    pub(super) fn run_operations(&mut self) -> bool {
        if self.batches.is_empty() {
            return false;
        }
        let mut batches = std::mem::take(&mut self.batches);
        let mut held_up = false;
        for batch in &mut batches {
            // Operations begin in their order: what one batch has to wait with, the next has to, too.
            if !held_up {
                self.run(batch);
            }
            held_up |= !batch.operations.is_empty();
            batch.progress = std::mem::take(&mut batch.progress).into_iter().map(|progress| self.advance(progress)).collect();
        }
        let mut answered = false;
        for batch in batches {
            match self.answer(batch) {
                Some(batch) => self.batches.push_back(batch),
                None => answered = true,
            }
        }
        answered || matches!(self.change, Some(Change::Removing(_))) && !self.workers.is_backlogged()
    }

    fn run(&mut self, batch: &mut Batch) {
        while self.change.is_none()
            && !self.workers.is_backlogged()
            && self.check_epoch(batch.epoch).is_ok()
            && let Some(operation) = batch.operations.pop_front()
        {
            let progress = self.begin(operation);
            let progress = self.advance(progress);
            batch.progress.push(progress);
        }
    }

    fn begin(&mut self, operation: v1::Operation) -> Progress {
        let id = operation.id;
        if let Some(outcome) = self.outcomes.of(id) {
            return Progress::Done(outcome.clone());
        }
        if self.in_flight.contains(&id) {
            return Progress::Repeats(id);
        }
        let step = match operation.operation {
            Some(operation) => self.execute(operation),
            None => Err(refuse(Reason::Invalid, "operation: is missing or unknown to this version")),
        };
        let (barrier, installs) = match step {
            Ok(Step::Outcome(outcome)) => return self.complete(v1::Outcome { id, outcome: Some(outcome) }),
            Ok(Step::Changing) => {
                self.in_flight.insert(id);
                return Progress::Changing(id);
            }
            Ok(Step::Sent(barrier)) => (barrier, None),
            Ok(Step::Installing(child_sa, barrier)) => (barrier, Some(child_sa)),
            Err(refusal) => return self.refused(id, refusal),
        };
        self.in_flight.insert(id);
        self.wait_for(id, barrier, installs, None)
    }

    fn wait_for(&self, id: u64, barrier: Barrier, installs: Option<ChildSaId>, former: Option<Former>) -> Progress {
        let deadline_ms = self.workers.watched_ms().saturating_add(SILENCE_MS);
        Progress::Waiting(Waiting { id, barrier, deadline_ms, installs, former })
    }

    fn refused(&mut self, id: u64, refusal: Refusal) -> Progress {
        tracing::debug!(operation = id, detail = %refusal.detail, "refused");
        self.complete(failure(id, refusal.reason, refusal.detail))
    }

    fn complete(&mut self, outcome: v1::Outcome) -> Progress {
        self.in_flight.remove(&outcome.id);
        self.outcomes.remember(outcome.clone());
        Progress::Done(outcome)
    }

    fn advance(&mut self, progress: Progress) -> Progress {
        match progress {
            Progress::Changing(id) => match self.go_on_with_change() {
                Some(Ok((barrier, former))) => self.wait_for(id, barrier, None, Some(former)),
                Some(Err(error)) => self.refused(id, error.into()),
                None => Progress::Changing(id),
            },
            Progress::Waiting(waiting) if self.workers.passed(&waiting.barrier) => {
                waiting.former.into_iter().for_each(Former::free);
                self.complete(done(waiting.id))
            }
            Progress::Waiting(waiting) if waiting.deadline_ms <= self.workers.watched_ms() => {
                if let Some(child_sa) = waiting.installs {
                    self.counters.silent_installs += 1;
                    self.remove(child_sa);
                }
                let detail = format!("a worker has not applied the operation within {SILENCE_MS} ms");
                self.complete(failure(waiting.id, Reason::WorkerSilent, detail))
            }
            Progress::Repeats(id) => match self.outcomes.of(id) {
                Some(outcome) => Progress::Done(outcome.clone()),
                None => Progress::Repeats(id),
            },
            progress => progress,
        }
    }

    /// Answers a batch, or gives it back where something is still under way. A caller that has gone is answered into the void.
    fn answer(&mut self, mut batch: Batch) -> Option<Batch> {
        let current = self.check_epoch(batch.epoch);
        if current.is_err() {
            // What has not begun never will. What has is still waited for, so that its outcome is known when it is repeated.
            batch.operations.clear();
        }
        if !batch.operations.is_empty() || batch.progress.iter().any(|progress| !matches!(progress, Progress::Done(_))) {
            return Some(batch);
        }
        if let Err(status) = current {
            drop(batch.reply.send(Err(status)));
            return None;
        }
        let outcome = |progress| if let Progress::Done(outcome) = progress { Some(outcome) } else { None };
        let outcomes = batch.progress.drain(..).filter_map(outcome).collect();
        drop(batch.reply.send(Ok(v1::ProgramResponse { outcomes })));
        None
    }

    fn execute(&mut self, operation: Operation) -> Result<Step, Refusal> {
        match operation {
            Operation::SetPolicies(set) => Ok(if self.set_policies(set)? { Step::Changing } else { DONE }),
            Operation::LeaseSpis(lease) => self.lease_spis(lease.count),
            Operation::Install(install) => {
                // Nobody tries again with these keys: refused, the SPI has no use any more.
                let spi = Spi::new(install.inbound_spi);
                self.install(install).inspect_err(|_| spi.into_iter().for_each(|spi| self.sad.release(spi, self.now_ms)))
            }
            Operation::Activate(activate) => {
                let id = self.known("child_sa", activate.child_sa)?;
                self.activate(id);
                Ok(DONE)
            }
            Operation::Retarget(retarget) => self.retarget(retarget),
            Operation::Retire(retire) => self.retire(&retire),
            Operation::RefuseAcquire(refusal) => self.refuse_acquire(&refusal),
            Operation::Claim(claim) => {
                self.remove_unclaimed(&claim.child_sas);
                Ok(Step::Sent(self.workers.barrier()))
            }
        }
    }

    fn known(&self, field: &str, id: u64) -> Result<ChildSaId, Refusal> {
        let id = convert::child_sa_id(field, id)?;
        self.sad.entry(id).map(|entry| entry.sa.id).ok_or_else(|| refuse(Reason::NotFound, format!("no Child SA {id} is installed")))
    }

    /// What a slot has counted, over all workers.
    pub(super) fn policy_count(&self, slot: PolicySlot) -> PolicyCount {
        self.workers.stats().map(|stats| stats.policy(slot)).sum()
    }

    fn lease_spis(&mut self, count: u32) -> Result<Step, Refusal> {
        if count == 0 || count > MAX_LEASE {
            return Err(refuse(Reason::Invalid, format!("count: must lie between 1 and {MAX_LEASE}")));
        }
        let now_ms = self.now_ms;
        // What could be leased is answered even where it is less than was asked for.
        let spis: Vec<u32> = (0..count).map_while(|_| self.sad.lease(now_ms)).map(|spi| spi.value()).collect();
        if spis.is_empty() {
            return Err(refuse(Reason::Exhausted, "no slot of the SAD is free: raise sad.slots in the data plane's configuration"));
        }
        Ok(Step::Outcome(v1::outcome::Outcome::Spis(v1::SpiLease { spis })))
    }

    fn install(&mut self, message: v1::Install) -> Result<Step, Refusal> {
        let sa = ChildSa::try_from(message)?;
        if let Some(worker) = self.workers.silent() {
            self.counters.silent_installs += 1;
            return Err(refuse(Reason::WorkerSilent, format!("worker {} is silent", worker.0)));
        }
        if self.sad.is_used(sa.id) {
            return Err(refuse(Reason::Invalid, format!("child_sa: {} was installed before in this boot", sa.id)));
        }
        let slot = self
            .sad
            .leased(sa.inbound_spi)
            .ok_or_else(|| refuse(Reason::SpiNotLeased, format!("inbound_spi: {} is not leased, or its lease was used", sa.inbound_spi)))?;
        if !self.policies.protects(sa.policy) {
            return Err(refuse(Reason::NotFound, format!("policy: {} is not in force, or does not protect", sa.policy.0)));
        }
        let policy = self.slots.slot(sa.policy).ok_or_else(|| refuse(Reason::NotFound, "policy: is not in force"))?;
        let active = sa.activation == Activation::Immediate;
        let served = sa.policy;
        let (ends, udp) = self.way(sa.local, sa.remote, sa.encapsulation)?;
        let tunnel = Tunnel { ends, udp, dont_fragment: sa.dont_fragment, copy_dscp: sa.copy_dscp };
        let (entry, window) = self.prepare(sa, tunnel, slot, policy)?;
        let (child_sa, installed, owner) = (entry.sa.id, Arc::clone(&entry.sa), entry.sa.owner);
        self.sad.insert(entry);
        let mut window = Some(window);
        // The owner is first: others hand packets over to it as soon as they know the SA.
        let barrier = self.workers.broadcast(owner, |worker| {
            let window = if worker == owner { window.take() } else { None };
            Command::Install { sa: Arc::clone(&installed), tunnel, window }
        });
        self.tell_path_mtu_of(installed.slot, &tunnel);
        if active {
            self.acquires.served(served);
        }
        tracing::info!(%child_sa, inbound_spi = %installed.inbound.spi(), outbound_spi = %installed.outbound.spi(), active, "installed");
        Ok(Step::Installing(child_sa, barrier))
    }

    /// Expands the keys and makes what the workers share.
    fn prepare(&self, sa: ChildSa, tunnel: Tunnel, slot: SaSlot, policy: PolicySlot) -> Result<(Entry, ReplayWindow), Refusal> {
        let size = WindowSize::new(sa.replay_window).map_err(|e| refuse(Reason::Invalid, format!("replay_window: {e}")))?;
        let field = if sa.protection.encryption().is_some() { "encryption" } else { "integrity" };
        let key = |keys| SaKey::for_kernel(self.kernel, sa.protection, keys).map_err(|e| refuse(Reason::Invalid, format!("{field}: {e}")));
        let permitted = Selectors::new(sa.remote_selectors.clone(), sa.local_selectors.clone());
        let inbound = InboundSa::new(sa.inbound_spi, key(&sa.inbound_keys)?, sa.sequence_numbers, size, permitted).in_mode(sa.mode);
        let window = ReplayWindow::new(inbound.window_size());
        let outbound = OutboundSa::new(sa.outbound_spi, key(&sa.outbound_keys)?, sa.sequence_numbers).in_mode(sa.mode);
        let installed = InstalledSa {
            id: sa.id,
            slot,
            policy,
            owner: self.owner(sa.predecessor, slot),
            inbound,
            outbound,
            outbound_selectors: Selectors::new(sa.local_selectors, sa.remote_selectors),
            tfc: sa.tfc,
            state: SaState::new(sa.activation == Activation::Immediate, Quota::from(sa.lifetime.hard())),
        };
        let fallback = if let Activation::Parked { fallback } = sa.activation { fallback } else { None };
        let entry = Entry {
            sa: Arc::new(installed),
            protection: sa.protection,
            tunnel,
            policy: sa.policy,
            epoch: self.epoch,
            installed_ms: self.now_ms,
            lifetime: (sa.lifetime != Lifetime::default()).then(|| Box::new(sa.lifetime)),
            predecessor: sa.predecessor,
            successors: Vec::new(),
            fallback_ms: fallback.map(|wait: Duration| self.now_ms.saturating_add(clock::millis(wait))),
            remove_ms: None,
            soft_reported: false,
            life_reported_ms: 0,
            life_packet_ms: 0,
            dummies_ms: self.now_ms,
            older: None,
            newer: None,
        };
        Ok((entry, window))
    }

    /// Where packets of an SA travel: outer addresses, and ports where they travel in UDP.
    fn way(&self, local: IpAddr, remote: IpAddr, encapsulation: Option<UdpEncapsulation>) -> Result<(Ends, Option<UdpPorts>), Refusal> {
        let ends = Ends::new(local, remote).ok_or_else(|| {
            refuse(Reason::Invalid, format!("remote_address: {remote} is of another IP version than local_address, {local}"))
        })?;
        if !self.snapshot.ports.is_own_outer(local) {
            return Err(refuse(Reason::Invalid, format!("local_address: {local} is no address of this gateway's unprotected ports")));
        }
        let udp = encapsulation.map(|ports| UdpPorts { source: ports.local_port, destination: ports.remote_port });
        Ok((ends, udp))
    }

    /// The peer is elsewhere now (RFC 7296 section 2.23). Nothing is made anew: the SA goes on under its key, with its next number.
    fn retarget(&mut self, message: v1::Retarget) -> Result<Step, Refusal> {
        let id = self.known("child_sa", message.child_sa)?;
        let (local, remote) = convert::tunnel(&message.local_address, &message.remote_address)?;
        let encapsulation = convert::encapsulation(message.encapsulation)?;
        let (ends, udp) = self.way(local, remote, encapsulation)?;
        let Some(entry) = self.sad.entry_mut(id) else { return Ok(DONE) };
        if udp.is_some() && entry.sa.outbound.layout().protocol() == Protocol::Ah {
            return Err(ConvertError::new("encapsulation", Problem::EncapsulatedAh).into());
        }
        let tunnel = Tunnel { ends, udp, ..entry.tunnel };
        entry.tunnel = tunnel;
        let slot = entry.sa.slot;
        tracing::info!(child_sa = %id, %local, %remote, udp = ?tunnel.udp, "retargeted");
        let barrier = self.workers.broadcast(WorkerId(0), |_| Command::Retarget { slot, tunnel });
        self.tell_path_mtu_of(slot, &tunnel);
        Ok(Step::Sent(barrier))
    }

    /// A rekeyed SA keeps its predecessor's owner; others are spread over the workers.
    fn owner(&self, predecessor: Option<ChildSaId>, slot: SaSlot) -> WorkerId {
        if let Some(entry) = predecessor.and_then(|id| self.sad.entry(id)) {
            return entry.sa.owner;
        }
        let worker = slot.index().checked_rem(self.workers.len()).unwrap_or(0);
        WorkerId(u16::try_from(worker).unwrap_or(0))
    }

    fn retire(&mut self, retire: &v1::Retire) -> Result<Step, Refusal> {
        let id = self.known("child_sa", retire.child_sa)?;
        if retire.linger_ms == 0 {
            self.remove(id);
            return Ok(Step::Sent(self.workers.barrier()));
        }
        let remove_ms = self.now_ms.saturating_add(retire.linger_ms);
        self.hand_over(id);
        let Some(entry) = self.sad.entry_mut(id) else { return Ok(DONE) };
        entry.remove_ms = Some(remove_ms);
        entry.fallback_ms = None;
        let slot = entry.sa.slot;
        Ok(Step::Sent(self.workers.broadcast(WorkerId(0), |_| Command::RetireOutbound(slot))))
    }

    fn refuse_acquire(&mut self, refusal: &v1::RefuseAcquire) -> Result<Step, Refusal> {
        let acquire =
            self.acquires.take(refusal.acquire).ok_or_else(|| refuse(Reason::NotFound, format!("no Acquire {} waits", refusal.acquire)))?;
        let (policy, retry_after) = (acquire.slot, Duration::from_millis(refusal.retry_after_ms));
        let command = |_| Command::RefuseAcquire { policy, retry_after };
        Ok(Step::Sent(self.workers.broadcast(WorkerId(0), command)))
    }
}
