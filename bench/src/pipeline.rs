//! net_pcap (infinite) -> gateway -> net_null on one worker, outbound and inbound, with source to sink beside it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

use packet::ethernet::MacAddress;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Failure};
use crate::gateway::{GATEWAY, INBOUND_KEYMAT, PEER, Setup};
use crate::measure::{Plan, Sample};
use crate::output::{Output, Pages};
use crate::report::{Direction, Pass, Report, Row};
use crate::traffic::{LOCAL_HOST, Link, MIXES, Mix, REMOTE_HOST, packets, write_pcap};
use crate::{seal, source_sink};

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
    /// Only these sizes (octets, or imix).
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<Mix>,
    /// Packets that the worker takes from the source at once, at most: 1 to 32.
    #[arg(long, value_delimiter = ',', default_value = "32", value_parser = clap::value_parser!(u16).range(1..=32))]
    burst: Vec<u16>,
    /// Measure this culvert-data instead of building the one in this tree.
    #[arg(long, value_name = "PROGRAM")]
    gateway: Option<PathBuf>,
}

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = if arguments.output.quick { Plan::QUICK } else { Plan::FULL };
    let memory = arguments.pages.memory();
    let folder = Folder::new()?;
    let (program, profile) = match &arguments.gateway {
        Some(program) => (program.clone(), "of the given program".to_owned()),
        None => build_gateway()?,
    };
    let cores = available_parallelism().map_or(1, usize::from);
    let setup = Setup { program, folder: folder.0.clone(), memory, worker_core: cores - 1, server_core: 0, burst: 32 };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("tokio")?;

    let mut report = Report::new(profile, memory, plan);
    report.rows = runtime.block_on(unless_interrupted(measure_all(&setup, plan, arguments)))?;
    arguments.output.print(&report, report.table())
}

async fn measure_all(setup: &Setup, plan: Plan, arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let inbound_spi = learn_spi(setup).await?;
    let wanted = |mix: &&Mix| arguments.sizes.is_empty() || arguments.sizes.contains(mix);
    let mut rows = Vec::new();
    for direction in [Direction::Outbound, Direction::Inbound] {
        for &mix in MIXES.iter().filter(wanted) {
            for &burst in &arguments.burst {
                eprintln!("{direction:?} {mix}, bursts of {burst}");
                let setup = Setup { burst, ..setup.clone() };
                let capture = setup.folder.join("source.pcap");
                write_pcap(&capture, &frames(direction, mix, inbound_spi)?).context(capture.display())?;
                let mut passes = Vec::new();
                for _ in 0..plan.passes {
                    passes.push(pass(&setup, direction, mix, &capture, plan, inbound_spi).await?);
                }
                rows.push(Row::new(direction, mix, burst, passes));
            }
        }
    }
    Ok(rows)
}

/// One after the other, so that all see the same machine, on the same core. This blocks the runtime, on which nothing else happens meanwhile.
async fn pass(setup: &Setup, direction: Direction, mix: Mix, capture: &Path, plan: Plan, spi: u32) -> Result<Pass, Failure> {
    let source_to_sink = source_sink::measure(capture, setup.memory, plan, setup.worker_core, setup.burst)?;
    let before = cipher_ns(direction, mix, plan, setup.worker_core)?;
    let gateway = measure(setup, direction, capture, plan, spi).await?;
    let after = cipher_ns(direction, mix, plan, setup.worker_core)?;
    Ok(Pass { gateway, source_to_sink, cipher_ns: before.zip(after).map(|(before, after)| f64::midpoint(before, after)) })
}

#[cfg(target_arch = "x86_64")]
fn cipher_ns(direction: Direction, mix: Mix, plan: Plan, core: usize) -> Result<Option<f64>, Failure> {
    crate::direct::measure(direction, mix, plan.pass / 10, core).map(Some)
}

/// The library is for x86-64 alone.
#[cfg(not(target_arch = "x86_64"))]
fn cipher_ns(_: Direction, _: Mix, _: Plan, _: usize) -> Result<Option<f64>, Failure> {
    Ok(None)
}

/// Inbound captures are sealed before the gateway starts, so the SPI it will lease is asked for in a run of its own.
pub(crate) async fn learn_spi(setup: &Setup) -> Result<u32, Failure> {
    let capture = setup.folder.join("probe.pcap");
    write_pcap(&capture, &frames(Direction::Outbound, Mix::Fixed(64), 0)?).context(capture.display())?;
    setup.start(Direction::Inbound, &capture).await?.lease().await
}

async fn measure(setup: &Setup, direction: Direction, capture: &Path, plan: Plan, spi: u32) -> Result<Sample, Failure> {
    let mut gateway = setup.start(direction, capture).await?;
    let leased = gateway.lease().await?;
    if leased != spi {
        return Err(Failure(format!("the gateway leased SPI {leased:#x}, not {spi:#x} as before: the capture does not fit")));
    }
    gateway.protect(leased).await?;
    tokio::time::sleep(plan.warm_up).await;
    let before = gateway.read().await?;
    tokio::time::sleep(plan.pass).await;
    let after = gateway.read().await?;
    gateway.sample(before, after).await
}

/// A signal ends the work instead of this process, so that the gateway ends too.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT")?;
    tokio::select! {
        result = work => result,
        _ = terminate.recv() => Err(Failure("terminated".to_owned())),
        _ = interrupt.recv() => Err(Failure("interrupted".to_owned())),
    }
}

/// The frames that the source replays.
pub(crate) fn frames(direction: Direction, mix: Mix, inbound_spi: u32) -> Result<Vec<Vec<u8>>, Failure> {
    /// What DPDK's net_pcap calls its first port.
    const SOURCE_MAC: MacAddress = MacAddress(*b"\x02pcap\0");
    let link = Link { source: MacAddress([2, 0, 0, 0, 0, 2]), destination: SOURCE_MAC };
    let inner = |source, destination| packets(mix, source, destination).context(format_args!("no packet has {mix} octets"));
    let packets = match direction {
        Direction::Outbound => inner(LOCAL_HOST, REMOTE_HOST)?,
        Direction::Inbound => seal::seal(&inner(REMOTE_HOST, LOCAL_HOST)?, inbound_spi, &INBOUND_KEYMAT, seal::tunnel(PEER, GATEWAY))?,
    };
    Ok(packets.iter().map(|packet| link.frame(packet)).collect())
}

/// Builds culvert-data as this program was built, next to it. Answers its path and cargo's profile.
pub(crate) fn build_gateway() -> Result<(PathBuf, String), Failure> {
    let own = env::current_exe().context("this program's own path")?;
    let folder = own.parent().context("this program's own folder")?;
    let name = folder.file_name().context("this program's own folder")?.to_string_lossy().into_owned();
    let profile = if name == "debug" { "dev".to_owned() } else { name };
    let target = folder.parent().context("cargo's target folder")?;
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--package", "culvert-data", "--profile", &profile]);
    let status = cargo.arg("--target-dir").arg(target).stdin(Stdio::null()).status().context("cargo")?;
    if !status.success() {
        return Err(Failure("culvert-data does not build; name a built one with --gateway".to_owned()));
    }
    Ok((folder.join("culvert-data"), profile))
}

/// A folder for one run, removed with this value.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Result<Self, Failure> {
        let path = env::temp_dir().join(format!("culvert-bench-{}", std::process::id()));
        fs::create_dir_all(&path).context(path.display())?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
