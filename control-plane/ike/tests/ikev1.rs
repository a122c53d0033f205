//! IKEv1: main mode with pre-shared keys, quick mode, and what becomes of both.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::{Child, Config, DpdAction, IkeLifetime, Psk, StartAction, Version};
use ike::error::Failure;
use ike::io::{Answer, Datagram, Event, Input, SaState};
use ike_wire::v1;
use ipsec_types::{Dscp, DscpSet, Mode, PolicyId, Secret};
use pair::Side::{A, B};
use pair::{Network, Pair, Side, ah, config, esp, lab, net, second_child};

const SECOND: Duration = Duration::from_secs(1);

fn v1_config(side: Side) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    config
}

fn changed(change: impl Fn(Side, &mut Config)) -> [Config; 2] {
    [A, B].map(|side| {
        let mut config = v1_config(side);
        change(side, &mut config);
        config
    })
}

fn pair(seed: u64, change: impl Fn(Side, &mut Config)) -> Pair {
    let [a, b] = changed(change);
    Pair::new(seed, a, b)
}

fn connected(seed: u64, change: impl Fn(Side, &mut Config)) -> Pair {
    let mut pair = pair(seed, change);
    pair.connect();
    pair.sent.clear();
    pair.gateways.iter_mut().for_each(|gateway| gateway.traces.clear());
    pair
}

/// The exchanges of the messages sent so far.
fn exchanges(pair: &Pair) -> Vec<(Side, v1::ExchangeType)> {
    pair.sent.iter().map(|sent| (sent.from, v1::Message::parse(&sent.datagram.payload).unwrap().header.exchange)).collect()
}

const MAIN: v1::ExchangeType = v1::ExchangeType::MAIN_MODE;
const QUICK: v1::ExchangeType = v1::ExchangeType::QUICK_MODE;
const INFO: v1::ExchangeType = v1::ExchangeType::INFORMATIONAL;

/// RFC 2409 sections 5.4 and 5.5.
#[test]
fn six_messages_of_main_mode_and_three_of_quick_mode_bring_a_child_sa() {
    let mut pair = pair(1, |_, _| {});
    pair.connect();
    let main = [(A, MAIN), (B, MAIN), (A, MAIN), (B, MAIN), (A, MAIN), (B, MAIN)];
    assert_eq!(exchanges(&pair), [&main[..], &[(A, QUICK), (B, QUICK), (A, QUICK)]].concat());
    for side in [A, B] {
        let shown: Vec<String> = pair.traced(side).into_iter().map(|(_, title, payloads)| format!("{title}: {payloads}")).collect();
        assert_eq!(
            shown[..6],
            [
                "Main Mode: SA V V V V V V",
                "Main Mode: SA V V V",
                "Main Mode: KE No NAT-D NAT-D",
                "Main Mode: KE No NAT-D NAT-D",
                "Main Mode: ID HASH N(INITIAL-CONTACT)",
                "Main Mode: ID HASH",
            ]
        );
        let payloads: Vec<&str> = shown[6..].iter().map(|line| line.split_once(": ").unwrap().1).collect();
        assert_eq!(payloads, ["HASH SA No ID ID", "HASH SA No ID ID", "HASH"]);
        let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA") };
        assert_eq!((sa.version, sa.state, sa.initiator), (1, SaState::Established, side == A));
        assert_eq!(sa.proposal, "AES_CBC_128/HMAC_SHA2_256_128/PRF_HMAC_SHA2_256/MODP_2048");
        assert_eq!(sa.remote_identity, v1_config(side).connections[0].remote_identity);
        assert_eq!(sa.children[0].proposal, "AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ");
        assert!(pair.ping(side), "packets cross from {side:?}");
    }
    // Identities and selectors do not travel in the clear.
    let names = [&b"a.lab.test"[..], b"b.lab.test", &[10, 1, 0, 0, 255, 255, 0, 0]];
    let shows = |octets: &[u8]| names.iter().any(|name| octets.windows(name.len()).any(|window| window == *name));
    assert!(!pair.sent.iter().any(|sent| shows(&sent.datagram.payload)));
}

