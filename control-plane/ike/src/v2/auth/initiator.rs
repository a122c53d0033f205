//! The initiator's side of IKE_AUTH.

use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{ExchangeType, Identification, Notify, NotifyType, Payload};
use ipsec_types::Secret;

use super::proof::{self, Proof};
use super::verification::{self, PeerAuthenticated, Verification};
use super::{Authenticating, Step, Transcript, begins_childless, certificate_request, eap, initial_contact, own_id, supersede};
use crate::config::{LocalAuth, RemoteAuth};
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::Failure;
use crate::negotiate::{self, KeyExchange};
use crate::policy::ConnectionRef;
use crate::provider::CryptoError;
use crate::v2::configuration;
use crate::v2::create_child::ends;
use crate::v2::find::{self, notification};
use crate::v2::init::WantedChild;
use crate::v2::{Core, Established, Protected, Sk, State, Task, crash, informational, mobike};

/// Waits for the response.
pub(crate) struct AwaitResponse {
    pub(crate) sk: Sk,
    pub(crate) child: WantedChild,
    pub(super) transcript: Transcript,
}

/// Begins: AUTH comes first, or is left out to ask for EAP (section 2.16).
pub(crate) fn start(core: &mut Core, cx: &mut Context<'_>, sk: Sk, transcript: Transcript, child: WantedChild) -> State {
    if let LocalAuth::Eap(_) = core.connection.local_auth {
        return send_request(AwaitResponse { sk, child, transcript }, core, cx, Vec::new());
    }
    match proof::begin(core, cx, &sk, &transcript, initiator_psk) {
        Ok(Proof::Made(proof)) => send_request(AwaitResponse { sk, child, transcript }, core, cx, proof),
        Ok(Proof::Signing(job, pending)) => {
            State::Authenticating(Authenticating { sk, transcript, job: Some(job), step: Step::Request { child, pending } })
        }
        Err(failure) => State::AwaitAuthResponse(AwaitResponse { sk, child, transcript }).close(core, cx, Some(failure)),
    }
}

/// The signature is made.
pub(super) fn on_signed(
    state: AwaitResponse,
    core: &mut Core,
    cx: &mut Context<'_>,
    pending: proof::Pending,
    result: Result<Vec<u8>, CryptoError>,
) -> State {
    match pending.done(core, result) {
        Ok(proof) => send_request(state, core, cx, proof),
        Err(failure) => State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    }
}

/// `HDR, SK {IDi, [CERT,] [CERTREQ,] [IDr,] AUTH, [N(USE_TRANSPORT_MODE),] SAi2, TSi, TSr}  -->`, or without a Child SA only what stands
/// before that.
fn send_request(mut state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, mut proof: Vec<Payload>) -> State {
    if !cx.shared.holds(state.child.spi) {
        // The data plane was attached anew since the SPI was taken.
        let Some(spi) = cx.shared.take_spi() else {
            return State::AwaitAuthResponse(state).close(core, cx, Some(Failure::Local("no SPI is free".into())));
        };
        state.child.spi = spi;
    }
    let Some(configured) = core.connection.child(state.child.index) else {
        return State::AwaitAuthResponse(state).close(core, cx, Some(Failure::Local("no such child".into())));
    };
    let (local, remote) = match ends::offer(core, configured) {
        Ok(selectors) => selectors,
        Err(failure) => return State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    };
    let mut payloads = alloc::vec![Payload::IdInitiator(own_id(core))];
    // In the order of appendix C, though any other is as good.
    let auth = proof.pop();
    payloads.extend(proof);
    payloads.extend(certificate_request(core::iter::once(&core.connection.remote_auth)));
    payloads.extend(core.connection.one_peer().map(|identity| Payload::IdResponder(Identification::from(identity))));
    payloads.extend(initial_contact(core, cx, core.connection.one_peer()));
    payloads.extend(eap_alone(&core.connection).then(|| Payload::Notify(Notify::new(NotifyType::EAP_ONLY_AUTHENTICATION, Vec::new()))));
    payloads.extend(auth);
    payloads.extend(crash::own_token(core, cx));
    payloads.extend(configuration::request(core, cx));
    if !begins_childless(core) {
        payloads.extend(ends::mode_notification(configured));
        payloads.push(Payload::Sa(negotiate::offer_child(&configured.proposals, state.child.spi.spi, KeyExchange::Ignored)));
        payloads.push(Payload::TsInitiator(local.into_iter().collect()));
        payloads.push(Payload::TsResponder(remote.into_iter().collect()));
    }
    payloads.extend(mobike::announce(core, cx));
    match core.request(cx, &state.sk, ExchangeType::IKE_AUTH, &payloads) {
        Ok(()) => State::AwaitAuthResponse(state),
        Err(failure) => State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    }
}

/// Whether EAP shows who the responder is, too (RFC 5998).
fn eap_alone(connection: &ConnectionRef) -> bool {
    matches!((&connection.local_auth, &connection.remote_auth), (LocalAuth::Eap(method), RemoteAuth::Eap(_)) if method.is_mutual())
}

