//! IKE_SA_INIT (RFC 7296 sections 1.2, 2.6, 2.7).

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;

use ike_wire::payload::signature;
use ike_wire::rules::{self, Form};
use ike_wire::{KeyExchange, Nonce, Notify, NotifyType, Payload, Protocol, Redirect, Sa};
use ipsec_types::{HashAlgorithm, IkeSpi, KeyExchangeMethod, Secret};

use crate::config::{Childless, LocalAuth, RemoteAuth};
use crate::context::{Context, LeasedSpi};
use crate::diagnosis::{self, Asked};
use crate::error::{Failure, Fault};
use crate::io::{Job, JobId};
use crate::negotiate::{self, Chosen, IkeSuite};
use crate::policy::ConnectionRef;
use crate::provider::{CryptoError, PrivateKey};
use crate::v2::find::{self, notification};
use crate::v2::keys::{Exchanged, IkeKeys};
use crate::v2::nat::{self, HeaderSpis};
use crate::v2::ppk;
use crate::v2::receive::trace_clear;
use crate::v2::{Core, IkeSa, Incoming, Sk, State, auth, redirect};
use crate::window::Arrival;

/// What tells one IKE_SA_INIT request from another (section 2.1).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct InitKey {
    pub(crate) remote: SocketAddr,
    pub(crate) initiator_spi: u64,
    pub(crate) nonce: Vec<u8>,
}

/// The Child SA an initiator begins with.
pub(crate) struct WantedChild {
    pub(crate) index: usize,
    pub(crate) spi: LeasedSpi,
}

/// What an initiator keeps over repeated IKE_SA_INIT exchanges.
pub(crate) struct Attempt {
    pub(crate) child: WantedChild,
    nonce: Vec<u8>,
    cookie: Option<Vec<u8>>,
    method: KeyExchangeMethod,
    /// COOKIE and INVALID_KE_PAYLOAD seen so far.
    detours: u8,
}

/// Waits for a key pair.
pub(crate) struct Generating {
    pub(crate) attempt: Attempt,
    pub(crate) job: JobId,
}

/// Waits for the response.
pub(crate) struct AwaitInit {
    pub(crate) attempt: Attempt,
    private: Box<dyn PrivateKey>,
    request: Vec<u8>,
    /// What the request says behind the cookie.
    payloads: Vec<Payload>,
    /// An unprotected refusal: believed only if nothing better comes until the next retransmission (section 2.21.1).
    refused: Option<Failure>,
}

/// Waits for the shared secret.
pub(crate) struct Agreeing {
    pub(crate) attempt: Attempt,
    pub(crate) job: JobId,
    suite: IkeSuite,
    request: Vec<u8>,
    response: Vec<u8>,
    responder_nonce: Vec<u8>,
}

/// A responder's; waits for key pair and shared secret.
pub(crate) struct Responding {
    pub(crate) job: JobId,
    chosen: Chosen<IkeSuite>,
    request: Vec<u8>,
    initiator_nonce: Vec<u8>,
}

/// COOKIE and INVALID_KE_PAYLOAD that are followed before an initiator gives up: anybody can send them.
const MOST_DETOURS: u8 = 6;
/// Octets of our nonces: at least half the longest PRF's key (section 2.10).
const NONCE_LEN: usize = 32;

/// A fresh nonce.
pub(crate) fn nonce(cx: &mut Context<'_>) -> Vec<u8> {
    cx.octets(NONCE_LEN)
}

/// Begins: the key pair comes first.
pub(crate) fn start(core: &Core, cx: &mut Context<'_>, child: WantedChild) -> Result<State, (Failure, WantedChild)> {
    let provider = cx.shared.provider;
    let offered = negotiate::offer_ike(&core.connection.proposals, None, &provider);
    let Some(method) = negotiate::methods(&offered).next() else {
        return Err((Failure::Local("no configured IKE proposal can be offered: the algorithms are not available".into()), child));
    };
    if let Err(failure) = ppk::check(&core.connection) {
        return Err((failure, child));
    }
    let attempt = Attempt { child, nonce: nonce(cx), cookie: None, method, detours: 0 };
    let lines = diagnosis::begins(&core.connection, attempt.child.index, core.local, core.remote);
    core.step(cx, &format!("connection {} begins", core.connection.name), lines);
    Ok(generate(core, cx, attempt))
}

fn generate(core: &Core, cx: &mut Context<'_>, attempt: Attempt) -> State {
    let job = cx.shared.job(core.id, Job::Generate { method: attempt.method });
    State::Generating(Generating { attempt, job })
}

