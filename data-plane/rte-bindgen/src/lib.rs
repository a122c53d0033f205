//! Finds libdpdk and makes Rust bindings for a narrow list of its names.
//!
//! A build dependency of `dpdk-sys`, nothing else. [`generate`] asks pkg-config for an installed DPDK, compiles the few C shims in
//! `shims/`, writes `dpdk.rs` to the build's output folder and tells cargo what to link. Bindings are made on the machine that
//! builds, so they always match the headers and libraries that are installed there.

mod pkg;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use pkg::Dpdk;

/// Functions of DPDK that the `dpdk` crate calls, and the shims that stand in for inline ones.
const FUNCTIONS: &[&str] = &[
    "culvert_.*",
    "rte_eal_cleanup",
    "rte_eal_init",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_name_by_port",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_set_mtu",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_find_next_owned_by",
    "rte_eth_macaddr_get",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_tx_queue_setup",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_copy",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create_by_ops",
    "rte_strerror",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
];

/// Types that no listed function names but that Rust handles by value.
const TYPES: &[&str] = &["rte_eth_rx_mq_mode"];

/// Constants and the table of burst functions.
const VARIABLES: &[&str] = &["CULVERT_.*", "LCORE_ID_ANY", "RTE_ETH_NAME_MAX_LEN", "RTE_MAX_ETHPORTS", "rte_eth_fp_ops"];

/// What can go wrong while the bindings are made; each message says what to install or set.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// pkg-config itself cannot be run.
    #[error("cannot run pkg-config: install it (Debian: apt-get install pkg-config): {0}")]
    NoPkgConfig(io::Error),
    /// pkg-config knows no libdpdk.
    #[error("libdpdk was not found: install DPDK's headers (Debian: apt-get install libdpdk-dev). pkg-config says: {0}")]
    NoDpdk(String),
    /// The installed DPDK is outside the supported range.
    #[error("DPDK {0} is installed, but 22.11 to 25.11 is needed (Debian 12: apt-get install libdpdk-dev)")]
    Version(String),
    /// libclang is missing or refused the headers.
    #[error("bindgen failed; if libclang is missing, install it (Debian: apt-get install libclang-14-dev clang-14): {0}")]
    Bindgen(#[from] bindgen::BindgenError),
    /// The C compiler is missing or refused the shims.
    #[error("the C shims do not compile; if the compiler is missing, install it (Debian: apt-get install build-essential): {0}")]
    Shims(#[from] cc::Error),
    /// The output folder cannot be written.
    #[error("cannot write {0}: {1}")]
    Output(String, io::Error),
}

/// Writes `dpdk.rs` and the compiled shims to `output` (cargo's `OUT_DIR`) and prints cargo's link directives.
///
/// # Errors
/// When DPDK, libclang or the C compiler are missing or do not fit; the message names the package to install.
pub fn generate(output: &Path) -> Result<(), Error> {
    let dpdk = Dpdk::find()?;
    let header = write_shims(output)?;
    compile_shims(&dpdk, output)?;
    write_bindings(&dpdk, &header, &output.join("dpdk.rs"))?;
    dpdk.print_link_directives();
    Ok(())
}

/// The folder of the libclang to use when several are installed and `LIBCLANG_PATH` is not set: LLVM 14 where there is one,
/// since that is the one these bindings are tested with. The caller sets `LIBCLANG_PATH` to it.
#[must_use]
pub fn preferred_libclang() -> Option<PathBuf> {
    let pinned = PathBuf::from("/usr/lib/llvm-14/lib");
    (std::env::var_os("LIBCLANG_PATH").is_none() && pinned.join("libclang.so.1").exists()).then_some(pinned)
}

fn write_shims(output: &Path) -> Result<PathBuf, Error> {
    let header = output.join("shims.h");
    for (path, text) in [(&header, include_str!("../shims/shims.h")), (&output.join("shims.c"), include_str!("../shims/shims.c"))] {
        fs::write(path, text).map_err(|e| Error::Output(path.display().to_string(), e))?;
    }
    Ok(header)
}

/// The flags are pkg-config's own: DPDK's inline functions depend on its `-march` and on its configuration header.
fn compile_shims(dpdk: &Dpdk, output: &Path) -> Result<(), Error> {
    let mut build = cc::Build::new();
    build.file(output.join("shims.c")).out_dir(output).opt_level(2);
    for flag in dpdk.cflags() {
        build.flag(flag);
    }
    build.try_compile("culvert_shims")?;
    Ok(())
}

fn write_bindings(dpdk: &Dpdk, header: &Path, output: &Path) -> Result<(), Error> {
    let mut builder = bindgen::Builder::default()
        .header(header.to_string_lossy())
        .clang_args(dpdk.cflags())
        .use_core()
        .derive_default(true)
        .generate_comments(false)
        .allowlist_recursively(true)
        // Thread-local in C, but bindgen would make plain statics of them: reading one would read some other thread's memory.
        .blocklist_item("per_lcore_.*")
        // Never looked into by name: the offsets come from the shims' header.
        .opaque_type("rte_mbuf")
        .opaque_type("rte_mempool");
    builder = FUNCTIONS.iter().fold(builder, |b, name| b.allowlist_function(name));
    builder = TYPES.iter().fold(builder, |b, name| b.allowlist_type(name));
    builder = VARIABLES.iter().fold(builder, |b, name| b.allowlist_var(name));
    let bindings = builder.generate()?;
    bindings.write_to_file(output).map_err(|e| Error::Output(output.display().to_string(), e))
}
