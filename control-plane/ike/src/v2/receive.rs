//! Protected messages: what must hold before a state sees one (RFC 7296 sections 2.1 to 2.5 and 2.21).

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use ike_wire::rules::{self, Form};
use ike_wire::{ExchangeType, Header, Message, Payload, unsupported_critical};

use crate::context::Context;
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::io::Datagram;
use crate::provider::SkSuite;
use crate::trace::{self, Traced};
use crate::v2::fragments::{self, Chunk, TooLong};
use crate::v2::sk::{Opened, SkVerified, open};
use crate::v2::{Core, State, auth, crash, established, informational};
use crate::window::Arrival;

/// A message, with its octets and addresses.
pub(crate) struct Incoming {
    pub(crate) message: Message,
    pub(crate) datagram: Datagram,
}

/// A message that was inside an Encrypted payload, and obeys the rules of its exchange.
pub(crate) struct Protected {
    pub(crate) header: Header,
    pub(crate) form: Form,
    pub(crate) payloads: Vec<Payload>,
    pub(crate) verified: SkVerified,
}

impl Incoming {
    pub(crate) const fn header(&self) -> Header {
        self.message.header
    }

    pub(crate) fn is_init_request(&self) -> bool {
        self.message.header.exchange == ExchangeType::IKE_SA_INIT && !self.message.header.flags.response
    }
}

/// Opens a message for a state with keys and gives it to the state.
pub(crate) fn protected(state: State, core: &mut Core, cx: &mut Context<'_>, incoming: &Incoming) -> State {
    let Some(sk) = state.sk() else {
        cx.shared.count("messages_ignored");
        return state;
    };
    let header = incoming.header();
    let arrival = core.window.classify(&header);
    // With a window of one the peer cannot ask anything new before it is answered (section 2.3).
    let busy = matches!(&state, State::Established(state) if state.answering.is_some()) && arrival == Arrival::Request;
    let ignored = busy || arrival == Arrival::Stale || rules::check_protected(&header, &incoming.message.payloads).is_err();
    if ignored || !core.wants_fragment(incoming, arrival) {
        cx.shared.count("messages_ignored");
        return state;
    }
    let (suite, key) = (sk.suite.sk, sk.keys.sender(core.role.other()));
    let Some(opened) = open(suite, key, &incoming.message, &incoming.datagram.payload) else {
        cx.shared.count("messages_unauthentic");
        return state;
    };
    let source = (incoming.datagram.local, incoming.datagram.remote);
    if arrival == Arrival::Repetition {
        // The peer has said this before, but anybody may be saying it now: it is answered and shows nothing (section 2.11).
        trace_incoming(cx, core, incoming, suite, None);
        core.repeat_response(cx, source);
        return state;
    }
    let opened = match core.put_together(cx, &state, incoming, opened) {
        Ok(Some(opened)) => opened,
        Ok(None) => {
            trace_incoming(cx, core, incoming, suite, Some(&[]));
            return state;
        }
        Err(TooLong) => return refuse(state, core, cx, &header, Fault::Syntax("more fragments than a message has".into())),
    };
    // From here on the peer itself speaks.
    core.last_inbound = cx.now;
    if !header.flags.response {
        core.reply_to = source;
    }
    let payloads = match opened.payloads() {
        Ok(payloads) => payloads,
        Err(error) => return refuse(state, core, cx, &header, Fault::Syntax(error.to_string())),
    };
    trace_incoming(cx, core, incoming, suite, Some(&payloads));
    core.follow_peer(cx, &state, &incoming.datagram);
    if let Some(kind) = unsupported_critical(&payloads) {
        return refuse(state, core, cx, &header, Fault::Critical(kind));
    }
    match rules::check(&header, &payloads) {
        Ok(form) => {
            // In whatever exchange it comes (RFC 6290 section 4.4).
            core.peer_token = crash::peer_token(&payloads).or_else(|| core.peer_token.take());
            let message = Protected { header, form, payloads, verified: opened.verified };
            deliver(state, core, cx, message)
        }
        Err(violation) => refuse(state, core, cx, &header, Fault::Syntax(violation.to_string())),
    }
}

/// The state diagram of the exchanges: what no row names is ignored.
fn deliver(state: State, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    let (exchange, response) = (message.header.exchange, message.header.flags.response);
    match (state, exchange, response) {
        (State::AwaitAuthRequest(state), ExchangeType::IKE_AUTH, false) => auth::responder::on_request(state, core, cx, message),
        (State::AwaitAuthResponse(state), ExchangeType::IKE_AUTH, true) => auth::initiator::on_response(state, core, cx, message),
        (State::Conversing(state), ExchangeType::IKE_AUTH, _) => auth::eap::on_message(*state, core, cx, message),
        (State::Established(state), _, false) => established::on_request(state, core, cx, &message),
        (State::Established(state), _, true) => established::on_response(state, core, cx, &message),
        (State::Deleting(state), _, false) => informational::on_request_while_deleting(state, core, cx, &message),
        (State::Deleting(state), ExchangeType::INFORMATIONAL, true) => State::Deleting(state).close(core, cx, None),
        (state, ..) => {
            cx.shared.count("messages_ignored");
            state
        }
    }
}

