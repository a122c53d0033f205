//! The installed DPDK, as pkg-config describes it.

use std::env;
use std::process::Command;

use crate::Error;

/// Only what the allowlist needs; drivers are loaded by EAL at run time.
const LIBRARIES: &[&str] = &["rte_ethdev", "rte_mbuf", "rte_mempool", "rte_eal"];

/// Oldest and newest release the bindings are made for, both included.
const OLDEST: (u32, u32) = (22, 11);
const NEWEST: (u32, u32) = (25, 11);

/// Flags of the installed DPDK.
pub(crate) struct Dpdk {
    cflags: Vec<String>,
    library_folders: Vec<String>,
}

impl Dpdk {
    /// Asks pkg-config for libdpdk.
    ///
    /// # Errors
    /// When pkg-config or libdpdk is missing, or when the version is outside 22.11 to 25.11.
    pub(crate) fn find() -> Result<Self, Error> {
        for name in ["PKG_CONFIG", "PKG_CONFIG_PATH", "PKG_CONFIG_LIBDIR", "PKG_CONFIG_SYSROOT_DIR"] {
            println!("cargo::rerun-if-env-changed={name}");
        }
        let version = ask("--modversion")?.trim().to_owned();
        if !is_supported(&version) {
            return Err(Error::Version(version));
        }
        let words = |text: String| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        Ok(Self { cflags: words(ask("--cflags")?), library_folders: words(ask("--libs-only-L")?) })
    }

    /// The compiler flags exactly as pkg-config gives them, `-march` and `-include` among them.
    pub(crate) fn cflags(&self) -> &[String] {
        &self.cflags
    }

    pub(crate) fn print_link_directives(&self) {
        for folder in &self.library_folders {
            println!("cargo::rustc-link-search=native={}", folder.trim_start_matches("-L"));
        }
        for library in LIBRARIES {
            println!("cargo::rustc-link-lib=dylib={library}");
        }
    }
}

fn ask(question: &str) -> Result<String, Error> {
    let program = env::var_os("PKG_CONFIG").unwrap_or_else(|| "pkg-config".into());
    let answer = Command::new(program).args([question, "libdpdk"]).output().map_err(Error::NoPkgConfig)?;
    if !answer.status.success() {
        return Err(Error::NoDpdk(String::from_utf8_lossy(&answer.stderr).trim().to_owned()));
    }
    Ok(String::from_utf8_lossy(&answer.stdout).into_owned())
}

fn is_supported(version: &str) -> bool {
    let mut parts = version.split(['.', '-']).map(|part| part.parse::<u32>().ok());
    let (Some(Some(year)), Some(Some(month))) = (parts.next(), parts.next()) else { return false };
    (year, month) >= OLDEST && (year, month) <= NEWEST
}

#[cfg(test)]
mod tests {
    use super::is_supported;

    #[test]
    fn supported_range_ends_where_it_says() {
        for version in ["22.11", "22.11.11", "23.03.0", "24.11.1", "25.11.0", "25.11.0-rc1"] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["22.07.0", "21.11.9", "26.03.0", "25.12", "", "x.y", "22"] {
            assert!(!is_supported(version), "{version}");
        }
    }
}
