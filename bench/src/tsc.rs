//! Time in ticks of the CPU's time stamp counter: fine enough for a microsecond's work.
#![expect(unsafe_code, reason = "the intrinsics that read the counter")]

use std::arch::x86_64::{__rdtscp, _mm_lfence, _rdtsc};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ticks that `work` took, those of looking at the counter not included.
#[inline]
pub(crate) fn ticks_of(overhead: u64, work: impl FnOnce()) -> u64 {
    let start = start();
    work();
    end().saturating_sub(start).saturating_sub(overhead)
}

/// Ticks that looking at the counter takes by itself.
pub(crate) fn overhead() -> u64 {
    (0..1000).map(|_| ticks_of(0, || ())).min().unwrap_or(0)
}

/// Ticks a nanosecond, measured once.
pub(crate) fn frequency() -> f64 {
    static FREQUENCY: OnceLock<f64> = OnceLock::new();
    *FREQUENCY.get_or_init(measure_frequency)
}

fn measure_frequency() -> f64 {
    let (clock, first) = (Instant::now(), start());
    while clock.elapsed() < Duration::from_millis(100) {}
    let (ticks, elapsed) = (end() - first, clock.elapsed());
    #[expect(clippy::cast_precision_loss, reason = "a tenth of a second")]
    let frequency = ticks as f64 / elapsed.as_nanos() as f64;
    frequency
}

/// Nothing before it is still being done, and nothing behind it has begun.
#[inline]
fn start() -> u64 {
    // SAFETY: every x86-64 CPU has both.
    unsafe {
        _mm_lfence();
        let ticks = _rdtsc();
        _mm_lfence();
        ticks
    }
}

/// Everything before it is done.
#[inline]
fn end() -> u64 {
    let mut core = 0;
    // SAFETY: every CPU that Culvert runs on has it; `core` can be written.
    unsafe {
        let ticks = __rdtscp(&raw mut core);
        _mm_lfence();
        ticks
    }
}