/// `HDR, [N(COOKIE),] SAi1, KEi, Ni, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)  -->`
pub(crate) fn on_generated(
    state: Generating,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>,
) -> State {
    match result {
        Ok((private, public)) => {
            let payloads = ask(&state.attempt, core, cx, public);
            send_request(state.attempt, core, cx, private, payloads)
        }
        Err(error) => State::Generating(state).close(core, cx, Some(error.into())),
    }
}

/// Everything but the cookie.
fn ask(attempt: &Attempt, core: &Core, cx: &mut Context<'_>, public: Vec<u8>) -> Vec<Payload> {
    let provider = cx.shared.provider;
    let mut payloads = alloc::vec![
        Payload::Sa(negotiate::offer_ike(&core.connection.proposals, None, &provider)),
        Payload::KeyExchange(KeyExchange::new(attempt.method, public)),
    ];
    payloads.extend(Nonce::new(attempt.nonce.clone()).map(Payload::Nonce));
    let spis = HeaderSpis(core.initiator_spi.value(), 0);
    payloads.extend(nat::notifications(cx, spis, core.local, core.remote, core.connection.force_encapsulation));
    payloads.extend(hash_algorithms(core::iter::once(&core.connection)));
    payloads.extend(core.connection.fragmentation.is_announced().then(|| saying(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED)));
    payloads.extend(redirect::announce(core));
    payloads.extend(ppk::offer(&core.connection));
    payloads
}

fn send_request(attempt: Attempt, core: &mut Core, cx: &mut Context<'_>, private: Box<dyn PrivateKey>, payloads: Vec<Payload>) -> State {
    let cookie = attempt.cookie.as_ref().map(|cookie| Payload::Notify(Notify::new(NotifyType::COOKIE, cookie.clone())));
    match core.send_init(cx, false, cookie.into_iter().chain(payloads.iter().cloned()).collect()) {
        Ok(request) => State::AwaitInit(AwaitInit { attempt, private, request, payloads, refused: None }),
        Err(failure) => {
            cx.shared.return_spi(attempt.child.spi);
            core.release(cx, &failure);
            cx.fail(Some(&core.connection.name), core.remote, failure);
            State::Closed
        }
    }
}

/// `<--  HDR, SAr1, KEr, Nr, ...`, or a detour, or a refusal. All of it unprotected: what does not fit is ignored.
pub(crate) fn on_response(state: AwaitInit, core: &mut Core, cx: &mut Context<'_>, incoming: &Incoming) -> State {
    let header = incoming.header();
    let is_response = core.window.classify(&header) == Arrival::Response;
    let form = rules::check(&header, &incoming.message.payloads).ok().filter(|_| is_response);
    let Some(form) = form else {
        cx.shared.count("messages_ignored");
        return State::AwaitInit(state);
    };
    trace_clear(cx, Some(&core.connection.name), incoming, false);
    match form {
        Form::Cookie => on_cookie(state, core, cx, incoming),
        Form::OtherGroup => on_other_group(state, core, cx, incoming),
        Form::Redirect => on_redirect(state, core, cx, incoming),
        Form::Normal => on_answer(state, core, cx, incoming),
        _ => {
            let kind = notification(&incoming.message.payloads, NotifyType::is_error).map_or(NotifyType(0), |notify| notify.kind);
            let refused = diagnosis::refused(&core.connection, kind, Asked::IkeSa);
            State::AwaitInit(AwaitInit { refused: Some(refused), ..state })
        }
    }
}

/// Section 2.6: the same request again, with the cookie in front "and all other payloads unchanged".
fn on_cookie(mut state: AwaitInit, core: &mut Core, cx: &mut Context<'_>, incoming: &Incoming) -> State {
    let cookie = notification(&incoming.message.payloads, |kind| kind == NotifyType::COOKIE).map(|notify| notify.data.clone());
    // Section 2.6: 1 to 64 octets.
    let Some(cookie) = cookie.filter(|cookie| (1..=64).contains(&cookie.len())) else { return State::AwaitInit(state) };
    if state.attempt.detours >= MOST_DETOURS || state.attempt.cookie.as_ref() == Some(&cookie) {
        return State::AwaitInit(state);
    }
    state.attempt.detours += 1;
    state.attempt.cookie = Some(cookie);
    send_request(state.attempt, core, cx, state.private, state.payloads)
}

