//! What anybody on the network may send: it changes nothing, and breaks nothing.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::error::Failure;
use ike::io::{Datagram, Event, Input, Output};
use ike::provider::{CryptoError, IvKind, Random, SkKey, SkSuite};
use ike_wire::{
    ExchangeType, Flags, Header, KeyExchange, Message, Nonce, Notify, NotifyType, Payload, PayloadType, Proposal, Sa, Unknown, Version,
};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, KeyExchangeMethod};
use pair::Side::{A, B};
use pair::{Numbers, Pair, Side, config, esp, lab, net};

const SECOND: Duration = Duration::from_secs(1);

fn connected() -> Pair {
    let mut pair = Pair::default(1);
    pair.connect();
    pair
}

/// What a side shows of itself: nothing of it may change.
fn picture(pair: &mut Pair, side: Side) -> String {
    let sas = pair.ike_sas(side);
    let installed: Vec<_> = pair.gateway(side).data_plane.installed.keys().collect();
    format!("{sas:?} {installed:?}")
}

fn from_outside(side: Side, payload: Vec<u8>) -> Input {
    let remote = SocketAddr::new(side.other().address(), 4500);
    Input::Datagram(Datagram { local: SocketAddr::new(side.address(), 4500), remote, payload })
}

/// A message once more, as its receiver saw it.
fn again(sent: &pair::Sent) -> Input {
    let datagram = &sent.datagram;
    Input::Datagram(Datagram { local: datagram.remote, remote: datagram.local, payload: datagram.payload.clone() })
}

#[test]
fn every_message_played_back_is_ignored_or_answered_with_the_same_octets() {
    let mut pair = connected();
    let sent = pair.sent.clone();
    for side in [A, B] {
        let before = picture(&mut pair, side);
        for message in sent.iter().filter(|message| message.from != side) {
            let already = pair.sent.len();
            pair.input(side, again(message));
            for answer in &pair.sent[already..] {
                assert!(sent.iter().any(|known| known.datagram.payload == answer.datagram.payload), "a new answer to an old message");
            }
        }
        assert_eq!(picture(&mut pair, side), before);
    }
}

#[test]
fn only_the_last_response_is_sent_again() {
    let mut pair = connected();
    let sent = pair.sent.clone();
    let already = pair.sent.len();
    pair.input(B, again(&sent[0]));
    assert_eq!(pair.sent.len(), already, "IKE_SA_INIT is over");
    pair.input(B, again(&sent[2]));
    assert_eq!(pair.sent.len(), already + 1);
    assert_eq!(pair.sent[already].datagram.payload, sent[3].datagram.payload);
}

/// Whoever plays an old request back gets its old answer, and nothing else: no sign of life, and no say in where answers go.
#[test]
fn a_request_played_back_is_no_sign_of_life_and_diverts_no_answer() {
    let mut b = config(B);
    b.connections[0].dpd_delay = Some(10 * SECOND);
    let mut pair = Pair::new(7, config(A), b);
    pair.gateway(B).data_plane.silent = true;
    pair.acquire(A, 1);
    pair.run(SECOND);
    let request = pair.sent[2].clone();
    let from_elsewhere = || {
        let Input::Datagram(datagram) = again(&request) else { panic!() };
        Input::Datagram(Datagram { remote: "192.0.2.99:4500".parse().unwrap(), ..datagram })
    };
    pair.input(B, from_elsewhere());
    pair.gateway(B).data_plane.silent = false;
    let child = ipsec_types::ChildSaId(1 << 32 | 1);
    pair.input(B, Input::Installed { child, result: Ok(()) });
    assert_eq!(pair.sent.last().unwrap().datagram.remote.ip(), A.address(), "the answer that waited goes to who asked");
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    pair.deaf = Some(B);
    for _ in 0..5 {
        pair.run(5 * SECOND);
        pair.input(B, from_elsewhere());
        let answer = &pair.sent.last().unwrap().datagram;
        assert_eq!((answer.remote.ip(), &answer.payload), ("192.0.2.99".parse().unwrap(), &pair.sent[3].datagram.payload));
    }
    assert_eq!(pair.stat(B, "probes_sent"), 1);
}

