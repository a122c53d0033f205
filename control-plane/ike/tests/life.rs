//! What happens to IKE SAs and Child SAs once they are there: deletion, signs of life, death, and a data plane that comes and goes.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Child, DpdAction, StartAction};
use ike::error::Failure;
use ike::io::{Answer, Command, Dataplane, Event, IkeSaId, Input, Target};
use pair::Side::{A, B};
use pair::{Pair, Side, config, esp, lab, net, second_child};

const SECOND: Duration = Duration::from_secs(1);

/// ```text
/// HDR, SK {D(ESP)}  -->
///                    <--  HDR, SK {D(ESP)}
/// HDR, SK {SA, Ni, TSi, TSr}  -->
///                    <--  HDR, SK {SA, Nr, TSi, TSr}
/// ```
#[test]
fn a_child_sa_is_deleted_and_created_again_under_the_same_ike_sa() {
    for (deleter, creator) in [(A, A), (A, B), (B, A), (B, B)] {
        let mut pair = Pair::default(22);
        pair.acquire(A, 1);
        pair.run(SECOND);
        let request = pair.terminate(deleter, net());
        pair.run(SECOND);
        assert_eq!(pair.answer(deleter, request), Some(Ok(Answer::Terminated(1))));
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
        assert_eq!((pair.established(A), pair.established(B)), (1, 1));
        let request = pair.initiate(creator);
        pair.run(SECOND);
        assert!(matches!(pair.answer(creator, request), Some(Ok(Answer::Initiated { ike_sa: IkeSaId(1), .. }))), "{deleter:?} {creator:?}");
        assert_eq!(pair.assert_mirrored(), 1);
        assert_eq!((pair.established(A), pair.established(B)), (1, 1));
        assert_eq!(pair.sent.len(), 8);
    }
}

/// Deleted Child SAs leave packets without an SA behind; their Acquires must not begin what nobody will finish.
#[test]
fn after_a_shutdown_nothing_is_begun() {
    let mut pair = Pair::default(24);
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    pair.input(A, Input::Command(Command::Shutdown));
    pair.acquire(A, 2);
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
    let sent = pair.sent.len();
    pair.acquire(A, 3);
    let request = pair.initiate(B);
    pair.run(SECOND * 3);
    assert!(pair.sent.iter().skip(sent).all(|sent| sent.from == B), "only the peer still calls");
    assert!(!matches!(pair.answer(B, request), Some(Ok(_))));
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
}

/// The responder's outbound SA is parked at first: a packet that comes meanwhile waits for it, also where packets alone begin nothing.
#[test]
fn an_acquire_is_not_refused_while_the_child_sa_of_a_passive_child_is_there() {
    let mut passive = config(A);
    passive.connections[0].children[0].start_action = StartAction::None;
    let mut pair = Pair::new(27, passive, config(B));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.gateway(A).data_plane.refused.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [1], "nothing is there yet");
    pair.initiate(B);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    pair.acquire(A, 2);
    assert_eq!(pair.gateway(A).data_plane.refused.len(), 1);
}

#[test]
fn several_children_share_an_ike_sa() {
    let two = |side| {
        let mut config = config(side);
        config.connections[0].children.push(second_child(side, "voice"));
        config
    };
    let mut pair = Pair::new(23, two(A), two(B));
    let (first, second) = (pair.initiate_child(A, "net"), pair.initiate_child(A, "lab/voice"));
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 2);
    assert_eq!(pair.established(A), 1);
    assert!(matches!(pair.answer(A, first), Some(Ok(_))) && matches!(pair.answer(A, second), Some(Ok(_))));
}

