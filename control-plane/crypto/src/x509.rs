//! Peers' certificates and raw public keys (RFC 5280, RFC 4945, RFC 7670). Paths are built and checked by the crate `webpki`.

mod identity;
mod path;
mod revocation;
mod signed;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ike::error::Detail;
use ike::provider::{CertificateEncoding, Inquiry, Judgement, PeerProof, PeerVerifier};
use ipsec_types::{Identity, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, RawPublicKeyEntity};
use x509_cert::Certificate;
use x509_cert::der::asn1::AnyRef;
use x509_cert::der::{Decode, Encode, Tag};

pub use path::Refusal;
#[cfg(test)]
pub(crate) use path::of_scheme;
pub(crate) use path::to_der;
pub use revocation::{Crl, Places, Policy as RevocationPolicy, REQUEST_TYPE as OCSP_REQUEST, Revocations};

use revocation::{Issuer, Link};

/// What a connection trusts.
pub struct Trust {
    authorities: Vec<TrustAnchor<'static>>,
    issuers: Vec<Issuer>,
    hashes: Vec<[u8; 20]>,
    /// Certificates of peers that are trusted by themselves, DER.
    pinned: Vec<CertificateDer<'static>>,
    /// Public keys of peers, SubjectPublicKeyInfo in DER.
    raw_keys: Vec<Vec<u8>>,
    clock: fn() -> SystemTime,
    /// What a peer may sign by.
    schemes: Vec<SignatureScheme>,
    revocation: (RevocationPolicy, Arc<Revocations>),
}

/// Why a certificate cannot be one of an authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// It cannot be read.
    #[error("this is no X.509 certificate")]
    Malformed,
    /// Its basic constraints do not say that it is one of an authority.
    #[error("this is no certificate of an authority: its basic constraints do not say CA")]
    NoAuthority,
    /// A key of RSA of so few bits: nothing it signs is believed.
    #[error("its key is RSA of {0} bits, and too weak")]
    WeakKey(usize),
}

impl Trust {
    /// Nobody is trusted yet. `clock` tells the time for which certificates have to be valid; `schemes` are those by which a peer may sign.
    #[must_use]
    pub fn new(clock: fn() -> SystemTime, schemes: Vec<SignatureScheme>) -> Self {
        Self {
            authorities: Vec::new(),
            issuers: Vec::new(),
            hashes: Vec::new(),
            pinned: Vec::new(),
            raw_keys: Vec::new(),
            clock,
            schemes,
            revocation: (RevocationPolicy::Off, Arc::default()),
        }
    }

    /// Wants to know of certificates that authorities have signed whether they have been revoked. Without this nobody is asked.
    pub fn check_revocation(&mut self, policy: RevocationPolicy, known: Arc<Revocations>) {
        self.revocation = (policy, known);
    }

