//! Messages that do not fit a datagram (RFC 7383).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::{Config, Fragmentation};
use ike::io::{Datagram, Input, Record};
use ike_wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, PayloadType, Version, emit_payloads};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config, lab, title};

const SECOND: Duration = Duration::from_secs(1);
/// The least there is: 224 octets of IKE in IPv4 and UDP.
const SMALL: Fragmentation = Fragmentation::Yes { datagram: 256 };
const SUITE: Clear = Clear(b"ICV!");

/// Its IKE_AUTH messages take three small fragments.
fn talkative(side: Side, fragmentation: Fragmentation) -> Config {
    let mut config = config(side);
    let name = |side: Side| format!("{}.{}.test", "x".repeat(150), if side == A { "a" } else { "b" });
    let connection = &mut config.connections[0];
    connection.local_identity = name(side).parse().unwrap();
    connection.remote_identity = Some(name(side.other()).parse().unwrap());
    connection.fragmentation = fragmentation;
    config
}

fn pair(network: Network, seed: u64, a: Fragmentation, b: Fragmentation) -> Pair {
    Pair::on(network, seed, talkative(A, a), talkative(B, b))
}

/// Fragment Number and Total Fragments; `None` for a whole message.
fn number(payload: &[u8]) -> Option<(u16, u16)> {
    let message = Message::parse(payload).ok()?;
    message.fragment().map(|fragment| (fragment.number.number(), fragment.number.total()))
}

/// The numbers of what a side has sent in IKE_AUTH.
fn numbers(pair: &Pair, from: Side) -> Vec<Option<(u16, u16)>> {
    let auth = pair.sent.iter().filter(|sent| sent.from == from && title(&sent.datagram).starts_with("IKE_AUTH"));
    auth.map(|sent| number(&sent.datagram.payload)).collect()
}

/// ```text
/// HDR(MID=1), SKF(NextPld=IDi, Frag#=1, TotalFrags=3) {...}  -->
/// HDR(MID=1), SKF(NextPld=0, Frag#=2, TotalFrags=3) {...}  -->
/// HDR(MID=1), SKF(NextPld=0, Frag#=3, TotalFrags=3) {...}  -->
///                         <--  HDR(MID=1), SKF(NextPld=IDr, Frag#=1, TotalFrags=2) {...}, ...
/// ```
#[test]
fn a_message_that_does_not_fit_goes_in_fragments() {
    let mut pair = pair(Network::GOOD, 1, SMALL, SMALL);
    pair.connect();
    assert_eq!(numbers(&pair, A), [Some((1, 3)), Some((2, 3)), Some((3, 3))]);
    assert_eq!(numbers(&pair, B), [Some((1, 2)), Some((2, 2))]);
    let longest = pair.sent.iter().skip(2).map(|sent| sent.datagram.payload.len()).max();
    assert_eq!(longest, Some(224), "the first is as long as it may be");
    assert_eq!((pair.stat(A, "messages_fragmented"), pair.stat(B, "messages_reassembled")), (1, 1));
    // Of fragments the last one shows what is in all of them.
    let shown = pair.shown(B);
    let request: Vec<&str> = shown.iter().filter(|line| line.starts_with("IKE_AUTH request")).map(String::as_str).collect();
    let whole = "IKE_AUTH request 1: SKF(3/3) IDi IDr N(INIT_CONTACT) AUTH SA TSi TSr";
    assert_eq!(request, ["IKE_AUTH request 1: SKF(1/3)", "IKE_AUTH request 1: SKF(2/3)", whole]);
}

