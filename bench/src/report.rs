//! The result as a table and as JSON, with what a reader needs to compare it.

use std::fmt::Write;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use crate::eal::Memory;
use crate::machine::{date, field_of};
use crate::measure::{Plan, Sample, median};
use crate::traffic::Mix;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    benchmark: &'static str,
    date: String,
    cpu: String,
    kernel: String,
    dpdk: String,
    /// How the gateway was built: cargo's profile and `RUSTFLAGS`.
    profile: String,
    rustflags: String,
    memory: &'static str,
    idle: &'static str,
    algorithm: &'static str,
    replay_window: u32,
    workers: u32,
    passes: usize,
    pass_ms: u128,
    /// What the rates are.
    unit: &'static str,
    pub(crate) rows: Vec<Row>,
}

/// One direction and size.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    direction: Direction,
    /// Octets of the inner Ethernet frame without FCS, or `IMIX`.
    size: Mix,
    gateway_mpps: f64,
    /// Of inner Ethernet frames.
    gateway_gbit_s: f64,
    source_to_sink_mpps: f64,
    /// CPU time of a packet, and what is left of it without source and sink.
    gateway_ns: f64,
    net_ns: f64,
    gateway_passes: Vec<Sample>,
    source_to_sink_passes: Vec<Sample>,
}

/// Which way packets cross the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Direction {
    /// From the protected side: sealed.
    Outbound,
    /// From the unprotected side: opened.
    Inbound,
}

impl Direction {
    fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

impl Report {
    /// A report without rows.
    pub(crate) fn new(profile: String, memory: Memory, plan: Plan) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            benchmark: "pipeline",
            date: date(now),
            cpu: field_of("/proc/cpuinfo", "model name"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            dpdk: dpdk::version(),
            profile,
            rustflags: std::env::var("RUSTFLAGS").unwrap_or_default(),
            memory: match memory {
                Memory::Ordinary => "ordinary pages (--no-huge)",
                Memory::Huge => "huge pages (--in-memory)",
            },
            idle: "spin",
            algorithm: "aes128gcm16, tunnel mode, IPv4, one SA",
            replay_window: 0,
            workers: 1,
            passes: plan.passes,
            pass_ms: plan.pass.as_millis(),
            unit: "million packets per second of worker CPU time",
            rows: Vec::new(),
        }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "net_pcap (infinite) -> gateway -> net_null, one worker, {}\n{}, {}, Linux {}, profile {}, {}, {}\n{}; Gbit/s and size are the inner Ethernet frame's, without FCS\n\n",
            self.algorithm, self.cpu, self.dpdk, self.kernel, self.profile, self.memory, self.date, self.unit
        );
        text += "direction   size    Mpps   Gbit/s  ns/packet   source to sink, Mpps   ns/packet without it\n";
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<9} {:>6} {:>7.2} {:>8.2} {:>10.1} {:>22.2} {:>22.1}",
                row.direction.name(),
                row.size,
                row.gateway_mpps,
                row.gateway_gbit_s,
                row.gateway_ns,
                row.source_to_sink_mpps,
                row.net_ns
            );
        }
        text
    }
}

impl Row {
    /// Medians of the passes.
    pub(crate) fn new(direction: Direction, size: Mix, gateway: Vec<Sample>, source_to_sink: Vec<Sample>) -> Self {
        let mpps = |samples: &[Sample]| median(samples.iter().map(|sample| sample.mpps()).collect());
        let (gateway_mpps, source_to_sink_mpps) = (mpps(&gateway), mpps(&source_to_sink));
        let ns = |mpps: f64| if mpps > 0.0 { 1e3 / mpps } else { 0.0 };
        Self {
            direction,
            size,
            gateway_mpps,
            gateway_gbit_s: gateway_mpps * size.mean() * 8.0 / 1e3,
            source_to_sink_mpps,
            gateway_ns: ns(gateway_mpps),
            net_ns: ns(gateway_mpps) - ns(source_to_sink_mpps),
            gateway_passes: gateway,
            source_to_sink_passes: source_to_sink,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_inner_frames_and_takes_medians() {
        let samples = |rates: [u64; 3]| rates.map(|packets| Sample { packets, cpu_ns: 1_000_000_000 }).to_vec();
        let gateway = samples([9_000_000, 5_000_000, 1_000_000]);
        let row = Row::new(Direction::Outbound, Mix::Fixed(1000), gateway, samples([20_000_000, 10_000_000, 50_000_000]));
        assert!((row.gateway_mpps - 5.0).abs() < 1e-9 && (row.source_to_sink_mpps - 20.0).abs() < 1e-9);
        assert!((row.gateway_gbit_s - 40.0).abs() < 1e-9);
        assert!((row.gateway_ns - 200.0).abs() < 1e-9 && (row.net_ns - 150.0).abs() < 1e-9);
    }
}
