//! Peers show anew who they are: the new IKE SA comes before the old one ends (RFC 7296 section 2.8.3, RFC 4478).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, IkeLifetime};
use ike::io::{Answer, Command, Event, Input, RequestId, Target};
use ipsec_types::Secret;
use pair::Side::{A, B};
use pair::{Pair, Side};

const SECOND: Duration = Duration::from_secs(1);

fn established(pair: &mut Pair, side: Side) -> usize {
    pair.gateway(side).events.iter().filter(|event| matches!(event, Event::IkeSaEstablished(_))).count()
}

fn after_100_s(side: Side, config: &mut Config) {
    config.connections[0].reauthentication = (side == A).then_some(100 * SECOND);
}

#[test]
fn the_new_ike_sa_is_there_before_the_old_one_ends_and_no_packet_is_lost() {
    let mut pair = Pair::connected(21, after_100_s);
    assert_eq!(pair.run_under_load(88 * SECOND), 0);
    assert_eq!(established(&mut pair, A), 1);
    assert_eq!(pair.run_under_load(22 * SECOND), 0);
    assert_eq!((established(&mut pair, A), established(&mut pair, B)), (2, 2));
    assert_eq!((pair.established(A), pair.established(B), pair.assert_mirrored()), (1, 1, 1));
    let shown = pair.shown(A);
    assert!(shown.iter().any(|line| line.starts_with("IKE_AUTH request 1: IDi IDr AUTH SA")), "no INITIAL_CONTACT: {shown:?}");
    let new = shown.iter().position(|line| line.starts_with("IKE_AUTH response")).unwrap();
    let old = shown.iter().position(|line| line.ends_with(": D")).unwrap();
    assert!(new < old, "{shown:?}");
    assert_eq!((pair.failures(A), pair.failures(B)), (vec![], vec![]));
}

/// The keys are new, the authentication is not.
#[test]
fn rekeying_does_not_put_it_off() {
    let mut pair = Pair::connected(22, |side, config| {
        after_100_s(side, config);
        config.connections[0].lifetime = IkeLifetime { rekey: (side == A).then_some(30 * SECOND), hard: None, jitter: Duration::ZERO };
    });
    assert_eq!(pair.run_under_load(110 * SECOND), 0);
    assert!(pair.stat(A, "ike_sas_rekeyed") >= 3);
    assert_eq!((established(&mut pair, A), pair.stat(A, "reauthentications")), (2, 1));
    assert_eq!((pair.established(A), pair.assert_mirrored()), (1, 1));
}

/// RFC 4478: the responder says so, and the initiator obeys.
#[test]
fn a_responder_says_how_long_it_believes_the_peer() {
    let mut pair = Pair::connected(23, |side, config| config.connections[0].reauthentication = (side == B).then_some(100 * SECOND));
    assert_eq!(pair.run_under_load(100 * SECOND), 0);
    assert_eq!((pair.stat(A, "reauthentications"), pair.stat(B, "reauthentications")), (1, 0));
    assert_eq!((established(&mut pair, B), pair.established(B), pair.assert_mirrored()), (2, 1, 1));
    assert!(pair.shown(A).iter().any(|line| line.starts_with("IKE_AUTH response") && line.contains("N(AUTH_LFT)")));
}

/// Whoever does not come back is disconnected.
#[test]
fn a_peer_that_does_not_show_itself_again_is_gone() {
    let mut pair = Pair::connected(24, after_100_s);
    let mut other = pair::config(B);
    other.psks[0].secret = Secret::copy_from(b"another key");
    other.connections[0].reauthentication = None;
    pair.input(B, Input::Command(Command::Configure(Box::new(other))));
    assert_eq!((pair.established(B), pair.installed(B)), (1, 1), "the key counts with the next authentication");
    pair.run(400 * SECOND);
    assert_eq!((pair.established(A), pair.established(B), pair.installed(A), pair.installed(B)), (0, 0, 0, 0));
}

/// An operator's wish; what cannot be is refused, and everything stays.
#[test]
fn an_operator_asks_for_it() {
    let mut pair = Pair::connected(25, |side, config| {
        if side == B {
            config.connections[0].remote_addrs.clear();
        }
    });
    let old = pair.ike_sas(A)[0].id;
    let ask = |pair: &mut Pair, side, target| {
        pair.input(side, Input::Command(Command::Reauthenticate { request: RequestId(77), target }));
        assert_eq!(pair.run_under_load(10 * SECOND), 0);
        let answer = pair.answer(side, RequestId(77)).unwrap();
        pair.gateway(side).events.clear();
        answer
    };
    let Ok(Answer::Rekeyed { ike_sas, child_sas }) = ask(&mut pair, A, pair::lab()) else { panic!() };
    let new = pair.ike_sas(A)[0].id;
    assert_eq!((ike_sas, child_sas.len()), (vec![new], 0));
    assert_ne!(new, old);
    assert_eq!((pair.established(A), pair.established(B), pair.assert_mirrored()), (1, 1, 1));
    assert_eq!(pair.stat(A, "reauthentications"), 1);

    let why = |answer: Result<Answer, ike::error::Failure>| answer.unwrap_err().to_string();
    assert!(why(ask(&mut pair, A, Target::IkeSa(old))).contains("there is no such IKE SA"));
    assert!(why(ask(&mut pair, A, pair::net())).contains("name that, or a connection"));
    assert!(why(ask(&mut pair, B, pair::lab())).contains("the peer has to begin"));
    assert_eq!((pair.ike_sas(A)[0].id, pair.assert_mirrored()), (new, 1));
}

/// The peer refuses the new one: the operator is told, and the old one ends when that is certain.
#[test]
fn an_operator_is_told_that_the_peer_is_not_who_it_was() {
    let mut pair = Pair::connected(26, |_, _| {});
    let mut other = pair::config(B);
    other.psks[0].secret = Secret::copy_from(b"another key");
    pair.input(B, Input::Command(Command::Configure(Box::new(other))));
    pair.input(A, Input::Command(Command::Reauthenticate { request: RequestId(77), target: pair::lab() }));
    pair.run(60 * SECOND);
    assert!(pair.answer(A, RequestId(77)).unwrap().is_err());
    assert_eq!((pair.established(A), pair.installed(A)), (0, 0));
}
