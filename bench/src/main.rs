//! Culvert's benchmarks.

#[cfg(test)]
mod allocator;
mod cores;
#[cfg(target_arch = "x86_64")]
mod direct;
mod eal;
mod error;
mod flow;
mod gateway;
mod handshakes;
#[cfg(test)]
mod hot_path;
#[cfg(target_arch = "x86_64")]
mod kernels;
mod latency;
mod machine;
mod measure;
mod output;
#[cfg(target_arch = "x86_64")]
mod packets;
mod paused;
#[cfg(target_arch = "x86_64")]
mod peers;
mod pipeline;
mod plot;
mod realtime;
mod replay;
mod report;
mod scale;
mod seal;
mod secgw;
mod site;
mod source_sink;
mod stage_table;
mod stages;
mod traffic;
#[cfg(target_arch = "x86_64")]
mod tsc;
mod variant;
mod workers;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Culvert's benchmarks.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[cfg(target_arch = "x86_64")]
    Kernels(kernels::Arguments),
    /// Packets per second of worker CPU time through the gateway, outbound and inbound, without a NIC.
    Pipeline(pipeline::Arguments),
    /// DPDK's example gateway ipsec-secgw beside ours, in turns on one core.
    Secgw(secgw::Arguments),
    Flow(flow::Arguments),
    Handshakes(handshakes::Arguments),
    Plot(plot::Arguments),
    /// Two workers against one, what the hand-off between them costs, and one tunnel over both.
    Cores(cores::Arguments),
    /// How long a packet is in the gateway when there is little to do.
    Latency(latency::Arguments),
    /// What replay protection and extended sequence numbers cost a receiver.
    Replay(replay::Arguments),
    /// What `cores` starts as a child process.
    #[command(hide = true)]
    CoresChild(cores::child::Arguments),
    /// What `cores` starts as a child process.
    #[command(hide = true)]
    RingChild(cores::ring::Arguments),
    /// What `cores` starts as a child process.
    #[command(hide = true)]
    WindowChild(cores::window::Arguments),
    /// What `latency` starts as a child process.
    #[command(hide = true)]
    LatencyChild(latency::child::Arguments),
    Scale(scale::Arguments),
    /// What `pipeline` starts as a child process.
    #[command(hide = true)]
    SourceToSink(source_sink::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        #[cfg(target_arch = "x86_64")]
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::Pipeline(arguments) => pipeline::run(&arguments),
        Command::Secgw(arguments) => secgw::run(&arguments),
        Command::Handshakes(arguments) => handshakes::run(&arguments),
        Command::Flow(arguments) => flow::run(&arguments),
        Command::Plot(arguments) => plot::run(&arguments),
        Command::Cores(arguments) => cores::run(&arguments),
        Command::Latency(arguments) => latency::run(&arguments),
        Command::Replay(arguments) => replay::run(&arguments),
        Command::RingChild(arguments) => cores::ring::run(&arguments),
        Command::WindowChild(arguments) => cores::window::run(&arguments),
        Command::LatencyChild(arguments) => latency::child::run(&arguments),
        Command::CoresChild(arguments) => cores::child::run(&arguments),
        Command::Scale(arguments) => scale::run(&arguments),
        Command::SourceToSink(arguments) => source_sink::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
