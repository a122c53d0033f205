//! The processes that are measured.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use serde::Deserialize;

use crate::error::{Context, Failure};
use crate::measure;
use crate::paused::Paused;

/// Both of them; they end with this value.
pub(super) struct Responders {
    script: Child,
    /// The script ends when this does.
    input: Option<ChildStdin>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Responder {
    /// The network namespace of its initiators.
    pub(super) netns: PathBuf,
    /// What an initiator is configured with.
    pub(super) config: PathBuf,
    processes: Vec<u32>,
    paused: Vec<Paused>,
}

/// What the script prints.
#[derive(Debug, Deserialize)]
struct Places {
    culvert: Place,
    strongswan: Place,
}

#[derive(Debug, Deserialize)]
struct Place {
    netns: PathBuf,
    config: PathBuf,
    /// The control plane first.
    processes: Vec<u32>,
}

/// Nanoseconds that each thread of each process has been on a CPU: the times of whole processes come in ticks of 10 ms, of which a round has few.
#[derive(Debug)]
pub(super) struct Spent(Vec<BTreeMap<u32, u64>>);

impl Responders {
    /// Starts both, which authenticate so.
    pub(super) fn start(binaries: &Path, auth: &str) -> Result<(Self, Responder, Responder), Failure> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/handshakes");
        let mut script =
            Command::new(&path).arg(auth).arg(binaries).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context(path.display())?;
        let input = script.stdin.take();
        let output = script.stdout.take().context("no standard output")?;
        let responders = Self { script, input };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).context(path.display())?;
        let places: Places = serde_json::from_str(&line).context(format_args!("{} has not started the responders", path.display()))?;
        Ok((responders, Responder::new(places.culvert)?, Responder::new(places.strongswan)?))
    }
}

impl Drop for Responders {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.script.wait();
    }
}

impl Responder {
    fn new(place: Place) -> Result<Self, Failure> {
        let paused = place.processes.iter().map(|&process| Paused::of(process)).collect::<Result<_, _>>()?;
        Ok(Self { netns: place.netns, config: place.config, processes: place.processes, paused })
    }

    pub(super) fn stop(&self) -> Result<(), Failure> {
        self.paused.iter().try_for_each(Paused::stop)
    }

    pub(super) fn go_on(&self) -> Result<(), Failure> {
        self.paused.iter().try_for_each(Paused::go_on)
    }

    /// CPU time so far, of the threads that there are.
    pub(super) fn spent(&self) -> Result<Spent, Failure> {
        let of = |process: &u32| {
            let path = format!("/proc/{process}/task");
            let tasks = fs::read_dir(&path).context(&path)?;
            let threads = tasks.filter_map(|task| task.ok()?.file_name().to_str()?.parse().ok());
            // One that ends meanwhile has had nothing to do for seconds.
            Ok(threads.filter_map(|thread| Some((thread, measure::cpu_time(*process, thread).ok()?))).collect())
        };
        self.processes.iter().map(of).collect::<Result<_, _>>().map(Spent)
    }

    /// Octets of resident memory of each process.
    pub(super) fn memory(&self) -> Result<Vec<u64>, Failure> {
        let of = |process: &u32| {
            let path = format!("/proc/{process}/status");
            let text = fs::read_to_string(&path).context(&path)?;
            let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context(&path)?;
            let kib: u64 = line.trim().trim_end_matches(" kB").parse().context(&path)?;
            Ok(kib * 1024)
        };
        self.processes.iter().map(of).collect()
    }
}

impl Spent {
    pub(super) fn since(&self, earlier: &Self) -> Self {
        let of = |(now, earlier): (&BTreeMap<u32, u64>, &BTreeMap<u32, u64>)| {
            let more = |(thread, now): (&u32, &u64)| (*thread, now.saturating_sub(earlier.get(thread).copied().unwrap_or(0)));
            now.iter().map(more).collect()
        };
        Self(self.0.iter().zip(&earlier.0).map(of).collect())
    }

    /// How many of `number` things in a second of all processes' time.
    pub(super) fn rate_of_all(&self, number: u32) -> f64 {
        rate(number, self.0.iter().flat_map(BTreeMap::values).sum())
    }

    /// The same of the first process alone.
    pub(super) fn rate_of_first(&self, number: u32) -> f64 {
        rate(number, self.0.iter().take(1).flat_map(BTreeMap::values).sum())
    }
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more than 52 bits")]
fn rate(number: u32, nanoseconds: u64) -> f64 {
    f64::from(number) * 1e9 / nanoseconds.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_cpu_time() {
        let second = 1_000_000_000;
        // Threads 1 and 2, of which the second began meanwhile and a third has ended, and a thread of another process.
        let before = Spent(vec![[(1, second), (3, 9 * second)].into(), BTreeMap::new()]);
        let after = Spent(vec![[(1, 2 * second), (2, second)].into(), [(7, second)].into()]);
        let spent = after.since(&before);
        assert!((spent.rate_of_all(300) - 100.0).abs() < 1e-9);
        assert!((spent.rate_of_first(300) - 150.0).abs() < 1e-9);
    }

    #[test]
    fn a_process_tells_its_time_and_memory() {
        let responder =
            Responder { netns: PathBuf::new(), config: PathBuf::new(), processes: vec![std::process::id()], paused: Vec::new() };
        assert!(responder.memory().unwrap()[0] > 0);
        assert_eq!(responder.spent().unwrap().0.len(), 1);
    }
}