#[test]
fn either_side_deletes_the_ike_sa_with_its_children() {
    for side in [A, B] {
        let mut pair = Pair::default(24);
        pair.acquire(A, 1);
        pair.run(SECOND);
        let request = pair.terminate(side, lab());
        pair.run(SECOND);
        assert_eq!(pair.answer(side, request), Some(Ok(Answer::Terminated(1))));
        assert_eq!(pair.sent.len(), 6);
        assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty());
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
        for side in [A, B] {
            let closed = pair.gateway(side).events.iter().filter(|event| matches!(event, Event::IkeSaClosed { failure: None, .. })).count();
            assert_eq!(closed, 1);
        }
    }
}

#[test]
fn a_deletion_whose_answer_was_lost_is_answered_again() {
    let mut pair = Pair::default(41);
    pair.acquire(A, 1);
    pair.run(SECOND);
    pair.deaf = Some(A);
    let request = pair.terminate(A, lab());
    pair.run(SECOND);
    assert!(pair.ike_sas(B).is_empty());
    pair.deaf = None;
    pair.run(7 * SECOND / 2);
    assert_eq!(pair.answer(A, request), Some(Ok(Answer::Terminated(1))), "with the first retransmission, after 4 s");
    // It is 4.5 s since the deletion; after 30 s B has forgotten the IKE SA for good.
    let repetition = pair.sent.iter().rev().find(|sent| sent.from == A).unwrap().datagram.clone();
    for (wait, forgotten) in [(24, 0), (1, 1)] {
        pair.run(wait * SECOND);
        let already = pair.sent.len();
        pair.carry(A, repetition.clone());
        pair.run(SECOND);
        assert_eq!(pair.sent.len() - already, 1, "{wait}");
        assert_eq!(pair.stat(B, "invalid_ike_spi_sent"), forgotten, "{wait}: and says so");
    }
}

/// CREATE_CHILD_SA is refused where one side alone insists on a key exchange, which IKE_AUTH does not ask for.
#[test]
fn a_child_sa_that_cannot_be_created_again_comes_with_a_new_ike_sa() {
    for (with_pfs, ike_sas) in [(&[A, B][..], [1, 1, 1]), (&[B], [1, 2, 3]), (&[A], [1, 2, 3])] {
        let [mut a, mut b] = [A, B].map(config);
        for (side, config) in [(A, &mut a), (B, &mut b)] {
            if with_pfs.contains(&side) {
                config.connections[0].children[0].proposals = vec![esp("aes128gcm16-x25519")];
            }
        }
        let mut pair = Pair::new(45, a, b);
        for (round, ike_sas) in (1..).zip(ike_sas) {
            let request = pair.initiate(A);
            pair.run(SECOND);
            assert!(matches!(pair.answer(A, request), Some(Ok(Answer::Initiated { .. }))), "{with_pfs:?} {round}");
            assert_eq!(pair.assert_mirrored(), 1);
            assert_eq!((pair.established(A), pair.established(B)), (1, 1), "{with_pfs:?} {round}");
            assert_eq!(pair.stat(A, "ike_sas_established"), ike_sas, "{with_pfs:?} {round}");
            pair.terminate(B, net());
            pair.run(SECOND);
        }
    }
}

/// The IKE SA stays for the Child SAs that it has.
#[test]
fn a_further_child_sa_that_cannot_be_created_fails_alone() {
    let [mut a, b] = [A, B].map(config);
    let proposals = vec![esp("aes128gcm16-x25519")];
    let same = config(A).connections.remove(0).children.remove(0);
    a.connections[0].children.push(Child { name: "other".into(), policy: ipsec_types::PolicyId(2), proposals, ..same });
    let mut pair = Pair::new(46, a, b);
    pair.initiate(A);
    pair.run(SECOND);
    let request = pair.initiate_child(A, "other");
    pair.run(SECOND);
    assert!(matches!(pair.answer(A, request), Some(Err(Failure::Refused(ike_wire::NotifyType::NO_PROPOSAL_CHOSEN, _)))));
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!(pair.stat(A, "ike_sas_established"), 1);
}

