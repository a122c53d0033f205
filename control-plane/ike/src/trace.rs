//! Messages as lines of a sequence diagram.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::SocketAddr;

use ike_wire::describe::{Field, fields, short_name};
use ike_wire::{Header, Payload};

use crate::context::Shared;
use crate::io::{Output, Record, Trace, TracedField, TracedPayload};

/// A message as it was sent or received.
pub(crate) struct Traced<'a> {
    pub(crate) connection: Option<&'a str>,
    pub(crate) outbound: bool,
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) header: &'a Header,
    pub(crate) payloads: &'a [Payload],
    /// Whether the payloads were inside an Encrypted payload.
    pub(crate) encrypted: bool,
    pub(crate) octets: usize,
    pub(crate) retransmission: bool,
}

/// Shows a message.
pub(crate) fn message(shared: &mut Shared, traced: &Traced<'_>) {
    let direction = if traced.header.flags.response { "response" } else { "request" };
    let payloads = traced.payloads.iter().map(|payload| describe(payload, traced.encrypted)).collect();
    shared.output(Output::Trace(Box::new(Trace {
        connection: traced.connection.map(ToString::to_string),
        initiator_spi: traced.header.initiator(),
        responder_spi: traced.header.responder(),
        record: Record::Message {
            outbound: traced.outbound,
            local: traced.local,
            remote: traced.remote,
            title: format!("{} {direction} {}", traced.header.exchange, traced.header.message_id),
            payloads,
            octets: traced.octets,
            retransmission: traced.retransmission,
        },
    })));
}

fn describe(payload: &Payload, encrypted: bool) -> TracedPayload {
    let fields = fields(payload);
    // The first is the payload itself.
    let inner = fields.split_first().map_or(&[][..], |(_, inner)| inner);
    TracedPayload { name: short_name(payload), encrypted, fields: nest(inner, 1) }
}

/// Fields of `depth`, each with the deeper ones that follow it.
fn nest(fields: &[Field], depth: usize) -> Vec<TracedField> {
    let mut nested = Vec::new();
    let mut rest = fields;
    while let Some((field, behind)) = rest.split_first() {
        let inner = behind.iter().take_while(|inner| inner.depth > depth).count();
        let (own, others) = behind.split_at_checked(inner).unwrap_or((behind, &[]));
        let name: String = field.name.into();
        nested.push(TracedField { name, value: field.value.clone(), fields: nest(own, depth + 1) });
        rest = others;
    }
    nested
}
