//! The state machine of IKEv1 as a table: every state, every message, what is sent and what is left afterwards. `transitions_v1.snap` is the table;
//! `UPDATE_SNAPSHOTS=1 cargo test -p ike --test transitions_v1` writes it anew, and what has changed is to be read before it is kept.
//!
//! Nothing is encrypted and every hash is the same (`pair/clear.rs`), so that the peer's part can be written by hand.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Connection, RemoteAuth, Version};
use ike::io::{Datagram, Input};
use ike_wire::Attribute;
use ike_wire::v1::{
    AttributeType, AttributeValue, Attributes, ConfigurationType, Delete, ExchangeType, Flags, Fragment, Header, Identification, Message,
    Notify, NotifyType, OakleyAttribute, Payload, Proposal, Protocol, Sa, TransactionAttribute, TransactionAttributeType, Transform,
    describe, parse_padded,
};
use ipsec_types::KeyKind;
use pair::Side::{A, B};
use pair::clear::{self, HASH};
use pair::signing::{FakeVerifier, NAMES, credential};
use pair::table::{self, State};
use pair::users::{PASSWORD, USER, ask_for_user, give_address};
use pair::{Network, Pair, Side, config, esp, lab, net};

const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/transitions_v1.snap");
const SECOND: Duration = Duration::from_secs(1);
/// Half of the way from one side to the other, which takes 10 ms.
const HALF: Duration = Duration::from_millis(5);

/// Attached and configured, nothing else.
fn fresh_as(change: impl Fn(Side, &mut Connection)) -> Pair {
    let [a, b] = [A, B].map(|side| {
        let mut config = config(side);
        let connection = &mut config.connections[0];
        connection.version = Version::V1;
        connection.proposals = vec!["aes128-sha256-modp2048".parse().unwrap()];
        connection.children[0].proposals = vec![esp("aes128-sha256")];
        change(side, connection);
        config
    });
    Pair::with(clear::provider_v1(), Network::GOOD, 7, a, b)
}

/// Children are set up with a key exchange of their own, or without.
fn fresh_with(esp_proposal: &str, dpd_delay: Option<Duration>) -> Pair {
    fresh_as(|_, connection| {
        connection.dpd_delay = dpd_delay;
        connection.children[0].proposals = vec![esp(esp_proposal)];
    })
}

/// Aggressive mode is begun and answered.
fn aggressive() -> Pair {
    fresh_as(|_, connection| connection.aggressive = true)
}

/// Both sides sign.
fn signing() -> Pair {
    fresh_as(|side, connection| {
        let name = NAMES[side as usize];
        connection.local_auth = credential(name, name, KeyKind::Rsa);
        connection.remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier));
    })
}

/// A shows its user after phase 1, and has an address from B, which it asks for or not.
fn with_user(pull: bool) -> Pair {
    fresh_as(|side, connection| {
        ask_for_user(connection, side);
        give_address(connection, side, pull);
    })
}

fn fresh() -> Pair {
    fresh_with("aes128-sha256", None)
}

fn established(mut pair: Pair) -> Pair {
    pair.acquire(A, 1);
    pair.run(SECOND);
    assert_eq!((pair.installed(A), pair.installed(B)), (1, 1));
    pair
}

fn connected() -> Pair {
    established(fresh())
}

/// With perfect forward secrecy.
fn connected_with_pfs() -> Pair {
    established(fresh_with("aes128-sha256-modp2048", None))
}

fn then(mut pair: Pair, steps: impl FnOnce(&mut Pair)) -> Pair {
    steps(&mut pair);
    pair
}

/// So far into phase 1, which A begins.
fn into(pair: Pair, halves: u32) -> Pair {
    then(pair, |pair| {
        pair.acquire(A, 1);
        pair.run(halves * HALF);
    })
}

/// The same in main mode with a shared key.
fn begun(halves: u32) -> Pair {
    into(fresh(), halves)
}

/// The same, and what comes to this side from then on keeps it busy.
fn busy(pair: Pair, halves: u32, side: Side) -> Pair {
    then(into(pair, halves), |pair| {
        pair.idle = Some(side);
        pair.run(2 * HALF);
    })
}