#[test]
fn every_flipped_bit_is_noticed() {
    let mut pair = connected();
    // A genuine next request of B for A, kept from A.
    pair.deaf = Some(A);
    pair.terminate(B, net());
    pair.run(Duration::from_millis(1));
    let genuine = pair.sent.last().unwrap().datagram.payload.clone();
    let before = picture(&mut pair, A);
    for bit in 0..genuine.len() * 8 {
        let mut forged = genuine.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        let already = pair.sent.len();
        pair.input(A, from_outside(A, forged));
        // One that names no IKE SA may be told so.
        let answers = || pair.sent[already..].iter().map(|sent| Message::parse(&sent.datagram.payload).unwrap());
        let told =
            |message: Message| matches!(&message.payloads[..], [Payload::Notify(notify)] if notify.kind == NotifyType::INVALID_IKE_SPI);
        assert!(answers().count() == 0 || (bit < 128 && answers().all(told)), "bit {bit}");
        assert_eq!(picture(&mut pair, A), before, "bit {bit}");
    }
    pair.input(A, from_outside(A, genuine));
    assert_ne!(picture(&mut pair, A), before, "the genuine one counts");
}

#[test]
fn flipped_bits_while_the_ike_sa_comes_up_never_install_anything() {
    let whole = {
        let pair = connected();
        pair.sent.iter().map(|sent| sent.datagram.payload.len()).collect::<Vec<_>>()
    };
    // Every message of the four, every octet: at most one bit differs from what was sent.
    for (message, len) in whole.iter().enumerate() {
        for octet in 0..*len {
            let mut pair = Pair::default(1);
            let seen = std::cell::Cell::new(0);
            pair.tamper = Some(Box::new(move |_, payload| {
                if seen.get() == message {
                    payload[octet] ^= 0x40;
                }
                seen.set(seen.get() + 1);
            }));
            pair.acquire(A, 1);
            pair.run(SECOND);
            let (a, b) = (pair.installed(A), pair.installed(B));
            assert!(a <= b, "message {message} octet {octet}: the initiator believed what nobody said");
            if a == 1 {
                pair.assert_mirrored();
            }
            // The responder is right to have one only where the initiator's part was genuine.
            assert!(b == 0 || message == 3 || (message == 1 && a == 0) || a == 1, "message {message} octet {octet}");
        }
    }
}

#[test]
fn unprotected_notifications_do_not_end_an_ike_sa() {
    let mut pair = connected();
    let established = Header::peek(&pair.sent[3].datagram.payload).unwrap();
    let already = pair.sent.len();
    for side in [A, B] {
        let before = picture(&mut pair, side);
        // Section 1.5: INVALID_SPI outside of any IKE SA.
        let header = Header { initiator_spi: 0, responder_spi: 0, exchange: ExchangeType::INFORMATIONAL, message_id: 0, ..established };
        for header in [header, Header { initiator_spi: 7, ..header }, Header { responder_spi: 7, ..header }] {
            for initiator in [true, false] {
                let header = Header { flags: Flags { initiator, response: false, version: false }, ..header };
                let payloads = vec![Payload::Notify(Notify::new(NotifyType::INVALID_SPI, vec![0xa0, 0, 0, 1]))];
                pair.input(side, from_outside(side, Message { header, payloads }.emit().unwrap()));
            }
        }
        for kind in [4, 5, 7, 9, 11, 14, 17, 24, 43, 16390] {
            for exchange in [34, 35, 36, 37] {
                for (response, message_id) in [(false, 0), (false, 1), (false, 2), (true, 0), (true, 1), (true, 2)] {
                    let flags = Flags { initiator: side == B, response, version: false };
                    let header = Header { exchange: ExchangeType(exchange), flags, message_id, ..established };
                    let notify = Payload::Notify(Notify::new(NotifyType(kind), vec![0; 2]));
                    let octets = Message { header, payloads: vec![notify] }.emit().unwrap();
                    pair.input(side, from_outside(side, octets));
                }
            }
        }
        assert_eq!(picture(&mut pair, side), before);
    }
    // Each side asks the peer once whether it still lives (section 2.4), and answers nothing.
    assert_eq!(pair.titles_from(already), ["INFORMATIONAL request 2", "INFORMATIONAL request 0"]);
}

