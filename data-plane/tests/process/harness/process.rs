//! The daemon under test.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use super::within;

/// The running daemon. Its log is printed where a test fails.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

/// A command in a namespace. nsenter and not `ip netns exec`, which mounts and so fails in a plain chroot.
pub(crate) fn in_namespace(namespace: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args([&format!("--net=/run/netns/{namespace}"), "--"]);
    command
}

impl Process {
    /// Starts the daemon in a namespace and waits for its socket.
    pub(crate) fn start(namespace: &str, folder: &Path, config: &str, eal: &[&str]) -> Self {
        let (file, log) = (folder.join("data.toml"), folder.join("data.log"));
        fs::write(&file, config).unwrap();
        let output = File::create(&log).unwrap();
        let child = in_namespace(namespace)
            .args([env!("CARGO_BIN_EXE_culvert-data"), "--config"])
            .arg(&file)
            .arg("--")
            .args(eal)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        let mut process = Self { child, log };
        let socket = folder.join("data.sock");
        within(Duration::from_secs(30), "the daemon's socket", || {
            assert_eq!(process.child.try_wait().unwrap(), None, "the daemon has ended:\n{}", process.log());
            socket.exists().then_some(())
        });
        process
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Process id: `nsenter` replaces itself by the daemon.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Asks the daemon to end, and waits until it has.
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        within(Duration::from_secs(20), "the end of the daemon", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.log());
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").field("id", &self.id()).finish_non_exhaustive()
    }
}
