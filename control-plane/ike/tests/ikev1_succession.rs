//! A quick mode of IKEv1 that is under way while another phase 1 takes the place of its own.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, IkeLifetime, StartAction, Version};
use ike::io::{Answer, Event, SaState};
use pair::Side::{A, B};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SECOND: Duration = Duration::from_secs(1);

/// One Child SA under one phase 1.
fn pair(seed: u64, change: impl Fn(&mut Config)) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        let connection = &mut config.connections[0];
        connection.version = Version::V1;
        connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
        connection.children[0].proposals = vec![esp("aes128-sha256")];
        connection.children[0].start_action = StartAction::Trap;
        change(&mut config);
        config
    });
    let mut pair = Pair::new(seed, a, b);
    pair.connect();
    pair
}

/// A begins a quick mode in the place of the Child SA, of which the message with this number is lost once.
fn begin_with_a_loss(pair: &mut Pair, lost: usize) {
    let before = pair.sent.len();
    pair.rekey(A, net());
    loop {
        pair.network.loss_percent = if pair.sent.len() == before + lost { 100 } else { 0 };
        if pair.sent.len() > before + lost {
            break;
        }
        assert!(pair.step());
    }
}

/// How many Child SAs took the place of others, and how many were new.
fn installed(pair: &mut Pair, side: Side) -> [usize; 2] {
    let count = |is: fn(&Event) -> bool| pair.gateways[side as usize].events.iter().filter(|event| is(event)).count();
    [count(|event| matches!(event, Event::ChildSaRekeyed { .. })), count(|event| matches!(event, Event::ChildSaInstalled { .. }))]
}

fn assert_one_of_each(pair: &mut Pair) {
    for side in [A, B] {
        let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA at {side:?}: {:#?}", pair.ike_sas(side)) };
        let states: Vec<SaState> = sa.children.iter().map(|child| child.state).collect();
        assert_eq!((sa.state, &states[..]), (SaState::Established, &[SaState::Established][..]), "{side:?}");
    }
    assert_eq!(pair.assert_mirrored(), 1);
}

/// Whichever message is late, and whoever begins the new phase 1 then: the Child SA takes the place of the one that has moved under that.
#[test]
fn it_ends_as_if_nothing_had_happened() {
    for (lost, begins) in (0..3).flat_map(|lost| [A, B].map(|side| (lost, side))) {
        let mut pair = pair(1, |_| {});
        let old = pair.only_child(A);
        begin_with_a_loss(&mut pair, lost);
        pair.network = Network::GOOD;
        let request = pair.rekey(begins, lab());
        assert_eq!(pair.run_under_load(SECOND * 40), 0, "message {lost} is lost, {begins:?} begins phase 1");
        assert!(matches!(pair.answer(begins, request), Some(Ok(Answer::Rekeyed { .. }))), "{lost} {begins:?}");
        assert_ne!(pair.only_child(A), old, "{lost} {begins:?}");
        assert_one_of_each(&mut pair);
        for side in [A, B] {
            assert_eq!(installed(&mut pair, side), [1, 1], "{lost} {begins:?}: {side:?}");
        }
    }
}

/// Nor where the old phase 1 comes to the end of its life before the third message is sent again.
#[test]
fn it_ends_with_its_phase_1_as_well() {
    let lifetime = IkeLifetime { rekey: None, hard: Some(SECOND * 100), jitter: Duration::ZERO };
    let mut pair = pair(2, |config| config.connections[0].lifetime = lifetime);
    let old = pair.only_child(A);
    assert_eq!(pair.run_under_load(SECOND * 98), 0);
    begin_with_a_loss(&mut pair, 2);
    pair.network = Network::GOOD;
    pair.rekey(A, lab());
    assert_eq!(pair.run_under_load(SECOND * 40), 0);
    assert_ne!(pair.only_child(A), old);
    assert_one_of_each(&mut pair);
    for side in [A, B] {
        assert_eq!(installed(&mut pair, side), [1, 1], "{side:?}");
    }
}
