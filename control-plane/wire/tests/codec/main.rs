//! Parsing and emitting as inverses, and parsing as a total function. The strategies build any message that octets can say.

mod exercise;
mod strategies;

use std::fs;

use exercise::exercise;
use ike_wire::{Chain, Encrypted, Message, PayloadType, emit_payloads, parse_payloads};
use proptest::collection::vec;
use proptest::prelude::*;

/// Makes the Length field of the header right, so that what follows is looked at.
fn with_true_length(mut datagram: Vec<u8>) -> Vec<u8> {
    let length = u32::try_from(datagram.len()).unwrap_or(u32::MAX);
    if let Some(field) = datagram.get_mut(24..28) {
        field.copy_from_slice(&length.to_be_bytes());
    }
    datagram
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn what_is_written_is_read_again(message in strategies::message()) {
        let octets = message.emit().unwrap();
        prop_assert_eq!(Message::parse(&octets), Ok(message));
    }

    #[test]
    fn an_inner_chain_is_read_again(payloads in strategies::inner_payloads()) {
        let Chain { first, octets } = emit_payloads(&payloads).unwrap();
        prop_assert_eq!(parse_payloads(first, &octets), Ok(payloads));
    }

    #[test]
    fn a_chain_cut_anywhere_is_refused(payloads in strategies::inner_payloads()) {
        let Chain { first, octets } = emit_payloads(&payloads).unwrap();
        for end in 0..octets.len() {
            prop_assert!(parse_payloads(first, &octets[..end]).is_err(), "cut at {} of {}", end, octets.len());
        }
        let longer = [&octets[..], &[0]].concat();
        prop_assert!(parse_payloads(first, &longer).is_err());
    }

    #[test]
    fn a_message_cut_anywhere_is_refused(message in strategies::message()) {
        let octets = message.emit().unwrap();
        for end in 0..octets.len() {
            let cut = &octets[..end];
            prop_assert!(Message::parse(cut).is_err(), "cut at {} of {}", end, octets.len());
            prop_assert!(Message::parse(&with_true_length(cut.to_vec())).is_err(), "cut at {} of {}, length mended", end, octets.len());
        }
    }

    #[test]
    fn a_framed_body_is_a_message(header in strategies::header(), first: u8, body in vec(any::<u8>(), 0..300)) {
        let first = PayloadType(first);
        let mut datagram = Encrypted::frame(&header, first, body.len()).unwrap();
        let associated_data = datagram.clone();
        datagram.extend_from_slice(&body);
        let message = Message::parse(&datagram).unwrap();
        let encrypted = Encrypted { first, body };
        prop_assert_eq!(encrypted.associated_data(&datagram), &associated_data[..]);
        prop_assert_eq!(message.encrypted(), Some(&encrypted));
        prop_assert_eq!(message.emit().unwrap(), datagram);
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in vec(any::<u8>(), 0..400)) {
        exercise(&octets);
    }

    #[test]
    fn any_payloads_are_read_or_refused(header in strategies::header(), first in 33..54u8, body in vec(any::<u8>(), 0..200)) {
        let mut datagram = Message { header, payloads: vec![] }.emit().unwrap();
        datagram[16] = first;
        // One payload of the right length around arbitrary octets: its body is always looked at.
        datagram.extend_from_slice(&[0, 0]);
        datagram.extend_from_slice(&u16::try_from(body.len() + 4).unwrap().to_be_bytes());
        datagram.extend_from_slice(&body);
        exercise(&with_true_length(datagram));
    }

    #[test]
    fn a_damaged_message_is_read_or_refused(
        message in strategies::message(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut octets = message.emit().unwrap();
        for (index, octet) in damage {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        exercise(&octets);
        exercise(&with_true_length(octets));
    }
}

/// What fuzzing found worth keeping (`scripts/fuzz message`).
#[test]
fn the_corpus_is_read_or_refused() {
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/message")).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|octets| exercise(octets));
}
