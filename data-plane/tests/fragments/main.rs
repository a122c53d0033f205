//! Fragments of strangers, in any order, overlapping, or not fragments at all.

mod exercise;

use std::fs;

use exercise::exercise;
use proptest::collection::vec;
use proptest::prelude::*;

/// What fuzzing found worth keeping (`scripts/fuzz fragments`).
#[test]
fn the_corpus_breaks_nothing() {
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/fragments")).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|octets| exercise(octets));
}

proptest! {
    #[test]
    fn any_fragments_break_nothing(octets in vec(any::<u8>(), 0..300)) {
        exercise(&octets);
    }
}
