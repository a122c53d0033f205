//! Whatever a RADIUS server or somebody in its place may send, and whatever the peer says through it.
#![no_main]

#[path = "../../tests/radius/exercise.rs"]
mod exercise;
#[allow(dead_code, reason = "the tests of ike-crypto need more of it")]
#[path = "../../tests/radius/server.rs"]
mod server;

libfuzzer_sys::fuzz_target!(|octets: &[u8]| exercise::exercise(octets));
