//! The anti-replay window (RFC 4303 section 3.4.3) on a ring of blocks (RFC 6479).

use alloc::boxed::Box;
use alloc::vec;

use ipsec_types::SequenceNumbers;

use crate::esn;

/// A replay window size beyond [`WindowSize::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a replay window has at most {max} packets, not {0}", max = WindowSize::MAX)]
pub struct WindowTooLarge(pub u32);

/// How many packets a replay window remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSize(u32);

impl WindowSize {
    /// The largest window.
    pub const MAX: u32 = 1 << 20;
    /// 1024 packets.
    pub const DEFAULT: Self = Self(1024);
    /// No replay protection: for benchmarks that send one packet many times.
    pub const OFF: Self = Self(0);

    /// A window of `packets`; 0 turns replay protection off.
    ///
    /// # Errors
    /// [`WindowTooLarge`] above [`WindowSize::MAX`].
    pub const fn new(packets: u32) -> Result<Self, WindowTooLarge> {
        if packets > Self::MAX {
            return Err(WindowTooLarge(packets));
        }
        Ok(Self(packets))
    }

    /// Packets; 0 where replay protection is off.
    pub const fn packets(self) -> u32 {
        self.0
    }
}

impl Default for WindowSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Why a sequence number is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The number was accepted before.
    #[error("replayed packet")]
    Duplicate,
    /// The number lies before the window, or is 0, which no sender uses.
    #[error("sequence number out of the replay window")]
    OutOfWindow,
}

/// Where an accepted number stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// Above every number accepted before: the window moved.
    Newest,
    /// Within the window.
    Late,
}

/// Which numbers an inbound SA has accepted. Belongs to the one worker that owns the SA.
#[derive(Debug)]
pub struct ReplayWindow {
    /// The highest number accepted.
    top: u64,
    size: u32,
    blocks: Blocks,
}

/// Bit n % 64 of block n / 64 % blocks stands for number n. A power of two of blocks, one more than the window can touch at once, or more.
#[derive(Debug)]
enum Blocks {
    /// Of a window of up to 65 packets: with the rest of it.
    Few([u64; Self::FEW]),
    Many(Box<[Line]>),
}

impl Blocks {
    const FEW: usize = 2;
}

/// Blocks with a pair of cache lines of their own: every packet writes one, and what lies beside them on the heap may be another worker's to read, such
/// as the selectors of its SAs.
#[derive(Debug, Clone, Copy)]
#[repr(align(128))]
struct Line([u64; Self::BLOCKS]);

impl Line {
    const BLOCKS: usize = 16;
}

impl ReplayWindow {
    /// An empty window.
    pub fn new(size: WindowSize) -> Self {
        let size = size.packets();
        let blocks = usize::try_from((size + 62) / 64 + 1).unwrap_or(usize::MAX).next_power_of_two();
        let blocks = match blocks {
            ..=Blocks::FEW => Blocks::Few([0; Blocks::FEW]),
            _ => Blocks::Many(vec![Line([0; Line::BLOCKS]); blocks.div_ceil(Line::BLOCKS)].into_boxed_slice()),
        };
        Self { top: 0, size, blocks }
    }

    /// Has the caches fetch what the numbers that come next need.
    #[inline]
    pub fn prefetch(&self) {
        if let Blocks::Many(lines) = &self.blocks
            && let Some(line) = lines.get(line(self.top / 64, lines.len()))
        {
            esp_crypto::prefetch(line);
        }
    }

    /// The highest number accepted so far, 0 before the first.
    #[inline]
    pub const fn top(&self) -> u64 {
        self.top
    }

    /// The whole number of a packet with this Sequence Number field.
    ///
    /// # Errors
    /// [`ReplayError::OutOfWindow`] where an extended number cannot be.
    #[inline]
    pub fn number(&self, numbers: SequenceNumbers, field: u32) -> Result<u64, ReplayError> {
        // Without replay protection the high half is still needed: half the subspace counts as late, half as ahead.
        const UNPROTECTED: u32 = 1 << 31;
        match numbers {
            SequenceNumbers::Standard => Ok(field.into()),
            SequenceNumbers::Extended => {
                let window = if self.size == 0 { UNPROTECTED } else { self.size };
                esn::infer(self.top, window, field).ok_or(ReplayError::OutOfWindow)
            }
        }
    }

