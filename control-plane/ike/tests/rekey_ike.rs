//! Rekeying the IKE SA: from either side or from both at once, and across everything else.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::IkeLifetime;
use ike::error::Failure;
use ike::io::{Answer, Event, IkeSaId, SaState, Target};
use ipsec_types::ChildSaId;
use pair::Side::{A, B};
use pair::{Pair, Side, lab, net};

const SECOND: Duration = Duration::from_secs(1);

/// Each side has one IKE SA, with the same SPIs, and one Child SA, `children`, which nobody has touched.
fn assert_replaced(pair: &mut Pair, old: IkeSaId, children: [ChildSaId; 2]) {
    let [a, b] = [A, B].map(|side| {
        let mut sas = pair.ike_sas(side);
        assert_eq!(sas.len(), 1, "{side:?} {sas:?} {:?}", pair.titles());
        sas.remove(0)
    });
    assert_eq!((a.initiator_spi, a.responder_spi), (b.initiator_spi, b.responder_spi));
    assert_ne!(a.initiator, b.initiator);
    for (sa, child) in [(&a, children[0]), (&b, children[1])] {
        assert_ne!(sa.id, old);
        assert_eq!(sa.state, SaState::Established);
        assert_eq!(sa.children.iter().map(|child| (child.id, child.state)).collect::<Vec<_>>(), [(child, SaState::Established)]);
        assert!(sa.remote_identity.is_some());
    }
    assert_eq!(pair.assert_mirrored(), 1);
    for side in [A, B] {
        assert!(pair.gateway(side).data_plane.retired.is_empty(), "no packet notices");
    }
}

/// ```text
/// HDR, SK {SA, Ni, KEi}  -->
///                    <--  HDR, SK {SA, Nr, KEr}
/// HDR, SK {D}  -->
///                    <--  HDR, SK {}
/// ```
#[test]
fn the_ike_sa_is_rekeyed_with_four_messages_from_either_side() {
    for side in [A, B] {
        let mut pair = Pair::connected(1, |_, _| {});
        let children = [A, B].map(|side| pair.only_child(side));
        let request = pair.rekey(side, lab());
        pair.run(SECOND);
        let first = if side == A { 2 } else { 0 };
        assert_eq!(
            pair.shown(side),
            [
                format!("CREATE_CHILD_SA request {first}: SA No KE"),
                format!("CREATE_CHILD_SA response {first}: SA No KE"),
                format!("INFORMATIONAL request {}: D", first + 1),
                format!("INFORMATIONAL response {}: ", first + 1),
            ]
        );
        assert_replaced(&mut pair, IkeSaId(1), children);
        assert!(pair.ike_sas(side)[0].initiator, "who rekeys is the new original initiator");
        let new = pair.ike_sas(side)[0].id;
        assert_eq!(pair.answer(side, request), Some(Ok(Answer::Rekeyed { ike_sas: vec![new], child_sas: vec![] })));
        for side in [A, B] {
            let new = pair.ike_sas(side)[0].id;
            let events = &pair.gateway(side).events;
            assert!(events.contains(&Event::IkeSaRekeyed { old: IkeSaId(1), new }));
            assert!(!events.iter().any(|event| matches!(event, Event::ChildSaClosed { .. } | Event::NegotiationFailed { .. })));
        }
    }
}

/// Message IDs begin anew, and everything works under the new keys: signs of life, rekeying and deletion of what was inherited.
#[test]
fn the_new_ike_sa_serves_in_place_of_the_old() {
    for (rekeyer, other) in [(A, B), (B, A), (A, A), (B, B)] {
        let mut pair = Pair::connected(2, |_, _| {});
        pair.rekey(rekeyer, Target::IkeSa(IkeSaId(1)));
        pair.run(SECOND);
        pair.sent.clear();
        let request = pair.rekey(other, net());
        pair.run(SECOND);
        assert!(matches!(pair.answer(other, request), Some(Ok(Answer::Rekeyed { .. }))));
        assert_eq!(
            pair.titles(),
            ["CREATE_CHILD_SA request 0", "CREATE_CHILD_SA response 0", "INFORMATIONAL request 1", "INFORMATIONAL response 1"]
        );
        assert_eq!(pair.assert_mirrored(), 1);
        let request = pair.terminate(other, lab());
        pair.run(SECOND);
        assert_eq!(pair.answer(other, request), Some(Ok(Answer::Terminated(1))));
        assert_eq!(pair.assert_mirrored(), 0);
        assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty());
    }
}

