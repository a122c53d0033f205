//! What main mode and aggressive mode have in common (RFC 2409 section 5): what both sides say in the clear, the keys that come of it, and how both
//! show who they are. A shared key is at hand; making and checking signatures are jobs.

pub(crate) mod proof;
pub(crate) mod verification;

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::IpAddr;

use ike_wire::v1::{Certificate, Delete, ExchangeType, Header, Identification, Message, Notify, NotifyType, Payload, Protocol, Sa};
use ike_wire::{CertificateEncoding, NotifyType as Reason};
use ipsec_types::{Identity, IkeSpi, Secret};

use crate::config::{RemoteAuth, Unique};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Failure;
use crate::io::{Datagram, JobId, JobResult};
use crate::policy::ConnectionRef;
use crate::v1::authentication::Authentication;
use crate::v1::established::Established;
use crate::v1::keys::{Iv, Keys, Said, skeyid_by_psk, skeyid_by_signatures};
use crate::v1::nat::{self, Abilities};
use crate::v1::proposal::{self, Suite};
use crate::v1::{Core, State, find, main_mode, trace_incoming};
use crate::v2::keys::Role;

use self::proof::Proof;
pub(crate) use self::verification::PeerAuthenticated;
use self::verification::{Doubt, Met, Verification};

/// Octets of our nonces; between 8 and 256 (RFC 2409 section 5).
const NONCE_LEN: usize = 32;

/// What both sides have said in the clear.
pub(crate) struct Transcript {
    /// CKY-I and CKY-R.
    pub(crate) cookies: [IkeSpi; 2],
    /// SAi_b.
    pub(crate) offered: Vec<u8>,
    /// g^xi and g^xr.
    pub(crate) publics: [Vec<u8>; 2],
    /// Ni_b and Nr_b.
    pub(crate) nonces: [Vec<u8>; 2],
}

impl Transcript {
    fn said(&self) -> Said<'_> {
        let [g_xi, g_xr] = &self.publics;
        let [ni, nr] = &self.nonces;
        Said { cookies: self.cookies, publics: [g_xi, g_xr], nonces: [ni, nr] }
    }
}

/// Phase 1 once there are keys.
pub(crate) struct Keyed {
    pub(crate) suite: Suite,
    pub(crate) keys: Keys,
    /// The IV of the next encrypted message.
    pub(crate) iv: Iv,
    said: Transcript,
}

impl Keyed {
    /// The keys of what was said and of the secret that both have agreed on. `peer` is whom a shared key is looked up for.
    ///
    /// # Errors
    /// Where there is no such key.
    pub(crate) fn derive(
        core: &Core,
        cx: &mut Context<'_>,
        suite: Suite,
        said: Transcript,
        shared: &Secret,
        peer: &Identity,
    ) -> Result<Self, Failure> {
        let skeyid = if suite.authentication.is_by_shared_key() {
            let psk = core.connection.psk(peer).ok_or_else(|| Failure::Unauthenticated(diagnosis::no_key(&core.connection, peer)))?;
            skeyid_by_psk(&suite, psk, said.said().nonces)
        } else {
            skeyid_by_signatures(&suite, shared, said.said().nonces)
        };
        let keys = Keys::derive(&suite, &said.said(), shared, skeyid, cx.shared.key_log())?;
        let iv = keys.first_iv(said.said().publics);
        core.step(cx, "derive keys", Keys::names(&suite));
        Ok(Self { suite, keys, iv, said })
    }

    /// HASH_I or HASH_R, over the identity of the side that it is of.
    pub(crate) fn hash_of(&self, role: Role, id: &Identification) -> Secret {
        self.keys.hash_of(role, &self.said.said(), &self.said.offered, &id.octets())
    }
}

/// A fresh nonce.
pub(crate) fn nonce(cx: &mut Context<'_>) -> Vec<u8> {
    cx.octets(NONCE_LEN)
}

/// Whether a peer's nonce has a length that is allowed.
pub(crate) fn is_nonce(octets: &[u8]) -> bool {
    (8..=256).contains(&octets.len())
}

/// KE and nonce of a message.
pub(crate) fn key_exchange(payloads: &[Payload]) -> Option<(&[u8], &[u8])> {
    find::key_exchange(payloads).zip(find::nonce(payloads).filter(|nonce| is_nonce(nonce)))
}

/// CERTREQ: whose certificates are believed here (RFC 2408 section 3.10), where the peer is to show one. A responder does not know yet which of the
/// connections between the addresses it is.
pub(crate) fn certificate_requests(core: &Core, suite: &Suite) -> Vec<Payload> {
    /// With more than so many authorities, none is named: any will do.
    const MOST: usize = 8;
    let mut authorities: Vec<Vec<u8>> = Vec::new();
    if suite.authentication.signature(core.role.other()).is_none() {
        return Vec::new();
    }
    let siblings = core.connection.siblings_of_v1(core.local.ip(), core.remote.ip()).filter(|_| core.role == Role::Responder);
    for connection in core::iter::once(core.connection.clone()).chain(siblings) {
        if let RemoteAuth::PublicKey(verifier) = &connection.remote_auth {
            authorities.extend(verifier.authority_names());
        }
    }
    authorities.sort_unstable();
    authorities.dedup();
    if authorities.len() > MOST || authorities.is_empty() {
        authorities = alloc::vec![Vec::new()];
    }
    let request = |data| Payload::CertReq(Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data });
    authorities.into_iter().map(request).collect()
}

