//! The responder's side of IKE_AUTH.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{Header, Identification, NotifyType, Payload};

use super::proof::{self, Proof};
use super::verification::{self, PeerAuthenticated, Shown, Verification};
use super::{Authenticating, Step, Transcript, eap, initial_contact, own_id, supersede};
use crate::assigned::Assigned;
use crate::child::{Child, Replaces};
use crate::config::Childless;
use crate::context::Context;
use crate::diagnosis;
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::negotiate::KeyExchange;
use crate::policy::ConnectionRef;
use crate::provider::CryptoError;
use crate::v2::configuration;
use crate::v2::create_child::{self, Answer, Seed};
use crate::v2::find;
use crate::v2::init::says;
use crate::v2::sk::SkVerified;
use crate::v2::{Core, Established, Protected, Sk, State, crash, informational, mobike, ppk, reauthentication};

/// Waits for the request.
pub(crate) struct AwaitRequest {
    pub(crate) sk: Sk,
    pub(crate) transcript: Transcript,
    /// The first request, which says what Child SA the initiator wants; there after the first round.
    pub(crate) first: Option<Protected>,
}

/// The peer is authenticated, its answer waits for the data plane.
pub(crate) struct Installing {
    pub(crate) sk: Sk,
    pub(crate) child: Child,
    authenticated: PeerAuthenticated,
    verified: SkVerified,
    /// The request's.
    header: Header,
    /// IDr, certificates and AUTH, or after EAP AUTH alone, which go out in any case.
    proof: Vec<Payload>,
    /// `[CP(CFG_REPLY),] [N(USE_TRANSPORT_MODE),] SAr2, TSi, TSr`, which go out if the Child SA is in place.
    answer: Vec<Payload>,
}

/// Who is it, is it true, and what does it want?
pub(crate) fn on_request(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    // Without an SPI the Child SA cannot be answered. The peer will ask again, and by then there will be some.
    if !is_childless(message.form) && !cx.shared.can_install() {
        cx.shared.lease_spis();
        cx.shared.count("messages_ignored");
        return State::AwaitAuthRequest(state);
    }
    core.window.accepted();
    match (&state.first, message.form) {
        (None, Form::Normal | Form::Childless) | (Some(_), Form::Childless) => check(state, core, cx, message),
        (None, Form::EapFirst | Form::EapFirstChildless) | (Some(_), Form::EapFirstChildless) => match identify(&state, core, &message) {
            Ok(()) => eap::responder::start(state, core, cx, message),
            Err(fault) => reject(state, core, cx, &message, &fault),
        },
        // The initiator has shown everything and waits for the rest of ours.
        (Some(_), Form::Another) if core.peer_round().is_none() => prove(state, core, cx, message),
        _ => reject(state, core, cx, &message, &Fault::Syntax("an IKE_AUTH request without what has to come now".into())),
    }
}

/// The initiator shows who it is.
fn check(mut state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    match verify(&mut state, core, cx, &message) {
        Ok(Verification::Done(shown)) => on_verified(state, core, cx, message, Ok(shown)),
        Ok(Verification::Checking(job, pending)) => {
            let AwaitRequest { sk, transcript, first } = state;
            State::Authenticating(Box::new(Authenticating {
                sk,
                transcript,
                first,
                job: Some(job),
                step: Step::Initiator { message, pending },
            }))
        }
        Err(fault) => reject(state, core, cx, &message, &fault),
    }
}

