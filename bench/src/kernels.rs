//! AES-GCM by each of our kernels and by what else there is: one process, one core, the same packets in the same memory, in turns.

mod report;

use std::iter;

use clap::ValueEnum;
use esp_crypto::Kernel;

use crate::error::{Context, Failure};
use crate::output::Output;
use crate::packets::{ICV_LEN, Load, Random, Room, Side, Size, WINDOW, split_icv};
use crate::peers::{AwsLc, Culvert, IpsecMb, Isa, OpenSsl, Peer, Ring};
use crate::tsc;
use report::{Algorithm, Direction, Report, Row};

/// Time of AES-GCM a packet, against intel-ipsec-mb, OpenSSL, aws-lc-rs and ring.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    /// Leave out what needs more than this: code of ipsec-mb, and our kernels; and the peers that choose for themselves [default: the CPU's best].
    #[arg(long)]
    isa: Option<Isa>,
    /// Only these sizes (octets, or imix).
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<Size>,
    /// Only these peers, besides ipsec-mb.
    #[arg(long, value_delimiter = ',')]
    peers: Option<Vec<Other>>,
    /// Keys that 64 octets and IMIX take turns in, besides one key; 0 leaves that part out [default: 100000, or 10000 with --quick].
    #[arg(long)]
    sas: Option<usize>,
}

/// Peers that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Other {
    None,
    Openssl,
    AwsLc,
    Ring,
}

/// What the table has, in its order.
const SIZES: [Size; 8] = [
    Size::Fixed(64),
    Size::Fixed(256),
    Size::Fixed(512),
    Size::Fixed(594),
    Size::Fixed(1024),
    Size::Fixed(1420),
    Size::Fixed(8192),
    Size::Imix,
];
/// Sizes that are done with many keys too.
const SIZES_WITH_MANY_KEYS: [Size; 2] = [Size::Fixed(64), Size::Imix];

/// How often is measured.
#[derive(Debug, Clone, Copy)]
struct Plan {
    passes: usize,
    /// Windows of a pass with one key.
    windows: usize,
    /// Passes through all keys.
    passes_with_many_keys: usize,
}

impl Plan {
    const FULL: Self = Self { passes: 400, windows: 4, passes_with_many_keys: 15 };
    const QUICK: Self = Self { passes: 15, windows: 2, passes_with_many_keys: 3 };
}

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let core = core_affinity::get_core_ids().and_then(|cores| cores.last().copied()).context("the cores of this machine")?;
    if !core_affinity::set_for_current(core) {
        return Err(Failure("this thread cannot stay on one core".to_owned()));
    }
    let plan = if arguments.output.quick { Plan::QUICK } else { Plan::FULL };
    let isa = arguments.isa.map_or_else(best_isa, Ok)?;
    let clock = Clock { overhead: tsc::overhead(), frequency: tsc::frequency() };
    let mut report = Report::new(isa, plan.passes, clock.frequency);
    let wanted = |size: &Size| arguments.sizes.is_empty() || arguments.sizes.contains(size);
    let sas = arguments.sas.unwrap_or(if arguments.output.quick { 10_000 } else { 100_000 });
    for algorithm in Algorithm::ALL {
        let mut peers = peers(isa, arguments)?;
        let others = arguments.sizes.iter().filter(|size| !SIZES.contains(size));
        for &size in SIZES.iter().filter(|size| wanted(size)).chain(others) {
            report.rows.extend(measure(&mut peers, algorithm, size, 1, plan, clock)?);
        }
        // So many contexts of the others would only show how large those are.
        peers.truncate(1 + kernels(isa).count());
        for size in SIZES_WITH_MANY_KEYS.into_iter().filter(|size| sas > 0 && wanted(size)) {
            report.rows.extend(measure(&mut peers, algorithm, size, sas, plan, clock)?);
        }
    }
    arguments.output.print(&report, report.table())
}

/// The best of ipsec-mb's code that this CPU runs.
pub(crate) fn best_isa() -> Result<Isa, Failure> {
    let isas = [Isa::Avx512, Isa::Avx2, Isa::Sse];
    isas.into_iter().find(|isa| IpsecMb::new(*isa).is_ok()).context("ipsec-mb runs none of its code on this CPU")
}

