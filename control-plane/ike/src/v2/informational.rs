//! INFORMATIONAL: signs of life and deletion (RFC 7296 sections 1.4 and 2.4).

use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::{Delete, ExchangeType, Notify, NotifyType, Payload, Protocol};
use ipsec_types::{ChildSaId, Instant, Spi};

use crate::child::{Child, ChildPhase, LINGER};
use crate::context::{Context, End, LeasedSpi};
use crate::diagnosis::{self, Asked};
use crate::error::Failure;
use crate::io::{Output, RequestId};
use crate::v2::configuration;
use crate::v2::find::notification;
use crate::v2::keys::Role;
use crate::v2::{Active, Core, Established, Protected, Sk, State, crash, mobike, redirect, rekey_child, rekey_ike};

/// The peer has been told that the IKE SA is gone, and has not answered yet.
pub(crate) struct Deleting {
    pub(crate) sk: Sk,
    /// Operators have seen it come, and will see it go.
    pub(crate) was_established: bool,
    pub(crate) failure: Option<Failure>,
}

/// Only there to answer repeated requests.
pub(crate) struct Gone {
    pub(crate) sk: Sk,
    pub(crate) until: Instant,
    /// The peer has never been authenticated.
    pub(crate) was_half_open: bool,
}

/// Long enough for a few repetitions of a request whose response was lost.
const REMEMBERED: Duration = Duration::from_secs(30);

/// The peer says something, or only that it lives.
///
/// ```text
/// HDR, SK {[N,] [D,] ...}  -->
///                         <--  HDR, SK {[N,] [D,] ...}
/// ```
pub(crate) fn on_request(mut state: Established, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    core.window.accepted();
    let payloads = &message.payloads;
    let deletes_ike_sa = payloads.iter().any(|payload| matches!(payload, Payload::Delete(Delete::IkeSa)));
    let failure = fatal(core, message);
    if deletes_ike_sa || failure.is_some() {
        let _sent = core.respond(cx, &state.sk, &message.header, &[]);
        core.end = Some(End::ByPeer);
        return gone(State::Established(state), core, cx, failure);
    }
    let mut answer: Vec<Payload> = configuration::inform(payloads).into_iter().collect();
    for payload in payloads {
        let Payload::Delete(Delete::ChildSas { protocol, spis }) = payload else { continue };
        let spis: Vec<u32> = spis.iter().filter_map(|spi| delete_by_peer(&mut state, core, cx, (*protocol, *spi))).collect();
        if !spis.is_empty() {
            answer.push(Payload::Delete(Delete::ChildSas { protocol: *protocol, spis }));
        }
    }
    answer.extend(mobike::on_request(&state, core, cx, payloads));
    let sent = core.respond(cx, &state.sk, &message.header, &answer);
    crash::on_missing_sa(&state, core, cx, payloads);
    if let Some(elsewhere) = redirect::asked(core, payloads)
        && state.heir.is_none()
        && let Err(failure) = state.redirect(core, cx, elsewhere)
    {
        cx.fail(Some(&core.connection.name), core.remote, failure);
    }
    match sent {
        Ok(()) => State::Established(state),
        Err(failure) => State::Established(state).close(core, cx, Some(failure)),
    }
}

/// A notification with which the peer has deleted the IKE SA, without a Delete payload (sections 2.21.2 and 2.21.3).
pub(crate) fn fatal(core: &Core, message: &Protected) -> Option<Failure> {
    // The initiator's exchange "immediately following" IKE_AUTH.
    let after_auth = core.role == Role::Responder && !message.header.flags.response && message.header.message_id == 2;
    let fatal = notification(&message.payloads, |kind| match kind {
        NotifyType::AUTHENTICATION_FAILED | NotifyType::INVALID_SYNTAX => true,
        NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD => after_auth,
        _ => false,
    })?;
    Some(diagnosis::refused(&core.connection, fatal.kind, Asked::Nothing))
}

/// The peer has closed the SA it receives on; ours goes with it (section 1.4.1). Gives back the SPI for the answer: none where our own
/// Delete is under way, which says it already.
fn delete_by_peer(state: &mut Established, core: &mut Core, cx: &mut Context<'_>, (protocol, spi): (Protocol, u32)) -> Option<u32> {
    let named = |child: &&Child| (child.protocol(), child.outbound.value()) == (protocol, spi);
    let Some(child) = state.children.iter().find(named) else {
        if let Some(Active::CreateChild(creating)) = &mut state.active {
            creating.note_deleted(spi);
        }
        return None;
    };
    let (id, inbound, phase) = (child.id, child.inbound, child.phase);
    let policy = child.policy;
    state.retire(core, cx, id, LINGER);
    if phase == ChildPhase::Installed {
        cx.shared.ended.push((policy, End::ByPeer));
    }
    (phase != ChildPhase::Deleting).then_some(inbound.value())
}