#[test]
fn what_is_in_use_is_offered_again_and_its_method_first() {
    let mut pair = Pair::connected(3, |_, config| {
        let proposals = ["aes128gcm16-prfsha256-x25519", "aes256-sha384-prfsha512-ecp256"];
        config.connections[0].proposals = proposals.iter().map(|text| text.parse().unwrap()).collect();
    });
    let children = [A, B].map(|side| pair.only_child(side));
    for round in 1..=5 {
        pair.rekey(if round % 2 == 0 { A } else { B }, lab());
        pair.run(SECOND);
    }
    assert_replaced(&mut pair, IkeSaId(1), children);

    let mut pair = Pair::connected(4, |side, config| {
        let proposal = if side == A { "aes128gcm16-prfsha256-x25519-ecp256" } else { "aes128gcm16-prfsha256-ecp256" };
        config.connections[0].proposals = vec![proposal.parse().unwrap()];
    });
    let children = [A, B].map(|side| pair.only_child(side));
    pair.rekey(A, lab());
    pair.run(SECOND);
    assert_replaced(&mut pair, IkeSaId(1), children);
    assert_eq!(pair.sent.len(), 4, "the method in use is offered first: {:?}", pair.titles());
    assert_eq!(pair.ike_sas(A)[0].proposal, "AES_GCM_16_128/PRF_HMAC_SHA2_256/ECP_256");
}

/// RFC 7296 section 2.8.2: three IKE SAs for a moment; the one with the lowest nonce goes, and with it the old one.
#[test]
fn both_sides_rekey_the_ike_sa_at_once() {
    let mut winners = [0, 0];
    for seed in 0..40 {
        let mut pair = Pair::connected(100 + seed, |_, _| {});
        let children = [A, B].map(|side| pair.only_child(side));
        let requests = [A, B].map(|side| pair.rekey(side, lab()));
        pair.run(SECOND);
        assert_replaced(&mut pair, IkeSaId(1), children);
        assert_eq!(pair.sent.len(), 8, "{:?}", pair.titles());
        for side in [A, B] {
            let new = pair.ike_sas(side)[0].id;
            assert_eq!(pair.answer(side, requests[side as usize]), Some(Ok(Answer::Rekeyed { ike_sas: vec![new], child_sas: vec![] })));
        }
        winners[usize::from(pair.ike_sas(A)[0].initiator)] += 1;
        pair.run(60 * SECOND);
        assert_eq!(pair.sent.len(), 8, "nothing is left to be deleted");
    }
    assert!(winners[0] > 5 && winners[1] > 5, "the nonces decide: {winners:?}");
}

/// RFC 7296 section 2.8.2: A's request is lost, so that B has finished before it learns of it.
#[test]
fn a_rekeying_that_the_other_side_did_not_notice_is_forgotten() {
    for (slow, quick) in [(A, B), (B, A)] {
        let mut pair = Pair::connected(5, |_, _| {});
        let children = [A, B].map(|side| pair.only_child(side));
        pair.deaf = Some(quick);
        let request = pair.rekey(slow, lab());
        pair.run(Duration::from_millis(20));
        pair.deaf = None;
        pair.rekey(quick, lab());
        pair.run(60 * SECOND);
        assert_replaced(&mut pair, IkeSaId(1), children);
        let new = pair.ike_sas(slow)[0].id;
        assert_eq!(pair.answer(slow, request), Some(Ok(Answer::Rekeyed { ike_sas: vec![new], child_sas: vec![] })));
    }
}

