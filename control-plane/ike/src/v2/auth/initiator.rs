//! The initiator's side of IKE_AUTH.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{ExchangeType, Identification, Notify, NotifyType, Payload};
use ipsec_types::Secret;

use super::proof::{self, Proof};
use super::verification::{self, PeerAuthenticated, Shown, Verification};
use super::{Authenticating, Step, Transcript, begins_childless, certificate_request, eap, initial_contact, own_id, rounds, supersede};
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
use crate::v2::{Core, Established, Protected, Sk, State, Task, crash, informational, mobike, ppk, redirect};

/// Waits for the response.
pub(crate) struct AwaitResponse {
    pub(crate) sk: Sk,
    pub(crate) child: WantedChild,
    pub(super) transcript: Transcript,
    /// AUTH was left out.
    pub(super) asks_for_eap: bool,
}

impl AwaitResponse {
    /// Before the first round.
    pub(crate) const fn new(sk: Sk, child: WantedChild, transcript: Transcript) -> Self {
        Self { sk, child, transcript, asks_for_eap: false }
    }
}

/// The next round begins: AUTH comes first, or is left out to ask for EAP (section 2.16).
pub(crate) fn start(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>) -> State {
    core.rounds.begin();
    if let LocalAuth::Eap(_) = core.own_round().1 {
        return send(AwaitResponse { asks_for_eap: true, ..state }, core, cx, Vec::new());
    }
    prove(state, core, cx)
}

/// AUTH; of a PPK that the responder may leave out twice, first the one without it.
fn prove(mut state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>) -> State {
    let begun =
        ppk::before_proof(core, cx, &mut state.sk).and_then(|()| proof::begin(core, cx, &state.sk, &state.transcript, initiator_psk));
    match begun {
        Ok(Proof::Made(proof)) => on_proof(state, core, cx, proof),
        Ok(Proof::Signing(job, pending)) => {
            let AwaitResponse { sk, child, transcript, .. } = state;
            State::Authenticating(Box::new(Authenticating {
                sk,
                transcript,
                first: None,
                job: Some(job),
                step: Step::Request { child, pending },
            }))
        }
        Err(failure) => State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    }
}

fn on_proof(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, proof: Vec<Payload>) -> State {
    if ppk::keep(core, &state.sk, &proof) { prove(state, core, cx) } else { send(state, core, cx, proof) }
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
        Ok(proof) => on_proof(state, core, cx, proof),
        Err(failure) => State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    }
}

fn send(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, proof: Vec<Payload>) -> State {
    if core.rounds.is_first() {
        return send_request(state, core, cx, proof);
    }
    let another = core.another_follows().filter(|_| !proof.is_empty());
    let id = core::iter::once(Payload::IdInitiator(own_id(core)));
    send_further(state, core, cx, &id.chain(proof).chain(another).collect::<Vec<_>>())
}