    /// Trusts what an authority has signed.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn trust_authority(&mut self, der: Vec<u8>) -> Result<(), AuthorityError> {
        let certificate = Certificate::from_der(&der).map_err(|_| AuthorityError::Malformed)?;
        if !identity::is_authority(&certificate) {
            return Err(AuthorityError::NoAuthority);
        }
        if let Some(bits) = identity::weak_key(&certificate) {
            return Err(AuthorityError::WeakKey(bits));
        }
        // Section 3.7 of RFC 7296 hashes the whole SubjectPublicKeyInfo.
        let key = certificate.tbs_certificate().subject_public_key_info().to_der().map_err(|_| AuthorityError::Malformed)?;
        let der = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| AuthorityError::Malformed)?;
        self.hashes.push(crate::sha1::sha1(&[&key]));
        self.authorities.push(anchor.to_owned());
        self.issuers.extend(Issuer::new(&der));
        Ok(())
    }

    /// Trusts a certificate of a peer in its time, whoever has signed it.
    pub fn trust_certificate(&mut self, der: Vec<u8>) {
        self.pinned.push(CertificateDer::from(der));
    }

    /// Trusts a public key, of SubjectPublicKeyInfo in DER, to be that of whoever the connection is for.
    pub fn trust_key(&mut self, public_key: Vec<u8>) {
        self.raw_keys.push(public_key);
    }

    /// The subjects of the authorities, each the inside of a Name in DER.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = &[u8]> {
        self.authorities.iter().map(|anchor| anchor.subject.as_ref())
    }

    /// Whether the peer is who it claims to be, or, where they `may_be_asked`, whom to ask before.
    fn check(&self, proof: &PeerProof, may_be_asked: bool) -> Result<Vec<Inquiry>, Refusal> {
        let links = self.believe(proof)?;
        let (policy, known) = &self.revocation;
        let now = Duration::from_secs(self.now()?.as_secs());
        let open = if may_be_asked && *policy != RevocationPolicy::Off { known.open(&links, now) } else { Vec::new() };
        if open.is_empty() {
            known.check(&links, *policy, now)?;
        }
        Ok(open)
    }

    /// Checks everything but revocation. Returns the certificates of which it is to be known, with their issuers.
    fn believe(&self, proof: &PeerProof) -> Result<Vec<Link>, Refusal> {
        // Those of IKEv1 have the hash that phase 1 has: nobody can choose another.
        if !self.schemes.iter().any(|scheme| *scheme == proof.scheme || scheme.bare() == Some(proof.scheme)) {
            return Err(Refusal::Algorithm(proof.scheme));
        }
        let of = |encoding| proof.certificates.iter().filter(move |certificate| certificate.encoding == encoding);
        if of(CertificateEncoding::X509_HASH_AND_URL).chain(of(CertificateEncoding::X509_BUNDLE_HASH_AND_URL)).next().is_some() {
            return Err(Refusal::HashAndUrl);
        }
        if let Some(raw) = of(CertificateEncoding::RAW_PUBLIC_KEY).next() {
            return self.by_raw_key(&raw.data, proof).map(|()| Vec::new());
        }
        let shown: Vec<CertificateDer<'_>> =
            of(CertificateEncoding::X509_SIGNATURE).map(|found| CertificateDer::from(found.data.as_slice())).collect();
        let shown = if proof.scheme.bare() == Some(proof.scheme) { own_first(shown, &proof.identity) } else { shown };
        let Some((own, intermediates)) = shown.split_first() else { return self.by_pinned(proof).map(|()| Vec::new()) };
        let entity = EndEntityCert::try_from(own).map_err(|error| Refusal::Path(Box::new(error)))?;
        let now = self.now()?;
        let is_pinned = self.pinned.contains(own);
        let mut links = Vec::new();
        if !is_pinned {
            let path = path::check(&entity, &self.authorities, intermediates, now)?;
            if self.revocation.0 != RevocationPolicy::Off {
                links = revocation::links(&path, &self.issuers).ok_or(Refusal::Malformed)?;
            }
        }
        let certificate = Certificate::from_der(own).map_err(|_| Refusal::Malformed)?;
        if is_pinned {
            identity::in_time(&certificate, now)?;
        }
        identity::check(&certificate, &proof.identity)?;
        path::check_signature(|algorithm, message, signature| entity.verify_signature(algorithm, message, signature), proof)?;
        Ok(links)
    }

    fn now(&self) -> Result<UnixTime, Refusal> {
        (self.clock)().duration_since(SystemTime::UNIX_EPOCH).map(UnixTime::since_unix_epoch).map_err(|_| Refusal::Clock)
    }

    /// Without a certificate the peer has one that we know (RFC 7296 section 3.6 makes CERT optional).
    fn by_pinned(&self, proof: &PeerProof) -> Result<(), Refusal> {
        let now = self.now()?;
        let mut found = Refusal::NothingShown;
        for der in &self.pinned {
            let (Ok(entity), Ok(certificate)) = (EndEntityCert::try_from(der), Certificate::from_der(der)) else { continue };
            if identity::check(&certificate, &proof.identity).is_err() {
                continue;
            }
            if let Err(refusal) = identity::in_time(&certificate, now) {
                found = refusal;
                continue;
            }
            match path::check_signature(|algorithm, message, signature| entity.verify_signature(algorithm, message, signature), proof) {
                Ok(()) => return Ok(()),
                Err(refusal) => found = refusal,
            }
        }
        for key in &self.raw_keys {
            match self.by_raw_key(key, proof) {
                Ok(()) => return Ok(()),
                Err(refusal) => found = refusal,
            }
        }
        Err(found)
    }

    /// A raw public key says nothing about who has it: it is one that was configured, or it is nobody's (RFC 7670 section 4).
    fn by_raw_key(&self, key: &[u8], proof: &PeerProof) -> Result<(), Refusal> {
        if !self.raw_keys.iter().any(|known| known == key) {
            return Err(Refusal::UnknownRawKey);
        }
        let key = SubjectPublicKeyInfoDer::from(key);
        let entity = RawPublicKeyEntity::try_from(&key).map_err(|error| Refusal::Path(Box::new(error)))?;
        path::check_signature(|algorithm, message, signature| entity.verify_signature(algorithm, message, signature), proof)
    }
}

