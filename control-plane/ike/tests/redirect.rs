//! A responder sends an initiator to another gateway (RFC 5685). B is both gateways: it answers at two addresses.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::config::{Config, RemoteAuth};
use ike::error::Failure;
use ike::io::{Datagram, Event, Input, Record};
use ike_wire::{Auth, ExchangeType, Flags, Gateway, Header, Message, Notify, NotifyType, Payload, Redirect, Version};
use ipsec_types::Secret;
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::{Network, Pair, Side, Tamper, config};

const SECOND: Duration = Duration::from_secs(1);
const OTHER: &str = "198.51.100.77";
const SUITE: Clear = Clear(b"ICV!");

fn configs() -> [Config; 2] {
    let (mut a, mut b) = (config(A), config(B));
    a.connections[0].follow_redirects = true;
    b.connections[0].local_addrs.clear();
    [a, b]
}

fn pair([a, b]: [Config; 2]) -> Pair {
    Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, a, b)
}

fn redirect_to(gateway: &str, nonce: &[u8]) -> Payload {
    let gateway = gateway.parse::<IpAddr>().map_or_else(|_| Gateway::Name(gateway.into()), Gateway::Address);
    Payload::Notify(Notify::new(NotifyType::REDIRECT, Redirect { gateway, nonce: nonce.to_vec() }.emit()))
}

/// The last message of A.
fn last(pair: &Pair) -> Message {
    Message::parse(&pair.sent.iter().rfind(|sent| sent.from == A).unwrap().datagram.payload).unwrap()
}

fn nonce(message: &Message) -> Vec<u8> {
    let found =
        message.payloads.iter().find_map(|payload| if let Payload::Nonce(nonce) = payload { Some(nonce.octets().to_vec()) } else { None });
    found.unwrap()
}

fn notify(message: &Message, kind: NotifyType) -> Option<Vec<u8>> {
    message.payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if notify.kind == kind => Some(notify.data.clone()),
        _ => None,
    })
}

/// A message of the gateway for the IKE SA whose header A's last message has.
fn inject(pair: &mut Pair, of: &Header, exchange: ExchangeType, response: bool, message_id: u32, payloads: &[Payload]) {
    let flags = Flags { initiator: !of.flags.initiator, response, version: false };
    let header = Header { version: Version::V2, exchange, flags, message_id, ..*of };
    let payload = match exchange {
        ExchangeType::IKE_SA_INIT => Message { header, payloads: payloads.to_vec() }.emit().unwrap(),
        _ => SUITE.seal(&header, payloads),
    };
    let local = SocketAddr::new(A.address(), 500);
    pair.input(A, Input::Datagram(Datagram { local, remote: SocketAddr::new(B.address(), 500), payload }));
}

/// A calls, and is sent elsewhere before B has answered.
fn sent_elsewhere(pair: &mut Pair, gateway: &str, nonce: &[u8]) {
    let header = last(pair).header;
    inject(pair, &header, ExchangeType::IKE_SA_INIT, true, 0, &[redirect_to(gateway, nonce)]);
}

fn redirected(pair: &Pair) -> Vec<(IpAddr, IpAddr)> {
    let events = pair.gateways[A as usize].events.iter();
    events.filter_map(|event| if let Event::Redirected { from, to, .. } = event { Some((*from, *to)) } else { None }).collect()
}

fn remote(pair: &mut Pair) -> Vec<IpAddr> {
    pair.ike_sas(A).iter().map(|sa| sa.remote.ip()).collect()
}

fn other() -> IpAddr {
    OTHER.parse().unwrap()
}

#[test]
fn a_redirect_instead_of_an_ike_sa_is_followed() {
    let mut pair = pair(configs());
    pair.acquire(A, 1);
    let first = last(&pair);
    assert_eq!(notify(&first, NotifyType::REDIRECT_SUPPORTED), Some(vec![]));
    sent_elsewhere(&mut pair, OTHER, &nonce(&first));
    let second = last(&pair);
    assert_eq!(pair.sent.last().unwrap().datagram.remote, SocketAddr::new(other(), 500));
    assert_eq!(notify(&second, NotifyType::REDIRECT_SUPPORTED), None);
    let from = Redirect::parse(&notify(&second, NotifyType::REDIRECTED_FROM).unwrap()).unwrap();
    assert_eq!(from, Redirect { gateway: Gateway::Address(B.address()), nonce: vec![] });
    assert_ne!(nonce(&second), nonce(&first), "it is another exchange");
    pair.run(SECOND);
    assert_eq!((remote(&mut pair), pair.assert_mirrored()), (vec![other()], 1));
    assert_eq!(redirected(&pair), [(B.address(), other())]);
    assert!(pair.failures(A).is_empty());
    let fields = pair.gateways[A as usize].traces.iter().find_map(|trace| match &trace.record {
        Record::Message { payloads, .. } => {
            payloads.iter().find(|payload| payload.name == "N(REDIR)").map(|payload| payload.fields.clone())
        }
        Record::Step { .. } => None,
    });
    let shown = format!("{:?}", fields.unwrap());
    for text in ["GW Ident Type", "IPv4 address (1)", OTHER, "Nonce Data"] {
        assert!(shown.contains(text), "{text}: {shown}");
    }
}

