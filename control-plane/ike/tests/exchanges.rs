//! Every exchange between two endpoints on a good network: what is sent, and what both sides have afterwards.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::Config;
use ike::error::Failure;
use ike::io::{Answer, Datagram, Dataplane, IkeSaId, Input, Record, Target, TracedField};
use ike_wire::NotifyType;
use ipsec_types::{Secret, UdpEncapsulation};
use pair::Side::{A, B};
use pair::{Pair, Side, config, lab, net};

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const FOUR: [&str; 4] = ["IKE_SA_INIT request 0", "IKE_SA_INIT response 0", "IKE_AUTH request 1", "IKE_AUTH response 1"];

/// ```text
/// HDR, SAi1, KEi, Ni  -->
///                    <--  HDR, SAr1, KEr, Nr
/// HDR, SK {IDi, [IDr,] AUTH, SAi2, TSi, TSr}  -->
///                    <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr}
/// ```
#[test]
fn a_packet_brings_up_a_child_sa_with_four_messages() {
    let mut pair = Pair::default(1);
    pair.acquire(A, 1);
    pair.acquire(A, 2);
    pair.run(SECOND);
    assert_eq!(pair.titles(), FOUR);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    assert!(pair.gateway(A).data_plane.refused.is_empty());
    let status = &pair.ike_sas(A)[0];
    assert_eq!(status.proposal, "AES_GCM_16_128/PRF_HMAC_SHA2_256/CURVE_25519");
    assert_eq!(status.remote_identity, Some("b.lab.test".parse().unwrap()));
    assert!(status.initiator && !pair.ike_sas(B)[0].initiator);
    let sa = pair.gateway(B).data_plane.installed.values().next().unwrap();
    assert_eq!(sa.encapsulation, None, "without a NAT, ESP is protocol 50");
    assert_eq!(sa.id.0 >> 32, 1, "the epoch is the high half");
}

#[test]
fn the_traces_show_each_message_on_both_sides() {
    let mut pair = Pair::default(2);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let messages = [
        ("IKE_SA_INIT request 0", "SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP)"),
        ("IKE_SA_INIT response 0", "SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP) N(CHDLESS_SUP)"),
        ("IKE_AUTH request 1", "IDi IDr N(INIT_CONTACT) AUTH SA TSi TSr"),
        ("IKE_AUTH response 1", "IDr AUTH N(INIT_CONTACT) SA TSi TSr"),
    ];
    for side in [A, B] {
        let shown: Vec<_> = pair.traced(side).into_iter().map(|(_, title, payloads)| (title, payloads)).collect();
        let shown: Vec<_> = shown.iter().map(|(title, payloads)| (title.as_str(), payloads.as_str())).collect();
        assert_eq!(shown, messages, "{side:?}");
    }
    let [a, b] = [A, B].map(|side| pair.traced(side).iter().map(|(outbound, ..)| *outbound).collect::<Vec<_>>());
    assert_eq!((a, b), (vec![true, false, true, false], vec![false, true, false, true]));
}

/// Header and Encrypted payload to the last octet, on both sides of the wire; what was inside them, but no key.
#[test]
fn a_trace_shows_every_field_of_header_and_encrypted_payload() {
    let mut pair = Pair::default(2);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let octets = pair.sent[2].datagram.payload.len();
    for (side, outbound) in [(A, true), (B, false)] {
        let shown = pair.gateway(side).traces.iter().find_map(|trace| match &trace.record {
            Record::Message { outbound: sent, title, header, payloads, .. } if title == "IKE_AUTH request 1" && *sent == outbound => {
                Some((header.clone(), payloads.clone()))
            }
            _ => None,
        });
        let (header, payloads) = shown.unwrap();
        let field = |fields: &[TracedField], name: &str| fields.iter().find(|field| field.name == name).unwrap().value.clone();
        assert_eq!(header.len(), 8);
        assert_eq!(field(&header, "Next Payload"), "SK (46)");
        assert_eq!(field(&header, "Length"), format!("{octets} octets"));
        let sk = &payloads[0];
        assert!(sk.name == "SK" && !sk.encrypted && payloads[1..].iter().all(|payload| payload.encrypted));
        assert_eq!(field(&sk.fields, "Next Payload"), "IDi (35)");
        assert_eq!(field(&sk.fields, "Pad Length"), "0");
        assert_eq!(field(&sk.fields, "Initialization Vector"), "0000000000000001");
        assert_eq!(field(&sk.fields, "Integrity Checksum Data").len(), 32);
        // Header, generic header, IV, ciphertext, checksum.
        assert_eq!(field(&sk.fields, "Encrypted IKE Payloads and Padding"), format!("{} octets", octets - 28 - 4 - 8 - 16));
        assert_eq!(field(&payloads[1].fields, "Identity"), "a.lab.test");
    }
}

