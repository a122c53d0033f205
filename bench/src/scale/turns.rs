//! How long a worker's turns take while policies and SAs come and go on a full gateway: the time in which no packet is looked at.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation as Kind;
use culvert_proto::dataplane::v1::outcome::Outcome as Answer;
use dpdk::{Burst, Pool};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::gateway::{self, Server};
use super::source::Source;
use crate::error::{Context, Failure};
use crate::report::Direction;
use crate::traffic::Mix;

/// What was seen.
#[derive(Debug, Serialize)]
pub(crate) struct Turns {
    pub(crate) tunnels: u32,
    /// Policies that came per second, each with an SA, and as many that went; and SAs that took the place of others.
    pub(crate) policies_per_second: f64,
    pub(crate) rekeys_per_second: f64,
    /// Turns with commands, and their times on the CPU in microseconds, the reading of the clock included.
    pub(crate) turns: usize,
    pub(crate) median_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) longest_us: f64,
    /// The longest poll of the server, in milliseconds.
    pub(crate) server_longest_ms: f64,
}

/// Policies and their SAs that change in a round, and SAs in a batch.
const CHANGES: u32 = 1000;
/// Batches of rekeys in a round.
const REKEYS: u32 = 4;
/// Policies in a message, about as many as the controller sends.
const PART: usize = 1500;
/// Slots of the SAD for what comes while those of former SAs rest.
const SPARE: u32 = 400_000;

pub(crate) fn measure(pool: &Pool, tunnels: u32, quick: bool) -> Result<Turns, Failure> {
    eprintln!("turns of a worker, {tunnels} tunnels");
    let (mut server, mut worker) = gateway::start(pool, tunnels, SPARE)?;
    server.set_policies(&mut worker, tunnels)?;
    server.install(&mut worker, tunnels)?;
    let time = Duration::from_secs(if quick { 1 } else { 5 });
    let ended = AtomicBool::new(false);
    let mut source = Source::new(pool, Direction::Outbound, Mix::Fixed(64), tunnels)?;
    let mut times = Vec::new();
    let controlled = thread::scope(|scope| {
        let controller = scope.spawn(|| {
            // Not on the worker's core.
            core_affinity::set_for_current(core_affinity::CoreId { id: 0 });
            let outcome = Controller::new(&mut server, tunnels).run(time);
            ended.store(true, Ordering::Relaxed);
            outcome
        });
        let mut burst = Burst::new();
        while !ended.load(Ordering::Relaxed) {
            source.fill(&mut burst)?;
            let before = cpu_us();
            let commanded = worker.turn();
            let after = cpu_us();
            if commanded {
                times.push(after - before);
            }
            worker.round(Direction::Outbound, &mut burst);
        }
        controller.join().map_err(|_| Failure("the controller panicked".to_owned()))?
    })?;
    times.sort_by(f64::total_cmp);
    let at = |hundredth: usize| times.get((times.len() * hundredth / 100).min(times.len().saturating_sub(1))).copied().unwrap_or(0.0);
    Ok(Turns {
        tunnels,
        policies_per_second: controlled.policies_per_second,
        rekeys_per_second: controlled.rekeys_per_second,
        turns: times.len(),
        median_us: at(50),
        p99_us: at(99),
        longest_us: at(100),
        server_longest_ms: controlled.longest_ms,
    })
}

/// What the controller's thread saw.
struct Controlled {
    policies_per_second: f64,
    rekeys_per_second: f64,
    longest_ms: f64,
}

/// Changes policies and SAs as fast as the server takes it.
struct Controller<'a> {
    server: &'a mut Server,
    tunnels: u32,
    /// Tunnels there are with their SAs, the oldest first.
    alive: VecDeque<(u32, u64)>,
    next_tunnel: u32,
    next_sa: u64,
    longest: Duration,
}

impl<'a> Controller<'a> {
    fn new(server: &'a mut Server, tunnels: u32) -> Self {
        let alive = (0..tunnels).map(|tunnel| (tunnel, u64::from(tunnel) + 1)).collect();
        Self { server, tunnels, alive, next_tunnel: tunnels, next_sa: u64::from(tunnels) + 1, longest: Duration::ZERO }
    }

