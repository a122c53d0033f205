//! The state machine as a table: every state, every message, the answer and what is left afterwards. `transitions.snap` is the table;
//! `UPDATE_SNAPSHOTS=1 cargo test -p ike --test transitions` writes it anew, and what has changed is to be read before it is kept.
//!
//! Messages are protected with a suite that encrypts nothing and whose ICV is always the same, so that the peer's part can be written by hand.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::time::Duration;

use ike::config::{LocalAuth, LocalRound, RemoteAuth, RemoteRound};
use ike::io::{Datagram, Input, Record};
use ike_wire::{
    Auth, AuthMethod, Delete, ExchangeType, Flags, Header, Identification, KeyExchange, Message, Nonce, Notify, NotifyType, Payload,
    Proposal, Protocol, Sa, TrafficSelectors, Version, parse_payloads,
};
use ipsec_types::{IkeSpi, KeyExchangeMethod, Spi};
use pair::Side::{A, B};
use pair::clear::{self, Clear};
use pair::table::{self, State};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions.snap");
const SECOND: Duration = Duration::from_secs(1);
const SUITE: Clear = Clear(b"ICV!");
/// Half of the way from one side to the other, which takes 10 ms.
const HALF: Duration = Duration::from_millis(5);

/// Attached and configured, nothing else; the children may do a key exchange of their own.
fn fresh() -> Pair {
    fresh_with(None)
}

fn fresh_with(dpd_delay: Option<Duration>) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        config.connections[0].dpd_delay = dpd_delay;
        config.connections[0].children[0].proposals = vec![esp("aes128gcm16"), esp("aes128gcm16-x25519")];
        config
    });
    Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, a, b)
}

/// Each side shows two things (RFC 4739).
fn rounds() -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        let [local, remote] = [side, side.other()].map(|side| format!("{side:?}.host").parse().unwrap());
        config.connections[0].local_more = vec![LocalRound { identity: local, auth: LocalAuth::Psk }];
        config.connections[0].remote_more = vec![RemoteRound { identity: Some(remote), auth: RemoteAuth::Psk }];
        config
    });
    Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, a, b)
}

fn connected() -> Pair {
    let mut pair = fresh();
    pair.connect();
    pair
}

fn then(mut pair: Pair, steps: impl FnOnce(&mut Pair)) -> Pair {
    steps(&mut pair);
    pair
}

