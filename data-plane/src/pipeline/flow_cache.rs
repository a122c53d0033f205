//! What the tables said of the last packets from the protected side: an SA for each flow, and for each SA the way out.
//!
//! It holds what [`super::outbound::rule`] has found, so that the next packet of a flow asks neither the SPD, nor SAs, routes and neighbours. Whatever the
//! answer depends on arrives as a command, and each that matters begins a new epoch: entries of former ones are not there. SAs become active without
//! one, which is why a flow is only kept where no SA of its policy could take over so.
//!
//! A bucket is one cache line, with three flows of IPv4 or, in two lines, of IPv6. Which bucket a flow is in depends on keys that nobody outside knows: flows
//! cannot be chosen so that they meet in one.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use ipsec_types::{Dscp, Flow};
use packet::ethernet;
use packet::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use packet::plain::Plain;

use crate::command::PortId;
use crate::table::SaSlot;

/// The fields of an IPv4 packet with nothing special that the tables ask for, in words as they stand in the packet, the first octet lowest. All other
/// packets are looked up each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKeyV4([u64; 2]);

/// The same of an IPv6 packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FlowKeyV6([u64; 5]);

/// A key of either version.
#[derive(Debug, Clone, Copy)]
pub(super) enum FlowKey {
    V4(FlowKeyV4),
    V6(FlowKeyV6),
}

/// A key, and where flows of its version are kept.
pub(super) trait Key {
    /// Where it is kept if it is; the caches are told to fetch that.
    fn place(&self, flows: &FlowCache) -> Place;
    /// What is kept of it there.
    fn find(&self, flows: &FlowCache, place: Place) -> Option<SaSlot>;
    /// Keeps its SA.
    fn keep(&self, flows: &mut FlowCache, slot: SaSlot);
}

impl From<&Plain<1>> for FlowKeyV4 {
    #[inline(always)]
    fn from(plain: &Plain<1>) -> Self {
        let [addresses] = plain.addresses;
        Self([addresses, rest(plain.ports, plain.protocol, Dscp::of_traffic_class(plain.parsed.traffic_class()))])
    }
}

impl From<&Plain<4>> for FlowKeyV6 {
    #[inline(always)]
    fn from(plain: &Plain<4>) -> Self {
        let [a, b, c, d] = plain.addresses;
        Self([a, b, c, d, rest(plain.ports, plain.protocol, Dscp::of_traffic_class(plain.parsed.traffic_class()))])
    }
}

impl Key for FlowKeyV4 {
    #[inline(always)]
    fn place(&self, flows: &FlowCache) -> Place {
        flows.v4.place(hash4(&flows.secrets, &self.0))
    }

    #[inline(always)]
    fn find(&self, flows: &FlowCache, place: Place) -> Option<SaSlot> {
        flows.v4.find(place, &self.0, flows.epoch)
    }

    fn keep(&self, flows: &mut FlowCache, slot: SaSlot) {
        flows.v4.keep(hash4(&flows.secrets, &self.0), &self.0, slot, flows.epoch);
    }
}

impl Key for FlowKeyV6 {
    #[inline(always)]
    fn place(&self, flows: &FlowCache) -> Place {
        flows.v6.place(hash6(&flows.secrets, &self.0))
    }

    #[inline(always)]
    fn find(&self, flows: &FlowCache, place: Place) -> Option<SaSlot> {
        flows.v6.find(place, &self.0, flows.epoch)
    }

    fn keep(&self, flows: &mut FlowCache, slot: SaSlot) {
        flows.v6.keep(hash6(&flows.secrets, &self.0), &self.0, slot, flows.epoch);
    }
}

impl FlowKey {
    /// The key of a packet that was parsed; `None` where it has no ports of TCP or UDP.
    pub(super) fn of(flow: &Flow, dscp: Dscp) -> Option<Self> {
        if !matches!(flow.protocol, PROTOCOL_TCP | PROTOCOL_UDP) {
            return None;
        }
        let ([a, b], [c, d]) = (flow.source_port?.to_be_bytes(), flow.destination_port?.to_be_bytes());
        let rest = rest(u32::from_le_bytes([a, b, c, d]), flow.protocol, dscp);
        match (flow.source, flow.destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => Some(Self::V4(FlowKeyV4([pair(source.octets(), destination.octets()), rest]))),
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let ([a, b], [c, d]) = (words(source.octets()), words(destination.octets()));
                Some(Self::V6(FlowKeyV6([a, b, c, d, rest])))
            }
            _ => None,
        }
    }
}

impl Key for FlowKey {
    fn place(&self, flows: &FlowCache) -> Place {
        match self {
            Self::V4(key) => key.place(flows),
            Self::V6(key) => key.place(flows),
        }
    }

    fn find(&self, flows: &FlowCache, place: Place) -> Option<SaSlot> {
        match self {
            Self::V4(key) => key.find(flows, place),
            Self::V6(key) => key.find(flows, place),
        }
    }