/// The initiator's key must be chosen before the peer has said who it is.
fn initiator_psk(connection: &ConnectionRef) -> Result<&Secret, Failure> {
    let Some(remote) = connection.expected_peer() else {
        return Err(Failure::Local("the peer's identity is not configured, nor its address: no shared key can be looked for".into()));
    };
    connection.psk(&remote).ok_or_else(|| Failure::Unauthenticated(diagnosis::no_key(connection, &remote)))
}

/// The responder has answered.
pub(crate) fn on_response(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    core.window.completed();
    if message.form == Form::EapFirst && find::auth(&message.payloads).is_none() && eap_alone(&core.connection) {
        return match identify(core, &message) {
            Ok(_) => eap::initiator::start(state, core, cx, &message, true),
            Err(failure) => on_verified(state, core, cx, &message, Err(failure)),
        };
    }
    match verify(&state, core, cx, &message) {
        Ok(Verification::Done(authenticated)) => on_verified(state, core, cx, &message, Ok(authenticated)),
        Ok(Verification::Checking(job, pending)) => {
            let AwaitResponse { sk, child, transcript } = state;
            State::Authenticating(Authenticating { sk, transcript, job: Some(job), step: Step::Response { child, message, pending } })
        }
        Err(failure) => on_verified(state, core, cx, &message, Err(failure)),
    }
}

fn verify(state: &AwaitResponse, core: &Core, cx: &mut Context<'_>, message: &Protected) -> Result<Verification, Failure> {
    let payloads = &message.payloads;
    let Some((id, auth)) = find::id_responder(payloads).zip(find::auth(payloads)) else {
        let asked = core.connection.child(state.child.index).map_or(Asked::Nothing, Asked::Child);
        let refused = notification(payloads, NotifyType::is_error).map(|notify| diagnosis::refused(&core.connection, notify.kind, asked));
        return Err(refused.unwrap_or_else(|| Failure::PeerMisbehaved("an IKE_AUTH response without IDr and AUTH".into())));
    };
    let eap = matches!(core.connection.local_auth, LocalAuth::Eap(_));
    if eap != (message.form == Form::EapFirst) && (eap || message.form != Form::Error) {
        let what = if eap { "an IKE_AUTH response without EAP, which was asked for" } else { "EAP that nobody has asked for" };
        return Err(Failure::PeerMisbehaved(what.into()));
    }
    identify(core, message)?;
    Ok(verification::begin(core, cx, &state.sk, &state.transcript, (id, auth), payloads)?)
}

/// Who the responder says it is has to be whom we have called.
fn identify(core: &Core, message: &Protected) -> Result<(), Failure> {
    let id = find::id_responder(&message.payloads).ok_or_else(|| Failure::PeerMisbehaved("an IKE_AUTH response without IDr".into()))?;
    let identity = id.identity().map_err(|error| Failure::Unauthenticated(diagnosis::bad_identity(&error)))?;
    if core.connection.admits(&identity, None) {
        return Ok(());
    }
    Err(Failure::Unauthenticated(diagnosis::other_peer(&core.connection, &identity)))
}

/// It is known whether the responder is who it says.
pub(super) fn on_verified(
    state: AwaitResponse,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: &Protected,
    result: Result<PeerAuthenticated, Failure>,
) -> State {
    let authenticated = match result {
        Ok(authenticated) => authenticated,
        Err(refused @ Failure::Refused(..)) => return State::AwaitAuthResponse(state).close(core, cx, Some(refused)),
        Err(failure) => {
            // Section 2.21.2: the responder believes that the IKE SA exists, and is told in an exchange of its own.
            let kind = NotifyType::AUTHENTICATION_FAILED;
            let notify = alloc::vec![Payload::Notify(Notify::new(kind, Vec::new()))];
            return informational::delete_because(State::AwaitAuthResponse(state), core, cx, failure, notify);
        }
    };
    if message.form == Form::EapFirst {
        return eap::initiator::start(state, core, cx, message, false);
    }
    establish(state, core, cx, message, authenticated)
}

/// Both know each other.
pub(super) fn establish(
    state: AwaitResponse,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: &Protected,
    authenticated: PeerAuthenticated,
) -> State {
    let AwaitResponse { sk, child: wanted, transcript } = state;
    let nonces = [&transcript.initiator_nonce[..], &transcript.responder_nonce];
    // An initiator refuses nothing here: it began because it wants the IKE SA.
    let _accepted = supersede(core, cx, &authenticated, &message.payloads);
    configuration::take_reply(core, cx, &message.payloads);
    core.begin_authentication(cx, &message.payloads);
    mobike::agree(core, &message.payloads);
    let mut established = Established::new(core, cx, sk, message.verified, authenticated);
    if begins_childless(core) {
        cx.shared.return_spi(wanted.spi);
        core.tasks.push_front(Task::CreateChild(wanted.index));
    } else if let Err(failure) = established.take_answer(core, cx, &wanted, &message.payloads, nonces) {
        core.wanted_child_failed(cx, wanted.index, &failure);
    }
    State::Established(established)
}
