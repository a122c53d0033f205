use proptest::collection::vec;
use proptest::prelude::*;

use super::super::tests::hex;
use super::super::{echo_reply, on_frame, on_reassembled};
use super::*;
use crate::table::PortRole;

const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const PEER_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port() -> PortInfo {
    let addresses = vec![address("2001:db8::1"), link_local(MAC).into()];
    PortInfo { role: PortRole::Unprotected, mac: MAC, mtu: 1500, addresses }
}

// Made by scapy 2.5 with 02:00:00:00:00:02 at 2001:db8::2 and fe80::2 as the other side.
const SOLICITATION: &str = "3333ff00000102000000000286dd6000000000203aff20010db8000000000000000000000002ff0200000000000000000001ff00000187001c270000000020010db80000000000000000000000010101020000000002";
const ADVERTISEMENT: &str = "02000000000202000000000186dd6000000000203aff20010db800000000000000000000000120010db800000000000000000000000288000a73e000000020010db80000000000000000000000010201020000000001";
const UNICAST_SOLICITATION: &str = "02000000000102000000000286dd6000000000183aff20010db800000000000000000000000220010db80000000000000000000000018700ef7d0000000020010db8000000000000000000000001";
const PROBE: &str = "3333ff00000102000000000286dd6000000000183aff00000000000000000000000000000000ff0200000000000000000001ff00000187004ced0000000020010db8000000000000000000000001";
const DEFENCE: &str = "33330000000102000000000186dd6000000000203aff20010db8000000000000000000000001ff0200000000000000000000000000018800792aa000000020010db80000000000000000000000010201020000000001";
const OWN_SOLICITATION: &str = "3333ff00000202000000000186dd6000000000203afffe80000000000000000000fffe000001ff0200000000000000000001ff00000287004c5f0000000020010db80000000000000000000000020101020000000001";
const ANSWER: &str = "02000000000102000000000286dd6000000000203aff20010db8000000000000000000000002fe80000000000000000000fffe0000018800baa96000000020010db80000000000000000000000020201020000000002";
const ROUTER: &str = "33330000000102000000000286dd6000000000183afffe800000000000000000000000000002ff020000000000000000000000000001860072130008070800000000000000000101020000000002";
const ECHO_REQUEST: &str = "02000000000102000000000286dd60000000000d3a4020010db800000000000000000000000220010db80000000000000000000000018000c7261947000368656c6c6f";
const ECHO_REPLY: &str = "02000000000202000000000186dd60000000000d3a4020010db800000000000000000000000120010db80000000000000000000000028100c6261947000368656c6c6f";
const GROUP_ECHO_REQUEST: &str = "33330000000102000000000286dd60000000000d3a40fe800000000000000000000000000002ff020000000000000000000000000001800025151947000368656c6c6f";
const GROUP_ECHO_REPLY: &str = "02000000000202000000000186dd60000000000d3a40fe80000000000000000000fffe000001fe800000000000000000000000000002810025971947000368656c6c6f";

fn on(frame: &[u8]) -> Meaning {
    on_frame(frame, &port(), |own| own == address("2001:db8::1"))
}

/// A frame with some octets of its IPv6 packet replaced, and the ICMPv6 checksum made right again.
fn changed(frame: &str, changes: &[(usize, &[u8])]) -> Vec<u8> {
    let mut frame = hex(frame);
    for (at, octets) in changes {
        frame[14 + at..14 + at + octets.len()].copy_from_slice(octets);
    }
    summed(frame)
}