fn verify(state: &mut AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> Result<Verification, Fault> {
    let payloads = &message.payloads;
    let missing = || Fault::Syntax("IDi or AUTH is missing".into());
    let (id, auth) = find::id_initiator(payloads).zip(find::auth(payloads)).ok_or_else(missing)?;
    identify(state, core, message)?;
    let auth = ppk::choose(core, cx, &mut state.sk, payloads, auth)?;
    verification::begin(core, cx, &state.sk, &state.transcript, (id, &auth), payloads)
}

/// Whether a first request wants no Child SA (RFC 6023).
const fn is_childless(form: Form) -> bool {
    matches!(form, Form::Childless | Form::EapFirstChildless)
}

/// Who the initiator says it is: the first time that finds its connection, later it has to fit that.
fn identify(state: &AwaitRequest, core: &mut Core, message: &Protected) -> Result<(), Fault> {
    match state.first {
        None => choose_connection(state, core, message)?,
        Some(_) => identify_again(core, message)?,
    }
    core.rounds.peer = find::id_initiator(&message.payloads).cloned();
    Ok(())
}

/// The same in a further round.
fn identify_again(core: &Core, message: &Protected) -> Result<(), Fault> {
    let id = find::id_initiator(&message.payloads).ok_or_else(|| Fault::Syntax("IDi is missing".into()))?;
    let identity = id.identity().map_err(|error| Fault::Authentication(diagnosis::bad_identity(&error)))?;
    let Some((wanted, way)) = core.peer_round() else {
        return Err(Fault::Authentication(diagnosis::other_rounds(&core.connection, core.rounds.shown().len(), true)));
    };
    if !wanted.is_none_or(|wanted| wanted.admits(&identity)) {
        return Err(Fault::Authentication(diagnosis::other_peer(&core.connection, wanted, &identity)));
    }
    if find::auth(&message.payloads).is_none() && !way.takes(None) {
        return Err(Fault::Authentication(diagnosis::wrong_method(&core.connection, way, &identity.to_string(), "EAP")));
    }
    Ok(())
}

/// Finds the connection of who the initiator says it is, and of how it wants to show that.
fn choose_connection(state: &AwaitRequest, core: &mut Core, message: &Protected) -> Result<(), Fault> {
    let payloads = &message.payloads;
    let id = find::id_initiator(payloads).ok_or_else(|| Fault::Syntax("IDi is missing".into()))?;
    let auth = find::auth(payloads);
    let unreadable = |error| Fault::Authentication(diagnosis::bad_identity(&error));
    let remote = id.identity().map_err(unreadable)?;
    let local = find::id_responder(payloads).map(Identification::identity).transpose().map_err(unreadable)?;
    let mut candidates: Vec<ConnectionRef> = core.connection.siblings(core.local.ip(), core.remote.ip()).collect();
    candidates.sort_by_key(ConnectionRef::vagueness);
    let fits = |connection: &&ConnectionRef| connection.admits(&remote, local.as_ref()) && allows(connection, &state.sk);
    // One that wants another method, or other rounds, is only found to say so.
    let more = says(payloads, NotifyType::ANOTHER_AUTH_FOLLOWS);
    let takes = |connection: &&ConnectionRef| connection.remote_auth.takes(auth);
    let suits = |connection: &&ConnectionRef| takes(connection) && (auth.is_none() || more != connection.remote_more.is_empty());
    let fitting = || candidates.iter().filter(fits);
    let found = fitting().find(suits).or_else(|| fitting().find(takes)).or_else(|| fitting().next());
    let unknown = || Fault::Authentication(diagnosis::unknown_peer(&candidates, &remote, local.as_ref()));
    core.connection = found.cloned().ok_or_else(unknown)?;
    ppk::admit(core)?;
    // RFC 6023 section 3: one that is configured not to do this says what one that cannot does.
    if is_childless(message.form) && core.connection.childless == Childless::Never {
        return Err(Fault::Syntax("IKE_AUTH without a Child SA, which this connection does not allow (childless = \"never\")".into()));
    }
    if auth.is_none() && !core.connection.remote_auth.takes(None) {
        let way = &core.connection.remote_auth;
        return Err(Fault::Authentication(diagnosis::wrong_method(&core.connection, way, &remote.to_string(), "EAP")));
    }
    if core.connection.has_rounds() && !says(payloads, NotifyType::MULTIPLE_AUTH_SUPPORTED) {
        return Err(Fault::Authentication(diagnosis::one_round(&core.connection)));
    }
    Ok(())
}

/// Whether what IKE_SA_INIT chose is in the proposals of a connection that was found later.
fn allows(connection: &ConnectionRef, sk: &Sk) -> bool {
    connection.proposals.iter().any(|proposal| {
        proposal.encryption().contains(&sk.suite.encryption)
            && sk.suite.integrity.is_none_or(|integrity| proposal.integrity().contains(&integrity))
            && proposal.prf().contains(&sk.suite.prf.algorithm())
            && proposal.key_exchange().contains(&sk.suite.method)
    })
}

/// It is known whether the initiator is who it says. What we say of ourselves comes next.
pub(super) fn on_verified(
    state: AwaitRequest,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: Protected,
    result: Result<Shown, Fault>,
) -> State {
    match result.and_then(|shown| core.count_round(cx, shown, &message.payloads)) {
        Ok(()) => prove(state, core, cx, message),
        Err(fault) => reject(state, core, cx, &message, &fault),
    }
}

/// Our next round, if there is one.
fn prove(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    match next_proof(&state, core, cx) {
        Ok(Proof::Made(proof)) => answer(state, core, cx, message, proof),
        Ok(Proof::Signing(job, pending)) => {
            let AwaitRequest { sk, transcript, first } = state;
            State::Authenticating(Box::new(Authenticating {
                sk,
                transcript,
                first,
                job: Some(job),
                step: Step::Answer { message, pending },
            }))
        }
        Err(fault) => reject(state, core, cx, &message, &fault),
    }
}

/// `IDr, [CERT,] AUTH` of our next round, or nothing.
pub(super) fn next_proof(state: &AwaitRequest, core: &mut Core, cx: &mut Context<'_>) -> Result<Proof, Fault> {
    if !core.rounds.more_of_ours(&core.connection) {
        return Ok(Proof::Made(Vec::new()));
    }
    core.rounds.begin();
    let identity = core.rounds.peer.as_ref().and_then(|id| id.identity().ok());
    let identity = identity.ok_or_else(|| Fault::Syntax("IDi is missing".into()))?;
    let proof = proof::begin(core, cx, &state.sk, &state.transcript, |connection| {
        connection.psk(&identity).ok_or_else(|| Failure::Unauthenticated(diagnosis::no_key(connection, &identity)))
    });
    match proof.map_err(cannot_prove)? {
        Proof::Made(proof) => Ok(Proof::Made(with_id(core, proof))),
        signing => Ok(signing),
    }
}

/// What keeps us from showing who we are is for our operator; the peer only learns that it will not be.
pub(super) fn cannot_prove(failure: Failure) -> Fault {
    match failure {
        Failure::Unauthenticated(detail) => Fault::Authentication(detail),
        other => Fault::Authentication(diagnosis::cannot_prove(&other)),
    }
}

/// The signature is made.
pub(super) fn on_signed(
    state: AwaitRequest,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: Protected,
    (pending, result): (proof::Pending, Result<Vec<u8>, CryptoError>),
) -> State {
    match pending.done(core, result) {
        Ok(proof) => {
            let proof = with_id(core, proof);
            answer(state, core, cx, message, proof)
        }
        Err(failure) => reject(state, core, cx, &message, &cannot_prove(failure)),
    }
}

/// `IDr, [CERT,] AUTH, [N(ANOTHER_AUTH_FOLLOWS)]`
pub(super) fn with_id(core: &Core, proof: Vec<Payload>) -> Vec<Payload> {
    core::iter::once(Payload::IdResponder(own_id(core))).chain(proof).chain(core.another_follows()).collect()
}

/// A round is over: the Child SA comes next, or `<--  HDR, SK {[IDr, [CERT,] AUTH]}` and another round.
pub(super) fn answer(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: Protected, mut proof: Vec<Payload>) -> State {
    proof.extend(ppk::confirmation(core));
    if core.rounds.more_of_ours(&core.connection) || core.rounds.more_of_the_peers(&core.connection) {
        return match core.respond(cx, &state.sk, &message.header, &proof) {
            Ok(()) => State::AwaitAuthRequest(AwaitRequest { first: state.first.or(Some(message)), ..state }),
            Err(failure) => State::AwaitAuthRequest(state).close(core, cx, Some(failure)),
        };
    }
    let AwaitRequest { sk, transcript, first } = state;
    let message = match first {
        Some(first) => {
            let form = if is_childless(first.form) { Form::Childless } else { first.form };
            Protected { header: message.header, verified: message.verified, form, ..first }
        }
        None => message,
    };
    let state = AwaitRequest { sk, transcript, first: None };
    match PeerAuthenticated::after(core) {
        Ok(authenticated) => choose_child(state, core, cx, message, authenticated, proof),
        Err(fault) => reject(state, core, cx, &message, &fault),
    }
}

/// Both know each other: the first Child SA, as soon as there is an SPI for it.
pub(super) fn choose_child(
    state: AwaitRequest,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: Protected,
    authenticated: PeerAuthenticated,
    mut proof: Vec<Payload>,
) -> State {
    if message.form != Form::Childless && !cx.shared.can_install() {
        cx.shared.lease_spis();
        let AwaitRequest { sk, transcript, first } = state;
        return State::Authenticating(Box::new(Authenticating {
            sk,
            transcript,
            first,
            job: None,
            step: Step::Child { message, authenticated, proof },
        }));
    }
    let message = &message;
    let succeeds = match supersede(core, cx, &authenticated, &message.payloads) {
        Ok(succeeds) => succeeds,
        Err(fault) => return reject(state, core, cx, message, &fault),
    };
    proof.extend(crash::own_token(core, cx));
    proof.extend(reauthentication::lifetime(core));
    mobike::agree(core, &message.payloads);
    if core.extensions.mobike {
        proof.extend(mobike::announce(core, cx));
    }
    core.begin_authentication(cx, &message.payloads);
    proof.extend(initial_contact(core, cx, Some(authenticated.identity())));
    if message.form == Form::Childless {
        return establish_without_child(core, cx, state.sk, authenticated, message, proof, succeeds);
    }
    if core.connection.childless == Childless::Force {
        let fault = Fault::NoMoreSas("a Child SA in IKE_AUTH, which this connection does not take (childless = \"force\")".into());
        return establish_childless(core, cx, state.sk, authenticated, message, proof, fault);
    }
    let nonces = [&state.transcript.initiator_nonce[..], &state.transcript.responder_nonce];
    let configured = configuration::answer(core, cx, authenticated.identity(), &message.payloads, succeeds);
    let choice = configured.and_then(|reply| {
        let choice = create_child::choose(core, &[], &message.payloads, None, KeyExchange::Ignored)?;
        Ok((reply, choice))
    });
    let seed = Seed { nonces, shared: None };
    let answer = choice.and_then(|(reply, choice)| {
        let answer = create_child::answer(core, cx, &state.sk, &authenticated, choice, seed, Replaces::default())?;
        Ok((reply, answer))
    });
    match answer {
        Ok((reply, Answer { child, sa, selectors })) => State::Installing(Box::new(Installing {
            sk: state.sk,
            child,
            authenticated,
            verified: message.verified,
            header: message.header,
            proof,
            answer: reply.into_iter().chain(sa).chain(selectors).collect(),
        })),
        Err(fault) => establish_childless(core, cx, state.sk, authenticated, message, proof, fault),
    }
}

/// RFC 6023: none was asked for. `<--  HDR, SK {IDr, [CERT,] AUTH, [CP(CFG_REPLY)]}`
fn establish_without_child(
    core: &mut Core,
    cx: &mut Context<'_>,
    sk: Sk,
    authenticated: PeerAuthenticated,
    message: &Protected,
    mut proof: Vec<Payload>,
    succeeds: bool,
) -> State {
    match configuration::answer(core, cx, authenticated.identity(), &message.payloads, succeeds) {
        Ok(reply) => proof.extend(reply),
        Err(fault) => return establish_childless(core, cx, sk, authenticated, message, proof, fault),
    }
    let sent = core.respond(cx, &sk, &message.header, &proof);
    let established = Established::new(core, cx, sk, message.verified, authenticated);
    match sent {
        Ok(()) => State::Established(established),
        Err(failure) => State::Established(established).close(core, cx, Some(failure)),
    }
}

/// Section 1.2: the IKE SA comes up though its first Child SA does not.
fn establish_childless(
    core: &mut Core,
    cx: &mut Context<'_>,
    sk: Sk,
    authenticated: PeerAuthenticated,
    message: &Protected,
    mut proof: Vec<Payload>,
    fault: Fault,
) -> State {
    if let Reaction::Notify(notify) = fault.reaction(Phase::Auth) {
        proof.push(Payload::Notify(notify));
    }
    core.assigned = Assigned::default();
    cx.fail(Some(&core.connection.name), core.remote, fault.into());
    let sent = core.respond(cx, &sk, &message.header, &proof);
    let established = Established::new(core, cx, sk, message.verified, authenticated);
    match sent {
        Ok(()) => State::Established(established),
        Err(failure) => State::Established(established).close(core, cx, Some(failure)),
    }
}

/// The peer is refused: it is told why, protected, and forgotten.
pub(super) fn reject(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: &Protected, fault: &Fault) -> State {
    let failure = Failure::from(fault.clone());
    if let Reaction::NotifyAndClose(notify) | Reaction::Notify(notify) = fault.reaction(Phase::Auth) {
        let _sent = core.respond(cx, &state.sk, &message.header, &[Payload::Notify(notify)]);
    }
    informational::gone(State::AwaitAuthRequest(state), core, cx, Some(failure))
}

/// The data plane has the first Child SA, or not: now the initiator is answered.
/// `<--  HDR, SK {IDr, [CERT,] AUTH, [N(USE_TRANSPORT_MODE),] SAr2, TSi, TSr}`
pub(crate) fn on_installed(state: Installing, core: &mut Core, cx: &mut Context<'_>, result: Result<(), String>) -> State {
    let Installing { sk, child, authenticated, header, mut proof, answer, verified } = state;
    let fault = result.err().map(Fault::NoMoreSas);
    match &fault {
        None => proof.extend(answer),
        Some(fault) => {
            if let Reaction::Notify(notify) = fault.reaction(Phase::Auth) {
                proof.push(Payload::Notify(notify));
            }
        }
    }
    let sent = core.respond(cx, &sk, &header, &proof);
    let mut established = Established::new(core, cx, sk, verified, authenticated);
    match fault {
        None => established.adopt(core, cx, child),
        Some(fault) => {
            cx.shared.forget_child(&child);
            cx.fail(Some(&core.connection.name), core.remote, fault.into());
        }
    }
    match sent {
        Ok(()) => State::Established(established),
        Err(failure) => State::Established(established).close(core, cx, Some(failure)),
    }
}