#[test]
fn one_ike_sa_is_shown_as_among_all_and_no_longer_than_those() {
    let mut pair = Pair::default(44);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let now = pair.now;
    let [shown] = &pair.ike_sas(A)[..] else { panic!() };
    assert_eq!(pair.gateway(A).endpoint.ike_sa(shown.id, now).as_ref(), Some(shown));
    assert_eq!(pair.gateway(A).endpoint.ike_sa(IkeSaId(shown.id.0 + 1), now), None);
    // B deletes: A still remembers its answer, but the IKE SA is gone.
    pair.terminate(B, lab());
    pair.run(SECOND);
    assert_eq!(pair.gateway(A).endpoint.ike_sa(shown.id, now), None);
}

#[test]
fn both_sides_delete_at_the_same_time() {
    for target in [net(), lab()] {
        let mut pair = Pair::default(25);
        pair.acquire(A, 1);
        pair.run(SECOND);
        let requests = [A, B].map(|side| (side, pair.terminate(side, target.clone())));
        pair.run(SECOND);
        for (side, request) in requests {
            assert_eq!(pair.answer(side, request), Some(Ok(Answer::Terminated(1))));
            assert_eq!(pair.installed(side), 0);
            assert_eq!(pair.established(side), usize::from(matches!(target, Target::Child { .. })));
        }
    }
}

#[test]
fn both_sides_initiate_at_the_same_time() {
    let mut pair = Pair::default(26);
    pair.acquire(A, 1);
    pair.acquire(B, 1);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 2);
    assert_eq!((pair.established(A), pair.established(B)), (2, 2));
    pair.terminate(A, lab());
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 0);
}

#[test]
fn an_idle_peer_is_asked_for_a_sign_of_life_and_packets_are_one() {
    let mut a = config(A);
    a.connections[0].dpd_delay = Some(10 * SECOND);
    let mut pair = Pair::new(27, a, config(B));
    pair.acquire(A, 1);
    pair.run(9 * SECOND);
    assert_eq!(pair.stat(A, "probes_sent"), 0);
    pair.run(2 * SECOND);
    assert_eq!(pair.stat(A, "probes_sent"), 1);
    let child = *pair.gateway(A).data_plane.installed.keys().next().unwrap();
    for _ in 0..10 {
        pair.run(8 * SECOND);
        pair.input(A, Input::Dataplane(Dataplane::LastInbound { child, age: SECOND }));
    }
    assert_eq!(pair.stat(A, "probes_sent"), 1, "authentic ESP is a sign of life");
    assert_eq!(pair.established(A), 1);
}

#[test]
fn a_dead_peer_is_forgotten_after_the_last_retransmission_and_not_before() {
    let mut a = config(A);
    a.connections[0].dpd_delay = Some(10 * SECOND);
    let mut pair = Pair::new(28, a, config(B));
    pair.acquire(A, 1);
    pair.run(SECOND);
    pair.deaf = Some(B);
    // 10 s of silence, then 4 + 7.2 + 12.96 + 23.328 + 41.9904 + 75.58272 s.
    let probe = pair.ike_sas(A)[0].age;
    assert!(probe < 2 * SECOND);
    pair.run(Duration::from_millis(9_000 + 165_060));
    assert_eq!((pair.established(A), pair.installed(A)), (1, 1));
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.installed(A)), (0, 0));
    assert_eq!(pair.stat(A, "requests_retransmitted"), 5);
    let mut closed = pair.gateway(A).events.iter().filter_map(|event| match event {
        Event::IkeSaClosed { failure: Some(failure @ Failure::TimedOut(_)), .. } => Some(failure),
        _ => None,
    });
    let failure = closed.next().unwrap();
    assert_eq!(failure.headline(), "no answer from 192.0.2.2:4500 to INFORMATIONAL request 2, sent 6 times in 165 s");
    assert!(failure.detail().unwrap().theirs.starts_with("the last message from 192.0.2.2 came 17"), "{failure}");
}

