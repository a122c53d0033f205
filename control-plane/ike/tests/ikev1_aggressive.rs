//! IKEv1: aggressive mode, with shared keys and with signatures: three messages, and what becomes of them when they are lost, repeated, forged or unwanted.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, Psk, RemoteAuth, Version};
use ike::error::Failure;
use ike::io::{Datagram, Input};
use ike_wire::v1;
use ipsec_types::{KeyKind, PolicyId, Secret};
use pair::Side::{A, B};
use pair::signing::{FakeVerifier, NAMES, credential};
use pair::{Network, Pair, Side, config, esp};

const SECOND: Duration = Duration::from_secs(1);
const AGGRESSIVE: v1::ExchangeType = v1::ExchangeType::AGGRESSIVE_MODE;
const QUICK: v1::ExchangeType = v1::ExchangeType::QUICK_MODE;
const INFO: v1::ExchangeType = v1::ExchangeType::INFORMATIONAL;

fn by_key(side: Side) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.aggressive = true;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    config
}

fn by_signature(side: Side) -> Config {
    let mut config = by_key(side);
    config.psks.clear();
    config.connections[0].local_auth = credential(NAMES[side as usize], NAMES[side as usize], KeyKind::Rsa);
    config.connections[0].remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier));
    config
}

const WAYS: [fn(Side) -> Config; 2] = [by_key, by_signature];

fn pair(seed: u64, way: fn(Side) -> Config, change: impl Fn(Side, &mut Config)) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = way(side);
        change(side, &mut config);
        config
    });
    Pair::new(seed, a, b)
}

fn header(datagram: &Datagram) -> v1::Header {
    v1::Message::parse(&datagram.payload).unwrap().header
}

fn exchanges(pair: &Pair) -> Vec<(Side, v1::ExchangeType)> {
    pair.sent.iter().map(|sent| (sent.from, header(&sent.datagram).exchange)).collect()
}

fn shown(pair: &mut Pair, side: Side) -> Vec<String> {
    pair.traced(side).into_iter().map(|(_, title, payloads)| format!("{title}: {payloads}")).collect()
}

#[test]
fn three_messages_of_aggressive_mode_and_three_of_quick_mode_bring_a_child_sa() {
    for (way, first, second, third) in [
        (WAYS[0], "SA KE No ID V V V V V V", "SA KE No ID HASH NAT-D NAT-D V V V", "HASH NAT-D NAT-D N(INITIAL-CONTACT)"),
        (
            WAYS[1],
            "SA KE No ID CERTREQ V V V V V V",
            "SA KE No ID CERT SIG CERTREQ NAT-D NAT-D V V V",
            "CERT SIG NAT-D NAT-D N(INITIAL-CONTACT)",
        ),
    ] {
        let mut pair = pair(1, way, |_, _| {});
        pair.connect();
        let expected = [(A, AGGRESSIVE), (B, AGGRESSIVE), (A, AGGRESSIVE), (A, QUICK), (B, QUICK), (A, QUICK)];
        assert_eq!(exchanges(&pair), expected);
        let encrypted: Vec<bool> = pair.sent.iter().map(|sent| header(&sent.datagram).flags.encryption).collect();
        assert_eq!(encrypted, [false, false, true, true, true, true]);
        for side in [A, B] {
            let shown = shown(&mut pair, side);
            assert_eq!(shown[..3], [first, second, third].map(|payloads| format!("Aggressive Mode: {payloads}")));
            let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA") };
            assert_eq!(sa.remote_identity.as_ref().unwrap().to_string(), NAMES[side.other() as usize]);
            assert!(pair.ping(side), "packets cross from {side:?}");
        }
    }
}

/// ike-scan and whoever looks for a hash to guess a key by see nothing.
#[test]
fn a_responder_does_not_answer_it_unless_it_is_configured() {
    for way in WAYS {
        let mut pair = pair(2, way, |side, config| config.connections[0].aggressive = side == A);
        pair.initiate(A);
        pair.run(SECOND * 20);
        assert!(pair.sent.iter().all(|sent| sent.from == A), "nothing is said");
        assert_eq!(pair.ike_sas(B).len(), 0);
        let text = pair.failure(B).to_string();
        assert!(text.contains("aggressive mode, which is not answered here") && text.contains("write aggressive = true"), "{text}");
    }
}

#[test]
fn who_answers_it_answers_main_mode_too() {
    for way in WAYS {
        let mut pair = pair(3, way, |side, config| config.connections[0].aggressive = side == B);
        pair.connect();
        assert_eq!(exchanges(&pair)[0].1, v1::ExchangeType::MAIN_MODE);
    }
}

