//! Parsing and emitting as inverses, and parsing as a total function. The strategies build any message that octets can say.

mod exercise;
mod strategies;

use std::fs;

use exercise::exercise;
use ike_wire::{
    Auth, AuthMethod, Chain, Configuration, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType, Encrypted,
    Identification, KeyExchange, Message, Payload, PayloadType, Proposal, Protocol, Sa, Transform, TransformType, emit_payloads,
    parse_payloads,
};
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

/// Where fields are reserved: "MUST be sent as zero; MUST be ignored on receipt" (RFC 7296 section 2.5). Offsets from the generic header on, from
/// the drawings of section 3; with the bits of the octet that are.
#[test]
fn reserved_fields_are_sent_as_zero_and_ignored() {
    let configuration = Configuration {
        kind: ConfigurationType::REQUEST,
        attributes: vec![ConfigurationAttribute::empty(ConfigurationAttributeType::IP4_ADDRESS)],
    };
    let identification = Identification::from(&"10.0.0.1".parse().unwrap());
    let cases: [(Payload, &[(usize, u8)]); 8] = [
        // The proposal begins at 4, its only transform at 12.
        (
            Payload::Sa(Sa::offer([Proposal {
                number: 1,
                protocol: Protocol::IKE,
                spi: vec![],
                transforms: vec![Transform::new(TransformType::ENCR, 20, Some(128))],
            }])),
            &[(5, 0xff), (13, 0xff), (17, 0xff)],
        ),
        (Payload::KeyExchange(KeyExchange { method_id: 31, data: vec![1; 32] }), &[(6, 0xff), (7, 0xff)]),
        (Payload::IdInitiator(identification.clone()), &[(5, 0xff), (6, 0xff), (7, 0xff)]),
        (Payload::IdResponder(identification), &[(5, 0xff), (6, 0xff), (7, 0xff)]),
        (Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: vec![1; 32] }), &[(5, 0xff), (6, 0xff), (7, 0xff)]),
        (Payload::TsInitiator(["10.0.0.0/8".parse().unwrap()].into_iter().collect()), &[(5, 0xff), (6, 0xff), (7, 0xff)]),
        // The first attribute begins at 8 with the reserved bit.
        (Payload::Configuration(configuration), &[(5, 0xff), (6, 0xff), (7, 0xff), (8, 0x80)]),
        (Payload::VendorId(vec![1]), &[]),
    ];
    for (payload, reserved) in cases {
        let Chain { first, octets } = emit_payloads(std::slice::from_ref(&payload)).unwrap();
        // The critical bit and RESERVED of the generic header.
        for (at, bits) in [(1, 0x80), (1, 0x7f)].iter().chain(reserved) {
            assert_eq!(octets[*at] & bits, 0, "{payload:?}, octet {at}");
            let mut spoilt = octets.clone();
            spoilt[*at] |= bits;
            let read = parse_payloads(first, &spoilt).unwrap().remove(0);
            match (&read, &payload) {
                // Kept, as AUTH covers it, but without meaning.
                (Payload::IdInitiator(read) | Payload::IdResponder(read), Payload::IdInitiator(sent) | Payload::IdResponder(sent)) => {
                    assert_eq!(read.identity(), sent.identity());
                }
                _ => assert_eq!(read, payload, "octet {at}"),
            }
        }
    }
}
