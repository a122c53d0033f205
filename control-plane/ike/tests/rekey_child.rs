//! Rekeying Child SAs: without loss, with and without a key exchange, from either side or from both at once.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Child, StartAction};
use ike::error::Failure;
use ike::io::{Answer, Dataplane, Event, Input, SaState, Target};
use ike_wire::NotifyType;
use ipsec_types::{Activation, ChildSaId};
use pair::Side::{A, B};
use pair::{Pair, config, esp, net, second_child};

const SECOND: Duration = Duration::from_secs(1);

/// One IKE SA with one Child SA, whose ESP proposals are these.
fn connected(seed: u64, proposals: [&str; 2]) -> Pair {
    Pair::connected(seed, |side, config| config.connections[0].children[0].proposals = vec![esp(proposals[side as usize])])
}

fn plain(seed: u64) -> Pair {
    connected(seed, ["aes128gcm16"; 2])
}

/// The only Child SA of both sides, other than `old`; nothing else is left.
fn assert_replaced(pair: &mut Pair, old: [ChildSaId; 2]) -> [ChildSaId; 2] {
    assert_eq!(pair.assert_mirrored(), 1, "{:?}", pair.titles());
    [A, B].map(|side| {
        let new = pair.only_child(side);
        assert_ne!(new, old[side as usize]);
        let sa = pair.ike_sas(side).remove(0);
        assert_eq!(sa.children.iter().map(|child| (child.id, child.state)).collect::<Vec<_>>(), [(new, SaState::Established)]);
        new
    })
}

/// ```text
/// HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}  -->
///                    <--  HDR, SK {SA, Nr, TSi, TSr}
/// HDR, SK {D(ESP)}  -->
///                    <--  HDR, SK {D(ESP)}
/// ```
#[test]
fn a_child_sa_is_rekeyed_with_four_messages_from_either_side() {
    for side in [A, B] {
        let mut pair = plain(1);
        let old = [A, B].map(|side| pair.only_child(side));
        let request = pair.rekey(side, net());
        pair.run(SECOND);
        assert_eq!(
            pair.shown(side),
            [
                format!("CREATE_CHILD_SA request {}: N(REKEY_SA) SA No TSi TSr", if side == A { 2 } else { 0 }),
                format!("CREATE_CHILD_SA response {}: SA No TSi TSr", if side == A { 2 } else { 0 }),
                format!("INFORMATIONAL request {}: D", if side == A { 3 } else { 1 }),
                format!("INFORMATIONAL response {}: D", if side == A { 3 } else { 1 }),
            ]
        );
        let new = assert_replaced(&mut pair, old);
        let child_sas = vec![new[side as usize]];
        assert_eq!(pair.answer(side, request), Some(Ok(Answer::Rekeyed { ike_sas: vec![], child_sas })));
        for side in [A, B] {
            let ike_sa = pair.ike_sas(side)[0].id;
            let rekeyed = Event::ChildSaRekeyed { ike_sa, old: old[side as usize], new: new[side as usize] };
            assert!(pair.gateway(side).events.contains(&rekeyed), "{side:?}");
            let data_plane = &pair.gateway(side).data_plane;
            assert_eq!(data_plane.installed[&new[side as usize]].predecessor, Some(old[side as usize]));
            assert_eq!(data_plane.lingers[&old[side as usize]], 5 * SECOND);
        }
    }
}

