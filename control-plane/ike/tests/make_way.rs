//! An IKE SA under which nothing can be rekeyed any more makes way for a new one, and no packet is lost (RFC 7296 sections 2.8, 2.25 and 4).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::Unique;
use ike::error::Failure;
use ike::io::{Datagram, Input};
use ike_wire::{ExchangeType, Flags, Header, Notify, NotifyType, Payload};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config, lab, net, second_child};

const SECOND: Duration = Duration::from_secs(1);

/// A pair of two Child SAs, in which `refuser` has just answered a rekeying with NO_ADDITIONAL_SAS, as it could install nothing.
fn refused(refuser: Side, target: ike::io::Target, change: impl Fn(Side, &mut ike::config::Config)) -> Pair {
    let mut pair = Pair::connected(1, |side, config| {
        config.connections[0].children.push(second_child(side, "voice"));
        change(side, config);
    });
    pair.initiate_child(A, "voice");
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 2);
    pair.gateway(refuser).data_plane.refuses = Some("the table is full".into());
    let request = pair.rekey(refuser.other(), target);
    pair.run(Duration::from_millis(30));
    pair.gateway(refuser).data_plane.refuses = None;
    assert!(matches!(pair.answer(refuser.other(), request), Some(Err(Failure::Refused(NotifyType::NO_ADDITIONAL_SAS, _)))));
    pair
}

/// ```text
/// HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}  -->
///                    <--  HDR, SK {N(NO_ADDITIONAL_SAS)}
/// IKE_SA_INIT, IKE_AUTH, CREATE_CHILD_SA of a new IKE SA
/// HDR, SK {D}  -->                                  of the old one
/// ```
#[test]
fn the_new_ike_sa_has_every_child_sa_before_the_old_one_goes() {
    for refuser in [A, B] {
        let mut pair = refused(refuser, net(), |_, _| {});
        let old: Vec<_> = pair.gateway(A).data_plane.retired.clone();
        assert!(old.is_empty(), "nothing ends before its successor is there");
        let before = pair.ike_sas(A).remove(0).id;
        assert_eq!(pair.run_under_load(30 * SECOND), 0, "{refuser:?}: {:?}", pair.titles());
        assert_eq!(pair.assert_mirrored(), 2, "{refuser:?}");
        let [a, b] = [A, B].map(|side| pair.ike_sas(side));
        assert_eq!((a.len(), b.len()), (1, 1), "{refuser:?}: {:?}", pair.titles());
        assert_eq!((a[0].initiator_spi, a[0].responder_spi), (b[0].initiator_spi, b[0].responder_spi));
        assert_ne!(a[0].id, before);
        assert_eq!(a[0].initiator, refuser == B, "who was refused begins the new one");
        assert_eq!((pair.stat(A, "ike_sas_established"), pair.stat(A, "ike_sas_rekeyed")), (2, 0));
        pair.run(600 * SECOND);
        assert_eq!((pair.established(A), pair.assert_mirrored()), (1, 2));
    }
}

/// Where the peer admits no second IKE SA, the old one has to go first.
#[test]
fn an_ike_sa_that_finds_no_successor_goes_all_the_same() {
    let mut pair = refused(B, net(), |_, config| config.connections[0].unique = Unique::Keep);
    pair.run(2 * SECOND);
    assert_eq!(pair.established(A), 1);
    pair.run(30 * SECOND);
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
    pair.acquire(A, 2);
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B), pair.assert_mirrored()), (1, 1, 1));
}

/// Nobody can be called: what is refused ends, and the peer has to call.
#[test]
fn a_gateway_that_can_call_nobody_only_deletes() {
    let mut pair = refused(A, net(), |side, config| {
        if side == B {
            config.connections[0].remote_addrs.clear();
        }
    });
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B), pair.assert_mirrored()), (0, 0, 0));
}

