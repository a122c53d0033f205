//! Messages as lines of a sequence diagram.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::iter::Peekable;
use core::net::SocketAddr;

use ike_wire::describe::{self, Field, short_name};
use ike_wire::{Header, Payload, PayloadType};

use crate::context::Shared;
use crate::io::{Output, Record, Trace, TracedField, TracedPayload};
use crate::provider::SkSuite;

/// A message as it was sent or received.
pub(crate) struct Traced<'a> {
    pub(crate) connection: Option<&'a str>,
    pub(crate) outbound: bool,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) header: &'a Header,
    pub(crate) payloads: &'a [Payload],
    /// What sealed the Encrypted payload that the payloads were in; `None` where they are shown as they travelled.
    pub(crate) sealed: Option<&'a dyn SkSuite>,
    pub(crate) datagram: &'a [u8],
    pub(crate) retransmission: bool,
}

/// Characters of one message's fields: strangers send long messages too, and the last thousand are kept.
const MOST_TEXT: usize = 32 * 1024;
/// What a field takes besides its characters.
const FIELD: usize = 64;

/// Shows a message.
pub(crate) fn message(shared: &mut Shared, traced: &Traced<'_>) {
    let direction = if traced.header.flags.response { "response" } else { "request" };
    let mut room = MOST_TEXT;
    // Octet 16 (RFC 7296 section 3.1).
    let first = traced.datagram.get(16).copied().map_or(PayloadType::NONE, PayloadType);
    let header = nest(describe::header(traced.header, first, traced.datagram.len()).into_iter(), 0, &mut room);
    let seal = traced.sealed.map(|suite| encrypted(traced, suite, &mut room));
    let payloads = traced.payloads.iter().enumerate().map(|(index, payload)| {
        let next = traced.payloads.get(index + 1).map_or(PayloadType::NONE, Payload::payload_type);
        describe(payload, next, traced.sealed.is_some(), &mut room)
    });
    let payloads = seal.into_iter().chain(payloads).collect();
    shared.output(Output::Trace(Box::new(Trace {
        connection: traced.connection.map(ToString::to_string),
        initiator_spi: traced.header.initiator(),
        responder_spi: traced.header.responder(),
        record: Record::Message {
            outbound: traced.outbound,
            local: traced.local,
            remote: traced.remote,
            title: format!("{} {direction} {}", traced.header.exchange, traced.header.message_id),
            header,
            payloads,
            octets: traced.datagram.len(),
            retransmission: traced.retransmission,
        },
    })));
}

fn describe(payload: &Payload, next: PayloadType, encrypted: bool, room: &mut usize) -> TracedPayload {
    // The first is the payload itself.
    let fields = describe::fields(payload, next).into_iter().skip(1);
    TracedPayload { name: short_name(payload), encrypted, fields: nest(fields, 1, room) }
}

/// The Encrypted payload around the others (RFC 7296 section 3.14), or the fragment of one (RFC 7383): it ends the datagram, and is all of it
/// but the header here.
fn encrypted(traced: &Traced<'_>, suite: &dyn SkSuite, room: &mut usize) -> TracedPayload {
    let payload = traced.datagram.get(Header::LEN..).unwrap_or_default();
    let (generic, body) = payload.split_at_checked(4).unwrap_or_default();
    // Octet 16 (RFC 7296 section 3.1).
    let is_fragment = traced.datagram.get(16) == Some(&PayloadType::SKF.0);
    let (numbers, body) = body.split_at_checked(if is_fragment { 4 } else { 0 }).unwrap_or_default();
    let (iv, sealed) = body.split_at_checked(suite.iv_len()).unwrap_or_default();
    let (ciphertext, icv) = sealed.split_at_checked(sealed.len().saturating_sub(suite.icv_len())).unwrap_or_default();
    let inner: usize = traced.payloads.iter().filter_map(Payload::length).sum();
    let next = generic.first().copied().map_or(PayloadType::NONE, PayloadType);
    let mut fields = alloc::vec![
        ("Next Payload", format!("{next} ({})", next.0)),
        ("Critical", "0".to_string()),
        ("Payload Length", format!("{} octets", payload.len())),
    ];
    let mut name = "SK".to_string();
    if let [a, b, c, d] = *numbers {
        let [number, total] = [[a, b], [c, d]].map(u16::from_be_bytes);
        fields.extend([("Fragment Number", number.to_string()), ("Total Fragments", total.to_string())]);
        name = format!("SKF({number}/{total})");
    }
    fields.extend([("Initialization Vector", hex(iv)), ("Encrypted IKE Payloads and Padding", format!("{} octets", ciphertext.len()))]);
    // What was opened and is shown leaves padding and its length; a repetition is not opened again.
    if !traced.retransmission && !is_fragment {
        fields.push(("Pad Length", ciphertext.len().saturating_sub(inner + 1).to_string()));
    }
    fields.push(("Integrity Checksum Data", hex(icv)));
    let fields = fields.into_iter().map(|(name, value)| Field { depth: 0, name, value });
    TracedPayload { name, encrypted: false, fields: nest(fields, 0, room) }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Fields of `depth`, each with the deeper ones that follow it, as far as there is room.
fn nest(fields: impl Iterator<Item = Field>, depth: usize, room: &mut usize) -> Vec<TracedField> {
    within(&mut fields.peekable(), depth, room)
}

fn within(fields: &mut Peekable<impl Iterator<Item = Field>>, depth: usize, room: &mut usize) -> Vec<TracedField> {
    let mut nested = Vec::new();
    while let Some(Field { name, value, .. }) = fields.next_if(|field| field.depth >= depth) {
        let Some(left) = room.checked_sub(FIELD + name.len() + value.len()) else {
            *room = 0;
            nested.push(TracedField { name: "left out", value: "the message is too long to be kept".into(), fields: Vec::new() });
            break;
        };
        *room = left;
        nested.push(TracedField { name, value, fields: within(fields, depth + 1, room) });
    }
    nested
}
