//! From a peer's certificate to an authority, and the signature that its key has made.

use aws_lc_rs::digest::{self, Digest};
use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, UnparsedPublicKey};
use ike::error::Detail;
use ike::provider::PeerProof;
use ipsec_types::{SignatureEncoding, SignatureScheme};
use rustls_pki_types::{
    AlgorithmIdentifier, CertificateDer, InvalidSignature, SignatureVerificationAlgorithm, TrustAnchor, UnixTime, alg_id,
};
use webpki::{
    EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeId, KeyPurposeIdIter, KeyUsage, RequiredEkuNotFoundContext, VerifiedPath,
    aws_lc_rs as algorithms,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::identity;

/// Why a peer is not believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It shows no certificate, and we have none of it.
    NothingShown,
    /// It wants us to fetch its certificate from where it says, which is no good idea for anybody who is not authenticated.
    HashAndUrl,
    /// A raw public key that is not configured.
    UnknownRawKey,
    /// What `webpki` says of the certificate and its path.
    Path(Box<Error>),
    /// A certificate that is configured is not in its time.
    Pinned(Box<Error>),
    /// The certificate of this subject, the peer's or one on its path, has been revoked.
    Revoked(String),
    /// It is not known whether the certificate of this subject has been revoked, and the policy wants to know.
    NotKnown(String),
    /// A certificate, the peer's or one on its path, is for a key of RSA of so few bits.
    WeakKey(usize),
    /// The certificate cannot be read.
    Malformed,
    /// The key usage has neither digital signature nor non-repudiation.
    KeyUsage,
    /// The certificate is about somebody else: about these.
    OtherIdentity(Vec<String>),
    /// The signature is not that of the certificate's key.
    WrongSignature,
    /// The signature algorithm is not for this key, is too weak, or the key is.
    Algorithm(SignatureScheme),
    /// The clock of this machine is before 1970.
    Clock,
}

impl Refusal {
    pub(super) fn explain(&self, proof: &PeerProof) -> Detail {
        let who = &proof.identity;
        let (summary, theirs, remedy): (String, String, &str) = match self {
            Self::NothingShown => (
                format!("{who} shows no certificate, and none of it is configured here"),
                String::new(),
                "let the peer send its certificate (strongSwan: send_cert = always), or name it in remote.certs",
            ),
            Self::HashAndUrl => (
                format!("{who} wants its certificate fetched by URL, which is not done"),
                "CERT: hash and URL".into(),
                "let the peer send the certificate itself",
            ),
            Self::UnknownRawKey => (
                format!("the raw public key of {who} is not known"),
                "CERT: raw public key".into(),
                "name it in remote.pubkeys, after comparing it with the peer's by another way",
            ),
            Self::Path(error) => {
                let (problem, remedy) = of_path(error);
                (format!("the certificate of {who} is not valid: {problem}"), shown(proof), remedy)
            }
            Self::Pinned(error) => {
                let (problem, _) = of_path(error);
                let remedy = "let the peer have a new certificate, and name that in remote.certs; compare the clocks of both machines";
                (format!("the certificate of {who} that is configured here is not valid: {problem}"), shown(proof), remedy)
            }
            Self::Revoked(subject) => (
                format!("the certificate of {who}, or one on its path, has been revoked"),
                format!("the certificate of {subject}"),
                "let the peer have a certificate for a new key",
            ),
            Self::NotKnown(subject) => (
                format!("it is not known whether the certificate of {who}, or one on its path, has been revoked"),
                format!("the certificate of {subject}"),
                "look why whom it names for this (OCSP, lists of revocations) has no valid answer; name a list of its authority's in crls; or write \
                 revocation = \"relaxed\"",
            ),
            Self::WeakKey(bits) => (
                format!("the certificate of {who}, or one on its path, is for a key that is too weak: RSA of {bits} bits"),
                shown(proof),
                "have it issued for a new key: RSA of 2048 bits or more, ECDSA or Ed25519",
            ),
            Self::Malformed => {
                (format!("the certificate of {who} cannot be read"), shown(proof), "have a certificate issued that keeps RFC 5280")
            }
            Self::KeyUsage => (
                format!("the certificate of {who} is not for signatures: its key usage has neither digitalSignature nor nonRepudiation"),
                shown(proof),
                "have a certificate issued with digitalSignature",
            ),
            Self::OtherIdentity(names) => (
                format!("the certificate is not one of {who}"),
                format!("it is about {}", if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }),
                "let the peer identify itself by a name in its certificate, or have one issued with subjectAltName for this one",
            ),
            Self::WrongSignature => (
                format!("the signature of {who} is not right: another key has made it, or for other messages than those seen here"),
                format!("signed by {}", proof.scheme),
                "check that the peer signs with the key of the certificate it shows",
            ),
            Self::Algorithm(SignatureScheme::RsaSha1) => (
                format!("the signature of {who} by RSA with SHA-1 is not accepted: whoever finds collisions of SHA-1 may have forged it"),
                "signed by rsa-sha1".into(),
                "let the peer sign by RFC 7427 and SHA-256; for one that cannot, write remote.auth = \"rsa-sha1\"",
            ),
            Self::Algorithm(scheme) => (
                format!(
                    "the signature of {who} by {scheme} is not accepted: the algorithm does not suit the key, or one of the two is too weak"
                ),
                format!("signed by {scheme}"),
                "let the peer sign by SHA-256 or better, and with RSA of 2048 bits or more, ECDSA or Ed25519",
            ),
            Self::Clock => ("this machine's clock is before 1970".into(), String::new(), "set the clock"),
        };
        Detail {
            summary,
            ours: String::new(),
            theirs,
            would_match: format!("a certificate of {who} from an authority that is trusted here"),
            remedy: remedy.into(),
        }
    }
}

