//! net_pcap (infinite) -> gateway -> net_null on one worker, outbound and inbound, with source to sink beside it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use packet::ethernet::MacAddress;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::error::{Context, Failure};
use crate::gateway::{INBOUND_KEYMAT, Setup};
use crate::measure::Plan;
use crate::output::{Output, Pages};
use crate::paused::PausedGateway;
use crate::report::{Direction, Pass, Report, Row};
use crate::seal;
use crate::source_sink::SourceToSink;
use crate::stage_table::{Clock, StageTable};
use crate::traffic::{Link, MIXES, Mix, packets, write_pcap};
use crate::variant::Variant;

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
    /// Only these sizes (octets, or imix); unless said otherwise all of plain ESP over IPv4, and 64 and imix of the rest.
    #[arg(long, value_delimiter = ',')]
    sizes: Vec<Mix>,
    /// Inside and outside of the tunnel.
    #[arg(long, value_delimiter = ',', value_enum, default_values_t = [Variant::Plain, Variant::Udp, Variant::V6])]
    variants: Vec<Variant>,
    /// Packets that the worker takes from the source at once, at most: 1 to 32.
    #[arg(long, value_delimiter = ',', default_value = "32", value_parser = clap::value_parser!(u16).range(1..=32))]
    burst: Vec<u16>,
    /// Measure this culvert-data instead of building the one in this tree.
    #[arg(long, value_name = "PROGRAM")]
    gateway: Option<PathBuf>,
    /// Take the time of stages in this culvert-data, which was built with --features stage-cycles; with --gateway alone there is no table of stages.
    #[arg(long, value_name = "PROGRAM")]
    gateway_with_stages: Option<PathBuf>,
    /// Neither build a gateway that takes the time of its stages nor measure it.
    #[arg(long, conflicts_with = "gateway_with_stages")]
    no_stages: bool,
}

impl Arguments {
    /// The gateway that is measured, cargo's profile, and the one that takes the time of its stages.
    fn programs(&self) -> Result<(PathBuf, String, Option<PathBuf>), Failure> {
        let (program, profile) = match &self.gateway {
            Some(program) => (program.clone(), "of the given program".to_owned()),
            None => build_gateway()?,
        };
        let staged = match (&self.gateway_with_stages, &self.gateway) {
            (Some(program), _) => Some(program.clone()),
            (None, None) if !self.no_stages => Some(build_gateway_with_stages()?),
            (None, _) => None,
        };
        Ok((program, profile, staged))
    }

    fn rows(&self) -> impl Iterator<Item = (Direction, Variant, Mix, u16)> {
        const OF_THE_REST: [Mix; 2] = [Mix::Fixed(64), Mix::Imix];
        let wanted = |variant: Variant, mix: Mix| match self.sizes.as_slice() {
            [] => variant == Variant::Plain || OF_THE_REST.contains(&mix),
            sizes => sizes.contains(&mix),
        };
        let of_variant = move |direction, variant| {
            let sizes = MIXES.into_iter().filter(move |mix| wanted(variant, *mix));
            sizes.flat_map(move |mix| self.burst.iter().map(move |&burst| (direction, variant, mix, burst)))
        };
        let of_direction = move |direction| self.variants.iter().flat_map(move |&variant| of_variant(direction, variant));
        [Direction::Outbound, Direction::Inbound].into_iter().flat_map(of_direction)
    }
}

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = if arguments.output.quick { Plan::QUICK } else { Plan::FULL };
    let memory = arguments.pages.memory();
    let folder = Folder::new()?;
    let (program, profile, staged) = arguments.programs()?;
    let setup = Setup::new(program, folder.0.clone(), memory);
    let staged = staged.map(|program| Setup::new(program, folder.0.join("stages"), memory));
    let bench = Bench { setup, staged, plan, clock: Clock::measure() };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("tokio")?;

    let mut report = Report::new(profile, memory, plan, bench.clock);
    report.rows = runtime.block_on(unless_interrupted(bench.measure_all(arguments)))?;
    arguments.output.print(&report, report.table())
}

/// What all rows share.
struct Bench {
    setup: Setup,
    /// The gateway that takes the time of its stages.
    staged: Option<Setup>,
    plan: Plan,
    clock: Clock,
}

impl Bench {
    async fn measure_all(&self, arguments: &Arguments) -> Result<Vec<Row>, Failure> {
        let spi = learn_spi(&self.setup).await?;
        let mut rows = Vec::new();
        for (direction, variant, mix, burst) in arguments.rows() {
            eprintln!("{} {} {mix}, bursts of {burst}", direction.name(), variant.name());
            let capture = self.setup.folder.join("source.pcap");
            write_pcap(&capture, &frames(variant, direction, mix, spi)?).context(capture.display())?;
            let row = self.row(direction, variant, mix, burst, &capture, spi).await;
            rows.push(row.map_err(|failure| Failure(format!("{} {} {mix}: {failure}", direction.name(), variant.name())))?);
        }
        Ok(rows)
    }

