//! Handshakes per second of a responder's CPU time, ours beside strongSwan's, and what an IKE SA with its Child SA costs in memory.
//!
//! Both responders run for the whole of a row, each in a network of its own; whichever is not measured is stopped (SIGSTOP). Initiators are the core of
//! our own control plane, as many as are wanted, in this process; what they cost is not counted.

mod fleet;
mod responder;

use std::fmt::Write;
use std::path::PathBuf;

use serde::Serialize;

use crate::error::{Context, Failure};
use crate::machine::Machine;
use crate::measure::Spread;
use crate::output::Output;
use crate::pipeline;

use self::fleet::Fleet;
use self::responder::{Responder, Responders, Spent};

/// Handshakes per second of a responder's CPU time, and memory of an IKE SA, beside strongSwan. As root, for it makes network namespaces.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    output: Output,
    /// Measure culvert-control and culvert-data of this folder instead of building those of this tree.
    #[arg(long, value_name = "FOLDER")]
    binaries: Option<PathBuf>,
    /// How initiators and responders authenticate.
    #[arg(long, value_name = "AUTH", value_delimiter = ',', default_values = ["psk", "ecdsa", "rsa"])]
    auth: Vec<Auth>,
    /// IKE SAs that there are when memory is measured.
    #[arg(long, default_value_t = 10_000)]
    sas: u32,
}

/// How both sides show who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Auth {
    /// A pre-shared key.
    Psk,
    /// Certificates with keys on P-256, one authority.
    Ecdsa,
    /// The same with RSA of 2048 bits.
    Rsa,
}

impl Auth {
    const fn word(self) -> &'static str {
        match self {
            Self::Psk => "psk",
            Self::Ecdsa => "ecdsa",
            Self::Rsa => "rsa",
        }
    }
}

/// A whole run.
#[derive(Debug, Serialize)]
struct Report {
    benchmark: &'static str,
    machine: Machine,
    unit: &'static str,
    handshakes_a_round: u32,
    rounds: usize,
    rows: Vec<Row>,
    memory: Option<Memory>,
}

/// One way to authenticate: handshakes per second of CPU time.
#[derive(Debug, Serialize)]
struct Row {
    auth: Auth,
    /// Of control plane and data plane together, idle polling included.
    culvert: Spread,
    /// Of the control plane alone, which is what strongSwan's figure is of.
    control_plane: Spread,
    strongswan: Spread,
    /// Of both planes by strongSwan in the same round.
    ratio: Spread,
    control_plane_ratio: Spread,
}

/// Octets of resident memory for one IKE SA with one Child SA.
#[derive(Debug, Serialize)]
struct Memory {
    sas: u32,
    culvert_control: u64,
    culvert_data: u64,
    strongswan: u64,
    /// Of both planes.
    ratio: f64,
}

/// Handshakes of a responder in one round.
const HANDSHAKES: u32 = 500;
const ROUNDS: usize = 7;
/// Before anything is counted.
const WARM_UP: u32 = 50;

/// Measures everything and prints the report.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let (binaries, profile) = match &arguments.binaries {
        Some(folder) => (folder.clone(), "of the given folder".to_owned()),
        None => pipeline::build(&["culvert-data", "culvert-control", "culvert-cli"])?,
    };
    let binaries = binaries.canonicalize().context(binaries.display())?;
    let (handshakes, rounds) = if arguments.output.quick { (50, 1) } else { (HANDSHAKES, ROUNDS) };
    let sas = if arguments.output.quick { 500.min(arguments.sas) } else { arguments.sas };
    let (mut rows, mut memory) = (Vec::new(), None);
    for &auth in &arguments.auth {
        eprintln!("{}", auth.word());
        let mut pair = Pair::start(&binaries, auth)?;
        rows.push(pair.measure(auth, handshakes, rounds)?);
        if auth == Auth::Psk {
            memory = Some(pair.fill(sas)?);
        }
    }
    let report = Report {
        benchmark: "handshakes",
        machine: Machine::running(profile),
        unit: "handshakes per second of CPU time",
        handshakes_a_round: handshakes,
        rounds,
        rows,
        memory,
    };
    arguments.output.print(&report, report.table())
}

/// Both responders with their initiators.
struct Pair {
    culvert: Side,
    strongswan: Side,
    /// Ends them.
    _responders: Responders,
}

struct Side {
    responder: Responder,
    fleet: Fleet,
    /// What the processes had before the first IKE SA.
    empty: Vec<u64>,
}