#[test]
fn noise_changes_nothing() {
    let mut pair = connected();
    let sent = pair.sent.clone();
    let before = [A, B].map(|side| picture(&mut pair, side));
    let mut numbers = Numbers(99);
    for round in 0..20_000 {
        let side = if round & 1 == 0 { A } else { B };
        let mut octets = sent[usize::try_from(numbers.below(4)).unwrap()].datagram.payload.clone();
        match numbers.below(4) {
            0 => {
                octets = vec![0; usize::try_from(numbers.below(200)).unwrap()];
                numbers.fill(&mut octets);
            }
            1 => octets.truncate(usize::try_from(numbers.below(octets.len() as u64)).unwrap()),
            _ => {
                for _ in 0..=numbers.below(4) {
                    let at = usize::try_from(numbers.below(octets.len() as u64)).unwrap();
                    octets[at] = numbers.next().to_be_bytes()[0];
                }
            }
        }
        pair.input(side, from_outside(side, octets));
    }
    // Forged IKE_SA_INIT requests may leave half-open IKE SAs, which end by themselves.
    pair.run(31 * SECOND);
    let after = [A, B].map(|side| picture(&mut pair, side));
    let stable = |text: &str| text.split("age:").next().map(str::to_owned);
    assert_eq!(before.each_ref().map(|text| stable(text)), after.each_ref().map(|text| stable(text)));
    assert_eq!((pair.stat(A, "ike_sas_half_open"), pair.stat(B, "ike_sas_half_open")), (0, 0));
    assert_eq!(pair.assert_mirrored(), 1);
}

fn init_request(spi: u64, payloads: Vec<Payload>) -> Vec<u8> {
    let flags = Flags { initiator: true, response: false, version: false };
    let header =
        Header { initiator_spi: spi, responder_spi: 0, version: Version::V2, exchange: ExchangeType::IKE_SA_INIT, flags, message_id: 0 };
    Message { header, payloads }.emit().unwrap()
}

fn offer(public: Vec<u8>) -> Vec<Payload> {
    let proposal = Proposal::ike(&"aes128gcm16-prfsha256-x25519".parse().unwrap(), None);
    vec![
        Payload::Sa(Sa::offer([proposal])),
        Payload::KeyExchange(KeyExchange::new(KeyExchangeMethod::X25519, public)),
        Payload::Nonce(Nonce::new(vec![7; 32]).unwrap()),
    ]
}

/// The only notification of the last message.
fn last_answer(pair: &Pair) -> NotifyType {
    let message = Message::parse(&pair.sent.last().unwrap().datagram.payload).unwrap();
    let [Payload::Notify(notify)] = message.payloads.as_slice() else { panic!("{:?}", message.payloads) };
    notify.kind
}

#[test]
fn a_flood_keeps_no_more_state_than_the_threshold_allows() {
    let mut b = config(B);
    b.cookie_threshold = 10;
    let mut pair = Pair::new(2, config(A), b);
    pair.deaf = Some(A);
    for spi in 1..=1000 {
        pair.input(B, from_outside(B, init_request(spi, offer(vec![9; 32]))));
    }
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 10);
    assert_eq!(pair.stat(B, "cookies_sent"), 990);
    pair.run(29 * SECOND);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 10);
    pair.run(2 * SECOND);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 0);
}

/// A refused peer leaves keys and the answer it may ask for again: as much state as one that has not tried yet.
#[test]
fn refused_peers_count_against_the_threshold_until_they_are_forgotten() {
    let [mut a, mut b] = [A, B].map(config);
    a.psks[0].secret = ipsec_types::Secret::copy_from(b"wrong");
    b.cookie_threshold = 3;
    let mut pair = Pair::new(9, a, b);
    for attempt in 1..=5 {
        pair.initiate(A);
        pair.run(SECOND);
        assert_eq!(pair.stat(B, "ike_sas_half_open"), attempt);
        assert_eq!(pair.stat(B, "cookies_sent"), attempt.saturating_sub(3), "after {attempt} attempts");
    }
    pair.run(25 * SECOND);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 5);
    pair.run(5 * SECOND);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 0);
}

