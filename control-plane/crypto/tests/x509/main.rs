//! What the fuzz target `x509` has found worth keeping.
#![allow(clippy::unwrap_used, reason = "test code")]

mod exercise;

use std::fs;

#[test]
fn the_corpus_is_read_or_refused() {
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/x509")).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 30, "{}", files.len());
    files.iter().for_each(|octets| exercise::exercise(octets));
}
