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
    /// Policies and SAs that came, and as many that went, per second.
    pub(crate) changes_per_second: f64,
    /// Turns with commands, and their times on the CPU in microseconds, the reading of the clock included.
    pub(crate) turns: usize,
    pub(crate) median_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) longest_us: f64,
    /// The longest poll of the server, in milliseconds.
    pub(crate) server_longest_ms: f64,
}

/// Each second this many of either go, and as many come.
const CHANGES: u32 = 1000;
/// The controller sets policies this often, with all their changes since the last time.
const ROUNDS: u32 = 10;

pub(crate) fn measure(pool: &Pool, tunnels: u32, quick: bool) -> Result<Turns, Failure> {
    eprintln!("turns of a worker, {tunnels} tunnels");
    let (mut server, mut worker) = gateway::start(pool, tunnels)?;
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
            let outcome = control(&mut server, tunnels, time);
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
        changes_per_second: controlled.changes_per_second,
        turns: times.len(),
        median_us: at(50),
        p99_us: at(99),
        longest_us: at(100),
        server_longest_ms: controlled.longest_ms,
    })
}

/// What the controller's thread saw.
struct Controlled {
    changes_per_second: f64,
    longest_ms: f64,
}

/// Replaces the oldest tunnels by new ones, of other identifiers, at an even rate.
fn control(server: &mut Server, tunnels: u32, time: Duration) -> Result<Controlled, Failure> {
    let (start, mut changes, mut longest) = (Instant::now(), 0u32, Duration::ZERO);
    let in_round = (CHANGES / ROUNDS).min(tunnels);
    let mut alive: VecDeque<u32> = (0..tunnels).collect();
    let mut next = tunnels;
    while start.elapsed() < time {
        let round = Instant::now();
        // Their SAs go with their policies, and new ones are installed one by one below.
        alive.drain(..usize::try_from(in_round).context("changes")?);
        let new = next..next + in_round;
        alive.extend(new.clone());
        let policies = alive.iter().map(|tunnel| renamed(*tunnel, tunnels)).collect();
        program(server, vec![Kind::SetPolicies(v1::SetPolicies { policies, more: false })], &mut longest)?;
        let answers = program(server, vec![Kind::LeaseSpis(v1::LeaseSpis { count: in_round })], &mut longest)?;
        let Some(Answer::Spis(lease)) = answers.first() else { return Err(Failure(format!("LeaseSpis: {answers:?}"))) };
        for (tunnel, spi) in new.zip(&lease.spis) {
            let Kind::Install(mut install) = gateway::install(tunnel, *spi) else { continue };
            let policy = renamed(tunnel, tunnels);
            (install.policy, install.local_selectors, install.remote_selectors) = (policy.id, policy.local, policy.remote);
            program(server, vec![Kind::Install(install)], &mut longest)?;
        }
        next += in_round;
        changes += in_round;
        while round.elapsed() < Duration::from_secs(1) / ROUNDS {
            poll(server, &mut longest);
            thread::sleep(Duration::from_micros(500));
        }
    }
    Ok(Controlled { changes_per_second: f64::from(changes) / start.elapsed().as_secs_f64(), longest_ms: longest.as_secs_f64() * 1e3 })
}

/// A policy of its own identifier for addresses that are used again.
fn renamed(tunnel: u32, tunnels: u32) -> v1::Policy {
    v1::Policy { id: tunnel + 1, ..gateway::policy(tunnel % tunnels) }
}

fn poll(server: &mut Server, longest: &mut Duration) {
    let start = Instant::now();
    server.poll();
    *longest = (*longest).max(start.elapsed());
}

fn program(server: &mut Server, operations: Vec<Kind>, longest: &mut Duration) -> Result<Vec<Answer>, Failure> {
    let mut pending = server.submit(operations);
    loop {
        poll(server, longest);
        if let Some(answers) = pending.poll()? {
            return Ok(answers);
        }
        thread::yield_now();
    }
}

/// Microseconds that this thread has spent on a CPU: what others do there is not the worker's time.
#[expect(clippy::cast_precision_loss, reason = "a run is short")]
fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
