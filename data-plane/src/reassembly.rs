//! Fragments to the gateway's own addresses become whole packets before they are punted (RFC 791 section 3.2, RFC 8200 section 4.5).
//!
//! A pure table on the server thread: it is given fragments and the time. What it keeps is bounded: [`DATAGRAMS`] of at most [`FRAGMENTS`]
//! fragments and [`OCTETS`] octets each, for [`AGE_MS`] milliseconds. A source has [`SOURCE_DATAGRAMS`] of them at most, and where the table
//! is full, whoever has more makes room for whoever has less: a newcomer never pushes out what others have an equal share of, unless it has
//! waited for [`SETTLED_MS`] already, many times as long as fragments of one packet are apart.
//!
//! Overlaps are attacks and never mended: the datagram is given up with everything of it that is still to come (RFC 5722, RFC 8200 section
//! 4.5; RFC 8900 section 3.7 tells why). An exact copy is none, the network makes them.

mod fragment;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

pub use fragment::{Fragment, Key};

/// Datagrams under way at most, those that were given up included.
pub const DATAGRAMS: usize = 256;
/// Datagrams of one source at most; an IPv6 source is a /64, which is one host's to use.
pub const SOURCE_DATAGRAMS: usize = 16;
/// Fragments of a datagram at most.
pub const FRAGMENTS: usize = 32;
/// Octets of a datagram at most, the headers that every fragment repeats aside.
pub const OCTETS: usize = 32_768;
/// How long a datagram may take to arrive: the fifteen seconds of RFC 791 section 3.2.
pub const AGE_MS: u64 = 15_000;
/// From this age on, an incomplete datagram gives way to newcomers in a full table.
pub const SETTLED_MS: u64 = 1000;

/// Why a fragment is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Dropped {
    /// Empty, or not a multiple of 8 octets though more follow.
    #[error("a fragment of an impossible length")]
    Malformed,
    /// It overlaps another one, or two claim to be the last: the datagram is given up.
    #[error("fragments overlap")]
    Overlap,
    /// The datagram is longer than [`OCTETS`], or has more than [`FRAGMENTS`] fragments: it is given up.
    #[error("the datagram is too long, or in too many fragments")]
    TooLong,
    /// Its datagram was given up before.
    #[error("of a datagram that was given up")]
    GivenUp,
    /// An exact copy of a fragment that is here already.
    #[error("a copy")]
    Duplicate,
    /// The table is full of others' datagrams.
    #[error("the table is full")]
    Full,
}

/// The table.
#[derive(Debug, Default)]
pub struct Reassembler {
    datagrams: HashMap<Key, Datagram>,
    /// How many of them each source has; none has zero.
    sources: HashMap<IpAddr, usize>,
    evicted: u64,
}

#[derive(Debug)]
struct Datagram {
    since_ms: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Collecting(Collected),
    /// What is still to come of it is dropped.
    GivenUp,
}

#[derive(Debug, Default)]
struct Collected {
    /// Of the fragment at offset 0, once it is here.
    header: Box<[u8]>,
    /// By offset, and without overlaps.
    parts: Vec<Part>,
    /// Of all parts.
    octets: usize,
    /// Where the datagram ends, once its last fragment is here. No part reaches beyond.
    end: Option<usize>,
}

#[derive(Debug)]
struct Part {
    offset: usize,
    octets: Box<[u8]>,
}

