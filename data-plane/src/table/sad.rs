//! The Security Association Database of one worker (RFC 4301 section 4.4.2): a dense array of slots.
//!
//! An inbound SPI of ours is a generation (12 bits, never zero) and a slot (20 bits), so that a lookup is one load and a compare of all 32 bits.
//! Outbound SAs of one policy form a chain through the slots, the newest first. Installing and removing never cost more than the chain of
//! one policy, and nothing here allocates after it was made.

use std::sync::Arc;

use esp::{ReplayWindow, Template, Tunnel};
use ipsec_types::{Flow, Spi, TfcPadding};

use crate::command::InstalledSa;
use crate::table::PolicySlot;

/// Bits of an SPI that name the slot.
pub const SLOT_BITS: u32 = 20;
/// The most slots there can be.
pub const MAX_SLOTS: u32 = 1 << SLOT_BITS;
/// The highest generation; the lowest is 1.
pub const MAX_GENERATION: u16 = (1 << (32 - SLOT_BITS)) - 1;

/// A place for a Child SA in the tables of the workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaSlot(u32);

impl SaSlot {
    /// The slot of this number; `None` from [`MAX_SLOTS`] on.
    pub const fn new(number: u32) -> Option<Self> {
        if number < MAX_SLOTS { Some(Self(number)) } else { None }
    }

    /// The slot that an SPI names, if it is one of ours.
    #[inline]
    pub const fn of(spi: u32) -> Self {
        Self(spi & (MAX_SLOTS - 1))
    }

    /// The SPI of this slot in a generation; `None` unless that is between 1 and [`MAX_GENERATION`].
    pub fn spi(self, generation: u16) -> Option<Spi> {
        if generation == 0 || generation > MAX_GENERATION {
            return None;
        }
        Spi::new(u32::from(generation) << SLOT_BITS | self.0).ok()
    }

    /// As an index.
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The table.
#[derive(Debug)]
pub struct Sad {
    slots: Box<[Option<SadEntry>]>,
    /// Apart from the SAs: a window is written while its SA is borrowed.
    windows: Box<[Option<ReplayWindow>]>,
    /// The newest outbound SA of each policy.
    newest: Box<[Option<SaSlot>]>,
}

/// One SA in the table: in two cache lines what a packet needs beside key, numbers and counters, all of which the SA has.
#[derive(Debug)]
#[repr(C)]
pub struct SadEntry {
    /// The headers of packets that go out, and so where they go now.
    pub template: Template,
    /// What all workers share.
    pub sa: Arc<InstalledSa>,
    /// Of the inbound half.
    spi: u32,
    /// The policy it serves.
    pub policy: PolicySlot,
    /// What the path to the peer lets pass, in octets, as far as it is known.
    path_mtu: u32,
    /// The next older SA of the policy.
    older: Option<SaSlot>,
    /// How long inner packets are made.
    pub padding: Option<TfcPadding>,
    /// Whether it is in the chain of its policy.
    outbound: bool,
}

const _: () = assert!(size_of::<Option<SadEntry>>() == 128);

/// The SAs, to be read while the windows are written.
#[derive(Debug, Clone, Copy)]
pub struct Sas<'a> {
    slots: &'a [Option<SadEntry>],
    newest: &'a [Option<SaSlot>],
}

/// The replay windows of the SAs that this worker owns, by slot.
#[derive(Debug)]
pub struct Windows<'a>(&'a mut [Option<ReplayWindow>]);

