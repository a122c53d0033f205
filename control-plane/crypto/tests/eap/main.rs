//! What the fuzz target `eap` has found worth keeping, and what it starts from.
#![allow(clippy::unwrap_used, reason = "test code")]

mod exercise;

use std::fs;

#[test]
fn the_corpus_is_answered_or_refused() {
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/eap")).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 20, "{}", files.len());
    files.iter().for_each(|octets| exercise::exercise(octets));
}
