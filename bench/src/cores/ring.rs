//! The ring between two workers by itself: each of two threads gives the other what would be packets, and takes what the other gave.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use core_affinity::CoreId;
use culvert_data::command::{QueueSizes, WorkerEnd, WorkerHandle, WorkerId, channel};
use culvert_data::pipeline::Burst;
use culvert_data::stats::Tally;
use culvert_data::worker::{HandOff, hand_off};

use crate::error::{Context, Failure};
use crate::measure::{Sample, own_cpu_time};
use crate::realtime::{Scheduling, own_thread};

/// What the child is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Arguments {
    /// Packets that are published together.
    #[arg(long)]
    pub(crate) burst: usize,
    #[arg(long)]
    pub(crate) passes: usize,
    #[arg(long)]
    pub(crate) scheduling: Scheduling,
}

impl Arguments {
    /// Runs in a child process. Answers for each pass the packets that crossed and the CPU time of both threads.
    pub(crate) fn measure(&self) -> Result<Vec<Sample>, Failure> {
        let words = ["ring-child", "--burst", &self.burst.to_string(), "--passes", &self.passes.to_string()];
        self.scheduling.run(&words.map(str::to_owned))
    }
}

/// Runs as the child: prints a sample for each pass.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    const PASS: Duration = Duration::from_millis(20);
    let samples: Vec<_> = (0..arguments.passes).map(|_| pass(arguments, PASS)).collect::<Result<_, _>>()?;
    println!("{}", serde_json::to_string(&samples).context("JSON")?);
    Ok(())
}

fn pass(arguments: &Arguments, time: Duration) -> Result<Sample, Failure> {
    let start = Barrier::new(2);
    let sides = thread::scope(|scope| {
        let sides: Vec<_> = (0..)
            .zip(hand_off(2))
            .map(|(number, ends)| {
                scope.spawn({
                    let start = &start;
                    move || Side::new(number, ends).run(arguments, start, time)
                })
            })
            .collect();
        sides.into_iter().map(|side| side.join().ok().context("a thread panicked")?).collect::<Result<Vec<_>, _>>()
    })?;
    let sum = |value: fn(&Sample) -> u64| sides.iter().map(value).sum();
    Ok(Sample { packets: sum(|side| side.packets), cpu_ns: sum(|side| side.cpu_ns) })
}

struct Side {
    number: u16,
    ends: HandOff<usize>,
    end: WorkerEnd,
    handle: WorkerHandle,
}

impl Side {
    fn new(number: u16, ends: HandOff<usize>) -> Self {
        let (handle, end) = channel(WorkerId(number), QueueSizes::default(), 0);
        Self { number, ends, end, handle }
    }

    /// Packets that crossed from here, and what both giving and taking cost here.
    fn run(mut self, arguments: &Arguments, start: &Barrier, time: Duration) -> Result<Sample, Failure> {
        core_affinity::set_for_current(CoreId { id: self.number.into() }).then_some(()).context("cannot run on two cores")?;
        arguments.scheduling.promote(own_thread())?;
        start.wait();
        self.exchange(arguments.burst, Duration::from_millis(2));
        let (given, cpu) = (self.handle.stats().tally(Tally::HandedOff), own_cpu_time()?);
        self.exchange(arguments.burst, time);
        let (now, cpu_now) = (self.handle.stats().tally(Tally::HandedOff), own_cpu_time()?);
        Ok(Sample { packets: now - given, cpu_ns: cpu_now - cpu })
    }

    fn exchange(&mut self, burst: usize, time: Duration) {
        /// Between two looks at the clock.
        const ROUNDS: usize = 64;
        let (to, began) = (WorkerId(1 - self.number), Instant::now());
        while began.elapsed() < time {
            for round in 0..ROUNDS {
                for packet in 0..burst {
                    self.ends.give(self.end.stats(), to, packet);
                }
                self.ends.publish(self.end.stats());
                self.take(to);
                // Whoever was interrupted catches up: full rings are not what is measured here.
                if round % 16 == 0 {
                    self.take(to);
                }
            }
        }
    }

    fn take(&mut self, from: WorkerId) {
        let mut taken = Burst::new();
        self.ends.take(usize::from(from.0), &mut taken);
        std::hint::black_box(&taken);
    }
}
