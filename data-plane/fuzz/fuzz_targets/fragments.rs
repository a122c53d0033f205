//! What strangers may send in fragments to the gateway's own addresses.
#![no_main]

#[path = "../../tests/fragments/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
