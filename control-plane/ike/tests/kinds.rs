//! Child SAs of other kinds than ESP in tunnel mode for every packet: AH, transport mode, TFC padding, one class of traffic each.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::config::{Child, Config};
use ike::io::{Command, Input, Target};
use ike_wire::{Message, Notify, NotifyType, Payload, Proposal, Sa, parse_payloads};
use ipsec_types::{
    DontFragment, Dscp, DscpSet, IntegrityAlgorithm, Mode, PolicyId, Protection, Secret, SequenceNumbers, Tfc, TfcPadding, TrafficSelector,
};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, ah, config, lab, net};

const SECOND: Duration = Duration::from_secs(1);

fn changed(side: Side, change: impl Fn(Side, &mut Config)) -> Config {
    let mut config = config(side);
    change(side, &mut config);
    config
}

fn child(config: &mut Config) -> &mut Child {
    &mut config.connections[0].children[0]
}

fn selectors(texts: &[&str]) -> Vec<TrafficSelector> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn with_ah(_: Side, config: &mut Config) {
    child(config).proposals = vec![ah("sha256-esn")];
}

/// RFC 7296 sections 2.17 and 3.3.1: an offer of protocol 2, and keys for integrity alone.
#[test]
fn ah_is_negotiated_rekeyed_and_deleted() {
    let mut pair = Pair::connected(1, with_ah);
    let first = pair.only_child(A);
    let sa = pair.gateway(A).data_plane.installed.values().next().unwrap();
    assert_eq!(sa.protection, Protection::Ah { integrity: IntegrityAlgorithm::HmacSha256 });
    assert_eq!(sa.sequence_numbers, SequenceNumbers::Extended);
    let lengths = |keys: &ipsec_types::SaKeys| (keys.encryption.len(), keys.integrity.as_ref().map(Secret::len));
    assert_eq!((lengths(&sa.inbound_keys), lengths(&sa.outbound_keys)), ((0, Some(32)), (0, Some(32))));
    assert_eq!(pair.ike_sas(A)[0].children[0].proposal, "HMAC_SHA2_256_128/EXT_SEQ");

    pair.rekey(B, net());
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_ne!(pair.only_child(A), first);
    pair.terminate(A, net());
    pair.run(SECOND);
    assert_eq!((pair.installed(A), pair.installed(B)), (0, 0), "a Delete names AH, and is answered with one");
    assert_eq!(pair.shown(B).last().unwrap(), "INFORMATIONAL response 2: D");
    assert_eq!(pair.established(A), 1);
}

#[test]
fn ah_and_esp_do_not_meet() {
    let mut pair = Pair::new(2, changed(A, with_ah), config(B));
    let request = pair.initiate(A);
    pair.run(SECOND);
    let told = pair.answer(A, request).unwrap().unwrap_err();
    assert_eq!(told.detail().unwrap().ours, "ah_proposals offered for net: sha256-esn");
    assert_eq!(pair.failures(B)[0].detail().unwrap().would_match, "they differ in protocol (ours ESP, theirs AH)");
    assert_eq!((pair.established(A), pair.installed(A), pair.installed(B)), (1, 0, 0));
}

/// AH covers the addresses that a NAT changes (RFC 3715 section 2.1): whoever is asked for it says so.
#[test]
fn ah_does_not_begin_behind_a_nat() {
    for asked in [A, B] {
        let mut b = changed(B, with_ah);
        b.connections[0].remote_addrs.clear();
        let a = if asked == A { changed(A, with_ah) } else { config(A) };
        let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 3, a, b);
        pair.nat = Some("198.51.100.7:10000".parse().unwrap());
        // A peer that does not mind offers AH all the same.
        pair.tamper = (asked == B).then(|| {
            protected(A, |payloads| {
                for payload in payloads {
                    if let Payload::Sa(sa) = payload {
                        let spi = sa.proposals[0].child_spi().unwrap();
                        *sa = Sa::offer([Proposal::child(&ah("sha256-esn"), spi)]);
                    }
                }
            })
        });
        pair.initiate(A);
        pair.run(SECOND);
        let failure = pair.failures(asked).remove(0);
        assert_eq!(failure.headline(), "AH cannot cross a NAT (NO_PROPOSAL_CHOSEN)");
        let before = if asked == A { "a NAT stands before this gateway" } else { "a NAT stands before the peer" };
        assert!(failure.detail().unwrap().theirs.starts_with(before));
        assert_eq!((pair.installed(A), pair.installed(B)), (0, 0));
    }
}