/// What the side under test is in the middle of.
const STATES: &[State] = &[
    ("initiator, makes its key pair", A, || {
        then(fresh(), |pair| {
            pair.idle = Some(A);
            pair.acquire(A, 1);
        })
    }),
    ("initiator, waits for IKE_SA_INIT", A, || then(fresh(), |pair| pair.acquire(A, 1))),
    ("initiator, computes the shared secret", A, || {
        then(fresh(), |pair| {
            pair.acquire(A, 1);
            pair.idle = Some(A);
            pair.run(5 * HALF);
        })
    }),
    ("initiator, waits for IKE_AUTH", A, || {
        then(fresh(), |pair| {
            pair.acquire(A, 1);
            pair.run(5 * HALF);
        })
    }),
    ("responder, computes the shared secret", B, || {
        then(fresh(), |pair| {
            pair.idle = Some(B);
            pair.acquire(A, 1);
            pair.run(3 * HALF);
        })
    }),
    ("responder, waits for IKE_AUTH", B, || {
        then(fresh(), |pair| {
            pair.acquire(A, 1);
            pair.run(3 * HALF);
        })
    }),
    ("initiator, waits for IKE_AUTH of a further round", A, || {
        then(rounds(), |pair| {
            pair.acquire(A, 1);
            pair.run(9 * HALF);
        })
    }),
    ("responder, waits for IKE_AUTH of a further round", B, || {
        then(rounds(), |pair| {
            pair.acquire(A, 1);
            pair.run(7 * HALF);
        })
    }),
    ("responder, installs the first Child SA", B, || {
        then(fresh(), |pair| {
            pair.gateway(B).data_plane.silent = true;
            pair.acquire(A, 1);
            pair.run(SECOND);
        })
    }),
    ("established, as initiator", A, connected),
    ("established, as responder", B, connected),
    ("asks for a sign of life", A, || {
        then(fresh_with(Some(10 * SECOND)), |pair| {
            pair.acquire(A, 1);
            pair.run(10 * SECOND + 8 * HALF);
        })
    }),
    ("creates a Child SA", A, || {
        then(connected(), |pair| {
            pair.initiate(A);
            pair.run(HALF);
        })
    }),
    ("rekeys the Child SA, waits for the answer", A, || {
        then(connected(), |pair| {
            pair.rekey(A, net());
            pair.run(HALF);
        })
    }),
    ("rekeys the Child SA, waits for the data plane", A, || {
        then(connected(), |pair| {
            pair.gateway(A).data_plane.silent = true;
            pair.rekey(A, net());
            pair.run(SECOND);
        })
    }),
    ("rekeys the Child SA, as the peer does", A, || {
        then(connected(), |pair| {
            pair.rekey(B, net());
            pair.run(HALF);
            pair.rekey(A, net());
            pair.run(2 * HALF);
        })
    }),
    ("the peer rekeys the Child SA, the data plane has not answered", B, || {
        then(connected(), |pair| {
            pair.gateway(B).data_plane.silent = true;
            pair.rekey(A, net());
            pair.run(SECOND);
        })
    }),
    ("the peer has rekeyed the Child SA, and will delete the old one", B, || {
        then(connected(), |pair| {
            pair.rekey(A, net());
            pair.run(3 * HALF);
        })
    }),
    ("deletes the Child SA", A, || {
        then(connected(), |pair| {
            pair.terminate(A, net());
            pair.run(HALF);
        })
    }),
    ("rekeys the IKE SA, makes its key pair", A, || {
        then(connected(), |pair| {
            pair.idle = Some(A);
            pair.rekey(A, lab());
        })
    }),
    ("rekeys the IKE SA, waits for the answer", A, || {
        then(connected(), |pair| {
            pair.rekey(A, lab());
            pair.run(HALF);
        })
    }),
    ("rekeys the IKE SA, computes the shared secret", A, || {
        then(connected(), |pair| {
            pair.rekey(A, lab());
            pair.idle = Some(A);
            pair.run(5 * HALF);
        })
    }),
    ("rekeys the IKE SA, as the peer does", A, || {
        then(connected(), |pair| {
            pair.rekey(B, lab());
            pair.run(HALF);
            pair.rekey(A, lab());
            pair.run(2 * HALF);
        })
    }),
    ("the peer rekeys the IKE SA, the shared secret is being computed", B, || {
        then(connected(), |pair| {
            pair.idle = Some(B);
            pair.rekey(A, lab());
            pair.run(3 * HALF);
        })
    }),
    ("the peer has rekeyed the IKE SA, and will delete the old one", B, || {
        then(connected(), |pair| {
            pair.rekey(A, lab());
            pair.run(3 * HALF);
        })
    }),
    ("deletes the IKE SA", A, || {
        then(connected(), |pair| {
            pair.terminate(A, lab());
            pair.run(HALF);
        })
    }),
    ("the IKE SA is gone", B, || {
        then(connected(), |pair| {
            pair.terminate(A, lab());
            pair.run(3 * HALF);
        })
    }),
];

/// What arrives.
#[derive(Clone, Copy)]
enum Kind {
    Init,
    Auth,
    AuthWithoutProof,
    NewChild,
    RekeyChild,
    RekeyUnknownChild,
    RekeyIkeSa,
    Refusal(NotifyType),
    Empty,
    DeleteChild,
    DeleteIkeSa,
    Notify(NotifyType),
    UnknownExchange,
}

const KINDS: &[(&str, Kind)] = &[
    ("IKE_SA_INIT", Kind::Init),
    ("IKE_AUTH", Kind::Auth),
    ("IKE_AUTH without AUTH", Kind::AuthWithoutProof),
    ("CREATE_CHILD_SA new", Kind::NewChild),
    ("CREATE_CHILD_SA rekey child", Kind::RekeyChild),
    ("CREATE_CHILD_SA rekey unknown child", Kind::RekeyUnknownChild),
    ("CREATE_CHILD_SA rekey IKE SA", Kind::RekeyIkeSa),
    ("CREATE_CHILD_SA TEMPORARY_FAILURE", Kind::Refusal(NotifyType::TEMPORARY_FAILURE)),
    ("CREATE_CHILD_SA NO_ADDITIONAL_SAS", Kind::Refusal(NotifyType::NO_ADDITIONAL_SAS)),
    ("CREATE_CHILD_SA NO_PROPOSAL_CHOSEN", Kind::Refusal(NotifyType::NO_PROPOSAL_CHOSEN)),
    ("CREATE_CHILD_SA CHILD_SA_NOT_FOUND", Kind::Refusal(NotifyType::CHILD_SA_NOT_FOUND)),
    ("CREATE_CHILD_SA INVALID_KE_PAYLOAD", Kind::Refusal(NotifyType::INVALID_KE_PAYLOAD)),
    ("CREATE_CHILD_SA INVALID_SYNTAX", Kind::Refusal(NotifyType::INVALID_SYNTAX)),
    ("INFORMATIONAL empty", Kind::Empty),
    ("INFORMATIONAL delete child", Kind::DeleteChild),
    ("INFORMATIONAL delete IKE SA", Kind::DeleteIkeSa),
    ("INFORMATIONAL INVALID_SYNTAX", Kind::Notify(NotifyType::INVALID_SYNTAX)),
    ("INFORMATIONAL UNSUPPORTED_CRITICAL_PAYLOAD", Kind::Notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD)),
    ("INFORMATIONAL other notify", Kind::Notify(NotifyType(40_000))),
    ("unknown exchange", Kind::UnknownExchange),
];