#[test]
fn the_trace_shows_the_fields_of_a_fragment() {
    let mut pair = pair(Network::GOOD, 1, SMALL, SMALL);
    pair.connect();
    let records = pair.gateway(B).traces.iter().filter_map(|trace| match &trace.record {
        Record::Message { payloads, .. } => payloads.first(),
        Record::Step { .. } => None,
    });
    let fragment = records.into_iter().find(|payload| payload.name == "SKF(2/3)").unwrap();
    let fields: Vec<_> = fragment.fields.iter().map(|field| (field.name, field.value.as_str())).collect();
    assert_eq!(fields[0], ("Next Payload", "none (0)"));
    assert_eq!(fields[2..5], [("Payload Length", "196 octets"), ("Fragment Number", "2"), ("Total Fragments", "3")]);
    // A generic header of 4 octets, the two numbers in 4 more, an IV of 8, and an ICV of 16 around what is left.
    assert_eq!(fields[6], ("Encrypted IKE Payloads and Padding", "164 octets"));
    assert_eq!(fields.last().unwrap().1.len(), 32);
}

/// Section 2.3: only where both have said so.
#[test]
fn nobody_sends_fragments_to_a_peer_that_has_not_asked_for_them() {
    for (a, b, from_a, from_b) in [
        (SMALL, Fragmentation::No, 1, 1),
        (Fragmentation::No, SMALL, 1, 1),
        (SMALL, Fragmentation::Accept, 3, 1),
        (Fragmentation::Accept, SMALL, 1, 2),
    ] {
        let mut pair = pair(Network::GOOD, 2, a, b);
        pair.connect();
        assert_eq!((numbers(&pair, A).len(), numbers(&pair, B).len()), (from_a, from_b), "{a:?} {b:?}");
    }
}

#[test]
fn what_fits_is_not_cut() {
    let mut pair = pair(Network::GOOD, 3, Fragmentation::default(), Fragmentation::default());
    pair.connect();
    assert_eq!((numbers(&pair, A), numbers(&pair, B)), (vec![None], vec![None]));
}

/// Section 2.5.1: "The responder in the exchange may use the maximum size of the received IKE Fragment message IP datagrams as a threshold."
#[test]
fn an_answer_is_cut_as_small_as_the_question() {
    let mut pair = pair(Network::GOOD, 4, SMALL, Fragmentation::default());
    pair.connect();
    assert_eq!(numbers(&pair, B), [Some((1, 2)), Some((2, 2))]);
}

#[test]
fn loss_repetition_and_reordering_change_nothing() {
    for seed in 0..40 {
        let mut pair = pair(Network::BAD, seed, SMALL, SMALL);
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(400));
        assert!(pair.established(A) >= 1 && pair.established(B) >= 1, "seed {seed}");
        assert_eq!(pair.stat(A, "messages_unauthentic") + pair.stat(B, "messages_unauthentic"), 0, "seed {seed}");
    }
}

/// One fragment is lost: the whole message is sent again, and the one that was missing is enough.
#[test]
fn all_fragments_are_sent_again() {
    let mut pair = pair(Network::GOOD, 5, SMALL, SMALL);
    pair.tamper = Some(Box::new(|from, payload| {
        if from == A && number(payload) == Some((2, 3)) {
            payload[30] ^= 1;
        }
    }));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.established(B), 0);
    pair.tamper = None;
    pair.run(4 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!(numbers(&pair, A), [(1, 3), (2, 3), (3, 3), (1, 3), (2, 3), (3, 3)].map(Some));
    let fragments: Vec<_> = pair.sent.iter().filter(|sent| number(&sent.datagram.payload).is_some() && sent.from == A).collect();
    assert_eq!(fragments[0].datagram, fragments[3].datagram, "the same octets");
}

/// Section 2.6.1: of a request that is answered only the first fragment brings the answer once more.
#[test]
fn only_the_first_fragment_of_an_old_request_is_answered() {
    let mut pair = pair(Network::GOOD, 6, SMALL, SMALL);
    pair.connect();
    let fragments: Vec<_> = pair.sent.iter().filter(|sent| sent.from == A && number(&sent.datagram.payload).is_some()).cloned().collect();
    for (fragment, answers) in fragments.iter().zip([2, 0, 0]) {
        let before = pair.sent.len();
        let datagram = &fragment.datagram;
        pair.input(B, Input::Datagram(Datagram { local: datagram.remote, remote: datagram.local, payload: datagram.payload.clone() }));
        assert_eq!(pair.sent.len() - before, answers);
    }
}

