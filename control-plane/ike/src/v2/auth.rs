//! IKE_AUTH with pre-shared keys (RFC 7296 sections 1.2 and 2.15).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::rules::Form;
use ike_wire::{Auth, AuthMethod, ExchangeType, Header, Identification, Notify, NotifyType, Payload};
use ipsec_types::{Identity, Secret};

use crate::child::{Child, Replaces};
use crate::config::Unique;
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::{Failure, Fault, Phase, Reaction};
use crate::negotiate::{self, KeyExchange};
use crate::peers::Superseded;
use crate::policy::ConnectionRef;
use crate::v2::create_child::{self, Answer, Seed, ends};
use crate::v2::find::{self, notification};
use crate::v2::init::WantedChild;
use crate::v2::keys::Role;
use crate::v2::sk::SkVerified;
use crate::v2::{Core, Established, Protected, Sk, State, informational};

/// Proof that the peer holds the key of the identity it claims. Only [`verify`] makes one; a rekeyed IKE SA inherits it.
#[derive(Clone)]
pub(crate) struct PeerAuthenticated {
    identity: Identity,
}

impl PeerAuthenticated {
    /// Who the peer is.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// What was said in IKE_SA_INIT, as AUTH covers it.
pub(crate) struct Transcript {
    pub(crate) request: Vec<u8>,
    pub(crate) response: Vec<u8>,
    pub(crate) initiator_nonce: Vec<u8>,
    pub(crate) responder_nonce: Vec<u8>,
}

/// Initiator; waits for the response.
pub(crate) struct AwaitResponse {
    pub(crate) sk: Sk,
    pub(crate) child: WantedChild,
    transcript: Transcript,
}

/// Responder; waits for the request.
pub(crate) struct AwaitRequest {
    pub(crate) sk: Sk,
    pub(crate) transcript: Transcript,
}

/// Responder; the peer is authenticated, its answer waits for the data plane.
pub(crate) struct Installing {
    pub(crate) sk: Sk,
    pub(crate) child: Child,
    authenticated: PeerAuthenticated,
    verified: SkVerified,
    /// The request's.
    header: Header,
    /// IDr and AUTH, which go out in any case.
    proof: Vec<Payload>,
    /// `[N(USE_TRANSPORT_MODE),] SAr2, TSi, TSr`, which go out if the Child SA is in place.
    answer: Vec<Payload>,
}

/// `HDR, SK {IDi, [IDr,] AUTH, [N(USE_TRANSPORT_MODE),] SAi2, TSi, TSr}  -->`
pub(crate) fn send_request(core: &mut Core, cx: &mut Context<'_>, sk: Sk, transcript: Transcript, wanted: WantedChild) -> State {
    let mut state = AwaitResponse { sk, child: wanted, transcript };
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
    let Some(psk) = initiator_psk(&core.connection) else {
        let failure = core.connection.expected_peer().map_or_else(
            || Failure::Local("the peer's identity is not configured, nor its address: no shared key can be looked for".into()),
            |remote| Failure::Unauthenticated(diagnosis::no_key(&core.connection, &remote)),
        );
        return State::AwaitAuthResponse(state).close(core, cx, Some(failure));
    };
    let (local, remote) = match ends::offer(core, configured) {
        Ok(selectors) => selectors,
        Err(failure) => return State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    };
    let id = Identification::from(&core.connection.local_identity);
    let mut payloads = alloc::vec![Payload::IdInitiator(id.clone())];
    payloads.extend(core.connection.remote_identity.as_ref().map(|identity| Payload::IdResponder(Identification::from(identity))));
    payloads.extend(initial_contact(core, cx, core.connection.remote_identity.as_ref()));
    payloads.push(prove(&state.sk, Role::Initiator, psk, &state.transcript, &id));
    payloads.extend(ends::mode_notification(configured));
    payloads.push(Payload::Sa(negotiate::offer_child(&configured.proposals, state.child.spi.spi, KeyExchange::Ignored)));
    payloads.push(Payload::TsInitiator(local.into_iter().collect()));
    payloads.push(Payload::TsResponder(remote.into_iter().collect()));
    match core.request(cx, &state.sk, ExchangeType::IKE_AUTH, &payloads) {
        Ok(()) => State::AwaitAuthResponse(state),
        Err(failure) => State::AwaitAuthResponse(state).close(core, cx, Some(failure)),
    }
}

/// The initiator's key must be chosen before the peer has said who it is.
fn initiator_psk(connection: &ConnectionRef) -> Option<&Secret> {
    connection.psk(&connection.expected_peer()?)
}

/// AUTH of `role`, which is ours.
fn prove(sk: &Sk, role: Role, psk: &Secret, transcript: &Transcript, id: &Identification) -> Payload {
    let auth = expected(sk, role, psk, transcript, id);
    Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: auth.expose().to_vec() })
}

