//! The result as a table and as JSON, with what a reader needs to compare it.

use std::fmt::Write;

use serde::Serialize;

use crate::eal::Memory;
use crate::machine::Machine;
use crate::measure::{Plan, Sample, median};
use crate::stage_table::{Clock, StageTable};
use crate::traffic::Mix;
use crate::variant::Variant;

/// A whole run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    benchmark: &'static str,
    #[serde(flatten)]
    machine: Machine,
    dpdk: String,
    memory: &'static str,
    idle: &'static str,
    algorithm: &'static str,
    replay_window: u32,
    workers: u32,
    passes: usize,
    pass_ms: u128,
    /// What the rates are.
    unit: &'static str,
    /// What stages were timed with.
    clock: Clock,
    pub(crate) rows: Vec<Row>,
}

/// One direction and size.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    direction: Direction,
    variant: Variant,
    /// Octets of the inner Ethernet frame without FCS, or `IMIX`.
    size: Mix,
    /// Packets that the worker takes at once, at most.
    burst: u16,
    gateway_mpps: f64,
    /// Of inner Ethernet frames.
    gateway_gbit_s: f64,
    source_to_sink_mpps: f64,
    /// CPU time of a packet, and what is left of it without source and sink.
    gateway_ns: f64,
    net_ns: f64,
    /// ipsec-mb's direct API: the cipher alone, with as many octets of data as the frame has.
    cipher_ns: Option<f64>,
    /// Of the medians, and the lowest and highest of a pass: what the gateway costs without source and sink, where the cipher alone costs 1.
    ratio: Option<[f64; 3]>,
    /// Of another build of the gateway, in turns with this one.
    stages: Option<StageTable>,
    passes: Vec<Pass>,
}

/// What was measured one after the other.
#[derive(Debug, Serialize)]
pub(crate) struct Pass {
    pub(crate) gateway: Sample,
    pub(crate) source_to_sink: Sample,
    pub(crate) cipher_ns: Option<f64>,
}

impl Pass {
    fn net_ns(&self) -> f64 {
        ns(self.gateway.mpps()) - ns(self.source_to_sink.mpps())
    }
}

fn ns(mpps: f64) -> f64 {
    if mpps > 0.0 { 1e3 / mpps } else { 0.0 }
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
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

impl Report {
    /// A report without rows.
    pub(crate) fn new(profile: String, memory: Memory, plan: Plan, clock: Clock) -> Self {
        Self {
            benchmark: "pipeline",
            machine: Machine::running(profile),
            dpdk: dpdk::version(),
            memory: match memory {
                Memory::Ordinary => "ordinary pages (--no-huge)",
                Memory::Huge => "huge pages (--in-memory)",
            },
            idle: "spin",
            algorithm: "aes128gcm16, tunnel mode, one SA",
            replay_window: 0,
            workers: 1,
            passes: plan.passes,
            pass_ms: plan.pass.as_millis(),
            unit: "million packets per second of worker CPU time",
            clock,
            rows: Vec::new(),
        }
    }

    /// The table for people.
    pub(crate) fn table(&self) -> String {
        let mut text = format!(
            "net_pcap (infinite) -> gateway -> net_null, one worker, {}; medians of {} passes in turns\n{}, {}, {}\n{}; Gbit/s and size are the \
             inner Ethernet frame's, without FCS\n\n",
            self.algorithm, self.passes, self.machine, self.dpdk, self.memory, self.unit
        );
        text += "direction variant   size  burst    Mpps   Gbit/s  ns/packet  source to sink  without it  ipsec-mb's cipher  ratio (lowest to highest)\n";
        for row in &self.rows {
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{:<9} {:<7} {:>6} {:>6} {:>7.2} {:>8.2} {:>10.1} {:>15.1} {:>11.1} {:>18} {}",
                row.direction.name(),
                row.variant.name(),
                row.size,
                row.burst,
                row.gateway_mpps,
                row.gateway_gbit_s,
                row.gateway_ns,
                ns(row.source_to_sink_mpps),
                row.net_ns,
                row.cipher_ns.map_or_else(|| "-".to_owned(), |ns| format!("{ns:.1}")),
                row.ratio.map_or_else(String::new, |[ratio, low, high]| format!(" {ratio:.2} ({low:.2} to {high:.2})")),
            );
        }
        text + &self.stages()
    }

    /// Empty where no time was taken.
    fn stages(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let Some(stages) = &row.stages else { continue };
            if text.is_empty() {
                let Clock { ticks_a_ns, ticks_a_read } = self.clock;
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "\ncycles a packet (of the TSC, {ticks_a_ns:.2} GHz) in each stage, and nanoseconds, in a gateway that reads the clock at the end of each, which \
                     takes {ticks_a_read:.0} cycles:\nthat is in no stage, but in \"clock\"; CPU time is all of it. receive and transmit hold source and sink.\n\
                     direction variant   size  at once {}",
                    StageTable::heading()
                );
            }
            let (direction, variant) = (row.direction.name(), row.variant.name());
            let _ = writeln!(text, "{direction:<9} {variant:<7} {:>6} {:>8.1} {}", row.size, stages.burst, stages.line(1.0));
            let _ = writeln!(text, "{:<33} {}", "    ns", stages.line(self.clock.ticks_a_ns));
        }
        text
    }
}

