//! The server's Security Association Database: which SPIs are leased, which Child SAs are installed, and when their time is up
//! (RFC 4301 section 4.4.2).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use culvert_proto::convert;
use culvert_proto::dataplane::v1;
use esp::{Tunnel, UdpPorts};
use ipsec_types::{ChildSaId, Lifetime, PolicyId, Protection, SequenceNumbers, Spi, TrafficSelector};

use crate::command::InstalledSa;
use crate::table::SaSlot;
use crate::table::sad::MAX_GENERATION;

/// How long a freed slot rests before its next SPI is leased, so that late packets of the old SA find nothing.
pub(super) const REST_MS: u64 = 60_000;
/// Identifiers of Child SAs that are remembered as used. Those below the oldest remembered one count as used, too.
const REMEMBERED_IDS: usize = 1 << 18;

/// The database.
#[derive(Debug)]
pub(super) struct Sad {
    slots: Vec<Slot>,
    free: VecDeque<SaSlot>,
    resting: VecDeque<(u64, SaSlot)>,
    by_id: HashMap<ChildSaId, SaSlot>,
    /// The newest SA of each policy, from which a chain leads to the others.
    by_policy: HashMap<PolicyId, Spi>,
    used_ids: BTreeSet<ChildSaId>,
    forgotten_up_to: Option<ChildSaId>,
}

#[derive(Debug)]
struct Slot {
    generation: u16,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Free,
    Leased,
    Installed(Box<Entry>),
}

impl Slot {
    fn entry(&self) -> Option<&Entry> {
        if let Content::Installed(entry) = &self.content { Some(entry) } else { None }
    }

    fn entry_mut(&mut self) -> Option<&mut Entry> {
        if let Content::Installed(entry) = &mut self.content { Some(entry) } else { None }
    }
}

/// An installed Child SA.
#[derive(Debug)]
pub(super) struct Entry {
    /// What the workers share.
    pub(super) sa: Arc<InstalledSa>,
    /// The algorithms.
    pub(super) protection: Protection,
    /// Where its outbound half leads now.
    pub(super) tunnel: Tunnel,
    /// The policy it serves.
    pub(super) policy: PolicyId,
    /// The epoch whose controller installed or claimed it.
    pub(super) epoch: u64,
    /// When it was installed.
    pub(super) installed_ms: u64,
    /// Its limits, if it has any.
    pub(super) lifetime: Option<Box<Lifetime>>,
    /// The SA that this one replaces.
    pub(super) predecessor: Option<ChildSaId>,
    /// The SAs that replace this one.
    pub(super) successors: Vec<ChildSaId>,
    /// When a parked outbound half starts by itself.
    pub(super) fallback_ms: Option<u64>,
    /// When the inbound half goes, too.
    pub(super) remove_ms: Option<u64>,
    /// Whether the soft limits were reported.
    pub(super) soft_reported: bool,
    /// When life was last reported, and for which packet.
    pub(super) life_reported_ms: u64,
    /// The last packet that was reported.
    pub(super) life_packet_ms: u64,
    /// Up to when dummy packets were sent.
    pub(super) dummies_ms: u64,
    /// The inbound SPI of the next older SA of its policy, and of the next newer one: of a policy that many peers share there are many.
    pub(super) older: Option<Spi>,
    /// The same.
    pub(super) newer: Option<Spi>,
}

impl Sad {
    /// An empty database of `slots` slots, whose SPIs begin with a random generation.
    pub(super) fn new(slots: u32, random: u16) -> Self {
        let free: VecDeque<SaSlot> = (0..slots).filter_map(SaSlot::new).collect();
        let generation = random % MAX_GENERATION;
        let slot = || Slot { generation, content: Content::Free };
        Self {
            slots: free.iter().map(|_| slot()).collect(),
            free,
            resting: VecDeque::new(),
            by_id: HashMap::new(),
            by_policy: HashMap::new(),
            used_ids: BTreeSet::new(),
            forgotten_up_to: None,
        }
    }

    /// Leases an SPI; `None` when no slot is free.
    pub(super) fn lease(&mut self, now_ms: u64) -> Option<Spi> {
        while let Some((_, slot)) = self.resting.pop_front_if(|(until, _)| *until <= now_ms) {
            self.free.push_back(slot);
        }
        let slot = self.free.pop_front()?;
        let place = self.slots.get_mut(slot.index())?;
        place.generation = place.generation % MAX_GENERATION + 1;
        place.content = Content::Leased;
        slot.spi(place.generation)
    }