/// How it arrives.
const MANNERS: &[&str] = &["request", "response", "request, wrong Message ID", "request, unprotected", "request, corrupted"];

/// The first IKE SA of the side under test, as its messages name it.
struct Names {
    spis: (u64, u64),
    from_initiator: bool,
    next_request: u32,
    outstanding: u32,
    outbound: Spi,
    inbound: Spi,
}

impl Names {
    fn of(pair: &mut Pair, side: Side) -> Self {
        let spis = pair.sent.iter().map(|sent| Header::peek(&sent.datagram.payload).unwrap()).find(|header| header.responder_spi != 0);
        let first = pair.sent.first().map(|sent| Header::peek(&sent.datagram.payload).unwrap().initiator_spi);
        let spis = (first.unwrap_or(1), spis.map_or(0, |header| header.responder_spi));
        let from_initiator = side == B;
        let of_sa = IkeSpi::new(spis.0);
        let ids = |wanted_outbound: bool| {
            let messages = pair.gateways[side as usize].traces.iter().filter(|trace| trace.initiator_spi == of_sa);
            let ids = messages.filter_map(|trace| match &trace.record {
                Record::Message { outbound, title, .. } if *outbound == wanted_outbound && title.contains(" request ") => {
                    title.rsplit(' ').next()?.parse::<u32>().ok()
                }
                _ => None,
            });
            ids.max()
        };
        let (next_request, outstanding) = (ids(false).map_or(0, |id| id + 1), ids(true).unwrap_or(0));
        let first = pair.ike_sas(side).into_iter().flat_map(|sa| sa.children).next();
        let unknown = [0xeeee_0001, 0xeeee_0002].map(|spi| Spi::new(spi).unwrap());
        let [outbound, inbound] = first.map_or(unknown, |child| [child.outbound_spi, child.inbound_spi]);
        Self { spis, from_initiator, next_request, outstanding, outbound, inbound }
    }
}

fn child_offer(spi: Spi, answer: bool, side: Side) -> Vec<Payload> {
    let nets = ["10.1.0.0/16", "10.2.0.0/16"].map(|net| -> TrafficSelectors { [net.parse().unwrap()].into_iter().collect() });
    // The initiator of the exchange is the peer in requests, the side under test in responses.
    let initiator = if answer { side } else { side.other() };
    vec![
        Payload::Sa(Sa::offer([Proposal::child(&esp("aes128gcm16"), spi)])),
        Payload::Nonce(Nonce::new(vec![0x40; 32]).unwrap()),
        Payload::TsInitiator(nets[initiator as usize].clone()),
        Payload::TsResponder(nets[initiator.other() as usize].clone()),
    ]
}