/// The answer to a rekeying is lost, and before it is repeated the other side, which won, deletes the old IKE SA: what the loser made
/// without knowing must not stay.
#[test]
fn a_lost_answer_leaves_no_ike_sa_that_only_one_side_knows() {
    for seed in 0..20 {
        for deaf in [A, B] {
            for millis in [15, 25, 35] {
                let mut pair = Pair::connected(200 + seed, |_, _| {});
                let children = [A, B].map(|side| pair.only_child(side));
                pair.rekey(A, lab());
                pair.rekey(B, lab());
                pair.run(Duration::from_millis(millis));
                pair.deaf = Some(deaf);
                pair.run(Duration::from_millis(10));
                pair.deaf = None;
                pair.run(300 * SECOND);
                assert_replaced(&mut pair, IkeSaId(1), children);
            }
        }
    }
}

/// Whatever crosses a rekeying of the IKE SA is done in the end, under whichever IKE SA.
#[test]
fn other_exchanges_cross_a_rekeying_of_the_ike_sa() {
    type Crossing = fn(&mut Pair, Side) -> ike::io::RequestId;
    let crossings: [(Crossing, usize); 4] = [
        (|pair, side| pair.rekey(side, net()), 1),
        (|pair, side| pair.terminate(side, net()), 0),
        (Pair::initiate, 2),
        (|pair, side| pair.rekey(side, lab()), 1),
    ];
    for (crossing, children) in crossings {
        for rekeyer in [A, B] {
            for other in [A, B] {
                for millis in 0..45 {
                    let mut pair = Pair::connected(6, |_, _| {});
                    pair.rekey(rekeyer, lab());
                    pair.run(Duration::from_millis(millis));
                    let request = crossing(&mut pair, other);
                    pair.run(90 * SECOND);
                    let what = format!("{children} {rekeyer:?} {other:?} {millis}: {:?}", pair.titles());
                    assert_eq!(pair.assert_mirrored(), children, "{what}");
                    let answer = pair.answer(other, request);
                    assert!(
                        matches!(answer, Some(Ok(_)))
                            || answer == Some(Err(Failure::Local("there is no such SA, or it is being replaced or deleted".into()))),
                        "{answer:?} {what}"
                    );
                    let [a, b] = [A, B].map(|side| pair.ike_sas(side));
                    assert_eq!((a.len(), b.len()), (1, 1), "{what}");
                    assert_eq!((a[0].initiator_spi, a[0].responder_spi), (b[0].initiator_spi, b[0].responder_spi), "{what}");
                    assert_eq!(a[0].children.len(), children, "{what}");
                    assert!(!pair.gateway(other).events.iter().any(|event| matches!(event, Event::NegotiationFailed { .. })), "{what}");
                }
            }
        }
    }
}

/// RFC 7296 section 2.25.2: the deletion of the IKE SA ends its rekeying.
#[test]
fn a_deletion_of_the_ike_sa_crosses_its_rekeying() {
    for rekeyer in [A, B] {
        for deleter in [A, B] {
            for millis in 0..45 {
                let mut pair = Pair::connected(7, |_, _| {});
                let rekeyed = pair.rekey(rekeyer, lab());
                pair.run(Duration::from_millis(millis));
                let deleted = pair.terminate(deleter, lab());
                pair.run(90 * SECOND);
                let what = format!("{rekeyer:?} {deleter:?} {millis}: {:?}", pair.titles());
                assert_eq!(pair.assert_mirrored(), 0, "{what}");
                assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty(), "{what}");
                assert!(matches!(pair.answer(deleter, deleted), Some(Ok(Answer::Terminated(_)))), "{what}");
                assert!(pair.answer(rekeyer, rekeyed).is_some(), "{what}");
            }
        }
    }
}

