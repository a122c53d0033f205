//! Children of this program that measure, and what keeps other programs from interrupting them.
//!
//! With real-time priority (SCHED_FIFO, by util-linux's `chrt`, as root) nothing but the kernel and the hypervisor takes a worker off its core. The
//! child's main thread precedes its workers, else it could not end what it started.

use std::env;
use std::process::{Command, Stdio};

use serde::de::DeserializeOwned;

use crate::error::{Context, Failure};

/// How threads that measure are scheduled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheduling {
    /// As every other program: SCHED_OTHER.
    Shared,
    /// Before every other program: SCHED_FIFO.
    Realtime,
}

impl Scheduling {
    /// Real-time, where this process may.
    pub(crate) fn best() -> Self {
        let granted = Command::new("chrt").args(["-R", "-f", "2", "true"]).stdin(Stdio::null()).stderr(Stdio::null()).status();
        if granted.is_ok_and(|status| status.success()) { Self::Realtime } else { Self::Shared }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Realtime => "realtime",
        }
    }

    /// Runs this program with other arguments, and reads what it answers.
    pub(crate) fn run<T: DeserializeOwned>(self, arguments: &[String]) -> Result<T, Failure> {
        let own = env::current_exe().context("this program's own path")?;
        let mut command = match self {
            Self::Shared => Command::new(own),
            Self::Realtime => {
                // Reset on fork: threads of the child begin as every other.
                let mut command = Command::new("chrt");
                command.args(["-R", "-f", "2"]).arg(own);
                command
            }
        };
        command.args(arguments).args(["--scheduling", self.name()]);
        let output = command.stdin(Stdio::null()).output().context("child process")?;
        if !output.status.success() {
            return Err(Failure(format!("{}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())));
        }
        serde_json::from_slice(&output.stdout).context("the child's answer")
    }

    /// In the child: gives a thread its place.
    pub(crate) fn promote(self, thread: u32) -> Result<(), Failure> {
        if self == Self::Shared {
            return Ok(());
        }
        let status = Command::new("chrt").args(["-f", "-p", "1", &thread.to_string()]).stdin(Stdio::null()).status().context("chrt")?;
        status.success().then_some(()).context("chrt refuses")
    }
}

/// The calling thread, as the operating system knows it.
pub(crate) fn own_thread() -> u32 {
    rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned()
}