    fn keep(&self, flows: &mut FlowCache, slot: SaSlot) {
        match self {
            Self::V4(key) => key.keep(flows, slot),
            Self::V6(key) => key.keep(flows, slot),
        }
    }
}

/// Never zero, as the key of an empty place is.
#[inline]
fn rest(ports: u32, protocol: u8, dscp: Dscp) -> u64 {
    u64::from(ports) | u64::from(protocol) << 32 | u64::from(dscp.value()) << 40
}

#[inline]
const fn pair([a, b, c, d]: [u8; 4], [e, f, g, h]: [u8; 4]) -> u64 {
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[inline]
const fn words(octets: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
    [u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p])]
}

/// How packets leave that were sealed in an SA.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    epoch: u32,
    /// The longest packet that crosses whole.
    pub(super) longest: u32,
    pub(super) port: PortId,
    /// The Ethernet header of what leaves.
    pub(super) ethernet: [u8; ethernet::HEADER_LEN],
}

impl Way {
    const NONE: Self = Self { epoch: 0, longest: 0, port: PortId(0), ethernet: [0; ethernet::HEADER_LEN] };

    /// A way for the epoch in which it is found.
    pub(super) fn new(longest: usize, port: PortId, ethernet: [u8; ethernet::HEADER_LEN]) -> Self {
        Self { epoch: 0, longest: u32::try_from(longest).unwrap_or(u32::MAX), port, ethernet }
    }
}

/// The cache of one worker.
#[derive(Debug)]
pub(super) struct FlowCache {
    /// Never zero: that is the epoch of what was never written.
    epoch: u32,
    v4: Flows<2, 3>,
    v6: Flows<5, 2>,
    /// By SA.
    ways: Box<[Way]>,
    secrets: [u64; 6],
}

/// The bucket of a flow.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place(u32);

/// What is known of flows, in a power of two of buckets.
#[derive(Debug)]
struct Flows<const WORDS: usize, const WAYS: usize>(Box<[Bucket<WORDS, WAYS>]>);

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Bucket<const WORDS: usize, const WAYS: usize> {
    keys: [[u64; WORDS]; WAYS],
    slots: [SaSlot; WAYS],
    epoch: u32,
}

const _: () = assert!(size_of::<Bucket<2, 3>>() == 64 && size_of::<Bucket<5, 2>>() == 128);

impl FlowCache {
    /// An empty cache for so many flows of either IP version and the SAs of so many slots.
    pub(super) fn new(flows: usize, sad_slots: usize) -> Self {
        let ways = vec![Way::NONE; sad_slots].into_boxed_slice();
        Self { epoch: 1, v4: Flows::new(flows), v6: Flows::new(flows), ways, secrets: secrets() }
    }

    /// What was found so far need not be so any more.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.restart();
        }
    }

    /// Epochs have run out: entries of four billion ago must not be taken for new ones.
    #[cold]
    fn restart(&mut self) {
        self.epoch = 1;
        self.v4.0.fill(Bucket::EMPTY);
        self.v6.0.fill(Bucket::EMPTY);
        self.ways.fill(Way::NONE);
    }

    /// Has the caches fetch the way out of an SA.
    #[inline]
    pub(super) fn prefetch(&self, slot: SaSlot) {
        if let Some(way) = self.ways.get(slot.index()) {
            esp_crypto::prefetch(way);
        }
    }

    /// The way out of packets that were sealed in an SA.
    #[inline]
    pub(super) fn way(&self, slot: SaSlot) -> Option<&Way> {
        self.ways.get(slot.index()).filter(|way| way.epoch == self.epoch)
    }

    /// Keeps what was found for a packet.
    pub(super) fn keep(&mut self, flow: &Flow, dscp: Dscp, slot: SaSlot, way: Way) {
        let (Some(key), Some(place)) = (FlowKey::of(flow, dscp), self.ways.get_mut(slot.index())) else { return };
        *place = Way { epoch: self.epoch, ..way };
        key.keep(self, slot);
    }
}

/// Where the last packets went that came out of SAs: the way to each destination behind a protected port. Kept as flows are, one destination in a place.
#[derive(Debug)]
pub(super) struct DeliveryCache {
    epoch: u32,
    places: Box<[Delivery]>,
    secrets: [u64; 2],
}

#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
struct Delivery {
    destination: Destination,
    way: Way,
}

impl Delivery {
    const NONE: Self = Self { destination: Destination { words: [0; 2], is_v6: false }, way: Way::NONE };
}

/// An address in words as it stands in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Destination {
    words: [u64; 2],
    is_v6: bool,
}

impl From<IpAddr> for Destination {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "of whichever version the address is, half of it is left")]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { words: [u32::from_le_bytes(address.octets()).into(), 0], is_v6: false },
            IpAddr::V6(address) => Self { words: words(address.octets()), is_v6: true },
        }
    }
}

impl DeliveryCache {
    /// Destinations at most.
    const PLACES: usize = 4096;

