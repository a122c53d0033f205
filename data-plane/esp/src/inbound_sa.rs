//! Inbound SAs. What changes with every packet, the replay window, lives apart: an SA is shared, its window has one owner.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;

use esp_crypto::AeadKey;
use ipsec_types::{AddressRange, Flow, Mode, SequenceNumbers, Spi, TrafficSelector};

use crate::facts::SaFacts;
use crate::{Layout, SaKey, WindowSize};

/// What it takes to open. Immutable; the worker that owns the SA keeps its [`crate::ReplayWindow`].
#[derive(Debug)]
pub struct InboundSa {
    facts: SaFacts,
    key: AeadKey,
    window_size: WindowSize,
    selectors: Selectors,
}

impl InboundSa {
    /// An SA in tunnel mode that has received nothing yet.
    pub fn new(spi: Spi, key: SaKey, numbers: SequenceNumbers, window_size: WindowSize, selectors: Selectors) -> Self {
        let (key, facts) = key.for_sa(spi, numbers);
        Self { facts, key, window_size, selectors }
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

    /// Has the caches fetch what opening a packet needs, one that is not long.
    #[inline]
    pub fn prefetch(&self) {
        self.key.prefetch(160);
        esp_crypto::prefetch(&self.facts);
    }

    /// Our SPI.
    #[inline]
    pub const fn spi(&self) -> Spi {
        self.facts.spi()
    }

    /// Standard or extended sequence numbers.
    #[inline]
    pub const fn sequence_numbers(&self) -> SequenceNumbers {
        self.facts.numbers()
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
    pub(crate) const fn key(&self) -> &AeadKey {
        &self.key
    }

    #[inline]
    pub(crate) const fn facts(&self) -> &SaFacts {
        &self.facts
    }
}

/// The traffic of an SA in one direction: any source with any destination (RFC 7296 section 2.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selectors {
    v4: Option<Ranges<u32>>,
    /// `None` where the ranges of IPv4 say it all, as of most SAs: there may be very many.
    lists: Option<Box<Lists>>,
}

/// All there is to know.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Lists {
    source: Box<[TrafficSelector]>,
    destination: Box<[TrafficSelector]>,
    v6: Option<Ranges<u128>>,
}

/// The first selectors of either end for addresses alone, of one IP version. Most SAs have no others: whatever lies in these ranges is permitted, and of
/// what does not, the lists decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ranges<T> {
    source: Range<T>,
    destination: Range<T>,
}

/// Both ends are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range<T> {
    first: T,
    last: T,
}

impl<T: Copy + PartialOrd> Ranges<T> {
    fn new(ends: [&[TrafficSelector]; 2], bits: impl Fn(IpAddr) -> Option<T>) -> Option<Self> {
        let any = |selector: &&TrafficSelector| **selector == TrafficSelector::addresses_only(*selector.addresses());
        let [source, destination] = ends.map(|selectors| {
            let range = |addresses: &AddressRange| Some(Range { first: bits(addresses.first())?, last: bits(addresses.last())? });
            selectors.iter().filter(any).find_map(|selector| range(selector.addresses()))
        });
        Some(Self { source: source?, destination: destination? })
    }

    #[inline]
    fn permit(&self, source: T, destination: T) -> bool {
        self.source.contains(source) & self.destination.contains(destination)
    }
}

impl<T: Copy + PartialOrd> Range<T> {
    #[inline]
    fn contains(&self, address: T) -> bool {
        (self.first <= address) & (address <= self.last)
    }
}

impl Range<u32> {
    fn selector(self) -> Option<TrafficSelector> {
        let [first, last] = [self.first, self.last].map(|bits| IpAddr::V4(bits.into()));
        AddressRange::new(first, last).ok().map(TrafficSelector::addresses_only)
    }
}