    /// Takes back every lease that was not used: their controller is gone.
    pub(super) fn revoke_leases(&mut self, now_ms: u64) {
        for (number, slot) in (0..).zip(&mut self.slots) {
            if matches!(slot.content, Content::Leased)
                && let Some(number) = SaSlot::new(number)
            {
                slot.content = Content::Free;
                self.resting.push_back((now_ms.saturating_add(REST_MS), number));
            }
        }
    }

    /// Takes back the lease of an SPI, where it is leased and not yet used. Its slot rests.
    pub(super) fn release(&mut self, spi: Spi, now_ms: u64) {
        let Some(slot) = self.leased(spi) else { return };
        if let Some(place) = self.slots.get_mut(slot.index()) {
            place.content = Content::Free;
            self.resting.push_back((now_ms.saturating_add(REST_MS), slot));
        }
    }

    /// The slot of an SPI that is leased and not yet used.
    pub(super) fn leased(&self, spi: Spi) -> Option<SaSlot> {
        let slot = SaSlot::of(spi.value());
        let place = self.slots.get(slot.index())?;
        (matches!(place.content, Content::Leased) && slot.spi(place.generation) == Some(spi)).then_some(slot)
    }

    /// Whether a Child SA of this identifier was installed in this boot.
    pub(super) fn is_used(&self, id: ChildSaId) -> bool {
        self.used_ids.contains(&id) || self.forgotten_up_to.is_some_and(|floor| id <= floor)
    }

    /// Puts an SA into its leased slot.
    pub(super) fn insert(&mut self, mut entry: Entry) {
        let (id, slot) = (entry.sa.id, entry.sa.slot);
        if let Some(predecessor) = entry.predecessor.and_then(|id| self.entry_mut(id)) {
            predecessor.successors.push(id);
        }
        let spi = entry.sa.inbound.spi();
        entry.older = self.by_policy.insert(entry.policy, spi);
        if let Some(older) = entry.older.and_then(|older| self.by_spi_mut(older)) {
            older.newer = Some(spi);
        }
        if let Some(place) = self.slots.get_mut(slot.index()) {
            place.content = Content::Installed(Box::new(entry));
            self.by_id.insert(id, slot);
            self.used_ids.insert(id);
        }
        if self.used_ids.len() > REMEMBERED_IDS {
            self.forgotten_up_to = self.used_ids.pop_first();
        }
    }

    /// Takes an SA out. Its slot rests.
    pub(super) fn remove(&mut self, id: ChildSaId, now_ms: u64) -> Option<Entry> {
        let slot = self.by_id.remove(&id)?;
        let place = self.slots.get_mut(slot.index())?;
        self.resting.push_back((now_ms.saturating_add(REST_MS), slot));
        let Content::Installed(entry) = std::mem::replace(&mut place.content, Content::Free) else { return None };
        self.unchain(&entry);
        Some(*entry)
    }

    /// Takes an SA out of the chain of its policy.
    fn unchain(&mut self, entry: &Entry) {
        let Entry { policy, older, newer, .. } = *entry;
        if let Some(older) = older.and_then(|older| self.by_spi_mut(older)) {
            older.newer = newer;
        }
        match (newer, older) {
            (Some(newer), older) => {
                if let Some(newer) = self.by_spi_mut(newer) {
                    newer.older = older;
                }
            }
            (None, Some(older)) => {
                self.by_policy.insert(policy, older);
            }
            (None, None) => {
                self.by_policy.remove(&policy);
            }
        }
    }

    fn by_spi_mut(&mut self, spi: Spi) -> Option<&mut Entry> {
        self.slots.get_mut(SaSlot::of(spi.value()).index())?.entry_mut()
    }

    /// An installed SA.
    pub(super) fn entry(&self, id: ChildSaId) -> Option<&Entry> {
        self.slots.get(self.by_id.get(&id)?.index())?.entry()
    }

    /// The installed SA whose packets have this SPI.
    pub(super) fn by_spi(&self, spi: u32) -> Option<&Entry> {
        self.slots.get(SaSlot::of(spi).index())?.entry().filter(|entry| entry.sa.inbound.spi().value() == spi)
    }

    /// An installed SA, to be changed.
    pub(super) fn entry_mut(&mut self, id: ChildSaId) -> Option<&mut Entry> {
        self.slots.get_mut(self.by_id.get(&id)?.index())?.entry_mut()
    }

