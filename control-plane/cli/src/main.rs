//! The operator's command: culvert.
//!
//! Everything goes through the control plane's gRPC service on its Unix socket; `--json` prints the answers for other programs.

mod client;
mod diagram;
mod failure;
mod output;

use std::env;
use std::io::{self, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::{ArgGroup, Args, Parser, Subcommand};
use culvert_proto::control::v1::control_client::ControlClient;
use culvert_proto::control::v1::terminate_request::Target;
use culvert_proto::control::v1::{
    InitiateRequest, ListSasRequest, StatsRequest, TerminateRequest, TraceRequest, VersionRequest, WatchRequest,
};
use tokio_stream::StreamExt as _;
use tonic::transport::Channel;

use crate::failure::Failure;
use crate::output::Format;

const EXIT_CODES: &str =
    "Exit status: 0 done; 1 the control plane refused or the operation failed; 2 wrong usage; 3 the control plane cannot be reached.";

/// Operates a Culvert gateway through its control plane.
#[derive(Debug, Parser)]
#[command(name = "culvert", version, after_help = EXIT_CODES)]
struct Cli {
    /// Unix socket of the control plane.
    #[arg(long, global = true, env = "CULVERT_SOCKET", default_value = "/run/culvert/control.sock")]
    socket: PathBuf,
    /// Print JSON, one document a line for streams.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List IKE SAs with their Child SAs and counters.
    Sas,
    /// Show the counters of both planes; those at zero with --all.
    Stats {
        /// Counters at zero too.
        #[arg(long)]
        all: bool,
    },
    /// Set a Child SA up, and wait until it is installed.
    Initiate {
        /// Its name in the configuration, or connection/child.
        child: String,
        /// Seconds to wait.
        #[arg(long, default_value_t = 30)]
        timeout: u32,
    },
    /// Delete SAs, and wait until the peer has confirmed.
    Terminate(TerminateArgs),
    /// Print events as they happen.
    Watch,
    /// Draw the IKE messages of this gateway as a sequence diagram.
    Trace {
        /// Go on with new messages.
        #[arg(long, short)]
        follow: bool,
        /// Every field of every payload.
        #[arg(long)]
        fields: bool,
    },
    /// Check a configuration file of the control plane without starting anything.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Show the versions of the command and of both planes.
    Version,
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("target").required(true).args(["connection", "child", "ike_sa", "child_sa"]))]
struct TerminateArgs {
    /// Every IKE SA of this connection.
    #[arg(long)]
    connection: Option<String>,
    /// Every Child SA of this name, or of connection/child.
    #[arg(long)]
    child: Option<String>,
    /// The IKE SA with this number, as shown by `culvert sas`.
    #[arg(long, value_name = "ID")]
    ike_sa: Option<u64>,
    /// The Child SA with this number.
    #[arg(long, value_name = "ID")]
    child_sa: Option<u64>,
    /// Seconds to wait.
    #[arg(long, default_value_t = 10)]
    timeout: u32,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let format = if cli.json { Format::Json } else { Format::Text };
    match run(cli).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.print(&mut io::stderr(), format);
            failure.exit_code()
        }
    }
}

async fn run(cli: Cli) -> Result<(), Failure> {
    let format = if cli.json { Format::Json } else { Format::Text };
    let mut out = io::stdout();
    if let Verb::Check { file } = &cli.verb {
        return check(file, cli.json);
    }
    let mut control = match (&cli.verb, client::connect(&cli.socket).await) {
        (_, Ok(control)) => control,
        // One can ask for the version of a command whose daemon is down.
        (Verb::Version, Err(_)) => {
            return Ok(output::version(&mut out, format, None)?);
        }
        (_, Err(failure)) => return Err(failure),
    };
    match cli.verb {
        Verb::Sas => output::sas(&mut out, format, &control.list_sas(ListSasRequest {}).await?.into_inner())?,
        Verb::Stats { all } => output::stats(&mut out, format, &control.stats(StatsRequest {}).await?.into_inner(), all)?,
        Verb::Initiate { child, timeout } => {
            let request = InitiateRequest { child: child.clone(), timeout_ms: timeout.saturating_mul(1000) };
            output::initiated(&mut out, format, &child, &control.initiate(request).await?.into_inner())?;
        }
        Verb::Terminate(args) => {
            let request = terminate_request(args);
            output::terminated(&mut out, format, &control.terminate(request).await?.into_inner())?;
        }
        Verb::Watch => watch(&mut control, format).await?,
        Verb::Trace { follow, fields } => trace(&mut control, format, follow, fields).await?,
        Verb::Version => output::version(&mut out, format, Some(&control.version(VersionRequest {}).await?.into_inner()))?,
        Verb::Check { .. } => {}
    }
    Ok(())
}

fn terminate_request(args: TerminateArgs) -> TerminateRequest {
    let target = args
        .connection
        .map(Target::Connection)
        .or_else(|| args.child.map(Target::Child))
        .or_else(|| args.ike_sa.map(Target::IkeSaId))
        .or_else(|| args.child_sa.map(Target::ChildSaId));
    TerminateRequest { target, timeout_ms: args.timeout.saturating_mul(1000) }
}

async fn watch(control: &mut ControlClient<Channel>, format: Format) -> Result<(), Failure> {
    let mut events = control.watch(WatchRequest {}).await?.into_inner();
    while let Some(event) = events.next().await {
        output::event(&mut io::stdout(), format, &event?)?;
    }
    Ok(())
}

async fn trace(control: &mut ControlClient<Channel>, format: Format, follow: bool, fields: bool) -> Result<(), Failure> {
    let mut records = control.trace(TraceRequest { follow }).await?.into_inner();
    let mut diagram = diagram::Diagram::new(fields);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminate_takes_one_target_and_a_time() {
        let parse = |arguments: &[&str]| Cli::try_parse_from(["culvert", "terminate"].iter().chain(arguments));
        assert!(parse(&["--connection", "site-b", "--timeout", "1"]).is_ok());
        assert!(parse(&["--ike-sa", "1"]).is_ok());
        assert!(parse(&["--connection", "site-b", "--child", "net"]).is_err());
        assert!(parse(&["--timeout", "1"]).is_err());
    }
}