impl Sad {
    /// An empty table of `slots` SAs and `policies` policies.
    pub fn new(slots: usize, policies: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| None).collect(),
            windows: (0..slots).map(|_| None).collect(),
            newest: (0..policies).map(|_| None).collect(),
        }
    }

    /// Puts an SA in its slot, as the newest of its policy.
    ///
    /// # Errors
    /// Gives both back where the slot is taken, or slot or policy are beyond the table.
    pub fn install(
        &mut self,
        sa: Arc<InstalledSa>,
        tunnel: Tunnel,
        window: Option<ReplayWindow>,
    ) -> Result<(), (Arc<InstalledSa>, Option<ReplayWindow>)> {
        let slot = sa.slot;
        let (Some(place @ None), Some(window_place), Some(newest)) =
            (self.slots.get_mut(slot.index()), self.windows.get_mut(slot.index()), self.newest.get_mut(sa.policy.index()))
        else {
            return Err((sa, window));
        };
        let (spi, policy, padding) = (sa.inbound.spi().value(), sa.policy, sa.tfc.padding);
        let (template, older) = (Template::new(&sa.outbound, &tunnel), newest.replace(slot));
        *place = Some(SadEntry { template, sa, spi, policy, path_mtu: u32::MAX, older, padding, outbound: true });
        *window_place = window;
        Ok(())
    }

    /// Lets the outbound half of an SA lead elsewhere, on a path of which nothing is known.
    pub fn retarget(&mut self, slot: SaSlot, tunnel: Tunnel) {
        if let Some(Some(entry)) = self.slots.get_mut(slot.index()) {
            entry.template = Template::new(&entry.sa.outbound, &tunnel);
            entry.path_mtu = u32::MAX;
        }
    }

    /// Takes note of what the path of an SA lets pass.
    pub fn set_path_mtu(&mut self, slot: SaSlot, mtu: Option<u16>) {
        if let Some(Some(entry)) = self.slots.get_mut(slot.index()) {
            entry.path_mtu = mtu.map_or(u32::MAX, u32::from);
        }
    }

    /// Takes an SA out of the chain of its policy: it is not chosen for packets any more.
    pub fn retire_outbound(&mut self, slot: SaSlot) {
        let Some(Some(entry)) = self.slots.get_mut(slot.index()) else { return };
        if !std::mem::replace(&mut entry.outbound, false) {
            return;
        }
        let (policy, older) = (entry.policy, entry.older.take());
        let Some(newest) = self.newest.get_mut(policy.index()) else { return };
        if *newest == Some(slot) {
            *newest = older;
            return;
        }
        let mut at = *newest;
        while let Some(current) = at {
            let Some(Some(entry)) = self.slots.get_mut(current.index()) else { return };
            if entry.older == Some(slot) {
                entry.older = older;
                return;
            }
            at = entry.older;
        }
    }

    /// Empties a slot.
    pub fn remove(&mut self, slot: SaSlot) -> Option<(Arc<InstalledSa>, Option<ReplayWindow>)> {
        self.retire_outbound(slot);
        let sa = self.slots.get_mut(slot.index())?.take()?.sa;
        Some((sa, self.windows.get_mut(slot.index()).and_then(Option::take)))
    }

    /// The SAs to read and the windows to write.
    #[inline]
    pub fn split(&mut self) -> (Sas<'_>, Windows<'_>) {
        (Sas { slots: &self.slots, newest: &self.newest }, Windows(&mut self.windows))
    }
}

impl SadEntry {
    /// Its slot.
    #[inline]
    pub const fn slot(&self) -> SaSlot {
        SaSlot::of(self.spi)
    }

    /// Where the outbound half leads now.
    #[inline]
    pub const fn tunnel(&self) -> Tunnel {
        self.template.tunnel()
    }

    /// The longest packet that may be sent to the peer from a port of this MTU.
    #[inline]
    pub fn outer_mtu(&self, port_mtu: usize) -> usize {
        port_mtu.min(self.path_mtu as usize)
    }
}

impl<'a> Sas<'a> {
    /// Has the caches fetch what the table says of a slot.
    #[inline]
    pub fn prefetch(&self, slot: SaSlot) {
        if let Some(place) = self.slots.get(slot.index()) {
            esp_crypto::prefetch(place);
        }
    }

