//! The committed vectors are still what the independent computations print, which first check themselves against what others published.

use std::path::Path;
use std::process::Command;

fn check(script: &str, vectors: &str) {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("/usr/bin/python3")
        .arg(here.join("tests/vectors").join(script))
        .arg("--check")
        .arg(here.join(vectors))
        .output()
        .expect("/usr/bin/python3 is missing: run scripts/setup");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_committed_key_derivation_vectors_are_what_the_script_computes() {
    check("derive.py", "../ike/tests/vectors/ike-keys.json");
}

#[test]
fn the_committed_vectors_of_ikev1_are_what_the_script_computes() {
    check("derive_ikev1.py", "../ike/tests/vectors/ikev1-keys.json");
}

#[test]
fn the_committed_rsa_signatures_of_ikev1_are_what_the_script_computes() {
    check("rsa_bare.py", "tests/vectors/rsa-bare.json");
}

#[test]
fn the_committed_modp_vectors_are_what_the_script_computes() {
    check("modp.py", "tests/vectors/modp.json");
}
