//! The server's view of all workers: commands in order, with a backlog where a queue is full, and knowledge of what is in force.

use std::collections::VecDeque;

use crate::command::{Command, Frame, Garbage, Notice, PuntClass, Ticket, Via, WorkerHandle, WorkerId};
use crate::pipeline::Inquiry;
use crate::stats::WorkerStats;

/// A worker that has not applied a command for this long is silent, and Installs fail.
pub const SILENCE_MS: u64 = 1000;
/// Time between two looks at the workers that counts as such at most: more is the server's own silence, in which it neither gives commands nor takes
/// back what workers have to get rid of first.
const LOOK_MS: u64 = 100;

/// All workers.
#[derive(Debug)]
pub struct Workers {
    lanes: Vec<Lane>,
    /// When they were looked at last, and for how long by now.
    looked_ms: u64,
    watched_ms: u64,
}

#[derive(Debug)]
struct Lane {
    handle: WorkerHandle,
    backlog: VecDeque<Command>,
    sent: VecDeque<Sent>,
    /// Commands accepted from the server, and how many of them are in force.
    accepted: u64,
    applied: u64,
    #[expect(clippy::vec_box, reason = "an inquiry is large, and comes and goes in the box it was sent in")]
    explained: Vec<Box<Inquiry>>,
}

#[derive(Debug)]
struct Sent {
    ticket: Ticket,
    /// By [`Workers::watched_ms`].
    at_ms: u64,
}

/// A point in the order of commands: passed when every worker has applied all before it.
#[derive(Debug, Clone)]
#[must_use = "a command that was accepted is not yet in force"]
pub struct Barrier(Vec<u64>);

impl Workers {
    /// Takes the server's ends of the queues, in the order of the workers' numbers.
    pub fn new(handles: Vec<WorkerHandle>) -> Self {
        let lane =
            |handle| Lane { handle, backlog: VecDeque::new(), sent: VecDeque::new(), accepted: 0, applied: 0, explained: Vec::new() };
        Self { lanes: handles.into_iter().map(lane).collect(), looked_ms: 0, watched_ms: 0 }
    }

    /// Number of workers.
    pub fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Gives each worker its command; the one of `first` is queued before the others'.
    pub fn broadcast(&mut self, first: WorkerId, mut command: impl FnMut(WorkerId) -> Command) -> Barrier {
        let (head, others): (Vec<_>, Vec<_>) = self.lanes.iter_mut().partition(|lane| lane.handle.id() == first);
        for lane in head.into_iter().chain(others) {
            lane.accept(command(lane.handle.id()), self.watched_ms);
        }
        self.barrier()
    }

    /// Whether every command accepted before `barrier` was taken is in force.
    pub fn passed(&self, barrier: &Barrier) -> bool {
        self.lanes.iter().zip(&barrier.0).all(|(lane, mark)| lane.applied >= *mark)
    }

    /// The point after all commands accepted so far.
    pub fn barrier(&self) -> Barrier {
        Barrier(self.lanes.iter().map(|lane| lane.accepted).collect())
    }

    /// Whether commands wait for room in a queue: then no more should be accepted.
    pub fn is_backlogged(&self) -> bool {
        self.lanes.iter().any(|lane| !lane.backlog.is_empty())
    }

    /// A worker whose oldest command is not in force for longer than [`SILENCE_MS`].
    pub fn silent(&self) -> Option<WorkerId> {
        let waits = |lane: &&Lane| lane.sent.front().is_some_and(|sent| self.watched_ms.saturating_sub(sent.at_ms) > SILENCE_MS);
        self.lanes.iter().find(waits).map(|lane| lane.handle.id())
    }

    /// Asks the first worker, whose tables are those of all: only what waits for an SA differs from worker to worker.
    pub fn ask(&mut self, inquiry: Box<Inquiry>) {
        if let Some(lane) = self.lanes.first_mut() {
            lane.accept(Command::Explain(inquiry), self.watched_ms);
        }
    }

