//! A new configuration at run time: what is unchanged keeps its SAs, what is changed or gone loses them, what is new is set up.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Child, Config, StartAction};
use ike::io::{Answer, Command, Dataplane, Input};
use ipsec_types::{ChildSaId, Flow, PolicyId};
use pair::Side::{A, B};
use pair::{FLOW, Pair, Side, config, lab};

const SECOND: Duration = Duration::from_secs(1);

/// The child called `name` between 10.(10 * number + 1).0.0/16 and 10.(10 * number + 2).0.0/16, as the file would number it.
fn child(side: Side, name: &str, number: u32, policy: u32) -> Child {
    let mut child = config(side).connections.remove(0).children.remove(0);
    let net = |side| format!("10.{}.0.0/16", 10 * number + if side == A { 1 } else { 2 }).parse().unwrap();
    (child.name, child.policy) = (name.into(), PolicyId(policy));
    (child.local_selectors, child.remote_selectors) = (vec![net(side)], vec![net(side.other())]);
    child.start_action = if side == A { StartAction::Start } else { StartAction::None };
    child
}

fn with(side: Side, children: &[(&str, u32)]) -> Config {
    let mut config = config(side);
    let numbered = children.iter().zip(1..).map(|((name, number), policy)| child(side, name, *number, policy));
    config.connections[0].children = numbered.collect();
    config
}

fn reload(pair: &mut Pair, side: Side, config: Config) {
    pair.input(side, Input::Command(Command::Configure(Box::new(config))));
}

fn ids(pair: &mut Pair) -> Vec<(ChildSaId, PolicyId)> {
    pair.gateway(A).data_plane.installed.values().map(|sa| (sa.id, sa.policy)).collect()
}

fn names(pair: &mut Pair, side: Side) -> Vec<String> {
    let mut names: Vec<String> = pair.ike_sas(side).iter().flat_map(|sa| sa.children.iter().map(|child| child.name.clone())).collect();
    names.sort();
    names
}

fn policy_of(pair: &mut Pair, name: &str) -> PolicyId {
    pair.gateway(A).data_plane.policies.iter().find(|policy| policy.name == name).unwrap().id
}

#[test]
fn the_same_configuration_changes_nothing() {
    let mut pair = Pair::new(71, with(A, &[("x", 1), ("y", 2)]), with(B, &[("x", 1), ("y", 2)]));
    pair.run(SECOND);
    let (before, sent) = (ids(&mut pair), pair.sent.len());
    let policies = pair.gateway(A).data_plane.policies.clone();
    for side in [A, B] {
        reload(&mut pair, side, with(side, &[("x", 1), ("y", 2)]));
    }
    pair.run(5 * SECOND);
    assert_eq!((ids(&mut pair), pair.sent.len()), (before, sent));
    assert_eq!(pair.gateway(A).data_plane.policies, policies);
    assert_eq!(pair.assert_mirrored(), 2);
}

/// The numbers a file gives move with every entry; the SAs must not end up under another's policy.
#[test]
fn others_come_go_and_change_beside_what_stays() {
    let mut pair = Pair::new(72, with(A, &[("x", 1), ("y", 2), ("z", 3)]), with(B, &[("x", 1), ("y", 2), ("z", 3), ("w", 4), ("y2", 5)]));
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 3);
    let z = policy_of(&mut pair, "z");
    let kept = *ids(&mut pair).iter().find(|(_, policy)| *policy == z).unwrap();
    // w is new and first, x is gone, y has other selectors, z is as it was.
    reload(&mut pair, A, with(A, &[("w", 4), ("y", 5), ("z", 3)]));
    pair.run(2 * SECOND);
    assert_eq!(names(&mut pair, A), ["w", "y", "z"]);
    assert_eq!(pair.assert_mirrored(), 3);
    assert!(ids(&mut pair).contains(&kept), "{:?} {kept:?}", ids(&mut pair));
    assert_eq!(policy_of(&mut pair, "z"), kept.1);
    let distinct: std::collections::BTreeSet<_> = pair.gateway(A).data_plane.policies.iter().map(|policy| policy.id).collect();
    assert_eq!(distinct.len(), 3);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    // The old IKE SA serves what is asked of it under the new configuration.
    let request = pair.initiate_child(A, "z");
    pair.run(SECOND);
    assert!(matches!(pair.answer(A, request), Some(Ok(Answer::Initiated { .. }))));
    assert_eq!(pair.stat(A, "ike_sas_established"), 1);
}

