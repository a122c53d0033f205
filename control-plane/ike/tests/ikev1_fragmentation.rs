//! IKEv1 messages in fragments, as vendors do it: who sends them, and what becomes of those that are lost, late or not the peer's.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, Fragmentation, StartAction, Version};
use ike::io::{Datagram, Input};
use ike_wire::v1::{ExchangeType, Flags, Fragment, Header, Message, Payload, PayloadType, emit_payloads, parse_payloads};
use pair::Side::{A, B};
use pair::{Network, Pair, Side, config, esp};

const SECOND: Duration = Duration::from_secs(1);
/// Octets of IP and UDP, and of the four before IKE messages on port 4500.
const AROUND: usize = 20 + 8 + 4;
/// Messages with a public value, and what quick mode says, are larger.
const SMALL: Fragmentation = Fragmentation::Yes { datagram: 256 };

fn v1_config(side: Side, fragmentation: Fragmentation) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.fragmentation = fragmentation;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256-modp2048")];
    connection.children[0].start_action = StartAction::Trap;
    connection.retransmission.tries = 12;
    connection.retransmission.base_percent = 110;
    config
}

fn pair(network: Network, seed: u64, fragmentation: [Fragmentation; 2]) -> Pair {
    Pair::on(network, seed, v1_config(A, fragmentation[0]), v1_config(B, fragmentation[1]))
}

/// The fragments that a side has sent.
fn fragments(pair: &Pair, from: Side) -> Vec<Fragment> {
    let sent = pair.sent.iter().filter(|sent| sent.from == from).map(|sent| Message::parse(&sent.datagram.payload).unwrap());
    let of = |message: Message<'_>| match parse_payloads(message.first, message.body).as_deref() {
        Ok([Payload::Fragment(fragment)]) => Some(fragment.clone()),
        _ => None,
    };
    sent.filter(|message| message.first == PayloadType::FRAGMENT).filter_map(of).collect()
}

#[test]
fn messages_that_are_too_long_go_in_fragments_and_the_trace_shows_both() {
    let mut pair = pair(Network::GOOD, 1, [SMALL, SMALL]);
    pair.connect();
    assert!(pair.ping(A) && pair.ping(B));
    assert!(pair.sent.iter().all(|sent| sent.datagram.payload.len() <= 256 - AROUND));
    // The public value of phase 1, and quick mode with one.
    let parts: Vec<(u8, bool)> = fragments(&pair, A).iter().map(|fragment| (fragment.number.get(), fragment.last)).collect();
    assert_eq!(parts, [(1, false), (2, false), (3, true), (1, false), (2, false), (3, true)]);
    let whole = ["Main Mode: KE No NAT-D NAT-D", "Main Mode: FRAG(1)", "Main Mode: FRAG(2)", "Main Mode: FRAG(3, last)"];
    let shown = |pair: &mut Pair, side, outbound| -> Vec<String> {
        let lines = pair.traced(side).into_iter().filter(|(out, ..)| *out == outbound);
        lines.map(|(_, title, payloads)| format!("{title}: {payloads}")).skip(1).take(4).collect()
    };
    assert_eq!(shown(&mut pair, A, true), whole);
    assert_eq!(shown(&mut pair, B, false), [whole[1], whole[2], whole[3], whole[0]]);
    assert_eq!((pair.stat(A, "messages_fragmented"), pair.stat(B, "messages_fragmented")), (2, 2));
    assert_eq!((pair.stat(A, "messages_reassembled"), pair.stat(B, "messages_reassembled")), (2, 2));
}

#[test]
fn who_sends_fragments_is_configured_and_only_to_peers_that_take_them() {
    let (yes, accept, no) = (SMALL, Fragmentation::Accept, Fragmentation::No);
    for (a, b, sends) in [
        (yes, yes, [true, true]),
        (yes, accept, [true, false]),
        (accept, yes, [false, true]),
        (yes, no, [false, false]),
        (no, yes, [false, false]),
    ] {
        let mut pair = pair(Network::GOOD, 2, [a, b]);
        pair.connect();
        assert_eq!([A, B].map(|side| !fragments(&pair, side).is_empty()), sends, "{a:?} {b:?}");
    }
}