#[test]
fn an_ike_sa_that_takes_the_place_of_another_sends_fragments_too() {
    let mut pair = pair(Network::GOOD, 7, SMALL, SMALL);
    pair.connect();
    pair.rekey(A, lab());
    pair.run(SECOND);
    let before = pair.sent.len();
    // A key exchange of 32 octets and three selectors.
    for _ in 0..3 {
        pair.initiate(A);
    }
    pair.run(SECOND);
    let sent = &pair.sent[before..];
    assert!(sent.iter().all(|sent| sent.datagram.payload.len() <= 224), "{sent:?}");
    assert_eq!(pair.assert_mirrored(), pair.installed(A));
}

/// An established pair without cryptography, so that the peer's part can be written by hand.
struct Hostile {
    pair: Pair,
    header: Header,
}

impl Hostile {
    /// A's next request to B.
    fn new() -> Self {
        let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, config(A), config(B));
        pair.connect();
        let last = Header::peek(&pair.sent.last().unwrap().datagram.payload).unwrap();
        let flags = Flags { initiator: true, ..Flags::default() };
        let header = Header { flags, exchange: ExchangeType::INFORMATIONAL, version: Version::V2, message_id: 2, ..last };
        Self { pair, header }
    }

    fn arrives(&mut self, payload: Vec<u8>) -> usize {
        let before = self.pair.sent.len();
        let (local, remote) = (SocketAddr::new(B.address(), 4500), SocketAddr::new(A.address(), 4500));
        self.pair.input(B, Input::Datagram(Datagram { local, remote, payload }));
        self.pair.sent.len() - before
    }

    /// How many messages answer a fragment.
    fn fragment(&mut self, number: (u16, u16), chunk: &[u8]) -> usize {
        self.arrives(SUITE.seal_fragment(&self.header, PayloadType::NOTIFY, number, chunk))
    }
}

/// The payloads of a request, in two halves.
fn halves() -> (Vec<u8>, Vec<u8>) {
    let octets = emit_payloads(&[Payload::Notify(Notify::new(NotifyType(40_000), vec![7; 20]))]).unwrap().octets;
    let (first, second) = octets.split_at(11);
    (first.to_vec(), second.to_vec())
}

#[test]
fn fragments_in_any_order_are_one_request() {
    let (first, second) = halves();
    let mut hostile = Hostile::new();
    assert_eq!(hostile.fragment((2, 2), &second), 0);
    assert_eq!(hostile.fragment((2, 2), &second), 0, "twice is once");
    assert_eq!(hostile.fragment((1, 2), &first), 1);
    assert_eq!(hostile.pair.stat(B, "messages_malformed"), 0);
}

/// The class of faults that has brought other implementations down: counts that nobody checked.
#[test]
fn no_count_of_fragments_is_believed() {
    let (first, second) = halves();
    let mut hostile = Hostile::new();
    assert_eq!(hostile.fragment((1, 2), &first), 0);
    // Zero, and a number above the total, in a message that is sealed as it should be.
    for (number, total) in [(0, 0), (0, 2), (2, 0), (3, 2), (u16::MAX, 2), (1, 0)] {
        let mut message = SUITE.seal_fragment(&hostile.header, PayloadType::NOTIFY, (1, 2), &second);
        message[32..36].copy_from_slice(&[u16::to_be_bytes(number), u16::to_be_bytes(total)].concat());
        assert_eq!(hostile.arrives(message), 0, "{number} of {total}");
    }
    assert_eq!(hostile.pair.stat(B, "messages_malformed"), 6);
    // More than are kept, and an earlier way to cut the message.
    for number in [(1, u16::MAX), (257, 257), (1, 1)] {
        assert_eq!(hostile.fragment(number, &second), 0, "{number:?}");
    }
    assert_eq!(hostile.fragment((2, 2), &second), 1, "what was there has stayed");
    assert_eq!(hostile.pair.established(B), 1);
}

