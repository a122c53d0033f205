//! Messages as lines of a sequence diagram.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::net::SocketAddr;

use ike_wire::v1::{Header, Payload, PayloadType, describe};

use crate::context::Shared;
use crate::io::{Output, Record, Trace, TracedPayload};
use crate::trace::{MOST_TEXT, nest};

/// A message as it was sent or received.
pub(crate) struct Traced<'a> {
    pub(crate) connection: Option<&'a str>,
    pub(crate) outbound: bool,
    /// Ours first.
    pub(crate) addresses: (SocketAddr, SocketAddr),
    pub(crate) header: &'a Header,
    pub(crate) payloads: &'a [Payload],
    pub(crate) octets: usize,
    pub(crate) retransmission: bool,
}

/// Shows a message.
pub(crate) fn message(shared: &mut Shared, traced: &Traced<'_>) {
    let mut room = MOST_TEXT;
    let first = traced.payloads.first().map_or(PayloadType::NONE, Payload::payload_type);
    let header = nest(describe::header(traced.header, first, traced.octets).into_iter(), 0, &mut room);
    let payloads = traced.payloads.iter().enumerate().map(|(index, payload)| {
        let next = traced.payloads.get(index + 1).map_or(PayloadType::NONE, Payload::payload_type);
        // The first field is the payload itself.
        let fields = describe::fields(payload, next).into_iter().skip(1);
        TracedPayload { name: describe::short_name(payload), encrypted: traced.header.flags.encryption, fields: nest(fields, 1, &mut room) }
    });
    let payloads = payloads.collect();
    let trace = Trace {
        connection: traced.connection.map(ToString::to_string),
        initiator_spi: traced.header.initiator(),
        responder_spi: traced.header.responder(),
        record: Record::Message {
            outbound: traced.outbound,
            local: traced.addresses.0,
            remote: traced.addresses.1,
            title: describe::title(traced.header),
            header,
            payloads,
            octets: traced.octets,
            retransmission: traced.retransmission,
        },
    };
    shared.output(Output::Trace(Box::new(trace.into())));
}
