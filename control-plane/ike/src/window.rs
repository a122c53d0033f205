//! Message IDs, retransmission and the cached response (RFC 7296 sections 2.1 to 2.3). The window is one message in each direction.

use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::{ExchangeType, Header};
use ipsec_types::Instant;

use crate::config::Retransmission;
use crate::waiting::Waiting;

pub(crate) use crate::waiting::Due;

/// The last Message ID for anything but the deletion of the IKE SA and what crosses it.
const LAST_ID: u32 = u32::MAX - 16;

/// One IKE SA's window.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// ID of our next request, or of the outstanding one.
    next_request: u32,
    outstanding: Option<Outstanding>,
    /// ID of the peer's next request.
    expected: u32,
    /// Our response to the request before that.
    answered: Option<Datagrams>,
}

/// A message as it was sent: in one datagram, or in one for each fragment (RFC 7383). Sent again, all of them are.
pub(crate) type Datagrams = Vec<Vec<u8>>;

/// A request of ours without response.
#[derive(Debug)]
struct Outstanding {
    exchange: ExchangeType,
    datagrams: Datagrams,
    waiting: Waiting,
}

/// How long a request has been without response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unanswered<'a> {
    /// The first datagram.
    pub(crate) octets: &'a [u8],
    pub(crate) tries: u32,
    pub(crate) since: Instant,
}

/// What a message is, by its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The request that comes next.
    Request,
    /// The last request again.
    Repetition,
    /// The response to the outstanding request.
    Response,
    /// Neither: to be ignored.
    Stale,
}

impl Window {
    /// The Message ID of the next request.
    pub(crate) const fn request_id(&self) -> u32 {
        self.next_request
    }

    /// Whether the Message IDs of one direction are all but used up: the IKE SA must be closed before they begin anew (section 2.2).
    pub(crate) const fn is_exhausted(&self) -> bool {
        self.next_request > LAST_ID || self.expected > LAST_ID
    }

    /// Whether a request waits for its response.
    pub(crate) const fn is_busy(&self) -> bool {
        self.outstanding.is_some()
    }

    /// A request goes out; one sent again with other content (COOKIE) takes the place of the first.
    pub(crate) fn sent(&mut self, now: Instant, timing: &Retransmission, exchange: ExchangeType, datagrams: Datagrams) {
        self.outstanding = Some(Outstanding { exchange, datagrams, waiting: Waiting::new(now, timing) });
    }

    /// The request without response.
    pub(crate) fn unanswered(&self) -> Option<Unanswered<'_>> {
        let outstanding = self.outstanding.as_ref()?;
        let octets = outstanding.datagrams.first()?;
        Some(Unanswered { octets, tries: outstanding.waiting.tries(), since: outstanding.waiting.since() })
    }

    /// The response to the outstanding request is accepted.
    pub(crate) fn completed(&mut self) {
        self.outstanding = None;
        self.next_request = self.next_request.saturating_add(1);
    }

    /// The request is to be repeated no more, but its Message ID stays unused.
    pub(crate) fn withdraw(&mut self) {
        self.outstanding = None;
    }

    /// What a message is. A response has the Message ID of its request (section 2.2), and is of the same exchange (section 1).
    pub(crate) fn classify(&self, header: &Header) -> Arrival {
        if header.flags.response {
            let asked = self.outstanding.as_ref().is_some_and(|outstanding| outstanding.exchange == header.exchange);
            return if asked && header.message_id == self.next_request { Arrival::Response } else { Arrival::Stale };
        }
        if header.message_id == self.expected {
            return Arrival::Request;
        }
        if header.message_id.checked_add(1) == Some(self.expected) { Arrival::Repetition } else { Arrival::Stale }
    }

    /// The peer's request is accepted: its predecessor's response need not be remembered any more.
    pub(crate) fn accepted(&mut self) {
        self.expected = self.expected.saturating_add(1);
        self.answered = None;
    }

    /// The response to the last accepted request.
    pub(crate) fn answered(&mut self, datagrams: Datagrams) {
        self.answered = Some(datagrams);
    }

    /// The response to the last accepted request, to be sent again as it was.
    pub(crate) fn cached(&self) -> Option<&[Vec<u8>]> {
        self.answered.as_deref()
    }

    /// When the clock asks for something.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|outstanding| outstanding.waiting.deadline())
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        if let Some(outstanding) = &mut self.outstanding {
            outstanding.waiting.shift(pause);
        }
    }

    /// Looks at the clock; each wait is `base_percent` of the one before.
    pub(crate) fn due(&mut self, now: Instant, timing: &Retransmission) -> Due<Datagrams> {
        let Some(Outstanding { datagrams, waiting, .. }) = &mut self.outstanding else { return Due::Nothing };
        waiting.due(now, timing, || datagrams.clone())
    }
}

