//! The daemon as a process: command line, signals, exit status.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const CONFIGURATION: &str = r#"
secrets = "secrets.toml"
[control]
socket = "FOLDER/control.sock"
[dataplane]
socket = "FOLDER/data.sock"
[connections.peer]
local_addrs = ["192.0.2.1"]
[connections.peer.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
"#;

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().display().to_string();
    fs::write(folder.path().join("culvert.toml"), CONFIGURATION.replace("FOLDER", &path)).unwrap();
    fs::write(folder.path().join("secrets.toml"), "[ike.peer]\nsecret = \"hunter2\"\n").unwrap();
    protect(&folder, 0o600);
    folder
}

fn protect(folder: &TempDir, mode: u32) {
    fs::set_permissions(folder.path().join("secrets.toml"), fs::Permissions::from_mode(mode)).unwrap();
}

fn culvert_control(arguments: &[&str], folder: &TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_culvert-control"));
    command.args(arguments).arg(folder.path().join("culvert.toml"));
    command
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn signal(process: &Child, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &process.id().to_string()]).status().unwrap().success());
}

/// How long anything may take, however slow and busy the machine is.
const PATIENCE: Duration = Duration::from_secs(120);

fn soon(what: &str, mut is: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !is() {
        assert!(begin.elapsed() < PATIENCE, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Ends with the test, however that ends.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_check_says_what_is_wrong_and_exits_by_it() {
    let folder = folder();
    let good = culvert_control(&["--check"], &folder).output().unwrap();
    assert!(good.status.success() && text(&good).contains("1 connections, 1 children"), "{}", text(&good));
    protect(&folder, 0o644);
    let bad = culvert_control(&["--check"], &folder).output().unwrap();
    assert!(bad.status.code() == Some(1) && text(&bad).contains("run chmod 600 "), "{}", text(&bad));
    let json = culvert_control(&["--json", "--check"], &folder).output().unwrap();
    let finding: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), finding["line"].is_null()), (Some(1), true));
    assert!(finding["remedy"].as_str().unwrap().starts_with("run chmod 600 "));
    protect(&folder, 0o600);
    let json = culvert_control(&["--json", "--check"], &folder).output().unwrap();
    let summary: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!((json.status.code(), summary["children"].as_u64()), (Some(0), Some(1)));
}

#[test]
fn a_check_whose_reader_has_seen_enough_still_exits_by_what_it_found() {
    let folder = folder();
    for (mode, code) in [(0o600, 0), (0o644, 1)] {
        protect(&folder, mode);
        let (read, write) = UnixStream::pair().unwrap();
        drop(read);
        let output = culvert_control(&["--json", "--check"], &folder).stdout(OwnedFd::from(write)).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", text(&output));
    }
}

#[test]
fn a_configuration_with_faults_does_not_start() {
    let folder = folder();
    protect(&folder, 0o640);
    let output = culvert_control(&["--config"], &folder).output().unwrap();
    assert!(output.status.code() == Some(1) && text(&output).contains("mode 640"), "{}", text(&output));
}

#[test]
fn sigterm_ends_the_daemon() {
    let folder = folder();
    let mut daemon = Daemon(culvert_control(&["--config"], &folder).spawn().unwrap());
    let socket = folder.path().join("control.sock");
    soon("the daemon has started", || socket.exists());
    signal(&daemon.0, "TERM");
    let mut status = None;
    soon("the daemon has ended", || {
        status = daemon.0.try_wait().unwrap();
        status.is_some()
    });
    assert!(status.unwrap().success() && !socket.exists());
}
