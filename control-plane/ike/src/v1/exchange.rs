//! The messages of one exchange: what is sent again, and when (RFC 2408 section 5.1).

use alloc::vec::Vec;
use core::time::Duration;

use ipsec_types::Instant;

use crate::config::Retransmission;
use crate::waiting::Waiting;

pub(crate) use crate::waiting::Due;

/// The last message of either side, as it was.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    received: Option<Vec<u8>>,
    sent: Option<Vec<u8>>,
    /// The peer's next message has not come yet.
    waiting: Option<Waiting>,
}

impl Exchange {
    /// A message of ours that the peer must answer.
    pub(crate) fn asked(&mut self, now: Instant, timing: &Retransmission, datagram: Vec<u8>) {
        self.sent = Some(datagram);
        self.waiting = Some(Waiting::new(now, timing));
    }

    /// A message of ours that is sent again only where the peer repeats what it answers.
    pub(crate) fn answered(&mut self, datagram: Vec<u8>) {
        self.sent = Some(datagram);
        self.waiting = None;
    }

    /// The peer's next message has come, and is what it should be.
    pub(crate) fn received(&mut self, datagram: &[u8]) {
        self.received = Some(datagram.to_vec());
        // It answers what was sent before; its own answer is not made yet.
        self.sent = None;
        self.waiting = None;
    }

    /// What answered a message that comes again, if it is the last one.
    pub(crate) fn repeated(&self, datagram: &[u8]) -> Option<&[u8]> {
        self.sent.as_deref().filter(|_| self.received.as_deref() == Some(datagram))
    }

    /// What the peer has not answered yet.
    pub(crate) fn unanswered(&self) -> Option<&[u8]> {
        self.sent.as_deref().filter(|_| self.waiting.is_some())
    }

    /// Whether the last message came from the peer, perhaps again.
    pub(crate) fn is_last(&self, datagram: &[u8]) -> bool {
        self.received.as_deref() == Some(datagram)
    }

    /// When [`Self::due`] has something to say.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.waiting.as_ref().map(Waiting::deadline)
    }

    /// Repeats the message after each wait, which grows, so many times.
    pub(crate) fn due(&mut self, now: Instant, timing: &Retransmission) -> Due<Vec<u8>> {
        let (Some(waiting), Some(sent)) = (&mut self.waiting, &self.sent) else { return Due::Nothing };
        waiting.due(now, timing, || sent.clone())
    }

    /// How often the message went out, and when first.
    pub(crate) fn tries(&self) -> Option<(u32, Instant)> {
        self.waiting.as_ref().map(|waiting| (waiting.tries(), waiting.since()))
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        if let Some(waiting) = &mut self.waiting {
            waiting.shift(pause);
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn a_message_is_repeated_so_often_and_with_growing_waits() {
        let timing = Retransmission { timeout: Duration::from_secs(4), base_percent: 200, tries: 2 };
        let mut exchange = Exchange::default();
        exchange.asked(Instant::ZERO, &timing, vec![1]);
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        assert_eq!(exchange.due(at(3), &timing), Due::Nothing);
        assert_eq!((exchange.due(at(4), &timing), exchange.deadline()), (Due::Repeat(vec![1]), Some(at(12))));
        assert_eq!((exchange.due(at(12), &timing), exchange.deadline()), (Due::Repeat(vec![1]), Some(at(28))));
        assert_eq!(exchange.tries(), Some((3, Instant::ZERO)));
        assert_eq!(exchange.due(at(28), &timing), Due::GiveUp);
        exchange.received(&[2]);
        assert_eq!((exchange.deadline(), exchange.due(at(99), &timing)), (None, Due::Nothing));
    }

    #[test]
    fn only_the_last_message_is_answered_again() {
        let mut exchange = Exchange::default();
        assert_eq!(exchange.repeated(&[1]), None);
        exchange.received(&[1]);
        assert_eq!(exchange.repeated(&[1]), None, "it is not answered yet");
        exchange.answered(vec![2]);
        assert_eq!((exchange.repeated(&[1]), exchange.repeated(&[9])), (Some(&[2][..]), None));
        exchange.received(&[3]);
        assert_eq!(exchange.repeated(&[3]), None, "what was sent before is no answer to it");
        exchange.answered(vec![4]);
        assert_eq!((exchange.repeated(&[1]), exchange.repeated(&[3])), (None, Some(&[4][..])));
    }
}
