//! Several rounds of authentication in IKE_AUTH (RFC 4739): the messages of its examples, and that nobody is believed before the last round.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, LocalAuth, LocalRound, RemoteAuth, RemoteRound};
use ike::error::Failure;
use ike::io::Event;
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, PasswordMethod, Users};
use ipsec_types::{Identity, Secret};
use pair::{Network, Pair, Side, config};

use Side::{A, B};

fn by_eap(password: &str) -> LocalRound {
    let password = Arc::new(Secret::copy_from(password.as_bytes()));
    let client = EapClient::new(PasswordMethod::Mschapv2, Some("alice".into()), password);
    LocalRound { identity: "alice@lab.test".parse().unwrap(), auth: LocalAuth::Eap(Arc::new(client)) }
}

fn users() -> RemoteRound {
    let mut users = Users::default();
    users.add("alice".into(), Secret::copy_from(b"wonderland"));
    let server = EapServer::new(PasswordMethod::Mschapv2, EapIdentity::Any, Arc::new(users));
    RemoteRound { identity: None, auth: RemoteAuth::Eap(Arc::new(server)) }
}

fn ours(identity: &str) -> LocalRound {
    LocalRound { identity: identity.parse().unwrap(), auth: LocalAuth::Psk }
}

fn theirs(identity: &str) -> RemoteRound {
    RemoteRound { identity: Some(identity.parse().unwrap()), auth: RemoteAuth::Psk }
}

/// A and B with these rounds after the first, which is by a shared key.
fn configs(a: (Vec<LocalRound>, Vec<RemoteRound>), b: (Vec<LocalRound>, Vec<RemoteRound>)) -> [Config; 2] {
    let of = |side, (local, remote)| {
        let mut config = config(side);
        config.connections[0].local_more = local;
        config.connections[0].remote_more = remote;
        config
    };
    [of(A, a), of(B, b)]
}

fn host_and_user(password: &str) -> [Config; 2] {
    configs((vec![by_eap(password)], vec![]), (vec![], vec![users()]))
}

fn established(pair: &Pair, side: Side) -> bool {
    pair.gateways[side as usize].events.iter().any(|event| matches!(event, Event::IkeSaEstablished(_)))
}

fn peer_of(pair: &mut Pair, side: Side) -> Identity {
    let now = pair.now;
    pair.gateway(side).endpoint.ike_sas(now).first().unwrap().remote_identity.clone().unwrap()
}

fn connected([a, b]: [Config; 2]) -> Pair {
    let mut pair = Pair::new(1, a, b);
    pair.connect();
    pair
}

/// A calls B, and comes to nothing. B may have believed A before A does not believe B.
fn refused([a, b]: [Config; 2]) -> Pair {
    let mut pair = Pair::new(1, a, b);
    pair.acquire(A, 1);
    pair.run(Duration::from_secs(20));
    assert!(!established(&pair, A));
    assert_eq!([A, B].map(|side| (pair.installed(side), pair.established(side))), [(0, 0); 2]);
    pair
}

/// Section 2.3, example 2.
#[test]
fn a_host_shows_who_it_is_and_then_its_user() {
    let mut pair = connected(host_and_user("wonderland"));
    let expected = [
        "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT) N(MULT_AUTH) N(AUTH_FOLLOWS) AUTH SA TSi TSr",
        "IKE_AUTH response 1: SK IDr AUTH",
        "IKE_AUTH request 2: SK IDi",
        "IKE_AUTH response 2: SK EAP",
        "IKE_AUTH request 3: SK EAP",
        "IKE_AUTH response 3: SK EAP",
        "IKE_AUTH request 4: SK EAP",
        "IKE_AUTH response 4: SK EAP",
        "IKE_AUTH request 5: SK EAP",
        "IKE_AUTH response 5: SK EAP",
        "IKE_AUTH request 6: SK AUTH",
        "IKE_AUTH response 6: SK AUTH N(INIT_CONTACT) SA TSi TSr",
    ];
    assert_eq!(pair.ike_auth(A), expected);
    assert_eq!(peer_of(&mut pair, B), "keyid:alice".parse().unwrap());
    assert_eq!(peer_of(&mut pair, A), "b.lab.test".parse().unwrap());
}

/// Section 2.2, example 1, but for the responder's certificate.
#[test]
fn two_users_one_after_the_other() {
    let [mut a, mut b] = host_and_user("wonderland");
    a.connections[0].local_auth = by_eap("wonderland").auth;
    b.connections[0].remote_auth = users().auth;
    let pair = connected([a, b]);
    let said = pair.ike_auth(A);
    assert!(said.contains(&"IKE_AUTH request 5: SK AUTH N(AUTH_FOLLOWS)".to_owned()), "{said:?}");
    assert!(said.contains(&"IKE_AUTH response 5: SK AUTH".to_owned()), "{said:?}");
    assert!(said.contains(&"IKE_AUTH request 6: SK IDi".to_owned()), "{said:?}");
    assert_eq!(said.last().unwrap(), "IKE_AUTH response 10: SK AUTH N(INIT_CONTACT) SA TSi TSr");
}

/// Section 2.4, example 3.
#[test]
fn an_initiator_has_two_keys() {
    let mut pair = connected(configs((vec![ours("host.a")], vec![]), (vec![], vec![theirs("host.a")])));
    let expected = [
        "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT) N(MULT_AUTH) N(AUTH_FOLLOWS) AUTH SA TSi TSr",
        "IKE_AUTH response 1: SK IDr AUTH",
        "IKE_AUTH request 2: SK IDi AUTH",
        "IKE_AUTH response 2: SK N(INIT_CONTACT) SA TSi TSr",
    ];
    assert_eq!(pair.ike_auth(A), expected);
    assert_eq!(peer_of(&mut pair, B), "host.a".parse().unwrap());
}