#[test]
fn ike_auth_moves_to_port_4500() {
    let mut pair = Pair::default(3);
    pair.acquire(A, 1);
    pair.run(SECOND);
    let ports: Vec<_> = pair.sent.iter().map(|sent| (sent.datagram.local.port(), sent.datagram.remote.port())).collect();
    assert_eq!(ports, [(500, 500), (500, 500), (4500, 4500), (4500, 4500)]);
}

#[test]
fn the_packet_waits_for_the_data_plane_of_the_responder() {
    let mut pair = Pair::default(4);
    pair.gateway(B).data_plane.silent = true;
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.titles(), FOUR[..3], "IKE_AUTH is not answered before the SA is in place");
}

#[test]
fn a_nat_puts_esp_into_udp_and_the_responder_follows() {
    let mut b = config(B);
    b.connections[0].remote_addrs.clear();
    let mut pair = Pair::new(5, config(A), b);
    pair.nat = Some("198.51.100.7:10000".parse().unwrap());
    pair.connect();
    let sa = pair.gateway(A).data_plane.installed.values().next().unwrap();
    assert_eq!(sa.encapsulation, Some(UdpEncapsulation { local_port: 4500, remote_port: 4500 }));
    let sa = pair.gateway(B).data_plane.installed.values().next().unwrap();
    assert_eq!(sa.encapsulation, Some(UdpEncapsulation { local_port: 4500, remote_port: 14500 }));
    assert_eq!(sa.remote, "198.51.100.7".parse::<std::net::IpAddr>().unwrap());
    let (at_a, at_b) = (pair.ike_sas(A).remove(0), pair.ike_sas(B).remove(0));
    assert_eq!((at_a.nat_local, at_a.nat_remote), (true, false));
    assert_eq!((at_b.nat_local, at_b.nat_remote), (false, true));

    // The NAT forgets and gives another port: the next authentic message tells.
    pair.nat = Some("198.51.100.7:20000".parse().unwrap());
    pair.terminate(A, net());
    pair.run(SECOND);
    let moved: SocketAddr = "198.51.100.7:24500".parse().unwrap();
    assert_eq!(pair.ike_sas(B)[0].remote, moved);
    assert_eq!(pair.gateway(B).data_plane.retargets.iter().map(|(_, remote)| *remote).collect::<Vec<_>>(), [moved]);
}

