//! The EAP authenticator's side, in IKE the responder's.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{Auth, AuthMethod, EapMessage, NotifyType, Payload};

use super::{Conversing, Phase, Responder, Side, Spent, Talk};
use crate::config::{LocalAuth, RemoteAuth};
use crate::context::Context;
use crate::diagnosis;
use crate::error::{Detail, Failure, Fault};
use crate::provider::{CryptoError, EapBetween, EapOutcome};
use crate::v2::auth::proof::{self, Proof};
use crate::v2::auth::responder::{AwaitRequest, answer as answer_round, cannot_prove, next_proof, reject, with_id};
use crate::v2::auth::{Authenticating, Step, own_id, verification};
use crate::v2::find::{self, notification};
use crate::v2::keys::Role;
use crate::v2::{Core, Protected, State, informational, ppk};

/// An initiator asks for EAP. What we say of ourselves comes first: a proof, or nothing where the initiator takes EAP alone.
pub(in crate::v2::auth) fn start(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, request: Protected) -> State {
    match opening(&state, core, cx, &request) {
        Ok(Proof::Made(proof)) => begin(state, core, cx, request, proof),
        Ok(Proof::Signing(job, pending)) => {
            let AwaitRequest { sk, transcript, first } = state;
            State::Authenticating(Box::new(Authenticating {
                sk,
                transcript,
                first,
                job: Some(job),
                step: Step::Opening { message: request, pending },
            }))
        }
        Err(fault) => reject(state, core, cx, &request, &fault),
    }
}

fn opening(state: &AwaitRequest, core: &mut Core, cx: &mut Context<'_>, request: &Protected) -> Result<Proof, Fault> {
    let payloads = &request.payloads;
    if let (None, LocalAuth::Eap(_), RemoteAuth::Eap(method)) = (&state.first, &core.connection.local_auth, &core.connection.remote_auth) {
        let alone = notification(payloads, |kind| kind == NotifyType::EAP_ONLY_AUTHENTICATION).is_some() && method.is_mutual();
        if !alone {
            return Err(Fault::Authentication(diagnosis::eap_alone(&core.connection)));
        }
        core.rounds.begin();
        return Ok(Proof::Made(alloc::vec![Payload::IdResponder(own_id(core))]));
    }
    next_proof(state, core, cx)
}

/// Our signature is made.
pub(in crate::v2::auth) fn on_signed(
    state: AwaitRequest,
    core: &mut Core,
    cx: &mut Context<'_>,
    request: Protected,
    (pending, result): (proof::Pending, Result<Vec<u8>, CryptoError>),
) -> State {
    match pending.done(core, result) {
        Ok(proof) => {
            let proof = with_id(core, proof);
            begin(state, core, cx, request, proof)
        }
        Err(failure) => reject(state, core, cx, &request, &cannot_prove(failure)),
    }
}

/// The method makes the first packet.
fn begin(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, request: Protected, opening: Vec<Payload>) -> State {
    let claimed = find::id_initiator(&request.payloads).and_then(|id| Some((id.clone(), id.identity().ok()?)));
    let (Some((id, identity)), Some((_, RemoteAuth::Eap(method)))) = (claimed, core.peer_round()) else {
        let fault = Fault::Authentication(diagnosis::wrong_method(&core.connection, &core.connection.remote_auth, "the peer", "EAP"));
        return reject(state, core, cx, &request, &fault);
    };
    let between = EapBetween { initiator: &identity, responder: core.own_round().0, local: core.local, remote: core.remote };
    let conversation = method.begin(&between);
    let AwaitRequest { sk, transcript, first } = state;
    let header = request.header;
    let side = Side::Responder(Responder { request: first.unwrap_or(request), id, identity, header, opening });
    Talk { sk, transcript, side, spent: Spent::default() }.work(core, cx, conversation, None)
}