    /// Whether `number` would be accepted: the look before decryption, which changes nothing as the packet may be forged.
    ///
    /// # Errors
    /// [`ReplayError`].
    #[inline]
    pub fn look(&self, number: u64) -> Result<(), ReplayError> {
        // In order, most packets are no older than the newest.
        if number > self.top || self.size == 0 {
            return Ok(());
        }
        if number == 0 || self.top - number >= self.size.into() {
            return Err(ReplayError::OutOfWindow);
        }
        let (block, bit) = place(number);
        match self.block(block) {
            Some(seen) if seen & bit == 0 => Ok(()),
            _ => Err(ReplayError::Duplicate),
        }
    }

    /// Looks again and marks `number` as accepted, moving the window up to it where it is the highest. Only for packets whose ICV is right.
    ///
    /// # Errors
    /// [`ReplayError`]; the window is unchanged.
    #[inline]
    pub fn accept(&mut self, number: u64) -> Result<Accepted, ReplayError> {
        if number > self.top {
            self.advance(number);
            return Ok(Accepted::Newest);
        }
        self.look(number)?;
        let (block, bit) = place(number);
        if let Some(seen) = self.block_mut(block) {
            *seen |= bit;
        }
        Ok(Accepted::Late)
    }

    /// Moves the top and marks it. The blocks behind the old top are cleared up to the one of the new: no shifting (RFC 6479 section 2).
    #[inline]
    fn advance(&mut self, number: u64) {
        let (old, new) = (self.top / 64, number / 64);
        if new - old > 1 {
            self.clear_between(old, new);
        }
        self.top = number;
        let (block, bit) = place(number);
        if let Some(seen) = self.block_mut(block) {
            *seen = if new == old { *seen | bit } else { bit };
        }
    }

    /// Numbers are missing: whole blocks are skipped.
    #[cold]
    fn clear_between(&mut self, old: u64, new: u64) {
        let blocks = match &self.blocks {
            Blocks::Few(_) => Blocks::FEW,
            Blocks::Many(lines) => lines.len() * Line::BLOCKS,
        };
        for block in (old + 1..new).take(blocks) {
            if let Some(seen) = self.block_mut(block) {
                *seen = 0;
            }
        }
    }

    /// A block, wherever it has come round to.
    #[inline]
    fn block(&self, block: u64) -> Option<u64> {
        match &self.blocks {
            Blocks::Few(blocks) => blocks.get(cut(block) % Blocks::FEW).copied(),
            Blocks::Many(lines) => lines.get(line(block, lines.len()))?.0.get(cut(block) % Line::BLOCKS).copied(),
        }
    }

    #[inline]
    fn block_mut(&mut self, block: u64) -> Option<&mut u64> {
        match &mut self.blocks {
            Blocks::Few(blocks) => blocks.get_mut(cut(block) % Blocks::FEW),
            Blocks::Many(lines) => lines.get_mut(line(block, lines.len()))?.0.get_mut(cut(block) % Line::BLOCKS),
        }
    }
}

/// Which line a block is in, of a power of two of them.
#[inline]
const fn line(block: u64, lines: usize) -> usize {
    (cut(block) / Line::BLOCKS) & (lines - 1)
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "lines, and blocks in one, are powers of two: what 32 bits cut off is a multiple of them"
)]
const fn cut(block: u64) -> usize {
    block as usize
}