/// Our kernels that need no more than this.
fn kernels(isa: Isa) -> impl Iterator<Item = Kernel> {
    Kernel::available().filter(move |kernel| match kernel {
        Kernel::Avx512 => isa == Isa::Avx512,
        Kernel::Avx2 => isa != Isa::Sse,
        _ => true,
    })
}

/// ipsec-mb first, our kernels, then the others.
fn peers(isa: Isa, arguments: &Arguments) -> Result<Vec<Box<dyn Peer>>, Failure> {
    let wants = |other| arguments.peers.as_ref().map_or_else(|| arguments.isa.is_none(), |peers| peers.contains(&other));
    let mut peers: Vec<Box<dyn Peer>> = vec![Box::new(IpsecMb::new(isa)?)];
    peers.extend(kernels(isa).map(|kernel| Box::new(Culvert::new(kernel)) as Box<dyn Peer>));
    if wants(Other::Openssl) {
        peers.push(Box::new(OpenSsl::default()));
    }
    if wants(Other::AwsLc) {
        peers.push(Box::new(AwsLc::default()));
    }
    if wants(Other::Ring) {
        peers.push(Box::new(Ring::default()));
    }
    Ok(peers)
}

/// What turns ticks into time.
#[derive(Debug, Clone, Copy)]
struct Clock {
    overhead: u64,
    frequency: f64,
}

/// One size under so many keys, sealed and opened.
fn measure(
    peers: &mut [Box<dyn Peer>],
    algorithm: Algorithm,
    size: Size,
    keys: usize,
    plan: Plan,
    clock: Clock,
) -> Result<Vec<Row>, Failure> {
    eprintln!("{} {size}, {keys} SA", algorithm.name());
    let mut random = Random(keys as u64 + 1);
    let raw: Vec<Vec<u8>> = (0..keys).map(|_| iter::repeat_with(|| random.octet()).take(algorithm.key_len()).collect()).collect();
    for peer in peers.iter_mut() {
        peer.take_keys(&raw)?;
    }
    let load = sealed_load(peers, size, keys)?;
    let mut room = Room::new(size);
    for peer in peers.iter_mut() {
        verify(&mut **peer, &load, &mut room)?;
    }
    let passes = if keys == 1 { plan.passes } else { plan.passes_with_many_keys };
    let mut rows = Vec::new();
    for direction in Direction::ALL {
        let mut ticks = vec![Vec::with_capacity(passes); peers.len()];
        for pass in 0..passes {
            for index in order(peers.len(), pass) {
                let (Some(peer), Some(ticks)) = (peers.get_mut(index), ticks.get_mut(index)) else { continue };
                ticks.push(one_pass(&mut **peer, &load, &mut room, direction, plan, clock)?);
            }
        }
        let peers = peers.iter().map(|peer| peer.name()).zip(ticks).collect();
        rows.push(Row::new(algorithm, direction, size, keys, peers, clock.frequency));
    }
    Ok(rows)
}

/// Nobody is always first, and nobody always behind the same.
fn order(count: usize, pass: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.rotate_left(pass % count);
    if pass / count % 2 == 1 {
        order.reverse();
    }
    order
}

/// What is sealed and opened, with what the first peer, ipsec-mb, seals it to.
fn sealed_load(peers: &mut [Box<dyn Peer>], size: Size, keys: usize) -> Result<Load, Failure> {
    let mut load = Load::new(size, keys);
    let mut room = Room::new(size);
    let ipsec_mb = peers.first_mut().context("no peer")?;
    let mut sealed = Vec::new();
    for (packets, plain) in load.windows(Side::Plain) {
        room.fill(packets, plain);
        ipsec_mb.seal(&mut room, 0);
        room.octets().for_each(|packet| sealed.extend_from_slice(packet));
    }
    load.sealed = sealed;
    Ok(load)
}