/// A peer with an address that changes: in main mode its key could not be found.
#[test]
fn the_identity_chooses_connection_and_key() {
    let b = || {
        let mut config = by_key(B);
        config.connections[0].remote_addrs.clear();
        for (name, policy) in [("x.lab.test", 50), ("y.lab.test", 51)] {
            let mut other = by_key(B).connections.remove(0);
            other.name = name.into();
            other.remote_addrs.clear();
            other.remote_identity = Some(name.parse().unwrap());
            other.children[0].policy = PolicyId(policy);
            config.connections.insert(0, other);
        }
        config.psks = ["x", "y", "a"].map(|name| psk(&[&format!("{name}.lab.test")], name)).into();
        config
    };
    for (name, connection) in [("a", "lab"), ("x", "x.lab.test"), ("y", "y.lab.test")] {
        let mut a = by_key(A);
        a.connections[0].local_identity = format!("{name}.lab.test").parse().unwrap();
        a.psks = vec![psk(&[], name)];
        let mut pair = Pair::new(4, a, b());
        pair.initiate(A);
        pair.run(SECOND);
        let [sa] = &pair.ike_sas(B)[..] else { panic!("{name}: {:?}", pair.failures(B)) };
        assert_eq!((sa.connection.as_str(), pair.established(A)), (connection, 1));
    }
}

fn psk(owners: &[&str], secret: &str) -> Psk {
    Psk { owners: owners.iter().map(|owner| owner.parse().unwrap()).collect(), secret: Secret::copy_from(secret.as_bytes()) }
}

#[test]
fn a_wrong_key_is_told_to_both_sides() {
    let mut pair = pair(5, by_key, |side, config| {
        if side == A {
            config.psks[0].secret = Secret::copy_from(b"another");
        }
    });
    pair.initiate(A);
    pair.run(SECOND * 40);
    assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len()), (0, 0));
    let text = pair.failure(A).to_string();
    assert!(text.contains("b.lab.test does not hold the shared key"), "{text}");
    assert!(matches!(pair.failure(B), Failure::Refused(..)), "{:?}", pair.failure(B));
}

#[test]
fn a_wrong_signature_is_refused_by_either_side() {
    for liar in [A, B] {
        let mut pair = pair(6, by_signature, |side, config| {
            if side == liar {
                config.connections[0].local_auth = credential("somebody else", NAMES[side as usize], KeyKind::Rsa);
            }
        });
        pair.initiate(A);
        pair.run(SECOND);
        assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len(), pair.installed(A), pair.installed(B)), (0, 0, 0, 0), "{liar:?}");
        let seen = pair.failure(liar.other());
        assert!(matches!(&seen, Failure::Unauthenticated(detail) if detail.summary == "the signature is wrong"), "{seen:?}");
    }
}

#[test]
fn an_unexpected_identity_is_refused_by_either_side() {
    for other in [A, B] {
        let mut pair = pair(7, by_key, |side, config| {
            if side == other {
                config.connections[0].local_identity = "x.lab.test".parse().unwrap();
                config.psks[0].owners.clear();
            }
        });
        pair.initiate(A);
        pair.run(SECOND * 200);
        assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len()), (0, 0), "{other:?}");
        let seen = pair.failure(other.other());
        assert!(matches!(&seen, Failure::Unauthenticated(detail) if detail.summary.contains("x.lab.test")), "{seen:?}");
    }
}

/// "The Diffie-Hellman group [...] cannot be negotiated" (section 5.4): it is that of the public value.
#[test]
fn the_first_proposal_that_matches_has_the_group_of_the_public_value() {
    let mut pair = pair(8, by_key, |side, config| {
        let text = if side == A { "aes256-sha1-ecp256-modp2048" } else { "aes128-aes256-sha256-sha1-modp2048-ecp256" };
        config.connections[0].proposals = vec![text.parse().unwrap()];
    });
    pair.connect();
    assert_eq!(pair.ike_sas(B)[0].proposal, "AES_CBC_256/HMAC_SHA1_96/PRF_HMAC_SHA1/ECP_256");
    let message = v1::Message::parse(&pair.sent[0].datagram.payload).unwrap();
    let payloads = v1::parse_payloads(message.first, message.body).unwrap();
    let v1::Payload::Sa(sa) = &payloads[0] else { panic!("SA comes first") };
    let group = |transform: &v1::Transform| transform.value(v1::OakleyAttribute::GROUP.0);
    assert!(sa.proposals[0].transforms.iter().all(|transform| group(transform) == Some(19)), "one group is offered");
    let mut none = self::pair(9, by_key, |side, config| {
        config.connections[0].proposals = vec![if side == A { "aes128-sha256-ecp256" } else { "aes128-sha256-modp2048" }.parse().unwrap()];
    });
    none.initiate(A);
    none.run(SECOND * 10);
    assert!(none.failure(B).to_string().contains("no IKEv1 proposal in common"));
    assert!(matches!(none.failure(A), Failure::Refused(..)));
}