/// The block of a number, and a bit in it.
#[inline]
const fn place(number: u64) -> (u64, u64) {
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    fn window(size: u32) -> ReplayWindow {
        ReplayWindow::new(WindowSize::new(size).unwrap())
    }

    #[test]
    fn a_window_is_exactly_as_wide_as_asked() {
        for size in [1, 2, 63, 64, 65, 128, 1000, 1024, 4096] {
            let mut w = window(size);
            let top = 100_000;
            assert_eq!(w.accept(top), Ok(Accepted::Newest));
            let lowest = top - u64::from(size) + 1;
            if size > 1 {
                assert_eq!(w.accept(lowest), Ok(Accepted::Late), "{size}");
            }
            assert_eq!(w.accept(lowest), Err(ReplayError::Duplicate), "{size}");
            assert_eq!(w.accept(lowest - 1), Err(ReplayError::OutOfWindow), "{size}");
        }
    }

    #[test]
    fn the_first_packet_is_number_one() {
        let mut w = window(64);
        assert_eq!(w.look(0), Err(ReplayError::OutOfWindow));
        assert_eq!(w.accept(1), Ok(Accepted::Newest));
        assert_eq!(w.accept(0), Err(ReplayError::OutOfWindow));
    }

    #[test]
    fn a_jump_over_the_whole_ring_forgets_everything() {
        let mut w = window(64);
        for number in 1..=64 {
            assert!(w.accept(number).is_ok());
        }
        assert!(w.accept(u64::MAX).is_ok());
        assert_eq!(w.accept(u64::MAX - 63), Ok(Accepted::Late));
        assert_eq!(w.accept(64), Err(ReplayError::OutOfWindow));
    }

    #[test]
    fn a_look_changes_nothing() {
        let mut w = window(64);
        assert!(w.look(5).is_ok() && w.look(5).is_ok());
        assert_eq!(w.top(), 0);
        assert!(w.accept(5).is_ok());
        assert_eq!(w.look(5), Err(ReplayError::Duplicate));
    }

    #[test]
    fn sizes_end_at_the_maximum() {
        assert!(WindowSize::new(WindowSize::MAX).is_ok());
        assert_eq!(WindowSize::new(WindowSize::MAX + 1), Err(WindowTooLarge(WindowSize::MAX + 1)));
    }

    proptest! {
        /// Against a set of everything accepted: steps are mostly small, forwards and back, sometimes far.
        #[test]
        fn a_window_agrees_with_a_set(
            size in 1..300u32,
            steps in prop::collection::vec(prop_oneof![8 => -320..320i64, 1 => 0..5000i64], 1..400),
        ) {
            let mut w = window(size);
            let mut seen = BTreeSet::new();
            let mut at = 1000_u64;
            for step in steps {
                at = at.saturating_add_signed(step);
                let top = seen.last().copied().unwrap_or(0);
                let expected = if at == 0 || at + u64::from(size) <= top {
                    Err(ReplayError::OutOfWindow)
                } else if seen.contains(&at) {
                    Err(ReplayError::Duplicate)
                } else {
                    Ok(if at > top { Accepted::Newest } else { Accepted::Late })
                };
                prop_assert_eq!(w.look(at), expected.map(|_| ()));
                prop_assert_eq!(w.accept(at), expected);
                if expected.is_ok() {
                    seen.insert(at);
                }
                at = at.max(1);
            }
        }

        /// A sender and a window on extended numbers: whatever arrives no later than the window is wide is understood.
        #[test]
        fn extended_numbers_are_inferred(size in 1..2000u32, top in prop_oneof![0..10_000u64, (1u64<<32)-5000..(1<<32)+5000, any::<u64>()], behind in 0..2000u64, ahead in 0..(1u64 << 31)) {
            let mut w = window(size);
            prop_assume!(top > 0 && top < u64::MAX - (1 << 32));
            prop_assert!(w.accept(top).is_ok());
            #[expect(clippy::cast_possible_truncation, reason = "what is sent")]
            let field = |number: u64| number as u32;
            let behind = top.saturating_sub(behind % u64::from(size));
            prop_assert_eq!(w.number(SequenceNumbers::Extended, field(behind)), Ok(behind));
            prop_assert_eq!(w.number(SequenceNumbers::Extended, field(top + ahead)), Ok(top + ahead));
        }
    }
}