/// Section 2.23: an authentic ESP packet shows the new mapping as well as an IKE message does, but only to the side in the open.
#[test]
fn esp_shows_the_new_mapping_to_the_side_that_is_not_behind_the_nat() {
    let mut pair = behind_a_nat(11, |_, _| ());
    let moved: SocketAddr = "198.51.100.7:24500".parse().unwrap();
    let report = |pair: &mut Pair, side, remote| {
        let child = pair.only_child(side);
        pair.input(side, Input::Dataplane(Dataplane::PeerMoved { child, remote }));
        std::mem::take(&mut pair.gateway(side).data_plane.retargets)
    };
    assert_eq!(report(&mut pair, B, SocketAddr::new(moved.ip(), 0)), [], "port 0 is nobody's (RFC 768)");
    let (child, before) = (pair.only_child(B), pair.ike_sas(B)[0].remote);
    assert_eq!(report(&mut pair, B, before), [], "it is there already");
    assert_eq!(report(&mut pair, B, moved), [(child, moved)]);
    assert_eq!(pair.ike_sas(B)[0].remote, moved);
    // The next request of B goes there, too, and arrives.
    pair.nat = Some("198.51.100.7:20000".parse().unwrap());
    let request = pair.rekey(B, net());
    pair.run(SECOND);
    assert!(matches!(pair.answer(B, request), Some(Ok(Answer::Rekeyed { .. }))));
    assert_eq!(report(&mut pair, A, "203.0.113.9:4500".parse().unwrap()), [], "A does not follow");
}

/// RFC 3948 section 4: where nothing else was sent for the time, and only by the side that is behind the NAT.
#[test]
fn the_side_behind_a_nat_keeps_its_mapping_alive_while_it_has_nothing_to_say() {
    let mut pair = behind_a_nat(6, |_, _| ());
    let [here, there] = ["192.0.2.1:4500", "192.0.2.2:4500"].map(|address| address.parse::<SocketAddr>().unwrap());
    let spoken = |pair: &Pair| pair.sent.iter().rfind(|sent| sent.from == A).unwrap().at;
    let last = spoken(&pair);
    pair.run(20 * SECOND - (pair.now.since(last)) - MILLISECOND);
    assert_eq!(pair.keep_alives, [], "one millisecond before");
    pair.run(MILLISECOND);
    assert_eq!(pair.keep_alives, [(last + 20 * SECOND, A, here, there)]);
    pair.run(40 * SECOND);
    assert_eq!(pair.keep_alives.iter().map(|sent| sent.0.since(last).as_secs()).collect::<Vec<_>>(), [20, 40, 60]);

    pair.run(15 * SECOND);
    pair.rekey(A, net());
    pair.run(19 * SECOND);
    assert_eq!(pair.keep_alives.len(), 3, "an exchange renews the mapping");
    pair.run(2 * SECOND);
    assert_eq!(pair.keep_alives.last().map(|sent| sent.0), Some(spoken(&pair) + 20 * SECOND));

    pair.keep_alives.clear();
    pair.rekey(A, lab());
    pair.run(30 * SECOND);
    assert_eq!(pair.keep_alives.len(), 1, "the new IKE SA alone");
    pair.terminate(A, lab());
    pair.run(60 * SECOND);
    assert_eq!(pair.keep_alives.len(), 1);
}

#[test]
fn a_responder_behind_a_nat_keeps_its_mapping_alive() {
    let mut pair = behind_a_nat(7, |_, config| config.connections[0].keep_alive = Some(5 * SECOND));
    pair.keep_alives.clear();
    // B begins a new IKE SA in place of this one: it is A's now as the responder.
    pair.rekey(B, lab());
    pair.run(12 * SECOND);
    assert_eq!(pair.ike_sas(A).iter().map(|sa| sa.initiator).collect::<Vec<_>>(), [false]);
    assert_eq!(pair.keep_alives.iter().map(|sent| sent.1).collect::<Vec<_>>(), [A, A]);
}

#[test]
fn nobody_keeps_a_mapping_alive_who_has_none_or_is_told_not_to() {
    let mut open = Pair::connected(8, |_, _| ());
    let mut told = behind_a_nat(9, |_, config| config.connections[0].keep_alive = None);
    for pair in [&mut open, &mut told] {
        pair.run(300 * SECOND);
        assert_eq!(pair.keep_alives, []);
    }
}

