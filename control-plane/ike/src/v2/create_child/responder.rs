//! CREATE_CHILD_SA for a new or rekeyed Child SA, as its responder.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::{Header, KeyExchange as KePayload, Nonce, Notify, NotifyType, Payload};
use ipsec_types::{ChildSaId, KeyExchangeMethod, Secret};

use super::{Answer, Choice, Seed, answer, choose};
use crate::child::{ChildPhase, Replaces};
use crate::context::Context;
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::io::{Job, JobId};
use crate::negotiate::KeyExchange;
use crate::provider::CryptoError;
use crate::v2::established::Answering;
use crate::v2::{Active, Core, Established, Protected, State, find, informational, init, rekey_child};

/// A request whose key exchange is being computed.
pub(crate) struct Agreeing {
    pub(crate) job: JobId,
    method: KeyExchangeMethod,
    granted: Granted,
}

/// The key exchange is computed, an SPI is needed.
pub(crate) struct Agreed {
    granted: Granted,
    key: Key,
}

/// Method, KEr and shared secret of a key exchange of its own.
type Key = (KeyExchangeMethod, Vec<u8>, Secret);

/// A request that nothing stands in the way of.
struct Granted {
    header: Header,
    choice: Choice,
    /// Ni and Nr.
    nonces: [Vec<u8>; 2],
    replaces: Option<ChildSaId>,
}

/// A response that waits for the data plane.
pub(crate) struct Installing {
    pub(crate) child: ChildSaId,
    header: Header,
    payloads: Vec<Payload>,
    replaces: Option<ChildSaId>,
    lowest: Vec<u8>,
}

/// The peer asks for a Child SA.
pub(crate) fn on_request(mut state: Established, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    if !cx.shared.can_install() {
        cx.shared.lease_spis();
        cx.shared.count("messages_ignored");
        return State::Established(state);
    }
    core.window.accepted();
    match consider(&mut state, core, cx, message) {
        Ok(()) => State::Established(state),
        Err(fault) => refuse(state, core, cx, &message.header, fault),
    }
}

fn consider(state: &mut Established, core: &Core, cx: &mut Context<'_>, message: &Protected) -> Result<(), Fault> {
    if state.heir.is_some() || core.is_ending() || matches!(state.active, Some(Active::RekeyIkeSa(_))) {
        return Err(Fault::Temporary("the IKE SA is being replaced or deleted".into()));
    }
    let payloads = &message.payloads;
    let replaces = rekey_child::replaced(state, payloads)?;
    let only = match replaces {
        Some(old) => {
            Some(rekey_child::index(state, core, old).ok_or_else(|| Fault::NoMoreSas("the child is not configured any more".into()))?)
        }
        None => None,
    };
    let nonce = find::nonce(payloads).ok_or_else(|| Fault::Syntax("the nonce is missing".into()))?.octets();
    let ke = find::key_exchange(payloads);
    let (sent, available) = (ke.and_then(KePayload::method), cx.shared.provider.methods());
    let choice = choose(core, &state.children, payloads, only, KeyExchange::Own { sent, available: &available })?;
    let method = choice.chosen.suite.method;
    let granted = Granted { header: message.header, choice, nonces: [nonce.to_vec(), init::nonce(cx)], replaces };
    match (method, ke) {
        (Some(method), Some(ke)) if sent == Some(method) => {
            let job = cx.shared.job(core.id, Job::GenerateAndAgree { method, peer_public: ke.data.clone() });
            state.answering = Some(Answering::Agreeing(Box::new(Agreeing { job, method, granted })));
        }
        (Some(method), _) => return Err(Fault::Method(method)),
        (None, _) => install(state, core, cx, granted, None)?,
    }
    if let Some(old) = replaces {
        rekey_child::noticed(state, old);
    }
    Ok(())
}

/// The key exchange is computed.
pub(crate) fn on_agreed(
    mut state: Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    agreeing: Agreeing,
    result: Result<(Vec<u8>, Secret), CryptoError>,
) -> State {
    let Agreeing { method, granted, .. } = agreeing;
    match result {
        Ok((public, shared)) => {
            state.answering = Some(Answering::Agreed(Box::new(Agreed { granted, key: (method, public, shared) })));
            go_on(state, core, cx)
        }
        Err(error) => refuse_granted(state, core, cx, (&granted.header, granted.replaces), error.into()),
    }
}

