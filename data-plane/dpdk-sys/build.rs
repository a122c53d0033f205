//! Makes the bindings with `rte-bindgen`.

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=LIBCLANG_PATH");
    if let Some(folder) = rte_bindgen::preferred_libclang() {
        // SAFETY: this is the first thing a program without other threads does.
        unsafe { env::set_var("LIBCLANG_PATH", folder) };
    }
    let Some(output) = env::var_os("OUT_DIR").map(PathBuf::from) else {
        println!("cargo::error=OUT_DIR is not set: this is a cargo build script");
        return ExitCode::FAILURE;
    };
    match rte_bindgen::generate(&output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", error.to_string().replace('\n', " "));
            ExitCode::FAILURE
        }
    }
}
