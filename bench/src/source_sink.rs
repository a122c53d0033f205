//! What the source and the sink cost by themselves: packets go straight from one to the other, on one worker.
//!
//! EAL starts once in a process, so this runs in a child process of this program: a pass for each line that it is sent.

use std::env;
use std::io::{BufRead, BufReader, Write, stdin};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use dpdk::{Burst, Eal, PoolConfig, PortConfig, RxQueue, TxQueue};

use crate::eal::{self, Memory};
use crate::error::{Context, Failure};
use crate::measure::{Plan, Sample, own_cpu_time};
use crate::traffic::FRAMES;

/// What the child is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[arg(long)]
    capture: PathBuf,
    #[arg(long)]
    hugepages: bool,
    #[arg(long)]
    warm_up_ms: u64,
    #[arg(long)]
    pass_ms: u64,
    #[arg(long)]
    core: usize,
    #[arg(long)]
    burst: u16,
}

/// The child: it sleeps unless it is asked. It ends with this value.
#[derive(Debug)]
pub(crate) struct SourceToSink {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl SourceToSink {
    pub(crate) fn start(capture: &Path, memory: Memory, plan: Plan, core: usize, burst: u16) -> Result<Self, Failure> {
        let program = env::current_exe().context("this program's own path")?;
        let mut command = Command::new(program);
        command.arg("source-to-sink").arg("--capture").arg(capture).arg("--core").arg(core.to_string());
        command.arg("--warm-up-ms").arg(plan.warm_up.as_millis().to_string()).arg("--pass-ms").arg(plan.pass.as_millis().to_string());
        command.arg("--burst").arg(burst.to_string());
        if memory == Memory::Huge {
            command.arg("--hugepages");
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("source to sink")?;
        let questions = child.stdin.take().context("source to sink")?;
        let answers = BufReader::new(child.stdout.take().context("source to sink")?);
        Ok(Self { child, questions, answers })
    }

    /// Measures one pass.
    pub(crate) fn measure(&mut self) -> Result<Sample, Failure> {
        self.questions.write_all(b"\n").context("source to sink")?;
        let mut answer = String::new();
        if self.answers.read_line(&mut answer).context("source to sink")? == 0 {
            return Err(Failure("source to sink ended".to_owned()));
        }
        serde_json::from_str(&answer).context("source to sink")
    }
}

impl Drop for SourceToSink {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs as the child: prints a sample for each line that it reads.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let memory = Memory::of(arguments.hugepages);
    let eal = Eal::init(eal::arguments(memory, &arguments.capture)).context("DPDK")?;
    let config = PoolConfig { name: "packets".to_owned(), size: 8191, cache: 256, data_room: 2176 };
    let pool = eal.pool(&config).context("DPDK")?;
    const { assert!(FRAMES * 2 < 8191, "the source keeps all frames and needs room for copies") };
    let (source, sink) = (eal.port(eal::SOURCE).context("DPDK")?, eal.port(eal::SINK).context("DPDK")?);
    let rx = source.start(&PortConfig::default(), &pool).context("DPDK")?.rx.pop().context("the source has no queue")?;
    let tx = sink.start(&PortConfig::default(), &pool).context("DPDK")?.tx.pop().context("the sink has no queue")?;
    let ended = thread::scope(|scope| scope.spawn(|| worker(&eal, arguments, rx, tx)).join());
    ended.map_err(|_| Failure("the worker panicked".to_owned()))?
}

fn worker(eal: &Eal, arguments: &Arguments, mut rx: RxQueue, mut tx: TxQueue) -> Result<(), Failure> {
    let _registration = dpdk::thread::register(eal).context("DPDK")?;
    if !core_affinity::set_for_current(core_affinity::CoreId { id: arguments.core }) {
        return Err(Failure(format!("cannot run on core {}", arguments.core)));
    }
    for line in stdin().lines() {
        line.context("standard input")?;
        forward(&mut rx, &mut tx, Duration::from_millis(arguments.warm_up_ms), arguments.burst);
        let before = own_cpu_time()?;
        let packets = forward(&mut rx, &mut tx, Duration::from_millis(arguments.pass_ms), arguments.burst);
        let sample = Sample { packets, cpu_ns: own_cpu_time()?.saturating_sub(before) };
        println!("{}", serde_json::to_string(&sample).context("JSON")?);
    }
    Ok(())
}

/// Moves packets for a while and answers how many.
fn forward(rx: &mut RxQueue, tx: &mut TxQueue, time: Duration, most: u16) -> u64 {
    /// Bursts between two looks at the clock.
    const ROUNDS: usize = 1024;
    let (start, mut burst, mut packets) = (Instant::now(), Burst::new(), 0);
    while start.elapsed() < time {
        for _ in 0..ROUNDS {
            rx.rx_up_to(&mut burst, most);
            packets += tx.tx(&mut burst) as u64;
        }
    }
    packets
}
