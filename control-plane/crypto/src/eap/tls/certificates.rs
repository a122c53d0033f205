//! Certificates in TLS: ours, with the key that it signs by, and the judgement of the other side's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ike::config::Credential;
use ike::error::Detail;
use ike::provider::{Certificate, CertificateEncoding, Judgement, PeerProof, PeerVerifier, SigningKey};
use ipsec_types::{Identity, KeyKind, SignatureEncoding, SignatureScheme};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::{CertifiedKey, Signer, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureAlgorithm, SignatureScheme as TlsScheme};

use super::{Open, Why};
use crate::Trust;

/// Schemes of both worlds. In TLS 1.2 those of ECDSA name no curve.
const SCHEMES: &[(SignatureScheme, TlsScheme)] = &[
    (SignatureScheme::EcdsaSha256, TlsScheme::ECDSA_NISTP256_SHA256),
    (SignatureScheme::EcdsaSha384, TlsScheme::ECDSA_NISTP384_SHA384),
    (SignatureScheme::EcdsaSha512, TlsScheme::ECDSA_NISTP521_SHA512),
    (SignatureScheme::Ed25519, TlsScheme::ED25519),
    (SignatureScheme::RsaPssSha256, TlsScheme::RSA_PSS_SHA256),
    (SignatureScheme::RsaPssSha384, TlsScheme::RSA_PSS_SHA384),
    (SignatureScheme::RsaPssSha512, TlsScheme::RSA_PSS_SHA512),
    (SignatureScheme::RsaSha256, TlsScheme::RSA_PKCS1_SHA256),
    (SignatureScheme::RsaSha384, TlsScheme::RSA_PKCS1_SHA384),
    (SignatureScheme::RsaSha512, TlsScheme::RSA_PKCS1_SHA512),
];

fn in_tls(scheme: SignatureScheme) -> Option<TlsScheme> {
    SCHEMES.iter().find(|(ours, _)| *ours == scheme).map(|(_, theirs)| *theirs)
}

/// What we show.
pub(super) fn own(credential: &Credential) -> Arc<SingleCertAndKey> {
    let is_x509 = |certificate: &&Certificate| certificate.encoding == CertificateEncoding::X509_SIGNATURE;
    let chain = credential.certificates.iter().filter(is_x509).map(|certificate| CertificateDer::from(certificate.data.clone()));
    let key = Key { key: credential.key.clone(), schemes: credential.schemes.clone() };
    Arc::new(CertifiedKey::new(chain.collect(), Arc::new(key)).into())
}

/// Our key, wherever it is.
#[derive(Debug)]
struct Key {
    key: Arc<dyn SigningKey>,
    schemes: Vec<SignatureScheme>,
}

#[derive(Debug)]
struct By {
    key: Arc<dyn SigningKey>,
    ours: SignatureScheme,
    theirs: TlsScheme,
}

impl rustls::sign::SigningKey for Key {
    fn choose_scheme(&self, offered: &[TlsScheme]) -> Option<Box<dyn Signer>> {
        let offered = |&ours: &SignatureScheme| Some((ours, in_tls(ours).filter(|theirs| offered.contains(theirs))?));
        let (ours, theirs) = self.schemes.iter().find_map(offered)?;
        Some(Box::new(By { key: self.key.clone(), ours, theirs }))
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        match self.key.kind() {
            KeyKind::Rsa => SignatureAlgorithm::RSA,
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 => SignatureAlgorithm::ECDSA,
            KeyKind::Ed25519 => SignatureAlgorithm::ED25519,
        }
    }
}

impl Signer for By {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.key.sign(self.ours, SignatureEncoding::Der, message);
        signature.map_err(|error| Error::General(format!("our private key cannot sign by {}: {error}", self.ours)))
    }

    fn scheme(&self) -> TlsScheme {
        self.theirs
    }
}

