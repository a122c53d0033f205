//! What a peer may say that means nothing here, or that is its own affair: it is passed over, and the rest counts (RFC 7296 sections 2.5, 2.18,
//! 3.3.6, 3.10.1, 3.12 and 3.14). The peer's part is written by hand.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::error::Failure;
use ike::io::{Datagram, Input};
use ike_wire::{
    Configuration, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType, Encrypted, ExchangeType, Flags, Header,
    KeyExchange, Message, Nonce, Notify, NotifyType, Payload, PayloadType, Proposal, Protocol, Sa, TrafficSelectors, Transform,
    TransformType, Unknown, Version, emit_payloads, parse_payloads,
};
use ipsec_types::{IkeSpi, KeyExchangeMethod, Spi};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, config, esp, net};

const SECOND: Duration = Duration::from_secs(1);
const SUITE: Clear = Clear(b"ICV!");

fn connected() -> Pair {
    let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 5, config(A), config(B));
    pair.connect();
    pair
}

/// The header of a message of B, the responder, to A.
fn header(pair: &mut Pair, exchange: ExchangeType, response: bool, message_id: u32) -> Header {
    let sa = pair.ike_sas(A).remove(0);
    let flags = Flags { initiator: false, response, version: false };
    let responder_spi = sa.responder_spi.unwrap().value();
    Header { initiator_spi: sa.initiator_spi.value(), responder_spi, version: Version::V2, exchange, flags, message_id }
}

fn give(pair: &mut Pair, payload: Vec<u8>) {
    let [local, remote] = [A, B].map(|side| SocketAddr::new(side.address(), 4500));
    pair.input(A, Input::Datagram(Datagram { local, remote, payload }));
}

/// What A answers to the request with this Message ID.
fn ask(pair: &mut Pair, exchange: ExchangeType, message_id: u32, payloads: &[Payload]) -> Vec<Payload> {
    let header = header(pair, exchange, false, message_id);
    give(pair, SUITE.seal(&header, payloads));
    answer(pair, message_id)
}

/// The last message of A, which is the response with this Message ID.
fn answer(pair: &Pair, message_id: u32) -> Vec<Payload> {
    let message = Message::parse(&pair.sent.last().unwrap().datagram.payload).unwrap();
    assert_eq!((message.header.flags.response, message.header.message_id), (true, message_id));
    let encrypted = message.encrypted().unwrap();
    parse_payloads(encrypted.first, &encrypted.body[..encrypted.body.len() - SUITE.0.len() - 1]).unwrap()
}

fn notify(kind: u16) -> Payload {
    Payload::Notify(Notify::new(NotifyType(kind), vec![1, 2, 3]))
}

#[test]
fn what_is_not_known_and_not_critical_is_passed_over() {
    let mut pair = connected();
    let unknown = |body| Payload::Unknown(Unknown { payload_type: PayloadType(200), critical: false, body });
    let foreign = Notify { protocol: Protocol(77), ..Notify::new(NotifyType::INITIAL_CONTACT, vec![]) };
    let meaningless: [&[Payload]; 6] = [
        &[unknown(vec![]), unknown(vec![9; 40])],
        // An error, a status, and a status of private use that nobody has defined.
        &[notify(8191), notify(40_000), notify(65_535)],
        &[Payload::VendorId(b"somebody".to_vec()), Payload::VendorId(vec![])],
        // The protocol counts for nothing where there is no SPI.
        &[Payload::Notify(foreign)],
        // Cookies are for IKE_SA_INIT.
        &[notify(NotifyType::COOKIE.0)],
        &[],
    ];
    for (message_id, payloads) in (0..).zip(meaningless) {
        assert_eq!(ask(&mut pair, ExchangeType::INFORMATIONAL, message_id, payloads), [], "{payloads:?}");
    }
    assert_eq!((pair.established(A), pair.assert_mirrored()), (1, 1));
    // The same, but critical: refused, and the IKE SA stays (section 2.21.3).
    let critical = Payload::Unknown(Unknown { payload_type: PayloadType(200), critical: true, body: vec![] });
    let refusal = Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![200]);
    assert_eq!(ask(&mut pair, ExchangeType::INFORMATIONAL, 6, &[critical]), [Payload::Notify(refusal)]);
    assert_eq!(pair.established(A), 1);
}

/// "Unrecognized or unsupported attributes MUST be ignored" (section 3.15.1), as is 5, which was INTERNAL_ADDRESS_EXPIRY (section 1.7); our version
/// is not told (section 2.20), and what somebody wants to set is not set.
#[test]
fn of_what_is_asked_outside_of_ike_auth_the_version_alone_is_answered() {
    let mut pair = connected();
    let attribute = |kind, value: &[u8]| ConfigurationAttribute { kind: ConfigurationAttributeType(kind), value: value.to_vec() };
    let others = [attribute(5, &[0, 0, 14, 16]), attribute(30_000, b"?"), attribute(14, &[]), attribute(1, &[])];
    let version = attribute(ConfigurationAttributeType::APPLICATION_VERSION.0, &[]);
    let cp = |kind, attributes: Vec<ConfigurationAttribute>| Payload::Configuration(Configuration { kind, attributes });
    let with_version = [&others[..], std::slice::from_ref(&version)].concat();
    let reply = cp(ConfigurationType::REPLY, vec![version]);
    for (message_id, (asked, answered)) in (0..).zip([
        (cp(ConfigurationType::REQUEST, with_version.clone()), vec![reply]),
        (cp(ConfigurationType::REQUEST, others.to_vec()), vec![]),
        (cp(ConfigurationType::SET, with_version.clone()), vec![]),
        (cp(ConfigurationType(99), with_version), vec![]),
    ]) {
        assert_eq!(ask(&mut pair, ExchangeType::INFORMATIONAL, message_id, &[asked]), answered);
    }
    assert_eq!((pair.established(A), pair.assert_mirrored()), (1, 1));
}

