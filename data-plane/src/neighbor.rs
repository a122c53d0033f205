//! Who is where: address resolution for next hops (RFC 826, RFC 1122 section 2.3.2; RFC 4861 section 7).
//!
//! A pure table: it is told what happened and when, and says which requests to send. An entry appears when a packet needs it, or when a
//! neighbour asks for one of our addresses; announcements nobody asked for only change entries that are there. Whoever is on one port's
//! network can neither take the room of another port's neighbours, nor that of neighbours which packets need.

use std::collections::{BTreeMap, HashMap, hash_map};
use std::net::IpAddr;

use packet::ethernet::MacAddress;

use crate::command::PortId;
use crate::table::{Neighbors, NextHop};

/// Neighbours the table holds at most on each port.
pub const CAPACITY: usize = 1024;
/// Milliseconds until each next ARP request, and until giving up after the last: a lost first request costs little.
const ARP_RETRY_MS: &[u64] = &[200, 1000, 1000, 1000];
/// The same for solicitations: MAX_MULTICAST_SOLICIT of them, and one in a second at most (RFC 4861 sections 7.2.2 and 10).
const ND_RETRY_MS: &[u64] = &[1000, 1000, 1000];
/// How long an answer is believed; then it is asked for again while it stays in use.
const REACHABLE_MS: u64 = 300_000;

/// When a static entry is due.
const NEVER: u64 = u64::MAX;

/// The table.
#[derive(Debug, Default)]
pub struct NeighborCache {
    ports: BTreeMap<PortId, HashMap<IpAddr, Entry>>,
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    mac: Option<MacAddress>,
    /// Requests sent since the last answer.
    requests: usize,
    /// When to send the next request, or to give up.
    due_ms: u64,
    /// Whether a packet asked for it, or the configuration. The others make room for those.
    wanted: bool,
}

/// What became of a wish to know a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It will be asked for by the next [`NeighborCache::poll`], or has been.
    Pending,
    /// It is known.
    Known(MacAddress),
    /// The port's table is full of neighbours that packets need.
    Full,
}

impl NeighborCache {
    /// A table that knows some neighbours from the start and for ever.
    pub fn with_static(neighbors: impl IntoIterator<Item = (NextHop, MacAddress)>) -> Self {
        let mut cache = Self::default();
        for (hop, mac) in neighbors {
            let entry = Entry { mac: Some(mac), requests: 0, due_ms: NEVER, wanted: true };
            cache.ports.entry(hop.port).or_default().insert(hop.address, entry);
            cache.changed = true;
        }
        cache
    }

    /// A packet needs this neighbour.
    pub fn resolve(&mut self, hop: NextHop, now_ms: u64) -> Resolution {
        let entries = self.ports.entry(hop.port).or_default();
        if let Some(entry) = entries.get_mut(&hop.address) {
            entry.wanted = true;
            return entry.mac.map_or(Resolution::Pending, Resolution::Known);
        }
        if entries.len() >= CAPACITY {
            let unwanted = entries.iter().filter(|(_, entry)| !entry.wanted);
            let Some(oldest) = unwanted.min_by_key(|(_, entry)| entry.due_ms).map(|(address, _)| *address) else {
                return Resolution::Full;
            };
            entries.remove(&oldest);
            self.changed = true;
        }
        entries.insert(hop.address, Entry { mac: None, requests: 0, due_ms: now_ms, wanted: true });
        Resolution::Pending
    }

    /// A neighbour said where it is. `asked_us` says that it asked for an address of ours, and so will talk to us: then it gets an entry of
    /// its own (RFC 826, "merge flag").
    pub fn learn(&mut self, hop: NextHop, mac: MacAddress, asked_us: bool, now_ms: u64) {
        if mac.is_group() {
            return;
        }
        let entries = self.ports.entry(hop.port).or_default();
        let full = entries.len() >= CAPACITY;
        let entry = match entries.entry(hop.address) {
            hash_map::Entry::Occupied(entry) if entry.get().due_ms == NEVER => return,
            hash_map::Entry::Occupied(entry) => entry.into_mut(),
            hash_map::Entry::Vacant(place) if asked_us && !full => place.insert(Entry { mac: None, requests: 0, due_ms: 0, wanted: false }),
            hash_map::Entry::Vacant(_) => return,
        };
        self.changed |= entry.mac != Some(mac);
        *entry = Entry { mac: Some(mac), requests: 0, due_ms: now_ms.saturating_add(REACHABLE_MS), wanted: entry.wanted };
    }

