//! The file as it is written, before anything is checked but its shape.

use std::ops::Range;
use std::path::PathBuf;

use serde::Deserialize;
use toml::Spanned;

use super::{Idle, Role};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Raw {
    pub(super) socket: Spanned<PathBuf>,
    pub(super) allowed_uids: Option<Spanned<Vec<u32>>>,
    pub(super) workers: Spanned<Vec<Spanned<usize>>>,
    #[serde(default)]
    pub(super) idle: Idle,
    pub(super) receive_burst: Option<Spanned<u16>>,
    pub(super) kernel: Option<Spanned<String>>,
    pub(super) port: Spanned<Vec<RawPort>>,
    #[serde(default)]
    pub(super) route: Vec<RawRoute>,
    #[serde(default)]
    pub(super) neighbor: Vec<RawNeighbor>,
    #[serde(default)]
    pub(super) sad: RawSad,
    #[serde(default)]
    pub(super) spd: RawSpd,
    #[serde(default)]
    pub(super) icmp: RawIcmp,
    #[serde(default)]
    pub(super) tcp: RawTcp,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPort {
    pub(super) name: Spanned<String>,
    pub(super) role: Role,
    #[serde(default = "no_addresses")]
    pub(super) addresses: Spanned<Vec<Spanned<String>>>,
    pub(super) mtu: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    pub(super) prefix: Spanned<String>,
    pub(super) via: Spanned<String>,
    pub(super) port: Option<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawNeighbor {
    pub(super) address: Spanned<String>,
    pub(super) mac: Spanned<String>,
    pub(super) port: Option<Spanned<String>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSad {
    pub(super) slots: Option<Spanned<u32>>,
    pub(super) first_generation: Option<Spanned<u16>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSpd {
    pub(super) slots: Option<Spanned<u32>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawIcmp {
    pub(super) errors_per_second: Option<Spanned<u32>>,
    pub(super) path_mtu: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTcp {
    pub(super) clamp_mss: Option<bool>,
}

fn no_addresses() -> Spanned<Vec<Spanned<String>>> {
    Spanned::new(0..0, Vec::new())
}

/// A fault, before its place in the text has become a line.
pub(super) struct Fault {
    pub(super) span: Range<usize>,
    pub(super) field: String,
    pub(super) problem: String,
}

impl Fault {
    pub(super) fn new<T>(at: &Spanned<T>, field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { span: at.span(), field: field.into(), problem: problem.into() }
    }

    /// What the parser refuses: the field is the key on its line.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let field = line.split('=').next().unwrap_or_default().trim();
        let message = error.message().replace('\n', ", ");
        Self { span, field: if field.is_empty() { "file".to_owned() } else { field.to_owned() }, problem: message }
    }
}
