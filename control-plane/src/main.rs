//! `culvert-control`: reads the command line and turns the system's signals into the daemon's.

use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Parser};
use culvert_control::config::{self, Diagnostic, Loaded};
use culvert_control::telemetry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// Culvert's control plane: negotiates IPsec SAs and programs the data plane with them.
#[derive(Debug, Parser)]
#[command(name = "culvert-control", version, group = ArgGroup::new("what").required(true))]
struct Arguments {
    /// Run with this configuration.
    #[arg(long, value_name = "FILE", group = "what")]
    config: Option<PathBuf>,
    /// Check this configuration and its secrets, say what is wrong, and end: 0 without faults, 1 with some.
    #[arg(long, value_name = "FILE", group = "what")]
    check: Option<PathBuf>,
    /// With --check: say it in JSON, one object a line.
    #[arg(long, conflicts_with = "config")]
    json: bool,
    /// How much to log: error, warn, info, debug, trace, or a filter of tracing.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: String,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.config, arguments.check) {
        (Some(file), _) => serve(&file, &arguments.log),
        (None, Some(file)) => check(&file, arguments.json),
        (None, None) => ExitCode::from(2),
    }
}

fn check(file: &Path, json: bool) -> ExitCode {
    let loaded = config::load(file);
    match &loaded {
        Ok(loaded) if json => {
            loaded.warnings.iter().for_each(|warning| say(&finding(warning, "warning")));
            say(&summary(file, loaded));
        }
        Ok(loaded) => {
            loaded.warnings.iter().for_each(|warning| eprintln!("warning: {warning}"));
            let summary = summary(file, loaded);
            say(&format_args!(
                "{}: {} connections, {} children, {} policies",
                file.display(),
                summary["connections"],
                summary["children"],
                summary["policies"]
            ));
        }
        Err(faults) if json => faults.iter().for_each(|fault| say(&finding(fault, "error"))),
        Err(faults) => print_faults(faults),
    }
    if loaded.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A line to standard output. Whoever reads it may have seen enough; the exit status says the rest.
fn say(line: &dyn fmt::Display) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// What a configuration without faults holds.
fn summary(file: &Path, loaded: &Loaded) -> serde_json::Value {
    let Loaded { ike, .. } = loaded;
    let children = ike.connections.iter().map(|connection| connection.children.len()).sum::<usize>();
    let (connections, policies) = (ike.connections.len(), ike.policies.len());
    serde_json::json!({ "file": file.display().to_string(), "connections": connections, "children": children, "policies": policies })
}

/// A fault for other programs: one object a line. Line and column are null where the whole file is at fault.
fn finding(fault: &Diagnostic, severity: &str) -> serde_json::Value {
    let (line, column) = fault.position.unzip();
    serde_json::json!({
        "severity": severity,
        "file": fault.file.display().to_string(),
        "line": line,
        "column": column,
        "field": fault.field,
        "message": fault.problem,
        "remedy": fault.remedy,
    })
}

fn serve(file: &Path, level: &str) -> ExitCode {
    if let Err(error) = telemetry::init(level) {
        eprintln!("--log {level}: {error}; write error, warn, info, debug or trace");
        return ExitCode::from(2);
    }
    let loaded = match config::load(file) {
        Ok(loaded) => loaded,
        Err(faults) => {
            print_faults(&faults);
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(JOB_THREADS).build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let (hangups, shutdown) = listen().map_err(|error| format!("cannot listen to signals: {error}"))?;
        culvert_control::run(loaded, hangups, shutdown).await.map_err(|error| error.to_string())
    });
    // A job that still computes has nobody to answer.
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Threads for key exchanges and signatures, and those that may wait for tokens.
const JOB_THREADS: usize = 4 + culvert_control::TOKEN_THREADS;

/// SIGHUP has the configuration read again; SIGTERM and SIGINT end the daemon.
fn listen() -> io::Result<(mpsc::Receiver<()>, oneshot::Receiver<()>)> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (reload, hangups) = mpsc::channel(1);
    let (end, shutdown) = oneshot::channel();
    tokio::spawn(async move {
        // One more is remembered while the file is read; others mean nothing else.
        while hangup.recv().await.is_some() && reload.send(()).await.is_ok() {}
    });
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        // Nobody listens where the daemon has ended already.
        let _ = end.send(());
    });
    Ok((hangups, shutdown))
}

fn print_faults(faults: &[Diagnostic]) {
    faults.iter().for_each(|fault| eprintln!("{fault}"));
}
