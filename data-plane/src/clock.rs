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
        millis(self.start.elapsed()).saturating_add(1)
    }
}

/// Whole milliseconds of a duration.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
