//! The command line.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use culvert_proto::control::v1::target::Sas;
use culvert_proto::control::v1::{ExplainRequest, RekeyRequest, Target, TerminateRequest, TraceRequest};
use ipsec_types::Dscp;

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
    /// List the pools of addresses for peers, and who has which.
    Pools,
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
    /// Replace SAs by new ones with new keys, and wait until those are in use.
    Rekey(RekeyArgs),
    /// Print events as they happen, failures with both sides and a remedy.
    Watch,
    /// Draw the IKE messages of this gateway as a sequence diagram.
    Trace(TraceArgs),
    /// Ask the data plane what would become of a packet: policy, SA, MTU, next hop or reason to drop, and the IKE failure behind it.
    Explain(ExplainArgs),
    /// Let the control plane read its configuration file again. A file with faults changes nothing.
    Reload,
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
pub(crate) struct TargetArgs {
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
}

impl TargetArgs {
    fn target(self) -> Target {
        let named = self.connection.map(Sas::Connection).or_else(|| self.child.map(Sas::Child));
        let sas = named.or_else(|| self.ike_sa.map(Sas::IkeSaId)).or_else(|| self.child_sa.map(Sas::ChildSaId));
        Target { sas }
    }
}

#[derive(Debug, Args)]
pub(crate) struct TerminateArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Seconds to wait.
    #[arg(long, default_value_t = 10)]
    timeout: u32,
}

impl TerminateArgs {
    pub(crate) fn request(self) -> TerminateRequest {
        TerminateRequest { target: Some(self.target.target()), timeout_ms: self.timeout.saturating_mul(1000) }
    }
}

#[derive(Debug, Args)]
pub(crate) struct RekeyArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Let the peer show anew who it is, in an IKE SA that begins from scratch; the old one ends when the new one is there.
    #[arg(long)]
    reauth: bool,
    /// Seconds to wait.
    #[arg(long, default_value_t = 30)]
    timeout: u32,
}

impl RekeyArgs {
    pub(crate) fn request(self) -> RekeyRequest {
        RekeyRequest { target: Some(self.target.target()), timeout_ms: self.timeout.saturating_mul(1000), reauthenticate: self.reauth }
    }
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Source address.
    source: IpAddr,
    /// Destination address.
    destination: IpAddr,
    /// Protocol: tcp, udp, icmp, icmpv6, sctp, gre, esp, ah or a number.
    #[arg(value_parser = protocol)]
    protocol: u8,
    /// Destination port; for ICMP type or type/code; - for none, for ICMP an echo request.
    #[arg(allow_hyphen_values = true)]
    port: String,
    /// Source port.
    #[arg(long, default_value_t = 0)]
    source_port: u16,
    /// Octets of the IP packet, headers included; default: a small one.
    #[arg(long, default_value_t = 0)]
    length: u32,
    /// The packet may not be fragmented.
    #[arg(long)]
    dont_fragment: bool,
    /// Its code point: a name such as ef or af41, or 0 to 63.
    #[arg(long, default_value = "0")]
    dscp: Dscp,
    /// The side the packet comes from, in the clear.
    #[arg(long, default_value = "protected")]
    from: PortSide,
    /// The port of the gateway it arrives on; default: the one whose subnet holds the source, or else the first of that side.
    #[arg(long, value_name = "NAME")]
    on: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PortSide {
    Protected,
    Unprotected,
}

pub(crate) const ICMP: u8 = 1;
pub(crate) const ICMPV6: u8 = 58;

impl ExplainArgs {
    /// # Errors
    /// Where the port is none.
    pub(crate) fn request(&self) -> Result<ExplainRequest, String> {
        if self.source.is_ipv4() != self.destination.is_ipv4() {
            return Err(format!("{} and {} are of different address families", self.source, self.destination));
        }
        let destination_port = port(self.protocol, &self.port)?;
        // Both ports of ICMP are its type and code (RFC 4301 section 4.4.1.1).
        let source_port = if matches!(self.protocol, ICMP | ICMPV6) { destination_port } else { self.source_port };
        Ok(ExplainRequest {
            source: self.source.to_string(),
            destination: self.destination.to_string(),
            protocol: self.protocol.into(),
            source_port: source_port.into(),
            destination_port: destination_port.into(),
            length: self.length,
            dont_fragment: self.dont_fragment,
            from_unprotected: self.from == PortSide::Unprotected,
            port: self.on.clone().unwrap_or_default(),
            dscp: self.dscp.value().into(),
        })
    }
}

/// Names as in /etc/protocols, which need not be there.
const PROTOCOLS: [(&str, u8); 9] = [
    ("icmp", ICMP),
    ("tcp", 6),
    ("udp", 17),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", ICMPV6),
    ("ipv6-icmp", ICMPV6),
    ("sctp", 132),
];

fn protocol(text: &str) -> Result<u8, String> {
    let named = PROTOCOLS.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, number)| *number);
    named
        .or_else(|| text.parse().ok())
        .ok_or_else(|| "write tcp, udp, icmp, icmpv6, sctp, gre, esp, ah or a number from 0 to 255".to_owned())
}

fn port(protocol: u8, text: &str) -> Result<u16, String> {
    match (protocol, text) {
        (ICMP, "-") => Ok(8 << 8),
        (ICMPV6, "-") => Ok(128 << 8),
        (_, "-") => Ok(0),
        (ICMP | ICMPV6, text) => {
            let (kind, code) = text.split_once('/').unwrap_or((text, "0"));
            let octets = kind.parse().ok().zip(code.parse().ok());
            octets
                .map(|(kind, code)| u16::from_be_bytes([kind, code]))
                .ok_or_else(|| format!("'{text}' is no ICMP type: write 8, 3/4 or -"))
        }
        (_, text) => text.parse().map_err(|_| format!("'{text}' is no port: write a number from 0 to 65535, or - for none")),
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
    fn ports_are_those_of_the_protocol() {
        assert_eq!((port(6, "443"), port(17, "-"), port(ICMP, "-"), port(ICMPV6, "-")), (Ok(443), Ok(0), Ok(0x0800), Ok(0x8000)));
        assert_eq!((port(ICMP, "3/4"), port(ICMP, "8")), (Ok(0x0304), Ok(0x0800)));
        assert!(port(6, "65536").is_err() && port(6, "http").is_err() && port(ICMP, "256").is_err());
        assert_eq!((protocol("TCP"), protocol("89")), (Ok(6), Ok(89)));
        assert!(protocol("256").is_err() && protocol("http").is_err());
    }

    #[test]
    fn an_explanation_takes_addresses_of_one_family() {
        let parse = |arguments: &[&str]| match Cli::try_parse_from(["culvert", "explain"].iter().chain(arguments)).unwrap().verb {
            Verb::Explain(args) => args.request(),
            other => panic!("{other:?}"),
        };
        assert_eq!(parse(&["10.1.0.5", "10.2.0.9", "icmp", "-"]).unwrap().source_port, 0x0800);
        assert!(parse(&["10.1.0.5", "10.2.0.9", "tcp", "443", "--from", "unprotected"]).unwrap().from_unprotected);
        assert_eq!(parse(&["10.1.0.5", "10.2.0.9", "tcp", "443", "--dscp", "ef"]).unwrap().dscp, 46);
        assert!(Cli::try_parse_from(["culvert", "explain", "10.1.0.5", "10.2.0.9", "tcp", "443", "--dscp", "64"]).is_err());
        assert!(parse(&["10.1.0.5", "2001:db8::1", "tcp", "443"]).is_err());
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