/// The new outbound half of the initiator serves at once, that of the responder when the initiator has shown that it can receive: with the
/// Delete of the old SA. Until then the old ones serve.
#[test]
fn at_every_moment_each_side_sends_what_the_other_can_receive() {
    let mut pair = plain(2);
    let old = [A, B].map(|side| pair.only_child(side));
    pair.rekey(A, net());
    // The request is on its way to B, which installs its half, parked; the response is on its way to A.
    pair.run(Duration::from_millis(15));
    assert_eq!((pair.installed(A), pair.installed(B)), (1, 2));
    let new = pair.gateway(B).data_plane.installed.values().find(|sa| sa.predecessor == Some(old[1])).map(|sa| (sa.id, sa.activation));
    let Some((new, activation)) = new else { panic!() };
    assert_eq!(activation, Activation::Parked { fallback: None }, "the old one serves however long the response takes");
    assert!(pair.gateway(B).data_plane.activated.is_empty());
    // A has the response: it sends on the new one and deletes the old.
    pair.run(Duration::from_millis(10));
    assert_eq!(pair.installed(A), 1);
    assert_eq!(pair.gateway(A).data_plane.installed.values().next().unwrap().activation, Activation::Immediate);
    assert_eq!((pair.gateway(A).data_plane.retired.clone(), pair.installed(B)), (vec![old[0]], 2));
    assert!(pair.gateway(B).data_plane.activated.is_empty());
    // B has the Delete.
    pair.run(Duration::from_millis(10));
    assert_eq!(pair.gateway(B).data_plane.activated, [new]);
    assert_eq!(pair.gateway(B).data_plane.retired, [old[1]]);
    pair.run(SECOND);
    assert_replaced(&mut pair, old);
}

/// ```text
/// HDR, SK {N(REKEY_SA), SA, Ni, KEi, TSi, TSr}  -->
///                    <--  HDR, SK {SA, Nr, KEr, TSi, TSr}
/// ```
#[test]
fn perfect_forward_secrecy_brings_a_key_exchange_but_not_in_ike_auth() {
    let mut pair = connected(3, ["aes128gcm16-x25519"; 2]);
    assert_eq!(pair.ike_sas(A)[0].children[0].proposal, "AES_GCM_16_128/NO_EXT_SEQ");
    let old = [A, B].map(|side| pair.only_child(side));
    pair.rekey(A, net());
    pair.run(SECOND);
    assert_eq!(
        pair.shown(A)[..2],
        ["CREATE_CHILD_SA request 2: N(REKEY_SA) SA No KE TSi TSr", "CREATE_CHILD_SA response 2: SA No KE TSi TSr"]
    );
    assert_replaced(&mut pair, old);
    assert_eq!(pair.ike_sas(B)[0].children[0].proposal, "AES_GCM_16_128/CURVE_25519/NO_EXT_SEQ");
}

/// ```text
/// HDR, SK {N(REKEY_SA), SA, Ni, KEi, TSi, TSr}  -->
///                    <--  HDR, SK {N(INVALID_KE_PAYLOAD)}
/// HDR, SK {N(REKEY_SA), SA, Ni, KEi', TSi, TSr}  -->
///                    <--  HDR, SK {SA, Nr, KEr, TSi, TSr}
/// ```
#[test]
fn the_responder_names_another_method() {
    for side in [A, B] {
        let mut proposals = ["aes128gcm16-x25519-ecp256"; 2];
        proposals[side.other() as usize] = "aes128gcm16-ecp256";
        let mut pair = connected(4, proposals);
        let old = [A, B].map(|side| pair.only_child(side));
        pair.rekey(side, net());
        pair.run(SECOND);
        let shown: Vec<String> = pair.traced(side).into_iter().map(|(_, _, payloads)| payloads).collect();
        let request = "N(REKEY_SA) SA No KE TSi TSr";
        assert_eq!(shown, [request, "N(INVAL_KE)", request, "SA No KE TSi TSr", "D", "D"], "{side:?}");
        assert_replaced(&mut pair, old);
        assert_eq!(pair.ike_sas(A)[0].children[0].proposal, "AES_GCM_16_128/ECP_256/NO_EXT_SEQ");
        assert!(!pair.gateway(side).events.iter().any(|event| matches!(event, Event::NegotiationFailed { .. })));
    }
}

