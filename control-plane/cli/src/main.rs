//! The operator's command: culvert.
//!
//! Everything goes through the control plane's gRPC service on its Unix socket; `--json` prints the answers for other programs.

mod args;
mod client;
mod diagram;
mod failure;
mod html;
mod output;

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{CommandFactory as _, Parser as _};
use culvert_proto::control::v1::control_client::ControlClient;
use culvert_proto::control::v1::{
    InitiateRequest, ListSasRequest, PoliciesRequest, PoolsRequest, PortsRequest, ReloadRequest, StatsRequest, VersionRequest,
    WatchRequest, WorkersRequest,
};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;

use crate::args::{Cli, TraceArgs, Verb};
use crate::failure::Failure;
use crate::output::Format;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = if cli.json { Format::Json } else { Format::Text };
    let done = match &cli.verb {
        Verb::Check { file } => check(file, cli.json),
        Verb::Completion { shell } => completion(*shell),
        Verb::Version => version(&cli.socket, format).await,
        _ => run(cli, format).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(&mut io::stderr(), format);
            failure.exit_code()
        }
    }
}

/// What takes a control plane.
async fn run(cli: Cli, format: Format) -> Result<(), Failure> {
    let mut control = client::connect(&cli.socket).await?;
    let mut out = io::stdout();
    match cli.verb {
        Verb::Sas => output::sas(&mut out, format, &control.list_sas(ListSasRequest {}).await?.into_inner())?,
        Verb::Children => output::children(&mut out, format, &control.list_sas(ListSasRequest {}).await?.into_inner())?,
        Verb::Policies => output::policies(&mut out, format, &control.policies(PoliciesRequest {}).await?.into_inner())?,
        Verb::Pools => output::pools(&mut out, format, &control.pools(PoolsRequest {}).await?.into_inner())?,
        Verb::Ports => output::ports(&mut out, format, &control.ports(PortsRequest {}).await?.into_inner())?,
        Verb::Workers => output::workers(&mut out, format, &control.workers(WorkersRequest {}).await?.into_inner())?,
        Verb::Stats { all } => output::stats(&mut out, format, &control.stats(StatsRequest {}).await?.into_inner(), all)?,
        Verb::Initiate { child, timeout } => {
            let request = InitiateRequest { child: child.clone(), timeout_ms: timeout.saturating_mul(1000) };
            output::initiated(&mut out, format, &child, &control.initiate(request).await?.into_inner())?;
        }
        Verb::Terminate(args) => output::terminated(&mut out, format, &control.terminate(args.request()).await?.into_inner())?,
        Verb::Rekey(args) => output::rekeyed(&mut out, format, &control.rekey(args.request()).await?.into_inner())?,
        Verb::Explain(args) => {
            let request = args.request().map_err(Failure::usage)?;
            output::explained(&mut out, format, &request, &control.explain(request.clone()).await?.into_inner())?;
        }
        Verb::Reload => output::reloaded(&mut out, format, &control.reload(ReloadRequest {}).await?.into_inner())?,
        Verb::Watch => watch(&mut control, format).await?,
        Verb::Trace(args) => trace(&mut control, format, &args).await?,
        // Answered before anything was connected.
        Verb::Check { .. } | Verb::Completion { .. } | Verb::Version => {}
    }
    Ok(())
}

/// One can ask for the version of a command whose daemon is down.
async fn version(socket: &Path, format: Format) -> Result<(), Failure> {
    let planes = match client::connect(socket).await {
        Ok(mut control) => Some(control.version(VersionRequest {}).await?.into_inner()),
        Err(_) => None,
    };
    Ok(output::version(&mut io::stdout(), format, planes.as_ref())?)
}

async fn watch(control: &mut ControlClient<Channel>, format: Format) -> Result<(), Failure> {
    let mut events = control.watch(WatchRequest {}).await?.into_inner();
    while let Some(event) = events.next().await {
        output::event(&mut io::stdout(), format, &event?)?;
    }
    Ok(())
}

async fn trace(control: &mut ControlClient<Channel>, format: Format, args: &TraceArgs) -> Result<(), Failure> {
    let mut records = control.trace(args.request()).await?.into_inner();
    if let Some(file) = &args.html {
        let mut all = Vec::new();
        while let Some(record) = records.next().await {
            all.push(record?);
        }
        return fs::write(file, html::page(&all)).map_err(|error| Failure::local(format!("cannot write {}: {error}", file.display())));
    }
    let mut diagram = diagram::Diagram::new(args.fields);
    let mut out = io::stdout();
    while let Some(record) = records.next().await {
        let record = record?;
        match format {
            Format::Json => output::json(&mut out, &record)?,
            Format::Text => write!(out, "{}", diagram.draw(&record))?,
        }
    }
    if format == Format::Text {
        write!(out, "{}", diagram.finish())?;
    }
    Ok(())
}

fn completion(shell: clap_complete::Shell) -> Result<(), Failure> {
    // The generator takes no error for an answer: a reader that has seen enough must not make it panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "culvert", &mut script);
    Ok(io::stdout().write_all(&script)?)
}

/// Hands the file to the control plane's own reader, so that what is checked is what will be loaded.
fn check(file: &Path, json: bool) -> Result<(), Failure> {
    const DAEMON: &str = "culvert-control";
    let beside = env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(DAEMON))).filter(|path| path.exists());
    let daemon = beside.unwrap_or_else(|| PathBuf::from(DAEMON));
    let mut command = Command::new(&daemon);
    command.arg("--check").arg(file);
    if json {
        command.arg("--json");
    }
    // Replaces this process: the daemon's exit status becomes ours.
    let error = command.exec();
    let text = format!("cannot run {}: {error}; it is installed beside this command or found on PATH", daemon.display());
    Err(Failure::Unreachable(text))
}