    /// A neighbour sent an advertisement (RFC 4861 section 7.2.5). Without `mac` it confirms what is known, where it was `solicited`. One that
    /// does not override replaces nothing that is known: the neighbour is asked instead.
    pub fn advertised(&mut self, hop: NextHop, mac: Option<MacAddress>, overrides: bool, solicited: bool, now_ms: u64) {
        let Some(entry) = self.ports.get_mut(&hop.port).and_then(|entries| entries.get_mut(&hop.address)) else { return };
        match (entry.mac, mac) {
            (Some(known), Some(other)) if known != other && !overrides => {
                // Only where no question is under way: nobody can make the gateway ask more often than its schedule says.
                if entry.due_ms != NEVER && entry.requests == 0 {
                    entry.due_ms = now_ms;
                }
            }
            (_, Some(mac)) => self.learn(hop, mac, false, now_ms),
            (Some(known), None) if solicited => self.learn(hop, known, false, now_ms),
            (_, None) => {}
        }
    }

    /// Calls `request` for each neighbour that is to be asked now. A neighbour that never answers is forgotten.
    pub fn poll(&mut self, now_ms: u64, mut request: impl FnMut(NextHop)) {
        let changed = &mut self.changed;
        for (port, entries) in &mut self.ports {
            entries.retain(|address, entry| {
                if entry.due_ms > now_ms {
                    return true;
                }
                let schedule = if address.is_ipv4() { ARP_RETRY_MS } else { ND_RETRY_MS };
                let Some(wait) = schedule.get(entry.requests) else {
                    *changed |= entry.mac.is_some();
                    return false;
                };
                entry.requests += 1;
                entry.due_ms = now_ms.saturating_add(*wait);
                request(NextHop { port: *port, address: *address });
                true
            });
        }
    }

    /// The table for the workers, where it has changed since the last call.
    pub fn changes(&mut self) -> Option<Neighbors> {
        std::mem::take(&mut self.changed).then(|| Neighbors::new(self.entries().filter_map(|(hop, entry)| Some((hop, entry.mac?)))))
    }

