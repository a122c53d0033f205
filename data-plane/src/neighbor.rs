//! Who is where: address resolution for next hops (RFC 826, RFC 1122 section 2.3.2).
//!
//! A pure table: it is told what happened and when, and says which requests to send. An entry appears when a packet needs it, or when a
//! neighbour asks for one of our addresses; announcements nobody asked for only change entries that are there.

use std::collections::HashMap;

use packet::ethernet::MacAddress;

use crate::table::{Neighbors, NextHop};

/// Neighbours the table holds at most.
pub const CAPACITY: usize = 1024;
/// Milliseconds until each next request, and until giving up after the last: a lost first request costs little.
const RETRY_MS: [u64; 4] = [200, 1000, 1000, 1000];
/// How long an answer is believed; then it is asked for again while it stays in use.
const REACHABLE_MS: u64 = 300_000;

/// When a static entry is due.
const NEVER: u64 = u64::MAX;

/// The table.
#[derive(Debug, Default)]
pub struct NeighborCache {
    entries: HashMap<NextHop, Entry>,
    changed: bool,
}

#[derive(Debug)]
struct Entry {
    mac: Option<MacAddress>,
    /// Requests sent since the last answer.
    requests: usize,
    /// When to send the next request, or to give up.
    due_ms: u64,
}

/// What became of a wish to know a neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It will be asked for by the next [`NeighborCache::poll`], or has been.
    Pending,
    /// It is known.
    Known(MacAddress),
    /// The table is full.
    Full,
}

impl NeighborCache {
    /// A table that knows some neighbours from the start and for ever.
    pub fn with_static(neighbors: impl IntoIterator<Item = (NextHop, MacAddress)>) -> Self {
        let entry = |mac| Entry { mac: Some(mac), requests: 0, due_ms: NEVER };
        let entries: HashMap<_, _> = neighbors.into_iter().map(|(hop, mac)| (hop, entry(mac))).collect();
        Self { changed: !entries.is_empty(), entries }
    }

    /// A packet needs this neighbour.
    pub fn resolve(&mut self, hop: NextHop, now_ms: u64) -> Resolution {
        if let Some(entry) = self.entries.get(&hop) {
            return entry.mac.map_or(Resolution::Pending, Resolution::Known);
        }
        if self.entries.len() >= CAPACITY {
            return Resolution::Full;
        }
        self.entries.insert(hop, Entry { mac: None, requests: 0, due_ms: now_ms });
        Resolution::Pending
    }

    /// A neighbour said where it is. `asked_us` says that it asked for an address of ours, and so will talk to us: then it gets an entry of
    /// its own (RFC 826, "merge flag").
    pub fn learn(&mut self, hop: NextHop, mac: MacAddress, asked_us: bool, now_ms: u64) {
        if mac.is_group() {
            return;
        }
        let full = self.entries.len() >= CAPACITY;
        let entry = match self.entries.entry(hop) {
            std::collections::hash_map::Entry::Occupied(entry) if entry.get().due_ms == NEVER => return,
            std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) if asked_us && !full => {
                place.insert(Entry { mac: None, requests: 0, due_ms: 0 })
            }
            std::collections::hash_map::Entry::Vacant(_) => return,
        };
        self.changed |= entry.mac != Some(mac);
        *entry = Entry { mac: Some(mac), requests: 0, due_ms: now_ms.saturating_add(REACHABLE_MS) };
    }

    /// Calls `request` for each neighbour that is to be asked now. A neighbour that never answers is forgotten.
    pub fn poll(&mut self, now_ms: u64, mut request: impl FnMut(NextHop)) {
        let changed = &mut self.changed;
        self.entries.retain(|hop, entry| {
            if entry.due_ms > now_ms {
                return true;
            }
            let Some(wait) = RETRY_MS.get(entry.requests) else {
                *changed |= entry.mac.is_some();
                return false;
            };
            entry.requests += 1;
            entry.due_ms = now_ms.saturating_add(*wait);
            request(*hop);
            true
        });
    }

    /// The table for the workers, where it has changed since the last call.
    pub fn changes(&mut self) -> Option<Neighbors> {
        std::mem::take(&mut self.changed).then(|| Neighbors::new(self.entries.iter().filter_map(|(hop, entry)| Some((*hop, entry.mac?)))))
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::command::PortId;

    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const OTHER: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn hop(n: u32) -> NextHop {
        NextHop { port: PortId(0), address: Ipv4Addr::from(0x0a00_0000 + n) }
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
        assert!(cache.entries.is_empty());
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
        assert_eq!((asked, cache.entries.is_empty()), (3, true));
        assert_eq!(cache.changes().map(|n| n.lookup(hop(1))), Some(None));
    }

    #[test]
    fn an_announcement_nobody_asked_for_changes_known_neighbours_only() {
        let mut cache = NeighborCache::default();
        cache.learn(hop(1), MAC, false, 0);
        assert!(cache.entries.is_empty());
        cache.learn(hop(1), MAC, true, 0);
        cache.learn(hop(1), OTHER, false, 0);
        assert_eq!(cache.resolve(hop(1), 0), Resolution::Known(OTHER));
        cache.learn(hop(1), MacAddress([0xff; 6]), false, 0);
        assert_eq!(cache.resolve(hop(1), 0), Resolution::Known(OTHER), "a group address is nobody's");
    }

    #[test]
    fn a_full_table_refuses_one_more() {
        let mut cache = NeighborCache::default();
        for n in 0..1024 {
            assert_eq!(cache.resolve(hop(n), 0), Resolution::Pending);
        }
        assert_eq!(cache.resolve(hop(1024), 0), Resolution::Full);
        cache.learn(hop(1024), MAC, true, 0);
        assert_eq!(cache.entries.len(), 1024);
    }
}
