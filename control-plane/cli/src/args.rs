//! The command line.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand};
use clap_complete::Shell;
use culvert_proto::control::v1::terminate_request::Target;
use culvert_proto::control::v1::{TerminateRequest, TraceRequest};

const EXIT_CODES: &str = "\
Exit status: 0 done; 1 the control plane refused or the operation failed; 2 wrong usage; 3 the control plane cannot be reached.
With --json an error is an object on standard error: {\"error\": {reason, summary, ours, theirs, would_match, remedy}}.";

/// Operates a Culvert gateway through its control plane.
#[derive(Debug, Parser)]
#[command(name = "culvert", version, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Unix socket of the control plane.
    #[arg(long, global = true, env = "CULVERT_SOCKET", default_value = "/run/culvert/control.sock")]
    pub(crate) socket: PathBuf,
    /// Print JSON, one document a line for streams.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List IKE SAs with their Child SAs and counters.
    Sas,
    /// List Child SAs alone, each with its IKE SA.
    Children,
    /// List the SPD in the order in which its entries are asked, with what each has selected.
    Policies,
    /// List the data plane's ports.
    Ports,
    /// List the data plane's workers, how busy they are and what they have lost.
    Workers,
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
    /// Print events as they happen, failures with both sides and a remedy.
    Watch,
    /// Draw the IKE messages of this gateway as a sequence diagram.
    Trace(TraceArgs),
    /// Check a configuration file of the control plane without starting anything.
    Check {
        /// The file.
        file: PathBuf,
    },
    /// Show the versions of the command and of both planes.
    Version,
    /// Write a completion script to standard output, as in `culvert completion bash > /etc/bash_completion.d/culvert`.
    Completion {
        /// For this shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
#[group(skip)]
#[command(group = ArgGroup::new("target").required(true).args(["connection", "child", "ike_sa", "child_sa"]))]
pub(crate) struct TerminateArgs {
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

impl TerminateArgs {
    pub(crate) fn request(self) -> TerminateRequest {
        let target = self
            .connection
            .map(Target::Connection)
            .or_else(|| self.child.map(Target::Child))
            .or_else(|| self.ike_sa.map(Target::IkeSaId))
            .or_else(|| self.child_sa.map(Target::ChildSaId));
        TerminateRequest { target, timeout_ms: self.timeout.saturating_mul(1000) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// Go on with new messages.
    #[arg(long, short, conflicts_with = "html")]
    pub(crate) follow: bool,
    /// Every field of headers and payloads, those inside the Encrypted payload too.
    #[arg(long)]
    pub(crate) fields: bool,
    /// Write a page for a browser, whose arrows open their fields; it needs no network.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) html: Option<PathBuf>,
    /// Only what belongs to this connection.
    #[arg(long)]
    connection: Option<String>,
    /// Only what belongs to the IKE SA with this SPI, the initiator's or the responder's, in hexadecimal.
    #[arg(long, value_name = "HEX", value_parser = spi)]
    spi: Option<u64>,
}

impl TraceArgs {
    pub(crate) fn request(&self) -> TraceRequest {
        let connection = self.connection.clone().unwrap_or_default();
        TraceRequest { follow: self.follow, connection, spi: self.spi.unwrap_or_default() }
    }
}

fn spi(text: &str) -> Result<u64, String> {
    // As shown by `culvert sas`: 0123456789abcdef_i.
    let digits = text.trim_start_matches("0x").trim_end_matches("_i").trim_end_matches("_r");
    let spi = u64::from_str_radix(digits, 16).ok().filter(|spi| *spi != 0);
    spi.ok_or_else(|| "write it as `culvert sas` shows it, up to 16 hexadecimal digits".to_owned())
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

    #[test]
    fn an_spi_is_read_as_it_is_shown() {
        assert_eq!(spi("0123456789abcdef_i"), Ok(0x0123_4567_89ab_cdef));
        assert_eq!((spi("0xff"), spi("a_r")), (Ok(255), Ok(10)));
        assert!(spi("").is_err() && spi("0").is_err() && spi("12345678901234567").is_err() && spi("net").is_err());
    }

    #[test]
    fn a_page_is_no_stream() {
        assert!(Cli::try_parse_from(["culvert", "trace", "--html", "x.html", "--follow"]).is_err());
        assert!(Cli::try_parse_from(["culvert", "trace", "--html", "x.html", "--spi", "1f", "--connection", "net"]).is_ok());
    }
}