impl Side {
    fn new(responder: Responder) -> Result<Self, Failure> {
        let fleet = Fleet::new(&responder)?;
        let mut side = Self { empty: responder.memory()?, responder, fleet };
        side.fleet.connect(WARM_UP)?;
        side.responder.stop()?;
        Ok(side)
    }

    /// So many handshakes, and what each process spent on them.
    fn round(&mut self, handshakes: u32) -> Result<Spent, Failure> {
        self.responder.go_on()?;
        let before = self.responder.spent()?;
        self.fleet.connect(handshakes)?;
        let after = self.responder.spent()?;
        self.responder.stop()?;
        Ok(after.since(&before))
    }

    /// Octets of each process for one IKE SA, when there are `sas`.
    fn fill(&mut self, sas: u32) -> Result<Vec<u64>, Failure> {
        self.responder.go_on()?;
        self.fleet.connect(sas.saturating_sub(self.fleet.connected()))?;
        let full = self.responder.memory()?;
        self.responder.stop()?;
        let number = u64::from(self.fleet.connected()).max(1);
        Ok(full.iter().zip(&self.empty).map(|(full, empty)| full.saturating_sub(*empty) / number).collect())
    }
}

impl Pair {
    fn start(binaries: &std::path::Path, auth: Auth) -> Result<Self, Failure> {
        let (responders, culvert, strongswan) = Responders::start(binaries, auth.word())?;
        Ok(Self { culvert: Side::new(culvert)?, strongswan: Side::new(strongswan)?, _responders: responders })
    }

    fn measure(&mut self, auth: Auth, handshakes: u32, rounds: usize) -> Result<Row, Failure> {
        let mut rates = Vec::new();
        for _ in 0..rounds {
            let [ours, theirs] = [&mut self.culvert, &mut self.strongswan].map(|side| side.round(handshakes));
            let (ours, theirs) = (ours?, theirs?);
            rates.push([ours.rate_of_all(handshakes), ours.rate_of_first(handshakes), theirs.rate_of_all(handshakes)]);
        }
        let spread = |of: fn(&[f64; 3]) -> f64| Spread::of(rates.iter().map(of));
        Ok(Row {
            auth,
            culvert: spread(|rates| rates[0]),
            control_plane: spread(|rates| rates[1]),
            strongswan: spread(|rates| rates[2]),
            ratio: spread(|rates| rates[0] / rates[2]),
            control_plane_ratio: spread(|rates| rates[1] / rates[2]),
        })
    }

    fn fill(&mut self, sas: u32) -> Result<Memory, Failure> {
        eprintln!("{sas} IKE SAs");
        let (ours, theirs) = (self.culvert.fill(sas)?, self.strongswan.fill(sas)?);
        let (&[culvert_control, culvert_data], &[strongswan]) = (ours.as_slice(), theirs.as_slice()) else {
            return Err(Failure("the responders are other processes than expected".to_owned()));
        };
        #[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 52 bits")]
        let ratio = (culvert_control + culvert_data) as f64 / strongswan.max(1) as f64;
        Ok(Memory { sas, culvert_control, culvert_data, strongswan, ratio })
    }
}

impl Report {
    fn table(&self) -> String {
        let mut text = format!(
            "{}\n{}: medians of {} rounds in turns, {} handshakes each (lowest to highest)\n\n",
            self.machine, self.unit, self.rounds, self.handshakes_a_round
        );
        let _ = writeln!(
            text,
            "{:<6} {:>22} {:>22} {:>22} {:>20}",
            "auth", "culvert, both planes", "its control plane", "strongSwan", "both by strongSwan"
        );
        for row in &self.rows {
            let of = |spread: &Spread| format!("{:.0} ({:.0} to {:.0})", spread.median, spread.lowest, spread.highest);
            let ratio = format!("{:.2} ({:.2} to {:.2})", row.ratio.median, row.ratio.lowest, row.ratio.highest);
            let (culvert, control, strongswan) = (of(&row.culvert), of(&row.control_plane), of(&row.strongswan));
            let _ = writeln!(text, "{:<6} {culvert:>22} {control:>22} {strongswan:>22} {ratio:>20}", row.auth.word());
        }
        if let Some(Memory { sas, culvert_control, culvert_data, strongswan, ratio }) = &self.memory {
            let _ = writeln!(
                text,
                "\nmemory of an IKE SA with a Child SA, of {sas}: {culvert_control} octets in the control plane and {culvert_data} in the data plane; strongSwan {strongswan} without a kernel's; {ratio:.2} of it"
            );
        }
        text
    }
}
