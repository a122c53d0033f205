//! Undoes what a test did to the machine, whatever becomes of the test.

use std::process::{Child, Command, Stdio};

/// A process that waits for the end of this one, or of this value, and then runs a shell script. It does not hear the signals that end a test.
#[derive(Debug)]
pub(crate) struct Guardian(Child);

impl Guardian {
    pub(crate) fn new(script: &str) -> Self {
        let script = format!("trap '' INT TERM HUP; cat >/dev/null; {script}");
        Self(Command::new("sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("sh"))
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // The end of its input is the sign.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
