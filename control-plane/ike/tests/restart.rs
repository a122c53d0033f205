//! What outlives the restart of a process: nobody's packets are lost, and no SA stays behind.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::collections::BTreeSet;
use std::time::Duration;

use ike::config::{Config, StartAction, Unique};
use ike::error::Failure;
use ike::io::{Answer, Command, Dataplane, Event, Input};
use ipsec_types::{ChildSaId, PolicyId, Spi};
use pair::Side::{A, B};
use pair::{Pair, Side, config, net};

const SECOND: Duration = Duration::from_secs(1);

fn spis(pair: &mut Pair, side: Side) -> BTreeSet<Spi> {
    pair.gateway(side).data_plane.installed.values().flat_map(|sa| [sa.inbound_spi, sa.outbound_spi]).collect()
}

fn up(seed: u64) -> Pair {
    let mut pair = Pair::default(seed);
    pair.acquire(A, 1);
    pair.run(2 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    pair
}

/// The IKE SA stays, the keys do not: whoever began, and whoever's data plane was restarted.
#[test]
fn lost_child_sas_are_replaced_under_the_same_ike_sa() {
    for (side, start_action) in [A, B].into_iter().flat_map(|side| [(side, StartAction::Trap), (side, StartAction::Start)]) {
        let with = |side| {
            let mut config = config(side);
            config.connections[0].children[0].start_action = start_action;
            config
        };
        let mut pair = Pair::new(51, with(A), with(B));
        pair.acquire(A, 1);
        pair.run(2 * SECOND);
        for boot in 2..5 {
            let count = pair.gateway(A).data_plane.installed.len();
            let old = spis(&mut pair, side);
            let keys: Vec<Vec<u8>> =
                pair.gateway(side).data_plane.installed.values().map(|sa| sa.inbound_keys.encryption.expose().to_vec()).collect();
            pair.restart_data_plane(side, boot);
            pair.run(SECOND);
            assert_eq!(pair.assert_mirrored(), count);
            assert!(old.is_disjoint(&spis(&mut pair, side)));
            assert!(
                pair.gateway(side)
                    .data_plane
                    .installed
                    .values()
                    .all(|sa| !keys.iter().any(|old| sa.inbound_keys.encryption.expose() == old))
            );
            assert_eq!(pair.stat(A, "ike_sas_established"), u64::try_from(pair.established(A)).unwrap(), "no new IKE SA was needed");
            assert_eq!(pair.run_under_load(2 * SECOND), 0);
            let children: usize = pair.ike_sas(side).iter().map(|sa| sa.children.len()).sum();
            assert_eq!(children, count);
        }
    }
}

/// Both sides have lost the same Child SA, and both replace it: neither waits for the other to be done with the old one.
#[test]
fn what_both_data_planes_have_lost_is_replaced_once() {
    for seed in 0..40 {
        let mut pair = up(seed);
        let old = &spis(&mut pair, A) | &spis(&mut pair, B);
        pair.restart_data_plane(A, 2);
        pair.run(Duration::from_millis(seed % 4 * 20));
        pair.restart_data_plane(B, 2);
        pair.run(4 * SECOND);
        assert_eq!(pair.assert_mirrored(), 1, "seed {seed}");
        assert!(old.is_disjoint(&spis(&mut pair, A)), "seed {seed}");
        assert_eq!(pair.stat(A, "ike_sas_established"), 1, "seed {seed}: no new IKE SA was needed");
        assert_eq!(pair.run_under_load(2 * SECOND), 0, "seed {seed}");
        assert_eq!([A, B].map(|side| pair.ike_sas(side).iter().map(|sa| sa.children.len()).sum::<usize>()), [1, 1], "seed {seed}");
    }
}

/// The same again and again, while what was begun before is still under way or has been lost: in the end packets cross, under the same IKE SA.
#[test]
fn whatever_both_data_planes_lose_while_they_recover_comes_back() {
    for seed in 0..60 {
        let mut pair = up(seed);
        for boot in 2..6 {
            let (first, second) = if seed % 2 == 0 { (A, B) } else { (B, A) };
            pair.restart_data_plane(first, boot);
            pair.run(Duration::from_millis(seed * 7 % 50));
            pair.restart_data_plane(second, boot);
            pair.run(Duration::from_millis(seed * 131 % 3000));
        }
        pair.run(30 * SECOND);
        pair.acquire(A, 100);
        pair.run(10 * SECOND);
        assert!(pair.assert_mirrored() >= 1, "seed {seed}");
        assert_eq!(pair.run_under_load(2 * SECOND), 0, "seed {seed}");
        assert_eq!(pair.stat(A, "ike_sas_established"), 1, "seed {seed}: no new IKE SA was needed");
    }
}

/// Epochs begin anew with each boot: the identifiers of what is lost, and still known, are not given again.
#[test]
fn identifiers_are_not_used_twice_whatever_the_epochs() {
    let mut pair = up(50);
    for _ in 0..5 {
        pair.rekey(A, net());
        pair.run(SECOND);
    }
    pair.input(A, Input::Dataplane(Dataplane::Detached));
    pair.attach(A, [1; 16], 2);
    pair.rekey(A, net());
    pair.run(SECOND);
    // With epoch 1, as at first. The fake data plane looks whether an identifier comes again.
    pair.restart_data_plane(A, 2);
    for _ in 0..5 {
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        pair.rekey(A, net());
    }
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
}

/// Ten thousand at once would be a flood.
#[test]
fn the_replacement_is_paced() {
    const TUNNELS: u8 = 50;
    let many = |side| {
        let mut all = Config { connections: vec![], ..config(side) };
        for number in 0..TUNNELS {
            let Config { mut connections, .. } = config(side);
            let connection = &mut connections[0];
            connection.name = format!("lab{number}");
            let name = |side: Side| format!("{number}.{side:?}.test").parse().unwrap();
            (connection.local_identity, connection.remote_identity) = (name(side), Some(name(side.other())));
            connection.children[0].name = format!("net{number}");
            connection.children[0].policy = PolicyId(u32::from(number) + 1);
            all.connections.append(&mut connections);
        }
        all
    };
    let mut pair = Pair::new(52, many(A), many(B));
    for number in 0..TUNNELS {
        pair.initiate_child(A, &format!("net{number}"));
    }
    pair.run(2 * SECOND);
    assert_eq!(pair.assert_mirrored(), usize::from(TUNNELS));
    let before = pair.sent.len();
    pair.restart_data_plane(A, 2);
    let requests = |pair: &Pair| pair.titles_from(before).iter().filter(|title| title.starts_with("CREATE_CHILD_SA request")).count();
    assert!(requests(&pair) <= 20);
    pair.run(SECOND);
    assert_eq!(requests(&pair), usize::from(TUNNELS));
    assert_eq!(pair.assert_mirrored(), usize::from(TUNNELS));
}

/// The first packet needs no patience: it does not wait for its turn, and its SA is not made twice.
#[test]
fn an_acquire_is_served_before_its_turn() {
    let mut pair = up(53);
    pair.restart_data_plane(B, 2);
    pair.input(B, Input::Dataplane(Dataplane::Acquire { id: 7, policy: PolicyId(1), flow: pair::reversed() }));
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!(pair.gateway(B).data_plane.refused, []);
}

/// A killed control plane leaves its SAs to the next process, which replaces them before they end.
#[test]
fn nothing_is_lost_while_the_control_plane_is_away_and_when_it_comes_back() {
    for (side, away) in [(A, 60), (B, 60), (A, 0), (B, 600)] {
        let mut pair = up(54);
        let old = spis(&mut pair, side);
        pair.kill_control(side);
        assert_eq!(pair.run_under_load(away * SECOND), 0, "{side:?}");
        pair.start_control(side, config(side), 2);
        assert_eq!(pair.run_under_load(30 * SECOND), 0, "{side:?}");
        assert_eq!(pair.assert_mirrored(), 1);
        assert!(old.is_disjoint(&spis(&mut pair, side)));
        assert_eq!((pair.established(A), pair.established(B)), (1, 1));
        // The successor stays with the worker of what it takes over.
        assert!(pair.gateway(side).data_plane.installed.values().all(|sa| sa.predecessor.is_some()));
    }
}

/// The peer may be faster.
#[test]
fn the_peer_may_bring_the_successor() {
    let mut pair = up(55);
    pair.kill_control(A);
    let mut a = config(A);
    // Without a known address only the peer can call.
    a.connections[0].remote_addrs.clear();
    pair.start_control(A, a, 2);
    pair.run(SECOND);
    assert_eq!(pair.established(A), 0);
    pair.kill_control(B);
    pair.start_control(B, config(B), 2);
    assert_eq!(pair.run_under_load(30 * SECOND), 0);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
}

#[test]
fn what_finds_no_successor_in_thirty_seconds_is_retired() {
    let mut pair = up(56);
    pair.kill_control(A);
    pair.deaf = Some(B);
    pair.start_control(A, config(A), 2);
    pair.run(29 * SECOND);
    assert_eq!(pair.installed(A), 1);
    pair.run(2 * SECOND);
    assert_eq!(pair.installed(A), 0);
}

#[test]
fn what_the_configuration_wants_no_more_is_not_claimed() {
    let other = |change: fn(&mut Config)| {
        let mut a = config(A);
        change(&mut a);
        a
    };
    let cases = [
        other(|a| a.connections[0].children[0].policy = PolicyId(9)),
        other(|a| a.connections[0].children[0].remote_selectors = vec!["10.3.0.0/16".parse().unwrap()]),
        other(|a| a.connections[0].remote_addrs = vec!["192.0.2.99".parse().unwrap()]),
    ];
    for a in cases {
        let mut pair = up(57);
        pair.kill_control(A);
        pair.start_control(A, a, 2);
        assert_eq!(pair.gateway(A).data_plane.claims.last(), Some(&vec![]));
    }
}

/// Detached and attached again before anything happened: what was inherited is still claimed.
#[test]
fn an_inheritance_survives_another_attachment() {
    let mut pair = up(58);
    pair.kill_control(A);
    pair.deaf = Some(A);
    pair.start_control(A, config(A), 2);
    let old: Vec<ChildSaId> = pair.gateway(A).data_plane.installed.keys().copied().collect();
    pair.run(10 * SECOND);
    pair.input(A, Input::Dataplane(Dataplane::Detached));
    pair.run(100 * SECOND);
    pair.attach(A, [1; 16], 3);
    assert_eq!(pair.gateway(A).data_plane.claims.last(), Some(&old));
    pair.deaf = None;
    assert_eq!(pair.run_under_load(10 * SECOND), 0);
    assert_eq!(pair.assert_mirrored(), 1);
}

/// RFC 7296 section 2.4: no Delete is sent for what the peer has forgotten.
#[test]
fn initial_contact_ends_the_other_ike_sas_of_the_peer_without_messages() {
    let mut pair = up(59);
    pair.kill_control(A);
    pair.start_control(A, config(A), 2);
    let before = pair.sent.len();
    pair.run(10 * SECOND);
    assert_eq!(pair.titles_from(before).len(), 4 - 1, "the first of the four went out at once");
    let closed = pair.gateway(B).events.iter().filter(|event| matches!(event, Event::IkeSaClosed { failure: None, .. })).count();
    assert_eq!((closed, pair.established(B)), (1, 1));
    let payloads = |pair: &mut Pair, title: &str| pair.traced(A).iter().rfind(|traced| traced.1 == title).unwrap().2.clone();
    assert!(payloads(&mut pair, "IKE_AUTH request 1").contains("N(INIT_CONTACT)"));
    // B knew A still when it answered.
    assert!(!payloads(&mut pair, "IKE_AUTH response 1").contains("N(INIT_CONTACT)"));
}

/// `unique`, as strongSwan means it.
#[test]
fn a_second_ike_sa_is_what_the_configuration_makes_of_it() {
    for (unique, forgotten, kept) in [
        (Unique::No, false, 2),
        (Unique::No, true, 1),
        (Unique::Never, false, 2),
        (Unique::Never, true, 2),
        (Unique::Replace, false, 1),
        (Unique::Replace, true, 1),
        (Unique::Keep, false, 1),
        (Unique::Keep, true, 1),
    ] {
        let mut b = config(B);
        b.connections[0].unique = unique;
        let mut pair = Pair::new(60, config(A), b);
        pair.acquire(A, 1);
        pair.run(2 * SECOND);
        pair.kill_control(A);
        let mut a = config(A);
        if !forgotten {
            a.connections[0].unique = Unique::Never;
        }
        pair.start_control(A, a, 2);
        pair.run(2 * SECOND);
        let refused = unique == Unique::Keep && !forgotten;
        assert_eq!(pair.established(A), usize::from(!refused), "{unique:?} {forgotten}");
        pair.deaf = Some(A);
        pair.run(SECOND);
        assert_eq!(pair.established(B), kept, "{unique:?} {forgotten}");
        let deletes = pair.sent.iter().filter(|sent| sent.from == B && pair::title(&sent.datagram) == "INFORMATIONAL request 0").count();
        assert_eq!(deletes, usize::from(unique == Unique::Replace && !forgotten), "{unique:?} {forgotten}");
        let reason = |event: &Event| matches!(event, Event::NegotiationFailed { failure: Failure::Unauthenticated(detail), .. } if detail.ours.contains("unique"));
        assert_eq!(pair.gateway(B).events.iter().any(reason), refused);
    }
}

/// Two that begin at the same time have not forgotten anything: neither ends the other.
#[test]
fn crossing_initial_contacts_do_not_end_each_other() {
    for seed in 0..40 {
        let mut pair = Pair::on(pair::Network::BAD, seed, config(A), config(B));
        pair.acquire(A, 1);
        pair.acquire(B, 1);
        pair.run(400 * SECOND);
        let count = pair.established(A);
        assert!(count >= 1, "{seed}");
        assert_eq!(pair.assert_mirrored(), pair.installed(B), "{seed}");
        assert_eq!(pair.established(B), count, "{seed}");
    }
}

/// The operator's word ends an SA; the restart of a data plane in the meantime does not bring it back.
#[test]
fn what_is_being_deleted_is_not_replaced() {
    let mut pair = up(61);
    pair.deaf = Some(B);
    let request = pair.terminate(A, net());
    pair.restart_data_plane(A, 2);
    pair.deaf = None;
    pair.run(20 * SECOND);
    assert_eq!(pair.answer(A, request), Some(Ok(Answer::Terminated(1))));
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
    pair.input(A, Input::Command(Command::Shutdown));
}