/// Section 1.2: the responder names the method it wants; it must be one we offered. The cookie is kept (section 2.6.1).
fn on_other_group(mut state: AwaitInit, core: &mut Core, cx: &mut Context<'_>, incoming: &Incoming) -> State {
    let offered = negotiate::offer_ike(&core.connection.proposals, None, &cx.shared.provider);
    let named = find::other_method(&incoming.message.payloads);
    match named.filter(|method| negotiate::methods(&offered).any(|offered| offered == *method)) {
        // The network has repeated what was followed already.
        Some(method) if method == state.attempt.method => State::AwaitInit(state),
        Some(method) if state.attempt.detours < MOST_DETOURS => {
            state.attempt.detours += 1;
            state.attempt.method = method;
            core.window.withdraw();
            generate(core, cx, state.attempt)
        }
        _ => {
            let refused = diagnosis::refused(&core.connection, NotifyType::INVALID_KE_PAYLOAD, Asked::IkeSa);
            State::AwaitInit(AwaitInit { refused: Some(refused), ..state })
        }
    }
}

/// RFC 5685 section 3: the nonce is ours, or anybody may have sent this. What is asked of the other gateway is another exchange.
fn on_redirect(mut state: AwaitInit, core: &mut Core, cx: &mut Context<'_>, incoming: &Incoming) -> State {
    let redirect = redirect::said(&incoming.message.payloads).and_then(|notify| Redirect::parse(&notify.data));
    let Some(redirect) = redirect.filter(|redirect| redirect.nonce == state.attempt.nonce) else {
        cx.shared.count("messages_ignored");
        return State::AwaitInit(state);
    };
    match redirect::accept(core, cx, &redirect.gateway) {
        Ok(to) => {
            core.redirected_from = Some(core.remote.ip());
            let local = core.local_towards(cx, to).unwrap_or_else(|| core.local.ip());
            (core.local, core.remote) = (SocketAddr::new(local, nat::IKE_PORT), SocketAddr::new(to, nat::IKE_PORT));
            core.reply_to = (core.local, core.remote);
            cx.shared.calls(to);
            core.window.withdraw();
            // What the first gateway may still say is for nobody.
            cx.shared.by_spi.remove(&core.initiator_spi);
            core.initiator_spi = cx.ike_spi();
            cx.shared.by_spi.insert(core.initiator_spi, core.id);
            state.attempt.nonce = nonce(cx);
            state.attempt.cookie = None;
            generate(core, cx, state.attempt)
        }
        Err(failure) => State::AwaitInit(AwaitInit { refused: Some(failure), ..state }),
    }
}