/// "If the values do not match, the client MUST silently discard the response (and keep waiting for another response)" (section 3).
#[test]
fn a_redirect_with_another_nonce_is_discarded() {
    let mut pair = pair(configs());
    pair.acquire(A, 1);
    let mut wrong = nonce(&last(&pair));
    wrong[0] ^= 1;
    for nonce in [&wrong[..], &[]] {
        sent_elsewhere(&mut pair, OTHER, nonce);
    }
    assert_eq!(pair.sent.iter().filter(|sent| sent.from == A).count(), 1);
    pair.run(SECOND);
    assert_eq!((remote(&mut pair), pair.assert_mirrored()), (vec![B.address()], 1));
    assert!(redirected(&pair).is_empty());
}

#[test]
fn what_cannot_be_followed_is_refused_with_its_reason() {
    for (gateway, follow, why) in [
        (OTHER, false, "redirects are not followed here"),
        ("gw.example.org", true, "names are not looked up"),
        ("127.0.0.1", true, "no gateway can be there"),
        ("2001:db8::1", true, "no address of that version of IP"),
    ] {
        let [mut a, b] = configs();
        a.connections[0].follow_redirects = follow;
        let mut pair = pair([a, b]);
        pair.deaf = Some(B);
        pair.acquire(A, 1);
        let first = last(&pair);
        assert_eq!(notify(&first, NotifyType::REDIRECT_SUPPORTED).is_some(), follow);
        sent_elsewhere(&mut pair, gateway, &nonce(&first));
        pair.run(10 * SECOND);
        let failure = pair.failures(A).remove(0);
        assert!(matches!(failure, Failure::Incompatible(NotifyType::REDIRECT, _)) && failure.to_string().contains(why), "{failure}");
        assert!(redirected(&pair).is_empty());
    }
}

/// MAX_REDIRECTS and REDIRECT_LOOP_DETECT_PERIOD (section 7).
#[test]
fn two_gateways_that_redirect_to_each_other_are_not_followed_for_ever() {
    let mut pair = pair(configs());
    pair.deaf = Some(B);
    pair.acquire(A, 1);
    for round in 0..8 {
        let nonce = nonce(&last(&pair));
        sent_elsewhere(&mut pair, if round % 2 == 0 { OTHER } else { "192.0.2.99" }, &nonce);
    }
    assert_eq!(redirected(&pair).len(), 5);
    pair.run(10 * SECOND);
    assert!(pair.failures(A)[0].to_string().contains("more than 5 times in 300 s"));
}

/// The other gateway has to be whom the connection wants: a REDIRECT changes no entry of the PAD.
#[test]
fn whoever_answers_there_has_to_be_the_same_peer() {
    let [a, mut b] = configs();
    b.connections[0].local_identity = "evil.test".parse().unwrap();
    let mut pair = pair([a, b]);
    pair.acquire(A, 1);
    let nonce = nonce(&last(&pair));
    sent_elsewhere(&mut pair, OTHER, &nonce);
    pair.run(3 * SECOND);
    assert_eq!((pair.established(A), pair.installed(A)), (0, 0));
    assert_eq!(redirected(&pair).len(), 1);
    assert!(!pair.failures(A).is_empty());
}

/// A's IKE SA, as its messages name it.
fn header_of(pair: &Pair) -> Header {
    let mut messages = pair.sent.iter().filter(|sent| sent.from == A).map(|sent| Header::peek(&sent.datagram.payload).unwrap());
    messages.rfind(|header| header.responder_spi != 0).unwrap()
}

/// Section 5: the new IKE SA is there before the old one is deleted.
#[test]
fn a_redirect_later_moves_everything_without_a_gap() {
    let mut pair = pair(configs());
    pair.connect();
    let header = header_of(&pair);
    inject(&mut pair, &header, ExchangeType::INFORMATIONAL, false, 0, &[redirect_to(OTHER, &[])]);
    assert_eq!(pair.run_under_load(10 * SECOND), 0);
    assert_eq!(redirected(&pair), [(B.address(), other())]);
    assert_eq!(pair.established(A), 1);
    assert_eq!(remote(&mut pair), [other()]);
    assert_eq!(pair.assert_mirrored(), 1);
    let shown = pair.shown(A);
    let answered = shown.iter().position(|line| line == "INFORMATIONAL response 0: ").unwrap();
    let called = shown.iter().rposition(|line| line.starts_with("IKE_SA_INIT request")).unwrap();
    assert!(answered < called && shown[called].contains("N(REDIR_FROM)"), "{shown:?}");
    let deleted = shown.iter().position(|line| line.ends_with(": D")).unwrap();
    assert!(shown.iter().rposition(|line| line.starts_with("IKE_AUTH response")).unwrap() < deleted, "{shown:?}");
}

