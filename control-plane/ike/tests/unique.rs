//! How many IKE SAs one peer may have (RFC 7296 section 2.4), by who it is: its identity in IKE, or the user that EAP has shown.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, LocalAuth, RemoteAuth, StartAction, Unique};
use ike::error::Failure;
use ike::io::{Command, Event, Input, RequestId};
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, PasswordMethod, Users};
use ipsec_types::Secret;
use pair::Side::{A, B};
use pair::{Pair, Side, config};

/// Who A says it is in IKE, and as which user.
#[derive(Clone, Copy)]
struct Caller {
    identity: &'static str,
    user: Option<&'static str>,
}

/// As the responder shows it.
fn who(caller: Caller) -> String {
    caller.user.map_or_else(|| caller.identity.to_owned(), |user| format!("keyid:{user}"))
}

const fn named(identity: &'static str) -> Caller {
    Caller { identity, user: None }
}

const fn user(identity: &'static str, user: &'static str) -> Caller {
    Caller { identity, user: Some(user) }
}

/// Every caller is a connection of A's; none of them has heard of INITIAL_CONTACT.
fn callers(all: &[Caller]) -> Config {
    let mut a = Config { connections: vec![], ..config(A) };
    for (number, caller) in all.iter().enumerate() {
        let mut connection = config(A).connections.remove(0);
        connection.name = format!("caller-{number}");
        connection.local_identity = caller.identity.parse().unwrap();
        connection.unique = Unique::Never;
        if let Some(user) = caller.user {
            let password = Arc::new(Secret::copy_from(user.as_bytes()));
            connection.local_auth = LocalAuth::Eap(Arc::new(EapClient::new(PasswordMethod::Mschapv2, Some(user.into()), password)));
        }
        let child = &mut connection.children[0];
        child.policy = ipsec_types::PolicyId(u32::try_from(number).unwrap() + 1);
        child.start_action = StartAction::None;
        // Each has addresses of its own.
        child.local_selectors = vec![format!("10.1.{number}.0/24").parse().unwrap()];
        a.connections.push(connection);
    }
    a
}

fn gateway(unique: Unique, by_eap: bool) -> Config {
    let mut b = config(B);
    let connection = &mut b.connections[0];
    (connection.unique, connection.remote_identity) = (unique, None);
    if by_eap {
        let mut users = Users::default();
        for user in ["alice", "bob"] {
            users.add(user.into(), Secret::copy_from(user.as_bytes()));
        }
        connection.remote_auth = RemoteAuth::Eap(Arc::new(EapServer::new(PasswordMethod::Mschapv2, EapIdentity::Any, Arc::new(users))));
    }
    b
}

/// They call one after the other.
fn called(unique: Unique, all: &[Caller]) -> Pair {
    let mut pair = Pair::new(7, callers(all), gateway(unique, all[0].user.is_some()));
    for number in 0..all.len() {
        let request = RequestId(900 + number as u64);
        pair.input(A, Input::Command(Command::Initiate { request, child: format!("caller-{number}/net") }));
        pair.run(Duration::from_secs(5));
    }
    pair
}

/// What the responder tells of a peer's further IKE SAs.
fn told(pair: &mut Pair) -> Vec<(String, bool, &'static str)> {
    let told = |event: &Event| match event {
        Event::IkeSaNotAlone { remote, replaced, why, .. } => Some((remote.to_string(), *replaced, *why)),
        _ => None,
    };
    pair.gateway(B).events.iter().filter_map(told).collect()
}

fn refusals(pair: &mut Pair, side: Side) -> Vec<String> {
    let text = |failure: Failure| match failure {
        Failure::Unauthenticated(detail) => format!("{} {}", detail.summary, detail.ours),
        other => other.to_string(),
    };
    pair.failures(side).into_iter().map(text).collect()
}

#[test]
fn replace_ends_the_first_and_says_why() {
    for same in [[named("a.lab.test"); 2], [user("a.lab.test", "alice"); 2], [user("a.lab.test", "alice"), user("b.lab.test", "alice")]] {
        let mut pair = called(Unique::Replace, &same);
        assert_eq!(pair.established(B), 1);
        let who = who(same[0]);
        assert_eq!(told(&mut pair), [(who, true, "unique = replace")]);
        assert!(refusals(&mut pair, B).is_empty());
    }
}

#[test]
fn keep_refuses_the_second_and_says_why() {
    for same in [[named("a.lab.test"); 2], [user("a.lab.test", "alice"); 2]] {
        let mut pair = called(Unique::Keep, &same);
        assert_eq!(pair.established(B), 1);
        let who = who(same[0]);
        let expected = format!("{who} has an IKE SA already, and that one is kept connection lab: unique = keep");
        assert_eq!(refusals(&mut pair, B), [expected]);
        assert!(told(&mut pair).is_empty());
    }
}

#[test]
fn never_and_no_leave_both() {
    for (unique, why) in [(Unique::Never, "unique = never"), (Unique::No, "unique = no")] {
        for same in [[named("a.lab.test"); 2], [user("a.lab.test", "alice"); 2]] {
            let mut pair = called(unique, &same);
            assert_eq!((pair.established(B), pair.installed(B)), (2, 2), "{why} {:?}", pair.failures(B));
            // With "never" nobody looks.
            let expected: &[_] = if unique == Unique::Never { &[] } else { &[(who(same[0]), false, why)] };
            assert_eq!(told(&mut pair), expected);
        }
    }
}

/// Who is somebody else is nobody's second, whatever two users call themselves in IKE.
#[test]
fn others_are_not_touched() {
    for unique in [Unique::Replace, Unique::Keep] {
        for two in [[named("a.lab.test"), named("c.lab.test")], [user("a.lab.test", "alice"), user("a.lab.test", "bob")]] {
            let mut pair = called(unique, &two);
            assert_eq!((pair.established(B), pair.installed(B)), (2, 2), "{unique:?} {:?}", pair.failures(B));
            assert!(told(&mut pair).is_empty() && refusals(&mut pair, B).is_empty());
        }
    }
}