    /// The SA that a received packet names.
    #[inline]
    pub fn inbound(&self, spi: u32) -> Option<&'a SadEntry> {
        let entry = self.slots.get(SaSlot::of(spi).index())?.as_ref()?;
        (entry.spi == spi).then_some(entry)
    }

    /// The SA in a slot whose outbound half carries packets.
    #[inline]
    pub fn sending(&self, slot: SaSlot) -> Option<&'a SadEntry> {
        self.slots.get(slot.index())?.as_ref().filter(|entry| entry.outbound && entry.sa.state.is_active())
    }

    /// The SA in a slot.
    #[inline]
    pub fn at(&self, slot: SaSlot) -> Option<&'a SadEntry> {
        self.slots.get(slot.index())?.as_ref()
    }

    /// Whether a newer SA of its policy that is not active yet takes over packets of a flow from this one once it is.
    pub fn is_to_be_replaced(&self, entry: &SadEntry, flow: &Flow) -> bool {
        let newer = self.chain(entry.policy).take_while(|newer| newer.spi != entry.spi);
        newer.into_iter().any(|newer| newer.sa.outbound_selectors.permits(flow))
    }

    /// The newest SA of a policy that is active and covers the packet.
    #[inline]
    pub fn outbound(&self, policy: PolicySlot, flow: &Flow) -> Option<&'a SadEntry> {
        self.chain(policy).find(|entry| entry.sa.state.is_active() && entry.sa.outbound_selectors.permits(flow))
    }

    #[inline]
    fn chain(&self, policy: PolicySlot) -> impl Iterator<Item = &'a SadEntry> + use<'a> {
        let slots = self.slots;
        let entry = move |slot: SaSlot| slots.get(slot.index())?.as_ref();
        let first = self.newest.get(policy.index()).copied().flatten().and_then(entry);
        std::iter::successors(first, move |newer| newer.older.and_then(entry))
    }
}

