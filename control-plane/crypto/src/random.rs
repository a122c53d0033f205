//! The platform's randomness.

use ike::provider::Random;

/// Randomness of aws-lc-rs, seeded by the kernel and by the CPU.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    /// # Panics
    /// Where the platform gives no randomness: going on would mean predictable nonces, IVs and SPIs. (The library underneath ends the
    /// process by itself in that case, so in practice the error never comes back.)
    fn fill(&mut self, octets: &mut [u8]) {
        aws_lc_rs::rand::fill(octets).expect("the platform gives randomness");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_fills_differ_and_reach_the_last_octet() {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        SystemRandom.fill(&mut a);
        SystemRandom.fill(&mut b);
        assert_ne!(a, b);
        assert!((0..64).any(|_| {
            SystemRandom.fill(&mut a);
            a[31] != 0
        }));
    }
}
