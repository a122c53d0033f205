//! How long SAs of IKEv1 live where the two sides differ, and other things that a peer may say and that change nothing.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Config, IkeLifetime, StartAction, Version};
use ipsec_types::Limits;
use pair::Side::{A, B};
use pair::clear::provider_v1;
use pair::{Network, Pair, Side, config, esp};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn v1_config(side: Side) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    connection.children[0].start_action = StartAction::Trap;
    config
}

fn pair(seed: u64, change: impl Fn(Side, &mut Config)) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = v1_config(side);
        change(side, &mut config);
        config
    });
    Pair::new(seed, a, b)
}

/// Soft and hard limits in minutes and MiB.
fn limit(config: &mut Config, minutes: [u64; 2], mebibytes: [u64; 2]) {
    let limits =
        |at: usize| Limits { time: Some(MINUTE * u32::try_from(minutes[at]).unwrap()), octets: Some(mebibytes[at] << 20), packets: None };
    let lifetime = &mut config.connections[0].children[0].lifetime;
    (lifetime.soft, lifetime.hard) = (limits(0), limits(1));
}

/// The limits that the data plane got.
fn installed(pair: &mut Pair, side: Side) -> [(Option<Duration>, Option<u64>); 2] {
    let sa = pair.gateway(side).data_plane.installed.values().next().unwrap();
    [sa.lifetime.soft(), sa.lifetime.hard()].map(|limits| (limits.time, limits.octets))
}

fn says_responder_lifetime(pair: &mut Pair) -> Vec<String> {
    pair.shown(B).into_iter().filter(|line| line.contains("RESPONDER-LIFETIME")).collect()
}

/// RFC 2407 section 4.6.3.1.
#[test]
fn a_responder_with_a_shorter_life_says_so_and_both_use_it() {
    let mut pair = pair(1, |side, config| match side {
        A => limit(config, [55, 60], [900, 1000]),
        B => limit(config, [18, 20], [90, 100]),
    });
    pair.connect();
    assert_eq!(says_responder_lifetime(&mut pair).len(), 1);
    assert_eq!(installed(&mut pair, B), [(Some(MINUTE * 18), Some(90 << 20)), (Some(MINUTE * 20), Some(100 << 20))]);
    // It replaces the SA just before it ends, should the responder not do so.
    assert_eq!(installed(&mut pair, A), [(Some(MINUTE * 19), Some((100 << 20) / 20 * 19)), (Some(MINUTE * 20), Some(100 << 20))]);
    let shown =
        pair.gateway(A).traces.iter().filter(|trace| format!("{trace:?}").contains("it ends after 1200 s: the peer lets it live")).count();
    assert_eq!(shown, 1);
}

#[test]
fn an_initiator_with_a_shorter_life_has_said_so_already() {
    let mut pair = pair(2, |side, config| match side {
        A => limit(config, [18, 20], [90, 100]),
        B => limit(config, [55, 60], [900, 1000]),
    });
    pair.connect();
    assert_eq!(says_responder_lifetime(&mut pair).len(), 0);
    assert_eq!(installed(&mut pair, A)[1], (Some(MINUTE * 20), Some(100 << 20)));
    assert_eq!(installed(&mut pair, B), [(Some(MINUTE * 19), Some((100 << 20) / 20 * 19)), (Some(MINUTE * 20), Some(100 << 20))]);
}

#[test]
fn a_side_without_limits_takes_those_of_the_other() {
    for limited in [A, B] {
        let mut pair = pair(3, |side, config| {
            if side == limited {
                limit(config, [18, 20], [90, 100]);
            }
        });
        pair.connect();
        assert_eq!(installed(&mut pair, limited.other()), [(None, None), (Some(MINUTE * 20), Some(100 << 20))]);
        assert_eq!(says_responder_lifetime(&mut pair).len(), usize::from(limited == B));
    }
}

#[test]
fn phase_1_is_replaced_in_the_shorter_life_of_either_side() {
    for shorter in [A, B] {
        let mut pair = pair(4, |side, config| {
            let seconds = if side == shorter { 200 } else { 2000 };
            // Only A may begin: B does not know before the peer calls where it is.
            config.connections[0].lifetime =
                IkeLifetime { rekey: Some(SECOND * (seconds - 20)), hard: Some(SECOND * seconds), jitter: Duration::ZERO };
            if side == B {
                config.connections[0].remote_addrs = vec![];
            }
        });
        pair.connect();
        let [first] = &pair.ike_sas(A)[..] else { panic!("one IKE SA") };
        let first = first.id;
        assert_eq!(pair.run_under_load(SECOND * 195), 0, "{shorter:?}");
        let [second] = &pair.ike_sas(A)[..] else { panic!("{shorter:?}: one IKE SA") };
        assert!(second.id != first && second.age < SECOND * 20, "{shorter:?}: {second:?}");
        let said = says_responder_lifetime(&mut pair);
        assert_eq!(said.len(), if shorter == B { 2 } else { 0 }, "{said:?}");
    }
}

/// RFC 2409 appendix A: "kilobytes". Nothing here says so; in this test nothing is encrypted, and words can be changed on their way.
#[test]
fn phase_1_ends_when_it_has_protected_what_the_peer_lets_it_and_is_replaced_before() {
    for (rekey, expected) in [(Some(SECOND * 100_000), 95..100), (None, 100..101)] {
        let [a, b] = [A, B].map(|side| {
            let mut config = v1_config(side);
            let connection = &mut config.connections[0];
            // Each question and each answer is protected.
            connection.dpd_delay = Some(SECOND / 20);
            let (rekey, hard) = if side == B { (rekey, SECOND * 200_000) } else { (None, SECOND * 1024) };
            connection.lifetime = IkeLifetime { rekey, hard: Some(hard), jitter: Duration::ZERO };
            config
        });
        let mut pair = Pair::with(provider_v1(), Network::GOOD, 5, a, b);
        // What A offers is not 1024 seconds, but 1024 kilobytes.
        pair.tamper = Some(Box::new(|side, octets| {
            let [high, low] = 1024_u16.to_be_bytes();
            let seconds = [0x80, 11, 0, 1, 0x80, 12, high, low];
            if let (A, Some(at)) = (side, octets.windows(8).position(|part| part == seconds)) {
                octets[at + 3] = 2;
            }
        }));
        pair.acquire(A, 1);
        pair.run(SECOND);
        let first: Vec<_> = pair.ike_sas(B).iter().map(|sa| sa.id).collect();
        assert_eq!(first.len(), 1);
        let octets = |pair: &Pair| pair.sent.iter().map(|sent| sent.datagram.payload.len()).sum::<usize>();
        while pair.ike_sas(B).iter().map(|sa| sa.id).eq(first.iter().copied()) && octets(&pair) < 1 << 21 {
            pair.run(SECOND);
        }
        let share = octets(&pair) * 100 / (1 << 20);
        assert!(expected.contains(&share), "after {share} % of what it may protect, and not {expected:?}");
    }
}

/// "the Commit Bit": RFC 2408 section 3.1. Who sets it wants to hear when the SA is in place, which nobody says here; it goes on without.
#[test]
fn the_commit_bit_is_tolerated() {
    for from in [A, B] {
        let mut pair = pair(5, |_, _| {});
        // Quick mode alone has it.
        pair.tamper = Some(Box::new(move |side, octets| {
            if side == from && octets[18] == 32 {
                octets[19] |= 2;
            }
        }));
        pair.connect();
        assert!(pair.ping(A) && pair.ping(B));
        assert_eq!(pair.sent.len(), 9);
    }
}
