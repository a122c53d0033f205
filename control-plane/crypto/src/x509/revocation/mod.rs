//! Whether certificates have been revoked: by lists of revocations from files (RFC 5280 section 5), and by what the places say that certificates or the
//! configuration name: OCSP (RFC 6960) first, then lists.
//!
//! Nobody is asked before the path of a certificate holds and its key has signed: an address in a certificate that anybody has made is not followed.
//! What is fetched, others fetch ([`PeerVerifier::inquiries`](ike::provider::PeerVerifier::inquiries)); here it is kept as long as it holds.

mod crl;
mod ocsp;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ike::provider::Inquiry;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use webpki::VerifiedPath;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};
use x509_cert::ext::pkix::{AuthorityInfoAccessSyntax, CrlDistributionPoints, KeyUsage};

use super::path::Refusal;

pub use crl::Crl;
pub use ocsp::REQUEST_TYPE;

use crl::Status;

/// What becomes of a certificate of which it is not known whether it has been revoked; swanctl's words. One that has been is never believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// It is refused.
    Strict,
    /// It is refused if there is somebody to ask, who has not answered.
    IfUri,
    /// It is believed.
    #[default]
    Relaxed,
    /// Nobody is asked, and no list looked at.
    Off,
}

/// A certificate of a path, and who has issued it.
pub(super) struct Link {
    pub(super) certificate: Certificate,
    /// As `webpki` compares them: without tag and length.
    issuer_name: Vec<u8>,
    serial: Vec<u8>,
    issuer: Issuer,
    is_authority: bool,
    crl_uris: Vec<String>,
    ocsp_uris: Vec<String>,
}

/// Who has issued a certificate.
#[derive(Clone)]
pub(super) struct Issuer {
    certificate: Certificate,
    anchor: TrustAnchor<'static>,
    /// SubjectPublicKeyInfo, DER.
    public_key: Vec<u8>,
}

/// Where more can be learnt about the certificates of an authority than they say themselves.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Lists of revocations.
    pub crl_uris: Vec<String>,
    /// OCSP responders.
    pub ocsp_uris: Vec<String>,
}

/// What is known of revocations. One for all connections.
#[derive(Default)]
pub struct Revocations {
    lists: Vec<Crl>,
    /// By the name of the authority, as `webpki` compares it.
    places: BTreeMap<Vec<u8>, Places>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    answers: BTreeMap<Inquiry, Entry>,
    octets: usize,
}

#[derive(Clone)]
struct Entry {
    answer: Answer,
    fetched: Duration,
}

#[derive(Clone)]
enum Answer {
    Crl(Arc<Crl>),
    Ocsp(Arc<Vec<u8>>),
    Nothing,
}

/// What an inquiry has brought.
enum State {
    Said(Status),
    /// Nothing of use, and not long ago.
    Failed,
    /// It is to be asked, or asked again.
    Open,
}

/// Places of each kind that are asked about one certificate.
const MOST_PLACES: usize = 2;
/// Octets of an address.
const LONGEST_URI: usize = 1024;
/// How long nobody is asked again who had no useful answer.
const RETRY: Duration = Duration::from_mins(1);
/// Answers that are kept, and their octets.
const MOST_ANSWERS: usize = 4096;
const MOST_OCTETS: usize = 64 << 20;

impl Issuer {
    /// The issuer with this certificate, in DER.
    pub(super) fn new(der: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_der(der).ok()?;
        let public_key = certificate.tbs_certificate().subject_public_key_info().to_der().ok()?;
        let anchor = webpki::anchor_from_trusted_cert(&CertificateDer::from(der)).ok()?.to_owned();
        Some(Self { certificate, anchor, public_key })
    }

    /// Whether it is the trust anchor at the end of a path.
    pub(super) fn is(&self, anchor: &TrustAnchor<'_>) -> bool {
        self.anchor.subject == anchor.subject && self.anchor.subject_public_key_info == anchor.subject_public_key_info
    }

    /// Section 6.3.3 (f) of RFC 5280.
    fn may_sign_crls(&self) -> bool {
        match self.certificate.tbs_certificate().get_extension::<KeyUsage>() {
            Ok(usage) => usage.is_none_or(|(_, usage)| usage.crl_sign()),
            Err(_) => false,
        }
    }
}

