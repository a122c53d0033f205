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
    /// Bit n % 64 of block n / 64 % blocks stands for number n. A power of two of blocks, one more than the window can touch at once.
    blocks: Box<[u64]>,
}

impl ReplayWindow {
    /// An empty window.
    pub fn new(size: WindowSize) -> Self {
        let size = size.packets();
        let blocks = usize::try_from((size + 62) / 64 + 1).unwrap_or(usize::MAX).next_power_of_two();
        Self { top: 0, size, blocks: vec![0; blocks].into_boxed_slice() }
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
        if self.size == 0 {
            return Ok(());
        }
        if number == 0 {
            return Err(ReplayError::OutOfWindow);
        }
        if number > self.top {
            return Ok(());
        }
        if self.top - number >= self.size.into() {
            return Err(ReplayError::OutOfWindow);
        }
        let (block, bit) = self.place(number);
        match self.blocks.get(block) {
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
        self.look(number)?;
        let accepted = if number > self.top {
            self.advance(number);
            Accepted::Newest
        } else {
            Accepted::Late
        };
        let (block, bit) = self.place(number);
        if let Some(seen) = self.blocks.get_mut(block) {
            *seen |= bit;
        }
        Ok(accepted)
    }

    /// Clears the blocks between the old top and the new one: no shifting (RFC 6479 section 2).
    #[inline]
    fn advance(&mut self, number: u64) {
        let (old, new) = (self.top / 64, number / 64);
        let all = u64::try_from(self.blocks.len()).unwrap_or(u64::MAX);
        for block in (old + 1..=new).take(self.blocks.len().min(usize::try_from(new - old).unwrap_or(usize::MAX))) {
            let index = usize::try_from(block % all).unwrap_or(0);
            if let Some(seen) = self.blocks.get_mut(index) {
                *seen = 0;
            }
        }
        self.top = number;
    }

    #[inline]
    fn place(&self, number: u64) -> (usize, u64) {
        ((number / 64) as usize & (self.blocks.len() - 1), 1 << (number % 64))
    }
}