#[test]
fn a_cookie_serves_only_its_owner() {
    let mut b = config(B);
    b.cookie_threshold = 0;
    let mut pair = Pair::new(3, config(A), b);
    pair.deaf = Some(A);
    pair.input(B, from_outside(B, init_request(1, offer(vec![9; 32]))));
    let Payload::Notify(cookie) = Message::parse(&pair.sent[0].datagram.payload).unwrap().payloads.remove(0) else { panic!() };
    let with_cookie = |spi, cookie: &Notify| {
        let mut payloads = offer(vec![9; 32]);
        payloads.insert(0, Payload::Notify(cookie.clone()));
        init_request(spi, payloads)
    };
    // Another SPI, another address, a changed cookie.
    pair.input(B, from_outside(B, with_cookie(2, &cookie)));
    let elsewhere =
        Datagram { local: SocketAddr::new(B.address(), 500), remote: "192.0.2.99:500".parse().unwrap(), payload: with_cookie(1, &cookie) };
    pair.input(B, Input::Datagram(elsewhere));
    let mut changed = cookie.clone();
    *changed.data.last_mut().unwrap() ^= 1;
    pair.input(B, from_outside(B, with_cookie(1, &changed)));
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 0);
    assert_eq!(pair.stat(B, "cookies_sent"), 4);
    pair.input(B, from_outside(B, with_cookie(1, &cookie)));
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 1);
    // Two secrets are remembered, each made when the one before is two minutes old.
    for (spi, seconds, fits) in [(1, 200, true), (1, 41, false)] {
        pair.run(seconds * SECOND);
        let half_open = pair.stat(B, "ike_sas_half_open");
        pair.input(B, from_outside(B, with_cookie(spi, &cookie)));
        assert_eq!(pair.stat(B, "ike_sas_half_open") > half_open, fits, "{seconds}");
    }
}

/// One address must not have all the state there is; and nobody takes its place from it by sending in its name.
#[test]
fn one_address_has_few_half_open_ike_sas() {
    let mut b = config(B);
    b.connections[0].remote_addrs.clear();
    b.block_threshold = 3;
    let mut pair = Pair::new(6, config(A), b);
    pair.deaf = Some(A);
    for spi in 1..=100 {
        pair.input(B, from_outside(B, init_request(spi, offer(vec![9; 32]))));
    }
    assert_eq!((pair.stat(B, "ike_sas_half_open"), pair.stat(B, "cookies_sent")), (3, 97));
    // Who receives at the address goes on with cookies, but not for ever.
    for spi in 101..=110 {
        pair.input(B, from_outside(B, init_request(spi, offer(vec![9; 32]))));
        let last = pair.sent.last().unwrap().datagram.payload.clone();
        let Payload::Notify(cookie) = Message::parse(&last).unwrap().payloads.remove(0) else { panic!() };
        let mut payloads = offer(vec![9; 32]);
        payloads.insert(0, Payload::Notify(cookie));
        pair.input(B, from_outside(B, init_request(spi, payloads)));
    }
    assert_eq!((pair.stat(B, "ike_sas_half_open"), pair.stat(B, "initiators_blocked")), (6, 7));
    // Other addresses are as free as before.
    let remote = "192.0.2.99:500".parse().unwrap();
    let payload = init_request(200, offer(vec![9; 32]));
    pair.input(B, Input::Datagram(Datagram { local: SocketAddr::new(B.address(), 500), remote, payload }));
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 7);
    pair.run(31 * SECOND);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 0);
    pair.input(B, from_outside(B, init_request(300, offer(vec![9; 32]))));
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 1, "everything is forgotten");
}