/// The peer sent, protected, what cannot be accepted.
fn refuse(state: State, core: &mut Core, cx: &mut Context<'_>, header: &Header, fault: Fault) -> State {
    let failure = Failure::from(fault.clone());
    if header.flags.response {
        // A response is never answered; an IKE SA whose peer cannot be understood is deleted, but only once.
        core.window.completed();
        if let State::Deleting(_) = state {
            return state.close(core, cx, None);
        }
        return informational::delete_because(state, core, cx, failure, Vec::new());
    }
    let phase = if matches!(state, State::Established(_) | State::Deleting(_)) { Phase::Established } else { Phase::Auth };
    let reaction = fault.reaction(phase);
    let Some(sk) = state.sk() else { return state };
    core.window.accepted();
    match reaction {
        Reaction::Silence => state,
        Reaction::Notify(notify) => match core.respond(cx, sk, header, &[Payload::Notify(notify)]) {
            Ok(()) => state,
            Err(failure) => state.close(core, cx, Some(failure)),
        },
        Reaction::NotifyAndClose(notify) => {
            // Without octets to send there is nothing to wait for either.
            let _sent = core.respond(cx, sk, header, &[Payload::Notify(notify)]);
            informational::gone(state, core, cx, Some(failure))
        }
    }
}

/// `payloads`: those inside the Encrypted payload; `None` for a message that came before and is not shown again.
fn trace_incoming(cx: &mut Context<'_>, core: &Core, incoming: &Incoming, suite: &dyn SkSuite, payloads: Option<&[Payload]>) {
    let traced = Traced {
        connection: Some(&core.connection.name),
        outbound: false,
        local: incoming.datagram.local,
        remote: incoming.datagram.remote,
        header: &incoming.message.header,
        payloads: payloads.unwrap_or_default(),
        sealed: Some(suite),
        datagram: &incoming.datagram.payload,
        retransmission: payloads.is_none(),
    };
    trace::message(cx.shared, &traced);
}

/// A message outside any Encrypted payload, as it came.
pub(crate) fn trace_clear(cx: &mut Context<'_>, connection: Option<&str>, incoming: &Incoming, retransmission: bool) {
    let traced = Traced {
        connection,
        outbound: false,
        local: incoming.datagram.local,
        remote: incoming.datagram.remote,
        header: &incoming.message.header,
        payloads: &incoming.message.payloads,
        sealed: None,
        datagram: &incoming.datagram.payload,
        retransmission,
    };
    trace::message(cx.shared, &traced);
}

impl Core {
    /// Whether a message may be opened, where it is a fragment: both sides want fragments, and this one is missing. Of a request that is
    /// answered only the first asks for the answer (RFC 7383 section 2.6.1).
    fn wants_fragment(&self, incoming: &Incoming, arrival: Arrival) -> bool {
        let Some(fragment) = incoming.message.fragment() else { return true };
        let wanted = match arrival {
            Arrival::Repetition => fragment.number.number() == 1,
            _ => self.reassembly.admits(&incoming.header(), fragment.number),
        };
        self.extensions.fragmentation && wanted
    }

    /// The whole of what a message holds; `None` while fragments are missing.
    fn put_together(
        &mut self,
        cx: &mut Context<'_>,
        state: &State,
        incoming: &Incoming,
        opened: Opened,
    ) -> Result<Option<Opened>, TooLong> {
        let header = incoming.header();
        let Some(fragment) = incoming.message.fragment() else {
            self.reassembly.forget(&header);
            return Ok(Some(opened));
        };
        let most = if state.is_half_open() { fragments::MOST_OCTETS_UNPROVEN } else { fragments::MOST_OCTETS };
        let Opened { octets, verified, .. } = opened;
        let chunk = Chunk { octets, datagram: incoming.datagram.payload.len() };
        let Some(whole) = self.reassembly.keep(cx.now, &header, fragment, chunk, most)? else { return Ok(None) };
        cx.shared.count("messages_reassembled");
        self.gets_through = whole.largest.or(self.gets_through).map(|octets| octets.max(fragments::LEAST_OCTETS));
        Ok(Some(Opened { first: whole.first, octets: whole.octets, verified }))
    }

    /// The peer's address may change: when it moves to port 4500 for IKE_AUTH, and later when its NAT forgets it. Only the side that is
    /// not behind a NAT follows, and only authentic new messages (section 2.23).
    fn follow_peer(&mut self, cx: &mut Context<'_>, state: &State, datagram: &Datagram) {
        let moved = (self.local, self.remote) != (datagram.local, datagram.remote);
        // With MOBIKE whoever has begun says where it is (RFC 4555 section 3.8).
        let may = matches!(state, State::AwaitAuthRequest(_)) || (self.nat.follows() && !self.extensions.mobike);
        if !moved || !may {
            return;
        }
        self.local = datagram.local;
        self.remote = datagram.remote;
        if let State::Established(established) = state {
            self.step(cx, "the peer has moved", alloc::vec![format!("to {}", self.remote)]);
            established.retarget(self, cx);
        }
    }
}
