//! DPDK's own gateway, the example ipsec-secgw, beside ours: same source and sink, same packets and keys, same core, in turns.
//!
//! Both processes run for the whole of a row; whichever is not measured is stopped (SIGSTOP).

use std::fmt::Write;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket};
use serde::Serialize;
use tokio::runtime;

use crate::eal::{self, Memory, SINK};
use crate::error::{Context, Failure};
use crate::gateway::{GATEWAY, INBOUND_KEYMAT, OUTBOUND_KEYMAT, PEER, Setup};
use crate::machine::Machine;
use crate::measure::{Sample, Spread, cpu_time};
use crate::output::{Output, Pages};
use crate::paused::{Paused, PausedGateway};
use crate::pipeline::{self, Folder};
use crate::report::Direction;
use crate::traffic::{Mix, write_pcap};
use crate::variant::Variant;

/// What can be chosen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    #[command(flatten)]
    pages: Pages,
    /// Measure this culvert-data instead of building the one in this tree.
    #[arg(long, value_name = "PROGRAM")]
    gateway: Option<PathBuf>,
}

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    machine: Machine,
    dpdk: String,
    hugepages: bool,
    unit: &'static str,
    rows: Vec<Row>,
}

/// One direction and size, in millions of packets a second of CPU time.
#[derive(Debug, Serialize)]
struct Row {
    direction: Direction,
    size: Mix,
    gateway_mpps: Spread,
    secgw_mpps: Spread,
    /// Of ours by the other's in the same round.
    ratio: Spread,
}

const MIXES: [Mix; 3] = [Mix::Fixed(64), Mix::Imix, Mix::Fixed(1420)];
/// How long a process runs before it is measured, and how long then.
const SETTLE: Duration = Duration::from_millis(50);
const PASS: Duration = Duration::from_millis(200);

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let memory = arguments.pages.memory();
    let folder = Folder::new()?;
    let secgw = build()?;
    let (program, profile) = match &arguments.gateway {
        Some(program) => (program.clone(), "of the given program".to_owned()),
        None => pipeline::build_gateway()?,
    };
    let setup = Setup::new(program, folder.0.clone(), memory);
    let rounds = if arguments.output.quick { 1 } else { 15 };
    let runtime = runtime::Builder::new_current_thread().enable_all().build().context("tokio")?;
    let rows = runtime.block_on(pipeline::unless_interrupted(measure_all(&setup, &secgw, rounds)))?;
    let report = Report {
        benchmark: "secgw",
        machine: Machine::running(profile),
        dpdk: dpdk::version(),
        hugepages: arguments.pages.hugepages,
        unit: "million packets per second of CPU time",
        rows,
    };
    arguments.output.print(&report, report.table())
}

/// Builds the peer, unless it is there.
fn build() -> Result<PathBuf, Failure> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/ipsec-secgw");
    let output = Command::new(&script).stdin(Stdio::null()).stderr(Stdio::inherit()).output().context(script.display())?;
    output.status.success().then_some(()).context("ipsec-secgw does not build")?;
    Ok(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

async fn measure_all(setup: &Setup, secgw: &Path, rounds: usize) -> Result<Vec<Row>, Failure> {
    let spi = pipeline::learn_spi(setup).await?;
    let mut rows = Vec::new();
    for direction in [Direction::Outbound, Direction::Inbound] {
        for mix in MIXES {
            eprintln!("{direction:?} {mix}");
            let capture = setup.folder.join("source.pcap");
            write_pcap(&capture, &pipeline::frames(Variant::Plain, direction, mix, spi)?).context(capture.display())?;
            rows.push(measure(setup, secgw, direction, mix, &capture, spi, rounds).await?);
        }
    }
    Ok(rows)
}

async fn measure(
    setup: &Setup,
    secgw: &Path,
    direction: Direction,
    mix: Mix,
    capture: &Path,
    spi: u32,
    rounds: usize,
) -> Result<Row, Failure> {
    let mut gateway = PausedGateway::start(setup, direction, capture, spi).await?;
    let peer = Secgw::start(setup, secgw, direction, capture, spi)?;
    peer.paused.stop()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        ours.push(gateway.pass(SETTLE, PASS).await?.0.mpps());
        peer.paused.go_on()?;
        thread::sleep(SETTLE);
        theirs.push(peer.pass()?.mpps());
        peer.paused.stop()?;
    }
    Ok(Row {
        direction,
        size: mix,
        gateway_mpps: Spread::of(ours.iter().copied()),
        secgw_mpps: Spread::of(theirs.iter().copied()),
        ratio: Spread::of(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs)),
    })
}

/// A running ipsec-secgw, ended when dropped. Its one thread is the process's first.
struct Secgw {
    child: Child,
    paused: Paused,
    telemetry: rustix::fd::OwnedFd,
}

