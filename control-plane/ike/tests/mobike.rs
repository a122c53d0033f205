//! Peers that move (RFC 4555).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::config::Config;
use ike::io::{Datagram, Dataplane, Input};
use ike_wire::{ExchangeType, Flags, Header, Notify, NotifyType, Payload, Version};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config, lab, title};

const SECOND: Duration = Duration::from_secs(1);
const SUITE: Clear = Clear(b"ICV!");

fn elsewhere() -> SocketAddr {
    "198.51.100.7:4500".parse().unwrap()
}

fn configured(side: Side) -> Config {
    let mut config = config(side);
    config.connections[0].mobike = true;
    config
}

fn connected() -> Pair {
    let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 31, configured(A), configured(B));
    pair.connect();
    pair
}

/// A's next request to B, from an address; gives back the titles of what B sends at once, and where to.
fn asks(pair: &mut Pair, message_id: u32, from: SocketAddr, payloads: &[Payload]) -> Vec<(String, SocketAddr)> {
    let last = Header::peek(&pair.sent.last().unwrap().datagram.payload).unwrap();
    let flags = Flags { initiator: true, ..Flags::default() };
    let header = Header { flags, exchange: ExchangeType::INFORMATIONAL, version: Version::V2, message_id, ..last };
    from_a(pair, from, SUITE.seal(&header, payloads))
}

fn from_a(pair: &mut Pair, from: SocketAddr, payload: Vec<u8>) -> Vec<(String, SocketAddr)> {
    let before = pair.sent.len();
    pair.input(B, Input::Datagram(Datagram { local: SocketAddr::new(B.address(), 4500), remote: from, payload }));
    pair.sent[before..].iter().map(|sent| (title(&sent.datagram), sent.datagram.remote)).collect()
}

fn says(kind: NotifyType, data: Vec<u8>) -> Payload {
    Payload::Notify(Notify::new(kind, data))
}

fn moves() -> Vec<Payload> {
    vec![
        says(NotifyType::UPDATE_SA_ADDRESSES, vec![]),
        says(NotifyType::NAT_DETECTION_SOURCE_IP, vec![1; 20]),
        says(NotifyType::NAT_DETECTION_DESTINATION_IP, vec![2; 20]),
    ]
}

/// B's last request, answered from where A says it is.
fn answers_the_check(pair: &mut Pair, cookie: impl FnOnce(Vec<u8>) -> Vec<u8>) {
    let request = pair.sent.last().unwrap().clone();
    assert_eq!(title(&request.datagram), "INFORMATIONAL request 0");
    let payload = &request.datagram.payload;
    let message = ike_wire::Message::parse(payload).unwrap();
    let encrypted = message.encrypted().unwrap();
    // Pad Length and ICV stand behind.
    let inner = ike_wire::parse_payloads(encrypted.first, &encrypted.body[..encrypted.body.len() - 5]).unwrap();
    let [Payload::Notify(notify)] = &inner[..] else { panic!("{inner:?}") };
    assert_eq!(notify.kind, NotifyType::COOKIE2);
    let flags = Flags { initiator: true, response: true, version: false };
    let answer = SUITE.seal(&Header { flags, ..message.header }, &[says(NotifyType::COOKIE2, cookie(notify.data.clone()))]);
    from_a(pair, elsewhere(), answer);
}

#[test]
fn both_say_that_they_can() {
    let mut pair = connected();
    let shown = pair.shown(B);
    assert!(shown[2].ends_with("N(MOBIKE_SUP)") && shown[3].contains("N(MOBIKE_SUP)"), "{shown:?}");
    let mut other = Pair::new(31, configured(A), config(B));
    other.connect();
    assert!(!other.shown(B)[3].contains("N(MOBIKE_SUP)"));
}

#[test]
fn child_sas_follow_a_peer_that_receives_where_it_says() {
    let mut pair = connected();
    let sent = asks(&mut pair, 2, elsewhere(), &moves());
    let titles = ["INFORMATIONAL response 2", "INFORMATIONAL request 0"].map(|title| (title.to_owned(), elsewhere()));
    assert_eq!(sent, titles);
    assert!(pair.shown(B).contains(&"INFORMATIONAL response 2: N(NATD_S_IP) N(NATD_D_IP)".to_owned()));
    assert_eq!(pair.gateway(B).data_plane.retargets, [], "not before it has answered");
    answers_the_check(&mut pair, |cookie| cookie);
    let retargets: Vec<SocketAddr> = pair.gateway(B).data_plane.retargets.iter().map(|(_, remote)| *remote).collect();
    assert_eq!(retargets, [elsewhere()]);
    assert_eq!((pair.ike_sas(B)[0].remote, pair.stat(B, "ike_sas_moved")), (elsewhere(), 1));
}

/// "If the values do not match, the IKE_SA MUST be closed."
#[test]
fn who_does_not_know_the_cookie_is_not_there() {
    let mut pair = connected();
    asks(&mut pair, 2, elsewhere(), &moves());
    answers_the_check(&mut pair, |mut cookie| {
        cookie[0] ^= 1;
        cookie
    });
    assert_eq!(pair.gateway(B).data_plane.retargets, []);
    assert_eq!((pair.established(B), pair.installed(B)), (0, 0));
}

