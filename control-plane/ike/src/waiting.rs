//! How long a message waits for what it asks for, and when it is sent again: alike in both versions (RFC 7296 section 2.1, RFC 2408 section 5.1).

use core::time::Duration;

use ipsec_types::Instant;

use crate::config::Retransmission;

/// A message of ours whose answer has not come yet.
#[derive(Debug)]
pub(crate) struct Waiting {
    repetitions: u32,
    wait: Duration,
    deadline: Instant,
    since: Instant,
}

/// What the clock asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Due<T> {
    Nothing,
    /// Send this again.
    Repeat(T),
    /// The peer is silent.
    GiveUp,
}

impl Waiting {
    /// It is sent for the first time.
    pub(crate) fn new(now: Instant, timing: &Retransmission) -> Self {
        Self { repetitions: 0, wait: timing.timeout, deadline: now + timing.timeout, since: now }
    }

    /// Looks at the clock; each wait is `base_percent` of the one before.
    pub(crate) fn due<T>(&mut self, now: Instant, timing: &Retransmission, message: impl FnOnce() -> T) -> Due<T> {
        if self.deadline > now {
            return Due::Nothing;
        }
        if self.repetitions >= timing.tries {
            return Due::GiveUp;
        }
        self.repetitions += 1;
        self.wait = self.wait.saturating_mul(timing.base_percent) / 100;
        self.deadline = now + self.wait;
        Due::Repeat(message())
    }

    /// When [`Self::due`] has something to say.
    pub(crate) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// How often it was sent.
    pub(crate) const fn tries(&self) -> u32 {
        self.repetitions + 1
    }

    /// When it was sent first.
    pub(crate) const fn since(&self) -> Instant {
        self.since
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.deadline = self.deadline + pause;
        self.since = self.since + pause;
    }
}