/// Section 2.5, example 4.
#[test]
fn a_responder_has_two_keys() {
    let mut pair = connected(configs((vec![], vec![theirs("host.b")]), (vec![ours("host.b")], vec![])));
    let expected = [
        "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT) N(MULT_AUTH) AUTH SA TSi TSr",
        "IKE_AUTH response 1: SK IDr AUTH N(AUTH_FOLLOWS)",
        "IKE_AUTH request 2: SK",
        "IKE_AUTH response 2: SK IDr AUTH N(INIT_CONTACT) SA TSi TSr",
    ];
    assert_eq!(pair.ike_auth(A), expected);
    assert_eq!(peer_of(&mut pair, A), "host.b".parse().unwrap());
}

#[test]
fn both_have_three() {
    let rounds = |ours_of: &str, theirs_of: &str| {
        let numbered = |host: &str| [2, 3].map(|round| format!("{round}.{host}"));
        (numbered(ours_of).map(|id| ours(&id)).to_vec(), numbered(theirs_of).map(|id| theirs(&id)).to_vec())
    };
    let pair = connected(configs(rounds("a", "b"), rounds("b", "a")));
    assert_eq!(pair.ike_auth(A).len(), 6);
}

/// Nobody is authenticated, and nothing installed, between the rounds.
#[test]
fn one_round_of_two_proves_nothing() {
    let [a, b] = configs((vec![ours("host.a")], vec![theirs("host.b")]), (vec![ours("host.b")], vec![theirs("host.a")]));
    let mut pair = Pair::new(1, a, b);
    pair.acquire(A, 1);
    // There and back again twice, and the request of the second round, which is on its way.
    pair.run(Duration::from_millis(45));
    assert_eq!(pair.ike_auth(A).len(), 3);
    for side in [A, B] {
        assert!(!established(&pair, side));
        assert!(pair.gateway(side).data_plane.installed.is_empty());
    }
    pair.run(Duration::from_secs(1));
    pair.assert_mirrored();
}

#[test]
fn loss_repetition_and_reordering_change_nothing() {
    for seed in 0..20 {
        let [a, b] = host_and_user("wonderland");
        let mut pair = Pair::new(seed, a, b);
        pair.network = Network { loss_percent: 10, duplication_percent: 25, delay: (Duration::from_millis(1), Duration::from_millis(400)) };
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(100));
        pair.network = Network::GOOD;
        pair.run(Duration::from_secs(10));
        pair.assert_mirrored();
    }
}

#[test]
fn what_the_second_round_does_not_show_is_refused() {
    let pair = refused(host_and_user("another"));
    assert!(pair.failure(B).to_string().contains("does not know the password"), "{}", pair.failure(B));
    assert!(pair.failure(A).to_string().contains("refuses us"));
    // Another identity, and another key, on either side.
    let pair = refused(configs((vec![ours("host.x")], vec![]), (vec![], vec![theirs("host.a")])));
    assert!(pair.failure(B).to_string().contains("the peer is host.x, not host.a"));
    let pair = refused(configs((vec![], vec![theirs("host.b")]), (vec![ours("host.x")], vec![])));
    assert!(pair.failure(A).to_string().contains("the peer is host.x, not host.b"));
    // Another way than is asked for.
    let pair = refused(configs((vec![ours("host.a")], vec![]), (vec![], vec![users()])));
    assert!(pair.failure(B).to_string().contains("not by EAP"));
    let pair = refused(configs((vec![by_eap("wonderland")], vec![]), (vec![], vec![theirs("alice@lab.test")])));
    assert!(pair.failure(B).to_string().contains("wants to authenticate by EAP, not by a shared key"));
}

#[test]
fn more_rounds_or_fewer_than_are_configured_are_refused() {
    // A stops before B believes it.
    let pair = refused(configs((vec![], vec![theirs("host.b")]), (vec![ours("host.b")], vec![theirs("host.a")])));
    assert!(pair.failure(B).to_string().contains("the peer has to authenticate 2 times, and stops before"));
    // B shows less than A wants.
    let pair = refused(configs((vec![ours("host.a")], vec![theirs("host.b")]), (vec![], vec![theirs("host.a")])));
    assert!(pair.failure(A).to_string().contains("stops before"), "{}", pair.failure(A));
    // A would go on.
    let more = vec![ours("host.a"), ours("user.a")];
    let pair = refused(configs((more, vec![]), (vec![], vec![theirs("host.a")])));
    assert!(pair.failure(B).to_string().contains("would do so more often"));
    // One of the two does not know RFC 4739 at all.
    let pair = refused(configs((vec![ours("host.a")], vec![]), (vec![], vec![])));
    assert!(matches!(pair.failure(A), Failure::Incompatible(..)), "{}", pair.failure(A));
    let pair = refused(configs((vec![], vec![]), (vec![], vec![theirs("host.a")])));
    assert!(pair.failure(B).to_string().contains("does not take several rounds"), "{}", pair.failure(B));
}

/// The last response may hold nothing but the refusal of the Child SA.
#[test]
fn a_child_sa_that_is_refused_leaves_the_ike_sa() {
    let [a, mut b] = configs((vec![ours("host.a")], vec![]), (vec![], vec![theirs("host.a")]));
    b.connections[0].children[0].proposals = vec![pair::esp("aes256gcm16")];
    let mut pair = Pair::new(1, a, b);
    pair.acquire(A, 1);
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.ike_auth(A).last().unwrap(), "IKE_AUTH response 2: SK N(INIT_CONTACT) N(NO_PROP)");
    assert!(established(&pair, A) && established(&pair, B));
    assert!(pair.gateway(A).data_plane.installed.is_empty());
}