impl Reassembler {
    /// Takes a fragment in, and answers the whole packet where it was the last that was missing. Call [`expire`](Self::expire) with the same
    /// time before.
    ///
    /// # Errors
    /// [`Dropped`].
    pub fn accept(&mut self, fragment: &Fragment<'_>, now_ms: u64) -> Result<Option<Vec<u8>>, Dropped> {
        fragment.check()?;
        // "Atomic": all of it is here, whatever others of the same name there are (RFC 8200 section 4.5).
        if fragment.offset == 0 && !fragment.more {
            return Ok(Some(fragment::whole(fragment.key.origin, &fragment.header, [fragment.payload])));
        }
        if !self.datagrams.contains_key(&fragment.key) {
            self.make_room(fragment.key.source, now_ms)?;
            self.insert(fragment.key, now_ms);
        }
        let Some(datagram) = self.datagrams.get_mut(&fragment.key) else { return Err(Dropped::Full) };
        let State::Collecting(collected) = &mut datagram.state else { return Err(Dropped::GivenUp) };
        match collected.add(fragment) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let parts = collected.parts.iter().map(|part| &*part.octets);
                let whole = fragment::whole(fragment.key.origin, &collected.header, parts);
                self.remove(&fragment.key);
                Ok(Some(whole))
            }
            Err(Dropped::Duplicate) => Err(Dropped::Duplicate),
            Err(fault) => {
                datagram.state = State::GivenUp;
                Err(fault)
            }
        }
    }

    /// Forgets what is too old, and answers how many datagrams were still incomplete.
    pub fn expire(&mut self, now_ms: u64) -> u64 {
        let (mut incomplete, sources) = (0, &mut self.sources);
        self.datagrams.retain(|key, datagram| {
            let keep = now_ms.saturating_sub(datagram.since_ms) < AGE_MS;
            if !keep {
                incomplete += u64::from(matches!(datagram.state, State::Collecting(_)));
                release(sources, key.source);
            }
            keep
        });
        incomplete
    }

    /// Datagrams that had to make room since the last call.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }

    fn make_room(&mut self, source: IpAddr, now_ms: u64) -> Result<(), Dropped> {
        let share = share_of(source);
        let own = self.sources.get(&share).copied().unwrap_or_default();
        if own >= SOURCE_DATAGRAMS {
            return self.evict(now_ms, |key, _| share_of(key.source) == share);
        }
        if self.datagrams.len() < DATAGRAMS {
            return Ok(());
        }
        let most = self.sources.iter().max_by_key(|(_, count)| **count).map(|(source, count)| (*source, *count));
        match most {
            Some((greedy, count)) if count > own + 1 => self.evict(now_ms, |key, _| share_of(key.source) == greedy),
            _ => self.evict(now_ms, |_, age_ms| age_ms >= SETTLED_MS),
        }
    }

    /// Removes the oldest of the datagrams that `may_go`, told their age.
    fn evict(&mut self, now_ms: u64, may_go: impl Fn(&Key, u64) -> bool) -> Result<(), Dropped> {
        let eligible = self.datagrams.iter().filter(|(key, datagram)| may_go(key, now_ms.saturating_sub(datagram.since_ms)));
        let oldest = eligible.min_by_key(|(_, datagram)| datagram.since_ms).map(|(key, _)| *key).ok_or(Dropped::Full)?;
        self.remove(&oldest);
        self.evicted += 1;
        Ok(())
    }

    fn insert(&mut self, key: Key, now_ms: u64) {
        *self.sources.entry(share_of(key.source)).or_default() += 1;
        self.datagrams.insert(key, Datagram { since_ms: now_ms, state: State::Collecting(Collected::default()) });
    }

    fn remove(&mut self, key: &Key) {
        if self.datagrams.remove(key).is_some() {
            release(&mut self.sources, key.source);
        }
    }
}

impl Collected {
    /// Puts a fragment in its place; true where nothing is missing any more.
    fn add(&mut self, fragment: &Fragment<'_>) -> Result<bool, Dropped> {
        let end = fragment.offset + fragment.payload.len();
        if end > OCTETS {
            return Err(Dropped::TooLong);
        }
        let at = match self.parts.binary_search_by_key(&fragment.offset, |part| part.offset) {
            Err(at) => at,
            Ok(at) => {
                let is_last = self.end == Some(end);
                let same = self.parts.get(at).is_some_and(|part| *part.octets == *fragment.payload) && is_last != fragment.more;
                return Err(if same { Dropped::Duplicate } else { Dropped::Overlap });
            }
        };
        let (before, after) = self.parts.split_at(at);
        let overlaps = before.last().is_some_and(|part| part.offset + part.octets.len() > fragment.offset)
            || after.first().is_some_and(|part| part.offset < end);
        // Nothing comes behind the last fragment, and it comes behind everything.
        let misplaced = after.is_empty() && self.end.is_some() || !after.is_empty() && !fragment.more;
        if overlaps || misplaced {
            return Err(Dropped::Overlap);
        }
        if self.parts.len() >= FRAGMENTS {
            return Err(Dropped::TooLong);
        }
        self.octets += fragment.payload.len();
        self.parts.insert(at, Part { offset: fragment.offset, octets: fragment.payload.into() });
        if fragment.offset == 0 {
            self.header = fragment.header.as_slice().into();
        }
        if !fragment.more {
            self.end = Some(end);
        }
        // Parts neither overlap nor reach beyond the end: as many octets are all of them, the first included.
        Ok(self.end == Some(self.octets))
    }
}

/// Whom a datagram is counted for.
fn share_of(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::from(u64::MAX)).into(),
    }
}

fn release(sources: &mut HashMap<IpAddr, usize>, source: IpAddr) {
    let share = share_of(source);
    if let Some(count) = sources.get_mut(&share) {
        *count -= 1;
        if *count == 0 {
            sources.remove(&share);
        }
    }
}

#[cfg(test)]
mod tests;
