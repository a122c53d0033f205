//! The build script of every program: writes into the ELF file which x86-64 level it was compiled for, so that the loader refuses an older CPU with
//! "CPU ISA level is lower than required" instead of letting the program die of an illegal instruction.

fn main() {
    // Only the flags it was built with change what it says.
    println!("cargo::rerun-if-env-changed=CARGO_CFG_TARGET_FEATURE");
    let built_for = |feature| std::env::var("CARGO_CFG_TARGET_FEATURE").is_ok_and(|features| features.split(',').any(|one| one == feature));
    if built_for("avx2") {
        // LLD, the default here, does not write the note.
        println!("cargo::rustc-link-arg-bins=-fuse-ld=bfd");
        println!("cargo::rustc-link-arg-bins=-Wl,-z,x86-64-v3");
    }
}