#[test]
fn unusable_requests_are_answered_as_the_rfc_says() {
    let mut pair = Pair::default(4);
    pair.deaf = Some(A);
    let mut payloads = offer(vec![9; 32]);
    payloads.push(Payload::Unknown(Unknown { payload_type: PayloadType(200), critical: true, body: vec![] }));
    pair.input(B, from_outside(B, init_request(1, payloads)));
    assert_eq!(last_answer(&pair), NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD);

    let mut newer = init_request(2, offer(vec![9; 32]));
    newer[17] = 0x30;
    pair.input(B, from_outside(B, newer.clone()));
    assert_eq!(last_answer(&pair), NotifyType::INVALID_MAJOR_VERSION);
    let answers = pair.sent.len();
    newer[17] = 0x10;
    pair.input(B, from_outside(B, newer));
    let mut older_minor = init_request(3, offer(vec![9; 32]));
    older_minor[17] = 0x2f;
    // Malformed, incomplete, or with a public value no key can come from: not answered, and nothing left.
    pair.input(B, from_outside(B, init_request(4, offer(vec![9; 32])[..2].to_vec())));
    pair.input(B, from_outside(B, init_request(5, offer(vec![9; 31]))));
    pair.input(B, from_outside(B, init_request(6, offer(vec![0; 32]))));
    pair.input(B, from_outside(B, init_request(0, offer(vec![9; 32]))));
    assert_eq!(pair.sent.len(), answers);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 0);
    // A minor version is ignored (section 2.5).
    pair.input(B, from_outside(B, older_minor));
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 1);
}

/// An unprotected refusal, a flood of cookies, or of wishes for other methods must not stop an initiator that is answered in the end.
#[test]
fn forged_answers_do_not_stop_an_initiator() {
    for forged in [
        Notify::new(NotifyType::NO_PROPOSAL_CHOSEN, vec![]),
        Notify::new(NotifyType::INVALID_SYNTAX, vec![]),
        Notify::new(NotifyType::INVALID_MAJOR_VERSION, vec![]),
        Notify::new(NotifyType::COOKIE, vec![1; 65]),
        Notify::new(NotifyType::INVALID_KE_PAYLOAD, vec![0, 19]),
        Notify::new(NotifyType::INVALID_KE_PAYLOAD, vec![0, 1]),
        Notify::new(NotifyType::INVALID_KE_PAYLOAD, vec![]),
    ] {
        let mut pair = Pair::default(5);
        pair.acquire(A, 1);
        let request = Header::peek(&pair.sent[0].datagram.payload).unwrap();
        let header = Header { flags: Flags { initiator: false, response: true, version: false }, ..request };
        let octets = Message { header, payloads: vec![Payload::Notify(forged.clone())] }.emit().unwrap();
        for _ in 0..20 {
            let remote = SocketAddr::new(B.address(), 500);
            let datagram = Datagram { local: SocketAddr::new(A.address(), 500), remote, payload: octets.clone() };
            pair.input(A, Input::Datagram(datagram));
        }
        pair.run(2 * SECOND);
        assert_eq!(pair.assert_mirrored(), 1, "{forged:?}");
    }
}

/// Somebody who sees our SPI can make us sign a cookie that the peer never saw: that attempt fails, as it must, and the next one works.
#[test]
fn a_forged_cookie_costs_one_attempt() {
    let mut pair = Pair::default(6);
    pair.acquire(A, 1);
    let request = Header::peek(&pair.sent[0].datagram.payload).unwrap();
    let header = Header { flags: Flags { initiator: false, response: true, version: false }, ..request };
    let payloads = vec![Payload::Notify(Notify::new(NotifyType::COOKIE, vec![1; 8]))];
    let payload = Message { header, payloads }.emit().unwrap();
    let datagram = Datagram { local: SocketAddr::new(A.address(), 500), remote: SocketAddr::new(B.address(), 500), payload };
    pair.input(A, Input::Datagram(datagram));
    pair.run(2 * SECOND);
    assert_eq!(pair.assert_mirrored(), 0);
    pair.acquire(A, 2);
    pair.run(2 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
}

/// Protects messages as the genuine suite does, but spoils what is in them before.
#[derive(Debug)]
struct Spoiling(Spoil);

type Spoil = fn(&Header, &mut [u8]);

struct SpoilingKey(Spoil, Box<dyn SkKey>);

impl Spoiling {
    fn genuine() -> &'static dyn SkSuite {
        ike_crypto::provider().suite(EncryptionAlgorithm::AesGcm128, None).unwrap()
    }
}