/// A NAT has not waited for a data plane that was gone.
#[test]
fn a_mapping_is_kept_alive_as_soon_as_the_data_plane_is_back() {
    let mut pair = behind_a_nat(10, |_, _| ());
    pair.input(A, Input::Dataplane(Dataplane::Detached));
    pair.run(60 * SECOND);
    assert_eq!(pair.keep_alives, []);
    pair.attach(A, [1; 16], 2);
    pair.run(MILLISECOND);
    assert_eq!(pair.keep_alives.iter().map(|sent| sent.1).collect::<Vec<_>>(), [A]);
}

/// Connected, with A behind a NAT.
fn behind_a_nat(seed: u64, change: impl Fn(Side, &mut Config)) -> Pair {
    let [mut a, mut b] = [config(A), config(B)];
    b.connections[0].remote_addrs.clear();
    change(A, &mut a);
    change(B, &mut b);
    let mut pair = Pair::new(seed, a, b);
    pair.nat = Some("198.51.100.7:10000".parse().unwrap());
    pair.connect();
    pair
}

/// The same over IPv6: each end finds the other's hashes to fit (section 2.23), and IKE_AUTH moves to port 4500.
#[test]
fn gateways_with_ipv6_addresses_negotiate_and_see_no_nat() {
    let address = |side| match side {
        A => "2001:db8::1".parse().unwrap(),
        B => "2001:db8::2".parse().unwrap(),
    };
    let mut pair = Pair::connected(41, |side, config| {
        let connection = &mut config.connections[0];
        (connection.local_addrs, connection.remote_addrs) = (vec![address(side)], vec![address(side.other())]);
        let net = |side| if side == A { "fd00:1::/64" } else { "fd00:2::/64" };
        let child = &mut connection.children[0];
        child.local_selectors = vec![net(side).parse().unwrap()];
        child.remote_selectors = vec![net(side.other()).parse().unwrap()];
    });
    for side in [A, B] {
        let status = pair.ike_sas(side).remove(0);
        assert_eq!((status.local, status.remote), (SocketAddr::new(address(side), 4500), SocketAddr::new(address(side.other()), 4500)));
        assert!(!status.nat_local && !status.nat_remote);
        let sa = pair.gateway(side).data_plane.installed.values().next().unwrap();
        assert_eq!((sa.local, sa.remote, sa.encapsulation), (address(side), address(side.other()), None));
    }
    pair.rekey(B, net());
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    pair.rekey(A, lab());
    pair.run(SECOND);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
}

#[test]
fn forced_encapsulation_looks_like_a_nat_to_the_peer() {
    let mut a = config(A);
    a.connections[0].force_encapsulation = true;
    let mut pair = Pair::new(6, a, config(B));
    pair.connect();
    assert!(pair.gateway(B).data_plane.installed.values().next().unwrap().encapsulation.is_some());
}

#[test]
fn an_answer_goes_where_the_request_came_from() {
    let mut pair = Pair::default(39);
    pair.acquire(A, 1);
    pair.run(SECOND);
    pair.deaf = Some(B);
    pair.terminate(A, net());
    pair.run(SECOND);
    let request = pair.sent.last().unwrap().datagram.payload.clone();
    // The same authentic request by way of another port, where no NAT is known: answered there, but requests of B go where they went.
    let remote: SocketAddr = "192.0.2.1:7777".parse().unwrap();
    pair.input(B, Input::Datagram(Datagram { local: "192.0.2.2:4500".parse().unwrap(), remote, payload: request }));
    assert_eq!(pair.sent.last().unwrap().datagram.remote, remote);
    assert_eq!(pair.ike_sas(B)[0].remote, "192.0.2.1:4500".parse().unwrap());
}

#[test]
fn a_packet_during_a_deletion_brings_up_a_new_child_sa() {
    let mut pair = Pair::default(40);
    pair.acquire(A, 1);
    pair.run(SECOND);
    pair.terminate(A, net());
    pair.acquire(A, 2);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!(
        pair.titles()[4..],
        ["INFORMATIONAL request 2", "INFORMATIONAL response 2", "CREATE_CHILD_SA request 3", "CREATE_CHILD_SA response 3"]
    );
}

