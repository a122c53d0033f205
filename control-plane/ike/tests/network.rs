//! Every exchange under seeded loss, duplication and reordering: it ends, and both sides have the same Child SAs, or none.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, StartAction};
use ike::io::Target;
use pair::Side::{A, B};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SEEDS: u64 = 200;
/// Longer than any negotiation with all its retransmissions and rests.
const LONG: Duration = Duration::from_secs(600);

/// Sets up on a bad network, with what makes the exchange special.
fn set_up(seed: u64, change: impl Fn(Side, &mut Config)) -> Pair {
    let [mut a, mut b] = [A, B].map(config);
    a.connections[0].children[0].start_action = StartAction::Start;
    change(A, &mut a);
    change(B, &mut b);
    Pair::on(Network::BAD, seed, a, b)
}

/// Runs until the configuration has what it wants.
fn assert_sets_up(seed: u64, pair: &mut Pair) {
    for _ in 0..20 {
        pair.run(Duration::from_secs(60));
        if pair.installed(A) > 0 && pair.installed(B) > 0 {
            break;
        }
    }
    // Half-built attempts of the responder end by themselves or by the initiator's next message.
    pair.run(Duration::from_secs(30));
    assert_eq!(pair.installed(A), 1, "seed {seed}: {:?}", pair.titles());
    let [a, b] = &pair.gateways;
    let ours = a.data_plane.installed.values().next().unwrap();
    let theirs = b.data_plane.installed.values().find(|sa| sa.inbound_spi == ours.outbound_spi);
    let theirs = theirs.unwrap_or_else(|| panic!("seed {seed}: the responder has no mirror"));
    assert_eq!((ours.inbound_spi, &ours.inbound_keys), (theirs.outbound_spi, &theirs.outbound_keys), "seed {seed}");
    assert_eq!((&ours.local_selectors, &ours.outbound_keys), (&theirs.remote_selectors, &theirs.inbound_keys), "seed {seed}");
}

#[test]
fn init_and_auth() {
    for seed in 0..SEEDS {
        let mut pair = set_up(seed, |_, _| {});
        assert_sets_up(seed, &mut pair);
    }
}

#[test]
fn cookies() {
    for seed in 0..SEEDS {
        let mut pair = set_up(seed, |_, config| config.cookie_threshold = 0);
        assert_sets_up(seed, &mut pair);
    }
}

#[test]
fn another_method() {
    for seed in 0..SEEDS {
        let mut pair = set_up(seed, |side, config| {
            let proposal = if side == A { "aes128gcm16-prfsha256-x25519-ecp256" } else { "aes128gcm16-prfsha256-ecp256" };
            config.connections[0].proposals = vec![proposal.parse().unwrap()];
        });
        assert_sets_up(seed, &mut pair);
    }
}

#[test]
fn narrowing() {
    for seed in 0..SEEDS {
        let mut pair = set_up(seed, |side, config| {
            if side == A {
                config.connections[0].children[0].remote_selectors = vec!["0.0.0.0/0".parse().unwrap()];
            }
        });
        assert_sets_up(seed, &mut pair);
        let sa = pair.gateway(A).data_plane.installed.values().next().unwrap();
        assert_eq!(sa.remote_selectors, ["10.2.0.0/16".parse().unwrap()]);
    }
}

#[test]
fn refusals_leave_nothing() {
    for seed in 0..SEEDS {
        let wrong_key = seed % 2 == 0;
        let mut pair = set_up(seed, |side, config| {
            config.connections[0].children[0].start_action = StartAction::Trap;
            match side {
                A if wrong_key => config.psks[0].secret = ipsec_types::Secret::copy_from(b"wrong"),
                A => config.connections[0].proposals = vec!["aes256gcm16-prfsha256-x25519".parse().unwrap()],
                B => {}
            }
        });
        let request = pair.initiate(A);
        pair.run(LONG);
        assert!(matches!(pair.answer(A, request), Some(Err(_))), "seed {seed}");
        assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty(), "seed {seed}");
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0), "seed {seed}");
    }
}

/// A pair with one IKE SA and one Child SA, from now on on a bad network.
fn connected(seed: u64) -> Pair {
    let mut pair = Pair::connected(seed, |_, _| {});
    pair.network = Network::BAD;
    pair
}

#[test]
fn deleting_and_creating_child_sas() {
    for seed in 0..SEEDS {
        let mut pair = connected(seed);
        let (deleter, creator) = (if seed & 1 == 0 { A } else { B }, if seed & 2 == 0 { A } else { B });
        let request = pair.terminate(deleter, net());
        pair.run(LONG);
        assert!(pair.answer(deleter, request).is_some(), "seed {seed}");
        assert_eq!(pair.assert_mirrored(), 0, "seed {seed}");
        let request = pair.initiate(creator);
        pair.run(LONG);
        let created = pair.answer(creator, request).expect("an answer").is_ok();
        // A request that was lost six times has ended the IKE SA for one side; the other learns it when it next speaks.
        if created {
            let (ours, theirs) = (pair.installed(creator), pair.installed(creator.other()));
            assert!(ours == 1 && theirs >= 1, "seed {seed}: {ours} {theirs}");
        }
    }
}