fn on_answer(state: AwaitInit, core: &mut Core, cx: &mut Context<'_>, incoming: &Incoming) -> State {
    let payloads = &incoming.message.payloads;
    let (Some((sa, ke, nonce)), Some(responder_spi)) = (find::offer(payloads), incoming.header().responder()) else {
        return State::AwaitInit(state);
    };
    let suite = negotiate::accept_ike(&core.connection.proposals, sa, &cx.shared.provider);
    let Some(suite) = suite.filter(|suite| suite.method == state.attempt.method && ke.method() == Some(suite.method)) else {
        let difference = diagnosis::not_offered(&core.connection.proposals, sa);
        return State::AwaitInit(AwaitInit { refused: Some(Failure::PeerMisbehaved(difference)), ..state });
    };
    if core.connection.childless == Childless::Force && !says(payloads, NotifyType::CHILDLESS_IKEV2_SUPPORTED) {
        return State::AwaitInit(AwaitInit { refused: Some(diagnosis::not_childless(&core.connection)), ..state });
    }
    if core.connection.has_rounds() && !says(payloads, NotifyType::MULTIPLE_AUTH_SUPPORTED) {
        return State::AwaitInit(AwaitInit { refused: Some(diagnosis::not_multiple(&core.connection)), ..state });
    }
    // Section 6 of RFC 8784: somebody else may have answered, so that a better answer is waited for.
    if let Err(failure) = ppk::answered(core, payloads) {
        return State::AwaitInit(AwaitInit { refused: Some(failure), ..state });
    }
    core.window.completed();
    core.responder_spi = Some(responder_spi);
    core.last_inbound = cx.now;
    let spis = HeaderSpis(core.initiator_spi.value(), responder_spi.value());
    core.nat = nat::detect(cx, spis, payloads, incoming.datagram.local, incoming.datagram.remote);
    core.peer_hashes = peer_hashes(payloads);
    core.extensions.fragmentation =
        core.connection.fragmentation.is_announced() && says(payloads, NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    core.extensions.childless = says(payloads, NotifyType::CHILDLESS_IKEV2_SUPPORTED);
    core.extensions.redirect = core.connection.follow_redirects;
    core.move_ports();
    let job = cx.shared.job(core.id, Job::Agree { private: state.private, peer_public: ke.data.clone() });
    State::Agreeing(Agreeing {
        attempt: state.attempt,
        job,
        suite,
        request: state.request,
        response: incoming.datagram.payload.clone(),
        responder_nonce: nonce.octets().to_vec(),
    })
}

/// The shared secret is there: keys, then IKE_AUTH.
pub(crate) fn on_agreed(state: Agreeing, core: &mut Core, cx: &mut Context<'_>, result: Result<Secret, CryptoError>) -> State {
    let keys = result.and_then(|shared| derive(core, cx, &state.suite, [&state.attempt.nonce, &state.responder_nonce], &shared));
    match keys {
        Ok(keys) => {
            let sk = Sk { suite: state.suite, keys };
            let transcript = auth::Transcript {
                request: state.request,
                response: state.response,
                initiator_nonce: state.attempt.nonce,
                responder_nonce: state.responder_nonce,
            };
            auth::initiator::start(auth::AwaitResponse::new(sk, state.attempt.child, transcript), core, cx)
        }
        Err(error) => State::Agreeing(state).close(core, cx, Some(error.into())),
    }
}

fn derive(core: &Core, cx: &mut Context<'_>, suite: &IkeSuite, nonces: [&[u8]; 2], shared: &Secret) -> Result<IkeKeys, CryptoError> {
    let responder_spi = core.responder_spi.ok_or(CryptoError::Length)?;
    let [initiator_nonce, responder_nonce] = nonces;
    let said = Exchanged { initiator_nonce, responder_nonce, initiator_spi: core.initiator_spi, responder_spi };
    let keys = IkeKeys::derive(suite, &said, shared, cx.shared.key_log())?;
    core.step(cx, &format!("derive keys: {}", suite.describe()), IkeKeys::names(suite));
    Ok(keys)
}

/// A request that passed every check that needs no state; the connection it will belong to until IKE_AUTH says better.
pub(crate) struct Admitted {
    chosen: Chosen<IkeSuite>,
    nonce: Vec<u8>,
    public: Vec<u8>,
}

/// The responder's choice, before any state is kept.
pub(crate) fn admit(cx: &Context<'_>, core_proposals: &[ipsec_types::IkeProposal], incoming: &Incoming) -> Result<Admitted, Fault> {
    let payloads = &incoming.message.payloads;
    let (sa, ke, nonce) = find::offer(payloads).ok_or_else(|| Fault::Syntax("payloads are missing".into()))?;
    let provider = cx.shared.provider;
    let chosen = negotiate::choose_ike(core_proposals, sa, ke.method(), &provider)
        .ok_or_else(|| Fault::Proposals(diagnosis::proposals(core_proposals, sa, diagnosis::IKE_TYPES)))?;
    if ke.method() != Some(chosen.suite.method) {
        return Err(Fault::Method(chosen.suite.method));
    }
    Ok(Admitted { chosen, nonce: nonce.octets().to_vec(), public: ke.data.clone() })
}

/// The responder begins: from here on there is state.
pub(crate) fn respond(core: &mut Core, cx: &mut Context<'_>, admitted: Admitted, incoming: &Incoming) -> State {
    let spis = HeaderSpis(core.initiator_spi.value(), 0);
    core.nat = nat::detect(cx, spis, &incoming.message.payloads, core.local, core.remote);
    core.peer_hashes = peer_hashes(&incoming.message.payloads);
    ppk::offered(core, &incoming.message.payloads);
    core.extensions.fragmentation =
        core.connection.fragmentation.is_announced() && says(&incoming.message.payloads, NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    core.init_request.clone_from(&incoming.datagram.payload);
    let lines = alloc::vec![format!("{} <- {}", core.local, core.remote), format!("proposal {}", admitted.chosen.suite.describe())];
    core.step(cx, &format!("connection {} matched", core.connection.name), lines);
    let job = Job::GenerateAndAgree { method: admitted.chosen.suite.method, peer_public: admitted.public };
    let job = cx.shared.job(core.id, job);
    State::Responding(Responding {
        job,
        chosen: admitted.chosen,
        request: incoming.datagram.payload.clone(),
        initiator_nonce: admitted.nonce,
    })
}

/// `<--  HDR, SAr1, KEr, Nr, N(NAT_DETECTION_SOURCE_IP), N(NAT_DETECTION_DESTINATION_IP)`
pub(crate) fn on_responded(
    state: Responding,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Vec<u8>, Secret), CryptoError>,
) -> State {
    let suite = state.chosen.suite;
    let responder_nonce = nonce(cx);
    let done = result.and_then(|(public, shared)| {
        let keys = derive(core, cx, &suite, [&state.initiator_nonce, &responder_nonce], &shared)?;
        Ok((public, keys))
    });
    let (public, keys) = match done {
        Ok(done) => done,
        Err(error) => return State::Responding(state).close(core, cx, Some(error.into())),
    };
    let mut payloads = alloc::vec![
        Payload::Sa(Sa { proposals: alloc::vec![state.chosen.answer.clone()] }),
        Payload::KeyExchange(KeyExchange::new(suite.method, public)),
    ];
    payloads.extend(Nonce::new(responder_nonce.clone()).map(Payload::Nonce));
    let spis = HeaderSpis(core.initiator_spi.value(), core.responder_spi.map_or(0, IkeSpi::value));
    payloads.extend(nat::notifications(cx, spis, core.local, core.remote, core.connection.force_encapsulation));
    // Which of them it will be, the peer says in IKE_AUTH.
    let candidates: Vec<ConnectionRef> = core.connection.siblings(core.local.ip(), core.remote.ip()).collect();
    let ways = candidates.iter().flat_map(|connection| connection.remote_rounds().map(|(_, way)| way));
    payloads.extend(auth::certificate_request(ways));
    payloads.extend(hash_algorithms(candidates.iter()));
    payloads.extend(core.extensions.fragmentation.then(|| saying(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED)));
    payloads.extend(ppk::accept(core, &candidates));
    core.extensions.childless = candidates.iter().any(|connection| connection.childless != Childless::Never);
    payloads.extend(core.extensions.childless.then(childless_supported));
    payloads.extend(auth::rounds::supported(candidates.iter().map(|connection| &**connection)));
    match core.send_init(cx, true, payloads) {
        Ok(response) => {
            let transcript = auth::Transcript { request: state.request, response, initiator_nonce: state.initiator_nonce, responder_nonce };
            State::AwaitAuthRequest(auth::AwaitRequest { sk: Sk { suite, keys }, transcript, first: None })
        }
        Err(failure) => State::Responding(state).close(core, cx, Some(failure)),
    }
}

/// SIGNATURE_HASH_ALGORITHMS, where a signature may come (RFC 7427 section 4). SHA-1 is not among what we ask for.
fn hash_algorithms<'a>(mut connections: impl Iterator<Item = &'a ConnectionRef>) -> Option<Payload> {
    const HASHES: &[HashAlgorithm] = &[HashAlgorithm::Sha256, HashAlgorithm::Sha384, HashAlgorithm::Sha512, HashAlgorithm::Identity];
    let signs = |connection: &ConnectionRef| {
        connection.local_rounds().any(|(_, way)| matches!(way, LocalAuth::PublicKey(_)))
            || connection.remote_rounds().any(|(_, way)| matches!(way, RemoteAuth::PublicKey(_)))
    };
    let notify = || Payload::Notify(Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, signature::hash_algorithms(HASHES)));
    connections.any(signs).then(notify)
}