#[test]
fn a_further_child_sa_has_its_own_key_exchange() {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        let proposals = vec![esp("aes256gcm16-ecp256-x25519")];
        config.connections[0].children.push(Child { proposals, ..second_child(side, "voice") });
        config
    });
    let mut pair = Pair::new(5, a, b);
    pair.initiate(A);
    pair.run(SECOND);
    let request = pair.initiate_child(B, "voice");
    pair.run(SECOND);
    assert!(matches!(pair.answer(B, request), Some(Ok(Answer::Initiated { .. }))));
    assert_eq!(pair.titles()[4..], ["CREATE_CHILD_SA request 0", "CREATE_CHILD_SA response 0"]);
    assert_eq!(pair.assert_mirrored(), 2);
    assert_eq!(pair.ike_sas(A)[0].children[1].proposal, "AES_GCM_16_256/ECP_256/NO_EXT_SEQ");
}

#[test]
fn a_soft_limit_rekeys_once_however_often_it_is_reported() {
    for side in [A, B] {
        let mut pair = plain(6);
        let old = [A, B].map(|side| pair.only_child(side));
        for _ in 0..3 {
            pair.soft_expire(side);
        }
        pair.run(SECOND);
        assert_replaced(&mut pair, old);
        assert_eq!(pair.sent.len(), 4);
    }
}

#[test]
fn a_rekeyed_child_sa_is_rekeyed_again_and_again() {
    let mut pair = connected(7, ["aes128gcm16-x25519"; 2]);
    for round in 0..20 {
        let old = [A, B].map(|side| pair.only_child(side));
        pair.rekey(if round % 3 == 0 { A } else { B }, net());
        pair.run(SECOND);
        assert_replaced(&mut pair, old);
    }
    for side in [A, B] {
        let data_plane = &pair.gateway(side).data_plane;
        assert_eq!(data_plane.retired.len(), 20);
        // Leased SPIs are in the data plane's hands or free: none is lost.
        let used = data_plane.retired.len() + data_plane.installed.len();
        assert!(data_plane.leased.len() + used >= 32 && (data_plane.leased.len() + used).is_multiple_of(32), "{side:?}");
    }
}

#[test]
fn what_is_not_there_cannot_be_rekeyed() {
    let mut pair = plain(8);
    for target in [Target::Child { connection: None, name: "voice".into() }, Target::ChildSa(ChildSaId(99))] {
        let request = pair.rekey(A, target);
        assert!(matches!(pair.answer(A, request), Some(Err(Failure::Local(_)))));
    }
}

/// The answer comes before the Delete of the old Child SA is answered: what has the name then is the new one.
#[test]
fn a_name_means_the_successor_as_soon_as_the_rekeying_is_answered() {
    for connection in [None, Some("lab")] {
        let mut pair = plain(8);
        let target = || Target::Child { connection: connection.map(Into::into), name: "net".into() };
        let first = pair.rekey(A, target());
        while pair.answer(A, first).is_none() {
            assert!(pair.step());
        }
        assert_eq!(pair.ike_sas(A)[0].children.len(), 2, "the old one is being deleted");
        let second = pair.rekey(A, target());
        pair.run(SECOND);
        let child = pair.only_child(A);
        assert_eq!(pair.answer(A, second), Some(Ok(Answer::Rekeyed { ike_sas: vec![], child_sas: vec![child] })));
    }
    let mut pair = plain(8);
    let elsewhere = pair.rekey(A, Target::Child { connection: Some("other".into()), name: "net".into() });
    assert!(matches!(pair.answer(A, elsewhere), Some(Err(Failure::Local(_)))));
}

/// The responder refuses: the Child SA stays as it was, the operator is told.
#[test]
fn a_refused_rekeying_changes_nothing() {
    let mut pair = connected(9, ["aes128gcm16-x25519", "aes128gcm16"]);
    let request = pair.rekey(A, net());
    pair.run(SECOND);
    assert!(matches!(pair.answer(A, request), Some(Err(Failure::Refused(NotifyType::NO_PROPOSAL_CHOSEN, _)))));
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!(pair.ike_sas(A)[0].children[0].state, SaState::Established);
    // By its limit it is due whatever was said: it is tried again.
    pair.soft_expire(A);
    let sent = pair.sent.len();
    pair.run(20 * SECOND);
    assert!(pair.sent.len() >= sent + 6, "{:?}", pair.titles());
}