#[test]
fn a_cookie_comes_back_as_it_is() {
    let mut pair = connected();
    asks(&mut pair, 2, SocketAddr::new(A.address(), 4500), &[says(NotifyType::COOKIE2, vec![9; 33])]);
    let answer = pair.sent.last().unwrap().datagram.payload.clone();
    assert!(answer.windows(33).any(|octets| octets == [9; 33]));
}

/// Neither a request from elsewhere nor ESP moves anything, though A seems to be behind a NAT.
#[test]
fn nothing_moves_without_the_word_of_who_began() {
    let mut b = configured(B);
    b.connections[0].remote_addrs.clear();
    let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 31, configured(A), b);
    pair.nat = Some("198.51.100.1:20000".parse().unwrap());
    pair.connect();
    assert!(pair.ike_sas(B)[0].nat_remote);
    asks(&mut pair, 2, elsewhere(), &[]);
    let child = pair.only_child(B);
    pair.input(B, Input::Dataplane(Dataplane::PeerMoved { child, remote: elsewhere() }));
    assert_eq!(pair.gateway(B).data_plane.retargets, []);
    assert_ne!(pair.ike_sas(B)[0].remote, elsewhere());
}

#[test]
fn addresses_where_nobody_can_be_are_refused() {
    let mut pair = connected();
    for (id, address) in [(2, "224.0.0.1:4500"), (3, "127.0.0.1:4500"), (4, "[2001:db8::7]:4500")] {
        let from: SocketAddr = address.parse().unwrap();
        asks(&mut pair, id, from, &moves());
        assert_eq!(pair.shown(B).last().unwrap(), &format!("INFORMATIONAL response {id}: N(UNACC_ADDR)"), "{address}");
    }
    assert_eq!(pair.ike_sas(B)[0].remote, SocketAddr::new(A.address(), 4500));
}

/// Section 3.9.
#[test]
fn a_nat_that_is_not_allowed_is_found() {
    let mut pair = connected();
    let sent_as = |address: [u8; 4]| [&address[..], &[192, 0, 2, 2], &4500_u16.to_be_bytes(), &4500_u16.to_be_bytes()].concat();
    let with = |data| [moves(), vec![says(NotifyType::NO_NATS_ALLOWED, data)]].concat();
    asks(&mut pair, 2, elsewhere(), &with(sent_as([10, 0, 0, 1])));
    assert_eq!(pair.shown(B).last().unwrap(), "INFORMATIONAL response 2: N(UNEXP_NAT)");
    assert_eq!(pair.ike_sas(B)[0].remote, SocketAddr::new(A.address(), 4500));
    asks(&mut pair, 3, elsewhere(), &with(sent_as([198, 51, 100, 7])));
    assert_eq!(pair.ike_sas(B)[0].remote, elsewhere());
}

/// Nothing comes through from A's first address any more: it goes on from its second one, and B's Child SAs follow.
#[test]
fn an_initiator_with_another_address_goes_on_from_there() {
    goes_on_elsewhere(|_| {});
}

/// RFC 4555 section 1.3: the initiator is that of the first IKE SA, whoever rekeys it.
#[test]
fn so_does_one_whose_ike_sa_the_responder_has_rekeyed() {
    goes_on_elsewhere(|pair| {
        pair.rekey(B, lab());
        pair.run(SECOND);
        assert_eq!(pair.stat(B, "ike_sas_rekeyed"), 1);
    });
}

fn goes_on_elsewhere(meanwhile: impl FnOnce(&mut Pair)) {
    let second: IpAddr = "192.0.2.101".parse().unwrap();
    let mut a = configured(A);
    a.connections[0].local_addrs.push(second);
    a.connections[0].dpd_delay = Some(10 * SECOND);
    let mut pair = Pair::new(32, a, configured(B));
    let child_sas = pair.gateway(A).data_plane.listed();
    let local_addresses = vec![A.address(), second];
    pair.input(A, Input::Dataplane(Dataplane::Attached { boot: [1; 16], epoch: 2, child_sas, local_addresses }));
    pair.connect();
    assert!(pair.shown(B)[2].contains("N(MOBIKE_SUP) N(ADD_4_ADDR)"), "{:?}", pair.shown(B));
    meanwhile(&mut pair);
    pair.tamper = Some(Box::new(|_, payload| payload.clear()));
    pair.run(12 * SECOND);
    assert_eq!(pair.ike_sas(A)[0].local.ip(), A.address());
    pair.run(15 * SECOND);
    assert_eq!(pair.ike_sas(A)[0].local.ip(), second, "it tries the other one");
    pair.tamper = None;
    pair.run(40 * SECOND);
    assert_eq!((pair.established(A), pair.established(B), pair.assert_mirrored()), (1, 1, 1));
    let (local, remote) = (pair.ike_sas(A)[0].local, pair.ike_sas(B)[0].remote);
    assert_eq!(local, remote, "both know where it is");
    let last = pair.gateway(B).data_plane.retargets.last().map(|(_, remote)| *remote);
    assert_eq!(last, Some(local));
    let shown = pair.shown(A);
    assert!(shown.iter().any(|line| line.ends_with("N(UPD_SA_ADDR) N(NATD_S_IP) N(NATD_D_IP)")), "{shown:?}");
}
