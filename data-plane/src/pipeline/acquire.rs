//! Packets that wait for an SA: the first ping is not lost.

use std::collections::VecDeque;

use ipsec_types::{Flow, PolicyAction, PolicyId};
use packet::Buffer;
use packet::ip::Ip;

use super::outbound::{Outgoing, Queue, Source};
use super::{Burst, Context};
use crate::command::Notice;
use crate::stats::{Tally, WorkerStats};
use crate::table::sad::Sas;
use crate::table::{PolicySlot, SpdEntry};
use crate::verdict::Verdict;

/// How many packets a worker keeps waiting for SAs, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AcquireLimits {
    /// Packets in all.
    pub packets: usize,
    /// Packets of one policy.
    pub packets_per_policy: usize,
    /// Milliseconds a packet waits.
    pub timeout_ms: u64,
}

impl Default for AcquireLimits {
    fn default() -> Self {
        Self { packets: 1024, packets_per_policy: 64, timeout_ms: 30_000 }
    }
}

/// An Acquire is repeated at this interval while more packets come: the server knows those that are the same, and one may be lost.
const REPEAT_MS: u64 = 1000;

/// The packets, and what was asked for which policy.
#[derive(Debug)]
pub(super) struct Acquires<B> {
    limits: AcquireLimits,
    /// Never longer than `limits.packets`, which it has room for from the start.
    held: VecDeque<Held<B>>,
    policies: Box<[Asked]>,
    /// A question found the queue to the server full.
    lost: bool,
}

#[derive(Debug)]
struct Held<B> {
    packet: B,
    policy: PolicyId,
    slot: PolicySlot,
    flow: Flow,
    source: Source,
    until_ms: u64,
}

/// What is known of the policy in a slot. It goes with the policy: the next one in the slot has not been asked for, nor refused.
#[derive(Debug, Clone, Copy, Default)]
struct Asked {
    policy: Option<PolicyId>,
    held: usize,
    /// Zero: never.
    asked_ms: u64,
    refused_until_ms: u64,
}

/// What would become of a packet that a policy selects and no SA covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// It would wait. `asked`: others of the policy do already, and an SA was asked for.
    Wait {
        /// Whether the server was asked.
        asked: bool,
    },
    /// The negotiation was refused; no new one is asked for during this time.
    Refused {
        /// Milliseconds.
        for_ms: u64,
    },
    /// Too many wait.
    Full,
}

/// What becomes of a packet that waits.
enum Fate {
    Stay,
    Send,
    Drop,
}

impl<B: Buffer> Acquires<B> {
    pub(super) fn new(limits: AcquireLimits, policies: usize) -> Self {
        Self {
            limits,
            held: VecDeque::with_capacity(limits.packets),
            policies: vec![Asked::default(); policies].into_boxed_slice(),
            lost: false,
        }
    }

    /// Takes a packet out of its place and asks for an SA, if nobody has yet.
    pub(super) fn hold(&mut self, cx: Context<'_>, entry: &SpdEntry, packet: &Outgoing, place: &mut Option<B>) {
        let outlook = self.outlook(entry, cx.now_ms);
        if let Outlook::Refused { .. } = outlook {
            return cx.discard(place, Verdict::AcquireRefused);
        }
        let Some(asked) = self.policies.get_mut(entry.slot.index()) else {
            return cx.discard(place, Verdict::AcquireOverflow);
        };
        if asked.policy != Some(entry.id) {
            *asked = Asked { policy: Some(entry.id), ..Asked::default() };
        }
        if asked.asked_ms == 0 || cx.now_ms >= asked.asked_ms + REPEAT_MS {
            let notice = Notice::Acquire { policy: entry.id, slot: entry.slot, flow: packet.flow };
            let sent = cx.notify(notice);
            asked.asked_ms = if sent { cx.now_ms.max(1) } else { 0 };
            self.lost |= !sent;
        }
        if outlook == Outlook::Full {
            return cx.discard(place, Verdict::AcquireOverflow);
        }
        let Some(buffer) = place.take() else { return };
        asked.held += 1;
        cx.stats().add(Tally::AcquireQueued, 1);
        let until_ms = cx.now_ms.saturating_add(self.limits.timeout_ms);
        self.held.push_back(Held {
            packet: buffer,
            policy: entry.id,
            slot: entry.slot,
            flow: packet.flow,
            source: packet.source,
            until_ms,
        });
    }

    /// What would become of a packet now.
    pub(super) fn outlook(&self, entry: &SpdEntry, now_ms: u64) -> Outlook {
        let Some(asked) = self.policies.get(entry.slot.index()) else { return Outlook::Full };
        let asked = if asked.policy == Some(entry.id) { *asked } else { Asked::default() };
        if now_ms < asked.refused_until_ms {
            return Outlook::Refused { for_ms: asked.refused_until_ms - now_ms };
        }
        let full = self.held.len() >= self.limits.packets || asked.held >= self.limits.packets_per_policy;
        if full { Outlook::Full } else { Outlook::Wait { asked: asked.asked_ms != 0 } }
    }