fn summed(mut frame: Vec<u8>) -> Vec<u8> {
    let (source, destination) = Ipv6::parse(&frame[14..]).map(|ip| (ip.source(), ip.destination())).unwrap();
    frame[56..58].fill(0);
    let sum = packet::checksum::pseudo(source.into(), destination.into(), PROTOCOL_ICMPV6, &frame[54..]);
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

const HOP_LIMIT_AT: usize = 7;
const SOURCE_AT: usize = 8;
const DESTINATION_AT: usize = 24;
const CODE_AT: usize = 41;
const FLAGS_AT: usize = 44;
const TARGET_AT: usize = 48;
const OPTION_AT: usize = 64;

#[test]
fn the_link_local_address_is_made_of_the_mac_address() {
    assert_eq!(link_local(MacAddress([0x52, 0x74, 0xf2, 0xb1, 0xa8, 0x7f])), "fe80::5074:f2ff:feb1:a87f".parse::<Ipv6Addr>().unwrap());
}

#[test]
fn a_solicitation_is_answered_and_its_sender_learnt() {
    let neighbor = Meaning::Neighbor { address: address("2001:db8::2"), mac: PEER_MAC, reply: Some(hex(ADVERTISEMENT)) };
    assert_eq!(on(&hex(SOLICITATION)), neighbor);
    assert_eq!(on(&hex(UNICAST_SOLICITATION)), Meaning::Advertisement(hex(ADVERTISEMENT)), "without an option there is nothing to learn");
    assert_eq!(on(&changed(SOLICITATION, &[(TARGET_AT, &[0x20, 1, 0xd, 0xb9])])), Meaning::Nothing, "another's address");
}

#[test]
fn a_host_that_looks_for_a_free_address_is_told_that_ours_is_not() {
    assert_eq!(on(&hex(PROBE)), Meaning::Advertisement(hex(DEFENCE)));
}

/// The frames that break a rule mean nothing, nor does the good one with a wrong checksum.
fn expect_ignored<const N: usize>(good: &str, cases: [(&str, Vec<u8>); N]) {
    let mut spoilt = hex(good);
    spoilt[60] ^= 1;
    for (rule, frame) in cases.into_iter().chain([("checksum", spoilt)]) {
        assert_eq!(on(&frame), Meaning::Nothing, "{rule}");
    }
    assert_ne!(on(&hex(good)), Meaning::Nothing);
}

/// RFC 4861 section 7.1.1, rule by rule.
#[test]
fn solicitations_that_break_a_rule_are_ignored() {
    let unspecified = [0; 16];
    let cases: [(&str, Vec<u8>); 8] = [
        ("forwarded by a router", changed(SOLICITATION, &[(HOP_LIMIT_AT, &[254])])),
        ("code", changed(SOLICITATION, &[(CODE_AT, &[1])])),
        ("a multicast target", changed(SOLICITATION, &[(TARGET_AT, &[0xff, 2])])),
        ("an option of length zero", changed(SOLICITATION, &[(OPTION_AT + 1, &[0])])),
        ("an option beyond the end", changed(SOLICITATION, &[(OPTION_AT + 1, &[2])])),
        ("a source link-layer address without source address", changed(SOLICITATION, &[(SOURCE_AT, &unspecified)])),
        ("a probe to one host", changed(PROBE, &[(DESTINATION_AT, &hex("20010db8000000000000000000000001"))])),
        ("our own address as source", changed(SOLICITATION, &[(SOURCE_AT, &hex("20010db8000000000000000000000001"))])),
    ];
    expect_ignored(SOLICITATION, cases);
    let mut short = hex(PROBE);
    short[19] = 23;
    short.pop();
    assert_eq!(on(&summed(short)), Meaning::Nothing, "fewer than 24 octets");
}

#[test]
fn the_mac_address_of_a_group_is_learnt_from_nobody() {
    let frame = changed(SOLICITATION, &[(OPTION_AT + 2, &[0x33])]);
    assert!(matches!(on(&frame), Meaning::Advertisement(_)));
    let advertised = on(&changed(ANSWER, &[(OPTION_AT + 2, &[0xff])]));
    assert_eq!(advertised, Meaning::Advertised { address: address("2001:db8::2"), mac: None, overrides: true, solicited: true });
}

#[test]
fn an_advertisement_says_what_may_be_learnt() {
    let of = |mac, overrides, solicited| Meaning::Advertised { address: address("2001:db8::2"), mac, overrides, solicited };
    assert_eq!(on(&hex(ANSWER)), of(Some(PEER_MAC), true, true));
    assert_eq!(on(&changed(ANSWER, &[(FLAGS_AT, &[0])])), of(Some(PEER_MAC), false, false));
    assert_eq!(on(&changed(ANSWER, &[(OPTION_AT, &[5])])), of(None, true, true), "an option that is not known");
}

/// RFC 4861 section 7.1.2, rule by rule.
#[test]
fn advertisements_that_break_a_rule_are_ignored() {
    let all_nodes = hex("ff020000000000000000000000000001");
    let cases: [(&str, Vec<u8>); 6] = [
        ("forwarded by a router", changed(ANSWER, &[(HOP_LIMIT_AT, &[254])])),
        ("code", changed(ANSWER, &[(CODE_AT, &[1])])),
        ("a multicast target", changed(ANSWER, &[(TARGET_AT, &[0xff, 2])])),
        ("solicited by everybody", changed(ANSWER, &[(DESTINATION_AT, &all_nodes)])),
        ("an option of length zero", changed(ANSWER, &[(OPTION_AT + 1, &[0])])),
        ("our own address", changed(ANSWER, &[(TARGET_AT, &hex("20010db8000000000000000000000001"))])),
    ];
    expect_ignored(ANSWER, cases);
}

#[test]
fn what_came_in_fragments_is_answered_to_echo_requests_alone() {
    // A fragment header that is first and last at a time.
    let atomic = |frame: &str| {
        let mut frame = hex(frame);
        let next = std::mem::replace(&mut frame[20], 44);
        let length = u16::from_be_bytes([frame[18], frame[19]]) + 8;
        frame[18..20].copy_from_slice(&length.to_be_bytes());
        frame.splice(54..54, [next, 0, 0, 0, 1, 2, 3, 4]);
        frame
    };
    assert_eq!(on(&atomic(SOLICITATION)), Meaning::Nothing);
    assert_eq!(on(&atomic(ECHO_REQUEST)), Meaning::EchoReply(hex(ECHO_REPLY)));
    let reassembled = |frame: &str| on_reassembled(&hex(frame), &port(), |_| true);
    assert_eq!(reassembled(SOLICITATION), Meaning::Nothing);
    assert_eq!(reassembled(ECHO_REQUEST), Meaning::EchoReply(hex(ECHO_REPLY)));
}

#[test]
fn routers_that_offer_themselves_are_told_apart() {
    assert_eq!(on(&hex(ROUTER)), Meaning::RouterAdvertisement);
}

#[test]
fn an_echo_request_is_answered_to_its_sender() {
    assert_eq!(on(&hex(ECHO_REQUEST)), Meaning::EchoReply(hex(ECHO_REPLY)));
    assert_eq!(on(&hex(GROUP_ECHO_REQUEST)), Meaning::EchoReply(hex(GROUP_ECHO_REPLY)), "to all hosts of the link");
    assert_eq!(on_frame(&hex(ECHO_REQUEST), &port(), |_| false), Meaning::Nothing);
    let mut broken = hex(ECHO_REQUEST);
    *broken.last_mut().unwrap() ^= 1;
    assert_eq!(on(&broken), Meaning::Nothing, "checksum");
    assert_eq!(on(&changed(ECHO_REQUEST, &[(SOURCE_AT, &[0xff, 2])])), Meaning::Nothing, "a group asks nothing");
    assert_eq!(on(&hex(ECHO_REPLY)), Meaning::Nothing);
    assert_eq!(echo_reply(&hex(ECHO_REQUEST)[14..], |_| true), Some(hex(ECHO_REPLY)[14..].to_vec()), "out of an SA");
    assert_eq!(echo_reply(&hex(ECHO_REQUEST)[14..], |_| false), None);
}

#[test]
fn our_own_solicitation_is_the_one_scapy_builds() {
    let target = "2001:db8::2".parse().unwrap();
    assert_eq!(solicitation(MAC, link_local(MAC), target), hex(OWN_SOLICITATION));
}

proptest! {
    #[test]
    fn hostile_frames_never_panic(octets in vec(any::<u8>(), 0..120), at in 0..90usize, value: u8, which in 0..6usize, kind: u8) {
        on_frame(&octets, &port(), |_| true);
        let sample = [SOLICITATION, ANSWER, PROBE, ROUTER, ECHO_REQUEST, GROUP_ECHO_REQUEST][which];
        let mut nearly = hex(sample);
        if let Some(octet) = nearly.get_mut(at) { *octet = value; }
        on_frame(&nearly, &port(), |_| true);
        nearly.truncate(at);
        on_frame(&nearly, &port(), |_| true);
        // Any message of any type, with a right checksum.
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        let mut any = [&hex(sample)[..54], &octets].concat();
        any[18..20].copy_from_slice(&length);
        if octets.len() >= 4 {
            any[54] = kind;
            any[55] = 0;
            any = summed(any);
        }
        on_frame(&any, &port(), |_| true);
    }
}