    /// All run for the whole of the row, and on the worker's core one at a time: whichever is not measured sleeps or is stopped.
    async fn row(&self, direction: Direction, variant: Variant, mix: Mix, burst: u16, capture: &Path, spi: u32) -> Result<Row, Failure> {
        let Self { plan, setup, .. } = self;
        let of_row = |setup: &Setup| Setup { burst, variant, ..setup.clone() };
        let mut source = SourceToSink::start(capture, setup.memory, *plan, setup.worker_core, burst)?;
        let mut gateway = PausedGateway::start(&of_row(setup), direction, capture, spi).await?;
        let mut staged = match &self.staged {
            Some(setup) => Some(PausedGateway::start(&of_row(setup), direction, capture, spi).await?),
            None => None,
        };
        let cipher = || cipher_ns(direction, mix, *plan, setup.worker_core);
        let (mut passes, mut laps) = (Vec::new(), Vec::new());
        for _ in 0..plan.passes {
            // This blocks the runtime, on which nothing else happens meanwhile.
            let source_to_sink = source.measure()?;
            let before = cipher()?;
            let (gateway, _) = gateway.pass(plan.warm_up, plan.pass).await?;
            let after = cipher()?;
            passes.push(Pass { gateway, source_to_sink, cipher_ns: before.zip(after).map(|(before, after)| f64::midpoint(before, after)) });
            if let Some(staged) = &mut staged {
                laps.push(staged.pass(plan.warm_up, plan.pass).await?);
            }
        }
        let stages = (!laps.is_empty()).then(|| StageTable::new(&laps, self.clock));
        Ok(Row::new(direction, variant, mix, burst, passes, stages))
    }
}

#[cfg(target_arch = "x86_64")]
fn cipher_ns(direction: Direction, mix: Mix, plan: Plan, core: usize) -> Result<Option<f64>, Failure> {
    crate::direct::measure(direction, mix, plan.pass / 5, core).map(Some)
}

/// The library is for x86-64 alone.
#[cfg(not(target_arch = "x86_64"))]
fn cipher_ns(_: Direction, _: Mix, _: Plan, _: usize) -> Result<Option<f64>, Failure> {
    Ok(None)
}

/// Inbound captures are sealed before the gateway starts, so the SPI it will lease is asked for in a run of its own.
pub(crate) async fn learn_spi(setup: &Setup) -> Result<u32, Failure> {
    let capture = setup.folder.join("probe.pcap");
    write_pcap(&capture, &frames(Variant::Plain, Direction::Outbound, Mix::Fixed(64), 0)?).context(capture.display())?;
    setup.start(Direction::Inbound, &capture).await?.lease().await
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
pub(crate) fn frames(variant: Variant, direction: Direction, mix: Mix, inbound_spi: u32) -> Result<Vec<Vec<u8>>, Failure> {
    /// What DPDK's net_pcap calls its first port.
    const SOURCE_MAC: MacAddress = MacAddress(*b"\x02pcap\0");
    let link = Link { source: MacAddress([2, 0, 0, 0, 0, 2]), destination: SOURCE_MAC };
    let (here, there) = (variant.local_host(), variant.remote_host());
    let inner = |source, destination| packets(mix, source, destination).context(format_args!("no packet has {mix} octets"));
    let packets = match direction {
        Direction::Outbound => inner(here, there)?,
        Direction::Inbound => seal::seal(&inner(there, here)?, inbound_spi, &INBOUND_KEYMAT, variant.peers_tunnel()?)?,
    };
    Ok(packets.iter().map(|packet| link.frame(packet)).collect())
}

/// Builds culvert-data as this program was built, next to it. Answers its path and cargo's profile.
pub(crate) fn build_gateway() -> Result<(PathBuf, String), Failure> {
    let (folder, profile) = build(&["culvert-data"])?;
    Ok((folder.join("culvert-data"), profile))
}

/// Builds packages of this tree as this program was built; gives back the folder they are in, and cargo's profile.
pub(crate) fn build(packages: &[&str]) -> Result<(PathBuf, String), Failure> {
    let (target, profile) = own_build()?;
    Ok((cargo_build(&target, &profile, packages, &[])?, profile))
}

/// Builds the one that takes the time of its stages, in a target folder of its own: the two would replace each other.
fn build_gateway_with_stages() -> Result<PathBuf, Failure> {
    let (target, profile) = own_build()?;
    Ok(cargo_build(&target.join("stage-cycles"), &profile, &["culvert-data"], &["--features", "stage-cycles"])?.join("culvert-data"))
}

/// The target folder that this program was built in, and cargo's profile.
fn own_build() -> Result<(PathBuf, String), Failure> {
    let own = env::current_exe().context("this program's own path")?;
    let folder = own.parent().context("this program's own folder")?;
    let name = folder.file_name().context("this program's own folder")?.to_string_lossy().into_owned();
    let target = folder.parent().context("cargo's target folder")?.to_owned();
    Ok((target, if name == "debug" { "dev".to_owned() } else { name }))
}

fn cargo_build(target: &Path, profile: &str, packages: &[&str], words: &[&str]) -> Result<PathBuf, Failure> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(env!("CARGO_MANIFEST_DIR")).args(["build", "--quiet", "--profile", profile]);
    cargo.args(packages.iter().flat_map(|package| ["--package", package]));
    let status = cargo.args(words).arg("--target-dir").arg(target).stdin(Stdio::null()).status().context("cargo")?;
    if !status.success() {
        return Err(Failure(format!("{} does not build; a built one can be named instead, see --help", packages.join(", "))));
    }
    Ok(target.join(if profile == "dev" { "debug" } else { profile }))
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