/// `HDR, SK {D}  -->` for a Child SA.
pub(crate) fn delete_child(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    id: ChildSaId,
    request: Option<RequestId>,
) -> Result<(), Failure> {
    let Some(child) = state.child_mut(id).filter(|child| child.phase != ChildPhase::Deleting) else {
        if let Some(request) = request {
            cx.shared.terminated(request);
        }
        return Ok(());
    };
    let (protocol, spis) = (child.protocol(), alloc::vec![child.inbound.value()]);
    let installed = child.phase != ChildPhase::Lost;
    child.phase = ChildPhase::Deleting;
    rekey_child::activate_successor(state, cx, id);
    if installed {
        cx.shared.output(Output::Retire { child: id, linger: LINGER });
    }
    let payload = Payload::Delete(Delete::ChildSas { protocol, spis });
    core.request(cx, &state.sk, ExchangeType::INFORMATIONAL, &[payload])?;
    state.active = Some(Active::DeleteChild { child: id, request });
    Ok(())
}

/// `HDR, SK {D}  -->` for a Child SA that only the peer has.
pub(crate) fn delete_spi(
    state: &mut Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    (protocol, spi): (Protocol, Spi),
    unused: Option<LeasedSpi>,
) -> Result<(), Failure> {
    let payload = Payload::Delete(Delete::ChildSas { protocol, spis: alloc::vec![spi.value()] });
    core.request(cx, &state.sk, ExchangeType::INFORMATIONAL, &[payload])?;
    state.active = Some(Active::DeleteSpi(unused));
    Ok(())
}

/// `HDR, SK {}  -->`
pub(crate) fn probe(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) -> Result<(), Failure> {
    cx.shared.count("probes_sent");
    let payloads = mobike::probe(core, cx);
    core.request(cx, &state.sk, ExchangeType::INFORMATIONAL, &payloads)?;
    state.active = Some(Active::Probe);
    Ok(())
}

/// `HDR, SK {N(QCD_TOKEN)}  -->`
pub(crate) fn send_token(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) -> Result<(), Failure> {
    let Some(token) = crash::own_token(core, cx) else { return Ok(()) };
    core.request(cx, &state.sk, ExchangeType::INFORMATIONAL, &[token])?;
    state.active = Some(Active::Probe);
    Ok(())
}

/// `HDR, SK {D}  -->` for the IKE SA and all its Child SAs.
pub(crate) fn delete(state: State, core: &mut Core, cx: &mut Context<'_>) -> State {
    delete_with(state, core, cx, None, alloc::vec![Payload::Delete(Delete::IkeSa)])
}

/// The IKE SA cannot go on: the peer is told `why`, or, where there is nothing special to say, that it is deleted.
pub(crate) fn delete_because(state: State, core: &mut Core, cx: &mut Context<'_>, failure: Failure, why: Vec<Payload>) -> State {
    let payloads = if why.is_empty() { alloc::vec![Payload::Delete(Delete::IkeSa)] } else { why };
    delete_with(state, core, cx, Some(failure), payloads)
}

fn delete_with(state: State, core: &mut Core, cx: &mut Context<'_>, failure: Option<Failure>, payloads: Vec<Payload>) -> State {
    let was_established = matches!(state, State::Established(_));
    let Some(sk) = state.wind_up(core, cx, failure.as_ref()) else { return State::Closed };
    match core.request(cx, &sk, ExchangeType::INFORMATIONAL, &payloads) {
        Ok(()) => State::Deleting(Deleting { sk, was_established, failure }),
        Err(failure) => State::Deleting(Deleting { sk, was_established, failure: Some(failure) }).close(core, cx, None),
    }
}

/// A request while our own deletion is under way. The peer's own Delete ends both (section 2.25.2); signs of life are answered.
pub(crate) fn on_request_while_deleting(state: Deleting, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    core.window.accepted();
    let deletes = message.payloads.iter().any(|payload| matches!(payload, Payload::Delete(Delete::IkeSa)));
    let answer = match message.header.exchange {
        ExchangeType::INFORMATIONAL => Vec::new(),
        // Section 2.25.2.
        _ => alloc::vec![Payload::Notify(Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new()))],
    };
    let sent = core.respond(cx, &state.sk, &message.header, &answer);
    match sent {
        Ok(()) if deletes => gone(State::Deleting(state), core, cx, None),
        _ => State::Deleting(state),
    }
}

/// The IKE SA is over for the peer, too, but its last response may have to be sent again.
pub(crate) fn gone(mut state: State, core: &mut Core, cx: &mut Context<'_>, failure: Option<Failure>) -> State {
    if let State::Established(established) = &mut state {
        rekey_ike::on_end_by_peer(established, core, cx);
    }
    let was_half_open = state.is_half_open();
    match state.finish(core, cx, failure) {
        Some(sk) => State::Gone(Gone { sk, until: cx.now + REMEMBERED, was_half_open }),
        None => State::Closed,
    }
}