/// ```text
/// HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}  -->
///                    <--  HDR, SK {N(REKEY_SA), SA, Ni, TSi, TSr}
///                    <--  HDR, SK {SA, Nr, TSi, TSr}
/// HDR, SK {SA, Nr, TSi, TSr}  -->
/// HDR, SK {D}  -->
///                    <--  HDR, SK {D}     of the redundant one by its maker, of the old one by the other
/// ```
#[test]
fn both_sides_rekey_the_same_child_sa_at_once() {
    let mut winners = [0, 0];
    for seed in 0..40 {
        for proposal in ["aes128gcm16", "aes128gcm16-x25519"] {
            let mut pair = connected(100 + seed, [proposal; 2]);
            let old = [A, B].map(|side| pair.only_child(side));
            let requests = [A, B].map(|side| pair.rekey(side, net()));
            pair.run(SECOND);
            let new = assert_replaced(&mut pair, old);
            assert_eq!(pair.sent.len(), 8, "{:?}", pair.titles());
            for side in [A, B] {
                let child_sas = vec![new[side as usize]];
                assert_eq!(pair.answer(side, requests[side as usize]), Some(Ok(Answer::Rekeyed { ike_sas: vec![], child_sas })));
                let data_plane = &pair.gateway(side).data_plane;
                assert_eq!(data_plane.retired.len(), 2, "the old one and the redundant one");
                assert!(data_plane.activated.contains(&new[side as usize]));
                let redundant = data_plane.retired.iter().find(|child| **child != old[side as usize]).unwrap();
                assert!(!data_plane.activated.contains(redundant), "no packet went the way that was given up");
            }
            let deleter =
                pair.traced(A).into_iter().filter(|(outbound, title, payloads)| *outbound && title.contains("request") && payloads == "D");
            winners[usize::from(deleter.count() == 1)] += 1;
        }
    }
    assert_eq!(winners, [0, 80], "each side deletes exactly one");
}

/// RFC 7296 section 2.8.1: one side has finished before it learns that the other rekeys as well.
///
/// ```text
/// HDR, SK {N(REKEY_SA), ...}  --> (lost)
///                    <--  HDR, SK {N(REKEY_SA), ...}
/// HDR, SK {SA, Nr, TSi, TSr}  -->
///                    <--  HDR, SK {D}
/// HDR, SK {D}  -->
/// HDR, SK {N(REKEY_SA), ...}  -->
///                    <--  HDR, SK {N(CHILD_SA_NOT_FOUND)}
/// ```
#[test]
fn a_rekeying_that_the_other_side_did_not_notice_is_forgotten() {
    for (slow, quick) in [(A, B), (B, A)] {
        let mut pair = plain(10);
        let old = [A, B].map(|side| pair.only_child(side));
        pair.deaf = Some(quick);
        let request = pair.rekey(slow, net());
        pair.run(Duration::from_millis(20));
        pair.deaf = None;
        pair.rekey(quick, net());
        pair.run(2 * SECOND);
        let new = assert_replaced(&mut pair, old);
        assert_eq!(pair.answer(slow, request), None);
        // The retransmission.
        pair.run(4 * SECOND);
        assert!(pair.shown(slow).last().unwrap().ends_with("N(NO_CHILD_SA)"), "{:?}", pair.shown(slow).last());
        assert_eq!(assert_replaced(&mut pair, old), new);
        let child_sas = vec![new[slow as usize]];
        assert_eq!(pair.answer(slow, request), Some(Ok(Answer::Rekeyed { ike_sas: vec![], child_sas })));
    }
}