    /// An empty cache.
    pub(super) fn new() -> Self {
        Self { epoch: 1, places: vec![Delivery::NONE; Self::PLACES].into_boxed_slice(), secrets: secrets() }
    }

    /// What was found so far need not be so any more.
    #[inline]
    pub(super) fn forget(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        if self.epoch == 0 {
            self.epoch = 1;
            self.places.fill(Delivery::NONE);
        }
    }

    /// The way to a destination: of packets that fit it, from whom packets are forwarded.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "of whichever version the address is, half of it is left")]
    pub(super) fn find(&self, destination: IpAddr) -> Option<&Way> {
        let destination = Destination::from(destination);
        let place = self.places.get(self.index(destination))?;
        let is_there = is_same(&place.destination.words, &destination.words) & (place.destination.is_v6 == destination.is_v6);
        (is_there && place.way.epoch == self.epoch).then_some(&place.way)
    }

    /// Keeps what was found for a packet.
    pub(super) fn keep(&mut self, destination: IpAddr, way: Way) {
        let (destination, epoch) = (Destination::from(destination), self.epoch);
        let index = self.index(destination);
        if let Some(place) = self.places.get_mut(index) {
            *place = Delivery { destination, way: Way { epoch, ..way } };
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "what is cut off is masked")]
    fn index(&self, Destination { words: [first, second], .. }: Destination) -> usize {
        mix(first ^ self.secrets[0], second ^ self.secrets[1]) as usize & (Self::PLACES - 1)
    }
}

/// Numbers that nobody outside knows.
fn secrets<const N: usize>() -> [u64; N] {
    let random = RandomState::new();
    let mut number = 0_u64;
    std::array::from_fn(|_| {
        number += 1;
        random.hash_one(number)
    })
}

impl<const WORDS: usize, const WAYS: usize> Flows<WORDS, WAYS> {
    fn new(flows: usize) -> Self {
        // At most every other place taken, or flows push one another out of full buckets.
        let buckets = (2 * flows).div_ceil(WAYS).next_power_of_two();
        Self(vec![Bucket::EMPTY; buckets].into_boxed_slice())
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "fewer than 2^32 buckets")]
    fn place(&self, hash: u64) -> Place {
        let index = self.index(hash);
        if let Some(bucket) = self.0.get(index) {
            esp_crypto::prefetch(bucket);
        }
        Place(index as u32)
    }

    #[inline]
    fn find(&self, Place(index): Place, key: &[u64; WORDS], epoch: u32) -> Option<SaSlot> {
        let bucket = self.0.get(index as usize)?;
        // All ways are compared: which one it is, no CPU guesses.
        let pick = |found, (way, kept)| if is_same(kept, key) { way } else { found };
        let way = bucket.keys.iter().enumerate().fold(WAYS, pick);
        if bucket.epoch == epoch { bucket.slots.get(way).copied() } else { None }
    }

    fn keep(&mut self, hash: u64, key: &[u64; WORDS], slot: SaSlot, epoch: u32) {
        let index = self.index(hash);
        let Some(bucket) = self.0.get_mut(index) else { return };
        if bucket.epoch != epoch {
            *bucket = Bucket { epoch, ..Bucket::EMPTY };
        }
        let taken = |wanted: &[u64; WORDS]| bucket.keys.iter().position(|kept| kept == wanted);
        // Where all are taken, one makes room that the hash picks.
        let way = taken(key).or_else(|| taken(&[0; WORDS])).unwrap_or((hash >> 56) as usize % WAYS);
        if let (Some(kept), Some(place)) = (bucket.keys.get_mut(way), bucket.slots.get_mut(way)) {
            (*kept, *place) = (*key, slot);
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "what is cut off is masked")]
    const fn index(&self, hash: u64) -> usize {
        hash as usize & (self.0.len() - 1)
    }
}

impl<const WORDS: usize, const WAYS: usize> Bucket<WORDS, WAYS> {
    const EMPTY: Self = Self { keys: [[0; WORDS]; WAYS], slots: [SaSlot::of(0); WAYS], epoch: 0 };
}

/// Word by word: a vector of what was just written in words would have to wait for it.
#[inline]
fn is_same<const WORDS: usize>(kept: &[u64; WORDS], key: &[u64; WORDS]) -> bool {
    kept.iter().zip(key).fold(0, |difference, (kept, key)| difference | (kept ^ key)) == 0
}

#[inline]
fn hash4(secrets: &[u64; 6], [addresses, rest]: &[u64; 2]) -> u64 {
    mix(addresses ^ secrets[0], rest ^ secrets[1])
}

#[inline]
fn hash6(secrets: &[u64; 6], [a, b, c, d, rest]: &[u64; 5]) -> u64 {
    mix(mix(a ^ secrets[2], b ^ secrets[3]) ^ mix(c ^ secrets[4], d ^ secrets[5]), rest ^ secrets[1])
}

/// Both halves of a product, so that each bit depends on each.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "either half")]
const fn mix(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    product as u64 ^ (product >> 64) as u64
}
