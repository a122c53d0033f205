//! What authorities may have signed, and what anybody may show, as certificates, lists of revocations and answers of OCSP.
#![no_main]

#[path = "../../tests/x509/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
