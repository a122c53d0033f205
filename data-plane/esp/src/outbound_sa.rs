//! Outbound SAs and their one source of sequence numbers.

use core::iter::FusedIterator;
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

use esp_crypto::AeadKey;
use ipsec_types::{Mode, SequenceNumbers, Spi};

use crate::facts::SaFacts;
use crate::{Layout, SaKey};

/// The SA may send no more: its sequence numbers are used up (RFC 4303 section 3.3.3). A new SA must take over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sequence numbers are exhausted")]
pub struct SequenceExhausted;

/// What it takes to seal, but for the outer header: that is a [`crate::Tunnel`]'s, which may change while the SA lives. Shared by any number of workers
/// in an `Arc`: all draw from one counter.
#[derive(Debug)]
#[repr(C)]
pub struct OutboundSa {
    key: AeadKey,
    /// The next number, in another cache line than the key: that is read by all workers while this is written by each.
    next: AtomicU64,
    /// For packets they are in the [`crate::Template`].
    facts: SaFacts,
}

impl OutboundSa {
    /// An SA in tunnel mode whose first packet has number 1. The key must be new: giving the same keying material to two SAs repeats nonces.
    pub fn new(spi: Spi, key: SaKey, numbers: SequenceNumbers) -> Self {
        let (key, facts) = key.for_sa(spi, numbers);
        Self { key, next: AtomicU64::new(1), facts }
    }

    /// The same SA in this mode.
    #[must_use]
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { facts: self.facts.with_layout(self.layout().in_mode(mode)), ..self }
    }

    /// What the SA puts around a packet.
    #[inline]
    pub const fn layout(&self) -> Layout {
        self.facts.layout()
    }

    /// Has the caches fetch what sealing needs for so many octets.
    #[inline]
    pub fn prefetch(&self, len: usize) {
        self.key.prefetch(len);
        esp_crypto::prefetch(&self.next);
    }

    /// The peer's SPI.
    #[inline]
    pub const fn spi(&self) -> Spi {
        self.facts.spi()
    }

    /// Standard or extended sequence numbers.
    #[inline]
    pub const fn sequence_numbers(&self) -> SequenceNumbers {
        self.facts.numbers()
    }

    /// Takes the next `n` numbers, or as many as there are left. Numbers that are not used are lost, which the peer does not mind.
    ///
    /// # Errors
    /// [`SequenceExhausted`] where not one is left. The counter never wraps, with or without ESN.
    #[inline]
    pub fn take(&self, n: u32) -> Result<SequenceRange<'_>, SequenceExhausted> {
        let end = self.end();
        // Numbers must differ, nothing else is published through the counter: relaxed is enough.
        let mut next = self.next.load(Ordering::Relaxed);
        loop {
            if next >= end {
                return Err(SequenceExhausted);
            }
            let after = next.saturating_add(n.into()).min(end);
            match self.next.compare_exchange_weak(next, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Ok(SequenceRange { sa: self, numbers: next..after }),
                Err(current) => next = current,
            }
        }
    }

    /// Takes the next number.
    ///
    /// # Errors
    /// [`SequenceExhausted`].
    #[inline]
    pub fn take_one(&self) -> Result<SequenceNumber<'_>, SequenceExhausted> {
        self.take(1)?.next().ok_or(SequenceExhausted)
    }

    /// Whether the last number was given out: nothing more can be sent.
    #[inline]
    pub fn is_exhausted(&self) -> bool {
        self.next.load(Ordering::Relaxed) >= self.end()
    }

    /// Numbers given out so far: the sequence number of the last one, 0 before the first.
    #[inline]
    pub fn last_taken(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// Gives up all numbers below `number`. The counter only ever moves forward.
    pub fn skip_to(&self, number: u64) {
        self.next.fetch_max(number.min(self.end()), Ordering::Relaxed);
    }

    /// The first number that may not be used. With ESN the very last of 2^64 stays unused, so that the counter can stand still behind its last number.
    #[inline]
    const fn end(&self) -> u64 {
        match self.facts.numbers() {
            SequenceNumbers::Standard => 1 << 32,
            SequenceNumbers::Extended => u64::MAX,
        }
    }
}

/// Consecutive numbers of one SA, each to be used once. Not `Clone`.
#[derive(Debug)]
#[must_use = "numbers that are dropped leave a gap"]
pub struct SequenceRange<'sa> {
    sa: &'sa OutboundSa,
    numbers: Range<u64>,
}

impl<'sa> Iterator for SequenceRange<'sa> {
    type Item = SequenceNumber<'sa>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.numbers.next().map(|number| SequenceNumber { sa: self.sa, number })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.numbers.size_hint()
    }
}

