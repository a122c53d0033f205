//! What every message of ours looks like, whatever it says (RFC 7296 sections 2.5, 2.10, 3.1, 3.2, 3.9 and 3.14).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ike::Endpoint;
use ike::io::{Command, Dataplane, Input, Output, RequestId};
use ike::provider::Random;
use ike_wire::{ExchangeType, Header, Message, Notify, NotifyType, Payload, PayloadType, Proposal, Protocol, parse_payloads};
use ipsec_types::{Instant, Spi};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config, esp, lab, net, second_child};

const SECOND: Duration = Duration::from_secs(1);
const SUITE: Clear = Clear(b"ICV!");

/// Everything two gateways say to each other, so that all of it can be read: both rekey everything, create and delete.
fn story(mut pair: Pair) -> Pair {
    pair.connect();
    for side in [A, B] {
        for target in [net(), lab(), net()] {
            pair.rekey(side, target);
            pair.run(SECOND);
        }
    }
    pair.initiate_child(B, "voice");
    pair.run(SECOND);
    pair.terminate(A, net());
    pair.run(SECOND);
    pair.terminate(B, lab());
    pair.run(SECOND);
    assert_eq!((pair.installed(A), pair.ike_sas(A).len(), pair.ike_sas(B).len()), (0, 0, 0));
    pair
}

fn in_the_clear() -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        config.connections[0].children[0].proposals = vec![esp("aes128gcm16-x25519-esn-noesn"), esp("aes128-sha256")];
        config.connections[0].children.push(second_child(side, "voice"));
        config.connections[0].dpd_delay = Some(SECOND / 2);
        config
    });
    story(Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 3, a, b))
}

/// With real ciphers: those whose IV is a counter, and one whose IV is random.
fn sealed(proposal: &str) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        config.connections[0].proposals = vec![proposal.parse().unwrap()];
        config.connections[0].children.push(second_child(side, "voice"));
        config
    });
    story(Pair::new(4, a, b))
}

/// The messages in their order, with what is inside.
fn read(pair: &Pair) -> Vec<(Side, Header, Vec<Payload>)> {
    let inside = |octets: &[u8]| {
        let message = Message::parse(octets).unwrap();
        let Some(encrypted) = message.encrypted() else { return (message.header, message.payloads) };
        assert_eq!(message.payloads.len(), 1, "nothing stands outside");
        let text = &encrypted.body[..encrypted.body.len() - SUITE.0.len() - 1];
        (message.header, parse_payloads(encrypted.first, text).unwrap())
    };
    let read = pair.sent.iter().map(|sent| {
        let (header, payloads) = inside(&sent.datagram.payload);
        (sent.from, header, payloads)
    });
    read.collect()
}

#[test]
fn each_header_says_who_speaks_and_whether_it_answers() {
    let pair = in_the_clear();
    // Who has begun the IKE SA with this SPI.
    let mut initiators = BTreeMap::new();
    let mut asked = BTreeSet::new();
    let mut answered = 0;
    for ((from, header, payloads), sent) in read(&pair).into_iter().zip(&pair.sent) {
        let raw = &sent.datagram.payload;
        assert_eq!(raw[17], 0x20, "version 2.0");
        assert_eq!(raw[19] & !0x28, 0, "V and all X bits are clear");
        assert_ne!(header.initiator_spi, 0);
        let initiator = *initiators.entry(header.initiator_spi).or_insert(from);
        assert_eq!(header.flags.initiator, from == initiator, "{header:?}");
        assert_eq!(header.responder_spi == 0, header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.response);
        let exchange = (header.initiator_spi, header.exchange.0, header.message_id);
        if header.flags.response {
            assert!(asked.contains(&(from.other(), exchange)), "an answer without a question: {header:?}");
            answered += 1;
        } else {
            assert!(asked.insert((from, exchange)), "asked twice: {header:?}");
        }
        if let (false, Some(Payload::Sa(sa))) = (header.flags.response, payloads.first()) {
            let new = sa.proposals.iter().filter(|proposal| proposal.protocol == Protocol::IKE).filter_map(Proposal::ike_spi);
            initiators.extend(new.map(|spi| (spi.value(), from)));
        }
    }
    assert_eq!((answered, initiators.len()), (asked.len(), 3));
}

/// A source that says everything many times.
struct Stuttering(u64);

impl Random for Stuttering {
    fn fill(&mut self, octets: &mut [u8]) {
        self.0 += 1;
        octets.fill((self.0 / 64 + 1).to_be_bytes()[7]);
    }
}

/// "Each endpoint chooses one of the two SPIs and MUST choose them so as to be unique identifiers of an IKE SA" (section 2.6).
#[test]
fn no_two_ike_sas_have_the_same_spi() {
    let mut gateway = config(A);
    let mut other = config(A).connections.remove(0);
    other.name = "other".into();
    other.remote_addrs = vec!["192.0.2.3".parse().unwrap()];
    other.children = vec![second_child(A, "voice")];
    gateway.connections.push(other);
    let provider = clear::provider(&[&SUITE]);
    let (mut endpoint, mut random, now) = (Endpoint::new(provider), Stuttering(0), Instant::ZERO);
    let attached = Dataplane::Attached { boot: [1; 16], epoch: 1, child_sas: vec![], local_addresses: vec![A.address()] };
    let initiate = |request, child: &str| Input::Command(Command::Initiate { request: RequestId(request), child: child.into() });
    let mut inputs = vec![
        Input::Dataplane(attached),
        Input::Command(Command::Configure(Box::new(gateway))),
        Input::SpisLeased([0xa000_0001, 0xa000_0002].map(|spi| Spi::new(spi).unwrap()).to_vec()),
        initiate(1, "net"),
        initiate(2, "voice"),
    ];
    inputs.reverse();
    let mut spis = vec![];
    while let Some(input) = inputs.pop() {
        endpoint.handle(now, input, &mut random);
        while let Some(output) = endpoint.poll_output() {
            match output {
                Output::Job { id, job } => inputs.push(Input::JobDone { id, result: job.run(&provider) }),
                Output::Transmit(datagram) => spis.push(Header::peek(&datagram.payload).unwrap().initiator_spi),
                _ => {}
            }
        }
    }
    assert_eq!(spis.len(), 2);
    assert_ne!(spis[0], spis[1]);
}

