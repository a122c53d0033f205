//! IKEv1: users after phase 1 (XAuth), hybrid authentication, and addresses inside the other side's network (Mode Config).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, IkeLifetime, LocalAuth, Pool, RemoteAuth, StartAction, Version, XauthUser};
use ike::error::Failure;
use ike::io::{Answer, Command, Datagram, Event, Input, Record, VirtualAddresses};
use ike_wire::{NotifyType, v1};
use ipsec_types::{Identity, KeyKind, Secret};
use pair::Side::{A, B};
use pair::signing::{FakeVerifier, NAMES, credential};
use pair::users::{PASSWORD, ask_for_user, give_address, user, users};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SECOND: Duration = Duration::from_secs(1);

/// How the two authenticate: A is the user, where there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Psk,
    XauthPsk,
    XauthRsa,
    Hybrid,
}

/// Whether B gives A an address, and who speaks first then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Addresses {
    None,
    Pull,
    Push,
}

fn changed(side: Side, way: Way, addresses: Addresses) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    connection.children[0].start_action = StartAction::None;
    if addresses != Addresses::None {
        give_address(connection, side, addresses == Addresses::Pull);
    }
    if matches!(way, Way::XauthRsa | Way::Hybrid) {
        connection.local_auth = credential(NAMES[side as usize], NAMES[side as usize], KeyKind::Rsa);
        connection.remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier));
    }
    match (way, side) {
        (Way::Psk, _) => {}
        (Way::XauthPsk | Way::XauthRsa, _) => ask_for_user(connection, side),
        (Way::Hybrid, A) => connection.local_auth = user(),
        (Way::Hybrid, B) => {
            connection.remote_auth = users();
            connection.remote_identity = None;
        }
    }
    config
}

fn pair_of(seed: u64, way: Way, addresses: Addresses) -> Pair {
    Pair::new(seed, changed(A, way, addresses), changed(B, way, addresses))
}

fn connect(pair: &mut Pair) {
    pair.initiate(A);
    pair.run(SECOND * 2);
    assert_eq!(pair.assert_mirrored(), 1, "{:?} {:?}", pair.failures(A), pair.failures(B));
}

fn alice() -> Identity {
    Identity::KeyId(b"alice".to_vec())
}

/// The transactions that a side has seen, as a trace shows them.
fn transactions(pair: &mut Pair, side: Side) -> Vec<(bool, String)> {
    let of = |(outbound, title, payloads): (bool, String, String)| title.starts_with("Transaction").then_some((outbound, payloads));
    pair.traced(side).into_iter().filter_map(of).collect()
}

fn titles(pair: &Pair) -> Vec<(Side, v1::ExchangeType)> {
    pair.sent.iter().map(|sent| (sent.from, v1::Message::parse(&sent.datagram.payload).unwrap().header.exchange)).collect()
}

fn selected(pair: &mut Pair, side: Side) -> (String, String) {
    let id = pair.only_child(side);
    let sa = &pair.gateway(side).data_plane.installed[&id];
    let texts = |selectors: &[ipsec_types::TrafficSelector]| selectors.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    (texts(&sa.local_selectors), texts(&sa.remote_selectors))
}

#[test]
fn a_user_is_asked_for_after_phase_1_and_is_who_the_peer_is() {
    for (seed, way) in [Way::XauthPsk, Way::XauthRsa, Way::Hybrid].into_iter().enumerate() {
        let mut pair = pair_of(seed as u64, way, Addresses::None);
        connect(&mut pair);
        let expected = ["HASH CP(CFG_REQUEST)", "HASH CP(CFG_REPLY)", "HASH CP(CFG_SET)", "HASH CP(CFG_ACK)"];
        let shown = transactions(&mut pair, B);
        assert_eq!(shown.iter().map(|(_, payloads)| payloads.as_str()).collect::<Vec<_>>(), expected, "{way:?}");
        assert_eq!(shown.iter().map(|(outbound, _)| *outbound).collect::<Vec<_>>(), [true, false, true, false]);
        let ids: Vec<u32> = pair
            .sent
            .iter()
            .map(|sent| v1::Message::parse(&sent.datagram.payload).unwrap().header)
            .filter(|header| header.exchange == v1::ExchangeType::TRANSACTION)
            .map(|header| header.message_id)
            .collect();
        assert!(ids.len() == 4 && ids.iter().all(|id| *id == ids[0]), "one Message ID: {ids:?}");
        assert_eq!(pair.ike_sas(B)[0].remote_identity, Some(alice()));
        assert_eq!(pair.ike_sas(A)[0].remote_identity, Some(NAMES[1].parse().unwrap()));
        assert!(pair.gateway(B).events.iter().any(|event| matches!(event, Event::UserAsked { .. })));
        assert!(pair.ping(A) && pair.ping(B));
    }
}