/// The peer ends the old IKE SA while the new one is being set up: the new one comes, and nothing is left of the old.
#[test]
fn the_peer_may_delete_the_old_ike_sa_meanwhile() {
    for millis in [0, 5, 15, 25, 35, 45, 500, 1900] {
        let mut pair = refused(B, net(), |_, _| {});
        pair.run(Duration::from_millis(millis));
        let old = pair.ike_sas(B).remove(0).id;
        pair.terminate(B, ike::io::Target::IkeSa(old));
        pair.run(60 * SECOND);
        assert_eq!((pair.established(A), pair.established(B)), (1, 1), "{millis}");
        assert_eq!(pair.assert_mirrored(), 2, "{millis}");
        assert_eq!(pair.ike_sas(A).len(), 1);
    }
}

/// The data plane of either side loses every SA meanwhile: both ways of replacing them come to one end.
#[test]
fn a_data_plane_may_restart_meanwhile() {
    for side in [A, B] {
        for (millis, refuses_again) in [0, 5, 15, 25, 35, 45, 500, 1900].into_iter().flat_map(|millis| [(millis, false), (millis, true)]) {
            let mut pair = refused(B, net(), |_, _| {});
            pair.run(Duration::from_millis(millis));
            pair.gateway(B).data_plane.refuses = refuses_again.then(|| "the table is full".into());
            pair.restart_data_plane(side, 2);
            pair.run(Duration::from_millis(100));
            pair.gateway(B).data_plane.refuses = None;
            pair.run(60 * SECOND);
            for child in ["net", "voice"] {
                pair.initiate_child(A, child);
            }
            pair.run(60 * SECOND);
            let what = format!("{side:?} {millis} {refuses_again}: {:?}", pair.titles());
            let [a, b] = [A, B].map(|side| pair.ike_sas(side));
            assert_eq!((a.len(), b.len()), (1, 1), "{what}");
            assert!(pair.assert_mirrored() >= 2, "{what}");
            assert!(a[0].children.iter().all(|child| child.state == ike::io::SaState::Established), "{what}");
        }
    }
}

/// "If a peer continues to receive TEMPORARY_FAILURE on the same IKE SA after several minutes, it SHOULD conclude that the state information
/// is out of sync and close the IKE SA" (section 2.25).
#[test]
fn a_peer_that_is_never_ready_gets_a_new_ike_sa() {
    const SUITE: Clear = Clear(b"ICV!");
    for target in [net(), lab()] {
        let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 2, config(A), config(B));
        pair.connect();
        pair.deaf = Some(B);
        pair.rekey(A, target);
        let (mut lost, mut refusals, mut answered) = (0, 0, pair.sent.len() - 1);
        for _ in 0..400 {
            for index in std::mem::replace(&mut answered, pair.sent.len())..pair.sent.len() {
                let request = pair.sent[index].datagram.clone();
                let header = Header::peek(&request.payload).unwrap();
                if header.exchange == ExchangeType::CREATE_CHILD_SA {
                    refusals += 1;
                    let flags = Flags { initiator: false, response: true, version: false };
                    let refusal = Payload::Notify(Notify::new(NotifyType::TEMPORARY_FAILURE, vec![]));
                    let payload = SUITE.seal(&Header { flags, ..header }, &[refusal]);
                    pair.input(A, Input::Datagram(Datagram { payload, ..request }));
                }
            }
            if pair.titles_from(4).iter().any(|title| title.starts_with("IKE_SA_INIT")) {
                break;
            }
            lost += pair.run_under_load(SECOND);
        }
        assert!((5..15).contains(&refusals), "{refusals}");
        assert!((230..330).contains(&(pair.now.as_nanos() / 1_000_000_000)), "{:?}", pair.now);
        pair.deaf = None;
        // B has never heard of what was refused in its name, and takes no Delete with such a Message ID.
        lost += pair.run_under_load(30 * SECOND);
        assert_eq!(lost, 0, "{:?}", pair.titles());
        assert_eq!((pair.established(A), pair.installed(A)), (1, 1));
        assert_eq!(pair.stat(A, "ike_sas_established"), 2);
    }
}
