//! Messages in fragments, as vendors do it and no RFC says: the whole ISAKMP message is cut, encrypted or not, and each part travels in one of its own.
//!
//! Nothing protects the parts. What they make is a message like any other, and until it has shown that it is the peer's, anybody who knows the cookies can
//! have sent it: of one message at a time a bounded number of octets is kept, and for a bounded time.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::num::NonZeroU8;
use core::time::Duration;

use ike_wire::v1::{Chain, ExchangeType, Flags, Fragment, Header, Message, Payload, PayloadType, emit_payloads};
use ipsec_types::Instant;

use crate::context::Context;
use crate::io::Datagram;
use crate::v1::{IkeSa, trace_incoming};
use crate::v2::fragments::{MOST_OCTETS, MOST_OCTETS_UNPROVEN};

/// How long the first fragment waits for the last: a few repetitions of the message.
const PATIENCE: Duration = Duration::from_secs(60);

/// The message that is not complete.
#[derive(Debug, Default)]
pub(crate) struct Reassembly(Option<Queue>);

#[derive(Debug)]
struct Queue {
    id: u16,
    parts: BTreeMap<NonZeroU8, Vec<u8>>,
    /// The number of the last one, once it is there.
    last: Option<NonZeroU8>,
    octets: usize,
    until: Instant,
}

/// The peer sends more than any message has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

impl Reassembly {
    /// Keeps a fragment; gives the message back with the one that completes it. What contradicts those that are there is of another message, as some
    /// peers give all of them the same Fragment ID.
    pub(crate) fn keep(&mut self, now: Instant, fragment: Fragment, most: usize) -> Result<Option<Vec<u8>>, TooLong> {
        let goes_on = self.0.take_if(|queue| queue.continues_with(&fragment));
        let Fragment { id, number, last, data } = fragment;
        let mut queue = goes_on.unwrap_or_else(|| Queue { id, parts: BTreeMap::new(), last: None, octets: 0, until: now + PATIENCE });
        self.0 = None;
        if last {
            queue.last = Some(number);
        }
        if !queue.parts.contains_key(&number) {
            queue.octets += data.len();
            if queue.octets > most {
                return Err(TooLong);
            }
            queue.parts.insert(number, data);
        }
        if queue.last.is_some_and(|last| queue.parts.len() == usize::from(last.get())) {
            let mut octets = Vec::with_capacity(queue.octets);
            queue.parts.values().for_each(|part| octets.extend_from_slice(part));
            return Ok(Some(octets));
        }
        self.0 = Some(queue);
        Ok(None)
    }

    /// When what is there is too old.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.0.as_ref().map(|queue| queue.until)
    }

    /// Forgets what is too old.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.0.take_if(|queue| queue.until <= now);
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        if let Some(queue) = &mut self.0 {
            queue.until = queue.until + pause;
        }
    }
}

impl Queue {
    /// Whether a fragment is of the same message: nothing stands behind its last one, and no number has two contents.
    fn continues_with(&self, fragment: &Fragment) -> bool {
        let same_end = match (self.last, fragment.last) {
            (Some(last), true) => fragment.number == last,
            (Some(last), false) => fragment.number < last,
            (None, true) => self.parts.last_key_value().is_none_or(|(number, _)| *number < fragment.number),
            (None, false) => true,
        };
        self.id == fragment.id && same_end && self.parts.get(&fragment.number).is_none_or(|data| *data == fragment.data)
    }
}

/// A message of ours that is one fragment of another.
pub(crate) struct Part {
    pub(crate) header: Header,
    pub(crate) payload: Payload,
    pub(crate) datagram: Vec<u8>,
}

/// Cuts a message into fragments whose messages have at most `most` octets, as far as 255 are enough. The same message is always cut alike, so that what
/// was lost the first time is made up by a repetition.
pub(crate) fn cut(message: &Message<'_>, datagram: &[u8], most: usize) -> Vec<Part> {
    let len = most.saturating_sub(Fragment::OVERHEAD).max(datagram.len().div_ceil(u8::MAX.into())).max(1);
    // Different messages end in different octets of ciphertext, hashes or nonces.
    let id = datagram.last_chunk().map_or(1, |end| u16::from_be_bytes(*end));
    // Fragments are messages of phase 1, whatever they are of: so do all who have them.
    let exchange = match message.header.exchange {
        ExchangeType::AGGRESSIVE_MODE => ExchangeType::AGGRESSIVE_MODE,
        _ => ExchangeType::MAIN_MODE,
    };
    let header = Header::new(message.header.initiator_cookie, message.header.responder_cookie, exchange, Flags::default(), 0);
    let count = datagram.chunks(len).len();
    let parts = (1..=u8::MAX).filter_map(NonZeroU8::new).zip(datagram.chunks(len)).filter_map(|(number, data)| {
        let last = usize::from(number.get()) == count;
        let payload = Payload::Fragment(Fragment { id, number, last, data: data.to_vec() });
        let Chain { first, octets } = emit_payloads(core::slice::from_ref(&payload)).ok()?;
        let datagram = Message { header, first, body: &octets }.emit().ok()?;
        Some(Part { header, payload, datagram })
    });
    parts.collect()
}