/// Neither in a trace nor on the wire.
#[test]
fn a_password_is_shown_nowhere() {
    let mut pair = pair_of(9, Way::XauthPsk, Addresses::None);
    connect(&mut pair);
    let hex: String = PASSWORD.iter().map(|octet| format!("{octet:02x}")).collect();
    for side in [A, B] {
        let gateway = pair.gateway(side);
        let shown = format!("{:?} {:?}", gateway.traces, gateway.events);
        assert!(shown.contains("XAUTH-USER-PASSWORD") && shown.contains("alice"), "its name is");
        assert!(!shown.contains("wonderland") && !shown.contains(&hex));
    }
    assert!(!pair.sent.iter().any(|sent| sent.datagram.payload.windows(PASSWORD.len()).any(|window| window == PASSWORD)));
}

#[test]
fn hybrid_authentication_has_one_signature() {
    let mut pair = pair_of(3, Way::Hybrid, Addresses::None);
    connect(&mut pair);
    let shown: Vec<String> = pair.traced(A).into_iter().map(|(_, title, payloads)| format!("{title}: {payloads}")).collect();
    assert_eq!(shown[4..6], ["Main Mode: ID HASH N(INITIAL-CONTACT)", "Main Mode: ID CERT SIG"]);
}

#[test]
fn a_wrong_password_is_told_to_both_and_ends_the_ike_sa() {
    for (seed, way) in [Way::XauthPsk, Way::XauthRsa, Way::Hybrid].into_iter().enumerate() {
        let mut a = changed(A, way, Addresses::None);
        let wrong = LocalAuth::Xauth(XauthUser { name: "alice".into(), password: Arc::new(Secret::copy_from(b"guess")) });
        match way {
            Way::Hybrid => a.connections[0].local_auth = wrong,
            _ => a.connections[0].local_more[0].auth = wrong,
        }
        let mut pair = Pair::new(20 + seed as u64, a, changed(B, way, Addresses::None));
        let request = pair.initiate(A);
        pair.run(SECOND * 2);
        assert!(
            matches!(pair.answer(A, request), Some(Err(Failure::Unauthenticated(detail))) if detail.summary.contains("does not let the user"))
        );
        let Failure::Unauthenticated(detail) = pair.failure(B) else { panic!("{:?}", pair.failure(B)) };
        assert!(detail.summary.contains("alice does not know the password"), "{detail}");
        assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len()), (0, 0));
        assert!(!titles(&pair).iter().any(|(_, exchange)| *exchange == v1::ExchangeType::QUICK_MODE));
    }
}

/// Whoever has the group's key and no password gets no further than whoever has neither, whatever it begins.
#[test]
fn before_the_user_is_believed_there_is_no_quick_mode() {
    let mut pair = pair_of(30, Way::XauthPsk, Addresses::None);
    pair.initiate(A);
    // A learns nothing of what B asks, and its clock goes on.
    while pair.sent.len() < 6 {
        assert!(pair.step());
    }
    pair.deaf = Some(A);
    pair.run(SECOND * 100);
    assert_eq!((pair.established(A), pair.established(B), pair.ike_sas(B).len()), (0, 0, 0));
    let Failure::TimedOut(detail) = pair.failure(B) else { panic!("{:?}", pair.failure(B)) };
    assert!(detail.summary.contains("after phase 1") || detail.summary.contains("Transaction"), "{detail}");
}

/// A server without XAuth, or a client without a user: the method of phase 1 says so.
#[test]
fn who_wants_another_method_is_told_in_phase_1() {
    let mut pair = Pair::new(31, changed(A, Way::Psk, Addresses::None), changed(B, Way::XauthPsk, Addresses::None));
    pair.initiate(A);
    pair.run(SECOND * 6);
    let Failure::Incompatible(NotifyType::NO_PROPOSAL_CHOSEN, detail) = pair.failure(B) else { panic!("{:?}", pair.failure(B)) };
    assert!(detail.ours.contains("pre-shared key and XAuth of the initiator"), "{detail}");
}

