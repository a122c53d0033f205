//! Which traffic selectors a responder answers with (RFC 7296 sections 2.9 and 2.9.2).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ipsec_types::TrafficSelector;
use pair::Side::{A, B};
use pair::{Pair, config, net, second_child};

const SECOND: Duration = Duration::from_secs(1);

fn selectors(texts: &[&str]) -> Vec<TrafficSelector> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// What an initiator names first is the packet it has to send: the child that packet belongs to is the one that is meant, though another comes
/// before it and meets the offer as well.
#[test]
fn the_child_of_the_packet_named_first_is_chosen() {
    for (first, chosen) in [("10.12.0.7[tcp/443]", "10.12.0.0/16"), ("10.2.0.7[tcp/443]", "10.2.0.0/16")] {
        let (mut a, mut b) = (config(A), config(B));
        let child = &mut a.connections[0].children[0];
        child.local_selectors = selectors(&["10.1.0.5[tcp]", "10.1.0.0/16"]);
        child.remote_selectors = selectors(&[first, "10.0.0.0/8"]);
        let mut further = second_child(B, "further");
        further.remote_selectors = selectors(&["10.1.0.0/16"]);
        b.connections[0].children.push(further);
        let mut pair = Pair::new(1, a, b);
        pair.initiate(A);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        let sa = pair.gateway(B).data_plane.installed.values().next().unwrap();
        let whole: TrafficSelector = chosen.parse().unwrap();
        assert!(sa.local_selectors.contains(&first.parse().unwrap()) && sa.local_selectors.contains(&whole), "{:?}", sa.local_selectors);
        assert!(sa.remote_selectors.contains(&"10.1.0.5[tcp]".parse().unwrap()));
    }
}

/// "The new SA MUST NOT have narrower selectors than the original": the initiator asks again for all its policy wants, and the responder
/// grants what it did.
#[test]
fn a_rekeyed_child_sa_has_the_selectors_of_the_one_before() {
    for side in [A, B] {
        let mut pair = Pair::connected(2, |side, config| {
            if side == A {
                let child = &mut config.connections[0].children[0];
                child.local_selectors = selectors(&["10.1.3.0/24", "0.0.0.0/0"]);
                child.remote_selectors = selectors(&["0.0.0.0/0"]);
            }
        });
        let of = |pair: &mut Pair| {
            let sa = pair.gateway(A).data_plane.installed.values().next().unwrap();
            (sa.local_selectors.clone(), sa.remote_selectors.clone())
        };
        let before = of(&mut pair);
        for _ in 0..3 {
            let old = pair.only_child(A);
            pair.rekey(side, net());
            pair.run(SECOND);
            assert_ne!(pair.only_child(A), old);
            assert_eq!(of(&mut pair), before, "{side:?}");
        }
    }
}