/// NAT-D: the addresses as they are here, where the peer knows what that is.
pub(crate) fn nat_detection(core: &Core, cx: &mut Context<'_>, suite: &Suite) -> impl Iterator<Item = Payload> + use<> {
    let detected = core.abilities.nat.zip(core.cookies()).map(|(spelling, cookies)| {
        let forged = core.connection.force_encapsulation.then(|| cx.octets(suite.prf.algorithm().output_len()));
        nat::detection(spelling, suite.hash, cookies, (core.local, core.remote), forged)
    });
    detected.into_iter().flatten()
}

/// INITIAL-CONTACT (RFC 2407 section 4.6.3.3), where we know of no IKE SA with the peer: the SPI is the two cookies.
pub(crate) fn initial_contact(core: &Core, cx: &Context<'_>, peer: Option<&Identity>) -> Option<Payload> {
    let cookies = core.cookies()?;
    let announces = !cx.shared.v1.knows(&core.connection, peer) && core.connection.unique != Unique::Never;
    announces.then(|| Payload::Notify(Notify::new(Protocol::ISAKMP, spi_of(cookies), NotifyType::INITIAL_CONTACT, Vec::new())))
}

/// CKY-I | CKY-R, the SPI of an ISAKMP SA.
pub(crate) fn spi_of(cookies: [IkeSpi; 2]) -> Vec<u8> {
    cookies.map(|cookie| cookie.value().to_be_bytes()).concat()
}

/// Whom the shared key is looked up for where the peer has not said who it is.
pub(crate) fn peer_of(connection: &ConnectionRef, address: IpAddr) -> Identity {
    connection.expected_peer().unwrap_or(match address {
        IpAddr::V4(address) => Identity::Ipv4(address),
        IpAddr::V6(address) => Identity::Ipv6(address),
    })
}

/// Waits for a signature to be made or checked.
pub(crate) struct Authenticating {
    pub(crate) job: JobId,
    pub(crate) keyed: Keyed,
    step: Step,
}

/// What the job is for.
enum Step {
    /// Ours is being made. The peer has shown who it is before, or does it next.
    Signing { pending: proof::Pending, peer: Option<Met> },
    /// The peer's is being checked.
    Verifying(verification::Pending),
}

