//! Workers of a gateway in this process: threads as the daemon starts them, told by this program what a server would tell them.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use culvert_data::clock::Clock;
use culvert_data::command::{Command, QueueSizes, Ticket, WorkerHandle, WorkerId, channel};
use culvert_data::pipeline::Limits;
use culvert_data::stats::Tally;
use culvert_data::table::Snapshot;
use culvert_data::verdict::Verdict;
use culvert_data::worker::{self, IdlePolicy, WorkerConfig, WorkerParts, WorkerPort, hand_off};
use dpdk::{Eal, Pool};
use esp::ReplayWindow;

use crate::error::{Context, Failure};
use crate::measure::{Sample, cpu_time};
use crate::site::{Connection, SLOTS, Site};

/// How long a worker may take to apply a command.
const PATIENCE: Duration = Duration::from_secs(5);

/// A worker to be: its core and its queues, in the order of the gateway's ports.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) core: Option<usize>,
    pub(crate) ports: Vec<WorkerPort>,
}

/// Running workers. They end with this value.
#[derive(Debug)]
pub(crate) struct Workers {
    pub(crate) site: Site,
    pub(crate) handles: Vec<WorkerHandle>,
    threads: Vec<JoinHandle<()>>,
}

impl Workers {
    /// Starts a worker on each seat and waits until all of them poll.
    pub(crate) fn start(
        eal: &Arc<Eal>,
        [pool, large]: [&Pool; 2],
        site: Site,
        snapshot: Snapshot,
        seats: Vec<Seat>,
        idle: IdlePolicy,
    ) -> Result<Self, Failure> {
        let (snapshot, clock) = (Arc::new(snapshot), Clock::start());
        let limits = Limits { sad_slots: SLOTS, policy_slots: SLOTS, ..Limits::default() };
        let mut workers = Self { site, handles: Vec::new(), threads: Vec::new() };
        let rings = hand_off(seats.len());
        for (number, (seat, hand_off)) in (0..).zip(seats.into_iter().zip(rings)) {
            let (handle, end) = channel(WorkerId(number), QueueSizes::default(), SLOTS);
            let (pool, large, snapshot) = (pool.clone(), large.clone(), Arc::clone(&snapshot));
            let parts = WorkerParts { end, hand_off, ports: seat.ports, pool, large, snapshot, clock };
            let config = WorkerConfig { core: seat.core, idle, limits };
            workers.threads.push(worker::spawn(config, Arc::clone(eal), parts).context("worker")?);
            workers.handles.push(handle);
        }
        wait_for(|| workers.handles.iter().all(|handle| handle.stats().tally(Tally::Iterations) > 0)).context("a worker does not poll")?;
        Ok(workers)
    }

    /// Tells one worker and does not wait.
    pub(crate) fn send(&mut self, worker: usize, command: Command) -> Result<Ticket, Failure> {
        let handle = self.handles.get_mut(worker).context("no such worker")?;
        handle.send(command).map_err(|_| Failure("a worker does not take its commands".to_owned()))
    }

    /// Tells one worker and waits until it has done so.
    pub(crate) fn tell(&mut self, worker: usize, command: Command) -> Result<(), Failure> {
        let ticket = self.send(worker, command)?;
        let handle = self.handles.get(worker).context("no such worker")?;
        wait_for(|| handle.is_applied(ticket)).context("a worker does not apply its commands")
    }

    /// Installs an SA in every worker, the owner first.
    pub(crate) fn install(&mut self, connection: &Connection, owner: u16) -> Result<(), Failure> {
        let sa = Arc::new(connection.installed(self.site, WorkerId(owner))?);
        let tunnel = connection.tunnel(self.site)?;
        let others = (0..self.handles.len()).filter(|&worker| worker != usize::from(owner));
        let window = Some(ReplayWindow::new(sa.inbound.window_size()));
        self.tell(usize::from(owner), Command::Install { sa: Arc::clone(&sa), tunnel, window })?;
        others.into_iter().try_for_each(|worker| self.tell(worker, Command::Install { sa: Arc::clone(&sa), tunnel, window: None }))
    }

    /// Takes what the workers have no more use for, as the server does.
    #[cfg(test)]
    pub(crate) fn garbage(&self) -> Vec<culvert_data::command::Garbage> {
        self.handles.iter().flat_map(|handle| std::iter::from_fn(|| handle.garbage())).collect()
    }

    /// Packets that ended in a verdict.
    pub(crate) fn verdict(&self, verdict: Verdict) -> u64 {
        self.handles.iter().map(|handle| handle.stats().verdict(verdict)).sum()
    }

    /// What happened, by name.
    pub(crate) fn counters(&self) -> String {
        let counters = Verdict::ALL.iter().map(|verdict| (verdict.name(), self.verdict(*verdict))).filter(|(_, count)| *count > 0);
        counters.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    /// Packets of each worker that ended in a verdict, and its CPU time.
    pub(crate) fn samples(&self, verdict: Verdict) -> Result<Vec<Sample>, Failure> {
        let sample = |handle: &WorkerHandle| {
            let stats = handle.stats();
            Ok(Sample { packets: stats.verdict(verdict), cpu_ns: cpu_time(std::process::id(), stats.thread())? })
        };
        self.handles.iter().map(sample).collect()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        for handle in &mut self.handles {
            while handle.send(Command::Stop).is_err() {
                drop(handle.garbage());
                thread::yield_now();
            }
        }
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// Waits until something holds; `None` where it does not in time.
pub(crate) fn wait_for(holds: impl Fn() -> bool) -> Option<()> {
    let start = Instant::now();
    while !holds() {
        if start.elapsed() > PATIENCE {
            return None;
        }
        thread::sleep(Duration::from_micros(100));
    }
    Some(())
}