/// AUTH as `role` computes it: its own message, then the other side's nonce (section 2.15).
fn expected(sk: &Sk, role: Role, psk: &Secret, transcript: &Transcript, id: &Identification) -> Secret {
    let (message, nonce) = match role {
        Role::Initiator => (&transcript.request, &transcript.responder_nonce),
        Role::Responder => (&transcript.response, &transcript.initiator_nonce),
    };
    sk.keys.shared_key_auth(role, psk, message, nonce, id)
}

/// Checks the peer's AUTH, in constant time.
fn verify(
    connection: &ConnectionRef,
    sk: &Sk,
    peer: Role,
    psk: &Secret,
    transcript: &Transcript,
    id: &Identification,
    auth: &Auth,
) -> Result<PeerAuthenticated, Fault> {
    let identity = id.identity().map_err(|error| Fault::Authentication(diagnosis::bad_identity(&error)))?;
    if auth.method != AuthMethod::SHARED_KEY {
        return Err(Fault::Authentication(diagnosis::wrong_method(connection, &identity.to_string(), &auth.method.to_string())));
    }
    if Secret::copy_from(&auth.data) != expected(sk, peer, psk, transcript, id) {
        return Err(Fault::Authentication(diagnosis::wrong_key(connection, &identity)));
    }
    Ok(PeerAuthenticated { identity })
}

/// The responder's side: who is it, is it true, and what does it want?
pub(crate) fn on_request(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    // Without an SPI the Child SA cannot be answered. The peer will ask again, and by then there will be some.
    if !cx.shared.can_install() {
        cx.shared.lease_spis();
        cx.shared.count("messages_ignored");
        return State::AwaitAuthRequest(state);
    }
    core.window.accepted();
    let authenticated = match authenticate_initiator(&state, core, message) {
        Ok(authenticated) => authenticated,
        Err(fault) => return reject(state, core, cx, message, &fault),
    };
    let Some(psk) = core.connection.psk(authenticated.identity()) else {
        let fault = Fault::Authentication(diagnosis::no_key(&core.connection, authenticated.identity()));
        return reject(state, core, cx, message, &fault);
    };
    let id = Identification::from(&core.connection.local_identity);
    let auth = prove(&state.sk, Role::Responder, psk, &state.transcript, &id);
    let mut proof = alloc::vec![Payload::IdResponder(id), auth];
    proof.extend(initial_contact(core, cx, Some(authenticated.identity())));
    if let Err(fault) = supersede(core, cx, &authenticated, &message.payloads) {
        return reject(state, core, cx, message, &fault);
    }
    let nonces = [&state.transcript.initiator_nonce[..], &state.transcript.responder_nonce];
    let choice = create_child::choose(core, &[], &message.payloads, None, KeyExchange::Ignored);
    let seed = Seed { nonces, shared: None };
    match choice.and_then(|choice| create_child::answer(core, cx, &state.sk, &authenticated, choice, seed, Replaces::default())) {
        Ok(Answer { child, sa, selectors }) => State::Installing(Installing {
            sk: state.sk,
            child,
            authenticated,
            verified: message.verified,
            header: message.header,
            proof,
            answer: sa.into_iter().chain(selectors).collect(),
        }),
        Err(fault) => establish_childless(core, cx, state.sk, authenticated, message, proof, fault),
    }
}

/// Section 2.4: we have no other IKE SA with this peer, and it may forget those it believes in.
fn initial_contact(core: &Core, cx: &Context<'_>, remote: Option<&Identity>) -> Option<Payload> {
    let first = core.connection.unique != Unique::Never && !cx.shared.peers.knows(core, remote);
    first.then(|| Payload::Notify(Notify::new(NotifyType::INITIAL_CONTACT, Vec::new())))
}

/// What becomes of earlier IKE SAs between the same identities, now that the peer is authenticated. A responder may refuse.
fn supersede(core: &Core, cx: &mut Context<'_>, authenticated: &PeerAuthenticated, payloads: &[Payload]) -> Result<(), Fault> {
    let earlier = cx.shared.peers.before(core, authenticated.identity());
    let forgotten = notification(payloads, |kind| kind == NotifyType::INITIAL_CONTACT).is_some();
    match core.connection.unique {
        Unique::Never => {}
        Unique::Keep if !forgotten && core.role == Role::Responder && !earlier.is_empty() => {
            return Err(Fault::Authentication(diagnosis::not_unique(&core.connection, authenticated.identity())));
        }
        Unique::Replace if !forgotten => {
            cx.shared.peers.superseded.extend(earlier.into_iter().map(Superseded::Unwanted));
        }
        Unique::No | Unique::Keep | Unique::Replace if forgotten => {
            cx.shared.peers.superseded.extend(earlier.into_iter().map(Superseded::Forgotten));
        }
        Unique::No | Unique::Keep | Unique::Replace => {}
    }
    Ok(())
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
    cx.fail(Some(&core.connection.name), core.remote, fault.into());
    let sent = core.respond(cx, &sk, &message.header, &proof);
    let established = Established::new(core, cx, sk, message.verified, authenticated);
    match sent {
        Ok(()) => State::Established(established),
        Err(failure) => State::Established(established).close(core, cx, Some(failure)),
    }
}

