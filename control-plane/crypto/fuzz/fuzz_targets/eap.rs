//! What either side may say in EAP, by every method.
#![no_main]

#[path = "../../tests/eap/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
