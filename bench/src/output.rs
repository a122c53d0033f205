//! What every benchmark is asked, and how it answers.

use std::fmt::Display;

use serde::Serialize;

use crate::eal::Memory;
use crate::error::{Context, Failure};

/// How much, and in which form.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Output {
    /// Print JSON instead of tables.
    #[arg(long)]
    json: bool,
    /// A little of everything: shows that it works, not how fast.
    #[arg(long)]
    pub(crate) quick: bool,
}

impl Output {
    /// Prints a report in the form that was asked for.
    pub(crate) fn print(self, report: &impl Serialize, table: impl Display) -> Result<(), Failure> {
        if self.json {
            println!("{}", serde_json::to_string_pretty(report).context("JSON")?);
        } else {
            print!("{table}");
        }
        Ok(())
    }
}

/// In which memory packets are.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Pages {
    /// Use huge pages (reserve them first: echo 512 > /proc/sys/vm/nr_hugepages).
    #[arg(long)]
    pub(crate) hugepages: bool,
}

impl Pages {
    pub(crate) fn memory(self) -> Memory {
        Memory::of(self.hugepages)
    }
}
