//! Any octets as an IKE message, and as a chain of payloads.
#![no_main]

#[path = "../../tests/codec/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
