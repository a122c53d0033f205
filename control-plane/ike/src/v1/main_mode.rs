//! Main mode (RFC 2409 sections 5 and 5.4): phase 1 in six messages, the identities encrypted.
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! AwaitSa       HDR, SA, VIDs             -->
//!                                         <--   HDR, SA, VIDs            AwaitKeyExchange
//! Generating
//! AwaitKe       HDR, KE, Ni, NAT-D x 2    -->
//!                                                    Responding
//!                                         <--   HDR, KE, Nr, NAT-D x 2   AwaitIdentity
//! Agreeing
//! AwaitId       HDR*, IDii, HASH_I, [N]   -->
//!                                         <--   HDR*, IDir, HASH_R
//! Established                                        Established
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use ike_wire::NotifyType as Reason;
use ike_wire::v1::{ExchangeType, Identification, Message, Notify, NotifyType, Payload, Protocol, Sa};
use ipsec_types::{Identity, IkeSpi, Secret};

use crate::child::Authenticated;
use crate::config::Unique;
use crate::context::Context;
use crate::diagnosis::{self, Asked};
use crate::error::Failure;
use crate::io::{Datagram, Job, JobId};
use crate::policy::ConnectionRef;
use crate::provider::{CryptoError, PrivateKey};
use crate::v1::established::Established;
use crate::v1::find;
use crate::v1::keys::{Iv, Keys, Opened, Said, skeyid_by_psk};
use crate::v1::nat::{self, Abilities};
use crate::v1::proposal::{self, Suite};
use crate::v1::{Core, State, parse, trace_incoming};
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
    public: Vec<u8>,
    nonce: Vec<u8>,
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
    public: Vec<u8>,
    nonce: Vec<u8>,
}

/// Both have the keys; the peer's identity is missing.
pub(crate) struct AwaitId {
    pub(crate) suite: Suite,
    pub(crate) keys: Keys,
    iv: Iv,
    said: Transcript,
}

/// What both sides have said in the clear.
struct Transcript {
    offered: Vec<u8>,
    publics: [Vec<u8>; 2],
    nonces: [Vec<u8>; 2],
}

/// Proof that the peer is who it says: only this module makes one.
#[derive(Clone)]
pub(crate) struct PeerAuthenticated {
    identity: Identity,
}

impl Authenticated for PeerAuthenticated {
    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Octets of our nonces; between 8 and 256 (RFC 2409 section 5).
const NONCE_LEN: usize = 32;

/// A fresh nonce.
pub(crate) fn nonce(cx: &mut Context<'_>) -> Vec<u8> {
    cx.octets(NONCE_LEN)
}

/// Whether a peer's nonce has a length that is allowed.
pub(crate) fn is_nonce(octets: &[u8]) -> bool {
    (8..=256).contains(&octets.len())
}

impl Transcript {
    fn said(&self, cookies: [IkeSpi; 2]) -> Said<'_> {
        let [g_xi, g_xr] = &self.publics;
        let [ni, nr] = &self.nonces;
        Said { cookies, publics: [g_xi, g_xr], nonces: [ni, nr] }
    }
}

/// `HDR, SA, VIDs  -->`
pub(crate) fn start(core: &mut Core, cx: &mut Context<'_>, child: usize) -> Result<State, Failure> {
    let peer = core.connection.expected_peer();
    if let Some(peer) = peer.filter(|peer| core.connection.key(peer).is_none()) {
        return Err(Failure::Unauthenticated(diagnosis::no_key(&core.connection, &peer)));
    }
    let provider = cx.shared.provider;
    let offer = proposal::offer(&core.connection, &provider).ok_or_else(|| {
        Failure::Local(
            "no configured IKE proposal can be said in IKEv1, which has no AEAD for IKE: write for example aes128-sha256-modp2048".into(),
        )
    })?;
    let mut lines = diagnosis::begins(&core.connection, child, core.local, core.remote);
    lines.push("IKEv1, main mode".into());
    core.step(cx, &format!("connection {} begins", core.connection.name), lines);
    let payloads: Vec<Payload> = [Payload::Sa(offer)].into_iter().chain(nat::offered(core.connection.fragmentation)).collect();
    let header = core.header(ExchangeType::MAIN_MODE, 0, false);
    let datagram = core.send(cx, &header, &payloads)?;
    let offered = Message::parse(&datagram).ok().and_then(|message| find::first_body(message.body)).unwrap_or_default().to_vec();
    core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
    Ok(State::AwaitSa(AwaitSa { offered }))
}