#[test]
fn each_lost_message_is_sent_again() {
    for way in WAYS {
        for lost in 0..6 {
            let mut pair = pair(10, way, |_, _| {});
            pair.acquire(A, 1);
            pair.gets_over_the_loss_of(lost, Duration::from_millis(5));
        }
    }
}

/// Nothing follows the last message if nobody wants a Child SA: the responder asks for it.
#[test]
fn a_lost_last_message_is_asked_for_again() {
    let mut pair = pair(11, by_key, |_, _| {});
    pair.acquire(A, 1);
    while pair.sent.len() < 3 {
        assert!(pair.step());
    }
    // Everything of A's is lost for a while: its third message, and quick mode.
    pair.deaf = Some(B);
    pair.run(SECOND * 3);
    assert_eq!((pair.established(A), pair.established(B)), (1, 0));
    pair.deaf = None;
    pair.run(SECOND * 10);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    assert_eq!(pair.assert_mirrored(), 1);
}

#[test]
fn a_bad_network_only_delays() {
    for way in WAYS {
        for seed in 0..20 {
            let [a, b] = [A, B].map(|side| {
                let mut config = way(side);
                config.connections[0].retransmission.tries = 12;
                config.connections[0].retransmission.base_percent = 110;
                config
            });
            let mut pair = Pair::on(Network::BAD, 3000 + seed, a, b);
            pair.acquire(A, 1);
            pair.comes_up(seed);
        }
    }
}

#[test]
fn a_nat_is_crossed_in_udp_on_port_4500() {
    for way in WAYS {
        let mut pair = pair(12, way, |side, config| {
            if side == B {
                config.connections[0].remote_addrs.clear();
            }
        });
        let outside: SocketAddr = "198.51.100.7:10000".parse().unwrap();
        pair.nat = Some(outside);
        pair.acquire(A, 1);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        let ports: Vec<u16> = pair.sent.iter().map(|sent| sent.datagram.local.port()).collect();
        assert_eq!(ports, [500, 500, 4500, 4500, 4500, 4500]);
        let [a, b] = [A, B].map(|side| pair.ike_sas(side).remove(0));
        assert!(a.nat_local && !a.nat_remote && !b.nat_local && b.nat_remote);
        assert!(pair.gateway(B).data_plane.installed.values().all(|sa| sa.encapsulation.is_some()));
    }
}

fn first_message(seed: u64) -> (Pair, Datagram) {
    let mut pair = pair(seed, by_key, |_, _| {});
    pair.deaf = Some(B);
    pair.initiate(A);
    pair.run(SECOND);
    pair.deaf = None;
    let Datagram { local, remote, payload } = pair.sent[0].datagram.clone();
    (pair, Datagram { local: remote, remote: local, payload })
}

/// The responder's cookie is the responder's to choose: a first message that has one is nobody's.
#[test]
fn a_first_message_with_a_responders_cookie_begins_nothing() {
    let (mut pair, first) = first_message(13);
    let mut forged = first.clone();
    forged.payload[8..16].copy_from_slice(&[9; 8]);
    pair.input(B, Input::Datagram(forged));
    assert_eq!(pair.ike_sas(B).len(), 0);
    // With the cookie of an IKE SA that is there, too, it changes nothing.
    pair.input(B, Input::Datagram(first.clone()));
    let before = pair.ike_sas(B);
    let cookie = before[0].responder_spi.unwrap();
    let mut forged = first;
    forged.payload[0] ^= 1;
    forged.payload[8..16].copy_from_slice(&cookie.value().to_be_bytes());
    pair.input(B, Input::Datagram(forged));
    assert_eq!(pair.ike_sas(B), before);
}

/// Whoever chooses the responder's cookie for its own begins something else, which the first does not notice.
#[test]
fn a_first_message_with_the_cookie_of_the_responder_as_its_own_takes_nothing_over() {
    for exchange in [AGGRESSIVE, v1::ExchangeType::MAIN_MODE] {
        let (mut pair, first) = first_message(19);
        pair.input(B, Input::Datagram(first.clone()));
        let before = pair.ike_sas(B).remove(0);
        let mut forged = first;
        forged.payload[..8].copy_from_slice(&before.responder_spi.unwrap().value().to_be_bytes());
        forged.payload[18] = exchange.0;
        pair.input(B, Input::Datagram(forged));
        let after = pair.ike_sas(B);
        assert_eq!((after.len(), &after[0]), (2, &before));
        assert_ne!(after[1].responder_spi, before.responder_spi);
        pair.run(SECOND * 10);
        assert_eq!((pair.established(A), pair.established(B)), (1, 1), "who began first goes on");
        pair.run(SECOND * 40);
        assert_eq!((pair.ike_sas(B).len(), pair.assert_mirrored()), (1, 1), "the other is forgotten");
    }
}

