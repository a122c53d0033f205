//! Main mode (RFC 2409 sections 5, 5.1 and 5.4): phase 1 in six messages, the identities encrypted.
//!
//! ```text
//! initiator                                              responder
//! ---------                                              ---------
//! AwaitSa         HDR, SA, VIDs                   -->
//!                                                 <--    HDR, SA, VIDs                         AwaitKeyExchange
//! Generating
//! AwaitKe         HDR, KE, Ni, [CERTREQ,] NAT-D x 2  -->
//!                                                                                              Responding
//!                                                 <--    HDR, KE, Nr, [CERTREQ,] NAT-D x 2     AwaitId
//! Agreeing
//! Authenticating  (signs)
//! AwaitId         HDR*, IDii, proof, [N]          -->
//!                                                        (verifies) (signs)                    Authenticating
//!                                                 <--    HDR*, IDir, proof
//! Authenticating  (verifies)
//! Established                                                                                  Established
//! ```
//!
//! The proof is HASH with a shared key, and `[CERT,] SIG` with a key pair.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::v1::{ExchangeType, Message, Payload};
use ipsec_types::Secret;

use crate::context::Context;
use crate::error::Failure;
use crate::io::{Datagram, Job, JobId};
use crate::provider::{CryptoError, PrivateKey};
use crate::v1::nat::{self, Abilities};
use crate::v1::phase_1::authenticating::{self, prove};
use crate::v1::phase_1::{self, Admitted, Keyed, Share, Transcript, certificate_requests, initial_contact, nat_detection, peer_of};
use crate::v1::proposal::{self, Suite};
use crate::v1::{Core, State, find, lifetime, parse, trace_incoming};
use crate::v2::keys::Role;

/// Initiator; the offer is sent.
pub(crate) struct AwaitSa {
    /// SAi_b.
    offered: Vec<u8>,
}

/// Initiator; a key pair is being made.
pub(crate) struct Generating {
    pub(crate) job: JobId,
    suite: Suite,
    offered: Vec<u8>,
}

/// Initiator; waits for the responder's public value.
pub(crate) struct AwaitKe {
    suite: Suite,
    offered: Vec<u8>,
    private: Box<dyn PrivateKey>,
    ours: Share,
}

/// Initiator; the shared secret is being computed.
pub(crate) struct Agreeing {
    pub(crate) job: JobId,
    suite: Suite,
    said: Transcript,
}

/// Responder; waits for the initiator's public value.
pub(crate) struct AwaitKeyExchange {
    suite: Suite,
    offered: Vec<u8>,
}

/// Responder; key pair and shared secret are being computed.
pub(crate) struct Responding {
    pub(crate) job: JobId,
    suite: Suite,
    offered: Vec<u8>,
    theirs: Share,
}

/// `HDR, SA, VIDs  -->`
pub(crate) fn start(core: &mut Core, cx: &mut Context<'_>, child: usize) -> Result<State, Failure> {
    let offer = phase_1::offer(core, cx, child, None)?;
    let payloads: Vec<Payload> =
        [offer].into_iter().chain(nat::offered(core.connection.fragmentation, core.connection.has_users())).collect();
    let header = core.header(ExchangeType::MAIN_MODE, 0, false);
    let datagram = core.send(cx, &header, &payloads)?;
    let offered = phase_1::offered(&datagram);
    core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
    Ok(State::AwaitSa(AwaitSa { offered }))
}

/// A message of main mode, for whoever waits for one. What does not fit is ignored: all but the last two are unprotected.
pub(crate) fn on_message(state: State, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    let step = match state {
        State::AwaitSa(state) => on_sa(state, core, cx, datagram, message).map_err(State::AwaitSa),
        State::AwaitKe(state) => on_ke(state, core, cx, datagram, message).map_err(State::AwaitKe),
        State::AwaitKeyExchange(state) => on_key_exchange(state, core, cx, datagram, message).map_err(State::AwaitKeyExchange),
        State::AwaitId(state) => on_identity(state, core, cx, datagram, message).map_err(State::AwaitId),
        state => Err(state),
    };
    step.unwrap_or_else(|state| {
        cx.shared.count("messages_ignored");
        state
    })
}