    /// Moves packets that an SA covers, and those whose policy is gone, into the empty burst, oldest first: the SPD decides anew. Drops those
    /// that have waited too long. True where there may be more.
    pub(super) fn release(&mut self, cx: Context<'_>, sas: Sas<'_>, burst: &mut Burst<B>, outgoing: &mut Queue) -> bool {
        if self.lost {
            self.ask_again(cx);
        }
        let expired = self.held.front().is_some_and(|held| cx.now_ms >= held.until_ms);
        if !expired && !self.held.iter().any(|held| self.goes_on(sas, held)) {
            return false;
        }
        // Each packet is looked at once; those that stay keep their order.
        for _ in 0..self.held.len() {
            let Some(held) = self.held.pop_front() else { return false };
            let fate = match self.goes_on(sas, &held) {
                true if outgoing.is_full() => Fate::Stay,
                true => Fate::Send,
                false if cx.now_ms >= held.until_ms => Fate::Drop,
                false => Fate::Stay,
            };
            match fate {
                Fate::Stay => self.held.push_back(held),
                Fate::Send => {
                    self.forget(&held);
                    send(held, burst, outgoing);
                }
                Fate::Drop => {
                    self.forget(&held);
                    cx.stats().count(Verdict::AcquireTimeout);
                }
            }
        }
        outgoing.is_full()
    }

    /// Another policy is in force in a slot, or none: what is known of one that is gone, or protects no more, is forgotten.
    pub(super) fn policy_changed(&mut self, slot: PolicySlot, entry: Option<&SpdEntry>) {
        let Some(asked) = self.policies.get_mut(slot.index()) else { return };
        let protecting = entry.filter(|entry| entry.action == PolicyAction::Protect).map(|entry| entry.id);
        if asked.policy != protecting {
            *asked = Asked::default();
        }
    }

    /// An SA of the policy was negotiated after all: a refusal is over.
    pub(super) fn installed(&mut self, slot: PolicySlot) {
        if let Some(asked) = self.policies.get_mut(slot.index()) {
            asked.refused_until_ms = 0;
        }
    }

    /// Drops the packets of a policy, and those that come before `until_ms`.
    pub(super) fn refuse(&mut self, entry: &SpdEntry, until_ms: u64, stats: &WorkerStats) {
        self.held.retain(|held| {
            let refused = held.policy == entry.id;
            if refused {
                stats.count(Verdict::AcquireRefused);
            }
            !refused
        });
        if let Some(asked) = self.policies.get_mut(entry.slot.index()) {
            *asked = Asked { policy: Some(entry.id), refused_until_ms: until_ms, ..Asked::default() };
        }
    }

    /// Asks for the packets whose question was lost: no other packet may come to ask.
    fn ask_again(&mut self, cx: Context<'_>) {
        self.lost = false;
        for held in &self.held {
            let Some(asked) = self.policies.get_mut(held.slot.index()) else { continue };
            if asked.policy != Some(held.policy) || asked.asked_ms != 0 {
                continue;
            }
            if !cx.notify(Notice::Acquire { policy: held.policy, slot: held.slot, flow: held.flow }) {
                self.lost = true;
                return;
            }
            asked.asked_ms = cx.now_ms.max(1);
        }
    }

    /// Whether a packet need not wait any longer: an SA covers it, or it waits for a policy that is gone.
    fn goes_on(&self, sas: Sas<'_>, held: &Held<B>) -> bool {
        let stays = self.policies.get(held.slot.index()).is_some_and(|asked| asked.policy == Some(held.policy));
        !stays || sas.outbound(held.slot, &held.flow).is_some()
    }

    /// One packet less waits for the policy. With the last one the question is answered: the next packet asks anew.
    fn forget(&mut self, held: &Held<B>) {
        if let Some(asked) = self.policies.get_mut(held.slot.index()).filter(|asked| asked.policy == Some(held.policy)) {
            asked.held = asked.held.saturating_sub(1);
            if asked.held == 0 {
                asked.asked_ms = 0;
            }
        }
    }
}

fn send<B: Buffer>(held: Held<B>, burst: &mut Burst<B>, outgoing: &mut Queue) {
    let index = burst.packets.len();
    // It was parsed when it came, and has not changed.
    if let Ok(ip) = Ip::parse(held.packet.bytes()) {
        outgoing.push(Outgoing::new(index, &ip, held.source));
        drop(burst.push(held.packet));
    }
}
