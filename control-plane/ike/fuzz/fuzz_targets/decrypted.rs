//! What authenticated peers may say, in any state.
#![no_main]

#[path = "../../tests/decrypted/story.rs"]
mod story;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| story::play(octets));
