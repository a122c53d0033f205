//! The finest clock there is.

use dpdk_sys as sys;

/// Ticks of the CPU's own counter (on x86-64 the time stamp counter), which rises evenly whatever the core's frequency. A read takes a few dozen ticks, waits
/// for nothing, and lets no instruction wait for it: what has begun before may still be under way.
#[inline]
pub fn ticks() -> u64 {
    // SAFETY: takes nothing; reads a register.
    unsafe { sys::culvert_ticks() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn ticks_pass() {
        let (before, start) = (ticks(), Instant::now());
        while start.elapsed() < Duration::from_millis(1) {}
        // The slowest counter of a CPU that DPDK runs on makes 24 a microsecond.
        assert!(ticks() > before + 10_000);
    }
}