const SUITE: Clear = Clear(b"ICV!");

/// Changes what one side says under protection.
fn protected(by: Side, change: impl Fn(&mut Vec<Payload>) + 'static) -> pair::Tamper {
    Box::new(move |sender, octets| {
        let message = Message::parse(octets).unwrap();
        if let Some(encrypted) = message.encrypted().filter(|_| sender == by) {
            let text = &encrypted.body[..encrypted.body.len() - SUITE.0.len() - 1];
            let mut payloads = parse_payloads(encrypted.first, text).unwrap();
            change(&mut payloads);
            *octets = SUITE.seal(&message.header, &payloads);
        }
    })
}

/// Host to host.
fn in_transport_mode(side: Side, config: &mut Config) {
    let child = child(config);
    child.mode = Mode::Transport;
    child.local_selectors = selectors(&[&side.address().to_string()]);
    child.remote_selectors = selectors(&[&side.other().address().to_string()]);
}

/// ```text
/// HDR, SK {IDi, IDr, AUTH, N(USE_TRANSPORT_MODE), SAi2, TSi, TSr}  -->
///                                             <--  HDR, SK {IDr, AUTH, N(USE_TRANSPORT_MODE), SAr2, TSi, TSr}
/// ```
#[test]
fn transport_mode_is_asked_for_granted_and_kept_by_a_rekey() {
    let [a, b] = [A, B].map(|side| changed(side, in_transport_mode));
    let mut pair = Pair::new(4, a, b);
    pair.connect();
    let shown = pair.shown(B);
    assert_eq!(
        shown[2..],
        [
            "IKE_AUTH request 1: IDi IDr N(INIT_CONTACT) AUTH N(USE_TRANSP) SA TSi TSr",
            "IKE_AUTH response 1: IDr AUTH N(INIT_CONTACT) N(USE_TRANSP) SA TSi TSr",
        ]
    );
    for (rekeyer, message) in [(A, 2), (B, 0)] {
        pair.rekey(rekeyer, net());
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        let shown = pair.shown(A);
        for line in [
            format!("CREATE_CHILD_SA request {message}: N(REKEY_SA) N(USE_TRANSP) SA No TSi TSr"),
            format!("CREATE_CHILD_SA response {message}: N(USE_TRANSP) SA No TSi TSr"),
        ] {
            assert!(shown.contains(&line), "{line} in {shown:?}");
        }
    }
    for side in [A, B] {
        let sa = pair.gateway(side).data_plane.installed.values().next().unwrap();
        assert_eq!((sa.mode, &sa.local_selectors), (Mode::Transport, &selectors(&[&side.address().to_string()])));
        assert_eq!(pair.ike_sas(side)[0].children[0].mode, Mode::Transport);
    }
}

/// "If the responder declines the request, the Child SA will be established in tunnel mode. If this is unacceptable to the initiator, the
/// initiator MUST delete the SA" (section 1.3.1).
#[test]
fn an_sa_in_tunnel_mode_is_deleted_where_transport_mode_was_asked_for() {
    let b = changed(B, |side, config| {
        in_transport_mode(side, config);
        child(config).mode = Mode::Tunnel;
    });
    let mut pair = Pair::new(5, changed(A, in_transport_mode), b);
    let request = pair.initiate(A);
    pair.run(SECOND);
    let failure = pair.answer(A, request).unwrap().unwrap_err();
    assert_eq!(failure.headline(), "the peer is for tunnel mode (USE_TRANSPORT_MODE)");
    assert_eq!(failure.detail().unwrap().ours, "child net: mode = transport");
    assert!(pair.gateway(B).data_plane.retired.len() == 1 && pair.installed(B) == 0, "what the peer has installed is deleted");
    assert_eq!((pair.installed(A), pair.established(A)), (0, 1));
}

