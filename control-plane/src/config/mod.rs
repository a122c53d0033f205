//! The configuration: a TOML file in swanctl's vocabulary and a file of secrets beside it.
//!
//! ```toml
//! secrets = "secrets.toml"                 # relative to this file; nobody else may read it
//!
//! [control]
//! socket = "/run/culvert/control.sock"     # where `culvert` finds this process
//!
//! [dataplane]
//! socket = "/run/culvert/data.sock"        # where this process finds culvert-data
//!
//! [connections.site-b]
//! remote_addrs = ["192.0.2.2"]
//! local.id = "gw-a.example"
//! remote.id = "gw-b.example"
//!
//! [connections.site-b.children.net]
//! local_ts = ["10.1.0.0/24"]
//! remote_ts = ["10.2.0.0/24"]
//! start_action = "trap"
//! ```
//!
//! Every fault is reported, not only the first, with file, line, column, field and remedy: [`Diagnostic`].

mod authentication;
mod authorities;
mod connections;
mod diagnostic;
mod eap;
mod exchanges;
mod handling;
mod lifetimes;
mod pools;
mod ppk;
mod proposals;
mod radius;
mod rounds;
mod secrets;
mod section;
mod selectors;
mod spd;
mod tokens;
mod version;
mod xauth;

#[cfg(test)]
mod tests;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ike::config::{Config, Entries};
use ipsec_types::Secret;
use toml::Spanned;
use toml::de::DeTable;

pub use diagnostic::Diagnostic;

use crate::key_log;
use authentication::Files;
use diagnostic::Report;
use secrets::{Known, Secrets};
use section::Section;
use spd::Spd;
use tokens::Tokens;

/// A configuration without faults.
#[derive(Debug)]
pub struct Loaded {
    /// The file itself, to be read again.
    pub file: PathBuf,
    /// Where operators' gRPC is served.
    pub control_socket: PathBuf,
    /// Where the data plane listens.
    pub data_socket: PathBuf,
    /// The folder in which keys are written down for Wireshark; usually none.
    pub key_log: Option<PathBuf>,
    /// What the protocol core needs.
    pub ike: Config,
    /// What is no fault, but hardly meant.
    pub warnings: Vec<Diagnostic>,
}

/// Reads and checks `file` and the secrets it names.
///
/// # Errors
/// Every fault that was found, in the order of the files.
pub fn load(file: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let text = fs::read_to_string(file).map_err(|error| vec![unreadable(file, &error)])?;
    let report = Report::new(file, &text);
    let table = parse(&text, &report);
    let (loaded, mut faults) = read(file, &table, &report);
    let mut all = report.into_faults();
    all.append(&mut faults);
    if all.is_empty() { Ok(loaded) } else { Err(all) }
}

/// The document; faults of syntax are noted, and what can be read is.
fn parse<'t>(text: &'t str, report: &Report<'_>) -> DeTable<'t> {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        report.add(
            &span,
            "",
            format!("this is no TOML: {}", error.message()),
            "see https://toml.io for how tables, texts and lists are written",
        );
    }
    Spanned::into_inner(table)
}

/// What the document says, and the faults of the secrets file.
fn read<'d>(file: &Path, table: &'d DeTable<'d>, report: &'d Report<'d>) -> (Loaded, Vec<Diagnostic>) {
    let mut root = Section::root(table, report);
    let secrets_file = root.text("secrets", "\"secrets.toml\"");
    let tokens = Tokens::default();
    let files = Files { beside: file, tokens: &tokens };
    let Control { socket: control_socket, thresholds: [cookie_threshold, block_threshold], key_log, crash_secret } =
        control(&mut root, files);
    let data_socket = dataplane(&mut root);

    let secrets_path = secrets_file.map(|found| file.with_file_name(found.value));
    let (Secrets { psks, users, radius: mut shared, ppks }, faults) = secrets_path.as_deref().map_or_else(Default::default, secrets::load);
    let users = Arc::new(users);
    let sound = faults.is_empty();
    let servers = radius::read(&mut root, sound.then_some(&mut shared));
    let eap = eap::Known { users: sound.then_some(&users), servers: &servers };
    let known = Known { eap, ppks: sound.then_some(&ppks) };
    let authorities = authorities::read(&mut root, files);
    let pools = pools::read(&mut root);
    let mut spd = Spd::default();
    let (mut connections, mut policies) = (Vec::new(), Vec::new());
    for (name, section) in root.sections("connections") {
        let (connection, shunts) = connections::read(name, section, &mut spd, files, &authorities, &pools, known);
        connections.extend(connection);
        policies.extend(shunts);
    }
    for (name, section) in root.sections("policies") {
        policies.extend(connections::policy(name, section, &mut spd));
    }
    root.finish();

    if faults.is_empty() {
        for (connection, place) in &connections {
            connections::check_key(connection, place, &psks, secrets_path.as_deref(), report);
        }
    }
    let mut connections: Vec<_> = connections.into_iter().map(|(connection, _)| connection).collect();
    spd.assign_priorities(&mut connections, &mut policies);
    let entries = Entries::default();
    let mut ike =
        Config { connections, psks, ppks, policies, entries, cookie_threshold, block_threshold, key_log: key_log.is_some(), crash_secret };
    ike.share_entries(&Config::default());
    spd.refuse_overlaps(&ike, report);
    spd.warn_of_hidden(&ike.spd(), report);
    let warnings = report.take_warnings();
    (Loaded { file: file.to_path_buf(), control_socket, data_socket, key_log, ike, warnings }, faults)
}

