//! Lists of revocations (RFC 5280 section 5). They are read by `webpki`, which refuses deltas, indirect lists, lists for some reasons only, and critical
//! extensions it does not know; whether a list is about a certificate is said here (section 6.3.3).

use std::time::Duration;

use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use webpki::{CertRevocationList, OwnedCertRevocationList};
use x509_cert::der::{Decode, Reader, Tag};
use x509_cert::ext::pkix::crl::dp::IssuingDistributionPoint;
use x509_cert::ext::pkix::name::DistributionPointName;
use x509_cert::time::Time;

use super::super::signed::{Signed, sequence};
use super::{Link, uris_of};

/// A list of revocations, read but not believed yet.
pub struct Crl {
    der: Vec<u8>,
    list: CertRevocationList<'static>,
    this_update: Duration,
    next_update: Duration,
    scope: Option<IssuingDistributionPoint>,
}

/// What a source says of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Good,
    Revoked,
}

impl Crl {
    /// Reads a list in DER; `None` where it is none, or of a kind that is not understood.
    #[must_use]
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let list = CertRevocationList::Owned(OwnedCertRevocationList::from_der(der).ok()?);
        let mut reader = sequence(Signed::from_der(der)?.content)?;
        // version, signature and issuer.
        let before = if Tag::peek(&reader).ok()? == Tag::Integer { 3 } else { 2 };
        for _ in 0..before {
            reader.tlv_bytes().ok()?;
        }
        let [this_update, next_update] = [Time::decode(&mut reader).ok()?, Time::decode(&mut reader).ok()?].map(Time::to_unix_duration);
        let scope = list.issuing_distribution_point().map(IssuingDistributionPoint::from_der).transpose().ok()?;
        Some(Self { der: der.to_vec(), list, this_update, next_update, scope })
    }

    /// Reads every list of a PEM file, or the one of a DER file.
    #[must_use]
    pub fn from_file(octets: &[u8]) -> Option<Vec<Self>> {
        if let Some(list) = Self::from_der(octets) {
            return Some(vec![list]);
        }
        let found = CertificateRevocationListDer::pem_slice_iter(octets).map(|der| Self::from_der(der.ok()?.as_ref()));
        found.collect::<Option<Vec<_>>>().filter(|found| !found.is_empty())
    }

    /// Its size in octets.
    pub(super) const fn len(&self) -> usize {
        self.der.len()
    }

    /// Until when it is to be used, in seconds since 1970.
    #[must_use]
    pub const fn next_update(&self) -> u64 {
        self.next_update.as_secs()
    }

    /// What it says of a certificate now; `None` where it is about others, has expired, or is not the issuer's.
    pub(super) fn status(&self, link: &Link, now: Duration) -> Option<Status> {
        let applies = self.list.issuer() == link.issuer_name && self.in_scope(link) && self.this_update <= now && now < self.next_update;
        let believed = applies && link.issuer.may_sign_crls() && Signed::from_der(&self.der)?.is_by(&link.issuer.public_key);
        let entry = if believed { self.list.find_serial(&link.serial).ok()? } else { return None };
        Some(if entry.is_some() { Status::Revoked } else { Status::Good })
    }

    /// Section 6.3.3 (b) (2): the issuing distribution point names one of the certificate's, and does not exclude its kind.
    fn in_scope(&self, link: &Link) -> bool {
        let Some(scope) = &self.scope else { return true };
        if scope.only_contains_attribute_certs
            || scope.only_contains_user_certs && link.is_authority
            || scope.only_contains_ca_certs && !link.is_authority
        {
            return false;
        }
        match &scope.distribution_point {
            None => true,
            Some(DistributionPointName::FullName(names)) => uris_of(names).any(|uri| link.crl_uris.contains(&uri)),
            Some(DistributionPointName::NameRelativeToCRLIssuer(_)) => false,
        }
    }
}

impl std::fmt::Debug for Crl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Crl({} octets)", self.der.len())
    }
}