/// `<--  HDR, SK {[IDr, [CERT,] [AUTH,]] EAP}`
pub(super) fn go_on(mut talk: Talk, phase: Phase, core: &mut Core, cx: &mut Context<'_>, packet: Option<EapMessage>) -> State {
    match answer(&mut talk, core, cx, packet) {
        Ok(()) => State::Conversing(Box::new(Conversing { talk, phase })),
        Err(failure) => talk.over().close(core, cx, Some(failure)),
    }
}

fn answer(talk: &mut Talk, core: &mut Core, cx: &mut Context<'_>, packet: Option<EapMessage>) -> Result<(), Failure> {
    let Side::Responder(responder) = &mut talk.side else { return Ok(()) };
    let mut payloads = core::mem::take(&mut responder.opening);
    payloads.extend(packet.map(Payload::Eap));
    core.respond(cx, &talk.sk, &responder.header, &payloads)
}

/// The initiator goes on.
pub(super) fn on_request(mut talk: Talk, phase: Phase, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    // Without an SPI the Child SA cannot be answered. The peer will ask again, and by then there will be some.
    if matches!(phase, Phase::Proving(_)) && !cx.shared.can_install() {
        cx.shared.lease_spis();
        cx.shared.count("messages_ignored");
        return State::Conversing(Box::new(Conversing { talk, phase }));
    }
    core.window.accepted();
    if let Side::Responder(responder) = &mut talk.side {
        responder.header = message.header;
    }
    match (phase, message.form) {
        (Phase::Listening(conversation), Form::Eap) => talk.work(core, cx, conversation, find::eap(&message.payloads).cloned()),
        (Phase::Proving(outcome), Form::EapLast) => conclude(talk, core, cx, message, &outcome),
        _ => give_up(talk, core, cx, &Fault::Syntax("an IKE_AUTH request that does not go on with EAP".into())),
    }
}

/// `HDR, SK {AUTH}  -->`: both hold the key that EAP has made. The Child SA comes next, or another round.
fn conclude(mut talk: Talk, core: &mut Core, cx: &mut Context<'_>, message: Protected, outcome: &EapOutcome) -> State {
    let (Side::Responder(responder), Some(auth)) = (&talk.side, find::auth(&message.payloads)) else { return talk.over() };
    let claimed = (&responder.id, &responder.identity);
    let verified = ppk::choose(core, cx, &mut talk.sk, &message.payloads, auth)
        .and_then(|auth| verification::by_eap(core, &talk.sk, &talk.transcript, outcome, claimed, &auth));
    if let Err(fault) = verified.and_then(|shown| core.count_round(cx, shown, &message.payloads)) {
        return give_up(talk, core, cx, &fault);
    }
    core.granted = outcome.lifetime;
    if !outcome.addresses.is_empty() {
        core.assigned.chosen.clone_from(&outcome.addresses);
    }
    let data = proof::by_eap(&talk.sk, Role::Responder, outcome, &talk.transcript, &own_id(core)).expose().to_vec();
    let auth = Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data });
    let Talk { sk, transcript, side: Side::Responder(responder), .. } = talk else { return talk.over() };
    answer_round(AwaitRequest { sk, transcript, first: Some(responder.request) }, core, cx, message, alloc::vec![auth])
}

/// The initiator is not believed. `last` is EAP Failure, where there is somebody to hear it.
pub(super) fn fail(mut talk: Talk, core: &mut Core, cx: &mut Context<'_>, last: Option<Vec<u8>>, why: Box<Detail>) -> State {
    if last.is_none() {
        return give_up(talk, core, cx, &Fault::Authentication(why));
    }
    let _sent = answer(&mut talk, core, cx, last.map(EapMessage::from));
    informational::gone(talk.over(), core, cx, Some(Failure::Unauthenticated(why)))
}

/// It is told so by a notification.
fn give_up(talk: Talk, core: &mut Core, cx: &mut Context<'_>, fault: &Fault) -> State {
    let Talk { sk, transcript, side: Side::Responder(Responder { header, mut request, .. }), .. } = talk else { return talk.over() };
    request.header = header;
    reject(AwaitRequest { sk, transcript, first: None }, core, cx, &request, fault)
}
