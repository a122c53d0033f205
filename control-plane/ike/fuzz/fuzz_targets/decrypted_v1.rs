//! What authenticated peers may say by IKEv1, in any state.
#![no_main]

#[path = "../../tests/decrypted_v1/story.rs"]
mod story;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| drop(story::play(octets)));
