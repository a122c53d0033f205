//! Any octets as an IKEv1 message, and as what was encrypted in one.
#![no_main]

#[path = "../../tests/isakmp/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
