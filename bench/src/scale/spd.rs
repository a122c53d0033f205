//! Lookups in the SPD alone, and what it takes to change it.

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::time::Instant;

use culvert_data::table::{PolicySlot, Spd};
use ipsec_types::{AddressRange, Dscp, DscpSet, Flow, Policy, PolicyAction, PolicyId, PortRange, TrafficSelector};
use serde::Serialize;

use super::source::Random;
use crate::error::{Context, Failure};
use crate::measure::median;

/// One database.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) shape: &'static str,
    pub(crate) policies: u32,
    /// Nanoseconds of a lookup, over all policies in random order: median, least and most of the passes.
    pub(crate) all_ns: [f64; 3],
    /// The same over 64 policies: what traffic of few flows sees.
    pub(crate) few_ns: [f64; 3],
    /// Microseconds to put one policy in and to take one out.
    pub(crate) insert_us: f64,
    pub(crate) remove_us: f64,
    /// Milliseconds to make it from nothing.
    pub(crate) build_ms: f64,
}

/// What policies look like.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Each has a /28 of its own at the remote end.
    Prefixes,
    /// Ranges of up to 200 addresses at either end, which overlap, and ports; three in four have a protocol.
    Ranges,
}

pub(crate) fn measure(quick: bool) -> Result<Vec<Row>, Failure> {
    let sizes =
        [(Shape::Ranges, 1000), (Shape::Ranges, 10_000), (Shape::Prefixes, 1000), (Shape::Prefixes, 10_000), (Shape::Prefixes, 100_000)];
    sizes.into_iter().map(|(shape, count)| row(shape, count, quick)).collect()
}

fn row(shape: Shape, count: u32, quick: bool) -> Result<Row, Failure> {
    let (passes, lookups) = if quick { (3, 20_000) } else { (25, 200_000) };
    let slotted = (0..count).map(|n| Ok((PolicySlot(n), shape.policy(n)?))).collect::<Result<Vec<_>, Failure>>()?;
    let start = Instant::now();
    let spd = Spd::new(slotted.iter().cloned());
    let build_ms = start.elapsed().as_secs_f64() * 1e3;
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..passes {
        for (among, times) in [count, count.min(64)].into_iter().zip(&mut times) {
            times.push(lookup_ns(&spd, shape, among, lookups)?);
        }
    }
    let [all_ns, few_ns] = times.map(summary);
    let (insert_us, remove_us) = changes(&spd, shape, count)?;
    let shape = match shape {
        Shape::Prefixes => "prefixes",
        Shape::Ranges => "ranges and ports",
    };
    Ok(Row { shape, policies: count, all_ns, few_ns, insert_us, remove_us, build_ms })
}

/// Median, least and most.
fn summary(values: Vec<f64>) -> [f64; 3] {
    let (least, most) = values.iter().fold((f64::MAX, 0.0_f64), |(least, most), &value| (least.min(value), most.max(value)));
    [median(values), least, most]
}

/// Without what making the flow costs, which is done once more alone.
fn lookup_ns(spd: &Spd, shape: Shape, among: u32, lookups: u32) -> Result<f64, Failure> {
    let mut random = Random::new();
    let start = Instant::now();
    let mut found = 0;
    for _ in 0..lookups {
        let flow = shape.flow(random.below(among));
        found += u32::from(black_box(spd.outbound(&flow, Dscp::DEFAULT)).is_some());
    }
    let with = start.elapsed();
    if found != lookups {
        return Err(Failure(format!("of {lookups} packets {found} have a policy")));
    }
    let start = Instant::now();
    for _ in 0..lookups {
        black_box(shape.flow(random.below(among)));
    }
    Ok((with.as_secs_f64() - start.elapsed().as_secs_f64()) * 1e9 / f64::from(lookups))
}

/// One at a time, each in a copy that others still read, as the server does.
fn changes(spd: &Spd, shape: Shape, count: u32) -> Result<(f64, f64), Failure> {
    const CHANGES: u32 = 200;
    let mut random = Random::new();
    let (mut inserting, mut removing) = (Vec::new(), Vec::new());
    let mut current = spd.clone();
    for _ in 0..CHANGES {
        let slot = random.below(count);
        let policy = shape.policy(slot)?;
        let mut next = current.clone();
        let start = Instant::now();
        next.remove(PolicySlot(slot));
        removing.push(start.elapsed().as_secs_f64() * 1e6);
        let mut back = next.clone();
        let start = Instant::now();
        back.insert(PolicySlot(slot), &policy);
        inserting.push(start.elapsed().as_secs_f64() * 1e6);
        current = back;
    }
    Ok((median(inserting), median(removing)))
}

/// A number that looks random, the same for the same policy.
const fn scattered(n: u32) -> u32 {
    let n = (n ^ n >> 16).wrapping_mul(0x7feb_352d);
    let n = (n ^ n >> 15).wrapping_mul(0x846c_a68b);
    n ^ n >> 16
}

/// One side of a policy: addresses, and ports of a protocol.
type Side = ((u32, u32), (u8, u16, u16));

impl Shape {
    /// Local and remote side.
    fn sides(self, n: u32) -> (Side, Side) {
        const ANY: (u8, u16, u16) = (0, 0, u16::MAX);
        match self {
            Self::Prefixes => {
                let remote = u32::from(Ipv4Addr::new(11, 0, 0, 0)) + n * 16;
                ((net(10, 1, 1 << 16), ANY), ((remote, remote + 15), ANY))
            }
            Self::Ranges => {
                let (a, b) = (scattered(n), scattered(n ^ 0x5555_5555));
                let local = u32::from(Ipv4Addr::new(10, 0, 0, 0)) + a % (1 << 16);
                let remote = u32::from(Ipv4Addr::new(11, 0, 0, 0)) + b % (1 << 21);
                let protocol = [0, 6, 17, 6][n as usize % 4];
                let first = u16::try_from(a >> 17).unwrap_or(0);
                let ports = if protocol == 0 { ANY } else { (protocol, first, first + u16::try_from(b >> 24).unwrap_or(0) * 8) };
                let whole = (protocol, 0, u16::MAX);
                (((local, local + a % 200), whole), ((remote, remote + b % 200), ports))
            }
        }
    }

    fn policy(self, n: u32) -> Result<Policy, Failure> {
        let selector = |((first, last), (protocol, low, high)): Side| {
            let addresses = AddressRange::new(Ipv4Addr::from(first).into(), Ipv4Addr::from(last).into()).context("range")?;
            TrafficSelector::new(addresses, protocol, PortRange::new(low, high).context("ports")?).context("selector")
        };
        let (local, remote) = self.sides(n);
        Ok(Policy {
            id: PolicyId(n + 1),
            name: String::new(),
            priority: 1000 + n,
            action: PolicyAction::Protect,
            local: vec![selector(local)?],
            remote: vec![selector(remote)?],
            dscp: DscpSet::ALL,
        })
    }

    /// A packet that this policy selects, and perhaps another one before it.
    #[inline]
    fn flow(self, n: u32) -> Flow {
        let (((source, _), _), ((first, last), (protocol, low, _))) = self.sides(n);
        Flow {
            source: Ipv4Addr::from(source).into(),
            destination: Ipv4Addr::from(u32::midpoint(first, last)).into(),
            protocol: if protocol == 0 { 17 } else { protocol },
            source_port: Some(4096),
            destination_port: Some(low),
        }
    }
}

fn net(a: u8, b: u8, len: u32) -> (u32, u32) {
    let first = u32::from(Ipv4Addr::new(a, b, 0, 0));
    (first, first + len - 1)
}