#[test]
fn a_bad_network_only_delays() {
    // A message in three fragments is lost as often as one of them.
    let network = Network { loss_percent: 10, ..Network::BAD };
    for seed in 0..30 {
        let mut pair = pair(network, 1000 + seed, [SMALL, SMALL]);
        pair.acquire(A, 1);
        let mut waited = 0;
        while !(pair.installed(A) > 0 && pair.installed(B) > 0 && pair.ping(A) && pair.ping(B)) {
            pair.run(SECOND * 5);
            waited += 1;
            assert!(waited < 100, "seed {seed}: nothing after 500 s: {:?} {:?}", pair.failures(A), pair.failures(B));
        }
        assert!(pair.stat(A, "messages_fragmented") > 0);
    }
}

#[test]
fn a_repetition_makes_up_for_the_fragment_that_was_lost() {
    for lost in 1..=3 {
        let mut pair = pair(Network::GOOD, 3, [SMALL, SMALL]);
        // The messages of A: its offer, then three fragments.
        let mut seen = 0;
        pair.acquire(A, 1);
        while pair.sent.iter().filter(|sent| sent.from == A).count() < 4 {
            assert!(pair.step());
        }
        let mut kept = vec![];
        for sent in pair.sent.iter().filter(|sent| sent.from == A).skip(1) {
            seen += 1;
            if seen != lost {
                kept.push(sent.datagram.clone());
            }
        }
        pair.deaf = Some(B);
        pair.run(Duration::from_millis(100));
        pair.deaf = None;
        kept.into_iter().for_each(|datagram| pair.carry(A, datagram));
        pair.run(Duration::from_millis(100));
        let first = fragments(&pair, A);
        assert_eq!((first.len(), fragments(&pair, B).len()), (3, 0), "the message is not complete");
        pair.run(SECOND * 5);
        let again = fragments(&pair, A);
        assert_eq!(again[..3], again[3..6], "all of them come again");
        assert_eq!(pair.assert_mirrored(), 1);
    }
}

fn arrive(pair: &mut Pair, fragment: Fragment) {
    let last = Message::parse(&pair.sent.last().unwrap().datagram.payload).unwrap().header;
    let header = Header::new(last.initiator_cookie, last.responder_cookie, ExchangeType::MAIN_MODE, Flags::default(), 0);
    let chain = emit_payloads(&[Payload::Fragment(fragment)]).unwrap();
    let payload = Message { header, first: chain.first, body: &chain.octets }.emit().unwrap();
    let [local, remote] = [B, A].map(|side| std::net::SocketAddr::new(side.address(), 500));
    pair.input(B, Input::Datagram(Datagram { local, remote, payload }));
}

#[test]
fn what_makes_no_message_is_bounded_and_forgotten() {
    let mut pair = pair(Network::GOOD, 4, [SMALL, SMALL]);
    pair.connect();
    let fragment = |id, number: u8, last, len| Fragment { id, number: number.try_into().unwrap(), last, data: vec![7; len] };
    let before = pair.stat(B, "messages_malformed");
    // More than a message has.
    (1..=60).for_each(|number| arrive(&mut pair, fragment(1, number, false, 1200)));
    assert_eq!(pair.stat(B, "messages_malformed"), before + 1);
    // A message of octets that are none, and a fragment in a fragment.
    arrive(&mut pair, fragment(2, 1, true, 100));
    let inner = Message::parse(&pair.sent.iter().find(|sent| sent.datagram.payload[16] == 132).unwrap().datagram.payload).unwrap();
    let data = inner.emit().unwrap();
    arrive(&mut pair, Fragment { data, ..fragment(3, 1, true, 0) });
    assert_eq!(pair.stat(B, "messages_malformed"), before + 3);
    // What stays one of several is forgotten in a minute.
    arrive(&mut pair, fragment(4, 1, false, 100));
    assert!(pair.gateway(B).endpoint.next_timeout().is_some());
    pair.run(SECOND * 61);
    assert_eq!(pair.gateway(B).endpoint.next_timeout(), None);
    assert!(pair.ping(A) && pair.assert_mirrored() == 1);
}