/// A notification that is all there is to say.
pub(crate) fn saying(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, Vec::new()))
}

/// Whether it was said.
pub(crate) fn says(payloads: &[Payload], said: NotifyType) -> bool {
    notification(payloads, |kind| kind == said).is_some()
}

/// RFC 6023 section 4: of a responder, and about an IKE SA.
fn childless_supported() -> Payload {
    Payload::Notify(Notify { protocol: Protocol::IKE, ..Notify::new(NotifyType::CHILDLESS_IKEV2_SUPPORTED, Vec::new()) })
}

/// What the peer says there.
fn peer_hashes(payloads: &[Payload]) -> Option<Vec<HashAlgorithm>> {
    notification(payloads, |kind| kind == NotifyType::SIGNATURE_HASH_ALGORITHMS)
        .map(|notify| signature::known_hash_algorithms(&notify.data))
}

/// Whether an unprotected refusal came.
pub(crate) fn is_refused(state: &State) -> bool {
    matches!(state, State::AwaitInit(AwaitInit { refused: Some(_), .. }))
}

/// The peer is silent, or refused and was not contradicted.
pub(crate) fn give_up(sa: &mut IkeSa, cx: &mut Context<'_>) {
    let failure = match &sa.state {
        State::AwaitInit(AwaitInit { refused: Some(failure), .. }) => failure.clone(),
        _ => sa.core.timed_out(cx),
    };
    sa.close(cx, Some(failure));
}