impl FusedIterator for SequenceRange<'_> {}

/// One number of one SA: the right to seal one packet. Neither `Clone` nor `Copy`; [`crate::seal::prepare`] consumes it, so that this does not compile:
///
/// ```compile_fail,E0382
/// use esp::{SequenceNumber, Template, seal};
///
/// fn one_nonce_for_two_packets<B: packet::Buffer>(
///     number: SequenceNumber<'_>,
///     template: &Template,
///     inner: packet::ip::Parsed,
///     first: &mut B,
///     second: &mut B,
/// ) {
///     let _ = seal::prepare(number, template, inner, first);
///     let _ = seal::prepare(number, template, inner, second);
/// }
/// ```
///
/// Nor does sealing one packet's plan twice:
///
/// ```compile_fail,E0382
/// fn one_nonce_for_two_buffers<B: packet::Buffer>(plan: esp::seal::SealPlan<'_>, first: &mut B, second: &mut B) {
///     let _ = plan.job(first);
///     let _ = plan.job(second);
/// }
/// ```
#[derive(Debug)]
#[must_use = "a number that is dropped leaves a gap"]
pub struct SequenceNumber<'sa> {
    sa: &'sa OutboundSa,
    number: u64,
}

impl<'sa> SequenceNumber<'sa> {
    /// The SA it belongs to.
    #[inline]
    pub const fn sa(&self) -> &'sa OutboundSa {
        self.sa
    }

    /// The number; with ESN all 64 bits.
    #[inline]
    pub const fn value(&self) -> u64 {
        self.number
    }
}

impl OutboundSa {
    #[inline]
    pub(crate) const fn key(&self) -> &AeadKey {
        &self.key
    }

    pub(crate) const fn facts(&self) -> &SaFacts {
        &self.facts
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::collections::BTreeSet;
    use std::thread;
    use std::vec::Vec;

    use super::*;
    use crate::fixtures::outbound;

    fn values(range: SequenceRange<'_>) -> Vec<u64> {
        range.map(|n| n.value()).collect()
    }

    /// Of the memory of an SA most is its key. At 100,000 of them each octet counts.
    #[test]
    fn an_sa_is_its_key_and_one_cache_line() {
        assert_eq!(size_of::<OutboundSa>(), size_of::<AeadKey>() + 64);
        assert_eq!(size_of::<crate::InboundSa>(), size_of::<AeadKey>() + 64);
    }

    #[test]
    fn numbers_begin_with_one_and_follow_each_other() {
        let sa = outbound(SequenceNumbers::Standard);
        assert_eq!(sa.last_taken(), 0);
        assert_eq!(values(sa.take(3).unwrap()), [1, 2, 3]);
        assert_eq!(sa.take_one().map(|n| n.value()), Ok(4));
        drop(sa.take(2));
        assert_eq!(values(sa.take(1).unwrap()), [7], "what was dropped does not come back");
        assert_eq!(values(sa.take(0).unwrap()), []);
    }

    #[test]
    fn the_last_range_is_short_and_then_there_is_none() {
        let ends = [(SequenceNumbers::Standard, 1_u64 << 32), (SequenceNumbers::Extended, u64::MAX)];
        for (numbers, end) in ends {
            let sa = outbound(numbers);
            sa.skip_to(end - 3);
            assert!(!sa.is_exhausted());
            assert_eq!(values(sa.take(32).unwrap()), [end - 3, end - 2, end - 1]);
            assert!(sa.is_exhausted());
            assert_eq!(sa.take(1).err(), Some(SequenceExhausted));
            assert_eq!(sa.take_one().err(), Some(SequenceExhausted));
        }
    }

    #[test]
    fn skipping_goes_forward_only() {
        let sa = outbound(SequenceNumbers::Standard);
        sa.skip_to(10);
        sa.skip_to(5);
        assert_eq!(values(sa.take(1).unwrap()), [10]);
    }

    #[test]
    fn no_two_workers_get_the_same_number() {
        let sa = outbound(SequenceNumbers::Standard);
        let all = thread::scope(|scope| {
            let worker = |n: u32| move |sa: &OutboundSa| (0..2000).flat_map(|_| values(sa.take(n).unwrap())).collect::<Vec<_>>();
            let workers: Vec<_> = [1, 7, 32]
                .map(|n| {
                    scope.spawn({
                        let sa = &sa;
                        move || worker(n)(sa)
                    })
                })
                .into_iter()
                .collect();
            workers.into_iter().flat_map(|w| w.join().unwrap()).collect::<Vec<_>>()
        });
        let distinct: BTreeSet<u64> = all.iter().copied().collect();
        assert_eq!((distinct.len(), distinct.last().copied()), (80_000, Some(80_000)));
    }
}