    fn run(mut self, time: Duration) -> Result<Controlled, Failure> {
        let (start, mut policies, mut rekeys) = (Instant::now(), 0, 0);
        while start.elapsed() < time {
            policies += self.replace()?;
            for _ in 0..REKEYS {
                rekeys += self.rekey()?;
            }
        }
        let seconds = start.elapsed().as_secs_f64();
        Ok(Controlled {
            policies_per_second: f64::from(policies) / seconds,
            rekeys_per_second: f64::from(rekeys) / seconds,
            longest_ms: self.longest.as_secs_f64() * 1e3,
        })
    }

    /// The oldest tunnels go, with their policies and SAs, and new ones come, of other identifiers.
    fn replace(&mut self) -> Result<u32, Failure> {
        let count = CHANGES.min(self.tunnels);
        let new = self.next_tunnel..self.next_tunnel + count;
        self.next_tunnel = new.end;
        self.alive.drain(..usize::try_from(count).context("changes")?);
        let mut policies =
            self.alive.iter().map(|(tunnel, _)| *tunnel).chain(new.clone()).map(|tunnel| renamed(tunnel, self.tunnels)).peekable();
        let mut parts = Vec::new();
        while policies.peek().is_some() {
            let part = policies.by_ref().take(PART).collect();
            parts.push(v1::SetPolicies { policies: part, more: policies.peek().is_some() });
        }
        for part in parts {
            self.program(vec![Kind::SetPolicies(part)])?;
        }
        let (spis, mut installs) = (self.lease(count)?, Vec::new());
        for (tunnel, spi) in new.zip(spis) {
            let sa = self.take_sa();
            installs.push(Kind::Install(v1::Install { child_sa: sa, ..self.install(tunnel, spi)? }));
            self.alive.push_back((tunnel, sa));
        }
        self.program(installs)?;
        Ok(count)
    }

    /// The SAs of the oldest tunnels have successors, which carry packets at once.
    fn rekey(&mut self) -> Result<u32, Failure> {
        let count = CHANGES.min(self.tunnels);
        let (spis, mut operations) = (self.lease(count)?, Vec::new());
        for spi in spis {
            let Some((tunnel, former)) = self.alive.pop_front() else { break };
            let sa = self.take_sa();
            operations.push(Kind::Install(v1::Install { child_sa: sa, predecessor: former, ..self.install(tunnel, spi)? }));
            operations.push(Kind::Retire(v1::Retire { child_sa: former, linger_ms: 0 }));
            self.alive.push_back((tunnel, sa));
        }
        self.program(operations)?;
        Ok(count)
    }

    fn take_sa(&mut self) -> u64 {
        self.next_sa += 1;
        self.next_sa
    }

    fn install(&self, tunnel: u32, spi: u32) -> Result<v1::Install, Failure> {
        let Kind::Install(install) = gateway::install(tunnel % self.tunnels, spi) else { return Err(Failure("no Install".to_owned())) };
        Ok(v1::Install { policy: tunnel + 1, ..install })
    }

    fn lease(&mut self, count: u32) -> Result<Vec<u32>, Failure> {
        match self.program(vec![Kind::LeaseSpis(v1::LeaseSpis { count })])?.pop() {
            Some(Answer::Spis(lease)) if lease.spis.len() == usize::try_from(count).context("SPIs")? => Ok(lease.spis),
            other => Err(Failure(format!("LeaseSpis: {other:?}"))),
        }
    }

    fn program(&mut self, operations: Vec<Kind>) -> Result<Vec<Answer>, Failure> {
        let mut pending = self.server.submit(operations);
        loop {
            let start = Instant::now();
            let busy = self.server.poll();
            self.longest = self.longest.max(start.elapsed());
            if let Some(answers) = pending.poll()? {
                return Ok(answers);
            }
            // As the server's loop does.
            if busy { thread::yield_now() } else { thread::sleep(Duration::from_micros(500)) }
        }
    }
}

/// A policy of its own identifier for addresses that are used again.
fn renamed(tunnel: u32, tunnels: u32) -> v1::Policy {
    v1::Policy { id: tunnel + 1, ..gateway::policy(tunnel % tunnels) }
}

/// Microseconds that this thread has spent on a CPU: what others do there is not the worker's time.
#[expect(clippy::cast_precision_loss, reason = "a run is short")]
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
