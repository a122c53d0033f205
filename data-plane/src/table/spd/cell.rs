//! What one policy selects, as boxes of numbers.

use std::net::IpAddr;
use std::sync::Arc;

use ipsec_types::{Flow, PortRange, TrafficSelector};

use super::{Exact, SpdEntry};

/// Local address, remote address, local service, remote service.
pub(super) const DIMENSIONS: usize = 4;

/// An address as a number, and the other dimensions in the same width.
pub(super) trait Number: Copy + Ord + std::fmt::Debug + From<u32> {
    /// The highest.
    const MAX: Self;
    /// `self - other`, around the end.
    fn minus(self, other: Self) -> Self;
    /// The number of an address, where it is of this family.
    fn of(address: IpAddr) -> Option<Self>;
}

impl Number for u32 {
    const MAX: Self = Self::MAX;

    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline]
    fn of(address: IpAddr) -> Option<Self> {
        if let IpAddr::V4(address) = address { Some(address.into()) } else { None }
    }
}

impl Number for u128 {
    const MAX: Self = Self::MAX;

    #[inline]
    fn minus(self, other: Self) -> Self {
        self.wrapping_sub(other)
    }

    #[inline]
    fn of(address: IpAddr) -> Option<Self> {
        if let IpAddr::V6(address) = address { Some(address.into()) } else { None }
    }
}

/// A packet in the space of all packets of its family.
pub(super) type Point<N> = [N; DIMENSIONS];

/// Protocol and port in one number, so that one comparison checks both. A packet without port lies behind the last port of its protocol.
const fn service(protocol: u8, port: Option<u16>) -> u32 {
    const NO_PORT: u32 = 1 << 16;
    let port = match port {
        Some(port) => port as u32,
        None => NO_PORT,
    };
    (protocol as u32) << 17 | port
}

/// The services of a selector: a packet without port is selected by every port only (RFC 4301 section 4.4.1.1).
fn services(selector: &TrafficSelector) -> (u32, u32) {
    let (protocol, ports) = (selector.protocol(), selector.ports());
    match (protocol, ports) {
        (0, _) => (0, u32::MAX),
        (_, PortRange::ANY) => (service(protocol, Some(0)), service(protocol, None)),
        _ => (service(protocol, Some(ports.first())), service(protocol, Some(ports.last()))),
    }
}

/// Where a packet lies that is on its way out: its source is local. `None` where it is not of this family.
#[inline]
pub(super) fn outbound<N: Number>(flow: &Flow) -> Option<Point<N>> {
    let (source, destination) = (service(flow.protocol, flow.source_port), service(flow.protocol, flow.destination_port));
    Some([N::of(flow.source)?, N::of(flow.destination)?, source.into(), destination.into()])
}

/// Where a packet lies that comes in: its destination is local.
#[inline]
pub(super) fn inbound<N: Number>(flow: &Flow) -> Option<Point<N>> {
    let (source, destination) = (service(flow.protocol, flow.source_port), service(flow.protocol, flow.destination_port));
    Some([N::of(flow.destination)?, N::of(flow.source)?, destination.into(), source.into()])
}

/// Some of what an entry selects: for IPv4 in one cache line, with the entry, so that most packets need no other.
#[derive(Debug, Clone)]
#[repr(align(64))]
pub(super) struct Cell<N> {
    first: Point<N>,
    /// Last minus first.
    extent: Point<N>,
    /// The place among all entries: the lowest decides. No two entries have the same.
    pub(super) order: u64,
    pub(super) entry: SpdEntry,
    /// The policy's own selectors, where the box is wider than they are or classes count.
    pub(super) exact: Option<Arc<Exact>>,
}

impl<N: Number> Cell<N> {
    #[inline]
    pub(super) fn contains(&self, point: &Point<N>) -> bool {
        let ([a, b, c, d], [first_a, first_b, first_c, first_d], [extent_a, extent_b, extent_c, extent_d]) =
            (point, &self.first, &self.extent);
        // No early exit: four comparisons cost less than a branch that goes either way.
        (a.minus(*first_a) <= *extent_a)
            & (b.minus(*first_b) <= *extent_b)
            & (c.minus(*first_c) <= *extent_c)
            & (d.minus(*first_d) <= *extent_d)
    }

    pub(super) fn first(&self, dimension: usize) -> N {
        self.first.get(dimension).copied().unwrap_or(N::MAX)
    }

    pub(super) fn last(&self, dimension: usize) -> N {
        let ends = self.first.get(dimension).zip(self.extent.get(dimension));
        // Both ends are of one range: this does not go around.
        ends.map_or(N::MAX, |(first, extent)| first.minus(N::from(0).minus(*extent)))
    }

    /// By order, and so that copies of one cell lie beside each other.
    pub(super) fn key(&self) -> (u64, Point<N>, Point<N>) {
        (self.order, self.first, self.extent)
    }
}

/// Pairs of selectors up to which each has a cell of its own.
const MAX_PAIRS: usize = 64;

/// The cells of an entry for one family.
pub(super) fn cells<N: Number>(entry: SpdEntry, order: u64, exact: &Arc<Exact>) -> Vec<Cell<N>> {
    let (local, remote) = (sides::<N>(&exact.local), sides::<N>(&exact.remote));
    // Too many pairs: the shorter list becomes one box around all of it.
    let wide = local.len().saturating_mul(remote.len()) > MAX_PAIRS;
    let (local, remote) = match (wide, local.len() < remote.len()) {
        (false, _) => (local, remote),
        (true, true) => (hull(&local), remote),
        (true, false) => (local, hull(&remote)),
    };
    let exact = (wide || exact.has_classes()).then_some(exact);
    let pairs = local.iter().flat_map(|local| remote.iter().map(move |remote| (local, remote)));
    let cell = |(local, remote): (&Side<N>, &Side<N>)| {
        let (first, last) = ([local.0.0, remote.0.0, local.1.0, remote.1.0], [local.0.1, remote.0.1, local.1.1, remote.1.1]);
        let mut extent = last;
        extent.iter_mut().zip(&first).for_each(|(last, first)| *last = last.minus(*first));
        Cell { first, extent, order, entry, exact: exact.cloned() }
    };
    pairs.map(cell).collect()
}

/// Addresses and services of one side.
type Side<N> = ((N, N), (N, N));

fn sides<N: Number>(selectors: &[TrafficSelector]) -> Vec<Side<N>> {
    let side = |selector: &TrafficSelector| {
        let (addresses, services) = (selector.addresses(), services(selector));
        Some(((N::of(addresses.first())?, N::of(addresses.last())?), (services.0.into(), services.1.into())))
    };
    let mut sides: Vec<_> = selectors.iter().filter_map(side).collect();
    // One that stands twice selects no more.
    sides.sort_unstable();
    sides.dedup();
    sides
}

fn hull<N: Number>(sides: &[Side<N>]) -> Vec<Side<N>> {
    let around = |a: (N, N), b: (N, N)| (a.0.min(b.0), a.1.max(b.1));
    sides.iter().copied().reduce(|a, b| (around(a.0, b.0), around(a.1, b.1))).into_iter().collect()
}