/// `<--  HDR, SA, VIDs`
fn on_sa(state: AwaitSa, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> Result<State, AwaitSa> {
    let Some((payloads, cookie)) = parse(message).zip(message.header.responder()) else { return Err(state) };
    // Our own cookie back is a reflection, and would be found under the wrong one later.
    let Some(answer) = find::sa(&payloads).filter(|_| cookie != core.initiator_cookie && !message.header.flags.encryption) else {
        return Err(state);
    };
    let provider = cx.shared.provider;
    let Some(suite) = proposal::accept(&core.connection, answer, &provider) else {
        core.refused = Some(Failure::PeerMisbehaved("the peer chose an IKEv1 proposal that was not offered".into()));
        return Err(state);
    };
    core.responder_cookie = Some(cookie);
    core.abilities = Abilities::of(&payloads);
    core.peer_life = lifetime::of_ike_answer(answer);
    core.phase_1.received(&datagram.payload);
    core.refused = None;
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    let job = cx.shared.job(core.id, Job::Generate { method: suite.method });
    Ok(State::Generating(Generating { job, suite, offered: state.offered }))
}

/// `HDR, KE, Ni, [CERTREQ,] NAT-D, NAT-D  -->`
pub(crate) fn on_generated(
    state: Generating,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>,
) -> State {
    let Generating { suite, offered, .. } = state;
    let sent = result.map_err(Failure::from).and_then(|(private, public)| {
        let ours = Share::own(cx, public);
        let datagram = send_key_exchange(core, cx, &suite, ours.payloads())?;
        core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
        Ok(Box::new(AwaitKe { suite, offered, private, ours }))
    });
    match sent {
        Ok(state) => State::AwaitKe(state),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// KE, the nonce, whose certificates are believed here, and the addresses as they are here.
fn send_key_exchange(core: &mut Core, cx: &mut Context<'_>, suite: &Suite, share: [Payload; 2]) -> Result<Vec<u8>, Failure> {
    let mut payloads = Vec::from(share);
    payloads.extend(certificate_requests(core));
    payloads.extend(nat_detection(core, cx, suite));
    let header = core.header(ExchangeType::MAIN_MODE, 0, false);
    core.send(cx, &header, &payloads)
}

/// `<--  HDR, KE, Nr, [CERTREQ,] NAT-D, NAT-D`
fn on_ke(
    state: Box<AwaitKe>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, Box<AwaitKe>> {
    let Some((payloads, cookies)) = parse(message).zip(core.cookies()) else { return Err(state) };
    // What we have said ourselves is a reflection.
    let Some(theirs) = Share::of(&payloads).filter(|theirs| theirs.nonce != state.ours.nonce) else { return Err(state) };
    core.nat = nat::detect(state.suite.hash, cookies, &payloads, (datagram.local, datagram.remote));
    core.phase_1.received(&datagram.payload);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    let AwaitKe { suite, offered, private, ours } = *state;
    let job = cx.shared.job(core.id, Job::Agree { private, peer_public: theirs.public.clone() });
    let said = Transcript { cookies, offered, shares: [ours, theirs] };
    Ok(State::Agreeing(Agreeing { job, suite, said }))
}

/// Both have the keys; the initiator shows first who it is.
pub(crate) fn on_agreed(state: Agreeing, core: &mut Core, cx: &mut Context<'_>, result: Result<Secret, CryptoError>) -> State {
    let Agreeing { suite, said, .. } = state;
    let peer = peer_of(&core.connection, core.remote.ip());
    let keyed = result.map_err(Failure::from).and_then(|shared| Keyed::derive(core, cx, suite, said, &shared, &peer));
    match keyed {
        Ok(keyed) => {
            core.move_ports();
            prove(keyed, core, cx, None)
        }
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// `HDR*, IDii, proof, [N(INITIAL-CONTACT)]  -->`, or as a responder `<--  HDR*, IDir, proof`.
pub(crate) fn send_proof(keyed: &mut Keyed, core: &mut Core, cx: &mut Context<'_>, mut proof: Vec<Payload>) -> Result<(), Failure> {
    if core.role == Role::Initiator {
        proof.extend(initial_contact(core, cx, core.connection.expected_peer().as_ref()));
    }
    let header = core.header(ExchangeType::MAIN_MODE, 0, true);
    let datagram = core.send_encrypted(cx, &keyed.keys, &mut keyed.iv, &header, proof, None)?;
    match core.role {
        Role::Initiator => core.phase_1.asked(cx.now, &core.connection.retransmission, datagram),
        Role::Responder => core.phase_1.answered(datagram),
    }
    Ok(())
}

/// `<--  HDR, SA, VIDs`
pub(crate) fn respond(core: &mut Core, cx: &mut Context<'_>, admitted: Admitted, datagram: &Datagram) -> State {
    let Admitted { suite, answer, offered, abilities } = admitted;
    core.abilities = abilities;
    core.peer_life = lifetime::of_ike_answer(&answer);
    core.phase_1.received(&datagram.payload);
    let payloads: Vec<Payload> = [Payload::Sa(answer)]
        .into_iter()
        .chain(nat::answered(abilities, core.connection.fragmentation, core.connection.has_users()))
        .collect();
    let header = core.header(ExchangeType::MAIN_MODE, 0, false);
    match core.send(cx, &header, &payloads) {
        Ok(sent) => {
            core.phase_1.answered(sent);
            State::AwaitKeyExchange(AwaitKeyExchange { suite, offered })
        }
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// `HDR, KE, Ni, [CERTREQ,] NAT-D, NAT-D  -->`, as its responder.
fn on_key_exchange(
    state: AwaitKeyExchange,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, AwaitKeyExchange> {
    let Some((payloads, cookies)) = parse(message).zip(core.cookies()) else { return Err(state) };
    let Some(theirs) = Share::of(&payloads).filter(|_| message.header.responder() == core.responder_cookie) else { return Err(state) };
    core.nat = nat::detect(state.suite.hash, cookies, &payloads, (datagram.local, datagram.remote));
    core.phase_1.received(&datagram.payload);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    let AwaitKeyExchange { suite, offered } = state;
    let job = cx.shared.job(core.id, Job::GenerateAndAgree { method: suite.method, peer_public: theirs.public.clone() });
    Ok(State::Responding(Responding { job, suite, offered, theirs }))
}

/// `<--  HDR, KE, Nr, [CERTREQ,] NAT-D, NAT-D`
pub(crate) fn on_responded(
    state: Responding,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Vec<u8>, Secret), CryptoError>,
) -> State {
    let Responding { suite, offered, theirs, .. } = state;
    let peer = peer_of(&core.connection, core.remote.ip());
    let sent = result.map_err(Failure::from).and_then(|(public, shared)| {
        let cookies = core.cookies().ok_or_else(|| Failure::Local("no responder cookie".into()))?;
        let ours = Share::own(cx, public);
        let share = ours.payloads();
        let keyed = Keyed::derive(core, cx, suite, Transcript { cookies, offered, shares: [theirs, ours] }, &shared, &peer)?;
        let datagram = send_key_exchange(core, cx, &suite, share)?;
        core.phase_1.answered(datagram);
        Ok(keyed)
    });
    match sent {
        Ok(keyed) => State::AwaitId(Box::new(keyed)),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// The peer's identity: `HDR*, IDii, proof  -->` for a responder, who answers with its own, `<--  HDR*, IDir, proof` for an initiator.
fn on_identity(
    keyed: Box<Keyed>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, Box<Keyed>> {
    if !message.header.flags.encryption || message.header.responder() != core.responder_cookie {
        return Err(keyed);
    }
    match authenticating::open(&keyed, message) {
        Some((payloads, next)) => Ok(authenticating::on_peer(*keyed, core, cx, datagram, (&message.header, &payloads), next)),
        None => Ok(authenticating::on_noise(keyed, core, cx)),
    }
}