/// A peer seals to the octets that ipsec-mb seals to, opens them again, and opens nothing that was changed.
fn verify(peer: &mut dyn Peer, load: &Load, room: &mut Room) -> Result<(), Failure> {
    let check = |holds, name: String, what| if holds { Ok(()) } else { Err(Failure(format!("{name}, {} octets: {what}", load.size))) };
    for ((packets, plain), (_, sealed)) in load.windows(Side::Plain).zip(load.windows(Side::Sealed)) {
        room.fill(packets, plain);
        peer.seal(room, 0);
        check(room.octets().flatten().eq(sealed), peer.name(), "does not seal as ipsec-mb does")?;
        let (_, authentic) = peer.open(room, 0);
        check(authentic == WINDOW, peer.name(), "does not open what it sealed")?;
        let data = |room: &Room| room.octets().flat_map(|packet| packet.split_at(packet.len() - ICV_LEN).0.to_vec()).collect::<Vec<_>>();
        let opened = data(room);
        room.fill(packets, plain);
        check(opened == data(room), peer.name(), "does not open to what was sealed")?;
        room.fill(packets, sealed);
        room.each().for_each(|(_, place)| *split_icv(place).1.first_mut().expect("an ICV has octets") ^= 1);
        check(peer.open(room, 0).1 == 0, peer.name(), "opens what was changed")?;
    }
    Ok(())
}

/// Ticks a packet. What a packet looks like before is restored outside of the time that counts.
fn one_pass(peer: &mut dyn Peer, load: &Load, room: &mut Room, direction: Direction, plan: Plan, clock: Clock) -> Result<f64, Failure> {
    let side = match direction {
        Direction::Seal => Side::Plain,
        Direction::Open => Side::Sealed,
    };
    // The first round brings the code into the caches, and, of as many keys as fit, those of this peer.
    let rounds = 1 + if load.keys == 1 { plan.windows } else { 1 };
    let (mut ticks, mut count) = (0, 0_u32);
    for round in 0..rounds {
        for (packets, octets) in load.windows(side) {
            room.fill(packets, octets);
            let taken = match direction {
                Direction::Seal => peer.seal(room, clock.overhead),
                Direction::Open => match peer.open(room, clock.overhead) {
                    (ticks, WINDOW) => ticks,
                    (_, authentic) => return Err(Failure(format!("{} opened {authentic} of {WINDOW}", peer.name()))),
                },
            };
            if round > 0 {
                ticks += taken;
                count += 1;
            }
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "far from 2^52")]
    let ticks = ticks as f64 / (f64::from(count) * WINDOW as f64);
    Ok(ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_agrees_with_ipsec_mb() {
        let isa = best_isa().unwrap();
        let all: Vec<Box<dyn Peer>> = vec![Box::new(OpenSsl::default()), Box::new(AwsLc::default()), Box::new(Ring::default())];
        let mut peers: Vec<Box<dyn Peer>> = vec![Box::new(IpsecMb::new(isa).unwrap())];
        peers.extend(kernels(isa).map(|kernel| Box::new(Culvert::new(kernel)) as Box<dyn Peer>));
        peers.extend(all);
        for (algorithm, keys) in Algorithm::ALL.into_iter().flat_map(|algorithm| [(algorithm, 1), (algorithm, 3)]) {
            for size in [Size::Fixed(1), Size::Fixed(257), Size::Imix] {
                let raw: Vec<Vec<u8>> = (1..=keys).map(|key: u8| vec![key; algorithm.key_len()]).collect();
                peers.iter_mut().for_each(|peer| peer.take_keys(&raw).unwrap());
                let load = sealed_load(&mut peers, size, raw.len()).unwrap();
                peers.iter_mut().for_each(|peer| verify(&mut **peer, &load, &mut Room::new(size)).unwrap());
            }
        }
    }

    #[test]
    fn a_peer_that_seals_otherwise_is_found() {
        let mut peers: Vec<Box<dyn Peer>> = vec![Box::new(IpsecMb::new(Isa::Sse).unwrap())];
        peers[0].take_keys(&[vec![1; 16]]).unwrap();
        let load = sealed_load(&mut peers, Size::Fixed(100), 1).unwrap();
        let mut other = Culvert::new(Kernel::Portable);
        other.take_keys(&[vec![2; 16]]).unwrap();
        assert!(verify(&mut other, &load, &mut Room::new(load.size)).is_err());
    }

    #[test]
    fn everybody_is_first_and_last_once_in_a_while() {
        let (mut first, mut last) = ([0; 5], [0; 5]);
        for pass in 0..10 {
            let order = order(5, pass);
            first[order[0]] += 1;
            last[order[4]] += 1;
        }
        assert_eq!((first, last), ([2; 5], [2; 5]));
    }
}