fn payloads(kind: Kind, names: &Names, answer: bool, side: Side) -> (ExchangeType, Vec<Payload>) {
    let new_spi = Spi::new(0xcccc_0001).unwrap();
    let notify = |kind, data: &[u8]| Payload::Notify(Notify::new(kind, data.to_vec()));
    let rekey = |spi| Payload::Notify(Notify::about(Protocol::ESP, spi, NotifyType::REKEY_SA));
    let ike = |spi| {
        vec![
            Payload::Sa(Sa::offer([Proposal::ike(&"aes128gcm16-prfsha256-x25519".parse().unwrap(), spi)])),
            Payload::KeyExchange(KeyExchange::new(KeyExchangeMethod::X25519, vec![9; 32])),
            Payload::Nonce(Nonce::new(vec![0x40; 32]).unwrap()),
        ]
    };
    let esp = |spis: Vec<u32>| Payload::Delete(Delete::ChildSas { protocol: Protocol::ESP, spis });
    match kind {
        Kind::Init => (ExchangeType::IKE_SA_INIT, ike(None)),
        Kind::Auth => {
            // Well-formed, but made without the shared key.
            let id = Identification::from(&config(side.other()).connections[0].local_identity);
            let auth = Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: vec![5; 32] });
            let id = if answer { Payload::IdResponder(id) } else { Payload::IdInitiator(id) };
            let offer = child_offer(new_spi, answer, side).into_iter().filter(|payload| !matches!(payload, Payload::Nonce(_)));
            (ExchangeType::IKE_AUTH, [id, auth].into_iter().chain(offer).collect())
        }
        Kind::AuthWithoutProof => (ExchangeType::IKE_AUTH, child_offer(new_spi, answer, side)),
        Kind::NewChild => (ExchangeType::CREATE_CHILD_SA, child_offer(new_spi, answer, side)),
        Kind::RekeyChild | Kind::RekeyUnknownChild => {
            let old = if matches!(kind, Kind::RekeyChild) { names.outbound } else { Spi::new(0xdddd_0001).unwrap() };
            let mut payloads = child_offer(new_spi, answer, side);
            payloads.insert(0, rekey(old));
            (ExchangeType::CREATE_CHILD_SA, payloads)
        }
        Kind::RekeyIkeSa => (ExchangeType::CREATE_CHILD_SA, ike(IkeSpi::new(0xcccc_cccc_0000_0001))),
        Kind::Refusal(NotifyType::INVALID_KE_PAYLOAD) => {
            (ExchangeType::CREATE_CHILD_SA, vec![notify(NotifyType::INVALID_KE_PAYLOAD, &[0, 19])])
        }
        Kind::Refusal(kind) => (ExchangeType::CREATE_CHILD_SA, vec![notify(kind, &[])]),
        Kind::Empty => (ExchangeType::INFORMATIONAL, vec![]),
        Kind::DeleteChild => (ExchangeType::INFORMATIONAL, vec![esp(vec![if answer { names.inbound } else { names.outbound }.value()])]),
        Kind::DeleteIkeSa => (ExchangeType::INFORMATIONAL, vec![Payload::Delete(Delete::IkeSa)]),
        Kind::Notify(kind) => (ExchangeType::INFORMATIONAL, vec![notify(kind, &[1])]),
        Kind::UnknownExchange => (ExchangeType(77), vec![]),
    }
}

/// The message, or `None` for an IKE_SA_INIT that is to be protected.
fn message(kind: Kind, manner: &str, names: &Names, side: Side) -> Vec<u8> {
    let answer = manner == "response";
    let (exchange, payloads) = payloads(kind, names, answer, side);
    let message_id = match manner {
        "response" => names.outstanding,
        "request, wrong Message ID" => names.next_request + 7,
        _ => names.next_request,
    };
    let flags = Flags { initiator: names.from_initiator, response: answer, version: false };
    let (initiator_spi, mut responder_spi) = names.spis;
    if answer && exchange == ExchangeType::IKE_SA_INIT && responder_spi == 0 {
        responder_spi = 0xbbbb_bbbb_0000_0001;
    }
    let header = Header { initiator_spi, responder_spi, version: Version::V2, exchange, flags, message_id };
    if manner == "request, unprotected" || exchange == ExchangeType::IKE_SA_INIT {
        return Message { header, payloads }.emit().unwrap();
    }
    let mut octets = SUITE.seal(&header, &payloads);
    if manner == "request, corrupted" {
        *octets.last_mut().unwrap() ^= 1;
    }
    octets
}

/// Names of payloads.
fn contents(payload: &[u8]) -> String {
    let message = Message::parse(payload).unwrap();
    let inner = message.encrypted().map(|encrypted| {
        let text = &encrypted.body[..encrypted.body.len() - SUITE.0.len() - 1];
        parse_payloads(encrypted.first, text).unwrap()
    });
    let payloads = inner.unwrap_or(message.payloads);
    payloads.iter().map(ike_wire::describe::short_name).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_message_in_every_state_has_a_defined_answer() {
    let table = table::table(STATES, KINDS, MANNERS, |pair, side, kind, manner| {
        let names = Names::of(pair, side);
        let payload = message(kind, manner, &names, side);
        let already = pair.sent.len();
        let port = if already > 2 { 4500 } else { 500 };
        let [local, remote] = [side, side.other()].map(|side| SocketAddr::new(side.address(), port));
        pair.input(side, Input::Datagram(Datagram { local, remote, payload }));
        let shown = |sent: &Datagram| format!("{}: {}", pair::title(sent), contents(&sent.payload)).trim_end_matches([' ', ':']).to_owned();
        pair.sent[already..].iter().map(|sent| shown(&sent.datagram)).collect()
    });
    table::is_kept(SNAPSHOT, &table);
}