fn shown(proof: &PeerProof) -> String {
    format!("{} certificates", proof.certificates.len())
}

/// What is wrong, and what to do.
fn of_path(error: &Error) -> (String, &'static str) {
    let fixed = match error {
        Error::CertExpired { .. } => ("it has expired", "renew it; compare the clocks of both machines"),
        Error::CertNotValidYet { .. } => ("it is not valid yet", "compare the clocks of both machines"),
        Error::UnknownIssuer => (
            "no authority that is trusted here has signed it",
            "name the authority's certificate in remote.cacerts, or let the peer send the certificates in between",
        ),
        Error::CaUsedAsEndEntity => ("it is one of an authority", "give the peer a certificate of its own"),
        Error::EndEntityUsedAsCa => ("a certificate on the path is none of an authority (CA:false)", "have it issued by an authority"),
        Error::PathLenConstraintViolated => ("there are more authorities on the path than one of them permits", "have it issued higher up"),
        Error::NameConstraintViolation => (
            "an authority on the path may not issue certificates for this name (name constraints)",
            "have it issued by an authority that may",
        ),
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => (
            "it is for other purposes (extended key usage)",
            "have it issued for ipsecIKE, serverAuth or clientAuth, or without extended key usage",
        ),
        Error::UnsupportedCriticalExtension => {
            ("it, or a certificate on the path, has a critical extension that is not known here", "have it issued without, or not critical")
        }
        Error::UnsupportedSignatureAlgorithmContext(_) | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => (
            "it, or a certificate on the path, is signed by an algorithm or a key that is too weak or not known here (SHA-1, RSA of fewer than 2048 bits)",
            "have it issued with SHA-256 or better, and RSA of 2048 bits or more, ECDSA or Ed25519",
        ),
        Error::InvalidSignatureForPublicKey => ("its signature is not that of the authority it names", "have it issued anew"),
        other => return (other.to_string(), "have a certificate issued that keeps RFC 5280"),
    };
    (fixed.0.to_owned(), fixed.1)
}