impl Secgw {
    fn start(setup: &Setup, program: &Path, direction: Direction, capture: &Path, spi: u32) -> Result<Self, Failure> {
        let (config, log) = (setup.folder.join("secgw.cfg"), setup.folder.join("secgw.log"));
        fs::write(&config, configuration(direction, spi)).context(config.display())?;
        let prefix = format!("culvert-secgw-{}", std::process::id());
        let output = File::create(&log).context(log.display())?;
        let mut command = Command::new(program);
        command.args(["-l", &setup.worker_core.to_string(), "--file-prefix", &prefix]);
        // Its counters are read through DPDK's telemetry.
        command.args(eal::arguments(setup.memory, capture).into_iter().filter(|word| word != "--no-telemetry"));
        if setup.memory == Memory::Ordinary {
            // Ordinary pages do not grow, and its routing tables want more than our gateway.
            command.args(["-m", "1024"]);
        }
        command.args(["--vdev", "crypto_aesni_gcm0", "--", "-p", "3", "-P", "-l", "-w", "0", "--rxoffload", "0", "--txoffload", "0"]);
        // Port 0 is the source.
        command.args(["-u", if direction == Direction::Outbound { "2" } else { "1" }]);
        command.arg("--config=(0,0,{0}),(1,0,{0})".replace("{0}", &setup.worker_core.to_string())).arg("-f").arg(&config);
        command.stdin(Stdio::null()).stdout(output.try_clone().context(log.display())?).stderr(output);
        let mut child = command.spawn().context(program.display())?;
        let paused = Paused::of(child.id())?;
        let telemetry = match telemetry(&prefix, &mut child) {
            Ok(telemetry) => telemetry,
            Err(failure) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(with_log(&failure, &log));
            }
        };
        let secgw = Self { child, paused, telemetry };
        secgw.wait_until_it_forwards().map_err(|failure| with_log(&failure, &log))?;
        Ok(secgw)
    }

    /// It answers before it forwards.
    fn wait_until_it_forwards(&self) -> Result<(), Failure> {
        let start = Instant::now();
        while self.read()?.packets == 0 {
            (start.elapsed() < PATIENCE).then_some(()).context("ipsec-secgw forwards nothing")?;
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    fn pass(&self) -> Result<Sample, Failure> {
        let before = self.read()?;
        thread::sleep(PASS);
        Ok(self.read()?.since(before))
    }

    /// Packets that reached the sink, and the CPU time of the thread that moved them.
    fn read(&self) -> Result<Sample, Failure> {
        let id = self.child.id();
        send(&self.telemetry, b"/ethdev/stats,1", SendFlags::empty()).context("telemetry")?;
        let cpu_ns = cpu_time(id, id)?;
        let mut buffer = vec![0; 16_384];
        let (len, _) = recv(&self.telemetry, buffer.as_mut_slice(), RecvFlags::empty()).context("telemetry")?;
        let answer: serde_json::Value = serde_json::from_slice(buffer.get(..len).unwrap_or_default()).context("telemetry")?;
        let sent = answer.pointer("/~1ethdev~1stats/opackets").and_then(serde_json::Value::as_u64);
        Ok(Sample { packets: sent.context(format_args!("telemetry: no counter of {SINK}"))?, cpu_ns })
    }
}

/// The failure, and what the peer has said of it.
fn with_log(failure: &Failure, log: &Path) -> Failure {
    Failure(format!("{failure}\n{}", fs::read_to_string(log).unwrap_or_default()))
}

const PATIENCE: Duration = Duration::from_secs(20);

fn telemetry(prefix: &str, child: &mut Child) -> Result<rustix::fd::OwnedFd, Failure> {
    let path = format!("/var/run/dpdk/{prefix}/dpdk_telemetry.v2");
    let address = SocketAddrUnix::new(path.as_str()).context("telemetry")?;
    let start = Instant::now();
    loop {
        let fd = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).context("telemetry")?;
        match connect(&fd, &address) {
            Ok(()) => {
                // It greets first.
                recv(&fd, vec![0; 1024].as_mut_slice(), RecvFlags::empty()).context("telemetry")?;
                return Ok(fd);
            }
            Err(Errno::NOENT | Errno::CONNREFUSED) if start.elapsed() < PATIENCE => {}
            Err(error) => return Err(Failure(format!("telemetry: {error}"))),
        }
        if let Some(status) = child.try_wait().context("ipsec-secgw")? {
            return Err(Failure(format!("ipsec-secgw ended: {status}")));
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Drop for Secgw {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The SAs that our gateway has, too.
fn configuration(direction: Direction, inbound_spi: u32) -> String {
    const OUTBOUND_SPI: u32 = 5;
    let key = |keymat: [u8; 20]| keymat.map(|octet| format!("{octet:02x}")).join(":");
    let (inside, outside) = if direction == Direction::Outbound { (0, 1) } else { (1, 0) };
    format!(
        "sp ipv4 out esp protect {OUTBOUND_SPI} pri 1 src 10.1.0.0/16 dst 10.2.0.0/16 sport 0:65535 dport 0:65535\n\
         sp ipv4 in esp protect {inbound_spi} pri 1 src 10.2.0.0/16 dst 10.1.0.0/16 sport 0:65535 dport 0:65535\n\
         sa out {OUTBOUND_SPI} aead_algo aes-128-gcm aead_key {} mode ipv4-tunnel src {GATEWAY} dst {PEER}\n\
         sa in {inbound_spi} aead_algo aes-128-gcm aead_key {} mode ipv4-tunnel src {PEER} dst {GATEWAY}\n\
         rt ipv4 dst 192.0.2.0/24 port {outside}\n\
         rt ipv4 dst 10.1.0.0/16 port {inside}\n\
         neigh port 0 02:00:00:00:00:02\n\
         neigh port 1 02:00:00:00:00:02\n",
        key(OUTBOUND_KEYMAT),
        key(INBOUND_KEYMAT)
    )
}

impl Report {
    fn table(&self) -> String {
        let mut text = format!(
            "{}, {}\nnet_pcap (infinite) -> gateway -> net_null, one core, AES-128-GCM in tunnel mode, one SA, no replay window; {}\n\n",
            self.machine, self.dpdk, self.unit
        );
        text += "direction   size   culvert   ipsec-secgw     ratio (lowest..highest)\n";
        for row in &self.rows {
            let direction = if row.direction == Direction::Outbound { "outbound" } else { "inbound" };
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<9} {:>6} {:>9.2} {:>13.2} {:>8.2}x ({:.2}..{:.2})",
                direction, row.size, row.gateway_mpps.median, row.secgw_mpps.median, row.ratio.median, row.ratio.lowest, row.ratio.highest
            );
        }
        text
    }
}