#[test]
fn a_silent_peer_is_called_again_with_growing_rests() {
    let mut a = config(A);
    a.connections[0].children[0].start_action = StartAction::Start;
    a.connections[0].retransmission.tries = 0;
    let mut pair = Pair::new(29, a, config(B));
    pair.deaf = Some(B);
    pair.run(40 * SECOND);
    // Each attempt waits 4 s; rests of 1, 2, 4, 8 s follow, each up to a quarter shorter.
    let starts: Vec<u64> = pair.sent.iter().map(|sent| sent.at.as_nanos() / 1_000_000).collect();
    let rests: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0] - 4000).collect();
    let longest = [1000, 2000, 4000, 8000];
    assert_eq!(rests.len(), longest.len(), "{rests:?}");
    assert!(rests.iter().zip(longest).all(|(rest, longest)| (longest * 3 / 4..=longest).contains(rest)), "{rests:?}");
    assert!(rests.iter().zip(longest).any(|(rest, longest)| *rest != longest), "no jitter: {rests:?}");
    pair.deaf = None;
    pair.run(30 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1, "the configuration does not give up");
}

#[test]
fn a_lost_data_plane_stops_the_clocks() {
    let mut a = config(A);
    a.connections[0].dpd_delay = Some(10 * SECOND);
    let mut pair = Pair::new(30, a, config(B));
    pair.acquire(A, 1);
    pair.run(5 * SECOND);
    pair.input(A, Input::Dataplane(Dataplane::Detached));
    pair.run(1000 * SECOND);
    assert_eq!(pair.established(A), 1);
    pair.attach(A, [1; 16], 2);
    pair.run(4 * SECOND);
    assert_eq!(pair.stat(A, "probes_sent"), 0);
    pair.run(2 * SECOND);
    assert_eq!(pair.stat(A, "probes_sent"), 1);
    assert_eq!(pair.assert_mirrored(), 1);
    let claimed: Vec<_> = pair.gateway(A).data_plane.installed.keys().copied().collect();
    assert_eq!(pair.gateway(A).data_plane.claims.last(), Some(&claimed));
}

#[test]
fn a_retire_that_was_lost_with_the_connection_is_made_good_by_the_claim() {
    let mut pair = Pair::default(42);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let there = pair.gateway(A).data_plane.listed();
    pair.deaf = Some(B);
    pair.input(A, Input::Dataplane(Dataplane::Detached));
    pair.terminate(A, net());
    // The data plane has not heard of it.
    let local_addresses = vec![A.address()];
    pair.input(A, Input::Dataplane(Dataplane::Attached { boot: [1; 16], epoch: 2, child_sas: there, local_addresses }));
    assert_eq!(pair.gateway(A).data_plane.claims.last(), Some(&vec![]));
}

/// The data plane knows no SPI of an attachment before: wherever a negotiation stands, it must not bring one back.
#[test]
fn spis_of_an_attachment_before_are_never_used() {
    for (millis, boot) in (0..50).step_by(5).flat_map(|millis| [(millis, 1), (millis, 2)]) {
        let mut pair = Pair::default(43);
        pair.acquire(A, 1);
        pair.run(Duration::from_millis(millis));
        pair.input(A, Input::Dataplane(Dataplane::Detached));
        if boot == 2 {
            pair.gateway(A).data_plane.installed.clear();
        }
        // Epochs begin anew with each boot.
        pair.attach(A, [boot; 16], if boot == 1 { 2 } else { 1 });
        // Long enough for the rest after a first failure.
        pair.run(2 * SECOND);
        pair.acquire(A, 2);
        pair.run(SECOND);
        assert_eq!(pair.installed(A), 1, "{millis} ms, boot {boot}");
        if boot == 1 {
            pair.assert_mirrored();
        }
    }
}

