//! Inbound SAs. What changes with every packet, the replay window, lives apart: an SA is shared, its window has one owner.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ipsec_types::{Flow, Mode, SequenceNumbers, Spi, TrafficSelector};

use crate::{Layout, SaKey, WindowSize};

/// What it takes to open. Immutable; the worker that owns the SA keeps its [`crate::ReplayWindow`].
#[derive(Debug)]
pub struct InboundSa {
    spi: Spi,
    key: SaKey,
    layout: Layout,
    numbers: SequenceNumbers,
    window_size: WindowSize,
    selectors: Selectors,
}

impl InboundSa {
    /// An SA in tunnel mode that has received nothing yet.
    pub const fn new(spi: Spi, key: SaKey, numbers: SequenceNumbers, window_size: WindowSize, selectors: Selectors) -> Self {
        let layout = key.layout();
        Self { spi, key, layout, numbers, window_size, selectors }
    }

    /// The same SA in this mode.
    #[must_use]
    pub fn in_mode(self, mode: Mode) -> Self {
        Self { layout: self.layout.in_mode(mode), ..self }
    }

    /// What the SA puts around a packet.
    #[inline]
    pub const fn layout(&self) -> Layout {
        self.layout
    }

    /// Our SPI.
    #[inline]
    pub const fn spi(&self) -> Spi {
        self.spi
    }

    /// Standard or extended sequence numbers.
    #[inline]
    pub const fn sequence_numbers(&self) -> SequenceNumbers {
        self.numbers
    }

    /// Size of the replay window to be made for this SA.
    #[inline]
    pub const fn window_size(&self) -> WindowSize {
        self.window_size
    }

    /// The traffic that may arrive on this SA.
    #[inline]
    pub const fn selectors(&self) -> &Selectors {
        &self.selectors
    }

    #[inline]
    pub(crate) const fn key(&self) -> &SaKey {
        &self.key
    }
}

/// The traffic of an SA in one direction: any source with any destination (RFC 7296 section 2.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selectors {
    source: Box<[TrafficSelector]>,
    destination: Box<[TrafficSelector]>,
}

impl Selectors {
    /// Selectors of either end. An empty list permits nothing.
    pub fn new(source: Vec<TrafficSelector>, destination: Vec<TrafficSelector>) -> Self {
        Self { source: source.into_boxed_slice(), destination: destination.into_boxed_slice() }
    }

    /// Whether a packet belongs to the SA (RFC 4301 section 5.2 step 4).
    #[inline]
    pub fn permits(&self, flow: &Flow) -> bool {
        self.source.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
            && self.destination.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use super::*;

    #[test]
    fn each_field_is_matched_with_its_own_end() {
        let selectors = |text: &[&str]| text.iter().map(|t| t.parse().unwrap()).collect::<Vec<TrafficSelector>>();
        let permitted = Selectors::new(
            selectors(&["10.0.0.0/24[udp/1000]", "10.0.1.0/24[udp/1000]"]),
            selectors(&["10.0.2.0/24[udp/53]", "10.0.3.0/24[udp/53]"]),
        );
        let good = Flow {
            source: [10, 0, 1, 9].into(),
            destination: [10, 0, 2, 9].into(),
            protocol: 17,
            source_port: Some(1000),
            destination_port: Some(53),
        };
        assert!(permitted.permits(&good));
        let wrong = [
            Flow { source: [10, 0, 2, 9].into(), ..good },
            Flow { destination: [10, 0, 1, 9].into(), ..good },
            Flow { protocol: 6, ..good },
            Flow { source_port: Some(53), ..good },
            Flow { destination_port: Some(1000), ..good },
            Flow { source_port: Some(0), destination_port: Some(0), ..good },
            Flow { source_port: None, destination_port: None, ..good },
        ];
        assert!(wrong.iter().all(|flow| !permitted.permits(flow)));
        assert!(!Selectors::new(vec![], selectors(&["0.0.0.0/0"])).permits(&good));
    }
}
