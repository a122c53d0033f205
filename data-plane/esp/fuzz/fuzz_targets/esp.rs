//! What may arrive at an SA, with and without its key.
#![no_main]

#[path = "../../tests/inbound/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