/// The Delete of the old SA is on its way when the other side's request arrives.
#[test]
fn a_child_sa_under_deletion_is_not_rekeyed() {
    for (deleter, rekeyer) in [(A, B), (B, A)] {
        let mut pair = plain(11);
        let deleted = pair.terminate(deleter, net());
        let rekeyed = pair.rekey(rekeyer, net());
        pair.run(SECOND);
        assert!(pair.shown(rekeyer).iter().any(|line| line.ends_with("N(TEMP_FAIL)")), "{:?}", pair.shown(rekeyer));
        pair.run(20 * SECOND);
        assert_eq!(pair.assert_mirrored(), 0);
        assert_eq!(pair.answer(deleter, deleted), Some(Ok(Answer::Terminated(1))));
        assert!(matches!(pair.answer(rekeyer, rekeyed), Some(Err(Failure::Local(_)))));
        assert!(!pair.gateway(rekeyer).events.iter().any(|event| matches!(event, Event::NegotiationFailed { .. })));
    }
}

/// An operator deletes what is being rekeyed: nothing is left.
#[test]
fn a_deletion_follows_what_takes_the_place_of_its_target() {
    for deleter in [A, B] {
        for rekeyer in [A, B] {
            for millis in 0..60 {
                let mut pair = plain(12);
                pair.rekey(rekeyer, net());
                pair.run(Duration::from_millis(millis));
                let deleted = pair.terminate(deleter, net());
                pair.run(30 * SECOND);
                assert_eq!(pair.assert_mirrored(), 0, "{deleter:?} {rekeyer:?} {millis}: {:?}", pair.titles());
                assert!(matches!(pair.answer(deleter, deleted), Some(Ok(Answer::Terminated(1 | 2)))));
                assert_eq!((pair.established(A), pair.established(B)), (1, 1));
            }
        }
    }
}

/// The data plane refuses one half of the new SA: the old one stays, and nothing else.
#[test]
fn a_refused_install_leaves_the_old_child_sa() {
    for (rekeyer, refuser) in [(A, A), (A, B), (B, A), (B, B)] {
        let mut pair = plain(14);
        let old = [A, B].map(|side| pair.only_child(side));
        pair.gateway(refuser).data_plane.refuses = Some("the table is full".into());
        let request = pair.rekey(rekeyer, net());
        pair.run(SECOND);
        assert!(matches!(pair.answer(rekeyer, request), Some(Err(_))), "{rekeyer:?} {refuser:?}");
        if (rekeyer, refuser) == (A, A) || (rekeyer, refuser) == (B, B) {
            assert_eq!([A, B].map(|side| pair.only_child(side)), old, "{rekeyer:?} {refuser:?}");
            pair.gateway(refuser).data_plane.refuses = None;
            pair.run(60 * SECOND);
            pair.soft_expire(rekeyer);
            pair.run(60 * SECOND);
            assert_replaced(&mut pair, old);
        }
    }
}

/// A hard limit without a soft one, or one that the rekeying did not beat: the peer is told, and what the configuration wants comes back.
#[test]
fn a_child_sa_that_reaches_a_hard_limit_is_deleted_at_the_peer_and_made_anew_where_it_is_wanted() {
    for action in [StartAction::Start, StartAction::Trap] {
        for rekeying in [None, Some(0), Some(5), Some(15), Some(25)] {
            let [mut a, b] = [A, B].map(config);
            a.connections[0].children[0].start_action = action;
            let mut pair = Pair::new(15, a, b);
            pair.acquire(A, 1);
            pair.run(SECOND);
            let old = [A, B].map(|side| pair.only_child(side));
            if let Some(millis) = rekeying {
                pair.rekey(A, net());
                pair.run(Duration::from_millis(millis));
            }
            // The data plane reports what it has not been told to end.
            let there = pair.gateway(A).data_plane.installed.remove(&old[0]).is_some();
            if there {
                pair.input(A, Input::Dataplane(Dataplane::HardExpire(old[0])));
            }
            pair.run(SECOND);
            let comes_back = action == StartAction::Start || rekeying.is_some();
            assert_eq!(pair.assert_mirrored(), usize::from(comes_back), "{action:?} {rekeying:?}: {:?}", pair.titles());
            assert!(!pair.gateway(B).data_plane.installed.contains_key(&old[1]));
            assert!(!there || !pair.gateway(A).data_plane.retired.contains(&old[0]), "the data plane has ended it by itself");
        }
    }
}