#[cfg(test)]
mod tests {
    use ike_wire::{Flags, Version};

    use super::*;

    const TIMING: Retransmission = Retransmission { timeout: Duration::from_secs(4), base_percent: 180, tries: 2 };

    fn at(millis: u64) -> Instant {
        Instant::ZERO + Duration::from_millis(millis)
    }

    fn header(message_id: u32, response: bool) -> Header {
        let flags = Flags { initiator: true, response, version: false };
        Header { initiator_spi: 1, responder_spi: 2, version: Version::V2, exchange: ExchangeType::INFORMATIONAL, flags, message_id }
    }

    #[test]
    fn a_request_is_repeated_at_its_times_and_not_a_nanosecond_before() {
        let mut window = Window::default();
        window.sent(at(0), &TIMING, ExchangeType::INFORMATIONAL, alloc::vec![alloc::vec![1]]);
        let just_before = Instant::from_nanos(at(4000).as_nanos() - 1);
        assert_eq!(window.due(just_before, &TIMING), Due::Nothing);
        assert_eq!(window.due(at(4000), &TIMING), Due::Repeat(alloc::vec![alloc::vec![1]]));
        assert_eq!(window.deadline(), Some(at(4000 + 7200)));
        assert_eq!(window.due(at(11_200), &TIMING), Due::Repeat(alloc::vec![alloc::vec![1]]));
        assert_eq!(window.deadline(), Some(at(11_200 + 12_960)));
        assert_eq!(window.due(at(24_159), &TIMING), Due::Nothing);
        assert_eq!(window.due(at(24_160), &TIMING), Due::GiveUp);
        assert_eq!(window.unanswered(), Some(Unanswered { octets: &[1], tries: 3, since: at(0) }));
    }

    #[test]
    fn only_the_next_and_the_last_request_count() {
        let mut window = Window::default();
        assert_eq!(window.classify(&header(0, false)), Arrival::Request);
        assert_eq!(window.classify(&header(1, false)), Arrival::Stale);
        assert_eq!(window.classify(&header(u32::MAX, false)), Arrival::Stale);
        window.accepted();
        window.answered(alloc::vec![alloc::vec![7]]);
        assert_eq!(window.classify(&header(0, false)), Arrival::Repetition);
        assert_eq!(window.classify(&header(1, false)), Arrival::Request);
        assert_eq!(window.cached(), Some(&[alloc::vec![7]][..]));
        window.accepted();
        assert_eq!(window.classify(&header(0, false)), Arrival::Stale);
        assert_eq!(window.cached(), None);
    }

    #[test]
    fn message_ids_are_used_up_before_the_last_one_in_either_direction() {
        let mut window = Window { next_request: LAST_ID - 1, expected: LAST_ID - 1, ..Window::default() };
        window.completed();
        window.accepted();
        assert!(!window.is_exhausted());
        window.accepted();
        assert!(window.is_exhausted());
        let mut window = Window { next_request: LAST_ID, ..Window::default() };
        assert!(!window.is_exhausted());
        window.completed();
        assert!(window.is_exhausted());
    }

    #[test]
    fn only_the_response_to_the_outstanding_request_counts() {
        let mut window = Window::default();
        assert_eq!(window.classify(&header(0, true)), Arrival::Stale);
        window.sent(at(0), &TIMING, ExchangeType::INFORMATIONAL, alloc::vec![alloc::vec![1]]);
        let of_another_exchange = Header { exchange: ExchangeType::CREATE_CHILD_SA, ..header(0, true) };
        assert_eq!(window.classify(&of_another_exchange), Arrival::Stale);
        assert_eq!(window.classify(&header(0, true)), Arrival::Response);
        assert_eq!(window.classify(&header(1, true)), Arrival::Stale);
        window.completed();
        assert_eq!(window.classify(&header(0, true)), Arrival::Stale);
        assert_eq!(window.request_id(), 1);
    }
}