/// A message of main mode, for whoever waits for one. What does not fit is ignored: all but the last two are unprotected.
pub(crate) fn on_message(state: State, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    let step = match state {
        State::AwaitSa(state) => on_sa(state, core, cx, datagram, message).map_err(State::AwaitSa),
        State::AwaitKe(state) => on_ke(state, core, cx, datagram, message).map_err(State::AwaitKe),
        State::AwaitKeyExchange(state) => on_key_exchange(state, core, cx, datagram, message).map_err(State::AwaitKeyExchange),
        State::AwaitId(state) => return on_identity(state, core, cx, datagram, message),
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
    let Some(suite) = proposal::accept(&core.connection.proposals, answer, &provider) else {
        core.refused = Some(Failure::PeerMisbehaved("the peer chose an IKEv1 proposal that was not offered".into()));
        return Err(state);
    };
    core.responder_cookie = Some(cookie);
    core.abilities = Abilities::of(&payloads);
    core.phase_1.received(&datagram.payload);
    core.refused = None;
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    let job = cx.shared.job(core.id, Job::Generate { method: suite.method });
    Ok(State::Generating(Generating { job, suite, offered: state.offered }))
}

/// `HDR, KE, Ni, NAT-D, NAT-D  -->`
pub(crate) fn on_generated(
    state: Generating,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Box<dyn PrivateKey>, Vec<u8>), CryptoError>,
) -> State {
    let Generating { suite, offered, .. } = state;
    let sent = result.map_err(Failure::from).and_then(|(private, public)| {
        let nonce = nonce(cx);
        let payloads = key_exchange(core, cx, &suite, &public, &nonce);
        let header = core.header(ExchangeType::MAIN_MODE, 0, false);
        let datagram = core.send(cx, &header, &payloads)?;
        core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
        Ok(Box::new(AwaitKe { suite, offered, private, public, nonce }))
    });
    match sent {
        Ok(state) => State::AwaitKe(state),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// KE, the nonce, and the addresses as they are here.
fn key_exchange(core: &Core, cx: &mut Context<'_>, suite: &Suite, public: &[u8], nonce: &[u8]) -> Vec<Payload> {
    let mut payloads = alloc::vec![Payload::KeyExchange(public.to_vec()), Payload::Nonce(nonce.to_vec())];
    if let (Some(spelling), Some(cookies)) = (core.abilities.nat, core.cookies()) {
        let forged = core.connection.force_encapsulation.then(|| cx.octets(suite.prf.algorithm().output_len()));
        payloads.extend(nat::detection(spelling, suite.hash, cookies, (core.local, core.remote), forged));
    }
    payloads
}

/// `<--  HDR, KE, Nr, NAT-D, NAT-D`
fn on_ke(
    state: Box<AwaitKe>,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, Box<AwaitKe>> {
    let Some((payloads, cookies)) = parse(message).zip(core.cookies()) else { return Err(state) };
    let Some((public, nonce)) = find::key_exchange(&payloads).zip(find::nonce(&payloads).filter(|nonce| is_nonce(nonce))) else {
        return Err(state);
    };
    // What we have said ourselves is a reflection.
    if message.header.flags.encryption || nonce == state.nonce {
        return Err(state);
    }
    core.nat = nat::detect(state.suite.hash, cookies, &payloads, (datagram.local, datagram.remote));
    core.phase_1.received(&datagram.payload);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    let AwaitKe { suite, offered, private, public: ours, nonce: our_nonce } = *state;
    let said = Transcript { offered, publics: [ours, public.to_vec()], nonces: [our_nonce, nonce.to_vec()] };
    let job = cx.shared.job(core.id, Job::Agree { private, peer_public: public.to_vec() });
    Ok(State::Agreeing(Agreeing { job, suite, said }))
}

/// `HDR*, IDii, HASH_I, [N(INITIAL-CONTACT)]  -->`
pub(crate) fn on_agreed(state: Agreeing, core: &mut Core, cx: &mut Context<'_>, result: Result<Secret, CryptoError>) -> State {
    let Agreeing { suite, said, .. } = state;
    let peer = core.connection.expected_peer();
    let sent = result.map_err(Failure::from).and_then(|shared| {
        let (keys, mut iv) = derive(core, cx, &suite, &said, &shared, peer.as_ref())?;
        core.move_ports();
        let cookies = core.cookies().ok_or_else(|| Failure::Local("no responder cookie".into()))?;
        let mut payloads = prove(core, &keys, &said.said(cookies), &said.offered);
        let announces = !cx.shared.v1.knows(&core.connection, peer.as_ref()) && core.connection.unique != Unique::Never;
        payloads.extend(announces.then(|| Payload::Notify(initial_contact(cookies))));
        let header = core.header(ExchangeType::MAIN_MODE, 0, true);
        let datagram = core.send_encrypted(cx, &keys, &mut iv, &header, payloads, None)?;
        core.phase_1.asked(cx.now, &core.connection.retransmission, datagram);
        Ok(AwaitId { suite, keys, iv, said })
    });
    match sent {
        Ok(state) => State::AwaitId(state),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// INITIAL-CONTACT (RFC 2407 section 4.6.3.3): the SPI is the two cookies.
fn initial_contact(cookies: [IkeSpi; 2]) -> Notify {
    Notify::new(Protocol::ISAKMP, spi_of(cookies), NotifyType::INITIAL_CONTACT, Vec::new())
}

/// CKY-I | CKY-R, the SPI of an ISAKMP SA.
pub(crate) fn spi_of(cookies: [IkeSpi; 2]) -> Vec<u8> {
    cookies.map(|cookie| cookie.value().to_be_bytes()).concat()
}

/// The keys of phase 1 with the key that is shared with `peer`, and the first IV.
fn derive(
    core: &Core,
    cx: &mut Context<'_>,
    suite: &Suite,
    said: &Transcript,
    shared: &Secret,
    peer: Option<&Identity>,
) -> Result<(Keys, Iv), Failure> {
    let cookies = core.cookies().ok_or_else(|| Failure::Local("no responder cookie".into()))?;
    let peer = peer.cloned().unwrap_or_else(|| identity_of(core.remote.ip()));
    let psk = core.connection.psk(&peer).ok_or_else(|| Failure::Unauthenticated(diagnosis::no_key(&core.connection, &peer)))?;
    let said = said.said(cookies);
    let skeyid = skeyid_by_psk(suite, psk, said.nonces);
    let keys = Keys::derive(suite, &said, shared, skeyid, cx.shared.key_log())?;
    let iv = keys.first_iv(said.publics);
    core.step(cx, "derive keys", Keys::names(suite));
    Ok((keys, iv))
}

fn identity_of(address: core::net::IpAddr) -> Identity {
    match address {
        core::net::IpAddr::V4(address) => Identity::Ipv4(address),
        core::net::IpAddr::V6(address) => Identity::Ipv6(address),
    }
}

/// ID and HASH of our side.
fn prove(core: &Core, keys: &Keys, said: &Said<'_>, offered: &[u8]) -> Vec<Payload> {
    let id = Identification::from(&core.connection.local_identity);
    let hash = keys.hash_of(core.role, said, offered, &id.octets());
    alloc::vec![Payload::Identification(id), Payload::Hash(hash.expose().to_vec())]
}

/// An offer of a responder's: the first connection between the addresses whose proposals meet it.
pub(crate) struct Admitted {
    suite: Suite,
    answer: Sa,
    offered: Vec<u8>,
    abilities: Abilities,
}

/// What an initiator's first message comes to.
///
/// # Errors
/// Why it is not answered, or with what.
pub(crate) fn admit(
    cx: &Context<'_>,
    candidates: &[ConnectionRef],
    message: &Message<'_>,
    payloads: &[Payload],
) -> Result<(ConnectionRef, Admitted), Failure> {
    let malformed = || Failure::Malformed("a first message without SA".into());
    let (Some(Payload::Sa(offer)), Some(offered)) = (payloads.first(), find::first_body(message.body)) else { return Err(malformed()) };
    let provider = cx.shared.provider;
    for connection in candidates {
        if let Some((suite, answer)) = proposal::choose(&connection.proposals, offer, &provider) {
            let admitted = Admitted { suite, answer, offered: offered.to_vec(), abilities: Abilities::of(payloads) };
            return Ok((connection.clone(), admitted));
        }
    }
    let ours = candidates.first().map_or(&[][..], |connection| &connection.proposals);
    Err(Failure::Incompatible(Reason::NO_PROPOSAL_CHOSEN, proposal::nothing_in_common(ours, offer, &provider)))
}

/// `<--  HDR, SA, VIDs`
pub(crate) fn respond(core: &mut Core, cx: &mut Context<'_>, admitted: Admitted, datagram: &Datagram) -> State {
    let Admitted { suite, answer, offered, abilities } = admitted;
    core.abilities = abilities;
    core.phase_1.received(&datagram.payload);
    let payloads: Vec<Payload> = [Payload::Sa(answer)].into_iter().chain(nat::answered(abilities, core.connection.fragmentation)).collect();
    let header = core.header(ExchangeType::MAIN_MODE, 0, false);
    match core.send(cx, &header, &payloads) {
        Ok(sent) => {
            core.phase_1.answered(sent);
            State::AwaitKeyExchange(AwaitKeyExchange { suite, offered })
        }
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// `HDR, KE, Ni, NAT-D, NAT-D  -->`, as its responder.
fn on_key_exchange(
    state: AwaitKeyExchange,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    message: &Message<'_>,
) -> Result<State, AwaitKeyExchange> {
    let Some((payloads, cookies)) = parse(message).zip(core.cookies()) else { return Err(state) };
    let Some((public, nonce)) = find::key_exchange(&payloads).zip(find::nonce(&payloads).filter(|nonce| is_nonce(nonce))) else {
        return Err(state);
    };
    if message.header.flags.encryption || message.header.responder() != core.responder_cookie {
        return Err(state);
    }
    core.nat = nat::detect(state.suite.hash, cookies, &payloads, (datagram.local, datagram.remote));
    core.phase_1.received(&datagram.payload);
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    let (public, nonce) = (public.to_vec(), nonce.to_vec());
    let job = cx.shared.job(core.id, Job::GenerateAndAgree { method: state.suite.method, peer_public: public.clone() });
    Ok(State::Responding(Responding { job, suite: state.suite, offered: state.offered, public, nonce }))
}

/// `<--  HDR, KE, Nr, NAT-D, NAT-D`
pub(crate) fn on_responded(
    state: Responding,
    core: &mut Core,
    cx: &mut Context<'_>,
    result: Result<(Vec<u8>, Secret), CryptoError>,
) -> State {
    let Responding { suite, offered, public: peer_public, nonce: peer_nonce, .. } = state;
    let peer = core.connection.expected_peer();
    let sent = result.map_err(Failure::from).and_then(|(public, shared)| {
        let nonce = nonce(cx);
        let payloads = key_exchange(core, cx, &suite, &public, &nonce);
        let said = Transcript { offered, publics: [peer_public, public], nonces: [peer_nonce, nonce] };
        let (keys, iv) = derive(core, cx, &suite, &said, &shared, peer.as_ref())?;
        let header = core.header(ExchangeType::MAIN_MODE, 0, false);
        let datagram = core.send(cx, &header, &payloads)?;
        core.phase_1.answered(datagram);
        Ok(AwaitId { suite, keys, iv, said })
    });
    match sent {
        Ok(state) => State::AwaitId(state),
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// The peer's identity: `HDR*, IDii, HASH_I  -->` for a responder, who answers with its own, `<--  HDR*, IDir, HASH_R` for an initiator.
fn on_identity(state: AwaitId, core: &mut Core, cx: &mut Context<'_>, datagram: &Datagram, message: &Message<'_>) -> State {
    let ignored = |state: AwaitId, cx: &mut Context<'_>| {
        cx.shared.count("messages_ignored");
        State::AwaitId(state)
    };
    let Some(cookies) = core.cookies().filter(|_| message.header.flags.encryption && message.header.responder() == core.responder_cookie)
    else {
        return ignored(state, cx);
    };
    let opened = state.keys.decrypt(&state.iv, message.body);
    let parts = opened.ok().and_then(|opened| {
        let (payloads, _) = ike_wire::v1::parse_padded(message.first, &opened.text).ok()?;
        let (id, hash) = (find::identification(&payloads)?.clone(), find::hash(&payloads)?.to_vec());
        Some((opened, payloads, id, hash))
    });
    // What a wrong key opens is noise: nobody can tell who sent it, so that the right message may still come.
    let Some((Opened { next, .. }, payloads, id, hash)) = parts else {
        cx.shared.count("messages_unauthentic");
        core.refused.get_or_insert_with(|| unreadable(core_peer(&core.connection, core.remote.ip()), &core.connection));
        return State::AwaitId(state);
    };
    let peer_role = core.role.other();
    let expected = state.keys.hash_of(peer_role, &state.said.said(cookies), &state.said.offered, &id.octets());
    if Secret::new(hash) != expected {
        cx.shared.count("messages_unauthentic");
        core.refused = Some(unreadable(core_peer(&core.connection, core.remote.ip()), &core.connection));
        return State::AwaitId(state);
    }
    // From here on the peer itself speaks.
    trace_incoming(cx, core, datagram, &message.header, &payloads);
    core.last_inbound = cx.now;
    core.refused = None;
    core.local = datagram.local;
    core.remote = datagram.remote;
    core.phase_1.received(&datagram.payload);
    let authenticated = match admitted(core, &id) {
        Ok(authenticated) => authenticated,
        Err(failure) => {
            refuse(core, cx, &state, next);
            return State::AwaitId(state).close(core, cx, Some(failure));
        }
    };
    let AwaitId { suite, keys, said, .. } = state;
    let mut iv = next;
    if core.role == Role::Responder {
        let proof = prove(core, &keys, &said.said(cookies), &said.offered);
        let header = core.header(ExchangeType::MAIN_MODE, 0, true);
        match core.send_encrypted(cx, &keys, &mut iv, &header, proof, None) {
            Ok(sent) => core.phase_1.answered(sent),
            Err(failure) => return State::Failing.close(core, cx, Some(failure)),
        }
    }
    let initial_contact = find::notifications(&payloads).any(|notify| notify.kind == NotifyType::INITIAL_CONTACT);
    State::Established(Box::new(Established::new(core, cx, (suite, keys, iv), authenticated, initial_contact)))
}

/// Tells a peer, which holds the key, that it is not the one that is expected (RFC 2408 section 3.14.1).
fn refuse(core: &mut Core, cx: &mut Context<'_>, state: &AwaitId, last: Iv) {
    let message_id = core.next_message_id();
    let mut iv = state.keys.phase_2_iv(&last, message_id);
    let spi = core.cookies().map(spi_of).unwrap_or_default();
    let notify = Payload::Notify(Notify::new(Protocol::ISAKMP, spi, NotifyType::INVALID_ID_INFORMATION, Vec::new()));
    let header = core.header(ExchangeType::INFORMATIONAL, message_id, true);
    let hash = |rest: &[u8]| state.keys.hash_1(message_id, rest).expose().to_vec();
    let _sent = core.send_encrypted(cx, &state.keys, &mut iv, &header, alloc::vec![notify], Some(&hash));
}

/// Whom the key was looked up for.
pub(crate) fn core_peer(connection: &ConnectionRef, address: core::net::IpAddr) -> Identity {
    connection.expected_peer().unwrap_or_else(|| identity_of(address))
}

fn unreadable(peer: Identity, connection: &ConnectionRef) -> Failure {
    Failure::Unauthenticated(diagnosis::wrong_key(connection, &peer))
}

/// Whether the peer may be whom it says. With a pre-shared key in main mode the connection was chosen by addresses alone; of several between them
/// that have the same key the one that is for this peer is taken.
fn admitted(core: &mut Core, id: &Identification) -> Result<PeerAuthenticated, Failure> {
    let identity = id.identity().map_err(|error| Failure::Unauthenticated(diagnosis::bad_identity(&error)))?;
    if core.connection.admits(&identity, None) {
        return Ok(PeerAuthenticated { identity });
    }
    let peer = core_peer(&core.connection, core.remote.ip());
    let used = core.connection.psk(&peer);
    let candidates: Vec<ConnectionRef> = match core.role {
        Role::Initiator => Vec::new(),
        Role::Responder => core.connection.siblings_of_v1(core.local.ip(), core.remote.ip()).collect(),
    };
    let fits = |other: &&ConnectionRef| {
        let same_key = used.is_some_and(|used| other.psk(&core_peer(other, core.remote.ip())).is_some_and(|psk| psk == used));
        other.admits(&identity, None)
            && same_key
            && other.local_identity == core.connection.local_identity
            && other.proposals == core.connection.proposals
    };
    match candidates.iter().find(fits) {
        Some(other) => {
            core.connection = other.clone();
            Ok(PeerAuthenticated { identity })
        }
        None => Err(Failure::Unauthenticated(match core.role {
            Role::Initiator => diagnosis::other_peer(&core.connection, core.connection.remote_identity.as_ref(), &identity),
            Role::Responder => diagnosis::unknown_peer(&candidates, &identity, None),
        })),
    }
}

/// What the peer says of our offer, unprotected: believed only if nothing better comes until the next retransmission.
pub(crate) fn on_refusal(core: &mut Core, kind: NotifyType) {
    let reason = match kind {
        NotifyType::NO_PROPOSAL_CHOSEN => Reason::NO_PROPOSAL_CHOSEN,
        NotifyType::AUTHENTICATION_FAILED | NotifyType::PAYLOAD_MALFORMED | NotifyType::INVALID_HASH_INFORMATION => {
            Reason::AUTHENTICATION_FAILED
        }
        other => Reason(other.0),
    };
    core.refused = Some(diagnosis::refused(&core.connection, reason, Asked::IkeSa));
}
