//! What a reader of a result needs to know about the machine and the build.

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fmt, fs};

use serde::Serialize;

/// The machine, the moment and the build of what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    date: String,
    cpu: String,
    kernel: String,
    /// Cargo's profile.
    profile: String,
    /// The x86-64 level that the bench was compiled for, with what it measures.
    isa: &'static str,
}

impl Machine {
    /// This one, now.
    pub(crate) fn this() -> Self {
        Self::running(profile())
    }

    /// The same for a program of another profile.
    pub(crate) fn running(profile: String) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self {
            date: date(now),
            cpu: field_of("/proc/cpuinfo", "model name"),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            profile,
            isa: if cfg!(target_feature = "avx2") { "x86-64-v3" } else { "x86-64" },
        }
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, Linux {}, profile {} for {}, {}", self.cpu, self.kernel, self.profile, self.isa, self.date)
    }
}

/// Cargo names the folder of a program after its profile, except for one.
fn profile() -> String {
    let folder = env::current_exe().ok().and_then(|path| Some(path.parent()?.file_name()?.to_string_lossy().into_owned()));
    folder.map_or_else(|| "unknown".to_owned(), |name| if name == "debug" { "dev".to_owned() } else { name })
}

/// The first value of `name` in a file of `name : value` lines.
fn field_of(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    value.map_or_else(|| "unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

/// RFC 3339, in UTC, of seconds since 1970.
fn date(seconds: u64) -> String {
    const DAY: u64 = 86_400;
    let (mut day, mut year) = (seconds / DAY, 1970);
    while day >= days_of_year(year) {
        day -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    let clock = seconds % DAY;
    format!("{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}Z", day + 1, clock / 3600, clock / 60 % 60, clock % 60)
}

fn days_of_year(year: u64) -> u64 {
    (1..=12).map(|month| days_of_month(year, month)).sum()
}

fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_as_date_prints_them() {
        // date -u -d @N +%FT%TZ
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date(seconds), text);
        }
    }
}