/// "An IKE endpoint MUST NOT exceed the peer's stated window size for transmitted IKE requests" (section 2.3), which is one where nothing is stated,
/// however much is to be done.
#[test]
fn under_each_ike_sa_each_side_has_one_request_out() {
    let mut pair = Pair::connected(6, |side, config| config.connections[0].children.push(second_child(side, "voice")));
    for side in [A, B] {
        pair.initiate_child(side, "voice");
        for target in [net(), lab(), net()] {
            pair.rekey(side, target);
        }
    }
    pair.run(60 * SECOND);
    let mut out = BTreeMap::new();
    for sent in &pair.sent {
        let header = Header::peek(&sent.datagram.payload).unwrap();
        if header.flags.response {
            assert_eq!(out.remove(&(header.initiator_spi, sent.from.other())), Some(header.message_id));
        } else {
            let before = out.insert((header.initiator_spi, sent.from), header.message_id);
            assert_eq!(before, None, "{:?}", pair.titles_from(0));
        }
    }
    assert!(out.is_empty() && pair.sent.len() > 16);
}

/// Generic headers as they are in the octets: neither the critical bit nor one that is reserved.
#[test]
fn no_payload_is_critical() {
    let pair = in_the_clear();
    let mut seen = BTreeSet::new();
    for sent in &pair.sent {
        let octets = &sent.datagram.payload;
        let (mut at, mut next) = (Header::LEN, octets[16]);
        while next != 0 {
            assert_eq!(octets[at + 1], 0, "payload {next}");
            seen.insert(next);
            let len = usize::from(u16::from_be_bytes([octets[at + 2], octets[at + 3]]));
            let is_sk = next == PayloadType::SK.0;
            next = octets[at];
            at += if is_sk { 4 } else { len };
        }
    }
    let named = [PayloadType::SA, PayloadType::KE, PayloadType::AUTH, PayloadType::NONCE, PayloadType::NOTIFY, PayloadType::DELETE];
    assert!(named.iter().all(|payload_type| seen.contains(&payload_type.0)), "{seen:?}");
}

/// "Nonce values MUST NOT be reused", and are long enough for the PRF with the longest key, HMAC-SHA2-512.
#[test]
fn nonces_are_long_and_never_the_same() {
    let pair = in_the_clear();
    let nonces: Vec<Vec<u8>> = read(&pair)
        .into_iter()
        .flat_map(|(_, _, payloads)| payloads)
        .filter_map(|payload| if let Payload::Nonce(nonce) = payload { Some(nonce.octets().to_vec()) } else { None })
        .collect();
    assert!(nonces.len() > 10 && nonces.iter().all(|nonce| nonce.len() >= 64 / 2));
    assert_eq!(nonces.iter().collect::<BTreeSet<_>>().len(), nonces.len());
}

/// A notification that names no SA has neither protocol nor SPI; one about a Child SA says which.
#[test]
fn notifications_and_deletions_name_their_sa() {
    let pair = in_the_clear();
    let mut about = BTreeSet::new();
    for payload in read(&pair).into_iter().flat_map(|(_, _, payloads)| payloads) {
        if let Payload::Notify(Notify { protocol, spi, kind, .. }) = payload {
            let expected = match kind {
                NotifyType::REKEY_SA => (Protocol::ESP, 4),
                // RFC 6023 section 4 wants it otherwise.
                NotifyType::CHILDLESS_IKEV2_SUPPORTED => (Protocol::IKE, 0),
                _ => (Protocol::NONE, 0),
            };
            assert_eq!((protocol, spi.len()), expected, "{kind}");
            about.insert(kind.0);
        }
    }
    assert!(about.contains(&NotifyType::REKEY_SA.0) && about.len() >= 3);
}

/// No IV serves twice under one key, and the text fills blocks with no more padding than it takes.
#[test]
fn every_message_has_an_iv_of_its_own_and_fills_its_blocks() {
    for (proposal, iv_len, icv_len, block) in [("aes128-sha256-x25519", 16, 16, 16), ("aes128gcm16-prfsha256-x25519", 8, 16, 1)] {
        let pair = sealed(proposal);
        let mut ivs = BTreeSet::new();
        for sent in &pair.sent {
            let message = Message::parse(&sent.datagram.payload).unwrap();
            let Some(encrypted) = message.encrypted() else { continue };
            let (iv, rest) = encrypted.body.split_at(iv_len);
            assert_eq!((rest.len() - icv_len) % block, 0);
            // A random IV meets no other at all; a counter begins anew with each key.
            let key = if block == 16 { (0, A) } else { (message.header.initiator_spi, sent.from) };
            assert!(ivs.insert((key.0, key.1, iv.to_vec())), "{proposal}: {iv:?}");
        }
        assert!(ivs.len() > 20);
    }
}
