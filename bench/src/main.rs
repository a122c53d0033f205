//! Culvert's benchmarks.

#[cfg(test)]
mod allocator;
mod eal;
mod error;
mod flow;
mod gateway;
#[cfg(test)]
mod hot_path;
#[cfg(target_arch = "x86_64")]
mod kernels;
mod machine;
mod measure;
#[cfg(target_arch = "x86_64")]
mod packets;
#[cfg(target_arch = "x86_64")]
mod peers;
mod pipeline;
mod plot;
mod report;
mod seal;
#[cfg(test)]
mod site;
mod source_sink;
mod traffic;
#[cfg(target_arch = "x86_64")]
mod tsc;
#[cfg(test)]
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
    Flow(flow::Arguments),
    Plot(plot::Arguments),
    /// What `pipeline` starts as a child process.
    #[command(hide = true)]
    SourceToSink(source_sink::Arguments),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        #[cfg(target_arch = "x86_64")]
        Command::Kernels(arguments) => kernels::run(&arguments),
        Command::Pipeline(arguments) => pipeline::run(&arguments),
        Command::Flow(arguments) => flow::run(&arguments),
        Command::Plot(arguments) => plot::run(&arguments),
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