#[test]
fn a_connection_that_changes_or_goes_is_closed() {
    for gone in [false, true] {
        let mut pair = Pair::new(73, with(A, &[("x", 1)]), with(B, &[("x", 1)]));
        pair.run(SECOND);
        let old = ids(&mut pair);
        let mut new = with(A, &[("x", 1)]);
        if gone {
            new.connections.clear();
        } else {
            new.connections[0].proposals = vec!["aes256gcm16-aes128gcm16-prfsha256-x25519".parse().unwrap()];
        }
        reload(&mut pair, A, new);
        pair.run(2 * SECOND);
        assert_eq!(pair.assert_mirrored(), usize::from(!gone));
        assert!(ids(&mut pair).iter().all(|id| !old.contains(id)));
        assert_eq!((pair.established(A), pair.established(B)), (usize::from(!gone), usize::from(!gone)));
    }
}

/// Times, actions and keys are no reason to break what works; they count from now on.
#[test]
fn times_and_keys_are_taken_over() {
    let mut pair = Pair::new(74, with(A, &[("x", 1)]), with(B, &[("x", 1)]));
    pair.run(SECOND);
    let before = ids(&mut pair);
    let mut new = with(A, &[("x", 1)]);
    new.connections[0].dpd_delay = Some(10 * SECOND);
    new.psks[0].secret = ipsec_types::Secret::copy_from(b"another");
    reload(&mut pair, A, new);
    pair.run(30 * SECOND);
    assert_eq!(ids(&mut pair), before);
    assert!(pair.stat(A, "probes_sent") >= 2);
    // The next IKE SA needs the new key, which B does not have.
    pair.terminate(A, lab());
    pair.run(SECOND);
    let request = pair.initiate_child(A, "x");
    pair.run(2 * SECOND);
    assert!(matches!(pair.answer(A, request), Some(Err(_))));
}

/// Whoever waits for something that is gone is told; wherever a negotiation stands, its answer finds the right child.
#[test]
fn a_negotiation_under_way_ends_well() {
    for millis in (0..60).step_by(5) {
        let mut pair = Pair::new(75, with(A, &[("x", 1), ("y", 2)]), with(B, &[("x", 1), ("y", 2), ("w", 4)]));
        pair.run(Duration::from_millis(millis));
        reload(&mut pair, A, with(A, &[("w", 4), ("y", 2)]));
        pair.run(60 * SECOND);
        assert_eq!(names(&mut pair, A), ["w", "y"], "{millis}");
        pair.assert_mirrored();
        for (name, number) in [("w", 4), ("y", 2)] {
            let policy = policy_of(&mut pair, name);
            let selectors = child(A, name, number, 0).remote_selectors;
            let mut serving = pair.gateway(A).data_plane.installed.values().filter(|sa| sa.policy == policy);
            assert!(serving.all(|sa| sa.remote_selectors == selectors), "{millis} {name}");
        }
    }
    let mut pair = Pair::new(76, config(A), config(B));
    pair.deaf = Some(B);
    let request = pair.initiate(A);
    pair.run(SECOND);
    let mut new = config(A);
    new.connections[0].children[0].name = "other".into();
    reload(&mut pair, A, new);
    assert!(matches!(pair.answer(A, request), Some(Err(_))));
    pair.input(A, Input::Dataplane(Dataplane::Acquire { id: 5, policy: PolicyId(1), flow: Flow { ..FLOW } }));
    assert_eq!(pair.gateway(A).data_plane.refused.len(), 1, "an Acquire of the policy that is gone");
}
