//! Stories that people wrote: each tells what has broken other implementations of IKEv1. They stand in the corpus under their names;
//! `UPDATE_SNAPSHOTS=1 cargo test -p ike --test decrypted_v1` writes them anew.

use std::fs;

use ike_wire::v1::{
    AttributeType, Chain, Delete, Identification, Notify, NotifyType, Payload, Proposal, Protocol, Sa, Transform, emit_payloads,
};
use ike_wire::{Attribute, AttributeValue};

use super::CORPUS;
use super::story::pair::Pair;
use super::story::pair::Side::{self, A, B};
use super::story::{COOKIES, play};

/// The octets of a story, step by step.
#[derive(Default)]
struct Tale(Vec<u8>);

/// The bit of whom a step concerns.
const fn of(side: Side) -> u8 {
    match side {
        A => 0,
        B => 0x80,
    }
}

/// No payload of the body is authentic.
const NO_HASH: u8 = 0x20;
/// The message says that it is not encrypted.
const CLEAR: u8 = 0x40;

impl Tale {
    /// Both phases, begun by A.
    fn connected() -> Self {
        Self(vec![0, 1, 4, 3])
    }

    /// The same in aggressive mode.
    fn connected_aggressively() -> Self {
        Self([&[7, 0x40][..], &Self::connected().0].concat())
    }

    /// Time passes: 0.8 s.
    fn then(mut self) -> Self {
        self.0.extend([4, 3]);
        self
    }

    /// To `side` its peer says `body`, in an exchange (see `Story::header`) with a Message ID.
    fn says(mut self, side: Side, manner: u8, (exchange, message_id): (u8, u8), (first, body): (u8, &[u8])) -> Self {
        self.0.extend([12, of(side) | manner, exchange, first, message_id, u8::try_from(body.len()).unwrap()]);
        self.0.extend(body);
        self
    }

    fn says_payloads(self, side: Side, exchange: (u8, u8), payloads: &[Payload]) -> Self {
        let Chain { first, octets } = emit_payloads(payloads).unwrap();
        self.says(side, 0, exchange, (first.0, &octets))
    }

    /// To `side` comes again what was sent `back` messages ago, changed so (see `Story::again`).
    fn again(mut self, side: Side, change: u8, (back, message_id): (u8, u8)) -> Self {
        self.0.extend([10, of(side) | change, back, message_id]);
        self
    }

    /// To `side` comes part `number` of 64 octets of what was sent `back` messages ago (see `Story::fragment`).
    fn fragment(mut self, side: Side, change: u8, back: u8, number: u8) -> Self {
        self.0.extend([11, of(side) | change, back, number]);
        self
    }

    /// With this octet in this place, where `change` counts one.
    fn put(mut self, at: u8, octet: u8) -> Self {
        self.0.extend([at, octet]);
        self
    }
}

const INFORMATIONAL: u8 = 3;
const QUICK: u8 = 5;

/// Quick mode as A begins it, but for what is wrong with it.
fn quick_mode(transform: Transform, ids: [Payload; 2]) -> Vec<Payload> {
    let proposal = Proposal { number: 1, protocol: Protocol::ESP, spi: vec![0xcc, 0, 0, 1], transforms: vec![transform] };
    let [local, remote] = ids;
    vec![Payload::Sa(Sa { proposals: vec![proposal] }), Payload::Nonce(vec![0x40; 16]), local, remote]
}

fn transform(id: u8, attributes: &[(AttributeType, u16)]) -> Transform {
    let attributes = [(AttributeType::ENCAPSULATION_MODE, 1)].iter().chain(attributes);
    Transform {
        number: 1,
        id,
        attributes: attributes.map(|(kind, value)| Attribute { kind: kind.0, value: AttributeValue::Short(*value) }).collect(),
    }
}

fn aes_cbc() -> Transform {
    transform(12, &[(AttributeType::KEY_LENGTH, 128), (AttributeType::AUTHENTICATION, 5)])
}

fn subnets() -> [Payload; 2] {
    ["10.1.0.0/16", "10.2.0.0/16"].map(|net| Payload::Identification(Identification::of_selector(&net.parse().unwrap()).unwrap()))
}

fn informational(payloads: &[Payload]) -> Tale {
    Tale::connected().says_payloads(B, (INFORMATIONAL, 1), payloads)
}

fn installed(pair: &mut Pair) -> [usize; 2] {
    [A, B].map(|side| pair.installed(side))
}

