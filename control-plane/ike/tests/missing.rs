//! INVALID_SPI from the peer itself: it has no SA for our packets (RFC 7296 section 1.5).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::io::{Datagram, Input};
use ike_wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, Protocol, Version, parse_payloads};
use ipsec_types::Spi;
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, config};

const SECOND: Duration = Duration::from_secs(1);
const SUITE: Clear = Clear(b"ICV!");

fn connected() -> Pair {
    let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, config(A), config(B));
    pair.connect();
    pair.run(20 * SECOND);
    pair
}

fn outbound(pair: &mut Pair, side: Side) -> u32 {
    let id = pair.only_child(side);
    pair.gateway(side).data_plane.installed[&id].outbound_spi.value()
}

/// B tells A, protected, that it has no SA with this SPI.
fn invalid_spi(pair: &mut Pair, message_id: u32, spi: u32) {
    let mut sent = pair.sent.iter().filter(|sent| sent.from == A).map(|sent| Header::peek(&sent.datagram.payload).unwrap());
    let of = sent.rfind(|header| header.responder_spi != 0).unwrap();
    let flags = Flags { initiator: false, response: false, version: false };
    let header = Header { version: Version::V2, exchange: ExchangeType::INFORMATIONAL, flags, message_id, ..of };
    let notify = Payload::Notify(Notify::new(NotifyType::INVALID_SPI, spi.to_be_bytes().to_vec()));
    let payload = SUITE.seal(&header, &[notify]);
    let [local, remote] = [A, B].map(|side| SocketAddr::new(side.address(), 500));
    pair.input(A, Input::Datagram(Datagram { local, remote, payload }));
}

#[test]
fn the_sa_is_replaced_without_a_gap_where_the_peer_has_it_after_all() {
    let mut pair = connected();
    let old = outbound(&mut pair, A);
    invalid_spi(&mut pair, 0, old);
    assert_eq!(pair.run_under_load(SECOND), 0);
    assert_eq!(pair.assert_mirrored(), 1);
    let new = outbound(&mut pair, A);
    assert_ne!(new, old);
    assert_eq!(pair.stat(A, "child_sas_missed"), 1);
}

/// Section 2.25: upon CHILD_SA_NOT_FOUND another is made from scratch.
#[test]
fn the_sa_is_made_from_scratch_where_the_peer_has_none() {
    let mut pair = connected();
    let old = outbound(&mut pair, A);
    // B knows another SPI than A names.
    pair.tamper = Some(Box::new(|from, payload| {
        let message = Message::parse(payload).unwrap();
        let Some(encrypted) = message.encrypted().filter(|_| from == A && message.header.exchange == ExchangeType::CREATE_CHILD_SA) else {
            return;
        };
        let mut inner = parse_payloads(encrypted.first, &encrypted.body[..encrypted.body.len() - 5]).unwrap();
        for payload in &mut inner {
            if matches!(payload, Payload::Notify(notify) if notify.kind == NotifyType::REKEY_SA) {
                *payload = Payload::Notify(Notify::about(Protocol::ESP, Spi::new(0xdddd_0001).unwrap(), NotifyType::REKEY_SA));
            }
        }
        *payload = SUITE.seal(&message.header, &inner);
    }));
    invalid_spi(&mut pair, 0, old);
    pair.run(SECOND);
    let shown = pair.shown(A);
    assert!(shown.iter().any(|line| line.starts_with("CREATE_CHILD_SA response") && line.contains("N(NO_CHILD_SA)")), "{shown:?}");
    assert!(pair.gateway(A).data_plane.retired.len() == 1 && pair.installed(A) == 1);
    assert_ne!(outbound(&mut pair, A), old);
}

/// A peer that says so all the time is not obeyed all the time; nor one that names what is not there.
#[test]
fn not_more_often_than_every_ten_seconds_and_not_for_any_spi() {
    let mut pair = connected();
    for message_id in 0..20 {
        let spi = outbound(&mut pair, A);
        invalid_spi(&mut pair, message_id, spi);
        pair.run(SECOND);
        assert_eq!(pair.assert_mirrored(), 1);
    }
    let missed = pair.stat(A, "child_sas_missed");
    assert!((2..=3).contains(&missed), "{missed}");
    pair.run(20 * SECOND);
    invalid_spi(&mut pair, 20, 0x0bad_0bad);
    pair.run(SECOND);
    assert_eq!(pair.stat(A, "child_sas_missed"), missed);
}
