//! What every packet of an SA is made or read with, beside key and number.

use esp_crypto::{Aad, NONCE_LEN};
use ipsec_types::{SequenceNumbers, Spi};

use crate::Layout;
use crate::key::SALT_LEN;

/// Sixteen octets, to be kept where a packet's way comes by: an SA itself is large, and its lines are the cipher's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SaFacts {
    spi: Spi,
    salt: [u8; SALT_LEN],
    numbers: SequenceNumbers,
    layout: Layout,
}

impl SaFacts {
    pub(crate) const fn new(spi: Spi, salt: [u8; SALT_LEN], numbers: SequenceNumbers, layout: Layout) -> Self {
        Self { spi, salt, numbers, layout }
    }

    #[inline]
    pub(crate) const fn spi(&self) -> Spi {
        self.spi
    }

    #[inline]
    pub(crate) const fn numbers(&self) -> SequenceNumbers {
        self.numbers
    }

    #[inline]
    pub(crate) const fn layout(&self) -> Layout {
        self.layout
    }

    pub(crate) const fn with_layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// SPI and sequence number as the ICV covers them.
    #[inline]
    pub(crate) const fn aad(&self, number: u64) -> Aad {
        match self.numbers {
            SequenceNumbers::Standard => Aad::new(self.spi.value(), low(number)),
            SequenceNumbers::Extended => Aad::extended(self.spi.value(), number),
        }
    }

    /// Salt and IV (RFC 4106 section 4).
    #[inline]
    pub(crate) fn nonce(&self, iv: [u8; 8]) -> [u8; NONCE_LEN] {
        // Octet by octet it would be carried in twelve registers.
        let mut nonce = [0; NONCE_LEN];
        nonce[..SALT_LEN].copy_from_slice(&self.salt);
        nonce[SALT_LEN..].copy_from_slice(&iv);
        nonce
    }
}

/// The half of a sequence number that is sent.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "the high half of an extended number is not sent (RFC 4303 section 2.2.1)")]
pub(crate) const fn low(number: u64) -> u32 {
    number as u32
}