#[test]
fn each_lost_message_is_sent_again() {
    for (way, addresses) in [(Way::XauthPsk, Addresses::Pull), (Way::XauthRsa, Addresses::Push), (Way::Hybrid, Addresses::None)] {
        let count = match addresses {
            Addresses::None => 13,
            Addresses::Pull | Addresses::Push => 15,
        };
        for lost in 0..count {
            let mut pair = pair_of(50, way, addresses);
            pair.initiate(A);
            while pair.sent.len() <= lost {
                assert!(pair.step());
            }
            // What has just been sent does not arrive.
            pair.deaf = Some(pair.sent[lost].from.other());
            pair.run(SECOND);
            pair.deaf = None;
            pair.run(SECOND * 30);
            assert_eq!(pair.assert_mirrored(), 1, "{way:?}, message {}: {:?}", lost + 1, pair.failures(A));
            assert_eq!((pair.established(A), pair.established(B)), (1, 1));
        }
    }
}

/// Whoever loses what, and whatever comes twice or late.
#[test]
fn a_bad_network_only_delays() {
    for seed in 0..30 {
        let (way, addresses) = [(Way::XauthPsk, Addresses::Pull), (Way::Hybrid, Addresses::Push), (Way::Psk, Addresses::Pull)][seed % 3];
        let [a, b] = [A, B].map(|side| {
            let mut config = changed(side, way, addresses);
            let retransmission = &mut config.connections[0].retransmission;
            (retransmission.tries, retransmission.base_percent, retransmission.timeout) = (12, 110, SECOND * 2);
            config
        });
        let mut pair = Pair::on(Network::BAD, 1000 + seed as u64, a, b);
        let mut waited = 0;
        while pair.installed(A) == 0 || pair.installed(B) == 0 {
            if pair.ike_sas(A).is_empty() {
                pair.initiate(A);
            }
            pair.run(SECOND * 5);
            waited += 1;
            assert!(waited < 60, "seed {seed}: nothing after 300 s: {:?} {:?}", pair.failures(A), pair.failures(B));
        }
        assert!(
            pair.ike_sas(A).iter().any(|sa| sa.virtual_addresses.local.len() == usize::from(addresses != Addresses::None)),
            "seed {seed}"
        );
    }
}

