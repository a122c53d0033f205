//! The command as a process.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

#[test]
fn a_reader_that_has_seen_enough_ends_the_command_quietly() {
    let (read, write) = UnixStream::pair().unwrap();
    drop(read);
    let mut command = Command::new(env!("CARGO_BIN_EXE_culvert"));
    command.args(["--socket", "/nowhere", "version"]).stdout(Stdio::from(OwnedFd::from(write))).stderr(Stdio::piped());
    let output = command.output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}
