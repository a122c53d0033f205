//! What both peers of IKEv1 begin at the same time, a phase 1 or a quick mode for the same traffic: one stays, with what either side has asked for.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, StartAction, Version};
use ike::io::{Answer, Event, SaState};
use ipsec_types::Activation;
use pair::Side::{A, B};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SECOND: Duration = Duration::from_secs(1);
/// The exchange type.
const INFORMATIONAL: u8 = 5;

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
        // The other one stays until the peer cannot ask for the end of a quick mode any more.
        pair.run(SECOND * 15);
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

/// Whether the only Child SA is of a quick mode that this side has begun: such a one is parked for a while at most.
fn has_made_it(pair: &mut Pair, side: Side) -> bool {
    let child = pair.only_child(side);
    matches!(pair.gateway(side).data_plane.installed[&child].activation, Activation::Parked { fallback: Some(_) })
}

/// One Child SA is left, that both have, and it can be replaced like any other.
fn assert_one_child_sa(pair: &mut Pair, seed: u64) {
    for replaces in [A, B] {
        let states = [A, B].map(|side| pair.ike_sas(side).iter().flat_map(|sa| &sa.children).map(|child| child.state).collect::<Vec<_>>());
        assert_eq!(states, [[SaState::Established], [SaState::Established]], "seed {seed}");
        assert_eq!(pair.assert_mirrored(), 1, "seed {seed}");
        let old = pair.only_child(replaces);
        pair.soft_expire(replaces);
        assert_eq!(pair.run_under_load(SECOND * 10), 0, "seed {seed}");
        assert_ne!(pair.only_child(replaces), old, "seed {seed}");
    }
}

/// As RFC 7296 section 2.8.1 has it, and RFC 2409 nothing at all.
#[test]
fn of_two_child_sas_in_the_place_of_one_a_nonce_chooses() {
    let mut made_by_a = [0, 0];
    for seed in 0..40 {
        let mut pair = pair(Network::GOOD, 500 + seed);
        pair.connect();
        // At the same time, or just before the first message of the other side comes.
        let first = pair.rekey(A, net());
        pair.run(Duration::from_millis(seed % 10));
        let second = pair.rekey(B, net());
        assert_eq!(pair.run_under_load(SECOND * 10), 0, "seed {seed}");
        for (side, request) in [(A, first), (B, second)] {
            assert!(matches!(pair.answer(side, request), Some(Ok(Answer::Rekeyed { .. }))), "seed {seed}");
            // One in the place of the old one, and one in the place of the other.
            let rekeyed = pair.gateway(side).events.iter().filter(|event| matches!(event, Event::ChildSaRekeyed { .. })).count();
            assert_eq!(rekeyed, 3, "seed {seed}");
        }
        let is_made_by_a = has_made_it(&mut pair, A);
        assert_ne!(is_made_by_a, has_made_it(&mut pair, B), "seed {seed}");
        made_by_a[usize::from(is_made_by_a)] += 1;
        assert_one_child_sa(&mut pair, seed);
    }
    assert!(made_by_a.iter().all(|times| *times >= 10), "chance decides: {made_by_a:?}");
}

#[test]
fn of_two_where_there_was_none_a_nonce_chooses_too() {
    for seed in 0..40 {
        let mut pair = pair(Network::GOOD, 600 + seed);
        pair.connect();
        pair.terminate(A, net());
        pair.run(SECOND);
        pair.acquire(A, 2);
        pair.run(Duration::from_millis(seed % 10));
        pair.acquire(B, 2);
        pair.run(SECOND);
        assert_eq!(pair.run_under_load(SECOND * 10), 0, "seed {seed}");
        assert_one_child_sa(&mut pair, seed);
    }
}

/// A peer that leaves what it has replaced, or whose Delete is lost.
#[test]
fn what_the_peer_leaves_behind_is_deleted_by_this_side() {
    let mut made_by_a = [0, 0];
    for seed in 0..20 {
        let mut pair = pair(Network::GOOD, 700 + seed);
        pair.connect();
        pair.tamper = Some(Box::new(|side, octets| {
            if side == B && octets[18] == INFORMATIONAL {
                octets[40] ^= 1;
            }
        }));
        let both = seed % 4 != 0;
        for side in [A, B].into_iter().filter(|side| both || *side == B) {
            pair.rekey(side, net());
        }
        assert_eq!(pair.run_under_load(SECOND * 40), 0, "seed {seed}");
        if both {
            made_by_a[usize::from(has_made_it(&mut pair, A))] += 1;
        }
        pair.tamper = None;
        assert_one_child_sa(&mut pair, seed);
    }
    assert!(made_by_a.iter().all(|times| *times >= 3), "chance decides: {made_by_a:?}");
}

/// The sides need not agree on which was first: a message that is sent again may come when the other quick mode is long over.
#[test]
fn a_first_message_that_comes_late_leaves_one_as_well() {
    let mut made_by_a = [0, 0];
    for seed in 0..40 {
        let mut pair = pair(Network::GOOD, 800 + seed);
        pair.connect();
        pair.rekey(A, net());
        pair.network.loss_percent = 100;
        pair.rekey(B, net());
        pair.network.loss_percent = 0;
        assert_eq!(pair.run_under_load(SECOND * 50), 0, "seed {seed}");
        made_by_a[usize::from(has_made_it(&mut pair, A))] += 1;
        assert_one_child_sa(&mut pair, seed);
    }
    assert!(made_by_a.iter().all(|times| *times >= 10), "chance decides: {made_by_a:?}");
}

#[test]
fn a_bad_network_leaves_one_child_sa_as_well() {
    for seed in 0..60 {
        let mut pair = pair(Network::GOOD, 900 + seed);
        pair.connect();
        pair.network = Network { loss_percent: 20, ..Network::BAD };
        pair.rekey(A, net());
        pair.run(Duration::from_millis(seed * 20));
        pair.rekey(B, net());
        pair.run(SECOND * 100);
        pair.network = Network::GOOD;
        pair.run(SECOND * 200);
        assert_eq!(pair.run_under_load(SECOND), 0, "seed {seed}");
        assert_one_child_sa(&mut pair, seed);
    }
}

/// However often either side begins while others are under way, and whichever messages overtake others, or come twice.
#[test]
fn child_sas_that_are_replaced_all_the_time_leave_one_as_well() {
    for seed in 0..150 {
        let mut pair = pair(Network::GOOD, 1000 + seed);
        pair.connect();
        pair.network = Network { loss_percent: 0, ..Network::BAD };
        let mut numbers = pair::Numbers(seed);
        for _ in 0..8 {
            pair.rekey(if numbers.percent(50) { A } else { B }, net());
            pair.run(Duration::from_millis(numbers.below(8) * 500));
        }
        pair.run(SECOND * 100);
        pair.network = Network::GOOD;
        assert_eq!(pair.run_under_load(SECOND), 0, "seed {seed}");
        assert_one_child_sa(&mut pair, seed);
    }
}
