//! What we show of who we are: ID, and HASH or certificates and SIG.

use alloc::format;
use alloc::vec::Vec;

use ike_wire::CertificateEncoding;
use ike_wire::v1::{Certificate, Identification, Payload};
use ipsec_types::{SignatureEncoding, SignatureScheme};

use super::Keyed;
use crate::config::{Credential, LocalAuth};
use crate::context::Context;
use crate::error::Failure;
use crate::io::{Job, JobId};
use crate::provider::CryptoError;
use crate::v1::Core;

/// How far it is.
pub(super) enum Proof {
    /// Ready: `ID, HASH`.
    Made(Vec<Payload>),
    /// The signature is being made.
    Signing(JobId, Pending),
}

/// A signature that is being made.
pub(super) struct Pending {
    scheme: SignatureScheme,
}

/// Begins to show who we are.
///
/// # Errors
/// What is missing on this side.
pub(super) fn begin(keyed: &Keyed, core: &Core, cx: &mut Context<'_>) -> Result<Proof, Failure> {
    let id = Identification::from(&core.connection.local_identity);
    let hash = keyed.hash_of(core.role, &id).expose().to_vec();
    match keyed.suite.authentication.signature(core.role) {
        None => Ok(Proof::Made(alloc::vec![Payload::Identification(id), Payload::Hash(hash)])),
        Some(scheme) => {
            let key = credential(core)?.key.clone();
            let job = cx.shared.job(core.id, Job::Sign { key, scheme, encoding: SignatureEncoding::Fixed, message: hash });
            Ok(Proof::Signing(job, Pending { scheme }))
        }
    }
}

impl Pending {
    /// The signature is there: `ID, [CERT,] SIG`.
    ///
    /// # Errors
    /// Where the key could not sign.
    pub(super) fn done(self, core: &Core, result: Result<Vec<u8>, CryptoError>) -> Result<Vec<Payload>, Failure> {
        let signature = result.map_err(|error| Failure::Local(format!("the private key cannot sign by {}: {error}", self.scheme)))?;
        // Raw public keys are IKEv2's (RFC 7670): without a certificate the peer must know ours.
        let certificates = credential(core)?.certificates.iter().filter(|shown| shown.encoding == CertificateEncoding::X509_SIGNATURE);
        let certificates = certificates.map(|shown| Payload::Cert(Certificate { encoding: shown.encoding, data: shown.data.clone() }));
        let id = Payload::Identification(Identification::from(&core.connection.local_identity));
        Ok([id].into_iter().chain(certificates).chain([Payload::Signature(signature)]).collect())
    }
}

fn credential(core: &Core) -> Result<&Credential, Failure> {
    match &core.connection.local_auth {
        LocalAuth::PublicKey(credential) => Ok(credential),
        other => Err(Failure::Local(format!("a signature is due, and local.auth = {}", other.keyword()))),
    }
}
