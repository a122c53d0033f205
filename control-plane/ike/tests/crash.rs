//! A peer that has lost its state is noticed soon, and by nobody else's word (RFC 6290, RFC 7296 sections 1.5 and 2.21.4).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::{Config, StartAction};
use ike::error::Failure;
use ike::io::{Datagram, Dataplane, Event, Input};
use ike_wire::{ExchangeType, Flags, Header, Message, Notify, NotifyType, Payload, Version};
use ipsec_types::Secret;
use pair::Side::{A, B};
use pair::{Pair, Sent, Side, config, lab};

const SECOND: Duration = Duration::from_secs(1);

/// A calls, and asks after 10 s of silence; both make tokens.
fn configured(side: Side) -> Config {
    let mut config = config(side);
    config.crash_secret = Some(Secret::copy_from(if side == A { &[0xaa; 32] } else { &[0xbb; 32] }));
    config.connections[0].dpd_delay = (side == A).then_some(10 * SECOND);
    config.connections[0].children[0].start_action = if side == A { StartAction::Start } else { StartAction::Trap };
    config
}

fn connected(change: impl Fn(Side, &mut Config)) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = configured(side);
        change(side, &mut config);
        config
    });
    let mut pair = Pair::new(11, a, b);
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    pair
}

/// Both planes of B stop and begin anew: it knows nothing any more but its configuration.
fn crash_of_b(pair: &mut Pair, config: Config) {
    pair.kill_control(B);
    pair.gateway(B).data_plane.installed.clear();
    pair.start_control(B, config, 2);
}

/// What a side last sent, as its receiver sees it, with `change`.
fn forged(sent: &Sent, change: impl FnOnce(&mut Vec<u8>)) -> Input {
    let mut payload = sent.datagram.payload.clone();
    change(&mut payload);
    Input::Datagram(Datagram { local: sent.datagram.remote, remote: sent.datagram.local, payload })
}

fn is_restart(failure: &Failure) -> bool {
    matches!(failure, Failure::TimedOut(detail) if detail.theirs.contains("RFC 6290"))
}

/// A asks for a sign of life, gets the token instead of one, and begins anew at once: not after the 165 s that its repetitions take.
#[test]
fn a_peer_that_shows_its_token_has_lost_its_state() {
    let mut pair = connected(|_, _| {});
    crash_of_b(&mut pair, configured(B));
    pair.run(11 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1, "set up anew");
    let shown = pair.shown(A);
    let at = shown.iter().position(|line| line.contains("N(INVAL_IKE_SPI)")).unwrap();
    assert_eq!(shown[at - 1], "INFORMATIONAL request 2: ");
    assert_eq!(shown[at], "INFORMATIONAL response 2: N(INVAL_IKE_SPI) N(QUICK_CRASH_DETECTION)");
    assert!(shown[at + 1].starts_with("IKE_SA_INIT request 0"));
    let closed = pair.gateway(A).events.iter().find_map(|event| match event {
        Event::IkeSaClosed { failure, .. } => failure.clone(),
        _ => None,
    });
    assert!(closed.is_some_and(|failure| is_restart(&failure)));
}

