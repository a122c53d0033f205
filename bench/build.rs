//! Compiles the few lines of C that stand in front of intel-ipsec-mb, whose direct API is macros.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/peers/ipsec_mb.c");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "x86_64") {
        cc::Build::new().file("src/peers/ipsec_mb.c").compile("culvert_ipsec_mb");
        println!("cargo::rustc-link-lib=IPSec_MB");
    }
}
