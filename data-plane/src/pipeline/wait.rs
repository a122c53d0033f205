//! Packets that wait for the MAC address of their next hop.

use std::collections::VecDeque;

use packet::Buffer;

use super::{Context, Io, egress};
use crate::command::Notice;
use crate::stats::Tally;
use crate::table::NextHop;
use crate::verdict::Verdict;

/// How many packets a worker keeps waiting for next hops, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitLimits {
    /// Packets in all.
    pub packets: usize,
    /// Packets for one next hop.
    pub packets_per_hop: usize,
    /// Next hops that are asked for at a time.
    pub hops: usize,
    /// Milliseconds a packet waits.
    pub timeout_ms: u64,
}

impl Default for WaitLimits {
    fn default() -> Self {
        Self { packets: 512, packets_per_hop: 64, hops: 64, timeout_ms: 3000 }
    }
}

/// A miss is repeated at this interval while more packets come.
const REPEAT_MS: u64 = 1000;

/// The packets, from their IP header, and whom they wait for.
#[derive(Debug)]
pub(super) struct Waiting<B> {
    limits: WaitLimits,
    /// Never longer than `limits.packets`, which it has room for from the start.
    held: VecDeque<Held<B>>,
    /// Never longer than `limits.hops`, likewise.
    asked: Vec<Asked>,
}

#[derive(Debug)]
struct Held<B> {
    packet: B,
    hop: NextHop,
    verdict: Verdict,
    until_ms: u64,
}

#[derive(Debug)]
struct Asked {
    hop: NextHop,
    held: usize,
    /// Zero: the server could not be told.
    asked_ms: u64,
}

impl<B: Buffer> Waiting<B> {
    pub(super) fn new(limits: WaitLimits) -> Self {
        Self { limits, held: VecDeque::with_capacity(limits.packets), asked: Vec::with_capacity(limits.hops) }
    }

    /// Keeps a packet until its next hop is known, and asks for that.
    pub(super) fn hold(&mut self, cx: Context<'_>, packet: B, hop: NextHop, verdict: Verdict) {
        let WaitLimits { packets, packets_per_hop, timeout_ms, .. } = self.limits;
        let full = self.held.len() >= packets;
        let Some(asked) = self.asked(hop) else { return cx.stats().count(Verdict::NeighborOverflow) };
        if asked.asked_ms == 0 || cx.now_ms >= asked.asked_ms + REPEAT_MS {
            let sent = cx.notify(Notice::NeighborMiss { port: hop.port, address: hop.address });
            asked.asked_ms = if sent { cx.now_ms.max(1) } else { 0 };
        }
        if full || asked.held >= packets_per_hop {
            // Dropped only after the hop was asked for: the packets that came first may all be of another one.
            return cx.stats().count(Verdict::NeighborOverflow);
        }
        asked.held += 1;
        cx.stats().add(Tally::NeighborQueued, 1);
        self.held.push_back(Held { packet, hop, verdict, until_ms: cx.now_ms.saturating_add(timeout_ms) });
    }

    /// Sends packets whose next hop is known by now, oldest first. Only a new snapshot can make a difference.
    pub(super) fn release(&mut self, cx: Context<'_>, io: &mut impl Io<B>) {
        // Each packet is looked at once; those that stay keep their order.
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { return };
            match cx.snapshot.neighbors.lookup(held.hop) {
                None => self.held.push_back(held),
                Some(mac) => {
                    self.forget(held.hop);
                    egress::send(cx, held.packet, held.hop, mac, held.verdict, io);
                }
            }
        }
    }

    /// Drops packets that have waited too long.
    pub(super) fn expire(&mut self, cx: Context<'_>) {
        while let Some(held) = self.held.pop_front_if(|held| cx.now_ms >= held.until_ms) {
            self.forget(held.hop);
            cx.stats().count(Verdict::NeighborTimeout);
        }
        // Hops that hold nothing make room when it is time to ask again.
        self.asked.retain(|asked| asked.held > 0 || cx.now_ms < asked.asked_ms + REPEAT_MS);
    }

    /// The entry of a hop, a new one where there is room.
    fn asked(&mut self, hop: NextHop) -> Option<&mut Asked> {
        let at = self.asked.iter().position(|asked| asked.hop == hop).unwrap_or(self.asked.len());
        if at == self.asked.len() && at < self.limits.hops {
            self.asked.push(Asked { hop, held: 0, asked_ms: 0 });
        }
        self.asked.get_mut(at)
    }

    fn forget(&mut self, hop: NextHop) {
        if let Some(asked) = self.asked.iter_mut().find(|asked| asked.hop == hop) {
            asked.held = asked.held.saturating_sub(1);
        }
    }
}