/// Purposes that a certificate may be limited to: IKE's own, that of its drafts, those of TLS, which most authorities issue, or any (RFC 4945 section
/// 5.1.3.12).
struct ForIke;

/// id-kp-ipsecIKE.
const IPSEC_IKE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 17];

const PURPOSES: &[KeyPurposeId<'_>] = &[
    KeyPurposeId::new(IPSEC_IKE),
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 8, 2, 2]),
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 1]),
    KeyPurposeId::new(&[0x2b, 6, 1, 5, 5, 7, 3, 2]),
    KeyPurposeId::new(&[0x55, 0x1d, 0x25, 0]),
];

impl ExtendedKeyUsageValidator for ForIke {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            let purpose = purpose?;
            if PURPOSES.contains(&purpose) {
                return Ok(());
            }
            present.push(purpose.to_decoded_oid());
        }
        if present.is_empty() {
            return Ok(());
        }
        let required = KeyUsage::required_if_present(IPSEC_IKE);
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext { required, present }))
    }
}

/// Algorithms by which certificates may be signed: SHA-256 or better, RSA of 2048 bits or more.
pub(super) const OF_CERTIFICATES: &[&dyn SignatureVerificationAlgorithm] = webpki::ALL_VERIFICATION_ALGS;

/// Checks the path from a certificate to one of the authorities.
pub(super) fn check<'p>(
    entity: &'p EndEntityCert<'p>,
    authorities: &'p [TrustAnchor<'p>],
    intermediates: &'p [CertificateDer<'p>],
    now: UnixTime,
) -> Result<VerifiedPath<'p>, Refusal> {
    let path = entity.verify_for_usage(OF_CERTIFICATES, authorities, intermediates, now, ForIke, None, None);
    path.map_err(|error| refusal(error, intermediates))
}

/// A signature by a key that is too weak is not looked at, and so seems wrong.
fn refusal(error: Error, intermediates: &[CertificateDer<'_>]) -> Refusal {
    let weak = || intermediates.iter().find_map(|der| identity::weak_key(&Certificate::from_der(der).ok()?));
    match error {
        Error::InvalidSignatureForPublicKey | Error::UnknownIssuer => {
            weak().map_or_else(|| Refusal::Path(Box::new(error)), Refusal::WeakKey)
        }
        error => Refusal::Path(Box::new(error)),
    }
}

/// Checks the signature with the key that `verify` has.
pub(super) fn check_signature(
    verify: impl Fn(&dyn SignatureVerificationAlgorithm, &[u8], &[u8]) -> Result<(), Error>,
    proof: &PeerProof,
) -> Result<(), Refusal> {
    let der = match proof.encoding {
        SignatureEncoding::Fixed if is_ecdsa(proof.scheme) => to_der(&proof.signature).ok_or(Refusal::WrongSignature)?,
        _ => proof.signature.clone(),
    };
    let mut found = Refusal::Algorithm(proof.scheme);
    for algorithm in of_scheme(proof.scheme, proof.encoding) {
        match verify(algorithm, &proof.message, &der) {
            Ok(()) => return Ok(()),
            Err(Error::InvalidSignatureForPublicKey) => found = Refusal::WrongSignature,
            // It is for another curve.
            Err(_) => {}
        }
    }
    Err(found)
}

const fn is_ecdsa(scheme: SignatureScheme) -> bool {
    matches!(scheme, SignatureScheme::EcdsaSha256 | SignatureScheme::EcdsaSha384 | SignatureScheme::EcdsaSha512)
}

/// The algorithms of a scheme, one a curve. The methods before RFC 7427 name the curve.
pub(crate) fn of_scheme(scheme: SignatureScheme, encoding: SignatureEncoding) -> Vec<&'static dyn SignatureVerificationAlgorithm> {
    use SignatureScheme as S;
    match (scheme, encoding) {
        #[cfg(feature = "legacy")]
        (S::RsaSha1, _) => vec![&crate::legacy::RsaSha1],
        #[cfg(not(feature = "legacy"))]
        (S::RsaSha1, _) => vec![],
        (S::RsaSha256, _) => vec![algorithms::RSA_PKCS1_2048_8192_SHA256],
        (S::RsaSha384, _) => vec![algorithms::RSA_PKCS1_2048_8192_SHA384],
        (S::RsaSha512, _) => vec![algorithms::RSA_PKCS1_2048_8192_SHA512],
        (S::RsaPssSha256, _) => vec![algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY],
        (S::RsaPssSha384, _) => vec![algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY],
        (S::RsaPssSha512, _) => vec![algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY],
        (S::EcdsaSha256, SignatureEncoding::Fixed) => vec![algorithms::ECDSA_P256_SHA256],
        (S::EcdsaSha384, SignatureEncoding::Fixed) => vec![algorithms::ECDSA_P384_SHA384],
        (S::EcdsaSha512, SignatureEncoding::Fixed) => vec![algorithms::ECDSA_P521_SHA512],
        (S::EcdsaSha256, _) => vec![algorithms::ECDSA_P256_SHA256, algorithms::ECDSA_P384_SHA256, algorithms::ECDSA_P521_SHA256],
        (S::EcdsaSha384, _) => vec![algorithms::ECDSA_P256_SHA384, algorithms::ECDSA_P384_SHA384, algorithms::ECDSA_P521_SHA384],
        (S::EcdsaSha512, _) => vec![algorithms::ECDSA_P256_SHA512, algorithms::ECDSA_P384_SHA512, algorithms::ECDSA_P521_SHA512],
        (S::Ed25519, _) => vec![algorithms::ED25519],
        #[cfg(feature = "legacy")]
        (S::RsaBare, _) => vec![&crate::legacy::RsaBare],
        #[cfg(not(feature = "legacy"))]
        (S::RsaBare, _) => vec![],
        (S::EcdsaBare, _) => EcdsaBare::ALL.iter().map(|algorithm| algorithm as &dyn SignatureVerificationAlgorithm).collect(),
    }
}

