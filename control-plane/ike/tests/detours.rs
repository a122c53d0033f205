//! What is said again after COOKIE and INVALID_KE_PAYLOAD, and what is new then (RFC 7296 sections 1.2, 1.3, 2.6 and 3.9).
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::time::Duration;

use ike::io::Record;
use ike_wire::{Message, NotifyType, Payload, PayloadType};
use pair::Side::{A, B};
use pair::{Pair, Side, config, esp, net};

const SECOND: Duration = Duration::from_secs(1);

/// The IKE_SA_INIT requests of A.
fn requests(pair: &Pair) -> Vec<Message> {
    let messages = pair.sent.iter().filter(|sent| sent.from == A).map(|sent| Message::parse(&sent.datagram.payload).unwrap());
    messages.filter(|message| message.encrypted().is_none()).collect()
}

/// "The initiator MUST then retry the IKE_SA_INIT request, and include the COOKIE notification containing the received data as the first payload,
/// and all other payloads unchanged" (section 2.6); also where the notification that pretends a NAT was drawn by lot.
#[test]
fn behind_the_cookie_nothing_has_changed() {
    for force_encapsulation in [false, true] {
        let (mut a, mut b) = (config(A), config(B));
        a.connections[0].force_encapsulation = force_encapsulation;
        b.cookie_threshold = 0;
        let mut pair = Pair::new(1, a, b);
        pair.connect();
        let answer = Message::parse(&pair.sent[1].datagram.payload).unwrap();
        let [Payload::Notify(cookie)] = answer.payloads.as_slice() else { panic!("{answer:?}") };
        assert!(cookie.kind == NotifyType::COOKIE && (1..=64).contains(&cookie.data.len()));
        let [first, second] = requests(&pair).try_into().unwrap();
        assert_eq!(second.header, first.header);
        assert_eq!(second.payloads[0], answer.payloads[0]);
        assert_eq!(second.payloads[1..], first.payloads);
    }
}

/// "The initiator MUST again propose its full set of acceptable cryptographic suites" (section 1.2).
#[test]
fn behind_another_method_everything_is_offered_again() {
    let (mut a, mut b) = (config(A), config(B));
    let both = ["aes128gcm16-prfsha256-x25519-ecp256", "aes256-sha384-ecp384"];
    a.connections[0].proposals = both.iter().map(|text| text.parse().unwrap()).collect();
    b.connections[0].proposals = vec!["aes128gcm16-prfsha256-ecp256".parse().unwrap()];
    let mut pair = Pair::new(2, a, b);
    pair.connect();
    let [first, second] = requests(&pair).try_into().unwrap();
    let of_type = |message: &Message, wanted| message.payloads.iter().find(|payload| payload.payload_type() == wanted).cloned().unwrap();
    for payload_type in [PayloadType::SA, PayloadType::NONCE] {
        assert_eq!(of_type(&second, payload_type), of_type(&first, payload_type));
    }
    let method = |message: &Message| if let Payload::KeyExchange(ke) = of_type(message, PayloadType::KE) { ke.method_id } else { 0 };
    assert_eq!((method(&first), method(&second)), (31, 19));
    assert_eq!(second.header, first.header);
}

/// The nonces that a side has sent, as its trace shows them.
fn nonces(pair: &mut Pair, side: Side) -> Vec<String> {
    let messages = pair.gateway(side).traces.iter().filter_map(|trace| match &trace.record {
        Record::Message { outbound: true, payloads, .. } => payloads.iter().find(|payload| payload.name == "No"),
        _ => None,
    });
    messages.map(|payload| format!("{:?}", payload.fields.iter().map(|field| &field.value).collect::<Vec<_>>())).collect()
}

/// What is asked again with another method in CREATE_CHILD_SA is another exchange: "Nonce values MUST NOT be reused" (section 3.9).
#[test]
fn another_exchange_has_a_nonce_of_its_own() {
    let mut pair = Pair::connected(3, |side, config| {
        let proposal = if side == A { "aes128gcm16-x25519-ecp256" } else { "aes128gcm16-ecp256" };
        config.connections[0].children[0].proposals = vec![esp(proposal)];
    });
    pair.rekey(A, net());
    pair.run(SECOND);
    assert_eq!(pair.titles()[..4].iter().filter(|title| title.starts_with("CREATE_CHILD_SA request")).count(), 2);
    let sent = nonces(&mut pair, A);
    assert_eq!(sent.len(), 2);
    assert_ne!(sent[0], sent[1]);
}