/// What the side under test is in the middle of.
const STATES: &[State] = &[
    ("nobody", B, fresh),
    ("initiator, waits for SA", A, || begun(0)),
    ("initiator, makes its key pair", A, || {
        then(begun(0), |pair| {
            pair.idle = Some(A);
            pair.run(5 * HALF);
        })
    }),
    ("initiator, waits for KE", A, || begun(5)),
    ("initiator, computes the shared secret", A, || {
        then(begun(5), |pair| {
            pair.idle = Some(A);
            pair.run(4 * HALF);
        })
    }),
    ("initiator, waits for ID", A, || begun(9)),
    ("responder, waits for KE", B, || begun(3)),
    ("responder, computes the shared secret", B, || {
        then(begun(3), |pair| {
            pair.idle = Some(B);
            pair.run(4 * HALF);
        })
    }),
    ("responder, waits for ID", B, || begun(7)),
    ("initiator, checks the responder's signature", A, || busy(signing(), 11, A)),
    ("responder, checks the initiator's signature", B, || busy(signing(), 9, B)),
    ("nobody, but aggressive mode is answered", B, aggressive),
    ("initiator of aggressive mode, makes its key pair", A, || {
        then(aggressive(), |pair| {
            pair.idle = Some(A);
            pair.acquire(A, 1);
        })
    }),
    ("initiator of aggressive mode, waits for the answer", A, || into(aggressive(), 1)),
    ("initiator of aggressive mode, computes the shared secret", A, || busy(aggressive(), 3, A)),
    ("responder of aggressive mode, computes the shared secret", B, || busy(aggressive(), 1, B)),
    ("responder of aggressive mode, waits for the proof", B, || into(aggressive(), 3)),
    ("asks for a user", B, || into(with_user(true), 13)),
    ("waits to be asked for its user", A, || into(with_user(true), 12)),
    ("has said who its user is", A, || into(with_user(true), 14)),
    ("has said that the user is believed", B, || into(with_user(true), 15)),
    ("asks for an address", A, || into(with_user(true), 17)),
    ("waits for an address", A, || into(with_user(false), 17)),
    ("gives an address", B, || into(with_user(false), 18)),
    ("established with a user and an address, as responder", B, || established(with_user(true))),
    ("established by aggressive mode, as responder", B, || established(aggressive())),
    ("established, as initiator", A, connected),
    ("established, as responder", B, connected),
    ("asks for a sign of life", A, || {
        then(established(fresh_with("aes128-sha256", Some(10 * SECOND))), |pair| pair.run(9 * SECOND + 20 * HALF))
    }),
    ("begins quick mode, makes its key pair", A, || {
        then(connected_with_pfs(), |pair| {
            pair.idle = Some(A);
            pair.rekey(A, net());
        })
    }),
    ("begins quick mode, waits for the answer", A, || {
        then(connected(), |pair| {
            pair.rekey(A, net());
            pair.run(HALF);
        })
    }),
    ("begins quick mode, computes the shared secret", A, || {
        then(connected_with_pfs(), |pair| {
            pair.rekey(A, net());
            pair.idle = Some(A);
            pair.run(5 * HALF);
        })
    }),
    ("begins quick mode, waits for the data plane", A, || {
        then(connected(), |pair| {
            pair.gateway(A).data_plane.silent = true;
            pair.rekey(A, net());
            pair.run(SECOND);
        })
    }),
    ("answers quick mode, computes the shared secret", B, || {
        then(connected_with_pfs(), |pair| {
            pair.idle = Some(B);
            pair.rekey(A, net());
            pair.run(3 * HALF);
        })
    }),
    ("answers quick mode, waits for the data plane", B, || {
        then(connected(), |pair| {
            pair.gateway(B).data_plane.silent = true;
            pair.rekey(A, net());
            pair.run(SECOND);
        })
    }),
    ("answers quick mode, waits for the third message", B, || {
        then(connected(), |pair| {
            pair.rekey(A, net());
            pair.run(3 * HALF);
        })
    }),
    ("begins another phase 1, waits for SA", A, || {
        then(connected(), |pair| {
            pair.rekey(A, lab());
            pair.run(HALF);
        })
    }),
    ("has another phase 1, whose initiator will delete the first", B, || {
        then(connected(), |pair| {
            pair.rekey(A, lab());
            pair.run(11 * HALF);
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
    MainSa,
    MainKe,
    MainId,
    AggressiveFirst,
    AggressiveSecond,
    AggressiveThird,
    QuickFirst,
    QuickSecond,
    QuickThird,
    DeleteChild,
    DeleteUnknown,
    DeleteIkeSa,
    Notify(NotifyType),
    Fragment,
    /// What is asked or told in one.
    Transaction(ConfigurationType, TransactionAttributeType),
    Other(ExchangeType),
}

const KINDS: &[(&str, Kind)] = &[
    ("Main Mode SA", Kind::MainSa),
    ("Main Mode KE", Kind::MainKe),
    ("Main Mode ID", Kind::MainId),
    ("Aggressive Mode first", Kind::AggressiveFirst),
    ("Aggressive Mode second", Kind::AggressiveSecond),
    ("Aggressive Mode third", Kind::AggressiveThird),
    ("Quick Mode first", Kind::QuickFirst),
    ("Quick Mode second", Kind::QuickSecond),
    ("Quick Mode third", Kind::QuickThird),
    ("delete Child SA", Kind::DeleteChild),
    ("delete unknown SA", Kind::DeleteUnknown),
    ("delete IKE SA", Kind::DeleteIkeSa),
    ("R-U-THERE", Kind::Notify(NotifyType::R_U_THERE)),
    ("R-U-THERE-ACK", Kind::Notify(NotifyType::R_U_THERE_ACK)),
    ("INITIAL-CONTACT", Kind::Notify(NotifyType::INITIAL_CONTACT)),
    ("NO-PROPOSAL-CHOSEN", Kind::Notify(NotifyType::NO_PROPOSAL_CHOSEN)),
    ("INVALID-ID-INFORMATION", Kind::Notify(NotifyType::INVALID_ID_INFORMATION)),
    ("other notification", Kind::Notify(NotifyType(40_000))),
    ("one fragment of two", Kind::Fragment),
    ("Transaction without Attributes", Kind::Other(ExchangeType::TRANSACTION)),
    ("question for a user", Kind::Transaction(ConfigurationType::REQUEST, TransactionAttributeType::XAUTH_USER_NAME)),
    ("a user", Kind::Transaction(ConfigurationType::REPLY, TransactionAttributeType::XAUTH_USER_NAME)),
    ("the user is believed", Kind::Transaction(ConfigurationType::SET, TransactionAttributeType::XAUTH_STATUS)),
    ("it has heard that", Kind::Transaction(ConfigurationType::ACK, TransactionAttributeType::XAUTH_STATUS)),
    ("question for an address", Kind::Transaction(ConfigurationType::REQUEST, TransactionAttributeType::IP4_ADDRESS)),
    ("an address asked for", Kind::Transaction(ConfigurationType::REPLY, TransactionAttributeType::IP4_ADDRESS)),
    ("an address given", Kind::Transaction(ConfigurationType::SET, TransactionAttributeType::IP4_ADDRESS)),
    ("an address taken", Kind::Transaction(ConfigurationType::ACK, TransactionAttributeType::IP4_ADDRESS)),
    ("New Group Mode", Kind::Other(ExchangeType::NEW_GROUP_MODE)),
    ("unknown exchange", Kind::Other(ExchangeType(77))),
];

/// How it arrives: encrypted or not as it should be, and with its hash; under a Message ID of the peer's, or that of the last quick mode or transaction; and what may
/// be wrong with it.
const MANNERS: &[&str] = &["as it should be", "in the last exchange", "wrongly encrypted", "wrong hash", "other responder cookie"];

/// The first IKE SA of the side under test, as its messages name it.
struct Names {
    cookies: (u64, u64),
    last: u32,
    /// The SPI of its first Child SA that the peer receives on.
    outbound: u32,
}

impl Names {
    fn of(pair: &mut Pair, side: Side) -> Self {
        let headers: Vec<Header> = pair.sent.iter().map(|sent| Message::parse(&sent.datagram.payload).unwrap().header).collect();
        let cookies = headers.first().map_or((1, 0), |first| {
            let of_first = headers.iter().filter(|header| header.initiator_cookie == first.initiator_cookie);
            (first.initiator_cookie, of_first.map(|header| header.responder_cookie).find(|cookie| *cookie != 0).unwrap_or(0))
        });
        let is_of_phase_2 = |header: &&Header| matches!(header.exchange, ExchangeType::QUICK_MODE | ExchangeType::TRANSACTION);
        let last = headers.iter().rfind(is_of_phase_2).map_or(0x77, |header| header.message_id);
        let child = pair.ike_sas(side).into_iter().flat_map(|sa| sa.children).next();
        Self { cookies, last, outbound: child.map_or(0xeeee_0001, |child| child.outbound_spi.value()) }
    }
}

fn sa(protocol: Protocol, spi: &[u8], id: u8, attributes: &[(u16, u16)]) -> Payload {
    let attributes = attributes.iter().map(|(kind, value)| Attribute { kind: *kind, value: AttributeValue::Short(*value) }).collect();
    let proposal = Proposal { number: 1, protocol, spi: spi.to_vec(), transforms: vec![Transform { number: 1, id, attributes }] };
    Payload::Sa(Sa { proposals: vec![proposal] })
}

fn payloads(kind: Kind, names: &Names, side: Side) -> Vec<Payload> {
    let delete = |protocol, spi: &[u8]| vec![Payload::Delete(Delete::new(protocol, vec![spi.to_vec()]))];
    let cookies = [names.cookies.0, names.cookies.1].map(u64::to_be_bytes).concat();
    let nonce = Payload::Nonce(vec![0x40; 32]);
    let offer = || {
        let suite = [
            (OakleyAttribute::ENCRYPTION, 7),
            (OakleyAttribute::KEY_LENGTH, 128),
            (OakleyAttribute::HASH, 4),
            (OakleyAttribute::GROUP, 14),
            (OakleyAttribute::AUTHENTICATION_METHOD, 1),
        ];
        sa(Protocol::ISAKMP, &[], Transform::KEY_IKE, &suite.map(|(kind, value)| (kind.0, value)))
    };
    let id = || Payload::Identification(Identification::from(&config(side.other()).connections[0].local_identity));
    let hash = || Payload::Hash(HASH.to_vec());
    let public = || Payload::KeyExchange(vec![9; 32]);
    match kind {
        Kind::MainSa => vec![offer()],
        Kind::MainKe => vec![public(), nonce],
        Kind::MainId => vec![id(), hash()],
        Kind::AggressiveFirst => vec![offer(), public(), nonce, id()],
        Kind::AggressiveSecond => vec![offer(), public(), nonce, id(), hash()],
        Kind::AggressiveThird => vec![hash()],
        Kind::QuickFirst | Kind::QuickSecond => {
            let suite = [(AttributeType::ENCAPSULATION_MODE, 1), (AttributeType::AUTHENTICATION, 5), (AttributeType::KEY_LENGTH, 128)];
            let offer = sa(Protocol::ESP, &0xcccc_0001_u32.to_be_bytes(), 12, &suite.map(|(kind, value)| (kind.0, value)));
            // The initiator's network first: the peer's in a first message.
            let from_peer = matches!(kind, Kind::QuickFirst) == (side == B);
            let nets = if from_peer { ["10.1.0.0/16", "10.2.0.0/16"] } else { ["10.2.0.0/16", "10.1.0.0/16"] };
            let ids = nets.map(|net| Payload::Identification(Identification::of_selector(&net.parse().unwrap()).unwrap()));
            [offer, nonce].into_iter().chain(ids).collect()
        }
        Kind::QuickThird | Kind::Other(_) => vec![],
        Kind::DeleteChild => delete(Protocol::ESP, &names.outbound.to_be_bytes()),
        Kind::DeleteUnknown => delete(Protocol::ESP, &[0xdd; 4]),
        Kind::DeleteIkeSa => delete(Protocol::ISAKMP, &cookies),
        Kind::Notify(kind) => vec![Payload::Notify(Notify::new(Protocol::ISAKMP, cookies, kind, vec![0, 0, 0, 1]))],
        Kind::Transaction(kind, about) => {
            let of = |what, octets: &[u8]| TransactionAttribute::long(what, octets.to_vec());
            let attributes = match (kind, about) {
                (ConfigurationType::REPLY, TransactionAttributeType::XAUTH_USER_NAME) => {
                    vec![of(about, USER.as_bytes()), of(TransactionAttributeType::XAUTH_USER_PASSWORD, PASSWORD)]
                }
                (_, TransactionAttributeType::XAUTH_USER_NAME) => {
                    [about, TransactionAttributeType::XAUTH_USER_PASSWORD].map(TransactionAttribute::empty).to_vec()
                }
                (ConfigurationType::SET, TransactionAttributeType::XAUTH_STATUS) => vec![TransactionAttribute::short(about, 1)],
                (ConfigurationType::REPLY | ConfigurationType::SET, _) => vec![of(about, &[10, 3, 0, 9])],
                _ => vec![TransactionAttribute::empty(about)],
            };
            vec![Payload::Attributes(Attributes { kind, identifier: 7, attributes })]
        }
        Kind::Fragment => vec![Payload::Fragment(Fragment { id: 1, number: 1.try_into().unwrap(), last: false, data: vec![7; 40] })],
    }
}

fn exchange(kind: Kind) -> ExchangeType {
    match kind {
        Kind::MainSa | Kind::MainKe | Kind::MainId | Kind::Fragment => ExchangeType::MAIN_MODE,
        Kind::AggressiveFirst | Kind::AggressiveSecond | Kind::AggressiveThird => ExchangeType::AGGRESSIVE_MODE,
        Kind::QuickFirst | Kind::QuickSecond | Kind::QuickThird => ExchangeType::QUICK_MODE,
        Kind::DeleteChild | Kind::DeleteUnknown | Kind::DeleteIkeSa | Kind::Notify(_) => ExchangeType::INFORMATIONAL,
        Kind::Transaction(..) => ExchangeType::TRANSACTION,
        Kind::Other(exchange) => exchange,
    }
}

fn message(kind: Kind, manner: &str, names: &Names, side: Side) -> Vec<u8> {
    let in_clear = matches!(kind, Kind::MainSa | Kind::MainKe | Kind::AggressiveFirst | Kind::AggressiveSecond | Kind::Fragment);
    let of_phase_1 = in_clear || matches!(kind, Kind::MainId | Kind::AggressiveThird);
    let message_id = match manner {
        "in the last exchange" => names.last,
        _ if of_phase_1 => 0,
        _ => 0x0707_0707,
    };
    let (initiator, mut responder) = names.cookies;
    if manner == "other responder cookie" {
        responder ^= 1;
    } else if responder == 0 && side == A {
        // The answer to a first message chooses one.
        responder = 0xbbbb_bbbb_0000_0001;
    }
    let encryption = in_clear == (manner == "wrongly encrypted");
    let header = Header::new(initiator, responder, exchange(kind), Flags { encryption, ..Flags::default() }, message_id);
    let mut payloads = payloads(kind, names, side);
    let wrong = manner == "wrong hash";
    if let Some(Payload::Hash(hash)) = payloads.last_mut().filter(|_| wrong) {
        hash[0] ^= 1;
    }
    let hash = if wrong { [0; HASH.len()] } else { HASH };
    clear::message_v1(&header, (!of_phase_1).then_some(&hash[..]), &payloads)
}

/// Such as `Quick Mode: HASH SA No ID ID`; Message IDs of ours are random.
fn shown(octets: &[u8]) -> String {
    let message = Message::parse(octets).unwrap();
    let (payloads, _) = parse_padded(message.first, message.body).unwrap();
    let names: Vec<String> = payloads.iter().map(describe::short_name).collect();
    format!("{}: {}", message.header.exchange, names.join(" "))
}

#[test]
fn every_message_in_every_state_has_a_defined_answer() {
    let table = table::table(STATES, KINDS, MANNERS, |pair, side, kind, manner| {
        let names = Names::of(pair, side);
        let payload = message(kind, manner, &names, side);
        let already = pair.sent.len();
        let [local, remote] = [side, side.other()].map(|side| SocketAddr::new(side.address(), 500));
        pair.input(side, Input::Datagram(Datagram { local, remote, payload }));
        pair.sent[already..].iter().map(|sent| shown(&sent.datagram.payload)).collect()
    });
    table::is_kept(SNAPSHOT, &table);
}