impl Row {
    /// Medians of the passes.
    pub(crate) fn new(
        direction: Direction,
        variant: Variant,
        size: Mix,
        burst: u16,
        passes: Vec<Pass>,
        stages: Option<StageTable>,
    ) -> Self {
        let of = |value: fn(&Pass) -> f64| median(passes.iter().map(value).collect());
        let (gateway_mpps, source_to_sink_mpps) = (of(|pass| pass.gateway.mpps()), of(|pass| pass.source_to_sink.mpps()));
        let net_ns = of(Pass::net_ns);
        let ciphers: Vec<f64> = passes.iter().filter_map(|pass| pass.cipher_ns).filter(|ns| *ns > 0.0).collect();
        let cipher_ns = (!ciphers.is_empty()).then(|| median(ciphers));
        let ratios = || passes.iter().filter_map(|pass| Some(pass.net_ns() / pass.cipher_ns?));
        let ratio = cipher_ns.map(|ns| [net_ns / ns, ratios().fold(f64::INFINITY, f64::min), ratios().fold(0.0, f64::max)]);
        Self {
            direction,
            variant,
            size,
            burst,
            gateway_mpps,
            gateway_gbit_s: gateway_mpps * size.mean() * 8.0 / 1e3,
            source_to_sink_mpps,
            gateway_ns: ns(gateway_mpps),
            net_ns,
            cipher_ns,
            ratio,
            stages,
            passes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_counts_inner_frames_and_takes_medians() {
        let sample = |packets| Sample { packets, cpu_ns: 1_000_000_000 };
        let pass = |gateway, source_to_sink, cipher_ns| Pass {
            gateway: sample(gateway),
            source_to_sink: sample(source_to_sink),
            cipher_ns: Some(cipher_ns),
        };
        let passes = vec![pass(9_000_000, 20_000_000, 50.0), pass(5_000_000, 10_000_000, 100.0), pass(1_000_000, 50_000_000, 200.0)];
        let row = Row::new(Direction::Outbound, Variant::Plain, Mix::Fixed(1000), 32, passes, None);
        assert!((row.gateway_mpps - 5.0).abs() < 1e-9 && (row.source_to_sink_mpps - 20.0).abs() < 1e-9);
        assert!((row.gateway_gbit_s - 40.0).abs() < 1e-9);
        // 111.1 - 50, 200 - 100 and 1000 - 20 nanoseconds.
        assert!((row.gateway_ns - 200.0).abs() < 1e-9 && (row.net_ns - 100.0).abs() < 1e-9);
        let [ratio, low, high] = row.ratio.unwrap();
        assert!((ratio - 1.0).abs() < 1e-9 && (low - 1.0).abs() < 1e-9 && (high - 4.9).abs() < 1e-9);
    }
}
