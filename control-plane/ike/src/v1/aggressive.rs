//! Aggressive mode (RFC 2409 sections 5.1 and 5.4): phase 1 in three messages, the identities in the clear, which therefore can choose the key.
//!
//! ```text
//! initiator                                                        responder
//! ---------                                                        ---------
//! Opening
//! AwaitAnswer  HDR, SA, KE, Ni, IDii, [CERTREQ,] VIDs       -->
//!                                                                  (signs)                  Answering, Authenticating
//!                                                           <--    HDR, SA, KE, Nr, IDir, proof, [CERTREQ,] NAT-D x 2, VIDs
//!                                                                                           AwaitId
//! Concluding   (verifies) (signs)
//!              HDR*, proof, NAT-D x 2, [N]                  -->
//! Established                                                      (verifies)               Established
//! ```
//!
//! The proof is HASH with a shared key, and `[CERT,] SIG` with a key pair. Whoever calls a responder with a shared key gets a hash by which the key can
//! be guessed at leisure: it answers only where the connection says so. The first message gets an answer of its own cookie each time it is new, and
//! what has no cookie of ours changes nothing of what is there.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::v1::{ExchangeType, Header, Identification, Message, Payload};
use ipsec_types::{KeyExchangeMethod, Secret};

use crate::context::Context;
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Datagram, Job, JobId};
use crate::policy::ConnectionRef;
use crate::provider::{CryptoError, PrivateKey};
use crate::v1::nat::{self, Abilities};
use crate::v1::phase_1::authenticating::{self, prove};
use crate::v1::phase_1::{self, Admitted, Keyed, Share, Transcript, certificate_requests, initial_contact, nat_detection, peer_of};
use crate::v1::proposal::{self, Suite};
use crate::v1::{Core, State, find, lifetime, parse};
use crate::v2::keys::Role;

/// Initiator; a key pair is being made.
pub(crate) struct Opening {
    pub(crate) job: JobId,
    offer: Payload,
    method: KeyExchangeMethod,
}

/// Initiator; the offer is sent with everything else.
pub(crate) struct AwaitAnswer {
    /// SAi_b.
    offered: Vec<u8>,
    method: KeyExchangeMethod,
    private: Box<dyn PrivateKey>,
    ours: Share,
}

/// Initiator; the shared secret is being computed. The responder has shown who it is.
pub(crate) struct Concluding {
    pub(crate) job: JobId,
    suite: Suite,
    said: Transcript,
    answer: Box<Answer>,
}

/// The responder's message.
struct Answer {
    datagram: Datagram,
    header: Header,
    payloads: Vec<Payload>,
    id: Identification,
}

/// Responder; key pair and shared secret are being computed.
pub(crate) struct Answering {
    pub(crate) job: JobId,
    admitted: Admitted,
    claim: Claim,
}

/// What an initiator says of itself.
pub(crate) struct Claim {
    id: Identification,
    share: Share,
}

/// Everything is said at once: it begins with a key pair, of the method of the first proposal.
pub(crate) fn start(core: &mut Core, cx: &mut Context<'_>, child: usize) -> Result<State, Failure> {
    let provider = cx.shared.provider;
    let method = proposal::first_method(&core.connection, &provider);
    let offer = phase_1::offer(core, cx, child, method)?;
    let method = method.ok_or_else(|| Failure::Local("no group is there to begin with".into()))?;
    let job = cx.shared.job(core.id, Job::Generate { method });
    Ok(State::Opening(Opening { job, offer, method }))
}

