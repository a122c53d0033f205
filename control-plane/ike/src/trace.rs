//! Messages as lines of a sequence diagram.
//!
//! Hardly any is ever looked at: they are kept in octets, and described when somebody asks. What may be secret is not kept; a message that
//! holds such a thing is described at once, without it.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::iter::Peekable;
use core::net::SocketAddr;

use ike_wire::describe::{self, Field, short_name};
use ike_wire::{Chain, Header, Payload, PayloadType, emit_payloads, parse_payloads};
use ipsec_types::IkeSpi;

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
pub(crate) const MOST_TEXT: usize = 32 * 1024;
/// What a field takes besides its characters.
const FIELD: usize = 64;

/// Octets of payloads that are kept for a later description, which is at least twice as long: they take no more than a description may.
const MOST_OCTETS: usize = MOST_TEXT / 2;

/// A [`Trace`] as it is kept until somebody wants to see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTrace {
    /// The connection, once it is known.
    pub connection: Option<String>,
    /// Initiator's SPI.
    pub initiator_spi: Option<IkeSpi>,
    /// Responder's SPI.
    pub responder_spi: Option<IkeSpi>,
    kept: Kept,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kept {
    Octets(Envelope, Chain),
    Described(Record),
}

/// A message but for its payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Envelope {
    outbound: bool,
    local: SocketAddr,
    remote: SocketAddr,
    header: Header,
    /// Type of the first payload as it travelled.
    first: PayloadType,
    octets: usize,
    seal: Option<Seal>,
    retransmission: bool,
}

/// What is to be seen of an Encrypted payload (RFC 7296 section 3.14), or of the fragment of one (RFC 7383).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seal {
    /// Type of the first payload in it.
    next: PayloadType,
    /// Octets of all of it.
    length: usize,
    /// The number of a fragment, and how many there are.
    fragment: Option<(u16, u16)>,
    iv: Vec<u8>,
    ciphertext: usize,
    icv: Vec<u8>,
}

/// Shows a message.
pub(crate) fn message(shared: &mut Shared, traced: &Traced<'_>) {
    shared.output(Output::Trace(Box::new(KeptTrace::new(traced))));
}

impl From<Trace> for KeptTrace {
    fn from(trace: Trace) -> Self {
        let Trace { connection, initiator_spi, responder_spi, record } = trace;
        Self { connection, initiator_spi, responder_spi, kept: Kept::Described(record) }
    }
}

impl KeptTrace {
    fn new(traced: &Traced<'_>) -> Self {
        let envelope = Envelope {
            outbound: traced.outbound,
            local: traced.local,
            remote: traced.remote,
            header: *traced.header,
            // Octet 16 (RFC 7296 section 3.1).
            first: traced.datagram.get(16).copied().map_or(PayloadType::NONE, PayloadType),
            octets: traced.datagram.len(),
            seal: traced.sealed.map(|suite| Seal::of(traced.datagram, suite)),
            retransmission: traced.retransmission,
        };
        Self {
            connection: traced.connection.map(ToString::to_string),
            initiator_spi: traced.header.initiator(),
            responder_spi: traced.header.responder(),
            kept: match harmless(traced.payloads) {
                Some(chain) => Kept::Octets(envelope, chain),
                None => Kept::Described(envelope.describe(traced.payloads)),
            },
        }
    }

    /// Whether it is a message; else it is a step.
    pub const fn is_message(&self) -> bool {
        !matches!(self.kept, Kept::Described(Record::Step { .. }))
    }

    /// The whole of it, readable.
    pub fn describe(&self) -> Trace {
        let record = match &self.kept {
            // What was written can be read.
            Kept::Octets(envelope, chain) => envelope.describe(&parse_payloads(chain.first, &chain.octets).unwrap_or_default()),
            Kept::Described(record) => record.clone(),
        };
        Trace { connection: self.connection.clone(), initiator_spi: self.initiator_spi, responder_spi: self.responder_spi, record }
    }
}

/// Payloads in octets, if they hold nothing that their description would leave out.
fn harmless(payloads: &[Payload]) -> Option<Chain> {
    let chain = emit_payloads(payloads.iter().all(describe::shows_all).then_some(payloads)?).ok()?;
    (chain.octets.len() <= MOST_OCTETS).then_some(chain)
}

