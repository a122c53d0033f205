//! IKEv1: parsing and emitting as inverses, and parsing as a total function.

mod exercise;

use std::fs;
use std::net::IpAddr;

use exercise::exercise;
use ike_wire::v1::{
    Attribute, AttributeValue, Attributes, Certificate, Chain, Delete, ExchangeType, Flags, Header, Identification, Message,
    NatOriginalAddress, Notify, NotifyType, Payload, PayloadType, Proposal, Protocol, Sa, Spelling, TransactionAttribute,
    TransactionAttributeType, TransactionValue, Transform, emit_payloads, parse_padded, parse_payloads,
};
use ike_wire::{CertificateEncoding, ConfigurationType};
use proptest::collection::vec;
use proptest::prelude::*;

fn octets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn header() -> impl Strategy<Value = Header> {
    (any::<(u64, u64, u8, bool, bool, bool, u32)>(), 0..16u8).prop_map(
        |((i, r, exchange, encryption, commit, authentication_only, id), minor)| {
            let flags = Flags { encryption, commit, authentication_only };
            Header { minor, ..Header::new(i, r, ExchangeType(exchange), flags, id) }
        },
    )
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value = prop_oneof![any::<u16>().prop_map(AttributeValue::Short), octets(10).prop_map(AttributeValue::Long)];
    (0..0x8000u16, value).prop_map(|(kind, value)| Attribute { kind, value })
}

fn sa() -> impl Strategy<Value = Sa> {
    let transform =
        (any::<u8>(), any::<u8>(), vec(attribute(), 0..6)).prop_map(|(number, id, attributes)| Transform { number, id, attributes });
    let proposal = (any::<u8>(), any::<u8>(), octets(9), vec(transform, 1..5));
    let proposal =
        proposal.prop_map(|(number, protocol, spi, transforms)| Proposal { number, protocol: Protocol(protocol), spi, transforms });
    vec(proposal, 1..4).prop_map(|proposals| Sa { proposals })
}

fn delete() -> impl Strategy<Value = Delete> {
    (any::<u32>(), any::<u8>(), 1..17usize).prop_flat_map(|(doi, protocol, len)| {
        vec(vec(any::<u8>(), len), 1..5).prop_map(move |spis| Delete { doi, protocol: Protocol(protocol), spis })
    })
}

fn payload() -> impl Strategy<Value = Payload> {
    let certificate = || (any::<u8>(), octets(40)).prop_map(|(e, data)| Certificate { encoding: CertificateEncoding(e), data });
    let spelling = || prop_oneof![Just(Spelling::Standard), Just(Spelling::Draft)];
    let identification = (any::<(u8, u8, u16)>(), octets(33))
        .prop_map(|((id_type, protocol, port), data)| Payload::Identification(Identification { id_type, protocol, port, data }));
    let notify = (any::<(u32, u8, u16)>(), octets(17), octets(20)).prop_map(|((doi, protocol, kind), spi, data)| {
        Payload::Notify(Notify { doi, protocol: Protocol(protocol), spi, kind: NotifyType(kind), data })
    });
    let unknown = (any::<u8>(), octets(20)).prop_filter_map("read here, or ending the chain", |(kind, body)| {
        let read = kind == 0 || (1..=14).contains(&kind) && kind != 2 && kind != 3 || [20, 21, 130, 131, 132].contains(&kind);
        (!read).then_some(Payload::Unknown(PayloadType(kind), body))
    });
    let value =
        prop_oneof![any::<u16>().prop_map(TransactionValue::Short), octets(20).prop_map(|octets| TransactionValue::Long(octets.into()))];
    let attribute = (0..0x8000u16, value).prop_map(|(kind, value)| TransactionAttribute { kind: TransactionAttributeType(kind), value });
    let transaction = (any::<(u8, u16)>(), vec(attribute, 0..6)).prop_map(|((kind, identifier), attributes)| {
        Payload::Attributes(Attributes { kind: ConfigurationType(kind), identifier, attributes })
    });
    prop_oneof![
        transaction,
        sa().prop_map(Payload::Sa),
        octets(80).prop_map(Payload::KeyExchange),
        identification,
        certificate().prop_map(Payload::Cert),
        certificate().prop_map(Payload::CertReq),
        octets(64).prop_map(Payload::Hash),
        octets(64).prop_map(Payload::Signature),
        octets(40).prop_map(Payload::Nonce),
        notify,
        delete().prop_map(Payload::Delete),
        octets(20).prop_map(Payload::VendorId),
        (spelling(), octets(20)).prop_map(|(spelling, hash)| Payload::NatDetection(spelling, hash)),
        (spelling(), any::<IpAddr>()).prop_map(|(spelling, address)| Payload::NatOriginalAddress(NatOriginalAddress { spelling, address })),
        unknown,
    ]
}