/// `HDR, SA, KE, Ni, IDii, [CERTREQ,] VIDs  -->`
pub(crate) fn on_generated(
    state: Opening,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>,
) -> State {
    let Opening { offer, method, .. } = state;
    let sent = result.map_err(Failure::from).and_then(|(private, public)| {
        let ours = Share::own(cx, public);
        let id = Payload::Identification(Identification::from(&core.connection.local_identity));
        let mut payloads: Vec<Payload> = [offer].into_iter().chain(ours.payloads()).chain([id]).collect();
        payloads.extend(certificate_requests(core));
        payloads.extend(nat::offered(core.connection.fragmentation, core.connection.has_users()));
        let header = core.header(ExchangeType::AGGRESSIVE_MODE, 0, false);
        let datagram = core.send(cx, &header, &payloads)?;
        let offered = phase_1::offered(&datagram);
        core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
        Ok(Box::new(AwaitAnswer { offered, method, private, ours }))
    });
    match sent {
        Ok(state) => State::AwaitAnswer(state),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// A message of aggressive mode, for whoever waits for one. What does not fit is ignored.
pub(crate) fn on_message(state: State, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    let step = match state {
        State::AwaitAnswer(state) => on_answer(state, core, cx, datagram, message).map_err(State::AwaitAnswer),
        State::AwaitId(state) => on_last(state, core, cx, datagram, message).map_err(State::AwaitId),
        state => Err(state),
    };
    step.unwrap_or_else(|state| {
        cx.shared.count("messages_ignored");
        state
    })
}

/// `<--  HDR, SA, KE, Nr, IDir, proof, [CERTREQ,] NAT-D, NAT-D, VIDs`
fn on_answer(
    state: Box<AwaitAnswer>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, Box<AwaitAnswer>> {
    let Some((payloads, cookie)) = parse(message).zip(message.header.responder()) else { return Err(state) };
    // Our own cookie or nonce back is a reflection.
    let theirs = Share::of(&payloads).filter(|theirs| cookie != core.initiator_cookie && theirs.nonce != state.ours.nonce);
    // Our half of the key exchange is for one answer: it is not used up by what shows nothing.
    let theirs = theirs.filter(|_| find::hash(&payloads).is_some() || find::signature(&payloads).is_some());
    let (Some(answer), Some(theirs), Some(id)) = (find::sa(&payloads), theirs, find::identification(&payloads)) else {
        return Err(state);
    };
    let provider = cx.shared.provider;
    let Some(suite) = proposal::accept(&core.connection, answer, &provider).filter(|suite| suite.method == state.method) else {
        core.refused = Some(Failure::PeerMisbehaved("the peer chose an IKEv1 proposal that was not offered".into()));
        return Err(state);
    };
    let id = id.clone();
    core.responder_cookie = Some(cookie);
    core.abilities = Abilities::of(&payloads);
    core.peer_life = lifetime::of_ike_answer(answer);
    core.phase_1.received(&datagram.payload);
    core.refused = None;
    let AwaitAnswer { offered, private, ours, .. } = *state;
    let job = cx.shared.job(core.id, Job::Agree { private, peer_public: theirs.public.clone() });
    let said = Transcript { cookies: [core.initiator_cookie, cookie], offered, shares: [ours, theirs] };
    let answer = Box::new(Answer { datagram: datagram.clone(), header: message.header, payloads, id });
    Ok(State::Concluding(Concluding { job, suite, said, answer }))
}

/// The keys are there: is the responder who it says? Its identity chooses the shared key.
pub(crate) fn on_agreed(state: Concluding, core: &mut Core, cx: &mut Context<'_>, result: Result<Secret, CryptoError>) -> State {
    let Concluding { suite, said, answer, .. } = state;
    let peer = answer.id.identity().unwrap_or_else(|_| peer_of(&core.connection, core.remote.ip()));
    match result.map_err(Failure::from).and_then(|shared| Keyed::derive(core, cx, suite, said, &shared, &peer)) {
        Ok(keyed) => {
            let next = keyed.iv.clone();
            let Answer { datagram, header, payloads, .. } = *answer;
            authenticating::on_peer(keyed, core, cx, &datagram, (&header, &payloads), next)
        }
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// What an initiator's first message comes to. Its identity chooses the connection, and with that the key; the public value says which group it means.
///
/// # Errors
/// Why it is not answered, or with what.
pub(crate) fn admit(
    cx: &Context<'_>,
    candidates: &[ConnectionRef],
    message: &Message<'_>,
    payloads: &[Payload],
) -> Result<(ConnectionRef, Admitted, Claim), Failure> {
    let malformed = || Failure::Malformed("a first message of aggressive mode without SA, KE, nonce and identity".into());
    let share = Share::of(payloads).ok_or_else(malformed)?;
    let id = find::identification(payloads).ok_or_else(malformed)?.clone();
    if !candidates.iter().any(|connection| connection.aggressive) {
        return Err(Failure::Unauthenticated(diagnosis::not_aggressive(candidates)));
    }
    let identity = id.identity().map_err(|error| Failure::Unauthenticated(diagnosis::bad_identity(&error)))?;
    let mut fitting: Vec<ConnectionRef> =
        candidates.iter().filter(|connection| connection.aggressive && connection.admits(&identity, None)).cloned().collect();
    fitting.sort_by_key(ConnectionRef::vagueness);
    if fitting.is_empty() {
        return Err(Failure::Unauthenticated(diagnosis::unknown_peer(candidates, &identity, None)));
    }
    let provider = cx.shared.provider;
    let is_of_group = |suite: &Suite| provider.key_exchange(suite.method).is_some_and(|method| method.public_len() == share.public.len());
    let (connection, admitted) = phase_1::admit_where(cx, &fitting, message, payloads, is_of_group)?;
    if admitted.suite.authentication.is_by_shared_key() && connection.key(&identity).is_none() {
        return Err(Failure::Unauthenticated(diagnosis::no_key(&connection, &identity)));
    }
    Ok((connection, admitted, Claim { id, share }))
}

/// The first message is answered when the keys are there.
pub(crate) fn respond(core: &mut Core, cx: &mut Context<'_>, admitted: Admitted, claim: Claim, datagram: &Datagram) -> State {
    core.abilities = admitted.abilities;
    core.peer_life = lifetime::of_ike_answer(&admitted.answer);
    core.phase_1.received(&datagram.payload);
    let job = cx.shared.job(core.id, Job::GenerateAndAgree { method: admitted.suite.method, peer_public: claim.share.public.clone() });
    State::Answering(Box::new(Answering { job, admitted, claim }))
}

/// The keys are there: we show who we are, beside our half of everything.
pub(crate) fn on_responded(
    state: Answering,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Vec<u8>, Secret), CryptoError>,
) -> State {
    let Answering { admitted: Admitted { suite, answer, offered, .. }, claim, .. } = state;
    let keyed = result.map_err(Failure::from).and_then(|(public, shared)| {
        let cookies = core.cookies().ok_or_else(|| Failure::Local("no responder cookie".into()))?;
        let peer = claim.id.identity().map_err(|error| Failure::Unauthenticated(diagnosis::bad_identity(&error)))?;
        let ours = Share::own(cx, public);
        let opening = [Payload::Sa(answer)].into_iter().chain(ours.payloads()).collect();
        let said = Transcript { cookies, offered, shares: [claim.share, ours] };
        let mut keyed = Keyed::derive(core, cx, suite, said, &shared, &peer)?;
        (keyed.opening, keyed.claimed) = (opening, Some(claim.id));
        Ok(keyed)
    });
    match keyed {
        Ok(keyed) => prove(keyed, core, cx, None),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// As a responder `<--  HDR, SA, KE, Nr, IDir, proof, [CERTREQ,] NAT-D, NAT-D, VIDs`, or `HDR*, proof, NAT-D, NAT-D, [N(INITIAL-CONTACT)]  -->`.
///
/// The responder repeats its message where the last one does not come: the initiator waits for nothing, and repeats only what it is asked for again.
pub(crate) fn send_proof(keyed: &mut Keyed, core: &mut Core, cx: &mut Context<'_>, mut proof: Vec<Payload>) -> Result<(), Failure> {
    match core.role {
        Role::Responder => {
            let mut payloads = core::mem::take(&mut keyed.opening);
            payloads.append(&mut proof);
            payloads.extend(certificate_requests(core));
            payloads.extend(nat_detection(core, cx, &keyed.suite));
            payloads.extend(nat::answered(core.abilities, core.connection.fragmentation, core.connection.has_users()));
            let header = core.header(ExchangeType::AGGRESSIVE_MODE, 0, false);
            let datagram = core.send(cx, &header, &payloads)?;
            core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
        }
        Role::Initiator => {
            core.move_ports();
            proof.retain(|payload| !matches!(payload, Payload::Identification(_)));
            proof.extend(nat_detection(core, cx, &keyed.suite));
            proof.extend(initial_contact(core, cx, core.connection.expected_peer().as_ref()));
            let header = core.header(ExchangeType::AGGRESSIVE_MODE, 0, true);
            let datagram = core.send_encrypted(cx, &keyed.keys, &mut keyed.iv, &header, proof, None)?;
            core.phase_1.answered(datagram);
        }
    }
    Ok(())
}

/// `HDR*, proof, NAT-D, NAT-D, [N]  -->`, as its responder. It may come in the clear (section 5).
fn on_last(
    keyed: Box<Keyed>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, Box<Keyed>> {
    if core.role == Role::Initiator || message.header.responder() != core.responder_cookie {
        return Err(keyed);
    }
    let read = match parse(message) {
        Some(payloads) => Some((payloads, keyed.iv.clone())),
        None => authenticating::open(&keyed, message),
    };
    match read {
        Some((payloads, next)) => Ok(authenticating::on_peer(*keyed, core, cx, datagram, (&message.header, &payloads), next)),
        None => Ok(authenticating::on_noise(keyed, core, cx)),
    }
}