#[test]
fn every_cipher_hash_and_group_is_spoken() {
    for (index, proposal) in [
        "3des-sha1-modp1024",
        "3des-md5-modp768",
        "aes256-md5-modp1536",
        "aes192-sha384-ecp384",
        "aes256-sha512-modp3072",
        "aes256-sha1-ecp256",
        "aes128-sha256-ecp521",
    ]
    .iter()
    .enumerate()
    {
        let mut pair = pair(10 + index as u64, |_, config| config.connections[0].proposals = vec![proposal.parse().unwrap()]);
        pair.connect();
    }
    for (index, proposal) in [
        esp("aes128gcm16"),
        esp("3des-sha1"),
        esp("3des-md5-modp1536"),
        esp("aes256-sha512-modp2048"),
        esp("aes128gcm16-ecp256"),
        esp("aes128gcm16-ecp384"),
        ah("sha256"),
        ah("md5"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut pair = pair(20 + index as u64, |_, config| config.connections[0].children[0].proposals = vec![proposal.clone()]);
        pair.connect();
        let pfs = pair.traced(A).into_iter().filter(|(_, title, payloads)| title.starts_with("Quick") && payloads.contains("KE")).count();
        assert_eq!(pfs, if proposal.key_exchange().is_empty() { 0 } else { 2 });
    }
}

/// Whoever loses what, and whatever comes twice or late.
#[test]
fn a_bad_network_only_delays() {
    for seed in 0..40 {
        let [a, b] = changed(|_, config| {
            let connection = &mut config.connections[0];
            connection.retransmission.tries = 12;
            connection.retransmission.base_percent = 110;
            connection.children[0].start_action = StartAction::Trap;
        });
        let mut pair = Pair::on(Network::BAD, 1000 + seed, a, b);
        pair.acquire(A, 1);
        pair.comes_up(seed);
        pair.network = Network::GOOD;
        pair.run(SECOND * 120);
        let ours: Vec<_> = pair.gateway(A).data_plane.installed.values().map(|sa| sa.inbound_spi).collect();
        let theirs: Vec<_> = pair.gateway(B).data_plane.installed.values().map(|sa| sa.outbound_spi).collect();
        assert!(ours.iter().any(|spi| theirs.contains(spi)), "seed {seed}");
    }
}

#[test]
fn each_lost_message_is_sent_again() {
    for lost in 0..9 {
        let mut pair = pair(50, |_, _| {});
        pair.acquire(A, 1);
        pair.gets_over_the_loss_of(lost, SECOND);
    }
}

#[test]
fn both_can_begin_and_several_child_sas_share_phase_1() {
    for begins in [A, B] {
        let mut pair = pair(60, |side, config| {
            let mut second = second_child(side, "more");
            second.proposals = vec![esp("aes256-sha512")];
            config.connections[0].children.push(second);
        });
        for child in ["net", "more"] {
            let request = pair.initiate_child(begins, child);
            pair.run(SECOND);
            assert!(matches!(pair.answer(begins, request), Some(Ok(Answer::Initiated { .. }))), "{child}");
        }
        assert_eq!(pair.assert_mirrored(), 2);
        assert_eq!((pair.established(A), pair.sent.len()), (1, 12));
    }
}

/// Not even where nothing in a quick mode says which of them is meant.
#[test]
fn children_for_packets_of_several_classes_have_an_sa_each() {
    let expedited: DscpSet = [Dscp::new(46).unwrap()].into_iter().collect();
    let mut pair = pair(61, |side, config| {
        let rest = v1_config(side).connections.remove(0).children.remove(0);
        let children = &mut config.connections[0].children;
        children[0].dscp = expedited;
        children.push(Child { name: "rest".into(), policy: PolicyId(2), priority: 110, dscp: DscpSet::ALL.without(expedited), ..rest });
    });
    for child in ["net", "rest"] {
        pair.initiate_child(A, child);
        pair.run(SECOND);
    }
    pair.run(SECOND * 60);
    assert_eq!(pair.assert_mirrored(), 2);
    for side in [A, B] {
        let served: Vec<u32> = pair.gateway(side).data_plane.installed.values().map(|sa| sa.policy.0).collect();
        assert_eq!(served, [1, 2], "{side:?}");
    }
}

#[test]
fn the_other_key_is_named_as_the_reason_on_both_sides() {
    let mut pair = pair(70, |side, config| {
        if side == B {
            config.psks = vec![Psk { owners: vec![], secret: Secret::copy_from(b"another key") }];
        }
    });
    let request = pair.initiate(A);
    pair.run(SECOND * 200);
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
    assert!(matches!(pair.answer(A, request), Some(Err(_))));
    assert!(matches!(pair.failure(B), Failure::Unauthenticated(detail) if detail.summary.contains("does not hold the shared key")));
}

#[test]
fn proposals_without_a_common_transform_are_refused_with_both_sides() {
    let mut pair = pair(71, |side, config| {
        if side == B {
            config.connections[0].proposals = vec!["aes256-sha512-modp4096".parse().unwrap()];
        }
    });
    let request = pair.initiate(A);
    pair.run(SECOND * 6);
    assert!(matches!(pair.answer(A, request), Some(Err(Failure::Refused(kind, _))) if kind == ike_wire::NotifyType::NO_PROPOSAL_CHOSEN));
    let Failure::Incompatible(_, detail) = pair.failure(B) else { panic!("{:?}", pair.failure(B)) };
    assert_eq!(detail.ours, "AES_CBC_256/HMAC_SHA2_512_256/MODP_4096/pre-shared key");
    assert!(detail.theirs.contains("Key Length 128") && detail.theirs.contains("Group Description 14"), "{detail}");
    assert_eq!(pair.ike_sas(B).len(), 0, "a refusal leaves nothing behind");
}

#[test]
fn proxy_ids_that_do_not_meet_are_explained_as_selectors_are() {
    let mut pair = pair(72, |side, config| {
        if side == B {
            config.connections[0].children[0].remote_selectors = vec!["10.9.0.0/16".parse().unwrap()];
        }
    });
    let request = pair.initiate(A);
    pair.run(SECOND);
    assert!(matches!(pair.answer(A, request), Some(Err(Failure::Refused(kind, _))) if kind == ike_wire::NotifyType::TS_UNACCEPTABLE));
    let Failure::Incompatible(kind, detail) = pair.failure(B) else { panic!("{:?}", pair.failure(B)) };
    assert_eq!(kind, ike_wire::NotifyType::TS_UNACCEPTABLE);
    assert!(detail.theirs.contains("10.2.0.0/16 === 10.1.0.0/16"), "{detail}");
    assert_eq!((pair.established(A), pair.established(B)), (1, 1), "phase 1 stays");
}

#[test]
fn an_unexpected_identity_is_refused() {
    let mut pair = pair(73, |side, config| {
        if side == A {
            config.connections[0].local_identity = "x.lab.test".parse().unwrap();
        }
    });
    pair.initiate(A);
    pair.run(SECOND * 40);
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
    assert!(matches!(pair.failure(B), Failure::Unauthenticated(detail) if detail.summary.contains("x.lab.test")));
}

#[test]
fn a_child_sa_is_replaced_without_loss() {
    for side in [A, B] {
        let mut pair = connected(80, |_, config| config.connections[0].children[0].proposals = vec![esp("aes128gcm16-modp2048")]);
        let old = pair.only_child(side);
        let request = pair.rekey(side, net());
        assert_eq!(pair.run_under_load(SECOND * 10), 0);
        assert!(matches!(pair.answer(side, request), Some(Ok(Answer::Rekeyed { child_sas, .. })) if child_sas.len() == 1));
        assert_ne!(pair.only_child(side), old);
        assert_eq!(pair.assert_mirrored(), 1);
        let quick = exchanges(&pair).into_iter().filter(|(_, exchange)| *exchange == QUICK).count();
        assert_eq!(quick, 3);
    }
}

#[test]
fn a_soft_limit_begins_it_and_a_hard_one_ends_an_sa() {
    let mut pair = connected(81, |side, config| {
        if side == A {
            config.connections[0].children[0].start_action = StartAction::Start;
        }
    });
    pair.soft_expire(A);
    assert_eq!(pair.run_under_load(SECOND * 10), 0);
    assert_eq!(pair.assert_mirrored(), 1);
    let child = pair.only_child(A);
    pair.input(A, Input::Dataplane(ike::io::Dataplane::HardExpire(child)));
    pair.run(SECOND * 3);
    assert_eq!(pair.assert_mirrored(), 1, "it is wanted from the start");
    assert_ne!(pair.only_child(A), child);
}

/// A new phase 1 takes the place of the old one; Child SAs go on as they are.
#[test]
fn phase_1_is_replaced_under_its_child_sas() {
    for side in [A, B] {
        let mut pair = connected(82, |_, _| {});
        let children = [A, B].map(|side| pair.only_child(side));
        let old = pair.ike_sas(side)[0].id;
        let request = pair.rekey(side, lab());
        assert_eq!(pair.run_under_load(SECOND * 10), 0);
        let Some(Ok(Answer::Rekeyed { ike_sas, .. })) = pair.answer(side, request) else { panic!("{:?}", pair.gateway(side).events) };
        assert!(ike_sas.len() == 1 && ike_sas[0] != old);
        for (side, child) in [A, B].into_iter().zip(children) {
            assert_eq!(pair.only_child(side), child);
            let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA at {side:?}") };
            assert_eq!(sa.children.len(), 1);
        }
        // And the new one can do what the old one could.
        pair.soft_expire(side.other());
        assert_eq!(pair.run_under_load(SECOND * 10), 0);
        assert_eq!(pair.assert_mirrored(), 1);
    }
}

#[test]
fn it_is_replaced_in_time_and_never_outlives_its_limit() {
    let lifetime = IkeLifetime { rekey: Some(SECOND * 100), hard: Some(SECOND * 110), jitter: SECOND * 5 };
    let mut pair = connected(83, |_, config| config.connections[0].lifetime = lifetime);
    let child = pair.only_child(A);
    assert_eq!(pair.run_under_load(SECOND * 400), 0);
    assert_eq!(pair.only_child(A), child);
    for side in [A, B] {
        let sas = pair.ike_sas(side);
        assert!(sas.len() == 1 && sas[0].age < SECOND * 110, "{sas:?}");
    }
}

#[test]
fn deletions_are_heard() {
    for side in [A, B] {
        let mut pair = connected(84, |_, _| {});
        let request = pair.terminate(side, net());
        pair.run(SECOND);
        assert_eq!(pair.answer(side, request), Some(Ok(Answer::Terminated(1))));
        assert_eq!((pair.installed(A), pair.installed(B), pair.established(A), pair.established(B)), (0, 0, 1, 1));
        assert_eq!(exchanges(&pair), [(side, INFO)]);
        pair.initiate(side.other());
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        pair.terminate(side, lab());
        pair.run(SECOND);
        assert_eq!((pair.installed(A), pair.installed(B), pair.established(A), pair.established(B)), (0, 0, 0, 0));
    }
}

/// RFC 3706.
#[test]
fn a_dead_peer_is_noticed_and_a_living_one_answers() {
    let mut pair = connected(85, |side, config| {
        let connection = &mut config.connections[0];
        connection.dpd_delay = (side == A).then_some(SECOND * 10);
        connection.children[0].dpd_action = DpdAction::Restart;
        connection.retransmission.tries = 2;
    });
    pair.run(SECOND * 35);
    let shown = pair.shown(A);
    let asked = |what: &str| shown.iter().filter(|line| line.ends_with(what)).count();
    assert_eq!((asked("HASH N(R-U-THERE)"), asked("HASH N(R-U-THERE-ACK)")), (3, 3));
    pair.deaf = Some(B);
    pair.run(SECOND * 60);
    let closed = |event: &&Event| matches!(event, Event::IkeSaClosed { failure: Some(Failure::TimedOut(_)), .. });
    assert_eq!(pair.gateway(A).events.iter().filter(closed).count(), 1);
    pair.deaf = None;
    pair.run(SECOND * 200);
    assert!(pair.ping(A) && pair.ping(B), "it is set up again");
}

#[test]
fn a_nat_is_crossed_in_udp_on_port_4500() {
    let mut pair = pair(86, |_, _| {});
    let outside: SocketAddr = "198.51.100.7:10000".parse().unwrap();
    pair.nat = Some(outside);
    // B knows A by the address of the NAT.
    let mut b = v1_config(B);
    b.connections[0].remote_addrs = vec![];
    pair.input(B, Input::Command(ike::io::Command::Configure(Box::new(b))));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    let ports: Vec<u16> = pair.sent.iter().map(|sent| sent.datagram.local.port()).collect();
    assert_eq!(ports, [500, 500, 500, 500, 4500, 4500, 4500, 4500, 4500]);
    let [a, b] = [A, B].map(|side| pair.ike_sas(side).remove(0));
    assert!(a.nat_local && !a.nat_remote && !b.nat_local && b.nat_remote);
    assert!(pair.gateway(A).data_plane.installed.values().all(|sa| sa.encapsulation.is_some()));
    pair.run(SECOND * 50);
    assert_eq!(pair.keep_alives.len(), 2);
}

#[test]
fn encapsulation_can_be_forced() {
    let mut pair = pair(87, |_, config| config.connections[0].force_encapsulation = true);
    pair.connect();
    assert!(pair.gateway(B).data_plane.installed.values().all(|sa| sa.encapsulation.is_some()));
}

#[test]
fn transport_mode_is_between_the_gateways() {
    let mut pair = pair(88, |side, config| {
        let child = &mut config.connections[0].children[0];
        child.mode = Mode::Transport;
        child.local_selectors = vec![side.address().to_string().parse().unwrap()];
        child.remote_selectors = vec![side.other().address().to_string().parse().unwrap()];
    });
    pair.connect();
    let mut other = self::pair(89, |side, config| {
        let child = &mut config.connections[0].children[0];
        child.local_selectors = vec![side.address().to_string().parse().unwrap()];
        child.remote_selectors = vec![side.other().address().to_string().parse().unwrap()];
        child.mode = if side == A { Mode::Transport } else { Mode::Tunnel };
    });
    other.initiate(A);
    other.run(SECOND);
    assert_eq!((other.installed(A), other.installed(B)), (0, 0), "modes are not mixed");
}

/// INITIAL-CONTACT (RFC 2407 section 4.6.3.3).
#[test]
fn a_peer_that_begins_anew_is_not_two_peers() {
    let mut pair = connected(90, |_, _| {});
    pair.kill_control(A);
    pair.gateway(A).data_plane = pair::FakeDataPlane::default();
    pair.input(A, Input::Command(ike::io::Command::Configure(Box::new(v1_config(A)))));
    pair.attach(A, [2; 16], 1);
    pair.acquire(A, 1);
    pair.run(SECOND * 10);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    assert_eq!(pair.assert_mirrored(), 1);
}

/// Cookies say whose message it is, and Message IDs who began: what comes back is nobody's.
#[test]
fn reflected_and_repeated_messages_change_nothing() {
    let mut pair = pair(91, |_, _| {});
    pair.connect();
    pair.run(SECOND * 10);
    let sent: Vec<_> = pair.sent.clone();
    let before: Vec<_> = [A, B].map(|side| (pair.installed(side), pair.ike_sas(side).len(), pair.gateway(side).events.len())).to_vec();
    for sent in sent {
        let Datagram { local, remote, payload } = sent.datagram;
        // To its sender, and once more to its receiver.
        pair.input(sent.from, Input::Datagram(Datagram { local, remote, payload: payload.clone() }));
        pair.input(sent.from.other(), Input::Datagram(Datagram { local: remote, remote: local, payload }));
    }
    pair.run(SECOND * 60);
    let after: Vec<_> = [A, B].map(|side| (pair.installed(side), pair.ike_sas(side).len(), pair.gateway(side).events.len())).to_vec();
    // A first message that comes again begins a main mode that comes to nothing.
    assert_eq!((before[0].0, before[1].0, before[0].1, before[1].1), (after[0].0, after[1].0, after[0].1, after[1].1));
    assert!(pair.ping(A) && pair.ping(B));
}

#[test]
fn a_message_that_was_changed_on_the_way_changes_nothing() {
    for position in [28, 40, 60, 75] {
        let mut pair = connected(92, |_, _| {});
        pair.tamper = Some(Box::new(move |_, octets| {
            if let Some(octet) = octets.get_mut(position) {
                *octet ^= 1;
            }
        }));
        pair.terminate(A, net());
        pair.run(SECOND);
        assert_eq!(pair.installed(B), 1, "the deletion was not authentic");
        assert!(pair.stat(B, "messages_unauthentic") > 0);
    }
}

#[test]
fn a_connection_speaks_the_versions_it_is_configured_for() {
    for (a, b, version) in [
        (Version::V1, Version::Any, Some(1)),
        (Version::V2, Version::Any, Some(2)),
        (Version::Any, Version::Any, Some(2)),
        (Version::Any, Version::V2, Some(2)),
        (Version::V1, Version::V2, None),
        (Version::V2, Version::V1, None),
        (Version::Any, Version::V1, None),
    ] {
        let mut pair = pair(93, |side, config| config.connections[0].version = if side == A { a } else { b });
        pair.acquire(A, 1);
        pair.run(SECOND);
        let found = pair.ike_sas(A).iter().find(|sa| sa.state == SaState::Established).map(|sa| sa.version);
        assert_eq!(found, version, "{a:?} {b:?}");
        assert_eq!(pair.installed(B), usize::from(version.is_some()));
    }
}

#[test]
fn the_key_is_logged_where_that_is_wanted_alone() {
    for wanted in [true, false] {
        let mut pair = pair(94, |_, config| config.key_log = wanted);
        pair.connect();
        let [a, b] = [A, B]
            .map(|side| pair.gateway(side).v1_keys.iter().map(|key| (key.initiator_cookie, key.key.expose().to_vec())).collect::<Vec<_>>());
        assert_eq!((a.len(), &a), (usize::from(wanted), &b));
    }
}

#[test]
fn a_lost_data_plane_gets_its_child_sas_back_under_the_same_phase_1() {
    let mut pair = connected(95, |_, _| {});
    pair.restart_data_plane(A, 7);
    pair.run(SECOND * 20);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    assert!(exchanges(&pair).iter().all(|(_, exchange)| *exchange != MAIN));
}

#[test]
fn a_refused_install_leaves_no_half() {
    for side in [A, B] {
        let mut pair = pair(97, |_, _| {});
        pair.gateway(side).data_plane.stingy = true;
        pair.attach(side, [1; 16], 2);
        let spi = |number| ipsec_types::Spi::new(number).unwrap();
        pair.input(side, Input::SpisLeased(vec![spi(0xaaaa_0001)]));
        pair.gateway(side).data_plane.refuses = Some("the table is full".into());
        pair.acquire(A, 1);
        pair.run(SECOND);
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0), "{side:?}");
        pair.gateway(side).data_plane.refuses = None;
        pair.run(SECOND * 5);
        pair.acquire(A, 2);
        pair.run(SECOND);
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0), "{side:?}: an SPI that was refused does not come again");
        pair.input(side, Input::SpisLeased(vec![spi(0xaaaa_0002)]));
        pair.acquire(A, 3);
        pair.run(SECOND * 10);
        assert_eq!(pair.assert_mirrored(), 1, "{side:?}");
    }
}

