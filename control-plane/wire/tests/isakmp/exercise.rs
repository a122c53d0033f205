//! What holds for any octets. The fuzz target `isakmp` runs it, too.

use ike_wire::v1::{Chain, Header, Identification, Message, Payload, PayloadType, describe, emit_payloads, parse_padded, parse_payloads};

/// Reads octets in every way there is; what can be read must survive being written, and everything derived from it must come to an end.
pub(crate) fn exercise(datagram: &[u8]) {
    if let Ok(message) = Message::parse(datagram) {
        let again = message.emit().expect("what was read can be written");
        assert_eq!(Message::parse(&again), Ok(message));
        assert!(!describe::header(&message.header, message.first, datagram.len()).is_empty());
        chain(&message.header, message.first, message.body);
    }
    // As what was encrypted.
    let Some((&first, body)) = datagram.split_first() else { return };
    let header = Header::new(1, 2, ike_wire::v1::ExchangeType::QUICK_MODE, ike_wire::v1::Flags::default(), 3);
    chain(&header, PayloadType(first), body);
}

fn chain(header: &Header, first: PayloadType, octets: &[u8]) {
    let Ok((payloads, length)) = parse_padded(first, octets) else {
        assert!(parse_payloads(first, octets).is_err());
        return;
    };
    assert_eq!(parse_payloads(first, octets).is_ok(), length == octets.len());
    let Chain { first, octets: again } = emit_payloads(&payloads).expect("what was read can be written");
    assert_eq!(again.len(), length);
    assert_eq!(parse_payloads(first, &again).as_ref(), Ok(&payloads));
    assert!(!describe::message(header, &payloads).is_empty());
    for payload in &payloads {
        assert!(!describe::fields(payload, PayloadType::NONE).is_empty());
        assert!(payload.length().is_some());
        if let Payload::Identification(id) = payload {
            identification(id);
        }
        if let Payload::Attributes(attributes) = payload {
            let _ = (attributes.configuration().count(), attributes.networks().count());
        }
    }
}

/// What traffic it means is said again in other words at most.
fn identification(id: &Identification) {
    let _ = id.identity();
    if let Some(selector) = id.selector()
        && let Some(again) = Identification::of_selector(&selector)
    {
        assert_eq!(again.selector(), Some(selector));
    }
}