#[test]
fn an_ike_sa_is_rekeyed_before_its_time_and_never_after() {
    let lifetime = |side| IkeLifetime { rekey: (side == A).then_some(100 * SECOND), hard: Some(120 * SECOND), jitter: 20 * SECOND };
    let mut times = Vec::new();
    for seed in 0..20 {
        let mut pair = Pair::connected(300 + seed, |side, config| config.connections[0].lifetime = lifetime(side));
        let children = [A, B].map(|side| pair.only_child(side));
        pair.run(200 * SECOND);
        let at = pair.sent[0].at.as_nanos() / 1_000_000_000;
        assert!((80..=102).contains(&at), "{at}");
        times.push(at);
        assert_replaced(&mut pair, IkeSaId(1), children);
        pair.run(2000 * SECOND);
        assert_replaced(&mut pair, IkeSaId(1), children);
        assert!(pair.stat(A, "ike_sas_rekeyed") >= 20);
    }
    times.dedup();
    assert!(times.len() > 5, "chance keeps peers apart: {times:?}");
}

#[test]
fn an_ike_sa_that_is_not_rekeyed_ends_at_its_time() {
    let hard = IkeLifetime { rekey: None, hard: Some(120 * SECOND), jitter: Duration::ZERO };
    let mut pair = Pair::connected(8, |_, config| config.connections[0].lifetime = hard);
    pair.run(118 * SECOND);
    assert_eq!((pair.established(A), pair.installed(A)), (1, 1));
    pair.run(3 * SECOND);
    assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty());
    assert_eq!(pair.assert_mirrored(), 0);
}

/// The clock of a gateway without data plane stands still.
#[test]
fn a_lost_data_plane_postpones_the_end_of_an_ike_sa() {
    let hard = IkeLifetime { rekey: None, hard: Some(120 * SECOND), jitter: Duration::ZERO };
    let mut pair =
        Pair::connected(9, |side, config| config.connections[0].lifetime = if side == A { hard } else { IkeLifetime::default() });
    pair.input(A, ike::io::Input::Dataplane(ike::io::Dataplane::Detached));
    pair.run(1000 * SECOND);
    pair.attach(A, [1; 16], 2);
    pair.run(100 * SECOND);
    assert_eq!(pair.established(A), 1);
    pair.run(25 * SECOND);
    assert_eq!(pair.established(A), 0);
}

/// Both sides write down the same, for each IKE SA; and nothing unless the configuration wants it.
#[test]
fn the_keys_of_each_ike_sa_leave_where_they_are_to_be_logged() {
    let mut pair = Pair::connected(1, |_, _| {});
    pair.rekey(A, lab());
    pair.run(SECOND);
    assert!([A, B].iter().all(|&side| pair.gateway(side).keys.is_empty()));

    let mut pair = Pair::connected(1, |_, config| config.key_log = true);
    pair.rekey(B, lab());
    pair.run(SECOND);
    let sa = pair.ike_sas(A).remove(0);
    let [a, b] = [A, B].map(|side| std::mem::take(&mut pair.gateway(side).keys));
    assert_eq!((a.len(), b.len()), (2, 2));
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((a.initiator_spi, a.responder_spi, a.encryption), (b.initiator_spi, b.responder_spi, b.encryption));
        assert_eq!([&a.sk_ei, &a.sk_er, &a.sk_ai, &a.sk_ar], [&b.sk_ei, &b.sk_er, &b.sk_ai, &b.sk_ar]);
        assert!(a.sk_ei != a.sk_er && a.sk_ei.len() == a.encryption.keymat_len() && a.sk_ai.is_empty());
    }
    assert_eq!((a[1].initiator_spi, Some(a[1].responder_spi)), (sa.initiator_spi, sa.responder_spi));
    assert!(!format!("{a:?}").contains(&format!("{:?}", a[0].sk_ei.expose())), "Debug shows lengths");
}
