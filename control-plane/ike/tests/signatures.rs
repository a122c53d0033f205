//! IKE_AUTH with signatures, made and checked by fakes: who signs what, who checks it, and what becomes of a wrong one.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, RemoteAuth};
use ike::error::Failure;
use ike::io::Input;
use ipsec_types::{KeyKind, Spi};
use pair::signing::{AWAY, FakeVerifier, NAMES, credential};
use pair::{Pair, Side, config};

use Side::{A, B};

/// Both sign; without any shared key.
fn signing(side: Side) -> Config {
    let mut config = config(side);
    config.psks.clear();
    config.connections[0].local_auth = credential(NAMES[side as usize], NAMES[side as usize], KeyKind::EcdsaP256);
    config.connections[0].remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier));
    config
}

fn names(pair: &Pair, side: Side) -> Vec<String> {
    pair.gateways[side as usize]
        .traces
        .iter()
        .filter_map(|trace| match &trace.record {
            ike::io::Record::Message { title, payloads, .. } => {
                Some(format!("{title}: {}", payloads.iter().map(|payload| payload.name.clone()).collect::<Vec<_>>().join(" ")))
            }
            ike::io::Record::Step { .. } => None,
        })
        .collect()
}

#[test]
fn both_sign_in_four_messages() {
    let mut pair = Pair::new(1, signing(A), signing(B));
    pair.connect();
    assert_eq!(pair.sent.len(), 4);
    let said = names(&pair, A);
    let expected = [
        "IKE_SA_INIT request 0: SA KE No N(NATD_S_IP) N(NATD_D_IP) N(HASH_ALG) N(FRAG_SUP)",
        "IKE_SA_INIT response 0: SA KE No N(NATD_S_IP) N(NATD_D_IP) CERTREQ N(HASH_ALG) N(FRAG_SUP) N(CHDLESS_SUP)",
        "IKE_AUTH request 1: SK IDi CERT CERTREQ IDr N(INIT_CONTACT) AUTH SA TSi TSr",
        "IKE_AUTH response 1: SK IDr CERT AUTH N(INIT_CONTACT) SA TSi TSr",
    ];
    assert_eq!(said, expected);
}

#[test]
fn one_signs_and_the_other_has_a_shared_key() {
    let mut a = config(A);
    a.connections[0].remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier));
    let mut b = config(B);
    b.connections[0].local_auth = credential(NAMES[1], NAMES[1], KeyKind::Rsa);
    let mut pair = Pair::new(2, a, b);
    pair.connect();
    assert_eq!(pair.sent.len(), 4);
}

#[test]
fn a_wrong_signature_is_refused_by_either_side() {
    for liar in [A, B] {
        let mut configs = [signing(A), signing(B)];
        configs[liar as usize].connections[0].local_auth = credential("somebody else", NAMES[liar as usize], KeyKind::Ed25519);
        let [a, b] = configs;
        let mut pair = Pair::new(3, a, b);
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(2));
        assert!(pair.gateways.iter().all(|gateway| gateway.data_plane.installed.is_empty()));
        let seen = pair.failure(liar.other());
        assert!(matches!(&seen, Failure::Unauthenticated(detail) if detail.summary == "the signature is wrong"), "{seen:?}");
    }
}

#[test]
fn a_key_out_of_reach_is_told_to_the_operator_alone() {
    for broken in [A, B] {
        let mut configs = [signing(A), signing(B)];
        configs[broken as usize].connections[0].local_auth = credential("broken", NAMES[broken as usize], KeyKind::Rsa);
        let [a, b] = configs;
        let mut pair = Pair::new(4, a, b);
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(2));
        assert!(pair.gateways.iter().all(|gateway| gateway.data_plane.installed.is_empty()));
        assert!(pair.failure(broken).to_string().contains(AWAY), "{}", pair.failure(broken));
        if broken == B {
            assert!(!pair.failure(A).to_string().contains("token"), "{}", pair.failure(A));
        }
    }
}

#[test]
fn a_shared_key_is_not_taken_where_a_signature_is_due_nor_the_other_way_round() {
    for (signs, expected) in [(A, "not by a shared key"), (B, "not by a signature")] {
        let a = if signs == A { signing(A) } else { config(A) };
        let b = if signs == B { signing(B) } else { config(B) };
        let mut pair = Pair::new(5, a, b);
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(2));
        assert!(pair.gateways.iter().all(|gateway| gateway.data_plane.installed.is_empty()));
        assert!(pair.failure(B).to_string().contains(expected), "{}", pair.failure(B));
    }
}

/// Jobs that never end hold nobody up, and a responder forgets.
#[test]
fn a_verification_without_an_end_is_given_up() {
    let mut pair = Pair::new(6, signing(A), signing(B));
    pair.acquire(A, 1);
    pair.run(Duration::from_millis(25));
    pair.idle = Some(B);
    pair.run(Duration::from_secs(200));
    assert!(pair.gateways.iter().all(|gateway| gateway.data_plane.installed.is_empty()));
    assert!(pair.gateways[B as usize].endpoint.ike_sas(pair.now).is_empty());
}

/// Others may have taken the SPIs that were there when the request came.
#[test]
fn a_responder_without_spis_after_its_signature_waits_for_more() {
    let mut pair = Pair::new(7, signing(A), signing(B));
    pair.gateway(B).data_plane.stingy = true;
    pair.attach(B, [1; 16], 2);
    pair.input(B, Input::SpisLeased(vec![Spi::new(0xbbbb_0001).unwrap()]));
    pair.acquire(A, 1);
    pair.run(Duration::from_millis(25));
    pair.idle = Some(B);
    pair.run(Duration::from_millis(200));
    pair.initiate(B);
    assert_eq!(pair.stat(B, "spis_free"), 0);
    pair.make_up();
    pair.run(Duration::from_millis(200));
    assert_eq!(pair.failures(A), []);
    pair.input(B, Input::SpisLeased(vec![Spi::new(0xbbbb_0002).unwrap()]));
    pair.run(Duration::from_secs(1));
    assert!(pair.failures(A).is_empty() && pair.installed(A) > 0 && pair.installed(B) > 0);
}
