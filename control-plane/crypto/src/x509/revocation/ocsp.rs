//! The Online Certificate Status Protocol (RFC 6960): a question about one certificate, and the answer of its issuer or of whom the issuer lets answer.

use std::time::Duration;

use der::asn1::{Any, ContextSpecific, GeneralizedTime, Int, Null, ObjectIdentifier, OctetString};
use der::{Choice, Decode, Encode, Enumerated, Sequence};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::Certificate;
use x509_cert::spki::AlgorithmIdentifierOwned;

use super::super::path::OF_CERTIFICATES;
use super::super::signed::Signed;
use super::crl::Status;
use super::{Issuer, Link};

/// Content types (appendix A.1).
pub const REQUEST_TYPE: &str = "application/ocsp-request";

/// An answer without nextUpdate is of the moment (section 2.4): it is taken for so long.
const MOMENT: Duration = Duration::from_mins(5);
/// How far the responder's clock may be ahead.
const SKEW: Duration = Duration::from_mins(5);
/// Certificates of responders that are tried.
const MOST_RESPONDERS: usize = 4;
/// id-kp-OCSPSigning.
const OCSP_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 9];
/// id-pkix-ocsp-basic.
const BASIC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
/// id-sha1. It names the issuer here and protects nothing; responders need not know another (RFC 5019 section 2.1.1).
const SHA1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

#[derive(Debug, Clone, PartialEq, Eq, Sequence)]
struct CertId {
    hash_algorithm: AlgorithmIdentifierOwned,
    issuer_name_hash: OctetString,
    issuer_key_hash: OctetString,
    serial_number: Int,
}

#[derive(Sequence)]
struct OcspRequest {
    tbs_request: TbsRequest,
}

#[derive(Sequence)]
struct TbsRequest {
    request_list: Vec<Request>,
}

#[derive(Sequence)]
struct Request {
    req_cert: CertId,
}

#[derive(Clone, Copy, PartialEq, Eq, Enumerated)]
#[repr(u32)]
enum ResponseStatus {
    Successful = 0,
    MalformedRequest = 1,
    InternalError = 2,
    TryLater = 3,
    SigRequired = 5,
    Unauthorized = 6,
}

#[derive(Sequence)]
struct OcspResponse {
    response_status: ResponseStatus,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    response_bytes: Option<ResponseBytes>,
}

#[derive(Sequence)]
struct ResponseBytes {
    response_type: ObjectIdentifier,
    response: OctetString,
}

#[derive(Sequence)]
struct ResponseData {
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    version: Option<u8>,
    /// Whose key has signed is found by trying.
    responder_id: Any,
    produced_at: GeneralizedTime,
    responses: Vec<SingleResponse>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    response_extensions: Option<Any>,
}

#[derive(Sequence)]
struct SingleResponse {
    cert_id: CertId,
    cert_status: CertStatus,
    this_update: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    next_update: Option<GeneralizedTime>,
    #[asn1(context_specific = "1", optional = "true", tag_mode = "EXPLICIT")]
    single_extensions: Option<Any>,
}

#[derive(Choice)]
enum CertStatus {
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    Good(Null),
    #[asn1(context_specific = "1", tag_mode = "IMPLICIT", constructed = "true")]
    Revoked(RevokedInfo),
    #[asn1(context_specific = "2", tag_mode = "IMPLICIT")]
    Unknown(Null),
}

#[derive(Sequence)]
struct RevokedInfo {
    revocation_time: GeneralizedTime,
    #[asn1(context_specific = "0", optional = "true", tag_mode = "EXPLICIT")]
    revocation_reason: Option<Any>,
}

/// The question about a certificate, in DER; `None` where it has no name or number that can be asked for.
pub(super) fn question(certificate: &Certificate, issuer: &Certificate) -> Option<Vec<u8>> {
    let req_cert = cert_id(certificate, issuer)?;
    OcspRequest { tbs_request: TbsRequest { request_list: vec![Request { req_cert }] } }.to_der().ok()
}

fn cert_id(certificate: &Certificate, issuer: &Certificate) -> Option<CertId> {
    let name = certificate.tbs_certificate().issuer().to_der().ok()?;
    let key = issuer.tbs_certificate().subject_public_key_info().subject_public_key.raw_bytes();
    let hash = |octets: &[u8]| OctetString::new(crate::sha1::sha1(&[octets])).ok();
    Some(CertId {
        hash_algorithm: AlgorithmIdentifierOwned { oid: SHA1, parameters: Some(Any::null()) },
        issuer_name_hash: hash(&name)?,
        issuer_key_hash: hash(key)?,
        serial_number: Int::from_der(&certificate.tbs_certificate().serial_number().to_der().ok()?).ok()?,
    })
}

/// What an answer says of a certificate now; `None` where it says nothing, is too old, or is of somebody who has no say (section 3.2).
pub(super) fn status(answer: &[u8], link: &Link, now: Duration) -> Option<Status> {
    let answer = OcspResponse::from_der(answer).ok().filter(|answer| answer.response_status == ResponseStatus::Successful)?;
    let bytes = answer.response_bytes.filter(|bytes| bytes.response_type == BASIC)?;
    let signed = Signed::from_der(bytes.response.as_bytes())?;
    if !signed.is_by(&link.issuer.public_key) && !by_delegate(&signed, &link.issuer, now) {
        return None;
    }
    let asked = cert_id(&link.certificate, &link.issuer.certificate)?;
    let data = ResponseData::from_der(signed.content).ok()?;
    let about = data.responses.iter().find(|single| single.cert_id.is(&asked))?;
    let this_update = about.this_update.to_unix_duration();
    let until = about.next_update.map_or(this_update + MOMENT, |next| next.to_unix_duration());
    if this_update > now + SKEW || now >= until {
        return None;
    }
    match about.cert_status {
        CertStatus::Good(_) => Some(Status::Good),
        CertStatus::Revoked(_) => Some(Status::Revoked),
        CertStatus::Unknown(_) => None,
    }
}

impl CertId {
    /// The parameters of the hash may be NULL or missing.
    fn is(&self, other: &Self) -> bool {
        self.hash_algorithm.oid == other.hash_algorithm.oid
            && self.issuer_name_hash == other.issuer_name_hash
            && self.issuer_key_hash == other.issuer_key_hash
            && self.serial_number == other.serial_number
    }
}

/// Section 4.2.2.2: the issuer itself has given the responder a certificate for this alone, and it is in the answer.
fn by_delegate(signed: &Signed<'_>, issuer: &Issuer, now: Duration) -> bool {
    let Some(certificates) = certificates_of(signed.rest) else { return false };
    certificates.iter().take(MOST_RESPONDERS).any(|certificate| {
        let Ok(der) = certificate.to_der().map(CertificateDer::from) else { return false };
        let Ok(entity) = EndEntityCert::try_from(&der) else { return false };
        let anchors: &[TrustAnchor<'_>] = std::slice::from_ref(&issuer.anchor);
        let usage = KeyUsage::required(OCSP_SIGNING);
        let trusted = entity.verify_for_usage(OF_CERTIFICATES, anchors, &[], UnixTime::since_unix_epoch(now), usage, None, None);
        trusted.is_ok() && signed.is_by(&entity.subject_public_key_info())
    })
}

/// `certs [0] EXPLICIT SEQUENCE OF Certificate`.
fn certificates_of(rest: &[u8]) -> Option<Vec<Certificate>> {
    ContextSpecific::<Vec<Certificate>>::from_der(rest).ok().map(|certificates| certificates.value)
}