/// The critical bit of what is known means nothing (section 2.5).
#[test]
fn a_known_payload_may_be_marked_critical() {
    let mut pair = connected();
    let header = header(&mut pair, ExchangeType::INFORMATIONAL, false, 0);
    let mut octets = SUITE.seal(&header, &[notify(40_000)]);
    octets[Header::LEN + 1] = 0xff;
    octets[Header::LEN + 4 + 1] = 0xff;
    give(&mut pair, octets);
    assert_eq!(answer(&pair, 0), []);
}

/// "An implementation receiving a Notify payload with one of these types that it does not recognize in a response MUST assume that the
/// corresponding request has failed entirely" (section 3.10.1). A status is no answer either.
#[test]
fn an_error_nobody_knows_fails_the_request_it_answers() {
    for (kind, refused) in [(8191, true), (NotifyType::SINGLE_PAIR_REQUIRED.0, true), (40_000, false)] {
        let mut pair = connected();
        pair.deaf = Some(B);
        let request = pair.rekey(A, net());
        let header = header(&mut pair, ExchangeType::CREATE_CHILD_SA, true, 2);
        give(&mut pair, SUITE.seal(&header, &[notify(kind)]));
        match pair.answer(A, request) {
            Some(Err(Failure::Refused(NotifyType(said), _))) => assert_eq!((said, refused), (kind, true)),
            other => assert!(!refused && !matches!(other, Some(Ok(_))), "{kind}: {other:?}"),
        }
        assert_eq!(pair.installed(A), if refused { 1 } else { pair.installed(A) });
    }
}

/// "The recipient MUST accept any length that results in proper alignment" (section 3.14), whatever stands there.
#[test]
fn any_padding_is_taken() {
    let mut pair = connected();
    for (message_id, padding) in (0..).zip(0..=255) {
        let header = header(&mut pair, ExchangeType::INFORMATIONAL, false, message_id);
        let chain = emit_payloads(&[notify(40_000)]).unwrap();
        let body_len = chain.octets.len() + usize::from(padding) + 1 + SUITE.0.len();
        let mut octets = Encrypted::frame(&header, chain.first, body_len).unwrap();
        octets.extend(chain.octets);
        octets.extend(vec![0xa5; padding.into()]);
        octets.push(padding);
        octets.extend(SUITE.0);
        give(&mut pair, octets);
        assert_eq!(answer(&pair, message_id), []);
    }
}

fn child_request(transforms: &[Transform]) -> Vec<Payload> {
    let mut proposal = Proposal::child(&esp("aes128gcm16"), Spi::new(0xcccc_0001).unwrap());
    proposal.transforms.extend(transforms.iter().cloned());
    let net = |text: &str| -> TrafficSelectors { [text.parse().unwrap()].into_iter().collect() };
    vec![
        Payload::Sa(Sa::offer([proposal])),
        Payload::Nonce(Nonce::new(vec![0x40; 32]).unwrap()),
        Payload::KeyExchange(KeyExchange::new(KeyExchangeMethod::X25519, vec![9; 32])),
        Payload::TsInitiator(net("10.2.0.0/16")),
        Payload::TsResponder(net("10.1.0.0/16")),
    ]
}

/// "If one of the proposals offered is for the Diffie-Hellman group of NONE, and the responder selects that Diffie-Hellman group, then it MUST
/// ignore the initiator's KE payload and omit the KE payload from the response" (section 3.3.6).
#[test]
fn a_key_exchange_that_is_not_chosen_is_left_out() {
    let mut pair = connected();
    let none = Transform::new(TransformType::KE, Transform::NONE, None);
    let offered = child_request(&[Transform::from(KeyExchangeMethod::X25519), none]);
    let answered = ask(&mut pair, ExchangeType::CREATE_CHILD_SA, 0, &offered);
    let types: Vec<PayloadType> = answered.iter().map(Payload::payload_type).collect();
    assert_eq!(types, [PayloadType::SA, PayloadType::NONCE, PayloadType::TSI, PayloadType::TSR]);
    assert_eq!(pair.installed(A), 2);
}

/// "An initiator MUST NOT propose the value NONE for the Diffie-Hellman transform, and a responder MUST NOT accept such a proposal" where an
/// IKE SA is rekeyed (section 2.18).
#[test]
fn an_ike_sa_is_not_rekeyed_without_a_key_exchange() {
    let mut pair = connected();
    let mut proposal = Proposal::ike(&"aes128gcm16-prfsha256-x25519".parse().unwrap(), IkeSpi::new(0xcccc_cccc_0000_0001));
    proposal.transforms.retain(|transform| transform.kind != TransformType::KE);
    proposal.transforms.push(Transform::new(TransformType::KE, Transform::NONE, None));
    let offered = [
        Payload::Sa(Sa::offer([proposal])),
        Payload::Nonce(Nonce::new(vec![0x40; 32]).unwrap()),
        Payload::KeyExchange(KeyExchange::new(KeyExchangeMethod::X25519, vec![9; 32])),
    ];
    let refusal = Payload::Notify(Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, vec![]));
    assert_eq!(ask(&mut pair, ExchangeType::CREATE_CHILD_SA, 0, &offered), [refusal]);
    pair.run(SECOND);
    assert_eq!(pair.established(A), 1);
}