impl Link {
    pub(super) fn new(certificate: &webpki::Cert<'_>, issuer: Issuer) -> Option<Self> {
        let (serial, issuer_name) = (certificate.serial().to_vec(), certificate.issuer().to_vec());
        let certificate = Certificate::from_der(&certificate.der()).ok()?;
        let is_authority = super::identity::is_authority(&certificate);
        let (crl_uris, ocsp_uris) = (crl_uris(&certificate), ocsp_uris(&certificate));
        Some(Self { certificate, issuer_name, serial, issuer, is_authority, crl_uris, ocsp_uris })
    }
}

/// The certificates of a path below its anchor, each with its issuer.
pub(super) fn links(path: &VerifiedPath<'_>, anchors: &[Issuer]) -> Option<Vec<Link>> {
    let between: Vec<&webpki::Cert<'_>> = path.intermediate_certificates().collect();
    let anchor = anchors.iter().find(|issuer| issuer.is(path.anchor()))?;
    let issuers = between.iter().map(|issuer| Issuer::new(&issuer.der())).chain([Some(anchor.clone())]);
    let end: &webpki::Cert<'_> = path.end_entity();
    std::iter::once(end).chain(between.iter().copied()).zip(issuers).map(|(certificate, issuer)| Link::new(certificate, issuer?)).collect()
}

impl Revocations {
    /// Adds a list from a file.
    pub fn add_list(&mut self, list: Crl) {
        self.lists.push(list);
    }

    /// Adds places to ask about the certificates of an authority, whose certificate this is, in DER.
    pub fn add_places(&mut self, authority: &[u8], places: Places) {
        if let Ok(anchor) = webpki::anchor_from_trusted_cert(&CertificateDer::from(authority)) {
            self.places.insert(anchor.subject.as_ref().to_vec(), places);
        }
    }

    /// What has to be asked now about the certificates of a path that holds: for each, the next in order that is open.
    pub(super) fn open(&self, links: &[Link], now: Duration) -> Vec<Inquiry> {
        links.iter().filter_map(|link| self.look(link, now).err().flatten()).collect()
    }

    /// Keeps an answer, or that there was none.
    pub(super) fn learn(&self, inquiry: &Inquiry, answer: Option<&[u8]>, now: Duration) {
        let answer = match (answer, &inquiry.question) {
            (Some(octets), Some(_)) => Answer::Ocsp(Arc::new(octets.to_vec())),
            (Some(octets), None) => Crl::from_der(octets).map_or(Answer::Nothing, |list| Answer::Crl(Arc::new(list))),
            (None, _) => Answer::Nothing,
        };
        self.kept().insert(inquiry.clone(), Entry { answer, fetched: now });
    }

