//! Our AUTH payload.

use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use ike_wire::payload::signature;
use ike_wire::{Auth, AuthMethod, Identification, Payload};
use ipsec_types::{HashAlgorithm, KeyKind, Secret, SignatureEncoding, SignatureScheme};

use super::Transcript;
use crate::config::{Credential, LocalAuth};
use crate::context::Context;
use crate::error::Failure;
use crate::io::{Job, JobId};
use crate::policy::ConnectionRef;
use crate::provider::{CryptoError, EapOutcome};
use crate::v2::keys::Role;
use crate::v2::{Core, Sk};

/// How far it is.
pub(super) enum Proof {
    /// Ready: `[CERT,] AUTH`.
    Made(Vec<Payload>),
    /// The signature is being made.
    Signing(JobId, Pending),
}

/// A signature that is being made.
pub(super) struct Pending {
    scheme: SignatureScheme,
    encoding: SignatureEncoding,
}

/// Begins to prove who we are. The round is under way. `psk` is the key between us and the peer, where there is one.
///
/// # Errors
/// What is missing on this side.
pub(super) fn begin(
    core: &Core,
    cx: &mut Context<'_>,
    sk: &Sk,
    transcript: &Transcript,
    psk: impl FnOnce(&ConnectionRef) -> Result<&Secret, Failure>,
) -> Result<Proof, Failure> {
    let id = super::own_id(core);
    match core.own_round().1 {
        LocalAuth::Psk => {
            let data = by_shared_key(sk, core.role, psk(&core.connection)?, transcript, &id).expose().to_vec();
            Ok(Proof::Made(alloc::vec![Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data })]))
        }
        LocalAuth::PublicKey(credential) => {
            let (scheme, encoding) = choose(credential, core.peer_hashes.as_deref())?;
            let (message, nonce) = transcript.of(core.role);
            let message = sk.keys.signed_octets(core.role, message, nonce, &id);
            let job = cx.shared.job(core.id, Job::Sign { key: credential.key.clone(), scheme, encoding, message });
            Ok(Proof::Signing(job, Pending { scheme, encoding }))
        }
        LocalAuth::Xauth(_) => Err(Failure::Local("local.auth = xauth is for IKEv1".into())),
        LocalAuth::Eap(method) => {
            Err(Failure::Local(format!("local.auth = {} is for an initiator, or for a peer that wants nothing but EAP", method.keyword())))
        }
    }
}

impl Pending {
    /// The signature is there: `[CERT,] AUTH`.
    ///
    /// # Errors
    /// Where the key could not sign.
    pub(super) fn done(self, core: &Core, result: Result<Vec<u8>, CryptoError>) -> Result<Vec<Payload>, Failure> {
        let signature = result.map_err(|error| Failure::Local(format!("the private key cannot sign by {}: {error}", self.scheme)))?;
        let auth = Auth::signed(self.scheme, self.encoding, signature);
        let auth = auth.ok_or_else(|| Failure::Local(format!("no AUTH method is for {}", self.scheme)))?;
        let certificates = match core.own_round().1 {
            LocalAuth::PublicKey(credential) => credential.certificates.as_slice(),
            LocalAuth::Psk | LocalAuth::Eap(_) | LocalAuth::Xauth(_) => &[],
        };
        Ok(certificates.iter().cloned().map(Payload::Cert).chain([Payload::Auth(auth)]).collect())
    }
}

/// AUTH with a shared key as `role` computes it.
pub(super) fn by_shared_key(sk: &Sk, role: Role, psk: &Secret, transcript: &Transcript, id: &Identification) -> Secret {
    let (message, nonce) = transcript.of(role);
    sk.keys.shared_key_auth(role, psk, message, nonce, id)
}

/// AUTH after EAP as `role` computes it.
pub(super) fn by_eap(sk: &Sk, role: Role, outcome: &EapOutcome, transcript: &Transcript, id: &Identification) -> Secret {
    let (message, nonce) = transcript.of(role);
    sk.keys.eap_auth(role, outcome.msk.as_ref(), message, nonce, id)
}