/// ECDSA over a hash that is there already, with r and s one after the other (RFC 4754 section 7). Its length says which curve it is for.
#[derive(Debug)]
struct EcdsaBare {
    hash: &'static digest::Algorithm,
    signature: &'static EcdsaVerificationAlgorithm,
    key: AlgorithmIdentifier,
}

impl EcdsaBare {
    const ALL: &[Self] = &[
        Self { hash: &digest::SHA256, signature: &signature::ECDSA_P256_SHA256_FIXED, key: alg_id::ECDSA_P256 },
        Self { hash: &digest::SHA384, signature: &signature::ECDSA_P384_SHA384_FIXED, key: alg_id::ECDSA_P384 },
        Self { hash: &digest::SHA512, signature: &signature::ECDSA_P521_SHA512_FIXED, key: alg_id::ECDSA_P521 },
    ];
}

impl SignatureVerificationAlgorithm for EcdsaBare {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let hash = Digest::import_less_safe(message, self.hash).map_err(|_| InvalidSignature)?;
        UnparsedPublicKey::new(self.signature, public_key).verify_digest(&hash, signature).map_err(|_| InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        self.key
    }
}

/// r and s, one after the other, as an ECDSA-Sig-Value (RFC 4754 section 7, RFC 5480 appendix A).
pub(crate) fn to_der(fixed: &[u8]) -> Option<Vec<u8>> {
    use x509_cert::der::Encode;
    use x509_cert::der::asn1::UintRef;
    if fixed.is_empty() || !fixed.len().is_multiple_of(2) {
        return None;
    }
    let (r, s) = fixed.split_at(fixed.len() / 2);
    let numbers = [UintRef::new(r).ok()?, UintRef::new(s).ok()?];
    let mut der = Vec::new();
    numbers.to_vec().encode_to_vec(&mut der).ok()?;
    Some(der)
}
