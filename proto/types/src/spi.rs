//! Security Parameters Indexes.

use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};

/// The SPI of an ESP or AH SA (RFC 4301 section 4.1, RFC 4303 section 2.1): 256 or more, as 1 to 255 are reserved by IANA and 0 never
/// appears on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(NonZeroU32);

/// A value between 0 and 255, which no SA may use as its SPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("SPI {0} is reserved: SPIs start at 256 (RFC 4303 section 2.1)")]
pub struct ReservedSpi(pub u32);

impl Spi {
    /// The lowest SPI an SA may have.
    pub const FIRST: u32 = 256;

    /// Checks `value`.
    ///
    /// # Errors
    /// [`ReservedSpi`] below 256.
    pub const fn new(value: u32) -> Result<Self, ReservedSpi> {
        match NonZeroU32::new(value) {
            Some(spi) if value >= Self::FIRST => Ok(Self(spi)),
            _ => Err(ReservedSpi(value)),
        }
    }

    /// The number as it stands in the packet (host byte order).
    pub const fn value(self) -> u32 {
        self.0.get()
    }
}

impl TryFrom<u32> for Spi {
    type Error = ReservedSpi;

    fn try_from(value: u32) -> Result<Self, ReservedSpi> {
        Self::new(value)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({self})")
    }
}

/// One side's SPI of an IKE SA (RFC 7296 section 3.1): eight octets, never zero. The responder's unset SPI is `Option::None`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IkeSpi(NonZeroU64);

impl IkeSpi {
    /// `None` where `value` is zero, which means "not yet chosen" on the wire.
    pub const fn new(value: u64) -> Option<Self> {
        match NonZeroU64::new(value) {
            Some(spi) => Some(Self(spi)),
            None => None,
        }
    }

    /// The number as it stands in the header (host byte order).
    pub const fn value(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for IkeSpi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IkeSpi({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_spis_are_refused_to_the_last() {
        assert_eq!(Spi::new(0), Err(ReservedSpi(0)));
        assert_eq!(Spi::new(255), Err(ReservedSpi(255)));
        assert_eq!(Spi::new(256).map(Spi::value), Ok(256));
        assert_eq!(Spi::new(u32::MAX).map(Spi::value), Ok(u32::MAX));
    }
}