    fn entries(&self) -> impl Iterator<Item = (NextHop, &Entry)> {
        self.ports
            .iter()
            .flat_map(|(port, entries)| entries.iter().map(|(address, entry)| (NextHop { port: *port, address: *address }, entry)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn hop(n: u32) -> NextHop {
        NextHop { port: PortId(0), address: std::net::Ipv4Addr::from(0x0a00_0000 + n).into() }
    }

    fn requests(cache: &mut NeighborCache, now_ms: u64) -> usize {
        let mut n = 0;
        cache.poll(now_ms, |_| n += 1);
        n
    }

    #[test]
    fn static_neighbours_stay_as_they_are() {
        let mut cache = NeighborCache::with_static([(hop(1), MAC)]);
        assert_eq!(cache.changes().unwrap().lookup(hop(1)), Some(MAC));
        cache.learn(hop(1), OTHER, true, 0);
        assert_eq!(requests(&mut cache, u64::MAX - 1), 0);
        assert_eq!(cache.resolve(hop(1), u64::MAX - 1), Resolution::Known(MAC));
        assert!(cache.changes().is_none());
    }

    #[test]
    fn requests_are_repeated_at_their_times_and_then_given_up() {
        let mut cache = NeighborCache::default();
        assert_eq!(cache.resolve(hop(1), 1000), Resolution::Pending);
        assert_eq!(cache.resolve(hop(1), 1000), Resolution::Pending);
        let asked: Vec<u64> = (1000..6000).filter(|&now| requests(&mut cache, now) == 1).collect();
        assert_eq!(asked, [1000, 1200, 2200, 3200]);
        assert!(cache.entries().next().is_none());
        assert!(cache.changes().is_none(), "what was never known is no change");
    }

    #[test]
    fn an_answer_is_published_once_and_refreshed_after_five_minutes() {
        let mut cache = NeighborCache::default();
        cache.resolve(hop(1), 0);
        assert_eq!(requests(&mut cache, 0), 1);
        cache.learn(hop(1), MAC, false, 10);
        assert_eq!(cache.changes().and_then(|n| n.lookup(hop(1))), Some(MAC));
        assert!(cache.changes().is_none());
        assert_eq!(cache.resolve(hop(1), 20), Resolution::Known(MAC));
        assert_eq!(requests(&mut cache, 300_009), 0);
        assert_eq!(requests(&mut cache, 300_010), 1, "asked again, and still in use");
        assert_eq!(cache.resolve(hop(1), 300_010), Resolution::Known(MAC));
        let asked = (300_011..304_000).map(|now| requests(&mut cache, now)).sum::<usize>();
        assert_eq!((asked, cache.entries().next().is_none()), (3, true));
        assert_eq!(cache.changes().map(|n| n.lookup(hop(1))), Some(None));
    }

    #[test]
    fn an_announcement_nobody_asked_for_changes_known_neighbours_only() {
        let mut cache = NeighborCache::default();
        cache.learn(hop(1), MAC, false, 0);
        assert!(cache.entries().next().is_none());
        cache.learn(hop(1), MAC, true, 0);
        cache.learn(hop(1), OTHER, false, 0);
        assert_eq!(cache.resolve(hop(1), 0), Resolution::Known(OTHER));
        cache.learn(hop(1), MacAddress([0xff; 6]), false, 0);
        assert_eq!(cache.resolve(hop(1), 0), Resolution::Known(OTHER), "a group address is nobody's");
    }

    #[test]
    fn an_advertisement_replaces_only_what_it_may() {
        let hop = NextHop { port: PortId(0), address: std::net::Ipv6Addr::from(0x20_u128).into() };
        let mut cache = NeighborCache::default();
        cache.advertised(hop, Some(MAC), true, true, 0);
        assert!(cache.entries().next().is_none(), "nobody asked");
        cache.resolve(hop, 0);
        assert_eq!(requests(&mut cache, 0), 1);
        cache.advertised(hop, None, true, true, 10);
        assert_eq!(cache.resolve(hop, 10), Resolution::Pending, "it does not say where");
        cache.advertised(hop, Some(MAC), false, false, 10);
        assert_eq!(cache.resolve(hop, 10), Resolution::Known(MAC), "there was nothing to replace");
        cache.advertised(hop, Some(OTHER), false, true, 20);
        assert_eq!(cache.resolve(hop, 20), Resolution::Known(MAC));
        assert_eq!(requests(&mut cache, 20), 1, "asked, since somebody says otherwise");
        cache.advertised(hop, Some(OTHER), false, true, 30);
        assert_eq!(requests(&mut cache, 30), 0, "but no more than once");
        cache.advertised(hop, None, false, false, 40);
        assert_eq!(requests(&mut cache, 1020), 1, "unasked, it confirms nothing");
        cache.advertised(hop, None, false, true, 1030);
        assert_eq!((requests(&mut cache, 301_029), requests(&mut cache, 301_030)), (0, 1), "confirmed for five minutes");
        cache.advertised(hop, Some(OTHER), true, false, 301_040);
        assert_eq!(cache.resolve(hop, 301_040), Resolution::Known(OTHER));
    }

    #[test]
    fn solicitations_are_a_second_apart() {
        let mut cache = NeighborCache::default();
        let hop = NextHop { port: PortId(0), address: std::net::Ipv6Addr::from(0x20_u128).into() };
        cache.resolve(hop, 1000);
        let asked: Vec<u64> = (1000..9000).filter(|&now| requests(&mut cache, now) == 1).collect();
        assert_eq!(asked, [1000, 2000, 3000]);
        assert!(cache.entries().next().is_none());
    }

    #[test]
    fn a_full_table_refuses_one_more() {
        let mut cache = NeighborCache::default();
        for n in 0..1024 {
            assert_eq!(cache.resolve(hop(n), 0), Resolution::Pending);
        }
        assert_eq!(cache.resolve(hop(1024), 0), Resolution::Full);
        cache.learn(hop(1024), MAC, true, 0);
        assert_eq!(cache.entries().count(), 1024);
    }

    #[test]
    fn who_was_learnt_unasked_makes_room_for_whom_a_packet_needs() {
        let mut cache = NeighborCache::with_static([(hop(0), MAC)]);
        cache.resolve(hop(1), 0);
        cache.learn(hop(1), MAC, true, 0);
        (2..1024).for_each(|n| cache.learn(hop(n), MAC, true, n.into()));
        cache.changes().unwrap();
        assert_eq!(cache.resolve(hop(1024), 0), Resolution::Pending);
        let known = cache.changes().unwrap();
        let gone: Vec<u32> = (0..1024).filter(|n| known.lookup(hop(*n)).is_none()).collect();
        assert_eq!(gone, [2], "the one that was learnt first");
        (1025..2046).for_each(|n| assert_eq!(cache.resolve(hop(n), 0), Resolution::Pending));
        assert_eq!(cache.resolve(hop(2046), 0), Resolution::Full);
        assert_eq!([0, 1].map(|n| cache.resolve(hop(n), 0)), [Resolution::Known(MAC); 2]);
    }

    #[test]
    fn a_port_whose_table_is_full_leaves_the_others_theirs() {
        let mut cache = NeighborCache::default();
        (0..1024).for_each(|n| cache.learn(hop(n), MAC, true, 0));
        let other = NextHop { port: PortId(1), ..hop(1) };
        cache.learn(other, OTHER, true, 0);
        assert_eq!(cache.resolve(other, 0), Resolution::Known(OTHER));
    }
}