impl Envelope {
    fn describe(&self, payloads: &[Payload]) -> Record {
        let direction = if self.header.flags.response { "response" } else { "request" };
        let mut room = MOST_TEXT;
        let header = nest(describe::header(&self.header, self.first, self.octets).into_iter(), 0, &mut room);
        let inner: usize = payloads.iter().filter_map(Payload::length).sum();
        let seal = self.seal.as_ref().map(|seal| seal.describe(inner, self.retransmission, &mut room));
        let payloads = payloads.iter().enumerate().map(|(index, payload)| {
            let next = payloads.get(index + 1).map_or(PayloadType::NONE, Payload::payload_type);
            describe(payload, next, self.seal.is_some(), &mut room)
        });
        Record::Message {
            outbound: self.outbound,
            local: self.local,
            remote: self.remote,
            title: format!("{} {direction} {}", self.header.exchange, self.header.message_id),
            header,
            payloads: seal.into_iter().chain(payloads).collect(),
            octets: self.octets,
            retransmission: self.retransmission,
        }
    }
}

fn describe(payload: &Payload, next: PayloadType, encrypted: bool, room: &mut usize) -> TracedPayload {
    // The first is the payload itself.
    let fields = describe::fields(payload, next).into_iter().skip(1);
    TracedPayload { name: short_name(payload), encrypted, fields: nest(fields, 1, room) }
}

impl Seal {
    /// It ends the datagram, and is all of it but the header here.
    fn of(datagram: &[u8], suite: &dyn SkSuite) -> Self {
        let payload = datagram.get(Header::LEN..).unwrap_or_default();
        let (generic, body) = payload.split_at_checked(4).unwrap_or_default();
        // Octet 16 (RFC 7296 section 3.1).
        let is_fragment = datagram.get(16) == Some(&PayloadType::SKF.0);
        let (numbers, body) = body.split_at_checked(if is_fragment { 4 } else { 0 }).unwrap_or_default();
        let (iv, sealed) = body.split_at_checked(suite.iv_len()).unwrap_or_default();
        let (ciphertext, icv) = sealed.split_at_checked(sealed.len().saturating_sub(suite.icv_len())).unwrap_or_default();
        let fragment = if let [a, b, c, d] = *numbers { Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))) } else { None };
        Self {
            next: generic.first().copied().map_or(PayloadType::NONE, PayloadType),
            length: payload.len(),
            fragment,
            iv: iv.to_vec(),
            ciphertext: ciphertext.len(),
            icv: icv.to_vec(),
        }
    }

    /// `inner`: octets of the payloads in it.
    fn describe(&self, inner: usize, retransmission: bool, room: &mut usize) -> TracedPayload {
        let mut fields = alloc::vec![
            ("Next Payload", format!("{} ({})", self.next, self.next.0)),
            ("Critical", "0".to_string()),
            ("Payload Length", format!("{} octets", self.length)),
        ];
        let mut name = "SK".to_string();
        if let Some((number, total)) = self.fragment {
            fields.extend([("Fragment Number", number.to_string()), ("Total Fragments", total.to_string())]);
            name = format!("SKF({number}/{total})");
        }
        fields.extend([
            ("Initialization Vector", hex(&self.iv)),
            ("Encrypted IKE Payloads and Padding", format!("{} octets", self.ciphertext)),
        ]);
        // What was opened and is shown leaves padding and its length; a repetition is not opened again.
        if !retransmission && self.fragment.is_none() {
            fields.push(("Pad Length", self.ciphertext.saturating_sub(inner + 1).to_string()));
        }
        fields.push(("Integrity Checksum Data", hex(&self.icv)));
        let fields = fields.into_iter().map(|(name, value)| Field { depth: 0, name, value });
        TracedPayload { name, encrypted: false, fields: nest(fields, 0, room) }
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Fields of `depth`, each with the deeper ones that follow it, as far as there is room.
pub(crate) fn nest(fields: impl Iterator<Item = Field>, depth: usize, room: &mut usize) -> Vec<TracedField> {
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

#[cfg(test)]
mod tests;