/// ```text
/// HDR, SAi1, KEi, Ni  -->
///                    <--  HDR, N(COOKIE)
/// HDR, N(COOKIE), SAi1, KEi, Ni  -->
///                    <--  HDR, SAr1, KEr, Nr
/// ```
#[test]
fn a_responder_under_load_asks_for_a_cookie_and_keeps_nothing() {
    let mut b = config(B);
    b.cookie_threshold = 0;
    let mut pair = Pair::new(7, config(A), b);
    pair.acquire(A, 1);
    pair.step();
    assert!(pair.ike_sas(B).is_empty(), "no state before the cookie has come back");
    pair.run(SECOND);
    let expected = [FOUR[0], FOUR[1], FOUR[0], FOUR[1], FOUR[2], FOUR[3]];
    assert_eq!(pair.titles(), expected);
    assert_eq!(pair.traced(A)[1].2, "N(COOKIE)");
    assert_eq!(pair.traced(A)[2].2, "N(COOKIE) SA KE No N(NATD_S_IP) N(NATD_D_IP) N(FRAG_SUP)");
    assert_eq!(pair.assert_mirrored(), 1);
}

#[test]
fn the_cookie_threshold_is_exact() {
    let mut b = config(B);
    b.cookie_threshold = 1;
    let mut pair = Pair::new(8, config(A), b);
    // One half-open SA: its IKE_AUTH never arrives.
    pair.acquire(A, 1);
    while pair.titles().len() < 3 {
        pair.step();
    }
    pair.deaf = Some(B);
    pair.run(SECOND);
    assert_eq!((pair.stat(B, "cookies_sent"), pair.stat(B, "ike_sas_half_open")), (0, 1));
    pair.deaf = None;
    let half_open = pair.ike_sas(A)[0].id;
    pair.terminate(A, Target::IkeSa(half_open));
    pair.initiate(A);
    pair.run(SECOND);
    assert_eq!(pair.stat(B, "cookies_sent"), 1);
    assert_eq!(pair.established(B), 1);
    pair.run(30 * SECOND);
    assert_eq!(pair.stat(B, "ike_sas_half_open"), 0, "half-open SAs end after 30 s");
}

/// ```text
/// HDR, SAi1, KEi (x25519), Ni  -->
///                    <--  HDR, N(INVALID_KE_PAYLOAD, ecp256)
/// HDR, SAi1, KEi (ecp256), Ni  -->
///                    <--  HDR, SAr1, KEr, Nr
/// ```
#[test]
fn another_key_exchange_method_takes_one_more_round_trip() {
    let (mut a, mut b) = (config(A), config(B));
    a.connections[0].proposals = vec!["aes128gcm16-prfsha256-x25519-ecp256".parse().unwrap()];
    b.connections[0].proposals = vec!["aes128gcm16-prfsha256-ecp256".parse().unwrap()];
    let mut pair = Pair::new(9, a, b);
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.traced(A)[1].2, "N(INVAL_KE)");
    assert_eq!(pair.sent.len(), 6);
    assert_eq!(pair.assert_mirrored(), 1);
    assert!(pair.ike_sas(B)[0].proposal.ends_with("ECP_256"));
}

#[test]
fn cookie_and_other_method_together() {
    let (mut a, mut b) = (config(A), config(B));
    a.connections[0].proposals = vec!["aes128gcm16-prfsha256-x25519-ecp256".parse().unwrap()];
    b.connections[0].proposals = vec!["aes128gcm16-prfsha256-ecp256".parse().unwrap()];
    b.cookie_threshold = 0;
    let mut pair = Pair::new(10, a, b);
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.sent.len(), 8, "the cookie is kept for the second method (section 2.6.1)");
    assert_eq!(pair.assert_mirrored(), 1);
}