    /// Inquiries that have come back.
    pub fn explained(&mut self) -> Vec<Box<Inquiry>> {
        self.lanes.iter_mut().flat_map(|lane| std::mem::take(&mut lane.explained)).collect()
    }

    /// Sends a packet of the gateway itself, unless the worker is busy; false then. It is always the first worker: packets keep their order.
    pub fn transmit(&mut self, via: Via, frame: Frame) -> bool {
        self.try_send(WorkerId(0), Command::Transmit { via, frame })
    }

    /// Gives a worker a command that may be lost, unless it is busy; false then.
    pub fn try_send(&mut self, worker: WorkerId, command: Command) -> bool {
        let Some(lane) = self.lanes.get_mut(usize::from(worker.0)).filter(|lane| lane.backlog.is_empty()) else { return false };
        match lane.handle.send(command) {
            Ok(ticket) => {
                lane.record(ticket, self.watched_ms);
                lane.accepted += 1;
                true
            }
            Err(_) => false,
        }
    }

    /// Moves the backlog on, takes note of what is in force, and drops what workers have no more use for. True where anything happened.
    pub fn poll(&mut self, now_ms: u64) -> bool {
        self.watched_ms += now_ms.saturating_sub(self.looked_ms).min(LOOK_MS);
        self.looked_ms = now_ms;
        let watched_ms = self.watched_ms;
        // Every lane is polled: `any` would stop at the first busy one.
        self.lanes.iter_mut().filter_map(|lane| lane.poll(watched_ms).then_some(())).count() > 0
    }

    /// How long the workers have been looked at: the time by which they are silent.
    pub const fn watched_ms(&self) -> u64 {
        self.watched_ms
    }

    /// All notices of all workers, at most `limit` of each.
    pub fn notices(&self, limit: usize) -> Vec<(WorkerId, Notice)> {
        let of = |lane: &Lane| {
            let id = lane.handle.id();
            std::iter::from_fn(|| lane.handle.notice()).take(limit).map(|notice| (id, notice)).collect::<Vec<_>>()
        };
        self.lanes.iter().flat_map(of).collect()
    }

    /// Hands each punted packet of a class to `each`, at most `limit` from a worker, and answers how many there were.
    pub fn punted(&self, class: PuntClass, limit: usize, mut each: impl FnMut(&Frame)) -> usize {
        let mut count = 0;
        for lane in &self.lanes {
            for frame in std::iter::from_fn(|| lane.handle.punted(class)).take(limit) {
                each(&frame);
                lane.handle.recycle(frame);
                count += 1;
            }
        }
        count
    }

    /// Commands of each worker that it has not taken yet, those that wait for room in its queue included.
    pub fn queued(&self) -> impl Iterator<Item = usize> {
        self.lanes.iter().map(|lane| lane.handle.queued() + lane.backlog.len())
    }

    /// The counters of each worker.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> {
        self.lanes.iter().map(|lane| lane.handle.stats())
    }
}

impl Lane {
    fn accept(&mut self, command: Command, watched_ms: u64) {
        self.accepted += 1;
        self.backlog.push_back(command);
        self.flush(watched_ms);
    }

    fn flush(&mut self, watched_ms: u64) -> bool {
        let mut moved = false;
        while let Some(command) = self.backlog.pop_front() {
            match self.handle.send(command) {
                Ok(ticket) => {
                    self.record(ticket, watched_ms);
                    moved = true;
                }
                Err(command) => {
                    self.backlog.push_front(command);
                    break;
                }
            }
        }
        moved
    }

    fn record(&mut self, ticket: Ticket, watched_ms: u64) {
        self.sent.push_back(Sent { ticket, at_ms: watched_ms });
    }

    fn poll(&mut self, watched_ms: u64) -> bool {
        let mut busy = self.flush(watched_ms);
        while let Some(sent) = self.sent.front()
            && self.handle.is_applied(sent.ticket)
        {
            self.sent.pop_front();
            self.applied += 1;
            busy = true;
        }
        while let Some(garbage) = self.handle.garbage() {
            if let Garbage::Explained(inquiry) = garbage {
                self.explained.push(inquiry);
            }
            busy = true;
        }
        busy
    }
}