/// Says whether the other side is who it has to be, once it has signed.
#[derive(Debug)]
pub(super) struct Judge {
    trust: Arc<Trust>,
    identity: Identity,
    hearing: Mutex<Hearing>,
}

#[derive(Debug, Default)]
struct Hearing {
    certificates: Vec<Certificate>,
    /// Others have to be asked.
    open: Option<Box<PeerProof>>,
    satisfied: bool,
    refusal: Option<Box<Detail>>,
}

impl Judge {
    /// `identity` has to be in the other side's certificate.
    pub(super) fn new(trust: Arc<Trust>, identity: Identity) -> Self {
        Self { trust, identity, hearing: Mutex::default() }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// About whom others have to be asked now.
    pub(super) fn open(&self) -> Option<Open> {
        self.hearing().open.take().map(|proof| Open { verifier: self.trust.clone(), proof })
    }

    /// Others have said nothing against it.
    pub(super) fn satisfy(&self) {
        self.hearing().satisfied = true;
    }

    /// Whether the other side is believed.
    pub(super) fn is_satisfied(&self) -> bool {
        self.hearing().satisfied
    }

    /// What TLS says, or what was behind it.
    pub(super) fn why(&self, error: &Error) -> Why {
        match (self.hearing().refusal.take(), error) {
            (Some(detail), _) => Why::Explained(detail),
            (None, Error::NoCertificatesPresented) => "the peer shows no certificate".into(),
            (None, Error::AlertReceived(alert)) => format!("the other side ends TLS: {alert:?}").into(),
            (None, error) => format!("TLS fails: {error}").into(),
        }
    }

    fn shown(&self, own: &CertificateDer<'_>, others: &[CertificateDer<'_>]) {
        let all = std::iter::once(own).chain(others);
        let all = all.map(|der| Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: der.to_vec() });
        self.hearing().certificates = all.collect();
    }

    fn judge(&self, message: &[u8], signed: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        let scheme = SCHEMES.iter().find(|(_, theirs)| *theirs == signed.scheme).map(|(ours, _)| *ours);
        let mut hearing = self.hearing();
        let proof = PeerProof {
            identity: self.identity.clone(),
            certificates: std::mem::take(&mut hearing.certificates),
            scheme: scheme.ok_or_else(|| Error::General(format!("a signature by {:?}", signed.scheme)))?,
            encoding: SignatureEncoding::Der,
            message: message.to_vec(),
            signature: signed.signature().to_vec(),
        };
        match self.trust.judge(&proof) {
            Judgement::Open(_) => hearing.open = Some(Box::new(proof)),
            Judgement::Said(Ok(())) => hearing.satisfied = true,
            Judgement::Said(Err(detail)) => {
                hearing.refusal = Some(detail);
                return Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure));
            }
        }
        Ok(HandshakeSignatureValid::assertion())
    }

    fn schemes() -> Vec<TlsScheme> {
        SCHEMES.iter().map(|(_, theirs)| *theirs).collect()
    }
}

// A certificate alone says nothing: it is judged together with the signature by its key, which TLS never leaves out.

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.shown(end_entity, intermediates);
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge(message, dss)
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 was not offered".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<TlsScheme> {
        Self::schemes()
    }
}

/// The names of authorities travel in one flight with everything else: an operator with hundreds of them names none.
const MOST_NAMES: usize = 16;

#[derive(Debug)]
pub(super) struct OfClients {
    judge: Arc<Judge>,
    authorities: Vec<DistinguishedName>,
}

impl OfClients {
    pub(super) fn new(judge: Arc<Judge>) -> Self {
        let names: Vec<DistinguishedName> = judge.trust.subjects().map(DistinguishedName::in_sequence).collect();
        Self { judge, authorities: if names.len() > MOST_NAMES { Vec::new() } else { names } }
    }
}

impl ClientCertVerifier for OfClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.authorities
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.judge.shown(end_entity, intermediates);
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        _cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.judge.judge(message, dss)
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.3 was not offered".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<TlsScheme> {
        Judge::schemes()
    }
}