#[test]
fn a_responder_takes_the_method_it_was_sent_where_it_may() {
    let mut b = config(B);
    b.connections[0].proposals = vec!["aes128gcm16-prfsha256-ecp256-x25519".parse().unwrap()];
    let mut pair = Pair::new(11, config(A), b);
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.titles(), FOUR);
}

#[test]
fn every_suite_works() {
    for suite in [
        "aes256gcm16-prfsha384-ecp256",
        "aes128-sha256-x25519",
        "aes256-sha512-x25519",
        "aes192gcm16-prfsha512-x25519",
        "aes192-sha384-ecp256",
    ] {
        for esp in [
            "aes256gcm16-esn",
            "aes128-sha256",
            "null-sha1-esn",
            "aes256ctr-sha512",
            "aes128ccm12",
            "aes256gmac-esn",
            "aes192gcm16-noesn-esn",
        ] {
            let (mut a, mut b) = (config(A), config(B));
            for config in [&mut a, &mut b] {
                config.connections[0].proposals = vec![suite.parse().unwrap()];
                config.connections[0].children[0].proposals = vec![pair::esp(esp)];
            }
            let mut pair = Pair::new(12, a, b);
            pair.acquire(A, 1);
            pair.run(SECOND);
            assert_eq!(pair.assert_mirrored(), 1, "{suite} {esp}");
        }
    }
}

#[test]
fn the_responder_narrows_and_the_initiator_takes_it() {
    let mut a = config(A);
    a.connections[0].children[0].local_selectors = vec!["0.0.0.0/0".parse().unwrap()];
    a.connections[0].children[0].remote_selectors = vec!["0.0.0.0/0".parse().unwrap()];
    let mut pair = Pair::new(13, a, config(B));
    pair.connect();
    let sa = pair.gateway(A).data_plane.installed.values().next().unwrap();
    assert_eq!(sa.local_selectors, ["10.1.0.0/16".parse().unwrap()]);
    assert_eq!(sa.remote_selectors, ["10.2.0.0/16".parse().unwrap()]);
}

#[test]
fn an_acquire_outside_of_what_the_peer_narrowed_to_is_refused() {
    let mut a = config(A);
    a.connections[0].children[0].remote_selectors = vec!["0.0.0.0/0".parse().unwrap()];
    let mut pair = Pair::new(14, a, config(B));
    pair.acquire(A, 1);
    pair.run(SECOND);
    let flow = ipsec_types::Flow { destination: "10.9.0.1".parse().unwrap(), ..pair::FLOW };
    pair.input(A, Input::Dataplane(Dataplane::Acquire { id: 2, policy: ipsec_types::PolicyId(1), flow }));
    assert_eq!(pair.gateway(A).data_plane.refused.len(), 1);
    pair.acquire(A, 3);
    assert_eq!(pair.gateway(A).data_plane.refused.len(), 1, "a flow that the SA carries needs no answer");
    pair.run(SECOND);
    assert_eq!(pair.sent.len(), 4);
}

#[test]
fn selectors_that_do_not_meet_leave_an_ike_sa_without_child() {
    let mut b = config(B);
    b.connections[0].children[0].local_selectors = vec!["10.99.0.0/16".parse().unwrap()];
    let mut pair = Pair::new(15, config(A), b);
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 0);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
    let Failure::Refused(NotifyType::TS_UNACCEPTABLE, detail) = failure(&mut pair, A) else { panic!() };
    assert_eq!(detail.ours, "offered for net: 10.1.0.0/16 === 10.2.0.0/16");
    let Failure::Incompatible(NotifyType::TS_UNACCEPTABLE, detail) = failure(&mut pair, B) else { panic!() };
    assert_eq!(detail.ours, "net 10.99.0.0/16 === 10.1.0.0/16");
    assert_eq!(detail.theirs, "10.2.0.0/16 === 10.1.0.0/16");
    assert_eq!(detail.would_match, "net: of our side nothing in common (the addresses do not overlap), of theirs 10.1.0.0/16 in common");
    assert_eq!(pair.gateway(A).data_plane.refused, [(1, SECOND)]);
}