#[test]
fn an_address_is_asked_for_or_given_unasked_and_is_what_the_child_sa_is_for() {
    for (seed, way) in WAYS.into_iter().enumerate() {
        for (addresses, said) in [(Addresses::Pull, ["CFG_REQUEST", "CFG_REPLY"]), (Addresses::Push, ["CFG_SET", "CFG_ACK"])] {
            let mut pair = pair_of(60 + seed as u64, way, addresses);
            connect(&mut pair);
            let shown = transactions(&mut pair, A);
            let last: Vec<_> = shown[shown.len() - 2..].iter().map(|(outbound, payloads)| (*outbound, payloads.clone())).collect();
            let pulls = addresses == Addresses::Pull;
            assert_eq!(last, [(pulls, format!("HASH CP({})", said[0])), (!pulls, format!("HASH CP({})", said[1]))]);
            assert_eq!(selected(&mut pair, A), ("10.3.0.1".into(), "10.2.0.0/16".into()));
            assert_eq!(selected(&mut pair, B), ("10.2.0.0/16".into(), "10.3.0.1".into()));
            let given = &pair.ike_sas(A)[0].virtual_addresses;
            let texts = |items: &[std::net::IpAddr]| items.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!((texts(&given.local), texts(&given.dns)), (vec!["10.3.0.1".to_owned()], vec!["10.2.0.53".to_owned()]));
            assert_eq!(given.networks.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.2.0.0/16"]);
            assert_eq!(texts(&pair.ike_sas(B)[0].virtual_addresses.remote), ["10.3.0.1"]);
            for side in [A, B] {
                let assigned = pair.gateway(side).events.iter().filter(|event| matches!(event, Event::AddressesAssigned { .. })).count();
                assert_eq!(assigned, 1, "{side:?}");
            }
            // A Child SA after it is for the same address.
            pair.soft_expire(A);
            pair.run(SECOND * 10);
            assert_eq!(selected(&mut pair, B).1, "10.3.0.1");
        }
    }
}

const WAYS: [Way; 4] = [Way::Psk, Way::XauthPsk, Way::XauthRsa, Way::Hybrid];

/// One side pulls, the other pushes.
#[test]
fn both_ways_meet() {
    for (a, b) in [(Addresses::Pull, Addresses::Push), (Addresses::Push, Addresses::Pull)] {
        let mut pair = Pair::new(70, changed(A, Way::XauthPsk, a), changed(B, Way::XauthPsk, b));
        pair.initiate(A);
        pair.run(SECOND * 70);
        if a == Addresses::Pull {
            assert_eq!(pair.assert_mirrored(), 1);
            assert_eq!(selected(&mut pair, B).1, "10.3.0.1");
        } else {
            // Both wait for the other.
            let Failure::TimedOut(detail) = pair.failure(A) else { panic!("{:?}", pair.failure(A)) };
            assert!(detail.summary.contains("pull = no"), "{detail}");
        }
    }
}

#[test]
fn who_asks_for_no_address_is_told_to() {
    let mut a = changed(A, Way::XauthPsk, Addresses::Pull);
    a.connections[0].virtual_addresses.clear();
    a.connections[0].children[0].local_dynamic = false;
    a.connections[0].children[0].local_selectors = vec!["10.3.0.1".parse().unwrap()];
    let mut pair = Pair::new(71, a, changed(B, Way::XauthPsk, Addresses::Pull));
    pair.initiate(A);
    pair.run(SECOND * 2);
    assert_eq!((pair.established(B), pair.installed(B)), (1, 0));
    assert!(matches!(pair.failure(B), Failure::Incompatible(NotifyType::FAILED_CP_REQUIRED, _)), "{:?}", pair.failure(B));
}

#[test]
fn who_gets_no_address_has_no_child_sa_for_one() {
    let mut b = changed(B, Way::Psk, Addresses::None);
    b.connections[0].children[0].remote_selectors = vec!["0.0.0.0/0".parse().unwrap()];
    let mut pair = Pair::new(72, changed(A, Way::Psk, Addresses::Pull), b);
    let request = pair.initiate(A);
    pair.run(SECOND * 2);
    assert!(matches!(pair.answer(A, request), Some(Err(failure)) if failure.to_string().contains("gave no address")));
}

#[test]
fn who_comes_back_gets_the_same_address() {
    for addresses in [Addresses::Pull, Addresses::Push] {
        let mut pair = pair_of(73, Way::XauthPsk, addresses);
        for _ in 0..3 {
            connect(&mut pair);
            assert_eq!(selected(&mut pair, A).0, "10.3.0.1");
            pair.terminate(A, lab());
            pair.run(SECOND * 2);
            assert_eq!(pair.established(B), 0);
        }
        connect(&mut pair);
        pair.kill_control(A);
        pair.start_control(A, changed(A, Way::XauthPsk, addresses), 2);
        pair.run(SECOND);
        pair.initiate(A);
        pair.run(SECOND * 2);
        assert_eq!(pair.ike_sas(A)[0].virtual_addresses.local, ["10.3.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }
}

/// The user is asked anew, Child SAs and the address stay.
#[test]
fn phase_1_is_replaced_by_who_has_begun_it() {
    for (way, addresses) in [(Way::XauthPsk, Addresses::Pull), (Way::Hybrid, Addresses::Push), (Way::XauthRsa, Addresses::None)] {
        let lifetime = IkeLifetime { rekey: Some(SECOND * 100), hard: Some(SECOND * 130), jitter: SECOND * 5 };
        let [a, b] = [A, B].map(|side| {
            let mut config = changed(side, way, addresses);
            config.connections[0].lifetime = lifetime;
            config
        });
        let mut pair = Pair::new(80, a, b);
        connect(&mut pair);
        let children = [A, B].map(|side| pair.only_child(side));
        pair.sent.clear();
        pair.run(SECOND * 320);
        assert_eq!([A, B].map(|side| pair.only_child(side)), children, "{way:?}");
        let first: Vec<Side> = pair
            .sent
            .iter()
            .filter(|sent| v1::Message::parse(&sent.datagram.payload).unwrap().header.responder_cookie == 0)
            .map(|sent| sent.from)
            .collect();
        assert!(first.len() >= 3 && first.iter().all(|side| *side == A), "{first:?}");
        for side in [A, B] {
            let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA at {side:?}") };
            assert!(sa.age < SECOND * 130 && sa.children.len() == 1);
        }
        assert_eq!(pair.ike_sas(B)[0].remote_identity, Some(alice()));
        let kept = pair.ike_sas(A)[0].virtual_addresses.local.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(kept, if addresses == Addresses::None { vec![] } else { vec!["10.3.0.1"] });
        // And the new one can do what the old one could.
        let request = pair.rekey(A, net());
        pair.run(SECOND * 5);
        assert!(matches!(pair.answer(A, request), Some(Ok(Answer::Rekeyed { .. }))));
    }
}

/// The pool is another one when phase 1 is replaced: what was for the old address goes, and comes again for the new one.
#[test]
fn a_child_sa_follows_its_address() {
    for (way, addresses) in WAYS.into_iter().flat_map(|way| [(way, Addresses::Pull), (way, Addresses::Push)]) {
        let with_pool = |range: &str| {
            let mut config = changed(B, way, addresses);
            let connection = &mut config.connections[0];
            let pool = Pool { addresses: range.parse().unwrap(), ..(*connection.pools[0]).clone() };
            connection.pools = vec![Arc::new(pool)];
            connection.children[0].remote_selectors = vec!["10.0.0.0/8".parse().unwrap()];
            config
        };
        let mut pair = Pair::new(81, changed(A, way, addresses), with_pool("10.3.0.0/24"));
        connect(&mut pair);
        pair.input(B, Input::Command(Command::Configure(Box::new(with_pool("10.4.0.0/24")))));
        let old = [A, B].map(|side| pair.only_child(side));
        pair.gateways.iter_mut().for_each(|gateway| gateway.events.clear());
        let request = pair.rekey(A, lab());
        pair.run(SECOND * 40);
        assert!(matches!(pair.answer(A, request), Some(Ok(Answer::Rekeyed { .. }))), "{way:?} {addresses:?}");
        assert_eq!(pair.assert_mirrored(), 1, "{way:?} {addresses:?}");
        assert_eq!(selected(&mut pair, A), ("10.4.0.1".into(), "10.2.0.0/16".into()));
        assert_eq!(selected(&mut pair, B), ("10.2.0.0/16".into(), "10.4.0.1".into()));
        assert!(pair.ping(A) && pair.ping(B));
        for (side, old) in [A, B].into_iter().zip(old) {
            let changes: Vec<_> =
                pair.gateway(side).events.iter().filter(|event| matches!(event, Event::AddressesChanged { .. })).collect();
            let [Event::AddressesChanged { before, after, child_sas, .. }] = changes[..] else {
                panic!("{way:?} {addresses:?}: {changes:?}")
            };
            let all =
                |given: &VirtualAddresses| [&given.local[..], &given.remote].concat().iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!((all(before), &child_sas[..]), (vec!["10.3.0.1".to_owned()], &[old][..]));
            // Who is asked for an address has given none yet.
            let known = (side, addresses) != (B, Addresses::Pull);
            assert_eq!(all(after), if known { vec!["10.4.0.1"] } else { vec![] });
            let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA at {side:?}") };
            assert_eq!((all(&sa.virtual_addresses), sa.children.len()), (vec!["10.4.0.1".to_owned()], 1));
        }
    }
}

/// A peer that does not ask for an address again has the one that it has had.
#[test]
fn who_does_not_ask_again_keeps_its_address() {
    let mut pair = pair_of(82, Way::Psk, Addresses::Pull);
    connect(&mut pair);
    // No answer to its question reaches the peer, which gives up in the end; until then the new phase 1 is there at the gateway alone.
    pair.rekey(A, lab());
    pair.tamper = Some(Box::new(|side, octets| {
        if side == A && octets[18] == 6 {
            octets[40] ^= 1;
        }
    }));
    pair.run(SECOND * 5);
    assert_eq!(pair.ike_sas(B).len(), 2);
    for sa in pair.ike_sas(B) {
        assert_eq!(sa.virtual_addresses.remote, ["10.3.0.1".parse::<std::net::IpAddr>().unwrap()]);
    }
    assert!(pair.ping(A) && pair.ping(B));
}

/// Three messages of aggressive mode, then those of the user and of the address.
#[test]
fn aggressive_mode_goes_on_with_a_user_and_an_address() {
    for (seed, way) in WAYS.into_iter().enumerate() {
        for lost in [None, Some(2), Some(3)] {
            let [a, b] = [A, B].map(|side| {
                let mut config = changed(side, way, Addresses::Pull);
                config.connections[0].aggressive = true;
                config
            });
            let mut pair = Pair::new(90 + seed as u64, a, b);
            pair.initiate(A);
            if let Some(lost) = lost {
                while pair.sent.len() <= lost {
                    assert!(pair.step());
                }
                pair.deaf = Some(pair.sent[lost].from.other());
                pair.run(SECOND);
                pair.deaf = None;
            }
            pair.run(SECOND * 30);
            assert_eq!(pair.assert_mirrored(), 1, "{way:?}, {lost:?} lost: {:?} {:?}", pair.failures(A), pair.failures(B));
            assert_eq!(selected(&mut pair, B).1, "10.3.0.1");
            let expected = if way == Way::Psk { NAMES[0].parse().unwrap() } else { alice() };
            assert_eq!(pair.ike_sas(B)[0].remote_identity, Some(expected));
        }
    }
}

/// The client says the last word: its old IKE SA goes when the gateway has read it, and not with the Child SA that is still under it there.
#[test]
fn a_lost_last_word_of_the_user_costs_no_child_sa() {
    let mut pair = pair_of(84, Way::XauthPsk, Addresses::None);
    connect(&mut pair);
    let children = [A, B].map(|side| pair.only_child(side));
    pair.sent.clear();
    pair.rekey(A, lab());
    // Six messages of main mode, and three of XAuth.
    while pair.sent.len() < 9 {
        assert!(pair.step());
    }
    pair.tamper = Some(Box::new(|from, octets| {
        let is_transaction = octets.get(18) == Some(&v1::ExchangeType::TRANSACTION.0);
        if let Some(last) = octets.last_mut().filter(|_| from == A && is_transaction) {
            *last ^= 1;
        }
    }));
    pair.run(SECOND * 3);
    pair.tamper = None;
    pair.run(SECOND * 20);
    assert_eq!([A, B].map(|side| pair.only_child(side)), children);
    assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len()), (1, 1));
    assert!(pair.ping(A) && pair.ping(B));
}

/// The gateway that knows the users begins: the methods have a number for that.
#[test]
fn the_responder_may_be_the_user() {
    for way in [Way::XauthPsk, Way::XauthRsa, Way::Hybrid] {
        let mut pair = pair_of(81, way, Addresses::None);
        let request = pair.initiate(B);
        pair.run(SECOND * 2);
        assert!(matches!(pair.answer(B, request), Some(Ok(Answer::Initiated { .. }))), "{way:?}: {:?}", pair.failures(B));
        assert_eq!(pair.ike_sas(B)[0].remote_identity, Some(alice()));
    }
}

#[test]
fn an_operator_ends_it_at_any_time() {
    for sent in 6..14 {
        let mut pair = pair_of(82, Way::XauthPsk, Addresses::Pull);
        pair.initiate(A);
        while pair.sent.len() < sent {
            assert!(pair.step());
        }
        let request = pair.terminate(A, lab());
        pair.run(SECOND * 70);
        assert!(pair.answer(A, request).unwrap().is_ok());
        assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len()), (0, 0), "after {sent} messages");
    }
}

/// A replay, a reflection and noise in the name of the peer, at every point.
#[test]
fn what_has_been_said_before_changes_nothing() {
    let mut pair = pair_of(83, Way::XauthPsk, Addresses::Pull);
    connect(&mut pair);
    let said: Vec<(Side, Datagram)> = pair.sent.iter().map(|sent| (sent.from, sent.datagram.clone())).collect();
    let children = [A, B].map(|side| pair.only_child(side));
    for (from, datagram) in said {
        pair.carry(from, datagram.clone());
        // A reflection.
        pair.input(from, Input::Datagram(Datagram { local: datagram.local, remote: datagram.remote, payload: datagram.payload.clone() }));
        let mut noise = datagram;
        let last = noise.payload.len() - 1;
        noise.payload[last] ^= 1;
        pair.carry(from, noise);
        pair.run(SECOND);
    }
    assert_eq!([A, B].map(|side| pair.only_child(side)), children);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    let assigned = pair.gateway(B).events.iter().filter(|event| matches!(event, Event::AddressesAssigned { .. })).count();
    assert_eq!(assigned, 1);
    assert!(pair.gateway(A).traces.iter().any(|trace| matches!(trace.record, Record::Message { .. })));
}
