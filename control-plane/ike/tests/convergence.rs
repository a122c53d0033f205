//! Whatever both sides do at once on a network that loses, repeats and reorders: in the end they hold the same SAs, and nothing else.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::collections::BTreeSet;
use std::time::Duration;

use ike::io::{Dataplane, Input, SaState};
use pair::Side::{A, B};
use pair::{Network, Numbers, Pair, Side, esp, lab, net};

const SECOND: Duration = Duration::from_secs(1);

/// One IKE SA and one Child SA, whose rekeying does a key exchange of its own for every other seed; both sides ask for signs of life.
fn connected(seed: u64) -> Pair {
    Pair::connected(seed, |_, config| {
        config.connections[0].dpd_delay = Some(20 * SECOND);
        if seed.is_multiple_of(2) {
            config.connections[0].children[0].proposals = vec![esp("aes128gcm16-x25519")];
        }
    })
}

/// Both sides have the same IKE SAs with the same Child SAs, the data planes have those and no others, and no SPI is lost.
fn assert_converged(what: &str, pair: &mut Pair) {
    let views = [A, B].map(|side| {
        let sas = pair.ike_sas(side);
        assert!(sas.iter().all(|sa| sa.state == SaState::Established), "{what}: {side:?} {sas:?}");
        let children = sas.iter().flat_map(|sa| &sa.children).inspect(|child| {
            assert_eq!(child.state, SaState::Established, "{what}: {side:?}");
        });
        let spis: BTreeSet<_> = children.map(|child| [child.inbound_spi, child.outbound_spi]).collect();
        let in_data_plane: BTreeSet<_> =
            pair.gateway(side).data_plane.installed.values().map(|sa| [sa.inbound_spi, sa.outbound_spi]).collect();
        assert_eq!(spis, in_data_plane, "{what}: {side:?} has what no IKE SA knows");
        let leased = pair.gateway(side).data_plane.leased.len();
        assert_eq!(pair.stat(side, "spis_free"), leased as u64, "{what}: {side:?} lost an SPI");
        (sas.iter().map(|sa| (sa.initiator_spi, sa.responder_spi)).collect::<BTreeSet<_>>(), spis)
    });
    let [(ike_a, spis_a), (ike_b, spis_b)] = views;
    assert_eq!(ike_a, ike_b, "{what}: {:?}", pair.titles());
    assert_eq!(spis_a, spis_b.iter().map(|[inbound, outbound]| [*outbound, *inbound]).collect(), "{what}");
    pair.assert_mirrored();
}

/// Does something.
fn act(pair: &mut Pair, numbers: &mut Numbers, side: Side) -> &'static str {
    let (net, lab) = (net(), lab());
    match numbers.below(12) {
        0..4 => {
            pair.rekey(side, net);
            "rekey child"
        }
        4..7 => {
            pair.rekey(side, lab);
            "rekey IKE SA"
        }
        7 => {
            pair.terminate(side, net);
            "delete child"
        }
        8 => {
            pair.initiate(side);
            "create child"
        }
        9 => {
            let child = pair.gateway(side).data_plane.installed.keys().next_back().copied();
            if let Some(child) = child {
                pair.gateway(side).data_plane.installed.remove(&child);
                pair.input(side, Input::Dataplane(Dataplane::HardExpire(child)));
            }
            "hard limit"
        }
        _ => {
            let child = pair.gateway(side).data_plane.installed.keys().next().copied();
            if let Some(child) = child {
                pair.input(side, Input::Dataplane(Dataplane::SoftExpire(child)));
            }
            "soft limit"
        }
    }
}

#[test]
fn rekeying_deleting_and_creating_by_both_sides_under_loss() {
    for seed in 0..100 {
        let mut pair = connected(seed);
        let mut numbers = Numbers(seed ^ 0x5eed);
        pair.network = if seed % 3 == 0 { Network::GOOD } else { Network { loss_percent: 5 * (seed % 5), ..Network::BAD } };
        let mut story = format!("seed {seed}");
        for _ in 0..=numbers.below(12) {
            let side = if numbers.percent(50) { A } else { B };
            story.push_str(&format!("; {:.2} {side:?} {}", pair.now.as_nanos() as f64 / 1e9, act(&mut pair, &mut numbers, side)));
            // Often so soon that exchanges cross.
            let pause = if numbers.percent(70) { numbers.below(60) } else { numbers.below(8000) };
            pair.run(Duration::from_millis(pause));
        }
        pair.network = Network::GOOD;
        pair.run(800 * SECOND);
        assert_converged(&story, &mut pair);
    }
}

#[test]
fn lifetimes_on_both_sides_keep_a_lossy_tunnel_up() {
    for seed in 0..30 {
        let mut pair = Pair::connected(seed, |_, config| {
            config.connections[0].dpd_delay = Some(20 * SECOND);
            config.connections[0].lifetime = ike::config::IkeLifetime { rekey: Some(200 * SECOND), hard: None, jitter: 20 * SECOND };
        });
        pair.network = Network { loss_percent: 10, ..Network::BAD };
        for _ in 0..20 {
            pair.run(50 * SECOND);
            for side in [A, B] {
                let child = pair.gateway(side).data_plane.installed.keys().next_back().copied();
                if let Some(child) = child {
                    pair.input(side, Input::Dataplane(Dataplane::SoftExpire(child)));
                }
            }
        }
        pair.network = Network::GOOD;
        pair.run(60 * SECOND);
        assert_converged(&format!("seed {seed}"), &mut pair);
        assert_eq!(pair.installed(A), 1, "seed {seed}");
        assert!(pair.stat(A, "ike_sas_rekeyed") >= 4, "seed {seed}");
    }
}