#[test]
fn child_proposals_that_do_not_meet_leave_an_ike_sa_without_child() {
    let mut b = config(B);
    b.connections[0].children[0].proposals = vec![pair::esp("aes256gcm16")];
    let mut pair = Pair::new(16, config(A), b);
    let request = pair.initiate(A);
    pair.run(SECOND);
    let Some(Err(Failure::Refused(NotifyType::NO_PROPOSAL_CHOSEN, detail))) = pair.answer(A, request) else { panic!() };
    assert_eq!(detail.ours, "esp_proposals offered for net: aes128gcm16-noesn");
    let Failure::Incompatible(NotifyType::NO_PROPOSAL_CHOSEN, detail) = failure(&mut pair, B) else { panic!() };
    assert_eq!((&*detail.ours, &*detail.theirs), ("aes256gcm16-noesn", "aes128gcm16-noesn"));
    assert_eq!(detail.would_match, "they differ in ENCR (ours aes256gcm16, theirs aes128gcm16)");
    assert_eq!(detail.remedy, "let one of esp_proposals here have aes128gcm16, or one at the peer aes256gcm16");
}

#[test]
fn ike_proposals_that_do_not_meet_end_at_once_for_the_responder() {
    let mut b = config(B);
    b.connections[0].proposals = vec!["aes256gcm16-prfsha384-ecp256".parse().unwrap()];
    let mut pair = Pair::new(17, config(A), b);
    let request = pair.initiate(A);
    pair.run(SECOND);
    assert!(pair.ike_sas(B).is_empty());
    let Failure::Incompatible(NotifyType::NO_PROPOSAL_CHOSEN, detail) = failure(&mut pair, B) else { panic!() };
    assert_eq!((&*detail.ours, &*detail.theirs), ("aes256gcm16-prfsha384-ecp256", "aes128gcm16-prfsha256-x25519"));
    assert_eq!(
        detail.would_match,
        "they differ in ENCR (ours aes256gcm16, theirs aes128gcm16); PRF (ours prfsha384, theirs prfsha256); \
         KE (ours ecp256, theirs x25519)"
    );
    // Nobody signed the refusal: the initiator hopes for a better answer until its first retransmission.
    assert_eq!(pair.answer(A, request), None);
    pair.run(3 * SECOND);
    let Some(Err(Failure::Refused(NotifyType::NO_PROPOSAL_CHOSEN, detail))) = pair.answer(A, request) else { panic!() };
    assert_eq!(detail.ours, "proposals offered: aes128gcm16-prfsha256-x25519");
    assert!(pair.ike_sas(A).is_empty());
}

#[test]
fn a_wrong_key_is_refused_and_leaves_nothing() {
    let mut a = config(A);
    a.psks[0].secret = Secret::copy_from(b"wrong");
    let mut pair = Pair::new(18, a, config(B));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.traced(A).last().unwrap().2, "N(AUTH_FAILED)");
    let Failure::Refused(NotifyType::AUTHENTICATION_FAILED, detail) = failure(&mut pair, A) else { panic!() };
    assert!(detail.ours.starts_with("this gateway is a.lab.test; the key was looked for by a.lab.test and b.lab.test"), "{detail}");
    let refused = failure(&mut pair, B);
    assert_eq!(refused.headline(), "authentication failed: a.lab.test does not hold the shared key");
    assert!(!format!("{refused} {detail}").contains("wrong"), "{refused} {detail}");
    assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty());
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
    assert_eq!(pair.gateway(A).data_plane.refused, [(1, SECOND)]);
}

#[test]
fn names_are_compared_without_regard_to_case() {
    let mut b = config(B);
    b.connections[0].local_identity = "B.LAB.TEST".parse().unwrap();
    let mut pair = Pair::new(19, config(A), b);
    pair.connect();
}

