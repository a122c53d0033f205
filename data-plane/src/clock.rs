//! The clock that workers and server share.

use std::time::{Duration, Instant};

/// Milliseconds since the process started. A read is no system call (vDSO), and a worker reads it once a burst.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now, at 1: zero means "never" wherever a time is stored.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Milliseconds since the start, plus one.
    #[inline]
    pub fn now_ms(&self) -> u64 {
        self.now_us() / MICROS
    }

    /// Microseconds since the start, plus a millisecond: [`Self::now_ms`] at the same moment is a thousandth of it.
    #[inline]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_add(MICROS)
    }
}

/// Microseconds in a millisecond.
pub const MICROS: u64 = 1000;

/// Whole milliseconds of a duration.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
