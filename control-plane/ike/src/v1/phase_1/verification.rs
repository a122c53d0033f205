//! What the peer shows of who it is.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;
use core::net::SocketAddr;

use ike_wire::CertificateEncoding;
use ike_wire::v1::{Identification, NotifyType, Payload};
use ipsec_types::{Identity, Secret, SignatureEncoding, SignatureScheme};

use super::{Keyed, Mode, peer_of};
use crate::child::Authenticated;
use crate::config::RemoteAuth;
use crate::context::Context;
use crate::diagnosis;
use crate::error::{Detail, Failure};
use crate::io::{Datagram, Job, JobId};
use crate::policy::ConnectionRef;
use crate::provider::PeerProof;
use crate::v1::authentication::Authentication;
use crate::v1::xauth::UserShown;
use crate::v1::{Core, find, nat};
use crate::v2::keys::Role;
use crate::v2::nat::NatStatus;

/// Proof that the peer is who it says: only this module makes one.
#[derive(Clone)]
pub(crate) struct PeerAuthenticated {
    identity: Identity,
}

/// Proof that the peer has shown in phase 1 what the method of authentication has for its side, which is not all where a user has to follow. Only this
/// module makes one.
pub(crate) struct Shown {
    identity: Identity,
}

impl Shown {
    /// Who the peer says it is.
    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl PeerAuthenticated {
    /// By phase 1 alone.
    ///
    /// # Errors
    /// What was shown, where the peer's side, which is not `role`, has to show a user as well.
    pub(crate) fn by_phase_1(shown: Shown, method: Authentication, role: Role) -> Result<Self, Shown> {
        if method.user() == Some(role.other()) { Err(shown) } else { Ok(Self { identity: shown.identity }) }
    }

    /// By phase 1 and a user after it, which is who the peer is.
    pub(crate) fn by_user(_shown: Shown, user: UserShown) -> Self {
        Self { identity: user.into_identity() }
    }
}

impl Authenticated for PeerAuthenticated {
    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// A peer that has shown who it is, and what else its message says.
pub(crate) struct Met {
    pub(super) shown: Shown,
    /// It has forgotten what was before.
    pub(super) initial_contact: bool,
    /// Between which ends it was heard, ours first.
    pub(super) ends: (SocketAddr, SocketAddr),
    /// What it says of NATs on the way, where it does so only now.
    pub(super) nat: Option<NatStatus>,
}

/// How far it is.
pub(super) enum Verification {
    /// The peer is who it says.
    Done(Met),
    /// Its signature is being checked.
    Checking(JobId, Pending),
}

/// A signature that is being checked, and who is met if it is right.
pub(super) struct Pending {
    met: Met,
}

/// Why a message shows nothing.
pub(super) enum Doubt {
    /// The peer may not have sent it.
    Noise(Failure),
    /// The peer holds the keys, and is not who it should be.
    Refused(Failure, NotifyType),
}

impl Pending {
    /// It is checked.
    ///
    /// # Errors
    /// Why the peer is not believed.
    pub(super) fn done(self, result: Result<(), Box<Detail>>) -> Result<Met, Failure> {
        result.map(|()| self.met).map_err(Failure::Unauthenticated)
    }
}

/// Begins to check who the peer is.
///
/// # Errors
/// [`Doubt`].
pub(super) fn begin(
    keyed: &Keyed,
    core: &mut Core,
    cx: &mut Context<'_>,
    datagram: &Datagram,
    payloads: &[Payload],
) -> Result<Verification, Doubt> {
    let unreadable = |core: &Core| Failure::Unauthenticated(diagnosis::wrong_key(&core.connection, &keyed.peer(core)));
    let id = keyed.claimed.as_ref().or_else(|| find::identification(payloads)).ok_or_else(|| Doubt::Noise(unreadable(core)))?.clone();
    let hash = keyed.hash_of(core.role.other(), &id);
    let Some(scheme) = keyed.suite.authentication.signature(core.role.other()) else {
        let right = find::hash(payloads).is_some_and(|said| Secret::copy_from(said) == hash);
        if !right {
            return Err(Doubt::Noise(unreadable(core)));
        }
        let shown = Shown { identity: identify(keyed, core, cx, &id)? };
        return Ok(Verification::Done(Met::new(keyed, core, shown, datagram, payloads)));
    };
    let signature = find::signature(payloads).ok_or_else(|| {
        let who = diagnosis::without_signature(&core.connection, &format!("{scheme}"));
        Doubt::Refused(Failure::Unauthenticated(who), NotifyType::AUTHENTICATION_FAILED)
    })?;
    let identity = identify(keyed, core, cx, &id)?;
    let proof = proof(identity.clone(), payloads, scheme, &hash, signature);
    let verifier = match &core.connection.remote_auth {
        RemoteAuth::PublicKey(verifier) => verifier.clone(),
        way => {
            let wrong = diagnosis::wrong_method(&core.connection, way, &format!("{identity}"), "a signature");
            return Err(Doubt::Refused(Failure::Unauthenticated(wrong), NotifyType::AUTHENTICATION_FAILED));
        }
    };
    core.step(cx, "check the peer's signature", alloc::vec![format!("{identity}, {scheme}, {} certificates", proof.certificates.len())]);
    let job = cx.shared.job(core.id, Job::Verify { verifier, proof });
    let met = Met::new(keyed, core, Shown { identity }, datagram, payloads);
    Ok(Verification::Checking(job, Pending { met }))
}

impl Met {
    fn new(keyed: &Keyed, core: &Core, shown: Shown, datagram: &Datagram, payloads: &[Payload]) -> Self {
        let initial_contact = find::notifications(payloads).any(|notify| notify.kind == NotifyType::INITIAL_CONTACT);
        let ends = (datagram.local, datagram.remote);
        let says_nat = payloads.iter().any(|payload| matches!(payload, Payload::NatDetection(..)));
        let nat = core.cookies().filter(|_| says_nat).map(|cookies| nat::detect(keyed.suite.hash, cookies, payloads, ends));
        Self { shown, initial_contact, ends, nat }
    }
}

/// The signature covers HASH_I or HASH_R.
fn proof(identity: Identity, payloads: &[Payload], scheme: SignatureScheme, hash: &Secret, signature: &[u8]) -> PeerProof {
    let shown = |payload: &Payload| match payload {
        Payload::Cert(shown) if shown.encoding == CertificateEncoding::X509_SIGNATURE => {
            Some(ike_wire::Certificate { encoding: shown.encoding, data: shown.data.clone() })
        }
        _ => None,
    };
    PeerProof {
        identity,
        certificates: payloads.iter().filter_map(shown).collect(),
        scheme,
        encoding: SignatureEncoding::Fixed,
        message: hash.expose().to_vec(),
        signature: signature.to_vec(),
    }
}

/// Whether the peer may be whom it says. A responder has chosen the connection by addresses alone: of several between them the one that is for this
/// peer is taken, as far as it would have led here, too.
fn identify(keyed: &Keyed, core: &mut Core, cx: &Context<'_>, id: &Identification) -> Result<Identity, Doubt> {
    let refused = |detail| Doubt::Refused(Failure::Unauthenticated(detail), NotifyType::INVALID_ID_INFORMATION);
    let identity = id.identity().map_err(|error| refused(diagnosis::bad_identity(&error)))?;
    let is_for_it = core.connection.admits(&identity, None);
    // In aggressive mode the identity has chosen it.
    if is_for_it && (core.role == Role::Initiator || core.mode == Mode::Aggressive || core.connection.vagueness() == 0) {
        return Ok(identity);
    }
    if core.role == Role::Initiator {
        return Err(refused(diagnosis::other_peer(&core.connection, core.connection.remote_identity.as_ref(), &identity)));
    }
    let mut candidates: Vec<ConnectionRef> = core.connection.siblings_of_v1(core.local.ip(), core.remote.ip()).collect();
    candidates.sort_by_key(ConnectionRef::vagueness);
    let used = core.connection.psk(&peer_of(&core.connection, core.remote.ip()));
    let by_key = keyed.suite.authentication.is_by_shared_key();
    let same_key = |other: &ConnectionRef| other.psk(&peer_of(other, core.remote.ip())).is_some_and(|key| Some(key) == used);
    let fits = |other: &&ConnectionRef| {
        other.admits(&identity, None) && keyed.suite.suits(other, &cx.shared.provider) && (!by_key || same_key(other))
    };
    match candidates.iter().find(fits).cloned() {
        Some(other) => core.connection = other,
        None if is_for_it => {}
        None => return Err(refused(diagnosis::unknown_peer(&candidates, &identity, None))),
    }
    Ok(identity)
}