#[test]
fn half_open_ones_are_bounded_and_forgotten() {
    let mut pair = pair(96, |_, config| config.block_threshold = 5);
    pair.deaf = Some(A);
    pair.initiate(A);
    pair.run(SECOND);
    let first = pair.sent[0].datagram.clone();
    for cookie in 1..=20_u8 {
        let mut payload = first.payload.clone();
        payload[0] = cookie;
        pair.input(B, Input::Datagram(Datagram { local: first.remote, remote: first.local, payload }));
    }
    assert_eq!(pair.ike_sas(B).len(), 5);
    assert_eq!(pair.stat(B, "initiators_blocked"), 16);
    pair.run(SECOND * 31);
    assert!(pair.ike_sas(B).len() <= 5);
    pair.terminate(A, lab());
    pair.run(SECOND * 40);
    assert_eq!((pair.ike_sas(B).len(), pair.stat(B, "ike_sas_half_open")), (0, 0));
}

#[test]
fn a_new_configuration_keeps_what_is_the_same() {
    let mut pair = connected(97, |_, _| {});
    pair.input(A, Input::Command(ike::io::Command::Configure(Box::new(v1_config(A)))));
    pair.run(SECOND);
    assert_eq!((pair.assert_mirrored(), pair.established(A)), (1, 1));
    let mut other = v1_config(A);
    other.connections[0].version = Version::V2;
    pair.input(A, Input::Command(ike::io::Command::Configure(Box::new(other))));
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
}

