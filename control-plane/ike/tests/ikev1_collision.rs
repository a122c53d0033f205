//! Phase 1 of IKEv1 that both peers begin at the same time: one stays, with what either side has asked for.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, StartAction, Version};
use ike::io::{Answer, SaState};
use pair::Side::{A, B};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SECOND: Duration = Duration::from_secs(1);

fn v1_config(side: Side) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    connection.children[0].start_action = StartAction::Trap;
    config
}

fn pair(network: Network, seed: u64) -> Pair {
    Pair::on(network, seed, v1_config(A), v1_config(B))
}

/// Both have the same IKE SA, and no other.
fn assert_one_ike_sa(pair: &mut Pair, seed: u64) {
    let [a, b] = [A, B].map(|side| pair.ike_sas(side));
    let ([a], [b]) = (&a[..], &b[..]) else { panic!("seed {seed}: {a:#?} {b:#?}") };
    assert_eq!((a.initiator_spi, a.responder_spi, a.state), (b.initiator_spi, b.responder_spi, SaState::Established));
    assert_ne!(a.initiator, b.initiator);
}

#[test]
fn one_of_two_stays_and_packets_cross() {
    let mut kept = [0, 0];
    for seed in 0..40 {
        // At the same time, or up to nearly a whole phase 1 later.
        let mut pair = pair(Network::GOOD, 100 + seed);
        pair.acquire(A, 1);
        pair.run(Duration::from_millis(seed % 10));
        pair.acquire(B, 1);
        pair.run(SECOND * 10);
        assert_one_ike_sa(&mut pair, seed);
        assert!(pair.ping(A) && pair.ping(B) && pair.assert_mirrored() >= 1, "seed {seed}");
        kept[usize::from(pair.ike_sas(A)[0].initiator)] += 1;
        // It can do what there is to be done.
        pair.rekey(B, lab());
        assert_eq!(pair.run_under_load(SECOND * 10), 0, "seed {seed}");
        assert_one_ike_sa(&mut pair, seed);
    }
    assert!(kept.iter().all(|times| *times >= 10), "chance decides: {kept:?}");
}

#[test]
fn both_may_replace_phase_1_at_once_under_its_child_sas() {
    for seed in 0..20 {
        let mut pair = pair(Network::GOOD, 200 + seed);
        pair.connect();
        let children = [A, B].map(|side| pair.only_child(side));
        let requests = [A, B].map(|side| (side, pair.rekey(side, lab())));
        assert_eq!(pair.run_under_load(SECOND * 10), 0, "seed {seed}");
        assert_one_ike_sa(&mut pair, seed);
        for (side, request) in requests {
            assert!(matches!(pair.answer(side, request), Some(Ok(Answer::Rekeyed { .. }))), "seed {seed}");
        }
        assert_eq!([A, B].map(|side| pair.only_child(side)), children);
    }
}

#[test]
fn a_bad_network_changes_nothing_for_those_who_want_packets_to_cross() {
    for seed in 0..40 {
        let mut pair = pair(Network { loss_percent: 10, ..Network::BAD }, 300 + seed);
        pair.acquire(A, 1);
        pair.acquire(B, 1);
        pair.comes_up(seed);
        pair.network = Network::GOOD;
        pair.run(SECOND * 200);
        assert!(pair.ping(A) && pair.ping(B), "seed {seed}");
    }
}

/// Whatever is replaced in a row, by either side and as soon as the one before has an answer: one of each is left.
#[test]
fn what_is_replaced_one_after_the_other_leaves_nothing_behind() {
    for seed in 0..60 {
        let mut pair = pair(Network::GOOD, 400 + seed);
        pair.connect();
        let mut numbers = pair::Numbers(seed);
        for _ in 0..12 {
            let side = if numbers.percent(50) { A } else { B };
            let request = pair.rekey(side, if numbers.percent(70) { net() } else { lab() });
            while pair.answer(side, request).is_none() {
                assert!(pair.step(), "seed {seed}");
                assert!(pair.ping(A) && pair.ping(B), "seed {seed}");
            }
            assert!(matches!(pair.answer(side, request), Some(Ok(_))), "seed {seed}: {:?}", pair.answer(side, request));
            pair.run(Duration::from_millis(numbers.below(4) * 100));
        }
        assert_eq!(pair.run_under_load(SECOND * 10), 0, "seed {seed}");
        assert_one_ike_sa(&mut pair, seed);
        assert_eq!(pair.assert_mirrored(), 1, "seed {seed}");
    }
}
