//! Fragments of the peer's messages (RFC 7383 section 2.6).
//!
//! Only what the peer itself has sealed is kept, of the one request that comes next and of the one response that is awaited, and within
//! bounds: before the peer is authenticated anybody can be it.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::{Fragment, FragmentNumber, Header, PayloadType};
use ipsec_types::Instant;
use zeroize::Zeroizing;

/// Octets of a message in fragments, before the peer is authenticated and afterwards. "It is NOT RECOMMENDED for this value to exceed 64 KB"
/// (section 5); four certificates of RSA-4096 take 8.
pub(crate) const MOST_OCTETS_UNPROVEN: usize = 16 * 1024;
pub(crate) const MOST_OCTETS: usize = 64 * 1024;
/// Octets of a message that need no fragments, however small the peer's are.
pub(crate) const LEAST_OCTETS: usize = 200;
/// Fragments of a message: what is kept of each takes memory, too. With it, fragments of 576 octets still make a message of 64 KB.
const MOST_FRAGMENTS: u16 = 256;
/// How long the first fragment waits for the last: a few repetitions of the message.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages that are not complete.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    request: Option<Box<Queue>>,
    response: Option<Box<Queue>>,
}

/// The fragments of one message.
#[derive(Debug)]
struct Queue {
    header: Header,
    total: u16,
    chunks: BTreeMap<u16, Zeroizing<Vec<u8>>>,
    first: PayloadType,
    octets: usize,
    /// Of the largest datagram.
    largest: usize,
    until: Instant,
}

/// What was sealed in a fragment, and in how large a datagram it came.
pub(crate) struct Chunk {
    pub(crate) octets: Zeroizing<Vec<u8>>,
    pub(crate) datagram: usize,
}

/// A message that is complete.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Type of the first payload.
    pub(crate) first: PayloadType,
    pub(crate) octets: Zeroizing<Vec<u8>>,
    /// Octets of the largest datagram, where there was more than one: so much gets through.
    pub(crate) largest: Option<usize>,
}

/// The peer sends more than any message has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Reassembly {
    /// Whether a fragment is worth looking at: one of a message that is not too long, of no earlier way to cut it, and not there already.
    pub(crate) fn admits(&self, header: &Header, number: FragmentNumber) -> bool {
        let queue = if header.flags.response { &self.response } else { &self.request };
        let old = |queue: &Queue| number.total() < queue.total || (number.total() == queue.total && queue.has(number));
        number.total() <= MOST_FRAGMENTS && !queue.as_deref().is_some_and(|queue| queue.header == *header && old(queue))
    }

    /// Keeps an authentic fragment that [`Self::admits`] admits; gives the message back with the last one.
    pub(crate) fn keep(
        &mut self,
        now: Instant,
        header: &Header,
        fragment: &Fragment,
        chunk: Chunk,
        most: usize,
    ) -> Result<Option<Whole>, TooLong> {
        let slot = if header.flags.response { &mut self.response } else { &mut self.request };
        // More fragments than before: the peer has cut the message anew.
        let goes_on = slot.as_ref().is_some_and(|queue| queue.header == *header && queue.total == fragment.number.total());
        let mut queue = slot.take().filter(|_| goes_on).unwrap_or_else(|| Box::new(Queue::new(now, header, fragment.number.total())));
        queue.octets += chunk.octets.len();
        if queue.octets > most {
            return Err(TooLong);
        }
        queue.largest = queue.largest.max(chunk.datagram);
        if fragment.number.number() == 1 {
            queue.first = fragment.first;
        }
        queue.chunks.insert(fragment.number.number(), chunk.octets);
        if queue.chunks.len() < usize::from(queue.total) {
            *slot = Some(queue);
            return Ok(None);
        }
        let largest = (queue.total > 1).then_some(queue.largest);
        let mut octets = Zeroizing::new(Vec::with_capacity(queue.octets));
        queue.chunks.values().for_each(|chunk| octets.extend_from_slice(chunk));
        Ok(Some(Whole { first: queue.first, octets, largest }))
    }

    /// The message has come in another way.
    pub(crate) fn forget(&mut self, header: &Header) {
        *if header.flags.response { &mut self.response } else { &mut self.request } = None;
    }

    /// When something is too old.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        [&self.request, &self.response].into_iter().flatten().map(|queue| queue.until).min()
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        for slot in [&mut self.request, &mut self.response] {
            slot.take_if(|queue| queue.until <= now);
        }
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        for queue in [&mut self.request, &mut self.response].into_iter().flatten() {
            queue.until = queue.until + pause;
        }
    }
}