/// Child SAs depend on no phase 1: where the peer has begun another one, what is done next is done under that.
#[test]
fn the_newest_phase_1_is_used_and_the_old_one_may_go() {
    for ends in [A, B] {
        let mut pair = connected(98, |_, _| {});
        let child = pair.only_child(A);
        // The old one does not go at once: its deletion is lost.
        pair.rekey(A, lab());
        while exchanges(&pair).last() != Some(&(A, INFO)) {
            assert!(pair.step());
        }
        pair.deaf = Some(B);
        pair.run(SECOND);
        pair.deaf = None;
        let [old, new] = &pair.ike_sas(B)[..] else { panic!("two IKE SAs") };
        let [old, new] = [old, new].map(|sa| (sa.id, sa.children.len()));
        assert_eq!((old.1, new.1), (0, 1));
        assert_eq!(pair.established(B), 1, "the other one is shown as replaced");
        pair.rekey(B, net());
        assert_eq!(pair.run_under_load(SECOND * 5), 0);
        assert_ne!(pair.only_child(A), child);
        // Whatever becomes of the old one, the Child SA stays.
        pair.terminate(B, ike::io::Target::IkeSa(old.0));
        pair.run(SECOND);
        assert_eq!((pair.assert_mirrored(), pair.established(B)), (1, 1));
        pair.terminate(ends, lab());
        pair.run(SECOND);
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
    }
}