impl SkSuite for Spoiling {
    fn encryption(&self) -> EncryptionAlgorithm {
        Self::genuine().encryption()
    }

    fn integrity(&self) -> Option<IntegrityAlgorithm> {
        None
    }

    fn iv_len(&self) -> usize {
        Self::genuine().iv_len()
    }

    fn iv_kind(&self) -> IvKind {
        Self::genuine().iv_kind()
    }

    fn icv_len(&self) -> usize {
        Self::genuine().icv_len()
    }

    fn block_len(&self) -> usize {
        16
    }

    fn key(&self, encryption: &[u8], integrity: &[u8]) -> Result<Box<dyn SkKey>, CryptoError> {
        Ok(Box::new(SpoilingKey(self.0, Self::genuine().key(encryption, integrity)?)))
    }
}

impl SkKey for SpoilingKey {
    fn seal(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &mut [u8]) -> Result<(), CryptoError> {
        (self.0)(&Header::peek(aad).unwrap(), text);
        self.1.seal(aad, iv, text, icv)
    }

    fn open(&self, aad: &[u8], iv: &[u8], text: &mut [u8], icv: &[u8]) -> Result<(), CryptoError> {
        self.1.open(aad, iv, text, icv)
    }
}

/// A pair whose B spoils what it says.
fn spoilt(seed: u64, spoil: Spoil) -> Pair {
    let suite: &'static dyn SkSuite = Box::leak(Box::new(Spoiling(spoil)));
    let suites = Box::leak(Box::new([suite]));
    let mut pair = Pair::default(seed);
    pair.gateway(B).endpoint = ike::Endpoint::new(ike::provider::Provider { suites, ..ike_crypto::provider() });
    pair.attach(B, [2; 16], 2);
    pair.input(B, Input::Command(ike::io::Command::Configure(Box::new(config(B)))));
    pair
}

#[test]
fn a_peer_that_answers_our_delete_with_nonsense_is_not_asked_again() {
    // An empty answer with fewer octets of padding than it has.
    let nonsense: Spoil = |header, text| {
        if header.exchange == ExchangeType::INFORMATIONAL && header.flags.response {
            *text.last_mut().unwrap() = 0;
        }
    };
    let mut pair = spoilt(8, nonsense);
    pair.connect();
    let already = pair.sent.len();
    let request = pair.terminate(A, lab());
    pair.run(SECOND);
    assert_eq!(pair.sent.len() - already, 2);
    assert_eq!(pair.answer(A, request), Some(Ok(ike::io::Answer::Terminated(1))));
    assert!(pair.ike_sas(A).is_empty());
}

/// The peer has installed its half by then: it is told to delete it, and the SPI serves the next attempt.
#[test]
fn an_spi_whose_answer_was_unacceptable_is_used_again() {
    // The responder's network ends at 10.3.255.255, which is more than was offered.
    let greedy: Spoil = |header, text| {
        if header.exchange == ExchangeType::IKE_AUTH && header.flags.response {
            let end = text.windows(4).position(|octets| octets == [10, 2, 255, 255]).unwrap();
            text[end + 1] = 3;
        }
    };
    let mut pair = spoilt(10, greedy);
    pair.gateway(A).data_plane.stingy = true;
    pair.attach(A, [1; 16], 2);
    pair.input(A, Input::SpisLeased(vec![ipsec_types::Spi::new(0xaaaa_0001).unwrap()]));
    pair.acquire(A, 1);
    pair.run(2 * SECOND);
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    pair.acquire(A, 2);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
}

