//! The EAP peer's side, in IKE the initiator's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::{Auth, AuthMethod, EapCode, EapMessage, EapPacket, ExchangeType, Notify, NotifyType, Payload};

use super::{Conversing, Initiator, Phase, Side, Spent, Talk};
use crate::config::LocalAuth;
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::{Detail, Failure};
use crate::provider::{EapBetween, EapConversation, EapOutcome};
use crate::v2::auth::initiator::{AwaitResponse, go_on as go_on_with};
use crate::v2::auth::{own_id, proof, verification};
use crate::v2::find::{self, notification};
use crate::v2::keys::Role;
use crate::v2::{Core, Protected, State, informational, ppk};

/// The responder begins with EAP. `eap_alone`: it has not shown who it is by AUTH.
pub(in crate::v2::auth) fn start(
    state: AwaitResponse,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: &Protected,
    eap_alone: bool,
) -> State {
    let peer = core.rounds.peer.clone().and_then(|id| Some((id.identity().ok()?, id)));
    let (Some(((identity, id), packet)), (own, LocalAuth::Eap(method))) = (peer.zip(find::eap(&message.payloads)), core.own_round()) else {
        let failure = Failure::PeerMisbehaved("an IKE_AUTH response with EAP that nobody has asked for".into());
        return refuse(State::AwaitAuthResponse(state), core, cx, failure);
    };
    let conversation = method.begin(&EapBetween { initiator: own, responder: &identity, local: core.local, remote: core.remote });
    let AwaitResponse { sk, child, transcript, .. } = state;
    let side = Side::Initiator(Initiator { child, id, identity, eap_alone });
    hear(Talk { sk, transcript, side, spent: Spent::default() }, core, cx, conversation, packet)
}

/// The server has said no, or something for the method.
fn hear(talk: Talk, core: &mut Core, cx: &mut Context<'_>, mut conversation: Box<dyn EapConversation>, packet: &EapMessage) -> State {
    if EapPacket::parse(packet).is_ok_and(|packet| packet.code == EapCode::FAILURE) {
        // The responder has forgotten us already (section 2.16).
        let (identity, way) = core.own_round();
        let known = conversation.refused().map(|why| why.bounded());
        let refused = Failure::Unauthenticated(known.unwrap_or_else(|| diagnosis::eap_refused(&core.connection, identity, way)));
        return talk.over().close(core, cx, Some(refused));
    }
    talk.work(core, cx, conversation, Some(packet.clone()))
}

/// `HDR, SK {EAP}  -->`, or after success `HDR, SK {AUTH}  -->`
pub(super) fn go_on(mut talk: Talk, phase: Phase, core: &mut Core, cx: &mut Context<'_>, packet: Option<EapMessage>) -> State {
    let payloads = match (&phase, &talk.side) {
        (Phase::Proving(outcome), Side::Initiator(initiator)) if initiator.eap_alone && outcome.msk.is_none() => {
            let summary = "EAP alone has to show who the responder is, and has made no key".into();
            return fail(talk, core, cx, Box::new(Detail { summary, ..Detail::default() }));
        }
        (Phase::Proving(outcome), _) => prove(&mut talk, core, cx, outcome),
        _ => Ok(alloc::vec![Payload::Eap(packet.unwrap_or_default())]),
    };
    match payloads.and_then(|payloads| core.request(cx, &talk.sk, ExchangeType::IKE_AUTH, &payloads)) {
        Ok(()) => State::Conversing(Box::new(Conversing { talk, phase })),
        Err(failure) => talk.over().close(core, cx, Some(failure)),
    }
}

/// `AUTH`, and beside it which PPK it is made with (RFC 8784 section 3).
fn prove(talk: &mut Talk, core: &mut Core, cx: &mut Context<'_>, outcome: &EapOutcome) -> Result<Vec<Payload>, Failure> {
    let auth = |talk: &Talk, core: &Core| {
        let data = proof::by_eap(&talk.sk, Role::Initiator, outcome, &talk.transcript, &own_id(core));
        alloc::vec![Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: data.expose().to_vec() })]
    };
    ppk::before_proof(core, cx, &mut talk.sk)?;
    let mut proof = auth(talk, core);
    if ppk::keep(core, &talk.sk, &proof) {
        ppk::before_proof(core, cx, &mut talk.sk)?;
        proof = auth(talk, core);
    }
    proof.extend(core.another_follows());
    proof.extend(ppk::claim(core, &talk.sk));
    Ok(proof)
}

/// The responder has answered.
pub(super) fn on_response(talk: Talk, phase: Phase, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    core.window.completed();
    match (phase, find::eap(&message.payloads)) {
        (Phase::Listening(conversation), Some(packet)) => hear(talk, core, cx, conversation, packet),
        // An error beside AUTH is one of the Child SA alone.
        (Phase::Proving(outcome), None) if find::auth(&message.payloads).is_some() => conclude(talk, core, cx, message, &outcome),
        (phase, _) => {
            let Some(notify) = notification(&message.payloads, NotifyType::is_error) else {
                let failure = Failure::PeerMisbehaved("an IKE_AUTH response that does not go on with EAP".into());
                return refuse(talk.over(), core, cx, failure);
            };
            let known = if let Phase::Listening(mut conversation) = phase { conversation.refused() } else { None };
            let refused = || diagnosis::refused(&core.connection, notify.kind, Asked::Nothing);
            let refused = known.map_or_else(refused, |why| Failure::Unauthenticated(why.bounded()));
            talk.over().close(core, cx, Some(refused))
        }
    }
}

/// `<--  HDR, SK {AUTH, SAr2, TSi, TSr}`
fn conclude(mut talk: Talk, core: &mut Core, cx: &mut Context<'_>, message: &Protected, outcome: &EapOutcome) -> State {
    if let Err(failure) = ppk::conclude(core, cx, &mut talk.sk, &message.payloads) {
        return refuse(talk.over(), core, cx, failure);
    }
    let (Side::Initiator(initiator), Some(auth)) = (&talk.side, find::auth(&message.payloads)) else { return talk.over() };
    let claimed = (&initiator.id, &initiator.identity);
    let verified = verification::by_eap(core, &talk.sk, &talk.transcript, outcome, claimed, auth);
    // A responder that has shown who it is before shows nothing new.
    let counted = verified.and_then(|shown| if initiator.eap_alone { core.count_round(cx, shown, &message.payloads) } else { Ok(()) });
    if let Err(fault) = counted {
        return refuse(talk.over(), core, cx, fault.into());
    }
    let Talk { sk, transcript, side: Side::Initiator(Initiator { child, .. }), .. } = talk else { return talk.over() };
    go_on_with(AwaitResponse::new(sk, child, transcript), core, cx, message)
}

/// The responder is not believed.
pub(super) fn fail(talk: Talk, core: &mut Core, cx: &mut Context<'_>, why: Box<Detail>) -> State {
    refuse(talk.over(), core, cx, Failure::Unauthenticated(why))
}

/// Section 2.21.2: the responder believes that the IKE SA exists, and is told in an exchange of its own.
fn refuse(state: State, core: &mut Core, cx: &mut Context<'_>, failure: Failure) -> State {
    let notify = Notify::new(NotifyType::AUTHENTICATION_FAILED, Vec::new());
    informational::delete_because(state, core, cx, failure, alloc::vec![Payload::Notify(notify)])
}