/// Section 2.6: "the receiver MUST discard all received fragments and start the reassembly process over".
#[test]
fn a_message_that_is_cut_anew_begins_anew() {
    let (first, second) = halves();
    let mut hostile = Hostile::new();
    assert_eq!(hostile.fragment((1, 2), b"nonsense"), 0);
    let (middle, last) = second.split_at(4);
    assert_eq!(hostile.fragment((1, 3), &first), 0);
    assert_eq!(hostile.fragment((2, 2), &second), 0);
    assert_eq!(hostile.fragment((2, 3), middle), 0);
    assert_eq!(hostile.fragment((3, 3), last), 1);
    assert_eq!(hostile.pair.established(B), 1);
}

#[test]
fn a_fragment_that_nobody_has_sealed_is_not_kept() {
    let (first, second) = halves();
    let mut hostile = Hostile::new();
    let mut forged = SUITE.seal_fragment(&hostile.header, PayloadType::NOTIFY, (2, 2), b"forged");
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(hostile.arrives(forged), 0);
    assert_eq!(hostile.pair.stat(B, "messages_unauthentic"), 1);
    assert_eq!(hostile.fragment((1, 2), &first), 0);
    assert_eq!(hostile.fragment((2, 2), &second), 1);
    assert_eq!(hostile.pair.established(B), 1);
}

/// Section 5: "the receiver SHOULD drop the connection and discard all the received fragments."
#[test]
fn who_sends_more_than_a_message_has_is_disconnected() {
    let mut hostile = Hostile::new();
    for number in 1..=16 {
        assert_eq!(hostile.fragment((number, 200), &[0; 4096]), 0);
    }
    assert_eq!(hostile.pair.established(B), 1, "64 KiB may be");
    assert_eq!(hostile.fragment((17, 200), &[0; 1]), 1);
    assert_eq!(hostile.pair.established(B), 0);
    assert_eq!(hostile.pair.shown(B).last().unwrap(), "INFORMATIONAL response 2: N(INVAL_SYN)");
}

/// Before the peer is authenticated it may be anybody, and has less.
#[test]
fn a_stranger_has_less_room() {
    let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, config(A), config(B));
    pair.acquire(A, 1);
    pair.run(Duration::from_millis(15));
    let last = Header::peek(&pair.sent.last().unwrap().datagram.payload).unwrap();
    let flags = Flags { initiator: true, ..Flags::default() };
    let header = Header { flags, exchange: ExchangeType::IKE_AUTH, version: Version::V2, message_id: 1, ..last };
    pair.deaf = Some(B);
    let mut hostile = Hostile { pair, header };
    for number in 1..=4 {
        assert_eq!(hostile.fragment((number, 200), &[0; 4096]), 0);
    }
    assert_eq!(hostile.pair.ike_sas(B).len(), 1);
    assert_eq!(hostile.fragment((5, 200), &[0; 1]), 1);
    assert_eq!(hostile.pair.ike_sas(B).len(), 0);
}

#[test]
fn what_never_ends_is_forgotten() {
    let (first, second) = halves();
    let mut hostile = Hostile::new();
    assert_eq!(hostile.fragment((1, 2), &first), 0);
    hostile.pair.run(Duration::from_secs(60));
    assert_eq!(hostile.fragment((2, 2), &second), 0);
    assert_eq!(hostile.fragment((1, 2), &first), 1);
}

/// Where fragments were not agreed upon, none is looked at.
#[test]
fn a_fragment_that_was_not_agreed_upon_is_ignored() {
    let mut b = config(B);
    b.connections[0].fragmentation = Fragmentation::No;
    let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, config(A), b);
    pair.connect();
    let header = Header { message_id: 2, exchange: ExchangeType::INFORMATIONAL, ..Hostile::new().header };
    let last = Header::peek(&pair.sent.last().unwrap().datagram.payload).unwrap();
    let header = Header { initiator_spi: last.initiator_spi, responder_spi: last.responder_spi, ..header };
    let mut hostile = Hostile { pair, header };
    assert_eq!(hostile.fragment((1, 1), &[]), 0);
    assert_eq!(hostile.pair.stat(B, "messages_ignored"), 1);
}