#[test]
fn a_child_in_the_mode_that_is_asked_for_goes_before_one_that_is_wider() {
    for (mode, policy) in [(Mode::Transport, 2), (Mode::Tunnel, 1)] {
        let a = changed(A, |side, config| {
            in_transport_mode(side, config);
            child(config).mode = mode;
        });
        let b = changed(B, |side, config| {
            let everything = selectors(&["0.0.0.0/0"]);
            let wide = child(config);
            (wide.local_selectors, wide.remote_selectors) = (everything.clone(), everything);
            let mut narrow = changed(side, in_transport_mode).connections.remove(0).children.remove(0);
            (narrow.name, narrow.policy) = ("own".into(), PolicyId(2));
            config.connections[0].children.push(narrow);
        });
        let mut pair = Pair::new(12, a, b);
        pair.initiate(A);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
        assert_eq!(served(&mut pair, B), [policy]);
    }
}

#[test]
fn a_responder_in_transport_mode_grants_nothing_else() {
    let a = changed(A, |side, config| {
        in_transport_mode(side, config);
        child(config).mode = Mode::Tunnel;
    });
    let mut pair = Pair::new(6, a, changed(B, in_transport_mode));
    let request = pair.initiate(A);
    pair.run(SECOND);
    assert!(pair.answer(A, request).unwrap().unwrap_err().headline().contains("NO_PROPOSAL_CHOSEN"));
    assert_eq!(pair.failures(B)[0].headline(), "the peer is for tunnel mode (NO_PROPOSAL_CHOSEN)");
    assert_eq!((pair.installed(A), pair.installed(B), pair.established(B)), (0, 0, 1));
}

/// Section 2.23.1: each side has the addresses that its own packets have, whatever the other calls them.
#[test]
fn transport_mode_crosses_a_nat_with_the_addresses_that_each_side_sees() {
    let nat = "198.51.100.7";
    let a = changed(A, |side, config| {
        in_transport_mode(side, config);
        child(config).remote_selectors = selectors(&["192.0.2.2[tcp/443]", "192.0.2.2[udp]"]);
    });
    let b = changed(B, |side, config| {
        in_transport_mode(side, config);
        config.connections[0].remote_addrs = vec![nat.parse().unwrap()];
        let child = child(config);
        (child.local_selectors, child.remote_selectors) = (selectors(&["192.0.2.2[tcp]", "192.0.2.2[udp]"]), selectors(&[nat]));
    });
    let mut pair = Pair::new(7, a, b);
    pair.nat = Some(format!("{nat}:10000").parse().unwrap());
    pair.initiate(A);
    pair.run(SECOND);
    for rekeyer in [A, B] {
        for (side, ends) in [(A, ["192.0.2.1", "192.0.2.2"]), (B, ["192.0.2.2", nat])] {
            assert_eq!(pair.installed(side), 1);
            let sa = pair.gateway(side).data_plane.installed.values().next().unwrap();
            assert!(sa.mode == Mode::Transport && sa.encapsulation.is_some());
            for (selectors, end) in [&sa.local_selectors, &sa.remote_selectors].into_iter().zip(ends) {
                assert!(selectors.iter().all(|selector| selector.addresses().to_string() == end), "{selectors:?} at {side:?}");
            }
            let server = if side == A { &sa.remote_selectors } else { &sa.local_selectors };
            assert_eq!(server[0].to_string(), "192.0.2.2[tcp/443]");
        }
        pair.rekey(rekeyer, net());
        pair.run(SECOND);
    }
}

/// Section 1.3.1; each side says it for itself.
#[test]
fn packets_are_padded_only_towards_a_peer_that_takes_it() {
    let tfc = Tfc { padding: Some(TfcPadding::To(1400)), dummies_per_second: 10 };
    for silent in [A, B] {
        let [a, b] = [A, B].map(|side| changed(side, |_, config| child(config).tfc = tfc));
        let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 8, a, b);
        pair.tamper = Some(protected(silent.other(), |payloads| {
            if payloads.iter().any(|payload| matches!(payload, Payload::Sa(_))) {
                payloads.push(Payload::Notify(Notify::new(NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED, vec![])));
            }
        }));
        pair.initiate(A);
        pair.run(SECOND);
        for _ in 0..2 {
            let found = |pair: &mut Pair, side| pair.gateway(side).data_plane.installed.values().next().unwrap().tfc;
            assert_eq!(found(&mut pair, silent.other()), tfc);
            assert_eq!(found(&mut pair, silent), Tfc { padding: None, ..tfc }, "dummy packets need nobody's consent");
            pair.rekey(A, net());
            pair.run(SECOND);
        }
    }
}