impl Selectors {
    /// Selectors of either end. An empty list permits nothing.
    pub fn new(source: Vec<TrafficSelector>, destination: Vec<TrafficSelector>) -> Self {
        let v4 = Ranges::new([&source, &destination], |address| match address {
            IpAddr::V4(address) => Some(address.to_bits()),
            IpAddr::V6(_) => None,
        });
        if v4.is_some() && source.len() == 1 && destination.len() == 1 {
            return Self { v4, lists: None };
        }
        let v6 = Ranges::new([&source, &destination], |address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => Some(address.to_bits()),
        });
        Self { v4, lists: Some(Box::new(Lists { source: source.into_boxed_slice(), destination: destination.into_boxed_slice(), v6 })) }
    }

    /// Those of the source.
    pub fn source(&self) -> Vec<TrafficSelector> {
        self.listed(|lists| &lists.source, |ranges| ranges.source)
    }

    /// Those of the destination.
    pub fn destination(&self) -> Vec<TrafficSelector> {
        self.listed(|lists| &lists.destination, |ranges| ranges.destination)
    }

    fn listed(&self, list: impl Fn(&Lists) -> &[TrafficSelector], range: impl Fn(&Ranges<u32>) -> Range<u32>) -> Vec<TrafficSelector> {
        match &self.lists {
            Some(lists) => list(lists).to_vec(),
            None => self.v4.as_ref().and_then(|ranges| range(ranges).selector()).into_iter().collect(),
        }
    }

    /// Whether a packet belongs to the SA (RFC 4301 section 5.2 step 4).
    #[inline]
    pub fn permits(&self, flow: &Flow) -> bool {
        self.permits_between(flow.source, flow.destination) || self.lists.as_deref().is_some_and(|lists| lists.permit(flow))
    }

    /// Whether the SA is for whatever goes between these addresses: of most packets that is all there is to ask. Where it is not, [`Selectors::permits`]
    /// knows.
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "of whichever version the addresses are, half of it is left")]
    pub(crate) fn permits_between(&self, source: IpAddr, destination: IpAddr) -> bool {
        match (source, destination) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                self.v4.is_some_and(|ranges| ranges.permit(source.to_bits(), destination.to_bits()))
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let ranges = self.lists.as_deref().and_then(|lists| lists.v6.as_ref());
                ranges.is_some_and(|ranges| ranges.permit(source.to_bits(), destination.to_bits()))
            }
            _ => false,
        }
    }
}

impl Lists {
    #[inline(never)]
    fn permit(&self, flow: &Flow) -> bool {
        self.source.iter().any(|s| s.matches(flow.source, flow.protocol, flow.source_port))
            && self.destination.iter().any(|s| s.matches(flow.destination, flow.protocol, flow.destination_port))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec;

    use ipsec_types::PortRange;
    use proptest::prelude::*;

    use super::*;

    fn any_selector() -> impl Strategy<Value = TrafficSelector> {
        let v4 = (0..8_u32, 0..8_u32).prop_map(|(a, b)| [a.min(b), a.max(b)].map(|bits| IpAddr::V4(bits.into())));
        let v6 = (0..8_u128, 0..8_u128).prop_map(|(a, b)| [a.min(b), a.max(b)].map(|bits| IpAddr::V6(bits.into())));
        (prop_oneof![v4, v6], 0..3_u8, any::<bool>()).prop_map(|([first, last], protocol, all_ports)| {
            let ports = if protocol == 0 || all_ports { PortRange::ANY } else { PortRange::new(1, 2).unwrap() };
            TrafficSelector::new(AddressRange::new(first, last).unwrap(), protocol, ports).unwrap()
        })
    }

    fn any_address() -> impl Strategy<Value = IpAddr> {
        prop_oneof![(0..8_u32).prop_map(|bits| IpAddr::V4(bits.into())), (0..8_u128).prop_map(|bits| IpAddr::V6(bits.into()))]
    }

    proptest! {
        #[test]
        fn ranges_permit_what_the_lists_do_and_nothing_else(
            source in prop::collection::vec(any_selector(), 0..4), destination in prop::collection::vec(any_selector(), 0..4),
            ends in (any_address(), any_address()), protocol in 0..4_u8, port in prop::option::of(0..4_u16),
        ) {
            let flow = Flow { source: ends.0, destination: ends.1, protocol, source_port: port, destination_port: port };
            let lists = Lists { source: source.clone().into(), destination: destination.clone().into(), v6: None };
            let selectors = Selectors::new(source.clone(), destination.clone());
            prop_assert_eq!(selectors.permits(&flow), lists.permit(&flow));
            prop_assert_eq!((selectors.source(), selectors.destination()), (source, destination));
        }
    }

    #[test]
    fn those_of_most_sas_take_little_room() {
        let all = || vec![TrafficSelector::addresses_only(AddressRange::ALL_IPV4)];
        let selectors = Selectors::new(all(), all());
        assert!(selectors.lists.is_none() && size_of::<Selectors>() == 32);
        assert_eq!((selectors.source(), selectors.destination()), (all(), all()));
    }

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