impl IkeSa {
    /// A fragment of a message for this IKE SA.
    pub(crate) fn on_fragment(mut self, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> Self {
        let is_wanted = self.core.owns(&message.header) && self.core.connection.fragmentation.is_announced();
        let Some(payloads) = crate::v1::parse(message).filter(|_| is_wanted) else {
            cx.shared.count("messages_ignored");
            return self;
        };
        let [Payload::Fragment(fragment)] = payloads.as_slice() else {
            cx.shared.count("messages_ignored");
            return self;
        };
        trace_incoming(cx, &self.core, datagram, &message.header, &payloads);
        let most = if self.is_established() { MOST_OCTETS } else { MOST_OCTETS_UNPROVEN };
        let whole = match self.core.fragments.keep(cx.now, fragment.clone(), most) {
            Ok(Some(whole)) => Datagram { payload: whole, ..*datagram },
            Ok(None) => return self,
            Err(TooLong) => {
                cx.shared.count("messages_malformed");
                return self;
            }
        };
        match Message::parse(&whole.payload).map(|message| (message, message.first)) {
            Ok((message, first)) if first != PayloadType::FRAGMENT => {
                cx.shared.count("messages_reassembled");
                self.on_datagram(cx, &whole, &message)
            }
            _ => {
                cx.shared.count("messages_malformed");
                self
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    const MOST: usize = 10;

    fn give(reassembly: &mut Reassembly, id: u16, number: u8, last: bool, data: &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        let number = NonZeroU8::new(number).unwrap();
        reassembly.keep(Instant::ZERO, Fragment { id, number, last, data: data.to_vec() }, MOST)
    }

    fn whole(octets: &[u8]) -> Result<Option<Vec<u8>>, TooLong> {
        Ok(Some(octets.to_vec()))
    }

    #[test]
    fn fragments_make_a_message_in_any_order_and_twice_is_once() {
        let mut reassembly = Reassembly::default();
        assert_eq!(give(&mut reassembly, 1, 3, true, b"ef"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 1, false, b"abc"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 1, false, b"abc"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 3, true, b"ef"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 2, false, b"d"), whole(b"abcdef"));
        assert_eq!(reassembly.deadline(), None);
        assert_eq!(give(&mut reassembly, 1, 1, true, b"alone"), whole(b"alone"));
    }

    #[test]
    fn what_contradicts_the_others_begins_another_message() {
        // Another id, other octets under a number, two ends, and parts behind the end.
        for (id, number, last, data) in [(2, 1, false, &b"ab"[..]), (1, 1, false, b"xy"), (1, 2, true, b"ab"), (1, 4, false, b"ab")] {
            let mut reassembly = Reassembly::default();
            assert_eq!(give(&mut reassembly, 1, 3, true, b"ef"), Ok(None));
            assert_eq!(give(&mut reassembly, 1, 1, false, b"ab"), Ok(None));
            assert_eq!(give(&mut reassembly, id, number, last, data), Ok(None), "{id} {number} {last}");
            assert_eq!(give(&mut reassembly, 1, 2, false, b"cd"), Ok(None), "{id} {number} {last}");
        }
        let mut reassembly = Reassembly::default();
        assert_eq!(give(&mut reassembly, 1, 5, false, b"e"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 2, true, b"b"), Ok(None), "the fifth is of another");
        assert_eq!(give(&mut reassembly, 1, 1, false, b"a"), whole(b"ab"));
    }

    /// A count that nobody checked has brought other implementations down.
    #[test]
    fn octets_are_bounded_at_exactly_the_limit() {
        let mut reassembly = Reassembly::default();
        assert_eq!(give(&mut reassembly, 1, 1, false, b"12345678"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 2, true, b"90"), whole(b"1234567890"));
        assert_eq!(give(&mut reassembly, 1, 1, false, b"12345678"), Ok(None));
        assert_eq!(give(&mut reassembly, 1, 2, true, b"901"), Err(TooLong));
        assert_eq!(reassembly.deadline(), None, "nothing of it is kept");
    }

    #[test]
    fn what_waits_too_long_is_forgotten_and_not_a_nanosecond_before() {
        let mut reassembly = Reassembly::default();
        assert_eq!(give(&mut reassembly, 1, 1, false, b"ab"), Ok(None));
        let until = Instant::ZERO + PATIENCE;
        assert_eq!(reassembly.deadline(), Some(until));
        reassembly.expire(Instant::from_nanos(until.as_nanos() - 1));
        assert_eq!(reassembly.deadline(), Some(until));
        reassembly.expire(until);
        assert_eq!(give(&mut reassembly, 1, 2, true, b"cd"), Ok(None));
    }

    #[test]
    fn what_is_cut_fits_and_makes_the_same_message_again() {
        let header = Header::new(1, 2, ExchangeType::QUICK_MODE, Flags { encryption: true, ..Flags::default() }, 3);
        let body: Vec<u8> = (0..u8::MAX).cycle().take(2000).collect();
        let datagram = Message { header, first: PayloadType::HASH, body: &body }.emit().unwrap();
        for (most, count) in [(5000, 1), (548, 4), (100, 32), (40, 254), (0, 254)] {
            let parts = cut(&Message::parse(&datagram).unwrap(), &datagram, most);
            assert_eq!(parts.len(), count, "{most}");
            let mut reassembly = Reassembly::default();
            let mut made = vec![];
            for part in &parts {
                let message = Message::parse(&part.datagram).unwrap();
                assert_eq!((message.header.exchange, message.header.message_id), (ExchangeType::MAIN_MODE, 0));
                assert!(part.datagram.len() <= most || most < 45);
                let Payload::Fragment(fragment) = &part.payload else { panic!("{:?}", part.payload) };
                made.extend(reassembly.keep(Instant::ZERO, fragment.clone(), MOST_OCTETS).unwrap());
            }
            assert_eq!(made, core::slice::from_ref(&datagram));
        }
    }
}
