//! Packets that cross from the worker that received them to the worker that owns their SA.
//!
//! One ring for each ordered pair of workers, with one producer and one consumer. Packets are collected and published once a burst: publishing
//! each would cost ten times as much.

use arrayvec::ArrayVec;
use rtrb::chunks::ChunkError;
use rtrb::{Consumer, Producer, RingBuffer};

use crate::command::WorkerId;
use crate::pipeline::{BURST, Burst};
use crate::stats::{Tally, WorkerStats};
use crate::verdict::Verdict;

/// Packets that a ring holds.
const RING: usize = 1024;

/// One worker's ends of the rings.
#[derive(Debug)]
pub struct HandOff<B> {
    /// By worker.
    to: Vec<Outgoing<B>>,
    from: Vec<Consumer<B>>,
}

#[derive(Debug)]
struct Outgoing<B> {
    staged: ArrayVec<B, BURST>,
    ring: Producer<B>,
}

/// The rings between so many workers: the first answer is for worker 0.
pub fn hand_off<B>(workers: usize) -> Vec<HandOff<B>> {
    let mut ends: Vec<_> = (0..workers).map(|_| HandOff { to: Vec::new(), from: Vec::new() }).collect();
    for to in 0..workers {
        // A worker has a ring to itself too, which stays empty: the place in the list is the worker.
        for from in 0..workers {
            let (producer, consumer) = RingBuffer::new(RING);
            if let Some(end) = ends.get_mut(from) {
                end.to.push(Outgoing { staged: ArrayVec::new(), ring: producer });
            }
            if let Some(end) = ends.get_mut(to) {
                end.from.push(consumer);
            }
        }
    }
    ends
}

impl<B> HandOff<B> {
    /// Number of workers.
    pub fn workers(&self) -> usize {
        self.from.len()
    }

    /// Collects a packet for another worker.
    #[inline]
    pub fn give(&mut self, stats: &WorkerStats, worker: WorkerId, packet: B) {
        let Some(to) = self.to.get_mut(usize::from(worker.0)) else { return stats.count(Verdict::HandOffOverflow) };
        if to.staged.is_full() {
            to.publish(stats);
        }
        if to.staged.try_push(packet).is_err() {
            stats.count(Verdict::HandOffOverflow);
        }
    }

    /// Lets the other workers see what was collected.
    #[inline]
    pub fn publish(&mut self, stats: &WorkerStats) {
        for to in &mut self.to {
            to.publish(stats);
        }
    }

    /// Takes up to a burst of what another worker has published into an empty burst. Answers how many.
    #[inline]
    pub fn take(&mut self, from: usize, burst: &mut Burst<B>) -> usize {
        let Some(ring) = self.from.get_mut(from) else { return 0 };
        // A whole burst that was seen before is there without a look at the producer's cache line.
        let count = match ring.read_chunk(BURST) {
            Ok(_) => BURST,
            Err(ChunkError::TooFewSlots(count)) => count,
        };
        if let Ok(chunk) = ring.read_chunk(count) {
            for packet in chunk {
                drop(burst.push(packet));
            }
        }
        count
    }
}

impl<B> Outgoing<B> {
    /// What does not fit into the ring is dropped: its consumer is behind, and waiting for it would stop this worker too.
    #[inline]
    fn publish(&mut self, stats: &WorkerStats) {
        if self.staged.is_empty() {
            return;
        }
        // Room that was seen before is there without a look at the consumer's cache line.
        let room = match self.ring.write_chunk_uninit(self.staged.len()) {
            Ok(_) => self.staged.len(),
            Err(ChunkError::TooFewSlots(room)) => room,
        };
        let mut packets = self.staged.drain(..);
        let given = self.ring.write_chunk_uninit(room).map_or(0, |chunk| chunk.fill_from_iter(packets.by_ref()));
        stats.add(Tally::HandedOff, given);
        for _ in packets {
            stats.count(Verdict::HandOffOverflow);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_cross_in_order_after_they_are_published_and_a_full_ring_drops() {
        let stats = WorkerStats::new(0);
        let mut ends = hand_off::<usize>(2);
        let mut second = ends.pop().unwrap();
        let mut first = ends.pop().unwrap();
        let mut burst = Burst::new();

        first.give(&stats, WorkerId(1), 7);
        second.take(0, &mut burst);
        assert!(burst.is_empty(), "not yet published");
        first.publish(&stats);
        second.take(0, &mut burst);
        assert_eq!(burst.take_all(), [7]);

        for n in 0..RING + 5 {
            first.give(&stats, WorkerId(1), n);
        }
        first.publish(&stats);
        assert_eq!((stats.tally(Tally::HandedOff), stats.verdict(Verdict::HandOffOverflow)), (1 + RING as u64, 5));
        let mut received = Vec::new();
        loop {
            second.take(0, &mut burst);
            if burst.is_empty() {
                break;
            }
            received.extend(burst.take_all());
        }
        assert_eq!(received, (0..RING).collect::<Vec<_>>());

        first.give(&stats, WorkerId(2), 1);
        assert_eq!(stats.verdict(Verdict::HandOffOverflow), 6, "no such worker");
    }
}