#[test]
fn after_a_restart_of_the_data_plane_keys_are_negotiated_afresh() {
    let mut a = config(A);
    a.connections[0].children[0].start_action = StartAction::Start;
    let mut pair = Pair::new(31, a, config(B));
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    let old: Vec<_> = pair.gateway(A).data_plane.installed.keys().copied().collect();
    pair.input(A, Input::Dataplane(Dataplane::Detached));
    pair.gateway(A).data_plane.installed.clear();
    pair.attach(A, [2; 16], 2);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    assert!(!pair.gateway(A).data_plane.installed.contains_key(&old[0]));
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
}

#[test]
fn a_refused_install_leaves_no_half() {
    for side in [A, B] {
        let mut pair = Pair::default(32);
        pair.gateway(side).data_plane.refuses = Some("the table is full".into());
        pair.acquire(A, 1);
        pair.run(SECOND);
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0), "{side:?}");
        assert_eq!((pair.established(A), pair.established(B)), (1, 1));
        assert_eq!(pair.gateway(A).data_plane.refused, [(1, SECOND)]);
        pair.gateway(side).data_plane.refuses = None;
        pair.run(SECOND);
        pair.acquire(A, 2);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
    }
}

#[test]
fn without_spis_everything_waits() {
    let mut pair = Pair::default(33);
    for side in [A, B] {
        // An attachment without SPIs.
        pair.gateway(side).data_plane.stingy = true;
        pair.attach(side, [1; 16], 2);
    }
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert!(pair.sent.is_empty());
    pair.input(A, Input::SpisLeased(vec![ipsec_types::Spi::new(0xaaaa_0001).unwrap()]));
    pair.run(SECOND);
    assert_eq!(pair.sent.len(), 3, "the responder cannot answer IKE_AUTH yet");
    pair.input(B, Input::SpisLeased(vec![ipsec_types::Spi::new(0xbbbb_0001).unwrap()]));
    pair.run(5 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1, "and answers its repetition");
}

/// Between the request and its answer the key exchange is computed.
#[test]
fn a_responder_whose_spis_were_taken_meanwhile_answers_when_more_have_come() {
    let with_two = |side| {
        let mut config = config(side);
        config.connections[0].children[0].proposals = vec![esp("aes256gcm16-x25519")];
        config.connections[0].children.push(second_child(side, "second"));
        config
    };
    let mut pair = Pair::new(133, with_two(A), with_two(B));
    pair.gateway(B).data_plane.stingy = true;
    pair.attach(B, [1; 16], 2);
    let lease = |pair: &mut Pair, spi| pair.input(B, Input::SpisLeased(vec![ipsec_types::Spi::new(spi).unwrap()]));
    lease(&mut pair, 0xbbbb_0001);
    pair.connect();
    lease(&mut pair, 0xbbbb_0002);
    pair.idle = Some(B);
    let rekeyed = pair.rekey(A, net());
    pair.run(SECOND / 10);
    pair.initiate_child(B, "second");
    pair.make_up();
    pair.run(SECOND / 10);
    assert_eq!((pair.stat(B, "spis_free"), pair.answer(A, rekeyed)), (0, None));
    lease(&mut pair, 0xbbbb_0003);
    pair.run(SECOND / 10);
    assert!(matches!(pair.answer(A, rekeyed), Some(Ok(_))));
}

#[test]
fn a_hard_limit_deletes_the_child_sa_on_both_sides() {
    let mut pair = Pair::default(34);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let child = *pair.gateway(B).data_plane.installed.keys().next().unwrap();
    pair.gateway(B).data_plane.installed.remove(&child);
    pair.input(B, Input::Dataplane(Dataplane::HardExpire(child)));
    pair.run(SECOND);
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
    assert_eq!(pair.established(A), 1);
}