/// RFC 7296 section 2.25: a peer that does not know the Child SA gets another one.
///
/// ```text
/// HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}  -->     with an SPI that no SA has
///                    <--  HDR, SK {N(CHILD_SA_NOT_FOUND)}
/// HDR, SK {SA, Ni, TSi, TSr}  -->
///                    <--  HDR, SK {SA, Nr, TSi, TSr}
/// ```
#[test]
fn a_child_sa_that_the_peer_does_not_know_is_made_anew() {
    let unknown_spi: Spoil = |header, text| {
        let rekey_sa = NotifyType::REKEY_SA.0.to_be_bytes();
        if header.exchange == ExchangeType::CREATE_CHILD_SA && !header.flags.response && text[6..8] == rekey_sa {
            text[8] ^= 0x10;
        }
    };
    let mut pair = spoilt(11, unknown_spi);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let old = pair.only_child(B);
    let request = pair.rekey(B, net());
    pair.run(SECOND);
    assert!(matches!(pair.answer(B, request), Some(Err(Failure::Refused(NotifyType::CHILD_SA_NOT_FOUND, _)))));
    assert_eq!(pair.titles()[4..].iter().filter(|title| title.starts_with("INFORMATIONAL")).count(), 0, "it is deleted silently");
    let new = pair.only_child(B);
    assert_ne!(new, old);
    let outbound = pair.gateway(B).data_plane.installed[&new].outbound_spi;
    assert!(pair.gateway(A).data_plane.installed.values().any(|sa| sa.inbound_spi == outbound));
}

#[test]
fn secrets_are_in_no_event_and_no_trace() {
    let mut pair = connected();
    let secret = "correct horse battery staple";
    for side in [A, B] {
        let gateway = pair.gateway(side);
        let mut shown = format!("{:?} {:?} {:?}", gateway.events, gateway.traces, gateway.endpoint);
        shown.push_str(&format!("{:?}", gateway.data_plane.installed));
        assert!(!shown.contains(secret));
        for sa in gateway.data_plane.installed.values() {
            let hex: String = sa.inbound_keys.encryption.expose().iter().map(|octet| format!("{octet:02x}")).collect();
            assert!(!shown.contains(&hex));
        }
        assert!(!gateway.events.iter().any(|event| matches!(event, Event::NegotiationFailed { .. })));
    }
}

#[test]
fn before_configuration_and_data_plane_nothing_happens() {
    let mut endpoint = ike::Endpoint::new(ike_crypto::provider());
    let now = ipsec_types::Instant::ZERO;
    endpoint.handle(now, from_outside(B, init_request(1, offer(vec![9; 32]))), &mut Numbers(1));
    endpoint.handle(now, Input::Timeout, &mut Numbers(1));
    while let Some(output) = endpoint.poll_output() {
        assert!(!matches!(output, Output::Transmit(_) | Output::Install(_)), "{output:?}");
    }
    assert_eq!(endpoint.next_timeout(), None);
}

/// RFC 6989 section 2.5: an invalid public value in an answer, here the zero of X25519, ends the IKE SA with a Delete.
#[test]
fn an_answer_with_an_invalid_public_value_ends_the_ike_sa() {
    let zero: Spoil = |header, text| {
        if header.exchange != ExchangeType::CREATE_CHILD_SA || !header.flags.response {
            return;
        }
        let (mut at, mut payload_type) = (0, PayloadType::SA);
        while payload_type != PayloadType::KE {
            payload_type = PayloadType(text[at]);
            at += usize::from(u16::from_be_bytes([text[at + 2], text[at + 3]]));
        }
        text[at + 8..at + 40].fill(0);
    };
    for target in [net(), lab()] {
        let mut pair = spoilt(10, zero);
        for side in [A, B] {
            let mut with_pfs = config(side);
            with_pfs.connections[0].children[0].proposals = vec![esp("aes128gcm16-x25519")];
            pair.input(side, Input::Command(ike::io::Command::Configure(Box::new(with_pfs))));
        }
        pair.initiate(A);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        let before = pair.sent.len();
        let request = pair.rekey(A, target);
        pair.run(SECOND);
        assert!(matches!(pair.answer(A, request), Some(Err(Failure::PeerMisbehaved(_)))));
        assert_eq!(
            pair.titles_from(before),
            ["CREATE_CHILD_SA request 2", "CREATE_CHILD_SA response 2", "INFORMATIONAL request 3", "INFORMATIONAL response 3"]
        );
        assert_eq!((pair.established(A), pair.installed(A)), (0, 0));
    }
}