/// The first of our schemes whose hash the peer takes (RFC 7427 section 4); for peers that do not say, and for SHA-1, which none asks for, the one of
/// the methods before.
fn choose(credential: &Credential, hashes: Option<&[HashAlgorithm]>) -> Result<(SignatureScheme, SignatureEncoding), Failure> {
    let kind: KeyKind = credential.key.kind();
    let before = signature::scheme_before_rfc7427(kind).filter(|scheme| credential.schemes.contains(scheme));
    let Some(hashes) = hashes else {
        let without = match kind {
            KeyKind::Rsa => "RSA signs with SHA-1, which has to be written out: local.auth = \"rsa-sha256-sha1\"".to_string(),
            _ => format!("there is no method for {kind}"),
        };
        let none = || Failure::Local(format!("the peer does not know RFC 7427, and without it {without}"));
        return Ok((before.ok_or_else(none)?, SignatureEncoding::Fixed));
    };
    let taken = |scheme: &&SignatureScheme| scheme.suits(kind) && hashes.contains(&scheme.hash());
    if let Some(scheme) = credential.schemes.iter().find(taken) {
        return Ok((*scheme, SignatureEncoding::Der));
    }
    if let Some(scheme) = before.filter(|scheme| scheme.hash() == HashAlgorithm::Sha1) {
        return Ok((scheme, SignatureEncoding::Fixed));
    }
    let theirs: Vec<&str> = hashes.iter().map(|hash| hash.keyword()).collect();
    let ours: Vec<&str> = credential.schemes.iter().map(|scheme| scheme.keyword()).collect();
    Err(Failure::Local(format!("the peer takes signatures with {}, ours are {}", theirs.join(", "), ours.join(", "))))
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use ipsec_types::{HashAlgorithm as H, SignatureEncoding as E, SignatureScheme as S};

    use super::*;
    use crate::provider::SigningKey;

    #[derive(Debug)]
    struct Key(KeyKind);

    impl SigningKey for Key {
        fn kind(&self) -> KeyKind {
            self.0
        }

        fn sign(&self, _: SignatureScheme, _: SignatureEncoding, _: &[u8]) -> Result<Vec<u8>, CryptoError> {
            Err(CryptoError::Unavailable)
        }
    }

    fn chosen(kind: KeyKind, schemes: &[S], hashes: Option<&[H]>) -> Option<(S, E)> {
        choose(&Credential { key: Arc::new(Key(kind)), certificates: Vec::new(), schemes: schemes.to_vec() }, hashes).ok()
    }

    #[test]
    fn sha1_is_signed_only_where_it_is_written_out_and_nothing_better_is_taken() {
        let (rsa, with_sha1) = ([S::RsaSha256, S::RsaPssSha512], [S::RsaSha256, S::RsaSha1]);
        assert_eq!(chosen(KeyKind::Rsa, &rsa, None), None);
        assert_eq!(chosen(KeyKind::Rsa, &with_sha1, None), Some((S::RsaSha1, E::Fixed)));
        assert_eq!(chosen(KeyKind::Rsa, &with_sha1, Some(&[H::Sha256])), Some((S::RsaSha256, E::Der)));
        assert_eq!(chosen(KeyKind::Rsa, &rsa, Some(&[H::Sha1])), None);
        // AUTH method 1 has SHA-1 whatever the peer says of method 14.
        assert_eq!(chosen(KeyKind::Rsa, &[S::RsaSha1], Some(&[H::Sha256])), Some((S::RsaSha1, E::Fixed)));
        assert_eq!(chosen(KeyKind::EcdsaP256, &[S::EcdsaSha256], None), Some((S::EcdsaSha256, E::Fixed)));
        assert_eq!(chosen(KeyKind::EcdsaP256, &[S::EcdsaSha256], Some(&[H::Sha512])), None);
        assert_eq!(chosen(KeyKind::Ed25519, &[S::Ed25519], None), None);
    }
}