/// `HDR, SK {IDi, [CERT,] [AUTH]}  -->` in a further round, or `HDR, SK {}  -->` where only the peer has one.
fn send_further(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, payloads: &[Payload]) -> State {
    match core.request(cx, &state.sk, ExchangeType::IKE_AUTH, payloads) {
        Ok(()) => State::AwaitAuthResponse(state),
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
    payloads.extend(certificate_request(core.connection.remote_rounds().map(|(_, way)| way)));
    payloads.extend(core.connection.one_peer().map(|identity| Payload::IdResponder(Identification::from(identity))));
    payloads.extend(initial_contact(core, cx, core.connection.one_peer()));
    payloads.extend(eap_alone(&core.connection).then(|| Payload::Notify(Notify::new(NotifyType::EAP_ONLY_AUTHENTICATION, Vec::new()))));
    payloads.extend(rounds::supported(core::iter::once(&*core.connection)));
    payloads.extend(core.another_follows().filter(|_| auth.is_some()));
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
    payloads.extend(ppk::claim(core, &state.sk));
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
pub(crate) fn on_response(mut state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, message: Protected) -> State {
    core.window.completed();
    if core.peer_round().is_none() {
        // It has shown everything, and waits for the rest of ours.
        return match expect_nothing(&state, core, &message) {
            Ok(()) => go_on(state, core, cx, &message),
            Err(failure) => on_verified(state, core, cx, &message, Err(failure)),
        };
    }
    let first = core.rounds.is_first() && message.form == Form::EapFirst;
    if first && find::auth(&message.payloads).is_none() && eap_alone(&core.connection) {
        return match identify(core, &message) {
            Ok(()) => eap::initiator::start(state, core, cx, &message, true),
            Err(failure) => on_verified(state, core, cx, &message, Err(failure)),
        };
    }
    match verify(&mut state, core, cx, &message) {
        Ok(Verification::Done(shown)) => on_verified(state, core, cx, &message, Ok(shown)),
        Ok(Verification::Checking(job, pending)) => {
            let AwaitResponse { sk, child, transcript, .. } = state;
            State::Authenticating(Box::new(Authenticating {
                sk,
                transcript,
                first: None,
                job: Some(job),
                step: Step::Response { child, message, pending },
            }))
        }
        Err(failure) => on_verified(state, core, cx, &message, Err(failure)),
    }
}

fn verify(state: &mut AwaitResponse, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> Result<Verification, Failure> {
    let payloads = &message.payloads;
    let Some((id, auth)) = find::id_responder(payloads).zip(find::auth(payloads)) else {
        return Err(
            refusal(state, core, payloads).unwrap_or_else(|| Failure::PeerMisbehaved("an IKE_AUTH response without IDr and AUTH".into()))
        );
    };
    let elsewhere = first_redirect(core, message).is_some();
    if !elsewhere && state.asks_for_eap != find::eap(payloads).is_some() && (state.asks_for_eap || message.form != Form::Error) {
        return Err(Failure::PeerMisbehaved(if state.asks_for_eap { WITHOUT_EAP } else { UNASKED_EAP }.into()));
    }
    identify(core, message)?;
    ppk::conclude(core, cx, &mut state.sk, payloads)?;
    Ok(verification::begin(core, cx, &state.sk, &state.transcript, (id, auth), payloads)?)
}

const WITHOUT_EAP: &str = "an IKE_AUTH response without EAP, which was asked for";
const UNASKED_EAP: &str = "EAP that nobody has asked for";

/// The responder has nothing more to show, and shows nothing. Once we have not either, an error is the Child SA's alone, if it is one of those.
fn expect_nothing(state: &AwaitResponse, core: &Core, message: &Protected) -> Result<(), Failure> {
    let payloads = &message.payloads;
    let at_end = !state.asks_for_eap && !core.rounds.more_of_ours(&core.connection);
    let childs_alone = |kind| {
        let kinds = [
            NotifyType::NO_PROPOSAL_CHOSEN,
            NotifyType::TS_UNACCEPTABLE,
            NotifyType::SINGLE_PAIR_REQUIRED,
            NotifyType::INTERNAL_ADDRESS_FAILURE,
            NotifyType::FAILED_CP_REQUIRED,
            NotifyType::NO_ADDITIONAL_SAS,
        ];
        at_end && kinds.contains(&kind)
    };
    let refused = notification(payloads, |kind| kind.is_error() && !childs_alone(kind)).and_then(|_| refusal(state, core, payloads));
    if let Some(refused) = refused {
        return Err(refused);
    }
    if find::auth(payloads).is_some() || find::id_responder(payloads).is_some() {
        return Err(Failure::Unauthenticated(diagnosis::other_rounds(&core.connection, core.rounds.shown().len(), true)));
    }
    match (state.asks_for_eap, find::eap(payloads).is_some()) {
        (true, false) => Err(Failure::PeerMisbehaved(WITHOUT_EAP.into())),
        (false, true) => Err(Failure::PeerMisbehaved(UNASKED_EAP.into())),
        _ => Ok(()),
    }
}

/// Whether the responder sends us elsewhere in its first response: "the client MUST accept the REDIRECT notification only in the first IKE_AUTH
/// response or the last IKE_AUTH response" (RFC 5685 section 6).
fn first_redirect<'a>(core: &Core, message: &'a Protected) -> Option<&'a Notify> {
    redirect::asked(core, &message.payloads).filter(|_| message.header.message_id == 1)
}

/// What the responder says against us.
fn refusal(state: &AwaitResponse, core: &Core, payloads: &[Payload]) -> Option<Failure> {
    let asked = core.connection.child(state.child.index).map_or(Asked::Nothing, Asked::Child);
    notification(payloads, NotifyType::is_error).map(|notify| diagnosis::refused(&core.connection, notify.kind, asked))
}

/// Who the responder says it is has to be whom we have called.
fn identify(core: &mut Core, message: &Protected) -> Result<(), Failure> {
    let id = find::id_responder(&message.payloads).ok_or_else(|| Failure::PeerMisbehaved("an IKE_AUTH response without IDr".into()))?;
    let identity = id.identity().map_err(|error| Failure::Unauthenticated(diagnosis::bad_identity(&error)))?;
    let wanted = core.peer_round().and_then(|(wanted, _)| wanted);
    if wanted.is_none_or(|wanted| wanted.admits(&identity)) {
        core.rounds.peer = Some(id.clone());
        return Ok(());
    }
    Err(Failure::Unauthenticated(diagnosis::other_peer(&core.connection, wanted, &identity)))
}

/// It is known whether the responder is who it says.
pub(super) fn on_verified(
    state: AwaitResponse,
    core: &mut Core,
    cx: &mut Context<'_>,
    message: &Protected,
    result: Result<Shown, Failure>,
) -> State {
    match result.and_then(|shown| Ok(core.count_round(cx, shown, &message.payloads)?)) {
        Ok(()) => go_on(state, core, cx, message),
        Err(refused @ Failure::Refused(..)) => State::AwaitAuthResponse(state).close(core, cx, Some(refused)),
        Err(failure) => {
            // Section 2.21.2: the responder believes that the IKE SA exists, and is told in an exchange of its own.
            let kind = NotifyType::AUTHENTICATION_FAILED;
            let notify = alloc::vec![Payload::Notify(Notify::new(kind, Vec::new()))];
            informational::delete_because(State::AwaitAuthResponse(state), core, cx, failure, notify)
        }
    }
}

/// What the responder has said is as it should be: EAP begins, or what we have to show besides, or the peer has; or all is shown.
pub(super) fn go_on(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    let more = state.asks_for_eap || core.rounds.more_of_ours(&core.connection) || core.rounds.more_of_the_peers(&core.connection);
    if let Some(elsewhere) = first_redirect(core, message).filter(|_| more) {
        return redirect::instead(state, core, cx, elsewhere);
    }
    if state.asks_for_eap {
        return eap::initiator::start(state, core, cx, message, false);
    }
    if core.rounds.more_of_ours(&core.connection) {
        return start(state, core, cx);
    }
    if core.rounds.more_of_the_peers(&core.connection) {
        return send_further(state, core, cx, &[]);
    }
    match PeerAuthenticated::after(core) {
        Ok(authenticated) => establish(state, core, cx, message, authenticated),
        Err(fault) => on_verified(state, core, cx, message, Err(fault.into())),
    }
}

/// Both know each other.
fn establish(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, message: &Protected, authenticated: PeerAuthenticated) -> State {
    let AwaitResponse { sk, child: wanted, transcript, .. } = state;
    let nonces = [&transcript.initiator_nonce[..], &transcript.responder_nonce];
    // An initiator refuses nothing here: it began because it wants the IKE SA.
    let _accepted = supersede(core, cx, &authenticated, &message.payloads);
    configuration::take_reply(core, cx, &message.payloads);
    core.begin_authentication(cx, &message.payloads);
    mobike::agree(core, &message.payloads);
    let mut established = Established::new(core, cx, sk, message.verified, authenticated);
    if let Some(elsewhere) = redirect::asked(core, &message.payloads) {
        cx.shared.return_spi(wanted.spi);
        if let Err(failure) = established.redirect(core, cx, elsewhere) {
            core.wanted_child_failed(cx, wanted.index, &failure);
            core.give_up();
        }
        return State::Established(established);
    }
    if begins_childless(core) {
        cx.shared.return_spi(wanted.spi);
        core.tasks.push_front(Task::CreateChild(wanted.index));
    } else if let Err(failure) = established.take_answer(core, cx, &wanted, &message.payloads, nonces) {
        core.wanted_child_failed(cx, wanted.index, &failure);
    }
    State::Established(established)
}
