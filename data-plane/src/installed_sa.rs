//! A Child SA as all workers share it: what every packet only reads, and what is counted.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use esp::{InboundSa, OutboundSa, Selectors};
use ipsec_types::{ChildSaId, Limits, Tfc};

use crate::command::WorkerId;
use crate::table::{PolicySlot, SaSlot};

/// A Child SA in the tables of the workers: made by the server, shared by all. Its outer addresses may change, so each table keeps them beside it.
#[derive(Debug)]
pub struct InstalledSa {
    /// Its identifier.
    pub id: ChildSaId,
    /// The slot that its inbound SPI names.
    pub slot: SaSlot,
    /// The policy it serves.
    pub policy: PolicySlot,
    /// The worker that opens its packets.
    pub owner: WorkerId,
    /// The inbound half.
    pub inbound: InboundSa,
    /// The outbound half.
    pub outbound: OutboundSa,
    /// What the outbound half may carry: source is our side, destination the peer's.
    pub outbound_selectors: Selectors,
    /// What hides lengths and number of packets.
    pub tfc: Tfc,
    /// What is counted and changes while it lives.
    pub state: SaState,
}

/// The changing part of an SA, apart from what every packet only reads: a cache line for each half. Two lines more would keep the CPU from fetching one
/// with the other, but of 100,000 SAs each line counts.
#[derive(Debug, Default)]
#[repr(C)]
pub struct SaState {
    inbound: InboundCounters,
    outbound: OutboundCounters,
}

const _: () = assert!(size_of::<SaState>() == 128);

#[derive(Debug, Default)]
#[repr(align(64))]
struct InboundCounters {
    packets: AtomicU64,
    octets: AtomicU64,
    quota: Quota,
    last_ms: AtomicU64,
    moved_ms: AtomicU64,
}

#[derive(Debug, Default)]
#[repr(align(64))]
struct OutboundCounters {
    active: AtomicBool,
    packets: AtomicU64,
    octets: AtomicU64,
    quota: Quota,
    spent_reported: AtomicBool,
}

/// What an SA may carry in each direction, its hard limit (RFC 4301 section 4.4.2.1). The workers keep it themselves, as the server looks but now and
/// then: at full speed an SA would carry a million packets more by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    packets: u64,
    octets: u64,
}

impl Quota {
    /// No end.
    pub const UNLIMITED: Self = Self { packets: u64::MAX, octets: u64::MAX };

    /// Whether an SA that has carried so much may carry no more.
    const fn is_spent(self, packets: u64, octets: u64) -> bool {
        packets >= self.packets || octets >= self.octets
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::UNLIMITED
    }
}

impl From<&Limits> for Quota {
    fn from(hard: &Limits) -> Self {
        Self { packets: hard.packets.unwrap_or(u64::MAX), octets: hard.octets.unwrap_or(u64::MAX) }
    }
}

/// The inbound counters of an SA in registers, for packets of it that follow one another.
#[derive(Debug)]
pub(crate) struct InboundMeter {
    packets: u64,
    octets: u64,
    before: (u64, u64),
    quota: Quota,
}

impl InboundMeter {
    /// Counts an authentic packet with so many octets of inner packet; false, and nothing is counted, where the SA may carry no more.
    #[inline]
    #[must_use = "a packet beyond the quota is dropped"]
    pub(crate) const fn count(&mut self, octets: usize) -> bool {
        if self.is_spent() {
            return false;
        }
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(octets as u64);
        true
    }

    /// Whether the SA may carry no more.
    #[inline]
    pub(crate) const fn is_spent(&self) -> bool {
        self.quota.is_spent(self.packets, self.octets)
    }

    /// Packets counted with it, and their octets.
    #[inline]
    pub(crate) const fn counted(&self) -> (u64, u64) {
        (self.packets.wrapping_sub(self.before.0), self.octets.wrapping_sub(self.before.1))
    }
}

impl SaState {
    /// The state of an SA whose outbound half carries packets at once, or is parked, and each half of which may carry so much.
    pub fn new(active: bool, quota: Quota) -> Self {
        Self {
            inbound: InboundCounters { quota, ..InboundCounters::default() },
            outbound: OutboundCounters { active: AtomicBool::new(active), quota, ..OutboundCounters::default() },
        }
    }

