//! Messages from the network: which IKE SA, or a new one (RFC 7296 sections 2.1, 2.4 to 2.6).

use ike_wire::{Flags, Header, Message, Notify, NotifyType, ParseError, Payload, Version, rules, unsupported_critical};

use super::*;
use crate::config::Config;
use crate::diagnosis;
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::v2::Incoming;
use crate::v2::common::Core;
use crate::v2::cookie::{self, Claim};
use crate::v2::keys::Role;
use crate::v2::receive::trace_clear;
use crate::v2::{find, init};

/// IKE SAs that are not authenticated, or were refused and are remembered, at most. COOKIE keeps out those who cannot receive at their
/// address long before.
pub(super) const MOST_HALF_OPEN: usize = 10_000;

impl Endpoint {
    pub(super) fn on_datagram(&mut self, now: Instant, random: &mut dyn Random, datagram: Datagram) {
        self.shared.count("messages_received");
        if datagram.remote.port() == 0 {
            // Nobody could be answered there (RFC 768).
            return self.shared.count("messages_ignored");
        }
        self.shared.hears(now, datagram.remote.ip());
        // The version octet says whose message it is (RFC 7296 section 2.5, RFC 2408 section 3.1).
        if datagram.payload.get(17).is_some_and(|version| version >> 4 == Version::V1.major) {
            return self.on_v1_datagram(now, random, &datagram);
        }
        let message = match Message::parse(&datagram.payload) {
            Ok(message) => message,
            Err(error) => return self.on_malformed(now, random, &datagram, error),
        };
        let header = message.header;
        let incoming = Incoming { message, datagram };
        if header.exchange == ExchangeType::IKE_SA_INIT && !header.flags.response {
            return self.on_init_request(now, random, incoming);
        }
        // The Initiator flag says whose SPI is whose: of the two, ours is the key.
        let ours = if header.flags.initiator { header.responder() } else { header.initiator() };
        match ours.and_then(|spi| self.shared.by_spi.get(&spi).copied()) {
            Some(id) => self.with(now, random, id, |sa, cx| sa.on_datagram(cx, incoming)),
            None => self.on_stray(now, random, &incoming),
        }
    }

    /// Section 2.5: a higher major version is answered with ours; the rest of what cannot be read is dropped (section 2.21.1).
    fn on_malformed(&mut self, now: Instant, random: &mut dyn Random, datagram: &Datagram, error: ParseError) {
        self.shared.count("messages_malformed");
        let (ParseError::MajorVersion(version), Ok(header)) = (error, Header::peek(&datagram.payload)) else { return };
        let known = [header.initiator(), header.responder()].into_iter().flatten().any(|spi| self.shared.by_spi.contains_key(&spi));
        if version > Version::V2.major && !header.flags.response && !known {
            let mut cx = Context { now, random, shared: &mut self.shared };
            let notify = Notify::new(NotifyType::INVALID_MAJOR_VERSION, Vec::new());
            answer_statelessly(&mut cx, &header, datagram, alloc::vec![Payload::Notify(notify)]);
        }
    }

    fn on_init_request(&mut self, now: Instant, random: &mut dyn Random, incoming: Incoming) {
        let header = incoming.header();
        let plausible = header.flags.initiator && header.initiator().is_some() && header.responder_spi == 0 && header.message_id == 0;
        let Some((_, _, nonce)) = find::offer(&incoming.message.payloads).filter(|_| plausible) else {
            return self.shared.count("messages_ignored");
        };
        let key = InitKey { remote: incoming.datagram.remote, initiator_spi: header.initiator_spi, nonce: nonce.octets().to_vec() };
        if let Some(id) = self.by_init.get(&key).copied() {
            return self.with(now, random, id, |sa, cx| sa.on_datagram(cx, incoming));
        }
        if self.closing || self.shared.attachment.is_none() || self.half_open >= MOST_HALF_OPEN {
            return self.shared.count("messages_ignored");
        }
        let config = Arc::clone(&self.shared.config);
        let [without_cookie, with_cookie] = self.half_open_of.get(&incoming.datagram.remote.ip()).copied().unwrap_or_default();
        // Others can send in the name of an address: what it has to show for itself then is a cookie.
        let must_show = self.half_open >= config.cookie_threshold || without_cookie >= config.block_threshold;
        let mut cx = Context { now, random, shared: &mut self.shared };
        if must_show && !shows_cookie(&mut cx, &incoming) {
            return;
        }
        if must_show && with_cookie >= config.block_threshold {
            return cx.shared.count("initiators_blocked");
        }
        match admit(&mut cx, &incoming) {
            Ok((connection, admitted)) => self.begin_responder(now, random, key, connection, (admitted, must_show), &incoming),
            Err((connection, fault)) => refuse(&mut cx, connection.as_ref(), fault, &incoming),
        }
    }