/// A packet is sooner than the next sign of life.
#[test]
fn esp_for_an_sa_that_is_not_there_is_enough() {
    let mut pair = connected(|_, _| {});
    let spi = pair.gateway(A).data_plane.installed.values().next().unwrap().outbound_spi.value();
    crash_of_b(&mut pair, configured(B));
    let before = pair.sent.len();
    pair.input(B, Input::Dataplane(Dataplane::SpiMiss { local: B.address(), remote: A.address(), spi }));
    pair.input(B, Input::Dataplane(Dataplane::SpiMiss { local: B.address(), remote: A.address(), spi }));
    assert_eq!(pair.titles_from(before), ["INFORMATIONAL request 0"], "once a second");
    pair.run(SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!((pair.stat(A, "peers_restarted"), pair.stat(B, "invalid_spi_sent"), pair.stat(B, "invalid_ike_spi_sent")), (1, 1, 1));
}

/// Without a token it is a hint: the peer is asked, and answers as ever.
#[test]
fn hints_end_nothing() {
    let mut pair = connected(|_, config| config.crash_secret = None);
    let last = Header::peek(&pair.sent.last().unwrap().datagram.payload).unwrap();
    let payloads = vec![Payload::Notify(Notify::new(NotifyType::INVALID_IKE_SPI, vec![]))];
    let flags = Flags { response: true, ..Flags::default() };
    let hint = Message { header: Header { exchange: ExchangeType::INFORMATIONAL, flags, message_id: 9, ..last }, payloads };
    let spi = pair.gateway(A).data_plane.installed.values().next().unwrap().outbound_spi.value();
    let payloads = vec![Payload::Notify(Notify::new(NotifyType::INVALID_SPI, spi.to_be_bytes().to_vec()))];
    let flags = Flags { initiator: true, ..Flags::default() };
    let header =
        Header { initiator_spi: 1, responder_spi: 0, version: Version::V2, exchange: ExchangeType::INFORMATIONAL, flags, message_id: 0 };
    let miss = Message { header, payloads };
    for message in [&hint, &miss, &hint, &miss] {
        let (local, remote) = (SocketAddr::new(A.address(), 4500), SocketAddr::new(B.address(), 4500));
        pair.input(A, Input::Datagram(Datagram { local, remote, payload: message.emit().unwrap() }));
        pair.run(SECOND);
    }
    assert_eq!(pair.stat(A, "probes_sent"), 1, "not oftener than every 10 s, however often somebody says so");
    assert_eq!((pair.established(A), pair.assert_mirrored()), (1, 1));
    pair.run(10 * SECOND);
    assert_eq!(pair.assert_mirrored(), 1);
}

/// A message of B once it has forgotten the IKE SA, without A's knowing.
fn answer_of_restarted_b(pair: &mut Pair) -> Sent {
    pair.deaf = Some(A);
    crash_of_b(pair, configured(B));
    pair.run(11 * SECOND);
    pair.deaf = None;
    let answers = pair.sent.iter().filter(|sent| sent.from == B && sent.datagram.payload[18] == ExchangeType::INFORMATIONAL.0);
    answers.clone().next_back().unwrap().clone()
}

#[test]
fn a_token_that_is_not_the_peers_ends_nothing() {
    let mut pair = connected(|_, _| {});
    let answer = answer_of_restarted_b(&mut pair);
    for octet in [60, answer.datagram.payload.len() - 1] {
        pair.input(A, forged(&answer, |payload| payload[octet] ^= 1));
    }
    // Shorter than a token is.
    pair.input(
        A,
        forged(&answer, |payload| {
            let message = Message::parse(payload).unwrap();
            let payloads = vec![Payload::Notify(Notify::new(NotifyType::QUICK_CRASH_DETECTION, vec![]))];
            *payload = Message { payloads, ..message }.emit().unwrap();
        }),
    );
    assert_eq!(pair.established(A), 1);
    // "The token taker MUST accept such tokens from any IP address and port combination."
    let Input::Datagram(datagram) = forged(&answer, |_| {}) else { panic!() };
    pair.input(A, Input::Datagram(Datagram { remote: "192.0.2.99:7777".parse().unwrap(), ..datagram }));
    assert_eq!(pair.established(A), 0);
}

/// "A token maker MUST NOT send a valid QCD token in an unprotected message for an existing IKE SA": whatever anybody makes of the header.
#[test]
fn nobody_gets_the_token_of_an_ike_sa_that_is_there() {
    let mut pair = connected(|_, _| {});
    let request = pair.sent.iter().rfind(|sent| sent.from == A).unwrap().clone();
    let before = pair.sent.len();
    for flags in 0..=u8::MAX {
        for side in [A, B] {
            let Input::Datagram(datagram) = forged(&request, |payload| payload[19] = flags) else { panic!() };
            pair.input(side, Input::Datagram(datagram));
            pair.now = pair.now + SECOND;
        }
    }
    let token = |sent: &Sent| sent.datagram.payload.windows(2).any(|octets| octets == 16419_u16.to_be_bytes());
    let clear = pair.sent[before..].iter().filter(|sent| Message::parse(&sent.datagram.payload).is_ok_and(|m| m.encrypted().is_none()));
    assert_eq!(clear.filter(|sent| token(sent)).count(), 0);
}

/// Section 4.3: new SPIs, new tokens, of both sides.
#[test]
fn tokens_are_renewed_with_the_ike_sa() {
    for rekeys in [A, B] {
        for crashes in [A, B] {
            let mut pair = connected(|_, config| config.connections[0].dpd_delay = Some(10 * SECOND));
            pair.rekey(rekeys, lab());
            pair.run(SECOND);
            let shown = pair.shown(rekeys);
            assert!(shown.iter().any(|line| line == "INFORMATIONAL request 0: N(QUICK_CRASH_DETECTION)"), "{shown:?}");
            pair.kill_control(crashes);
            pair.gateway(crashes).data_plane.installed.clear();
            let mut config = configured(crashes);
            // So that it is the other that notices.
            config.connections[0].children[0].start_action = StartAction::Trap;
            pair.start_control(crashes, config, 2);
            pair.run(12 * SECOND);
            assert_eq!(pair.stat(crashes.other(), "peers_restarted"), 1, "{rekeys:?} rekeys, {crashes:?} crashes");
        }
    }
}

/// Strangers cannot make a gateway talk.
#[test]
fn strays_are_answered_in_bounds() {
    let mut pair = connected(|_, _| {});
    let answer = answer_of_restarted_b(&mut pair);
    let request = pair.sent.iter().rfind(|sent| sent.from == A).unwrap().clone();
    let already = pair.stat(B, "invalid_ike_spi_sent");
    for host in 1..=100 {
        for _ in 0..2 {
            let Input::Datagram(datagram) = forged(&request, |payload| payload[7] ^= 1) else { panic!() };
            let remote = format!("198.51.100.{host}:500").parse().unwrap();
            pair.input(B, Input::Datagram(Datagram { remote, ..datagram }));
        }
    }
    assert_eq!(pair.stat(B, "invalid_ike_spi_sent") - already, 32);
    // No answer to an answer.
    pair.now = pair.now + SECOND;
    pair.input(B, forged(&answer, |payload| payload[19] ^= 0x08));
    assert_eq!(pair.stat(B, "invalid_ike_spi_sent") - already, 32);
}