/// A story, and what must come of it.
struct Named {
    name: &'static str,
    tale: Tale,
    outcome: Box<dyn Fn(&mut Pair)>,
}

fn named(name: &'static str, tale: Tale, outcome: impl Fn(&mut Pair) + 'static) -> Named {
    Named { name, tale, outcome: Box::new(outcome) }
}

/// What is there stays, and no more comes.
fn undisturbed(pair: &mut Pair) {
    assert_eq!((installed(pair), pair.established(A), pair.established(B)), ([1, 1], 1, 1));
}

/// B has said so often why it refuses something; else nothing has happened.
fn refused(times: usize, with: &'static str) -> impl Fn(&mut Pair) {
    move |pair| {
        let shown = pair.shown(B);
        assert_eq!(shown.iter().filter(|line| line.ends_with(with)).count(), times, "{shown:?}");
        undisturbed(pair);
    }
}

/// How many messages ago the first one was sent, once both phases are over: after main mode, and after aggressive mode.
const FIRST: u8 = 8;
const FIRST_AGGRESSIVE: u8 = 5;

/// Cookies of the gateway's that come back as a new peer's: where the refusal of a first message left a state without cookies behind, the second found it.
fn cookies() -> Vec<Named> {
    // 59 is the octet of the cipher in the only transform, 18 that of the exchange.
    let first = |change| Tale::connected().again(B, change, (FIRST, 0));
    let aggressive = |change| Tale::connected_aggressively().again(B, change, (FIRST_AGGRESSIVE, 0));
    let aggressive_refused = aggressive(0x11).put(59, 0x7f).again(B, 0x11, (FIRST_AGGRESSIVE + 1, 0)).put(59, 0x7f).then();
    let unknown_cipher = first(0x11).put(59, 0x7f).again(B, 0x11, (FIRST + 1, 0)).put(59, 0x7f).then();
    vec![
        named("main-mode-from-the-responders-cookie", first(0x10).then(), |pair| {
            let answers = pair.shown(B).iter().filter(|line| *line == "Main Mode: SA V V V").count();
            assert_eq!((answers, pair.ike_sas(B).len()), (2, 1), "it is a peer like any other, and does not go on");
            undisturbed(pair);
        }),
        named("main-mode-from-the-responders-cookie-refused", unknown_cipher, refused(2, "N(NO-PROPOSAL-CHOSEN)")),
        named("main-mode-as-if-aggressive", first(0x11).put(18, 4).then(), undisturbed),
        named("aggressive-mode-from-the-responders-cookie", aggressive(0x10).then(), |pair| {
            let answers = pair.shown(B).iter().filter(|line| line.starts_with("Aggressive Mode: SA KE No ID HASH")).count();
            assert_eq!((answers, pair.ike_sas(B).len()), (2, 1), "{:?}", pair.shown(B));
            undisturbed(pair);
        }),
        named("aggressive-mode-from-the-responders-cookie-refused", aggressive_refused, refused(2, "N(NO-PROPOSAL-CHOSEN)")),
    ]
}

fn quick_modes() -> Vec<Named> {
    let id = |id_type, data: &[u8]| Payload::Identification(Identification { id_type, protocol: 0, port: 0, data: data.to_vec() });
    let asks = |tale: Tale, message_id, transform, ids| tale.says_payloads(B, (QUICK, message_id), &quick_mode(transform, ids));
    let [_, remote] = subnets();
    let with_id = |id| asks(Tale::connected(), 1, aes_cbc(), [id, remote.clone()]);
    let gmac = |tale, message_id, attributes: &[_]| asks(tale, message_id, transform(23, attributes), subnets());
    let without_key = gmac(gmac(Tale::connected(), 1, &[]), 2, &[(AttributeType::KEY_LENGTH, 0)]);
    vec![
        named("quick-mode-as-it-should-be", asks(Tale::connected(), 1, aes_cbc(), subnets()), |pair| {
            assert!(pair.shown(B).iter().any(|line| line == "Quick Mode 00000001: HASH SA No ID ID"), "{:?}", pair.shown(B));
        }),
        named("quick-mode-identification-of-unknown-type", with_id(id(0xee, &[1; 8])), refused(1, "N(INVALID-ID-INFORMATION)")),
        named("quick-mode-identification-too-short", with_id(id(4, &[10, 1])), refused(1, "N(INVALID-ID-INFORMATION)")),
        named("gmac-without-key-length", without_key, refused(2, "N(NO-PROPOSAL-CHOSEN)")),
    ]
}