fn payloads() -> impl Strategy<Value = Vec<Payload>> {
    vec(payload(), 0..6)
}

fn message(header: Header, payloads: &[Payload]) -> Vec<u8> {
    let Chain { first, octets } = emit_payloads(payloads).expect("payloads that octets can say");
    Message { header, first, body: &octets }.emit().expect("short")
}

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
    fn what_is_written_is_read_again(header in header(), payloads in payloads()) {
        let datagram = message(header, &payloads);
        let read = Message::parse(&datagram).unwrap();
        prop_assert_eq!(read.header, header);
        prop_assert_eq!(parse_payloads(read.first, read.body), Ok(payloads));
    }

    #[test]
    fn a_chain_cut_anywhere_is_refused(payloads in payloads()) {
        let Chain { first, octets } = emit_payloads(&payloads).unwrap();
        for end in 0..octets.len() {
            prop_assert!(parse_payloads(first, &octets[..end]).is_err(), "cut at {} of {}", end, octets.len());
            prop_assert!(parse_padded(first, &octets[..end]).is_err(), "cut at {} of {}", end, octets.len());
        }
    }

    #[test]
    fn padding_changes_nothing(payloads in payloads(), padding in octets(16)) {
        let Chain { first, octets } = emit_payloads(&payloads).unwrap();
        let length = octets.len();
        prop_assert_eq!(parse_padded(first, &[octets, padding].concat()), Ok((payloads, length)));
    }

    #[test]
    fn any_octets_are_read_or_refused(octets in vec(any::<u8>(), 0..400)) {
        exercise(&octets);
    }

    #[test]
    fn any_payloads_are_read_or_refused(header in header(), first in 0..22u8, body in vec(any::<u8>(), 0..200)) {
        // One payload of the right length around arbitrary octets: its body is always looked at.
        let length = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
        let body = [&[0, 0, length[0], length[1]][..], &body].concat();
        exercise(&Message { header, first: PayloadType(first), body: &body }.emit().unwrap());
    }

    #[test]
    fn a_damaged_message_is_read_or_refused(
        header in header(), payloads in payloads(), damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..5),
    ) {
        let mut octets = message(header, &payloads);
        for (index, octet) in damage {
            let at = index.index(octets.len());
            octets[at] = octet;
        }
        exercise(&octets);
        exercise(&with_true_length(octets));
    }
}

/// What fuzzing found worth keeping (`scripts/fuzz isakmp`), and what has hurt others: the names say what.
#[test]
fn the_corpus_is_read_or_refused() {
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/isakmp")).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(!files.is_empty());
    files.iter().for_each(|octets| exercise(octets));
}

/// RESERVED fields are sent as zero; what they hold is ignored (RFC 2408 section 3.2: "Unused, set to 0"). Offsets from the generic header on.
#[test]
fn reserved_fields_are_sent_as_zero_and_ignored() {
    let transform = Transform { number: 1, id: Transform::KEY_IKE, attributes: vec![] };
    let sa = Sa { proposals: vec![Proposal { number: 1, protocol: Protocol::ISAKMP, spi: vec![], transforms: vec![transform] }] };
    let address = NatOriginalAddress { spelling: Spelling::Standard, address: "192.0.2.1".parse().unwrap() };
    let question = TransactionAttribute::empty(TransactionAttributeType::IP4_ADDRESS);
    let transaction = Attributes { kind: ConfigurationType::REQUEST, identifier: 1, attributes: vec![question] };
    let cases: [(Payload, &[usize]); 4] = [
        (Payload::Attributes(transaction), &[1, 5]),
        // The proposal begins at 12, its only transform at 20.
        (Payload::Sa(sa), &[1, 13, 21, 26, 27]),
        (Payload::NatOriginalAddress(address), &[1, 5, 6, 7]),
        (Payload::VendorId(vec![1]), &[1]),
    ];
    for (payload, reserved) in cases {
        let Chain { first, octets } = emit_payloads(std::slice::from_ref(&payload)).unwrap();
        for at in reserved {
            assert_eq!(octets[*at], 0, "{payload:?}, octet {at}");
            let mut spoilt = octets.clone();
            spoilt[*at] = 0xff;
            assert_eq!(parse_payloads(first, &spoilt), Ok(vec![payload.clone()]), "octet {at}");
        }
    }
}