#[test]
fn deleting_the_ike_sa_from_one_side_or_both() {
    for seed in 0..SEEDS {
        let mut pair = connected(seed);
        let sides: &[Side] = [&[A][..], &[B], &[A, B]][usize::try_from(seed % 3).unwrap()];
        let requests: Vec<_> = sides.iter().map(|side| (*side, pair.terminate(*side, lab()))).collect();
        pair.run(LONG);
        for (side, request) in requests {
            assert!(pair.answer(side, request).is_some(), "seed {seed}");
        }
        assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty(), "seed {seed}: {:?}", pair.titles());
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0), "seed {seed}");
    }
}

#[test]
fn signs_of_life_keep_a_lossy_connection_up() {
    for seed in 0..SEEDS {
        let [mut a, b] = [A, B].map(config);
        a.connections[0].dpd_delay = Some(Duration::from_secs(30));
        let mut pair = Pair::new(seed, a, b);
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(1));
        pair.network = Network { loss_percent: 15, ..Network::BAD };
        pair.run(LONG);
        assert!(pair.stat(A, "probes_sent") > 10, "seed {seed}");
        assert_eq!(pair.assert_mirrored(), 1, "seed {seed}");
    }
}

#[test]
fn initiating_from_both_sides() {
    for seed in 0..SEEDS {
        let mut pair = set_up(seed, |_, config| config.connections[0].children[0].start_action = StartAction::Start);
        pair.run(LONG);
        assert!(pair.installed(A) >= 1 && pair.installed(B) >= 1, "seed {seed}");
        pair.network = Network::GOOD;
        for side in [A, B] {
            pair.terminate(side, lab());
        }
        pair.run(LONG);
        assert_eq!(pair.assert_mirrored(), 0, "seed {seed}");
    }
}

/// The new SAs have taken the place of the old ones on both sides, or a peer that was not heard six times in a row has begun anew.
fn assert_rekeyed(seed: u64, pair: &mut Pair, old: ipsec_types::ChildSaId) {
    pair.network = Network::GOOD;
    pair.run(LONG);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1), "seed {seed}: {:?}", pair.titles());
    assert_eq!(pair.assert_mirrored(), 1, "seed {seed}: {:?}", pair.titles());
    assert_ne!(pair.only_child(A), old, "seed {seed}");
}

fn rekeyed_pair(seed: u64, proposal: &str) -> Pair {
    let mut pair = Pair::connected(seed, |_, config| {
        config.connections[0].children[0].proposals = vec![esp(proposal)];
        config.connections[0].dpd_delay = Some(Duration::from_secs(30));
        // Six losses in a row would be another story.
        config.connections[0].retransmission.tries = 12;
        config.connections[0].retransmission.base_percent = 110;
    });
    pair.network = Network::BAD;
    pair
}

#[test]
fn rekeying_a_child_sa() {
    for (seed, proposal) in (0..SEEDS / 2).flat_map(|seed| [(seed, "aes128gcm16"), (seed, "aes128gcm16-x25519")]) {
        let mut pair = rekeyed_pair(seed, proposal);
        let old = pair.only_child(A);
        pair.rekey(if seed & 1 == 0 { A } else { B }, net());
        pair.run(LONG);
        assert_rekeyed(seed, &mut pair, old);
    }
}

#[test]
fn rekeying_a_child_sa_from_both_sides() {
    for seed in 0..SEEDS {
        let mut pair = rekeyed_pair(seed, if seed & 1 == 0 { "aes128gcm16" } else { "aes128gcm16-x25519" });
        let old = pair.only_child(A);
        pair.rekey(A, net());
        pair.run(Duration::from_millis(seed * 20));
        let old_of_b = pair.gateway(B).data_plane.installed.keys().next().copied().unwrap();
        pair.rekey(B, Target::ChildSa(old_of_b));
        pair.run(LONG);
        assert_rekeyed(seed, &mut pair, old);
    }
}

#[test]
fn rekeying_the_ike_sa_from_one_side_or_both() {
    for seed in 0..SEEDS {
        let mut pair = rekeyed_pair(seed, "aes128gcm16");
        let child = pair.only_child(A);
        let sides: &[Side] = [&[A][..], &[B], &[A, B]][usize::try_from(seed % 3).unwrap()];
        for side in sides {
            pair.rekey(*side, lab());
            pair.run(Duration::from_millis(seed * 10));
        }
        pair.run(LONG);
        pair.network = Network::GOOD;
        pair.run(LONG);
        let [a, b] = [A, B].map(|side| pair.ike_sas(side));
        assert_eq!((a.len(), b.len()), (1, 1), "seed {seed}: {:?}", pair.titles());
        assert_eq!((a[0].initiator_spi, a[0].responder_spi), (b[0].initiator_spi, b[0].responder_spi), "seed {seed}");
        assert!(pair.stat(A, "ike_sas_rekeyed") >= 1, "seed {seed}");
        assert_eq!(pair.assert_mirrored(), 1, "seed {seed}");
        assert_eq!(pair.only_child(A), child, "seed {seed}: it is inherited as it is");
    }
}