    /// The reports of soft limits went to a controller that is gone.
    pub(super) fn report_soft_limits_anew(&mut self) {
        self.entries_from(0).for_each(|(_, entry)| entry.soft_reported = false);
    }

    /// Identifiers of all installed SAs.
    pub(super) fn ids(&self) -> Vec<ChildSaId> {
        self.by_id.keys().copied().collect()
    }

    /// All installed SAs.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_id.keys().filter_map(|id| self.entry(*id))
    }

    /// The installed SAs of a policy, the newest first.
    pub(super) fn of_policy(&self, policy: PolicyId) -> impl Iterator<Item = &Entry> {
        let entry = |spi: Spi| self.by_spi(spi.value());
        let newest = self.by_policy.get(&policy).copied().and_then(entry);
        std::iter::successors(newest, move |newer| newer.older.and_then(entry))
    }

    /// Installed SAs from a slot on, to be changed, each with the number of the next slot.
    pub(super) fn entries_from(&mut self, slot: usize) -> impl Iterator<Item = (usize, &mut Entry)> {
        let slots = self.slots.iter_mut().enumerate().skip(slot);
        slots.filter_map(|(number, slot)| Some((number + 1, slot.entry_mut()?)))
    }

    /// Number of installed SAs.
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

impl Entry {
    /// What is listed, with the counters of this moment.
    pub(super) fn status(&self, now_ms: u64) -> v1::ChildSaStatus {
        let InstalledSa { inbound, outbound, state, .. } = &*self.sa;
        let ((inbound_packets, inbound_octets), (outbound_packets, outbound_octets)) = (state.inbound(), state.outbound());
        let listed = |selectors: Vec<TrafficSelector>| selectors.into_iter().map(Into::into).collect();
        let udp = |ports: UdpPorts| v1::UdpEncapsulation { local_port: ports.source.into(), remote_port: ports.destination.into() };
        v1::ChildSaStatus {
            child_sa: self.sa.id.0,
            policy: self.policy.0,
            inbound_spi: inbound.spi().value(),
            outbound_spi: outbound.spi().value(),
            local_address: convert::address_octets(self.tunnel.ends.source()),
            remote_address: convert::address_octets(self.tunnel.ends.destination()),
            encapsulation: self.tunnel.udp.map(udp),
            extended_sequence_numbers: inbound.sequence_numbers() == SequenceNumbers::Extended,
            replay_window: inbound.window_size().packets(),
            local_selectors: listed(self.sa.outbound_selectors.source()),
            remote_selectors: listed(self.sa.outbound_selectors.destination()),
            mode: v1::Mode::from(outbound.layout().mode()).into(),
            outbound_parked: !state.is_active(),
            retiring: self.remove_ms.is_some(),
            age_ms: now_ms.saturating_sub(self.installed_ms),
            inbound_packets,
            inbound_octets,
            outbound_packets,
            outbound_octets,
            worker: self.sa.owner.0.into(),
            outbound_sequence: outbound.last_taken().saturating_add(1),
            ..v1::ChildSaStatus::from(self.protection)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each of perhaps 100,000 SAs.
    #[test]
    fn what_the_server_keeps_of_an_sa_is_small() {
        assert!(size_of::<Entry>() <= 192 && size_of::<Slot>() <= 24);
    }

    #[test]
    fn spis_differ_and_are_leased_once() {
        let mut sad = Sad::new(4, 4094);
        let spis: Vec<Spi> = std::iter::from_fn(|| sad.lease(0)).collect();
        assert_eq!(spis.len(), 4);
        assert!(spis.iter().all(|spi| sad.leased(*spi).is_some_and(|slot| slot == SaSlot::of(spi.value()))));
        let other_generation = Spi::new(spis[0].value() ^ 1 << 20).unwrap();
        assert_eq!(sad.leased(other_generation), None);
    }

    #[test]
    fn a_slot_rests_and_comes_back_with_another_generation() {
        for random in [0, 1, 4093, 4094, 4095, u16::MAX] {
            let mut sad = Sad::new(1, random);
            let first = sad.lease(0).unwrap();
            sad.revoke_leases(1000);
            assert_eq!(sad.leased(first), None);
            assert_eq!(sad.lease(1000 + REST_MS - 1), None);
            let second = sad.lease(1000 + REST_MS).unwrap();
            assert_ne!(first, second, "{random}");
            assert!(first.value() >> 20 != 0 && second.value() >> 20 != 0);
        }
    }
}