#[test]
fn a_repeated_first_message_with_another_body_overwrites_nothing() {
    let (mut pair, first) = first_message(14);
    pair.input(B, Input::Datagram(first.clone()));
    let before = pair.ike_sas(B);
    let sent = pair.sent.len();
    let mut other = first.clone();
    *other.payload.last_mut().unwrap() ^= 1;
    pair.input(B, Input::Datagram(other));
    assert_eq!((pair.ike_sas(B), pair.sent.len()), (before.clone(), sent), "it is no repetition, and gets no answer");
    let (_, answer) = (pair.input(B, Input::Datagram(first)), pair.sent.last().unwrap().datagram.clone());
    assert_eq!(pair.sent.len(), sent + 1, "a repetition gets the same answer");
    assert_eq!(answer.payload, pair.sent.iter().rev().nth(1).unwrap().datagram.payload);
    // And who it is from goes on.
    pair.run(SECOND * 10);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
}

#[test]
fn messages_that_come_back_or_once_more_change_nothing() {
    let mut pair = pair(15, by_key, |_, _| {});
    pair.connect();
    pair.run(SECOND * 10);
    let sent = pair.sent.clone();
    let state = |pair: &mut Pair| [A, B].map(|side| (pair.installed(side), pair.established(side)));
    let before = state(&mut pair);
    for sent in sent {
        let Datagram { local, remote, payload } = sent.datagram;
        pair.input(sent.from, Input::Datagram(Datagram { local, remote, payload: payload.clone() }));
        pair.input(sent.from.other(), Input::Datagram(Datagram { local: remote, remote: local, payload }));
    }
    pair.run(SECOND * 60);
    assert_eq!(before, state(&mut pair));
    assert!(pair.ping(A) && pair.ping(B));
}

#[test]
fn what_is_missing_in_a_first_message_is_missed() {
    let (mut pair, first) = first_message(16);
    let message = v1::Message::parse(&first.payload).unwrap();
    let payloads = v1::parse_payloads(message.first, message.body).unwrap();
    for left_out in 0..4 {
        let mut some = payloads.clone();
        some.remove(left_out);
        let chain = v1::emit_payloads(&some).unwrap();
        let payload = v1::Message { header: message.header, first: chain.first, body: &chain.octets }.emit().unwrap();
        pair.input(B, Input::Datagram(Datagram { payload, ..first.clone() }));
        assert_eq!((pair.ike_sas(B).len(), pair.sent.iter().filter(|sent| sent.from == B).count()), (0, 0), "without payload {left_out}");
    }
}

/// A peer may send its last message in the clear (RFC 2409 section 5).
#[test]
fn a_last_message_in_the_clear_is_read() {
    let mut pair = pair(17, by_key, |_, _| {});
    pair.acquire(A, 1);
    while pair.sent.len() < 3 {
        assert!(pair.step());
    }
    let third = pair.sent[2].datagram.clone();
    let hash = pair.gateway(A).traces.iter().rev().find_map(|trace| match &trace.record {
        ike::io::Record::Message { title, payloads, .. } if title == "Aggressive Mode" => payloads.first().cloned(),
        _ => None,
    });
    let hash = hash.unwrap().fields.into_iter().find(|field| field.name == "Hash Data").unwrap().value;
    let digits: String = hash.split_whitespace().collect();
    let octets: Vec<u8> = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect();
    assert_eq!(octets.len(), 32);
    let mut header = header(&third);
    header.flags.encryption = false;
    let chain = v1::emit_payloads(&[v1::Payload::Hash(octets)]).unwrap();
    let payload = v1::Message { header, first: chain.first, body: &chain.octets }.emit().unwrap();
    pair.deaf = Some(B);
    pair.run(Duration::from_millis(20));
    pair.deaf = None;
    pair.input(B, Input::Datagram(Datagram { local: third.remote, remote: third.local, payload }));
    assert_eq!(pair.established(B), 1);
}

#[test]
fn phase_1_is_replaced_under_its_child_sas() {
    for way in WAYS {
        let mut pair = pair(18, way, |_, _| {});
        pair.connect();
        let child = pair.only_child(A);
        pair.rekey(A, pair::lab());
        assert_eq!(pair.run_under_load(SECOND * 10), 0);
        assert_eq!(pair.only_child(A), child);
        assert_eq!((pair.established(A), pair.established(B)), (1, 1));
        assert!(exchanges(&pair).iter().filter(|(_, exchange)| *exchange == AGGRESSIVE).count() == 6);
        assert!(exchanges(&pair).contains(&(A, INFO)), "the old one is deleted");
    }
}