impl Queue {
    fn new(now: Instant, header: &Header, total: u16) -> Self {
        let (chunks, first) = (BTreeMap::new(), PayloadType::NONE);
        Self { header: *header, total, chunks, first, octets: 0, largest: 0, until: now + PATIENCE }
    }

    fn has(&self, number: FragmentNumber) -> bool {
        self.chunks.contains_key(&number.number())
    }
}

#[cfg(test)]
mod tests {
    use ike_wire::{ExchangeType, Flags, Version};

    use super::*;

    fn header(message_id: u32) -> Header {
        let flags = Flags { initiator: true, ..Flags::default() };
        Header { initiator_spi: 1, responder_spi: 2, version: Version::V2, exchange: ExchangeType::IKE_AUTH, flags, message_id }
    }

    fn give(reassembly: &mut Reassembly, header: &Header, (number, total): (u16, u16), octets: &[u8]) -> Result<Option<Whole>, TooLong> {
        let number = FragmentNumber::new(number, total).unwrap();
        if !reassembly.admits(header, number) {
            return Ok(None);
        }
        let first = if number.number() == 1 { PayloadType::IDI } else { PayloadType::NONE };
        let chunk = Chunk { octets: octets.to_vec().into(), datagram: octets.len() + 60 };
        reassembly.keep(Instant::ZERO, header, &Fragment { first, number, body: Vec::new() }, chunk, 10)
    }

    fn whole(octets: &[u8], largest: usize) -> Result<Option<Whole>, TooLong> {
        Ok(Some(Whole { first: PayloadType::IDI, octets: octets.to_vec().into(), largest: Some(largest) }))
    }

    #[test]
    fn fragments_make_a_message_in_any_order_and_twice_is_once() {
        let (mut reassembly, header) = (Reassembly::default(), header(1));
        assert_eq!(give(&mut reassembly, &header, (3, 3), b"ef"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (1, 3), b"abc"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (1, 3), b"xyz"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (2, 3), b"d"), whole(b"abcdef", 63));
        assert_eq!(reassembly.deadline(), None);
    }

    #[test]
    fn a_message_cut_anew_begins_anew_and_the_older_cut_is_ignored() {
        let (mut reassembly, header) = (Reassembly::default(), header(1));
        assert_eq!(give(&mut reassembly, &header, (1, 2), b"abcd"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (2, 3), b"cd"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (2, 2), b"efgh"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (3, 3), b"ef"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (1, 3), b"ab"), whole(b"abcdef", 62));
    }

    #[test]
    fn another_message_takes_the_place_of_one_that_never_ends() {
        let mut reassembly = Reassembly::default();
        assert_eq!(give(&mut reassembly, &header(1), (1, 2), b"ab"), Ok(None));
        assert_eq!(give(&mut reassembly, &header(2), (2, 2), b"cd"), Ok(None));
        assert_eq!(give(&mut reassembly, &header(2), (1, 2), b"ab"), whole(b"abcd", 62));
    }

    /// A count that nobody checked has brought other implementations down.
    #[test]
    fn octets_and_fragments_are_bounded_at_exactly_the_limit() {
        let (mut reassembly, header) = (Reassembly::default(), header(1));
        assert_eq!(give(&mut reassembly, &header, (1, 2), b"12345678"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (2, 2), b"90"), whole(b"1234567890", 68));
        assert_eq!(give(&mut reassembly, &header, (1, 2), b"12345678"), Ok(None));
        assert_eq!(give(&mut reassembly, &header, (2, 2), b"901"), Err(TooLong));
        assert_eq!(reassembly.deadline(), None, "nothing of it is kept");
        for (total, admitted) in [(MOST_FRAGMENTS, true), (MOST_FRAGMENTS + 1, false), (u16::MAX, false)] {
            assert_eq!(reassembly.admits(&header, FragmentNumber::new(total, total).unwrap()), admitted);
        }
    }

    #[test]
    fn what_waits_too_long_is_forgotten_and_not_a_nanosecond_before() {
        let (mut reassembly, header) = (Reassembly::default(), header(1));
        assert_eq!(give(&mut reassembly, &header, (1, 2), b"ab"), Ok(None));
        let until = Instant::ZERO + PATIENCE;
        assert_eq!(reassembly.deadline(), Some(until));
        reassembly.expire(Instant::from_nanos(until.as_nanos() - 1));
        assert_eq!(reassembly.deadline(), Some(until));
        reassembly.expire(until);
        assert_eq!(give(&mut reassembly, &header, (2, 2), b"cd"), Ok(None));
    }
}
