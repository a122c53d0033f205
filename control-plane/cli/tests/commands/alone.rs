//! What needs no control plane.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};

fn culvert(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_culvert")).args(["--socket", "/nowhere/control.sock"]).args(arguments).output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    for arguments in [&["version"][..], &["completion", "bash"]] {
        let (read, write) = UnixStream::pair().unwrap();
        drop(read);
        let mut command = Command::new(env!("CARGO_BIN_EXE_culvert"));
        command.args(["--socket", "/nowhere"]).args(arguments).stdout(Stdio::from(OwnedFd::from(write))).stderr(Stdio::piped());
        let output = command.output().unwrap();
        assert_eq!((output.status.code(), err(&output).as_str()), (Some(0), ""));
    }
}

#[test]
fn a_control_plane_that_is_not_there_is_another_exit_status_than_wrong_usage() {
    for verb in ["sas", "children", "policies", "pools", "ports", "workers", "stats", "watch", "trace", "reload"] {
        let output = culvert(&[verb]);
        assert_eq!(output.status.code(), Some(3), "{verb}");
        assert!(err(&output).starts_with("culvert: cannot reach the control plane at /nowhere/control.sock: "), "{verb}");
    }
    let output = culvert(&["sas", "--json"]);
    let error: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((output.status.code(), &error["error"]["reason"]), (Some(3), &"UNREACHABLE".into()));
    for wrong in [&["nothing"][..], &["terminate"], &["initiate"], &["trace", "--spi", "x"], &["completion", "cmd"]] {
        assert_eq!(culvert(wrong).status.code(), Some(2), "{wrong:?}");
    }
    assert_eq!(culvert(&["version"]).status.code(), Some(0), "one may ask for the version while the daemon is down");
}

#[test]
fn completion_scripts_know_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let output = culvert(&["completion", shell]);
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}");
        let script = out(&output);
        for verb in [
            "sas",
            "children",
            "policies",
            "pools",
            "ports",
            "workers",
            "stats",
            "initiate",
            "terminate",
            "rekey",
            "watch",
            "trace",
            "explain",
            "reload",
            "check",
            "version",
        ] {
            assert!(script.contains(verb), "{shell} does not know {verb}");
        }
    }
    // A shell that is there reads what was written for it.
    let script = out(&culvert(&["completion", "bash"]));
    let read = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
    assert!(read.status.success() && read.stderr.is_empty(), "{}", err(&read));
}

#[test]
fn help_names_every_exit_status() {
    let help = out(&culvert(&["--help"]));
    for part in ["0 done; 1 the control plane refused", "2 wrong usage; 3 the control plane cannot be reached", "--json"] {
        assert!(help.contains(part), "{help}");
    }
}
