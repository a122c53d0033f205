//! What holds for any octets. The fuzz target `message` runs it, too.

use ike_wire::{Chain, Header, Message, Payload, PayloadType, describe, emit_payloads, parse_payloads, rules, unsupported_critical};

/// Reads octets in every way there is; what can be read must survive being written, and everything derived from it must come to an end.
pub(crate) fn exercise(datagram: &[u8]) {
    if let Ok(message) = Message::parse(datagram) {
        let again = message.emit().expect("what was read can be written");
        assert_eq!(Message::parse(&again).as_ref(), Ok(&message));
        derive(&message.header, &message.payloads);
        if let Some(encrypted) = message.encrypted() {
            assert_eq!(encrypted.associated_data(datagram).len() + encrypted.body.len(), datagram.len());
        }
    }
    let Some((&first, chain)) = datagram.split_first() else { return };
    if let Ok(payloads) = parse_payloads(PayloadType(first), chain) {
        let Chain { first, octets } = emit_payloads(&payloads).expect("what was read can be written");
        assert_eq!(parse_payloads(first, &octets).as_ref(), Ok(&payloads));
        if let Ok(header) = Header::peek(datagram) {
            derive(&header, &payloads);
        }
    }
}

fn derive(header: &Header, payloads: &[Payload]) {
    let _ = (rules::check(header, payloads), rules::check_protected(header, payloads), unsupported_critical(payloads));
    assert!(!describe::message(header, payloads).is_empty());
    assert!(payloads.iter().all(|payload| !describe::fields(payload, PayloadType::NONE).is_empty()));
}