/// One side's child, with what becomes of it.
fn acting(side: Side, start: StartAction, dpd: DpdAction, close: StartAction) -> ike::config::Config {
    let mut config = config(side);
    config.connections[0].dpd_delay = Some(10 * SECOND);
    config.connections[0].retransmission.tries = 1;
    let child = &mut config.connections[0].children[0];
    (child.start_action, child.dpd_action, child.close_action) = (start, dpd, close);
    config
}

/// RFC 7296 section 2.4 lets each side decide; these are swanctl's words for it.
#[test]
fn what_becomes_of_a_child_whose_peer_is_dead() {
    for (start, dpd, comes_back, with_a_packet) in [
        (StartAction::None, DpdAction::Clear, false, false),
        (StartAction::None, DpdAction::Trap, false, true),
        (StartAction::None, DpdAction::Restart, true, true),
        (StartAction::Trap, DpdAction::Clear, false, true),
        (StartAction::Start, DpdAction::Clear, true, true),
    ] {
        let mut pair = Pair::new(62, acting(A, start, dpd, StartAction::None), config(B));
        let request = pair.initiate(A);
        pair.run(SECOND);
        assert!(matches!(pair.answer(A, request), Some(Ok(_))));
        pair.deaf = Some(B);
        pair.run(60 * SECOND);
        assert_eq!(pair.established(A), 0, "{start:?} {dpd:?}");
        pair.deaf = None;
        pair.run(70 * SECOND);
        assert_eq!(pair.established(A) == 1, comes_back, "{start:?} {dpd:?}");
        pair.acquire(A, 9);
        pair.run(2 * SECOND);
        assert_eq!(pair.established(A) == 1, with_a_packet, "{start:?} {dpd:?}");
    }
}

#[test]
fn what_becomes_of_a_child_that_the_peer_deletes() {
    for target in [net(), lab()] {
        for (start, close, comes_back, with_a_packet) in [
            (StartAction::None, StartAction::None, false, false),
            (StartAction::None, StartAction::Trap, false, true),
            (StartAction::None, StartAction::Start, true, true),
            (StartAction::Start, StartAction::None, false, true),
            (StartAction::Start, StartAction::Start, true, true),
        ] {
            let mut pair = Pair::new(63, acting(A, start, DpdAction::Clear, close), config(B));
            pair.initiate(A);
            pair.run(SECOND);
            pair.terminate(B, target.clone());
            pair.run(SECOND);
            assert_eq!(pair.installed(A) == 1, comes_back, "{target:?} {start:?} {close:?}");
            pair.acquire(A, 9);
            pair.run(2 * SECOND);
            assert_eq!(pair.installed(A) == 1, with_a_packet, "{target:?} {start:?} {close:?}");
        }
    }
}

/// The operator's word counts until something else asks for the Child SA.
#[test]
fn what_the_operator_deletes_stays_away() {
    let mut pair = Pair::new(64, acting(A, StartAction::Start, DpdAction::Restart, StartAction::Start), config(B));
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    pair.terminate(A, lab());
    pair.run(300 * SECOND);
    assert_eq!(pair.established(A), 0);
}

/// A peer that begins anew with one child still gets the others, which are wanted at once.
#[test]
fn what_a_peer_has_forgotten_is_wanted_again_if_it_does_not_bring_it() {
    let two = |side| {
        let mut config = config(side);
        let start_action = if side == B { StartAction::Start } else { StartAction::Trap };
        config.connections[0].children.push(Child { start_action, ..second_child(side, "other") });
        config
    };
    let mut pair = Pair::new(65, two(A), two(B));
    pair.acquire(A, 1);
    pair.run(2 * SECOND);
    assert_eq!(pair.assert_mirrored(), 2);
    // Nothing is left on A, as after a power cut.
    pair.kill_control(A);
    pair.gateway(A).data_plane.installed.clear();
    pair.start_control(A, two(A), 2);
    pair.acquire(A, 2);
    pair.run(10 * SECOND);
    assert_eq!(pair.assert_mirrored(), 2);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
}