#[test]
fn what_a_child_says_of_outer_headers_reaches_the_data_plane() {
    let mut pair = Pair::connected(9, |side, config| {
        let child = child(config);
        (child.dont_fragment, child.copy_dscp) = if side == A { (DontFragment::Clear, false) } else { (DontFragment::Set, true) };
    });
    let found = [A, B].map(|side| {
        let sa = pair.gateway(side).data_plane.installed.values().next().unwrap();
        (sa.dont_fragment, sa.copy_dscp)
    });
    assert_eq!(found, [(DontFragment::Clear, false), (DontFragment::Set, true)]);
}

/// Expedited packets, and the rest; B has them in the other order.
fn with_classes(side: Side, config: &mut Config) {
    let children = &mut config.connections[0].children;
    let expedited: DscpSet = [Dscp::new(46).unwrap()].into_iter().collect();
    children[0].dscp = expedited;
    let rest = pair::config(side).connections.remove(0).children.remove(0);
    children.push(Child { name: "rest".into(), policy: PolicyId(2), priority: 110, dscp: DscpSet::ALL.without(expedited), ..rest });
    if side == B {
        children.reverse();
    }
}

/// The policies that the SAs of a side serve.
fn served(pair: &mut Pair, side: Side) -> Vec<u32> {
    let mut served: Vec<_> = pair.gateway(side).data_plane.installed.values().map(|sa| sa.policy.0).collect();
    served.sort_unstable();
    served
}

/// RFC 4301 section 4.1: the DSCP is not negotiated, and "the receiver processes the packets from these different SAs without prejudice".
#[test]
fn children_of_one_class_each_have_an_sa_each_at_both_ends() {
    for second in [A, B] {
        let mut pair = Pair::connected(10, with_classes);
        assert_eq!(served(&mut pair, A), [1]);
        // Whichever B has taken the first request for, its other child is what the second SA is for.
        let missing = if second == A { "rest" } else { "net" };
        pair.initiate_child(second, missing);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 2);
        for side in [A, B] {
            assert_eq!(served(&mut pair, side), [1, 2]);
            let dscp: Vec<_> = pair.gateway(side).data_plane.policies.iter().map(|policy| policy.dscp.iter().count()).collect();
            assert_eq!(dscp, if side == A { [1, 63] } else { [63, 1] });
        }
        for name in ["net", "rest"] {
            pair.rekey(A, Target::Child { connection: None, name: name.into() });
            pair.run(SECOND);
            assert_eq!((served(&mut pair, A), served(&mut pair, B)), (vec![1, 2], vec![1, 2]), "a rekey keeps the class");
        }
        // One that is lost comes back in its place.
        pair.terminate(A, net());
        pair.run(SECOND);
        pair.initiate_child(A, "net");
        pair.run(SECOND);
        assert_eq!((pair.assert_mirrored(), served(&mut pair, B)), (2, vec![1, 2]));
        pair.rekey(A, lab());
        pair.run(SECOND);
        assert_eq!((pair.assert_mirrored(), served(&mut pair, A)), (2, vec![1, 2]));
    }
}

/// The SPD follows at once; the SAs that are there go on.
#[test]
fn a_class_that_another_child_takes_over_leaves_the_sa_alone() {
    let mut pair = Pair::connected(11, |_, _| {});
    let before = pair.only_child(A);
    for side in [A, B] {
        let mut config = config(side);
        with_classes(side, &mut config);
        // What was all is the rest, under its old name.
        for child in &mut config.connections[0].children {
            child.name = if child.name == "net" { "voice".into() } else { "net".into() };
        }
        pair.input(side, Input::Command(Command::Configure(Box::new(config))));
    }
    pair.run(SECOND);
    assert_eq!((pair.only_child(A), pair.assert_mirrored()), (before, 1));
    let policy = pair.gateway(A).data_plane.installed.values().next().unwrap().policy;
    let dscp = |id| move |policy: &ipsec_types::Policy| (policy.id == id).then(|| policy.dscp.iter().count());
    assert_eq!(pair.gateway(A).data_plane.policies.iter().find_map(dscp(policy)), Some(63));
    pair.initiate_child(B, "voice");
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 2);
}
