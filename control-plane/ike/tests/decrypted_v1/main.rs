//! Messages of IKEv1 that are protected as they should be and say whatever they like: what a peer that holds the key may send.
#![allow(clippy::unwrap_used, reason = "test code")]

mod named;
mod story;

use std::fs;

use proptest::collection::vec;
use proptest::prelude::*;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/decrypted_v1");

/// What fuzzing found worth keeping (`scripts/fuzz decrypted_v1`), and what has broken others.
#[test]
fn the_corpus_breaks_nothing() {
    let corpus = fs::read_dir(CORPUS).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|octets| drop(story::play(octets)));
}

proptest! {
    #[test]
    fn any_story_breaks_nothing(octets in vec(any::<u8>(), 0..200)) {
        drop(story::play(&octets));
    }
}