    fn begin_responder(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        key: InitKey,
        connection: ConnectionRef,
        (admitted, cookie): (init::Admitted, bool),
        incoming: &Incoming,
    ) {
        let Some(initiator_spi) = incoming.header().initiator() else { return };
        let id = self.next_ike_sa();
        let mut cx = Context { now, random, shared: &mut self.shared };
        trace_clear(&mut cx, Some(&connection.name), incoming, false);
        let responder_spi = cx.ike_spi();
        let (local, remote) = (incoming.datagram.local, incoming.datagram.remote);
        let mut core = Core::new(id, Role::Responder, connection, initiator_spi, (local, remote), now);
        core.responder_spi = Some(responder_spi);
        let key = Arc::new(key);
        core.init_key = Some(Arc::clone(&key));
        core.cookie = cookie;
        let state = init::respond(&mut core, &mut cx, admitted, incoming);
        self.shared.by_spi.insert(responder_spi, id);
        self.by_init.insert(key, id);
        self.put(IkeSa { core, state });
    }

    pub(super) fn next_ike_sa(&mut self) -> IkeSaId {
        self.shared.next_ike_sa()
    }
}

/// The first connection between the addresses whose proposals meet the offer.
fn admit(cx: &mut Context<'_>, incoming: &Incoming) -> Result<(ConnectionRef, init::Admitted), (Option<ConnectionRef>, Fault)> {
    let payloads = &incoming.message.payloads;
    if let Some(kind) = unsupported_critical(payloads) {
        return Err((None, Fault::Critical(kind)));
    }
    if let Err(violation) = rules::check(&incoming.header(), payloads) {
        return Err((None, Fault::Syntax(violation.to_string())));
    }
    let config: Arc<Config> = Arc::clone(&cx.shared.config);
    let mut first = None;
    for connection in ConnectionRef::between(&config, incoming.datagram.local.ip(), incoming.datagram.remote.ip()) {
        match init::admit(cx, &connection.proposals, incoming) {
            Ok(admitted) => return Ok((connection, admitted)),
            // Another connection may like the proposals better; INVALID_KE_PAYLOAD is a yes, though.
            Err(fault @ Fault::Method(_)) => return Err((Some(connection), fault)),
            Err(fault) => _ = first.get_or_insert((Some(connection), fault)),
        }
    }
    Err(first.unwrap_or_else(|| (None, Fault::Proposals(diagnosis::no_connection(&incoming.datagram)))))
}

/// Section 2.6: with many half-open IKE SAs, an initiator must show that it receives at its address before any state is kept.
fn shows_cookie(cx: &mut Context<'_>, incoming: &Incoming) -> bool {
    let Some((_, _, nonce)) = find::offer(&incoming.message.payloads) else { return false };
    let header = incoming.header();
    let claim = Claim { nonce: nonce.octets(), address: incoming.datagram.remote.ip(), initiator_spi: header.initiator_spi };
    let sent = find::notification(&incoming.message.payloads, |kind| kind == NotifyType::COOKIE);
    if sent.is_some_and(|notify| cookie::check(cx, &notify.data, claim)) {
        return true;
    }
    cx.shared.count("cookies_sent");
    trace_clear(cx, None, incoming, false);
    if let Some(cookie) = cookie::bake(cx, claim) {
        let cookie = Notify::new(NotifyType::COOKIE, cookie);
        answer_statelessly(cx, &header, &incoming.datagram, alloc::vec![Payload::Notify(cookie)]);
    }
    false
}

fn refuse(cx: &mut Context<'_>, connection: Option<&ConnectionRef>, fault: Fault, incoming: &Incoming) {
    let name = connection.map(|connection| connection.name.as_str());
    trace_clear(cx, name, incoming, false);
    match fault.reaction(Phase::Init) {
        Reaction::Silence => cx.shared.count("messages_ignored"),
        Reaction::Notify(notify) | Reaction::NotifyAndClose(notify) => {
            let detour = notify.kind == NotifyType::INVALID_KE_PAYLOAD;
            answer_statelessly(cx, &incoming.header(), &incoming.datagram, alloc::vec![Payload::Notify(notify)]);
            if !detour {
                cx.fail(name, incoming.datagram.remote, Failure::from(fault));
            }
        }
    }
}

/// An answer that leaves nothing behind: SPIr stays zero (sections 2.6 and 2.21.1).
pub(super) fn answer_statelessly(cx: &mut Context<'_>, request: &Header, datagram: &Datagram, payloads: Vec<Payload>) {
    let flags = Flags { initiator: !request.flags.initiator, response: true, version: false };
    let header = Header { version: Version::V2, flags, ..*request };
    send_statelessly(cx, (datagram.local, datagram.remote), header, payloads);
}

/// A message of no IKE SA, between two addresses, ours first.
pub(super) fn send_statelessly(cx: &mut Context<'_>, (local, remote): (SocketAddr, SocketAddr), header: Header, payloads: Vec<Payload>) {
    let message = Message { header, payloads };
    let Ok(octets) = message.emit() else { return };
    crate::trace::message(
        cx.shared,
        &crate::trace::Traced {
            connection: None,
            outbound: true,
            local,
            remote,
            header: &message.header,
            payloads: &message.payloads,
            sealed: None,
            datagram: &octets,
            retransmission: false,
        },
    );
    cx.shared.transmit(local, remote, octets);
}