/// What `[control]` says.
struct Control {
    socket: PathBuf,
    /// Half-open IKE SAs: for a cookie, and of one address.
    thresholds: [usize; 2],
    key_log: Option<PathBuf>,
    crash_secret: Option<Secret>,
}

fn control(root: &mut Section<'_>, files: Files<'_>) -> Control {
    const DEFAULT_SOCKET: &str = "/run/culvert/control.sock";
    /// strongSwan's.
    const DEFAULT_THRESHOLDS: [usize; 2] = [30, 5];

    let Some(mut section) = root.section("control") else {
        return Control { socket: DEFAULT_SOCKET.into(), thresholds: DEFAULT_THRESHOLDS, key_log: None, crash_secret: None };
    };
    let socket = section.text("socket", "\"/run/culvert/control.sock\"").map_or(DEFAULT_SOCKET, |found| found.value).into();
    let thresholds = [section.integer("cookie_threshold", 0..=1_000_000), section.integer("block_threshold", 1..=1_000_000)];
    let key_log = key_log(&mut section, files);
    let crash_secret = secrets::crash(&mut section, files);
    section.finish();
    let [cookie, block] = thresholds.map(|found| found.and_then(|found| usize::try_from(found.value).ok()));
    let [default_cookie, default_block] = DEFAULT_THRESHOLDS;
    Control { socket, thresholds: [cookie.unwrap_or(default_cookie), block.unwrap_or(default_block)], key_log, crash_secret }
}

/// Never without a word: it undoes what everything else is for.
fn key_log(section: &mut Section<'_>, files: Files<'_>) -> Option<PathBuf> {
    let found = section.text("key_log", "\"keys\"")?;
    let folder = files.path(found.value);
    if let Err(fault) = key_log::check(&folder) {
        section.fault_at(&found, format!("{}: {}", fault.file.display(), fault.problem), fault.remedy);
        return None;
    }
    let problem = format!(
        "THE KEYS OF EVERY IKE SA AND CHILD SA ARE WRITTEN TO {}: whoever reads them reads all traffic, recorded traffic as well",
        folder.display()
    );
    section.warn_at(&found, problem, "leave key_log out as soon as you have seen enough, and delete what it has written".to_owned());
    Some(folder)
}

fn dataplane(root: &mut Section<'_>) -> PathBuf {
    const DEFAULT_SOCKET: &str = "/run/culvert/data.sock";

    let Some(mut section) = root.section("dataplane") else { return DEFAULT_SOCKET.into() };
    let socket = section.text("socket", "\"/run/culvert/data.sock\"").map_or(DEFAULT_SOCKET, |found| found.value).into();
    section.finish();
    socket
}

fn unreadable(file: &Path, error: &std::io::Error) -> Diagnostic {
    let remedy = match error.kind() {
        ErrorKind::NotFound => "check the path".to_owned(),
        ErrorKind::PermissionDenied => "run as the user that may read it".to_owned(),
        ErrorKind::InvalidData => "save it as UTF-8".to_owned(),
        _ => "check that it is a regular file".to_owned(),
    };
    Diagnostic {
        file: file.to_path_buf(),
        position: None,
        field: String::new(),
        problem: format!("cannot read this file: {error}"),
        remedy,
    }
}
