//! The peer's AUTH payload.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use ike_wire::{Auth, AuthMethod, Certificate, Identification, Payload};
use ipsec_types::{Identity, Secret, SignatureEncoding};

use super::{Transcript, proof};
use crate::child::Authenticated;
use crate::config::RemoteAuth;
use crate::context::Context;
use crate::diagnosis::{self, or_another_ppk};
use crate::error::{Detail, Fault};
use crate::io::{Job, JobId};
use crate::provider::{EapOutcome, PeerProof, PeerVerifier};
use crate::v2::{Core, Sk};

/// Proof that the peer is who it says, by everything that it has to show. Only this module makes one; a rekeyed IKE SA inherits it.
#[derive(Clone)]
pub(crate) struct PeerAuthenticated {
    identity: Identity,
}

impl PeerAuthenticated {
    /// The only way to have one: every round that is configured is over. Of several identities the peer is the last, a user rather than a host.
    ///
    /// # Errors
    /// Where the peer has more to show.
    pub(super) fn after(core: &Core) -> Result<Self, Fault> {
        let shown = core.rounds.shown();
        match shown.last() {
            Some(last) if shown.len() == core.connection.remote_rounds().count() => Ok(Self { identity: last.identity.clone() }),
            _ => Err(Fault::Authentication(diagnosis::other_rounds(&core.connection, shown.len(), false))),
        }
    }

    /// Who the peer is.
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }
}

impl Authenticated for PeerAuthenticated {
    fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// Proof that the peer has shown who it is in one round. Only this module makes one.
pub(crate) struct Shown {
    identity: Identity,
}

impl Shown {
    /// Who the peer is.
    pub(super) const fn identity(&self) -> &Identity {
        &self.identity
    }
}

/// How far it is.
pub(super) enum Verification {
    /// The peer is who it says.
    Done(Shown),
    /// Its signature is being checked.
    Checking(JobId, Pending),
}

/// A signature that is being checked, and what is shown if it is right.
pub(super) struct Pending {
    shown: Shown,
}

impl Pending {
    /// It is checked.
    pub(super) fn done(self, core: &Core, result: Result<(), Box<Detail>>) -> Result<Shown, Fault> {
        result.map(|()| self.shown).map_err(|detail| Fault::Authentication(or_another_ppk(*detail, core.ppk.used())))
    }
}

/// Begins to check who the peer is.
///
/// # Errors
/// Where it is not who it says, or not as the connection wants to know.
pub(super) fn begin(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    transcript: &Transcript,
    (id, auth): (&Identification, &Auth),
    payloads: &[Payload],
) -> Result<Verification, Fault> {
    let connection = &core.connection;
    let identity = id.identity().map_err(|error| Fault::Authentication(diagnosis::bad_identity(&error)))?;
    let Some((_, way)) = core.peer_round() else {
        return Err(Fault::Authentication(diagnosis::other_rounds(connection, core.rounds.shown().len(), true)));
    };
    let other_method = |method: &str| Fault::Authentication(diagnosis::wrong_method(connection, way, &identity.to_string(), method));
    if !way.takes(Some(auth)) {
        return Err(other_method(&auth.method.to_string()));
    }
    match way {
        RemoteAuth::Psk => by_shared_key(core, sk, transcript, id, identity, auth).map(Verification::Done),
        RemoteAuth::PublicKey(verifier) => by_signature(core, cx, sk, transcript, (id, identity, auth), payloads, verifier),
        RemoteAuth::Eap(_) | RemoteAuth::Xauth(_) => Err(other_method("AUTH without EAP")),
    }
}

/// After EAP: the peer's AUTH shows that it holds the same key, and has seen the same messages (section 2.16).
///
/// # Errors
/// Where it does not.
pub(super) fn by_eap(
    core: &Core,
    sk: &Sk,
    transcript: &Transcript,
    outcome: &EapOutcome,
    (id, identity): (&Identification, &Identity),
    auth: &Auth,
) -> Result<Shown, Fault> {
    let connection = &core.connection;
    if auth.method != AuthMethod::SHARED_KEY {
        let way = core.peer_round().map_or(&connection.remote_auth, |(_, way)| way);
        return Err(Fault::Authentication(diagnosis::wrong_method(connection, way, &identity.to_string(), &auth.method.to_string())));
    }
    if Secret::copy_from(&auth.data) != proof::by_eap(sk, core.role.other(), outcome, transcript, id) {
        return Err(Fault::Authentication(or_another_ppk(*diagnosis::other_eap_key(identity), core.ppk.used())));
    }
    Ok(Shown { identity: outcome.user.as_ref().unwrap_or(identity).clone() })
}

/// In constant time.
fn by_shared_key(
    core: &Core,
    sk: &Sk,
    transcript: &Transcript,
    id: &Identification,
    identity: Identity,
    auth: &Auth,
) -> Result<Shown, Fault> {
    let connection = &core.connection;
    if auth.method != AuthMethod::SHARED_KEY {
        let method = auth.method.to_string();
        return Err(Fault::Authentication(diagnosis::wrong_method(connection, &RemoteAuth::Psk, &identity.to_string(), &method)));
    }
    let psk = connection.psk(&identity).ok_or_else(|| Fault::Authentication(diagnosis::no_key(connection, &identity)))?;
    if Secret::copy_from(&auth.data) != proof::by_shared_key(sk, core.role.other(), psk, transcript, id) {
        return Err(Fault::Authentication(or_another_ppk(*diagnosis::wrong_key(connection, &identity), core.ppk.used())));
    }
    Ok(Shown { identity })
}

fn by_signature(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    transcript: &Transcript,
    (id, identity, auth): (&Identification, Identity, &Auth),
    payloads: &[Payload],
    verifier: &Arc<dyn PeerVerifier>,
) -> Result<Verification, Fault> {
    let signed = auth.signature().map_err(|error| Fault::Authentication(diagnosis::bad_signature(&identity, &error.to_string())))?;
    let certificates: Vec<Certificate> = payloads
        .iter()
        .filter_map(|payload| if let Payload::Cert(certificate) = payload { Some(certificate.clone()) } else { None })
        .collect();
    let (message, nonce) = transcript.of(core.role.other());
    let proof = PeerProof {
        identity: identity.clone(),
        certificates,
        scheme: signed.scheme,
        encoding: signed.encoding,
        message: sk.keys.signed_octets(core.role.other(), message, nonce, id),
        signature: signed.value.to_vec(),
    };
    let by = match signed.encoding {
        SignatureEncoding::Der => format!("{} by RFC 7427", signed.scheme),
        SignatureEncoding::Fixed => auth.method.to_string(),
    };
    core.step(cx, "check the peer's signature", alloc::vec![format!("{identity}, {by}, {} certificates", proof.certificates.len())]);
    let job = cx.shared.job(core.id, Job::Verify { verifier: verifier.clone(), proof });
    Ok(Verification::Checking(job, Pending { shown: Shown { identity } }))
}