impl Windows<'_> {
    /// Has the caches fetch the window of an SA.
    #[inline]
    pub fn prefetch(&self, slot: SaSlot) {
        if let Some(place) = self.0.get(slot.index()) {
            esp_crypto::prefetch(place);
        }
    }

    /// The window of an SA, where this worker owns it.
    #[inline]
    pub fn of(&self, slot: SaSlot) -> Option<&ReplayWindow> {
        self.0.get(slot.index())?.as_ref()
    }

    /// The window of an SA, to be advanced.
    #[inline]
    pub fn of_mut(&mut self, slot: SaSlot) -> Option<&mut ReplayWindow> {
        self.0.get_mut(slot.index())?.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use esp::{DontFragment, Ends, InboundSa, OutboundSa, SaKey, Selectors, WindowSize};
    use ipsec_types::{AddressRange, ChildSaId, EncryptionAlgorithm, Secret, SequenceNumbers, Tfc, TrafficSelector};
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Quota, SaState, WorkerId};

    const SLOTS: usize = 6;
    const POLICIES: usize = 3;

    fn sa(id: u64, slot: u32, policy: u32, active: bool) -> Arc<InstalledSa> {
        let key = || SaKey::from_keymat(EncryptionAlgorithm::AesGcm128, &Secret::new(vec![7; 20])).unwrap();
        let all = || vec![TrafficSelector::addresses_only(AddressRange::ALL_IPV4)];
        let any = || Selectors::new(all(), all());
        let slot = SaSlot::new(slot).unwrap();
        let spi = slot.spi(u16::try_from(id % 9 + 1).unwrap()).unwrap();
        Arc::new(InstalledSa {
            id: ChildSaId(id),
            slot,
            policy: PolicySlot(policy),
            owner: WorkerId(0),
            inbound: InboundSa::new(spi, key(), SequenceNumbers::Standard, WindowSize::OFF, any()),
            outbound: OutboundSa::new(spi, key(), SequenceNumbers::Standard),
            outbound_selectors: any(),
            tfc: Tfc::default(),
            state: SaState::new(active, Quota::UNLIMITED),
        })
    }

    /// To the host of this number.
    fn tunnel(host: u8) -> Tunnel {
        let ends = Ends::V4 { source: Ipv4Addr::new(192, 0, 2, 1), destination: Ipv4Addr::new(198, 51, 100, host) };
        Tunnel { ends, udp: None, dont_fragment: DontFragment::Copy, copy_dscp: true }
    }

    fn flow() -> Flow {
        let address = Ipv4Addr::new(10, 0, 0, 1).into();
        Flow { source: address, destination: address, protocol: 17, source_port: Some(1), destination_port: Some(1) }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Install { slot: u32, policy: u32, active: bool },
        Retarget { slot: u32, host: u8 },
        Retire(u32),
        Remove(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        // One slot and one policy beyond the table.
        let (slot, policy) = (0..=u32::try_from(SLOTS).unwrap(), 0..=u32::try_from(POLICIES).unwrap());
        prop_oneof![
            2 => (slot.clone(), policy, any::<bool>()).prop_map(|(slot, policy, active)| Step::Install { slot, policy, active }),
            1 => (slot.clone(), any::<u8>()).prop_map(|(slot, host)| Step::Retarget { slot, host }),
            1 => slot.clone().prop_map(Step::Retire),
            1 => slot.prop_map(Step::Remove),
        ]
    }

    /// One SA of the model: the SA, whether its outbound half is in use, and where that leads.
    struct Known {
        sa: Arc<InstalledSa>,
        outbound: bool,
        tunnel: Tunnel,
    }

    fn install(sad: &mut Sad, model: &mut Vec<Known>, sa: Arc<InstalledSa>) {
        let taken = model.iter().any(|known| known.sa.slot == sa.slot);
        let fits = sa.slot.index() < SLOTS && sa.policy.index() < POLICIES && !taken;
        assert_eq!(sad.install(Arc::clone(&sa), tunnel(1), Some(ReplayWindow::new(WindowSize::OFF))).is_ok(), fits);
        if fits {
            model.push(Known { sa, outbound: true, tunnel: tunnel(1) });
        }
    }

    fn agree(sad: &mut Sad, model: &[Known]) {
        let (sas, windows) = sad.split();
        let found = |entry: &SadEntry| (entry.sa.id, entry.tunnel());
        let wanted = |known: &Known| (known.sa.id, known.tunnel);
        for policy in (0..=u32::try_from(POLICIES).unwrap()).map(PolicySlot) {
            let newest = model.iter().rev().find(|known| known.outbound && known.sa.policy == policy && known.sa.state.is_active());
            assert_eq!(sas.outbound(policy, &flow()).map(found), newest.map(wanted));
        }
        for slot in (0..=u32::try_from(SLOTS).unwrap()).filter_map(SaSlot::new) {
            let there = model.iter().find(|known| known.sa.slot == slot);
            assert_eq!(windows.of(slot).is_some(), there.is_some());
            for spi in (1..10).filter_map(|generation| slot.spi(generation)) {
                let named = there.filter(|known| known.sa.inbound.spi() == spi);
                assert_eq!(sas.inbound(spi.value()).map(found), named.map(wanted));
            }
        }
    }

    proptest! {
        /// The chains and slots against a list that is searched from its end.
        #[test]
        fn chains_hold_the_newest_active_sa_of_each_policy_first(steps in prop::collection::vec(step(), 0..40)) {
            let mut sad = Sad::new(SLOTS, POLICIES);
            let mut model: Vec<Known> = Vec::new();
            for (id, step) in (0..).zip(steps) {
                match step {
                    Step::Install { slot, policy, active } => install(&mut sad, &mut model, sa(id, slot, policy, active)),
                    Step::Retarget { slot, host } => {
                        sad.retarget(SaSlot::new(slot).unwrap(), tunnel(host));
                        model.iter_mut().filter(|known| known.sa.slot.0 == slot).for_each(|known| known.tunnel = tunnel(host));
                    }
                    Step::Retire(slot) => {
                        sad.retire_outbound(SaSlot::new(slot).unwrap());
                        model.iter_mut().filter(|known| known.sa.slot.0 == slot).for_each(|known| known.outbound = false);
                    }
                    Step::Remove(slot) => {
                        let wanted = model.iter().find(|known| known.sa.slot.0 == slot).map(|known| known.sa.id);
                        let removed = sad.remove(SaSlot::new(slot).unwrap());
                        prop_assert_eq!(removed.as_ref().map(|(sa, _)| sa.id), wanted);
                        prop_assert!(removed.is_none_or(|(_, window)| window.is_some()));
                        model.retain(|known| known.sa.slot.0 != slot);
                    }
                }
                agree(&mut sad, &model);
            }
        }
    }

    #[test]
    fn an_spi_is_a_generation_and_a_slot() {
        let slot = SaSlot::new(MAX_SLOTS - 1).unwrap();
        assert_eq!(SaSlot::new(MAX_SLOTS), None);
        assert_eq!((slot.spi(0), slot.spi(MAX_GENERATION + 1)), (None, None));
        assert_eq!(slot.spi(MAX_GENERATION).map(Spi::value), Some(u32::MAX));
        assert_eq!(SaSlot::new(0).unwrap().spi(1).map(Spi::value), Some(0x0010_0000));
        assert_eq!(SaSlot::of(0xabc0_0005), SaSlot::new(5).unwrap());
    }
}