/// IKEv1 has no order of certificates (RFC 4945 section 3.3.10.3): the first that is one of the identity comes first.
fn own_first<'a>(mut shown: Vec<CertificateDer<'a>>, identity: &Identity) -> Vec<CertificateDer<'a>> {
    let is_own = |der: &CertificateDer<'_>| Certificate::from_der(der).is_ok_and(|found| identity::check(&found, identity).is_ok());
    if let Some(position) = shown.iter().position(is_own) {
        shown.swap(0, position);
    }
    shown
}

/// Every certificate of a PEM file, or the one that `octets` are in DER; `None` where there is none, or one cannot be read.
#[must_use]
pub fn certificates(octets: &[u8]) -> Option<Vec<Vec<u8>>> {
    if Certificate::from_der(octets).is_ok() {
        return Some(vec![octets.to_vec()]);
    }
    let found: Vec<Vec<u8>> =
        CertificateDer::pem_slice_iter(octets).map(|der| der.map(|der| der.as_ref().to_vec())).collect::<Result<_, _>>().ok()?;
    let sound = !found.is_empty() && found.iter().all(|der| Certificate::from_der(der).is_ok());
    sound.then_some(found)
}

/// The SubjectPublicKeyInfo of a PEM file, in DER.
#[must_use]
pub fn raw_public_key(pem: &[u8]) -> Option<Vec<u8>> {
    let key = SubjectPublicKeyInfoDer::from_pem_slice(pem).ok()?;
    RawPublicKeyEntity::try_from(&key).ok()?;
    Some(key.as_ref().to_vec())
}

/// The SubjectPublicKeyInfo of a certificate, both in DER.
#[must_use]
pub fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    Certificate::from_der(der).ok()?.tbs_certificate().subject_public_key_info().to_der().ok()
}

/// The subject of a certificate.
#[must_use]
pub fn subject(der: &[u8]) -> Option<Identity> {
    identity::subject(&Certificate::from_der(der).ok()?)
}

/// Whether a certificate is that of an identity.
///
/// # Errors
/// Whom it is about.
pub fn certifies(der: &[u8], identity: &Identity) -> Result<(), Vec<String>> {
    let certificate = Certificate::from_der(der).map_err(|_| Vec::new())?;
    match identity::check(&certificate, identity) {
        Err(Refusal::OtherIdentity(names)) => Err(names),
        _ => Ok(()),
    }
}

impl PeerVerifier for Trust {
    fn authorities(&self) -> &[[u8; 20]] {
        &self.hashes
    }

    fn authority_names(&self) -> Vec<Vec<u8>> {
        self.subjects().filter_map(|inside| AnyRef::new(Tag::Sequence, inside).ok()?.to_der().ok()).collect()
    }

    fn judge(&self, proof: &PeerProof) -> Judgement {
        match self.check(proof, true) {
            Ok(open) if !open.is_empty() => Judgement::Open(open),
            Ok(_) => Judgement::Said(Ok(())),
            Err(refusal) => Judgement::Said(Err(Box::new(refusal.explain(proof)))),
        }
    }

    fn learn(&self, inquiry: &Inquiry, answer: Option<&[u8]>) {
        if let Ok(now) = self.now() {
            self.revocation.1.learn(inquiry, answer, Duration::from_secs(now.as_secs()));
        }
    }

    fn verify(&self, proof: &PeerProof) -> Result<(), Box<Detail>> {
        self.check(proof, false).map(drop).map_err(|refusal| Box::new(refusal.explain(proof)))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} authorities, {} certificates, {} keys)", self.authorities.len(), self.pinned.len(), self.raw_keys.len())
    }
}

#[cfg(test)]
pub(crate) mod tests;
