//! Whose certificate it is: what RFC 4945 section 3.1 demands of each kind of identity.

use std::net::IpAddr;

use ipsec_types::{DistinguishedName, Identity};
use rustls_pki_types::UnixTime;
use webpki::Error;
use x509_cert::Certificate;
use x509_cert::der::asn1::{ObjectIdentifier, UintRef};
use x509_cert::der::{Decode, Encode, Header, SliceReader};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName, SubjectKeyIdentifier};

use super::Refusal;

/// Whether the basic constraints say that the key may sign certificates (RFC 5280 section 4.2.1.9).
pub(super) fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
}

/// The length of a key of RSA that is too short for anything to be believed that it signs.
pub(super) fn weak_key(certificate: &Certificate) -> Option<usize> {
    /// RFC 8247 section 3.1.
    const LEAST: usize = 2048;
    let key = certificate.tbs_certificate().subject_public_key_info();
    if key.algorithm.oid != RSA {
        return None;
    }
    // RSAPublicKey (RFC 8017 appendix A.1.1): the modulus, then the exponent.
    let mut reader = SliceReader::new(key.subject_public_key.raw_bytes()).ok()?;
    Header::decode(&mut reader).ok()?;
    let modulus = UintRef::decode(&mut reader).ok()?;
    let first = modulus.as_bytes().first()?;
    let bits = 8 * modulus.as_bytes().len() - first.leading_zeros() as usize;
    (bits < LEAST).then_some(bits)
}

/// rsaEncryption.
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// Checks the validity of a certificate whose path nobody looks at (RFC 5280 section 4.1.2.5).
pub(super) fn in_time(certificate: &Certificate, time: UnixTime) -> Result<(), Refusal> {
    let validity = certificate.tbs_certificate().validity();
    let [not_before, not_after] =
        [validity.not_before, validity.not_after].map(|bound| UnixTime::since_unix_epoch(bound.to_unix_duration()));
    let refuse = |error| Err(Refusal::Pinned(Box::new(error)));
    if time < not_before {
        return refuse(Error::CertNotValidYet { time, not_before });
    }
    if time > not_after {
        return refuse(Error::CertExpired { time, not_after });
    }
    Ok(())
}

/// Checks that the certificate is that of the identity, and that its key may sign and is not too weak.
pub(super) fn check(certificate: &Certificate, identity: &Identity) -> Result<(), Refusal> {
    // RFC 4945 section 5.1.3.2: one of the two, if the extension is there.
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(None) => {}
        Ok(Some((_, usage))) if usage.digital_signature() || usage.non_repudiation() => {}
        Ok(Some(_)) => return Err(Refusal::KeyUsage),
        Err(_) => return Err(Refusal::Malformed),
    }
    if let Some(bits) = weak_key(certificate) {
        return Err(Refusal::WeakKey(bits));
    }
    let names = names(certificate)?;
    if names.iter().any(|name| name.same(identity)) {
        return Ok(());
    }
    Err(Refusal::OtherIdentity(names.iter().map(ToString::to_string).collect()))
}

/// Everybody whom the certificate is about.
fn names(certificate: &Certificate) -> Result<Vec<Identity>, Refusal> {
    let tbs = certificate.tbs_certificate();
    let mut names = Vec::new();
    if let Some((_, alternatives)) = tbs.get_extension::<SubjectAltName>().map_err(|_| Refusal::Malformed)? {
        names.extend(alternatives.0.iter().filter_map(of_general_name));
    }
    names.extend(subject(certificate));
    if let Some((_, identifier)) = tbs.get_extension::<SubjectKeyIdentifier>().map_err(|_| Refusal::Malformed)? {
        names.push(Identity::KeyId(identifier.0.as_bytes().to_vec()));
    }
    Ok(names)
}

/// The subject, as an identity.
pub(super) fn subject(certificate: &Certificate) -> Option<Identity> {
    let der = certificate.tbs_certificate().subject().to_der().ok()?;
    DistinguishedName::from_der(&der).ok().map(Identity::DerDn)
}

fn of_general_name(name: &GeneralName) -> Option<Identity> {
    match name {
        GeneralName::DnsName(name) => Some(Identity::Fqdn(name.as_str().to_owned())),
        GeneralName::Rfc822Name(mailbox) => Some(Identity::Rfc822(mailbox.as_str().to_owned())),
        GeneralName::DirectoryName(name) => DistinguishedName::from_der(&name.to_der().ok()?).ok().map(Identity::DerDn),
        GeneralName::IpAddress(octets) => {
            let v4 = <[u8; 4]>::try_from(octets.as_bytes()).map(IpAddr::from).ok();
            let address = v4.or_else(|| <[u8; 16]>::try_from(octets.as_bytes()).map(IpAddr::from).ok())?;
            Some(match address {
                IpAddr::V4(address) => Identity::Ipv4(address),
                IpAddr::V6(address) => Identity::Ipv6(address),
            })
        }
        _ => None,
    }
}
