//! The responder's side of IKE_AUTH.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{Header, Identification, Payload};

use super::proof::{self, Proof};
use super::verification::{self, PeerAuthenticated, Verification};
use super::{Authenticating, Step, Transcript, eap, initial_contact, own_id, supersede};
use crate::child::{Child, Replaces};
use crate::config::Childless;
use crate::context::Context;
use crate::diagnosis;
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::negotiate::KeyExchange;
use crate::policy::ConnectionRef;
use crate::provider::CryptoError;
use crate::v2::configuration::{self, Assigned};
use crate::v2::create_child::{self, Answer, Seed};
use crate::v2::find;
use crate::v2::sk::SkVerified;
use crate::v2::{Core, Established, Protected, Sk, State, crash, informational, mobike, reauthentication};

/// Waits for the request.
pub(crate) struct AwaitRequest {
    pub(crate) sk: Sk,
    pub(crate) transcript: Transcript,
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
    if let Form::EapFirst | Form::EapFirstChildless = message.form {
        return match identify(&state, core, &message) {
            Ok(()) => eap::responder::start(state, core, cx, message),
            Err(fault) => reject(state, core, cx, &message, &fault),
        };
    }
    match verify(&state, core, cx, &message) {
        Ok(Verification::Done(authenticated)) => on_verified(state, core, cx, message, Ok(authenticated)),
        Ok(Verification::Checking(job, pending)) => {
            let AwaitRequest { sk, transcript } = state;
            State::Authenticating(Authenticating { sk, transcript, job: Some(job), step: Step::Initiator { message, pending } })
        }
        Err(fault) => reject(state, core, cx, &message, &fault),
    }
}

fn verify(state: &AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> Result<Verification, Fault> {
    let payloads = &message.payloads;
    let missing = || Fault::Syntax("IDi or AUTH is missing".into());
    let (id, auth) = find::id_initiator(payloads).zip(find::auth(payloads)).ok_or_else(missing)?;
    identify(state, core, message)?;
    verification::begin(core, cx, &state.sk, &state.transcript, (id, auth), payloads)
}

/// Whether a first request wants no Child SA (RFC 6023).
const fn is_childless(form: Form) -> bool {
    matches!(form, Form::Childless | Form::EapFirstChildless)
}

/// Finds the connection of who the initiator says it is, and of how it wants to show that.
fn identify(state: &AwaitRequest, core: &mut Core, message: &Protected) -> Result<(), Fault> {
    let payloads = &message.payloads;
    let id = find::id_initiator(payloads).ok_or_else(|| Fault::Syntax("IDi is missing".into()))?;
    let auth = find::auth(payloads);
    let unreadable = |error| Fault::Authentication(diagnosis::bad_identity(&error));
    let remote = id.identity().map_err(unreadable)?;
    let local = find::id_responder(payloads).map(Identification::identity).transpose().map_err(unreadable)?;
    let mut candidates: Vec<ConnectionRef> = core.connection.siblings(core.local.ip(), core.remote.ip()).collect();
    candidates.sort_by_key(ConnectionRef::vagueness);
    let fits = |connection: &&ConnectionRef| connection.admits(&remote, local.as_ref()) && allows(connection, &state.sk);
    // One that wants another method is only found to say so.
    let found =
        candidates.iter().filter(fits).find(|connection| connection.remote_auth.takes(auth)).or_else(|| candidates.iter().find(fits));
    let unknown = || Fault::Authentication(diagnosis::unknown_peer(&candidates, &remote, local.as_ref()));
    core.connection = found.cloned().ok_or_else(unknown)?;
    // RFC 6023 section 3: one that is configured not to do this says what one that cannot does.
    if is_childless(message.form) && core.connection.childless == Childless::Never {
        return Err(Fault::Syntax("IKE_AUTH without a Child SA, which this connection does not allow (childless = \"never\")".into()));
    }
    if auth.is_none() && !core.connection.remote_auth.takes(None) {
        return Err(Fault::Authentication(diagnosis::wrong_method(&core.connection, &remote.to_string(), "EAP")));
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
    result: Result<PeerAuthenticated, Fault>,
) -> State {
    let proven = result.and_then(|authenticated| {
        let identity = authenticated.identity().clone();
        let proof = proof::begin(core, cx, &state.sk, &state.transcript, |connection| {
            connection.psk(&identity).ok_or_else(|| Failure::Unauthenticated(diagnosis::no_key(connection, &identity)))
        });
        Ok((authenticated, proof.map_err(cannot_prove)?))
    });
    match proven {
        Ok((authenticated, Proof::Made(proof))) => choose_child(state, core, cx, message, authenticated, with_id(core, proof)),
        Ok((authenticated, Proof::Signing(job, pending))) => {
            let AwaitRequest { sk, transcript } = state;
            State::Authenticating(Authenticating { sk, transcript, job: Some(job), step: Step::Answer { message, authenticated, pending } })
        }
        Err(fault) => reject(state, core, cx, &message, &fault),
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
    authenticated: PeerAuthenticated,
    (pending, result): (proof::Pending, Result<Vec<u8>, CryptoError>),
) -> State {
    match pending.done(core, result) {
        Ok(proof) => choose_child(state, core, cx, message, authenticated, with_id(core, proof)),
        Err(failure) => reject(state, core, cx, &message, &cannot_prove(failure)),
    }
}

/// `IDr, [CERT,] AUTH`
fn with_id(core: &Core, proof: Vec<Payload>) -> Vec<Payload> {
    core::iter::once(Payload::IdResponder(own_id(core))).chain(proof).collect()
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
        let AwaitRequest { sk, transcript } = state;
        return State::Authenticating(Authenticating { sk, transcript, job: None, step: Step::Child { message, authenticated, proof } });
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
        Ok((reply, Answer { child, sa, selectors })) => State::Installing(Installing {
            sk: state.sk,
            child,
            authenticated,
            verified: message.verified,
            header: message.header,
            proof,
            answer: reply.into_iter().chain(sa).chain(selectors).collect(),
        }),
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
