//! The vectors of IKE's key derivation are still what the independent computation prints, which first checks itself against NIST's samples.

use std::path::Path;
use std::process::Command;

#[test]
fn the_committed_key_derivation_vectors_are_what_the_script_computes() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("python3")
        .arg(here.join("tests/vectors/derive.py"))
        .arg("--check")
        .arg(here.join("../ike/tests/vectors/ike-keys.json"))
        .output()
        .expect("python3 runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