    /// Has the caches fetch what is counted of packets on their way out.
    #[inline]
    pub(crate) fn prefetch_outbound(&self) {
        esp_crypto::prefetch(&self.outbound);
    }

    /// Has the caches fetch what is counted of packets that arrive.
    #[inline]
    pub(crate) fn prefetch_inbound(&self) {
        esp_crypto::prefetch(self);
    }

    /// Whether the outbound half carries packets.
    #[inline]
    pub fn is_active(&self) -> bool {
        self.outbound.active.load(Ordering::Relaxed)
    }

    /// Lets the outbound half carry packets, on every worker. True where it was parked before. Nothing else is published through the flag:
    /// the SA is in a worker's table before that worker can look at it.
    #[inline]
    pub fn activate(&self) -> bool {
        !self.outbound.active.swap(true, Ordering::Relaxed)
    }

    /// Authenticated packets received, and octets of their inner packets.
    pub fn inbound(&self) -> (u64, u64) {
        (self.inbound.packets.load(Ordering::Relaxed), self.inbound.octets.load(Ordering::Relaxed))
    }

    /// Packets sent, and octets of their inner packets.
    pub fn outbound(&self) -> (u64, u64) {
        (self.outbound.packets.load(Ordering::Relaxed), self.outbound.octets.load(Ordering::Relaxed))
    }

    /// When the last authenticated packet arrived, in milliseconds of [`crate::clock::Clock`]; 0 where none has.
    pub fn last_inbound_ms(&self) -> u64 {
        self.inbound.last_ms.load(Ordering::Relaxed)
    }

    /// What the inbound half has carried, to be counted on with. Only the owner calls this, and gives it back before it takes another.
    #[inline]
    pub(crate) fn inbound_meter(&self) -> InboundMeter {
        let (packets, octets) = self.inbound();
        InboundMeter { packets, octets, before: (packets, octets), quota: self.inbound.quota }
    }

    /// Counts one packet.
    #[cfg(test)]
    #[must_use = "a packet beyond the quota is dropped"]
    pub(crate) fn count_inbound(&self, octets: usize, now_ms: u64) -> bool {
        let mut meter = self.inbound_meter();
        let counted = meter.count(octets);
        self.give_back(&meter, now_ms);
        counted
    }

    /// Gives it back: a load and a store are enough, as there is one owner.
    #[inline]
    pub(crate) fn give_back(&self, meter: &InboundMeter, now_ms: u64) {
        if meter.counted().0 == 0 {
            return;
        }
        self.inbound.packets.store(meter.packets, Ordering::Relaxed);
        self.inbound.octets.store(meter.octets, Ordering::Relaxed);
        self.inbound.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether a move of the peer may be reported now: once a second. Only the owner asks.
    pub(crate) fn may_report_move(&self, now_ms: u64) -> bool {
        const INTERVAL_MS: u64 = 1000;
        let last = self.inbound.moved_ms.load(Ordering::Relaxed);
        let may = last == 0 || now_ms >= last + INTERVAL_MS;
        if may {
            self.inbound.moved_ms.store(now_ms, Ordering::Relaxed);
        }
        may
    }

    /// Reports through `report`, which says whether it could, that the SA may carry no more: once, or once from each of several workers that find out
    /// at the same time.
    pub(crate) fn report_spent(&self, report: impl FnOnce() -> bool) {
        let reported = &self.outbound.spent_reported;
        if !reported.load(Ordering::Relaxed) && report() {
            reported.store(true, Ordering::Relaxed);
        }
    }

    /// Counts sent packets. Several workers may. False where the last of them was the last that the quota permits, or beyond.
    #[inline]
    #[must_use = "behind the last packet the SA may carry no more"]
    pub(crate) fn count_outbound(&self, packets: u64, octets: u64) -> bool {
        let packets = self.outbound.packets.fetch_add(packets, Ordering::Relaxed).wrapping_add(packets);
        let carried = self.outbound.octets.fetch_add(octets, Ordering::Relaxed).wrapping_add(octets);
        !self.outbound.quota.is_spent(packets, carried)
    }

    /// Whether the quota of the outbound half is used up.
    pub(crate) fn is_outbound_spent(&self) -> bool {
        let (packets, octets) = self.outbound();
        self.outbound.quota.is_spent(packets, octets)
    }
}