    /// Refuses a path with a certificate that has been revoked, or of which the policy wants to know more than is known.
    pub(super) fn check(&self, links: &[Link], policy: Policy, now: Duration) -> Result<(), Refusal> {
        for link in links {
            let subject = || link.certificate.tbs_certificate().subject().to_string();
            let somebody = || !self.inquiries(link).is_empty();
            match self.look(link, now) {
                Ok(Status::Revoked) => return Err(Refusal::Revoked(subject())),
                Ok(Status::Good) => {}
                Err(_) if policy == Policy::Strict || policy == Policy::IfUri && somebody() => return Err(Refusal::NotKnown(subject())),
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// What is known of a certificate, or whom to ask next.
    fn look(&self, link: &Link, now: Duration) -> Result<Status, Option<Inquiry>> {
        // A list from a file says more than a good answer that is older.
        let of_files: Vec<Status> = self.lists.iter().filter_map(|list| list.status(link, now)).collect();
        if let Some(status) = of_files.iter().copied().find(|status| *status == Status::Revoked).or_else(|| of_files.first().copied()) {
            return Ok(status);
        }
        for inquiry in self.inquiries(link) {
            match self.state(&inquiry, link, now) {
                State::Said(status) => return Ok(status),
                State::Failed => {}
                State::Open => return Err(Some(inquiry)),
            }
        }
        Err(None)
    }

    /// Whom to ask about a certificate, in order.
    fn inquiries(&self, link: &Link) -> Vec<Inquiry> {
        let places = self.places.get(&link.issuer_name);
        let of = |own: &[String], more: Option<&Vec<String>>| -> Vec<String> {
            own.iter().chain(more.into_iter().flatten()).take(MOST_PLACES).cloned().collect()
        };
        let question = ocsp::question(&link.certificate, &link.issuer.certificate);
        let ocsp = of(&link.ocsp_uris, places.map(|places| &places.ocsp_uris)).into_iter();
        let ocsp = ocsp.filter_map(|url| Some(Inquiry { url, question: Some(question.clone()?) }));
        let lists = of(&link.crl_uris, places.map(|places| &places.crl_uris)).into_iter();
        ocsp.chain(lists.map(|url| Inquiry { url, question: None })).collect()
    }

    /// An answer of no use is as good as none: whoever sits on the way can make one, but keeps nobody from asking again.
    fn state(&self, inquiry: &Inquiry, link: &Link, now: Duration) -> State {
        let Some(Entry { answer, fetched }) = self.kept().answers.get(inquiry).cloned() else { return State::Open };
        let said = match &answer {
            Answer::Crl(list) => list.status(link, now),
            Answer::Ocsp(answer) => ocsp::status(answer, link, now),
            Answer::Nothing => None,
        };
        match said {
            Some(status) => State::Said(status),
            None if now < fetched + RETRY => State::Failed,
            None => State::Open,
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The oldest make room.
    fn insert(&mut self, inquiry: Inquiry, entry: Entry) {
        self.octets += entry.len(&inquiry);
        if let Some(old) = self.answers.insert(inquiry.clone(), entry) {
            self.octets -= old.len(&inquiry);
        }
        while self.answers.len() > MOST_ANSWERS || self.octets > MOST_OCTETS {
            let Some(oldest) = self.answers.iter().min_by_key(|(_, entry)| entry.fetched).map(|(inquiry, _)| inquiry.clone()) else {
                return;
            };
            if let Some(entry) = self.answers.remove(&oldest) {
                self.octets -= entry.len(&oldest);
            }
        }
    }
}

impl Entry {
    /// Octets, without what the maps around it take.
    fn len(&self, inquiry: &Inquiry) -> usize {
        let answer = match &self.answer {
            Answer::Crl(list) => list.len(),
            Answer::Ocsp(answer) => answer.len(),
            Answer::Nothing => 0,
        };
        answer + inquiry.url.len() + inquiry.question.as_ref().map_or(0, Vec::len)
    }
}

/// Where a certificate says that lists of revocations are: those of its own issuer, for all reasons (RFC 5280 section 4.2.1.13).
fn crl_uris(certificate: &Certificate) -> Vec<String> {
    let Ok(Some((_, points))) = certificate.tbs_certificate().get_extension::<CrlDistributionPoints>() else { return Vec::new() };
    let own = points.0.iter().filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
    let names = own.filter_map(|point| match &point.distribution_point {
        Some(DistributionPointName::FullName(names)) => Some(names),
        _ => None,
    });
    names.flat_map(|names| uris_of(names)).collect()
}

/// Where a certificate says that OCSP is spoken (RFC 6960 section 3.1).
fn ocsp_uris(certificate: &Certificate) -> Vec<String> {
    /// id-ad-ocsp.
    const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
    let Ok(Some((_, access))) = certificate.tbs_certificate().get_extension::<AuthorityInfoAccessSyntax>() else { return Vec::new() };
    access.0.iter().filter(|access| access.access_method == OCSP).filter_map(|access| uri_of(&access.access_location)).collect()
}

fn uris_of(names: &[GeneralName]) -> impl Iterator<Item = String> {
    names.iter().filter_map(uri_of)
}

/// HTTP without TLS: what comes is signed, and TLS would have certificates of its own to be checked (RFC 5280 section 8).
fn uri_of(name: &GeneralName) -> Option<String> {
    let GeneralName::UniformResourceIdentifier(uri) = name else { return None };
    let uri = uri.as_str();
    let http = uri.get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http://"));
    (http && uri.len() <= LONGEST_URI).then(|| uri.to_owned())
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Revocations({} lists, {} authorities)", self.lists.len(), self.places.len())
    }
}

#[cfg(test)]
mod tests;