fn authenticate_initiator(state: &AwaitRequest, core: &mut Core, message: &Protected) -> Result<PeerAuthenticated, Fault> {
    if message.form != Form::Normal {
        return Err(Fault::Authentication(diagnosis::wrong_method(&core.connection, "the peer", "EAP")));
    }
    let payloads = &message.payloads;
    let missing = || Fault::Syntax("IDi or AUTH is missing".into());
    let (id, auth) = find::id_initiator(payloads).zip(find::auth(payloads)).ok_or_else(missing)?;
    let unreadable = |error| Fault::Authentication(diagnosis::bad_identity(&error));
    let remote = id.identity().map_err(unreadable)?;
    let local = find::id_responder(payloads).map(Identification::identity).transpose().map_err(unreadable)?;
    let candidates: Vec<ConnectionRef> = core.connection.siblings(core.local.ip(), core.remote.ip()).collect();
    let found = candidates.iter().find(|connection| connection.admits(&remote, local.as_ref()) && allows(connection, &state.sk));
    let unknown = || Fault::Authentication(diagnosis::unknown_peer(&candidates, &remote, local.as_ref()));
    core.connection = found.cloned().ok_or_else(unknown)?;
    let no_key = || Fault::Authentication(diagnosis::no_key(&core.connection, &remote));
    let psk = core.connection.psk(&remote).ok_or_else(no_key)?;
    verify(&core.connection, &state.sk, Role::Initiator, psk, &state.transcript, id, auth)
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

/// The peer is refused: it is told why, protected, and forgotten.
fn reject(state: AwaitRequest, core: &mut Core, cx: &mut Context<'_>, message: &Protected, fault: &Fault) -> State {
    let failure = Failure::from(fault.clone());
    if let Reaction::NotifyAndClose(notify) | Reaction::Notify(notify) = fault.reaction(Phase::Auth) {
        let _sent = core.respond(cx, &state.sk, &message.header, &[Payload::Notify(notify)]);
    }
    informational::gone(State::AwaitAuthRequest(state), core, cx, Some(failure))
}

/// The data plane has the first Child SA, or not: now the initiator is answered.
/// `<--  HDR, SK {IDr, AUTH, [N(USE_TRANSPORT_MODE),] SAr2, TSi, TSr}`
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
            cx.shared.children.remove(&child.id);
            cx.fail(Some(&core.connection.name), core.remote, fault.into());
        }
    }
    match sent {
        Ok(()) => State::Established(established),
        Err(failure) => State::Established(established).close(core, cx, Some(failure)),
    }
}

/// The initiator's side.
pub(crate) fn on_response(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, message: &Protected) -> State {
    core.window.completed();
    let authenticated = match authenticate_responder(&state, core, message) {
        Ok(authenticated) => authenticated,
        Err(refused @ Failure::Refused(..)) => return State::AwaitAuthResponse(state).close(core, cx, Some(refused)),
        Err(failure) => {
            // Section 2.21.2: the responder believes that the IKE SA exists, and is told in an exchange of its own.
            let kind = NotifyType::AUTHENTICATION_FAILED;
            let notify = alloc::vec![Payload::Notify(Notify::new(kind, Vec::new()))];
            return informational::delete_because(State::AwaitAuthResponse(state), core, cx, failure, notify);
        }
    };
    let AwaitResponse { sk, child: wanted, transcript } = state;
    let nonces = [&transcript.initiator_nonce[..], &transcript.responder_nonce];
    // An initiator refuses nothing here: it began because it wants the IKE SA.
    let _accepted = supersede(core, cx, &authenticated, &message.payloads);
    let mut established = Established::new(core, cx, sk, message.verified, authenticated);
    if let Err(failure) = established.take_answer(core, cx, &wanted, &message.payloads, nonces) {
        core.wanted_child_failed(cx, wanted.index, &failure);
    }
    State::Established(established)
}

fn authenticate_responder(state: &AwaitResponse, core: &Core, message: &Protected) -> Result<PeerAuthenticated, Failure> {
    let payloads = &message.payloads;
    let Some((id, auth)) = find::id_responder(payloads).zip(find::auth(payloads)) else {
        let asked = core.connection.child(state.child.index).map_or(Asked::Nothing, Asked::Child);
        let refused = notification(payloads, NotifyType::is_error).map(|notify| diagnosis::refused(&core.connection, notify.kind, asked));
        return Err(refused.unwrap_or_else(|| Failure::PeerMisbehaved("an IKE_AUTH response without IDr and AUTH".into())));
    };
    let identity = id.identity().map_err(|error| Failure::Unauthenticated(diagnosis::bad_identity(&error)))?;
    if !core.connection.admits(&identity, None) {
        return Err(Failure::Unauthenticated(diagnosis::other_peer(&core.connection, &identity)));
    }
    let psk = initiator_psk(&core.connection).ok_or_else(|| Failure::Local("the shared key is gone".into()))?;
    Ok(verify(&core.connection, &state.sk, Role::Responder, psk, &state.transcript, id, auth)?)
}