/// We show who we are: at once, or when the signature is made.
pub(crate) fn prove(keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, peer: Option<Met>) -> State {
    match proof::begin(&keyed, core, cx) {
        Ok(Proof::Made(proof)) => on_proof(keyed, core, cx, peer, proof),
        Ok(Proof::Signing(job, pending)) => {
            State::Authenticating(Box::new(Authenticating { job, keyed, step: Step::Signing { pending, peer } }))
        }
        Err(failure) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// ID, certificates, and HASH or SIG are there.
fn on_proof(mut keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, peer: Option<Met>, proof: Vec<Payload>) -> State {
    let sent = main_mode::send_proof(&mut keyed, core, cx, proof);
    match (sent, peer) {
        (Ok(()), Some(met)) => establish(keyed, core, cx, met),
        (Ok(()), None) => State::AwaitId(Box::new(keyed)),
        (Err(failure), _) => State::Failing.close(core, cx, Some(failure)),
    }
}

/// The peer shows who it is, in a message that could be read; `next` is the IV behind it.
pub(crate) fn on_peer(
    mut keyed: Keyed,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    (header, payloads): (&Header, &[Payload]),
    next: Iv,
) -> State {
    let verification = verification::begin(&keyed, core, cx, datagram, payloads);
    if !matches!(verification, Err(Doubt::Noise(_))) {
        // From here on the peer itself speaks.
        keyed.iv = next;
        core.phase_1.received(&datagram.payload);
        trace_incoming(cx, core, datagram, header, payloads);
    }
    match verification {
        Ok(Verification::Done(met)) => on_verified(keyed, core, cx, met),
        Ok(Verification::Checking(job, pending)) => {
            State::Authenticating(Box::new(Authenticating { job, keyed, step: Step::Verifying(pending) }))
        }
        // What a wrong key opens is noise: nobody can tell who sent it, so that the right message may still come.
        Err(Doubt::Noise(failure)) => {
            cx.shared.count("messages_unauthentic");
            core.refused = Some(failure);
            State::AwaitId(Box::new(keyed))
        }
        Err(Doubt::Refused(failure, kind)) => {
            refuse(&keyed, core, cx, kind);
            State::Failing.close(core, cx, Some(failure))
        }
    }
}

/// The signature is made or checked.
pub(crate) fn on_job(state: Authenticating, core: &mut Core, cx: &mut Context<'_>, result: JobResult) -> State {
    let Authenticating { job, keyed, step } = state;
    match (step, result) {
        (Step::Signing { pending, peer }, JobResult::Signed(result)) => match pending.done(core, result) {
            Ok(proof) => on_proof(keyed, core, cx, peer, proof),
            Err(failure) => {
                refuse(&keyed, core, cx, NotifyType::AUTHENTICATION_FAILED);
                State::Failing.close(core, cx, Some(failure))
            }
        },
        (Step::Verifying(pending), JobResult::Verified(result)) => match pending.done(result) {
            Ok(met) => on_verified(keyed, core, cx, met),
            Err(failure) => {
                refuse(&keyed, core, cx, NotifyType::AUTHENTICATION_FAILED);
                State::Failing.close(core, cx, Some(failure))
            }
        },
        (step, _) => State::Authenticating(Box::new(Authenticating { job, keyed, step })),
    }
}

/// The peer is who it says: what is left is our own proof, unless that came first.
fn on_verified(keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, met: Met) -> State {
    core.last_inbound = cx.now;
    core.refused = None;
    (core.local, core.remote) = met.ends;
    match core.role {
        Role::Initiator => establish(keyed, core, cx, met),
        Role::Responder => prove(keyed, core, cx, Some(met)),
    }
}

fn establish(keyed: Keyed, core: &mut Core, cx: &mut Context<'_>, met: Met) -> State {
    let Keyed { suite, keys, iv, .. } = keyed;
    let Met { authenticated, initial_contact, .. } = met;
    State::Established(Box::new(Established::new(core, cx, (suite, keys, iv), authenticated, initial_contact)))
}

/// An offer of a responder's: the first connection between the addresses whose proposals meet it.
pub(crate) struct Admitted {
    pub(crate) suite: Suite,
    pub(crate) answer: Sa,
    pub(crate) offered: Vec<u8>,
    pub(crate) abilities: Abilities,
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
        if let Some((suite, answer)) = proposal::choose(connection, offer, &provider) {
            let admitted = Admitted { suite, answer, offered: offered.to_vec(), abilities: Abilities::of(payloads) };
            return Ok((connection.clone(), admitted));
        }
    }
    Err(Failure::Incompatible(
        Reason::NO_PROPOSAL_CHOSEN,
        proposal::nothing_in_common(candidates.first().map(|connection| &**connection), offer, &provider),
    ))
}

/// The offer of an initiator.
///
/// # Errors
/// Where nothing that is configured can be said, or the key is not there.
pub(crate) fn offer(core: &Core, cx: &mut Context<'_>, child: usize) -> Result<Payload, Failure> {
    let connection = &core.connection;
    let method = Authentication::of(connection).ok_or_else(|| {
        let auth = (connection.local_auth.keyword(), connection.remote_auth.keyword());
        Failure::Local(format!("IKEv1 has no method of authentication for local.auth = {} with remote.auth = {}", auth.0, auth.1))
    })?;
    let peer = connection.expected_peer().filter(|peer| method.is_by_shared_key() && connection.key(peer).is_none());
    if let Some(peer) = peer {
        return Err(Failure::Unauthenticated(diagnosis::no_key(connection, &peer)));
    }
    let provider = cx.shared.provider;
    let offer = proposal::offer(connection, &provider).ok_or_else(|| {
        Failure::Local(
            "no configured IKE proposal can be said in IKEv1, which has no AEAD for IKE: write for example aes128-sha256-modp2048".into(),
        )
    })?;
    let mut lines = diagnosis::begins(connection, child, core.local, core.remote);
    lines.push(format!("IKEv1, main mode, {method}"));
    core.step(cx, &format!("connection {} begins", connection.name), lines);
    Ok(Payload::Sa(offer))
}

/// Tells a peer, which has shown that it holds the keys, that phase 1 ends here (RFC 2408 section 3.14.1).
fn refuse(keyed: &Keyed, core: &mut Core, cx: &mut Context<'_>, kind: NotifyType) {
    let (message_id, keys) = (core.next_message_id(), &keyed.keys);
    let mut iv = keys.phase_2_iv(&keyed.iv, message_id);
    let spi = core.cookies().map(spi_of).unwrap_or_default();
    // The peer may believe that phase 1 is over.
    let delete = Payload::Delete(Delete::new(Protocol::ISAKMP, alloc::vec![spi.clone()]));
    let notify = Payload::Notify(Notify::new(Protocol::ISAKMP, spi, kind, Vec::new()));
    let header = core.header(ExchangeType::INFORMATIONAL, message_id, true);
    let hash = |rest: &[u8]| keys.hash_1(message_id, rest).expose().to_vec();
    let _sent = core.send_encrypted(cx, keys, &mut iv, &header, alloc::vec![notify, delete], Some(&hash));
}