#[test]
fn a_peer_without_configured_identity_is_known_by_its_key() {
    let (mut a, mut b) = (config(A), config(B));
    a.connections[0].remote_identity = None;
    b.connections[0].remote_identity = None;
    let mut pair = Pair::new(20, a, b);
    pair.connect();
    assert_eq!(pair.ike_sas(B)[0].remote_identity, Some("a.lab.test".parse().unwrap()));
}

/// Changes the last octet of an IKE_SA_INIT message: of a hash that no key depends on, so that only AUTH can tell.
fn changes_init(response: bool) -> pair::Tamper {
    Box::new(move |_, payload| {
        let header = ike_wire::Header::peek(payload).unwrap();
        if header.exchange == ike_wire::ExchangeType::IKE_SA_INIT && header.flags.response == response {
            *payload.last_mut().unwrap() ^= 1;
        }
    })
}

/// ```text
/// HDR, SK {IDi, AUTH, SAi2, TSi, TSr}  -->
///                    <--  HDR, SK {IDr, AUTH, SAr2, TSi, TSr}      AUTH does not fit
/// HDR, SK {N(AUTHENTICATION_FAILED)}  -->
///                    <--  HDR, SK {}
/// ```
#[test]
fn an_initiator_that_doubts_the_responder_says_so() {
    let mut pair = Pair::default(37);
    pair.tamper = Some(changes_init(true));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!(pair.titles()[4..], ["INFORMATIONAL request 2", "INFORMATIONAL response 2"]);
    assert!(matches!(failure(&mut pair, A), Failure::Unauthenticated(_)));
    assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty());
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
}

#[test]
fn a_responder_that_doubts_the_initiator_refuses() {
    let mut pair = Pair::default(38);
    pair.tamper = Some(changes_init(false));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert!(matches!(failure(&mut pair, B), Failure::Unauthenticated(_)));
    assert!(pair.ike_sas(A).is_empty() && pair.ike_sas(B).is_empty());
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
}

#[test]
fn an_unknown_initiator_is_refused() {
    let mut a = config(A);
    a.connections[0].local_identity = "stranger.test".parse().unwrap();
    let mut pair = Pair::new(21, a, config(B));
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert!(matches!(failure(&mut pair, A), Failure::Refused(NotifyType::AUTHENTICATION_FAILED, _)));
    let Failure::Unauthenticated(detail) = failure(&mut pair, B) else { panic!() };
    assert_eq!(detail.ours, "connection lab between b.lab.test and a.lab.test");
    assert_eq!(detail.theirs, "the peer is stranger.test and asks for b.lab.test");
    assert!(detail.remedy.contains("remote.id of a connection here be stranger.test"), "{detail}");
}

#[test]
fn the_connection_is_found_by_identity() {
    // Two connections between the same addresses; the second is meant.
    let mut b = config(B);
    let mut other: Config = config(B);
    let mut decoy = other.connections.remove(0);
    decoy.name = "decoy".into();
    decoy.remote_identity = Some("x.lab.test".parse().unwrap());
    b.connections.insert(0, decoy);
    b.connections[1].children[0].policy = ipsec_types::PolicyId(2);
    let mut pair = Pair::new(35, config(A), b);
    pair.connect();
    assert_eq!(pair.ike_sas(B)[0].connection, "lab");
}

#[test]
fn commands_for_what_is_not_there_say_so() {
    let mut pair = Pair::default(36);
    let request = pair.initiate_child(A, "nothing");
    assert!(matches!(pair.answer(A, request), Some(Err(Failure::Local(_)))));
    let request = pair.terminate(A, net());
    assert_eq!(pair.answer(A, request), Some(Ok(Answer::Terminated(0))));
    let request = pair.terminate(A, Target::IkeSa(IkeSaId(7)));
    assert!(matches!(pair.answer(A, request), Some(Err(Failure::Local(_)))));
}

/// Why the last negotiation failed.
fn failure(pair: &mut Pair, side: Side) -> Failure {
    pair.failures(side).pop().expect("a failure")
}