fn informational_exchanges() -> Vec<Named> {
    let delete = |protocol, spis: &[&[u8]]| Payload::Delete(Delete::new(protocol, spis.iter().map(|spi| spi.to_vec()).collect()));
    let probe = |kind, data: &[u8]| Payload::Notify(Notify::new(Protocol::ISAKMP, COOKIES.to_vec(), kind, data.to_vec()));
    let phase_1 = |count: usize| delete(Protocol::ISAKMP, &vec![&COOKIES[..]; count]);
    // A receives on it.
    let child = |count: usize| delete(Protocol::ESP, &vec![&[0xa0, 0, 0, 1][..]; count]);
    let no_spis = [delete(Protocol::ESP, &[&[1; 2], &[2; 2]]), delete(Protocol::ISAKMP, &[&[1; 3]]), delete(Protocol(77), &[&[1; 100]])];
    vec![
        named(
            "delete-repeated-of-the-ike-sa",
            informational(&[phase_1(2), phase_1(1)]).says_payloads(B, (INFORMATIONAL, 2), &[phase_1(1)]),
            |pair| {
                assert_eq!((pair.ike_sas(B).len(), pair.installed(B)), (0, 0));
            },
        ),
        named(
            "delete-repeated-of-a-child-sa",
            informational(&[child(2), child(1)]).says_payloads(B, (INFORMATIONAL, 2), &[child(1)]),
            |pair| {
                assert_eq!((installed(pair), pair.established(B)), ([1, 0], 1));
            },
        ),
        named("delete-of-what-is-no-spi", informational(&no_spis), undisturbed),
        named(
            "dead-peer-detection-without-a-number",
            informational(&[probe(NotifyType::R_U_THERE, &[]), probe(NotifyType::R_U_THERE_ACK, &[1; 5])]),
            undisturbed,
        ),
        // Nothing comes of them but lines in the trace.
        named(
            "malformed-and-only-shown",
            Tale::connected()
                .says(B, CLEAR | NO_HASH, (INFORMATIONAL, 1), (1, &[0, 0, 0, 3]))
                .says(B, NO_HASH, (7, 1), (132, &[8, 0, 0, 4, 0, 0, 255, 255]))
                .says(B, CLEAR | NO_HASH, (0, 0), (1, &[1, 0, 0, 8, 0, 0, 0, 1]))
                .says(A, CLEAR | NO_HASH, (1, 0), (11, &[]))
                .then(),
            undisturbed,
        ),
    ]
}

fn fragments() -> Vec<Named> {
    const QUICK_MODE_1: u8 = 2;
    const NOT_AS_THE_LAST_SHOULD: u8 = 0x40;
    // Of the first message of quick mode, which its receiver has answered: the answer comes again.
    let answered_again = |pair: &mut Pair| {
        let messages = pair.sent.iter().map(|sent| &sent.datagram.payload);
        let answers = messages.filter(|message| message[18] == 32 && message[28..].len() > 100).count();
        assert_eq!((installed(pair), answers), ([1, 1], 2));
    };
    let all = |tale: Tale| (1..=3).fold(tale, |tale, number| tale.fragment(B, 0, QUICK_MODE_1, number));
    vec![
        named("fragments-of-quick-mode", all(Tale::connected()), answered_again),
        named("fragment-with-number-0", Tale::connected().fragment(B, NOT_AS_THE_LAST_SHOULD, QUICK_MODE_1, 0), undisturbed),
        named(
            "fragment-with-last-number-1-of-3",
            all(Tale::connected()).fragment(B, 0, QUICK_MODE_1, 3).fragment(B, NOT_AS_THE_LAST_SHOULD, QUICK_MODE_1, 1),
            undisturbed,
        ),
    ]
}

#[test]
fn what_has_broken_others_ends_as_it_must() {
    for Named { name, tale: Tale(octets), outcome } in
        [cookies(), quick_modes(), informational_exchanges(), fragments()].into_iter().flatten()
    {
        let file = format!("{CORPUS}/{name}");
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&file, &octets).unwrap();
        }
        assert!(fs::read(&file).is_ok_and(|kept| kept == octets), "{name} is not in the corpus as it is told here");
        eprintln!("{name}");
        outcome(&mut play(&octets));
    }
}