/// Answers as soon as there is an SPI: others may have taken those that were there when the request came.
pub(crate) fn go_on(mut state: Established, core: &mut Core, cx: &mut Context<'_>) -> State {
    let ready = cx.shared.can_install();
    let Some(Answering::Agreed(agreed)) = state.answering.take_if(|answering| ready && matches!(answering, Answering::Agreed(_))) else {
        return State::Established(state);
    };
    let Agreed { granted, key } = *agreed;
    let (header, replaces) = (granted.header, granted.replaces);
    match install(&mut state, core, cx, granted, Some(key)) {
        Ok(()) => State::Established(state),
        Err(fault) => refuse_granted(state, core, cx, (&header, replaces), fault),
    }
}

/// A request that nothing stood in the way of comes to nothing after all.
fn refuse_granted(
    mut state: Established,
    core: &mut Core,
    cx: &mut Context<'_>,
    (header, replaces): (&Header, Option<ChildSaId>),
    fault: Fault,
) -> State {
    if let Some(old) = replaces {
        rekey_child::answered(&mut state, core, cx, old, None);
    }
    refuse(state, core, cx, header, fault)
}

fn install(state: &mut Established, core: &Core, cx: &mut Context<'_>, granted: Granted, key: Option<Key>) -> Result<(), Fault> {
    let Granted { header, choice, nonces: [initiator, responder], replaces } = granted;
    let seed = Seed { nonces: [&initiator, &responder], shared: key.as_ref().map(|(_, _, shared)| shared) };
    let lost = replaces.and_then(|old| state.child(old)).is_some_and(|child| child.phase == ChildPhase::Lost);
    let replacing = Replaces { child: replaces, lost, contested: false };
    let Answer { child, sa: mut payloads, selectors } = answer(core, cx, &state.sk, &state.authenticated, choice, seed, replacing)?;
    // [N(USE_TRANSPORT_MODE),] SA, Nr, [KEr,] TSi, TSr
    payloads.extend(Nonce::new(responder.clone()).map(Payload::Nonce));
    payloads.extend(key.map(|(method, public, _)| Payload::KeyExchange(KePayload::new(method, public))));
    payloads.extend(selectors);
    let lowest = initiator.min(responder);
    state.answering = Some(Answering::Installing(Box::new(Installing { child: child.id, header, payloads, replaces, lowest })));
    state.children.push(child);
    Ok(())
}

/// The data plane has answered an Install, perhaps the one that the peer waits for.
pub(crate) fn on_installed(mut state: Established, core: &mut Core, cx: &mut Context<'_>, id: ChildSaId, installed: bool) -> State {
    let ours = |answering: &mut Answering| matches!(answering, Answering::Installing(installing) if installing.child == id);
    let Some(Answering::Installing(installing)) = state.answering.take_if(ours) else { return State::Established(state) };
    let Installing { header, mut payloads, replaces, lowest, .. } = *installing;
    if !installed {
        payloads = alloc::vec![Payload::Notify(Notify::new(NotifyType::NO_ADDITIONAL_SAS, Vec::new()))];
    }
    if let Err(failure) = core.respond(cx, &state.sk, &header, &payloads) {
        return State::Established(state).close(core, cx, Some(failure));
    }
    if let Some(old) = replaces {
        rekey_child::answered(&mut state, core, cx, old, installed.then_some((id, lowest)));
    }
    State::Established(state)
}

/// The answer to what cannot be had.
pub(crate) fn refuse(state: Established, core: &mut Core, cx: &mut Context<'_>, header: &Header, fault: Fault) -> State {
    let reaction = fault.reaction(Phase::Established);
    // Requests that cross are nobody's fault.
    let crossed = matches!(fault, Fault::Temporary(_) | Fault::NoSuchChild(..) | Fault::Method(_));
    let failure = Failure::from(fault);
    if crossed {
        cx.shared.count("requests_refused_for_now");
    } else {
        cx.fail(Some(&core.connection.name), core.remote, failure.clone());
    }
    let (notify, close) = match reaction {
        Reaction::Notify(notify) => (notify, false),
        Reaction::NotifyAndClose(notify) => (notify, true),
        Reaction::Silence => return State::Established(state),
    };
    match core.respond(cx, &state.sk, header, &[Payload::Notify(notify)]) {
        Ok(()) if close => informational::gone(State::Established(state), core, cx, Some(failure)),
        Ok(()) => State::Established(state),
        Err(failure) => State::Established(state).close(core, cx, Some(failure)),
    }
}