/// "The gateway MUST NOT include any nonce data" (section 5); and nobody redirects whoever has called him (section 10).
#[test]
fn a_redirect_later_that_must_not_be_is_not_followed() {
    let mut pair = pair(configs());
    pair.connect();
    let header = header_of(&pair);
    for (message_id, payload) in [redirect_to(OTHER, &[7; 32]), redirect_to("gw.example.org", &[])].into_iter().enumerate() {
        inject(&mut pair, &header, ExchangeType::INFORMATIONAL, false, u32::try_from(message_id).unwrap(), &[payload]);
    }
    pair.run(SECOND);
    assert_eq!((redirected(&pair).len(), remote(&mut pair)), (0, vec![B.address()]));
    assert_eq!(pair.failures(A).len(), 2);

    // A is the responder.
    let [mut b, mut a] = configs();
    (a.connections, b.connections) = (config(A).connections, config(B).connections);
    a.connections[0].follow_redirects = true;
    let mut pair = self::pair([a, b]);
    pair.acquire(B, 1);
    pair.run(SECOND);
    let header = header_of(&pair);
    inject(&mut pair, &header, ExchangeType::INFORMATIONAL, false, 2, &[redirect_to(OTHER, &[])]);
    pair.run(SECOND);
    assert!(redirected(&pair).is_empty());
    assert_eq!(pair.assert_mirrored(), 1);
}

/// B's first response of IKE_AUTH holds what `keep` makes of its payloads, and REDIRECT.
fn redirecting(keep: impl Fn(Payload) -> Option<Payload> + 'static) -> Tamper {
    let armed = std::cell::Cell::new(true);
    Box::new(move |from: Side, payload: &mut Vec<u8>| {
        let message = Message::parse(payload).unwrap();
        let is_auth = message.header.exchange == ExchangeType::IKE_AUTH && message.header.flags.response;
        if from != B || !is_auth || !armed.replace(false) {
            return;
        }
        let encrypted = message.encrypted().unwrap();
        let inner = ike_wire::parse_payloads(encrypted.first, &encrypted.body[..encrypted.body.len() - 5]).unwrap();
        let said: Vec<Payload> = inner.into_iter().filter_map(&keep).chain([redirect_to(OTHER, &[])]).collect();
        *payload = SUITE.seal(&message.header, &said);
    })
}

/// Section 6, by hand: what B says in IKE_AUTH. AUTH is computed with the key both hold.
#[test]
fn a_redirect_in_ike_auth_is_followed_after_the_gateway_has_shown_who_it_is() {
    for right in [true, false] {
        let mut pair = pair(configs());
        // B's response keeps IDr and AUTH, and loses the Child SA.
        pair.tamper = Some(redirecting(move |payload| match payload {
            Payload::Auth(auth) if !right => Some(Payload::Auth(Auth { data: vec![1; auth.data.len()], ..auth })),
            Payload::IdResponder(_) | Payload::Auth(_) => Some(payload),
            _ => None,
        }));
        pair.acquire(A, 1);
        pair.run(SECOND);
        let shown = pair.shown(A);
        assert!(shown.contains(&"IKE_AUTH response 1: IDr AUTH N(REDIR)".to_owned()), "{shown:?}");
        if right {
            assert_eq!(redirected(&pair), [(B.address(), other())]);
            assert!(shown.iter().any(|line| line == "INFORMATIONAL request 2: D"), "{shown:?}");
            assert_eq!((remote(&mut pair), pair.established(A), pair.installed(A)), (vec![other()], 1, 1));
            assert!(pair.failures(A).is_empty());
        } else {
            assert!(redirected(&pair).is_empty());
            assert_eq!(pair.established(A), 0);
        }
    }
}

/// The gateway sends a user elsewhere before EAP: no IKE SA has come about, and none is deleted.
#[test]
fn a_user_is_sent_elsewhere_before_eap() {
    use ike_crypto::eap::{EapClient, EapIdentity, EapServer, PasswordMethod, Users};
    let [mut a, mut b] = configs();
    let secret = || Secret::copy_from(b"wonderland");
    let client = EapClient::new(PasswordMethod::Mschapv2, Some("alice".into()), std::sync::Arc::new(secret()));
    a.connections[0].local_auth = ike::config::LocalAuth::Eap(std::sync::Arc::new(client));
    let mut users = Users::default();
    users.add("alice".into(), secret());
    let server = EapServer::new(PasswordMethod::Mschapv2, EapIdentity::Any, std::sync::Arc::new(users));
    b.connections[0].remote_auth = RemoteAuth::Eap(std::sync::Arc::new(server));
    let mut pair = pair([a, b]);
    pair.tamper = Some(redirecting(|payload| (!matches!(payload, Payload::Eap(_))).then_some(payload)));
    pair.acquire(A, 1);
    pair.run(3 * SECOND);
    let shown = pair.shown(A);
    assert!(shown.contains(&"IKE_AUTH response 1: IDr AUTH N(REDIR)".to_owned()), "{shown:?}");
    assert_eq!((remote(&mut pair), pair.established(A), pair.installed(A)), (vec![other()], 1, 1));
    assert!(!shown.iter().any(|line| line.ends_with(": D")), "{shown:?}");
    assert!(pair.failures(A).is_empty(), "{:?}", pair.failures(A));
}
