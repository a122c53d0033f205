//! Whose certificate it is: what RFC 4945 section 3.1 demands of each kind of identity.

use std::net::IpAddr;

use ipsec_types::{DistinguishedName, Identity};
use x509_cert::Certificate;
use x509_cert::der::Encode;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage, SubjectAltName, SubjectKeyIdentifier};

use super::Refusal;

/// Whether the basic constraints say that the key may sign certificates (RFC 5280 section 4.2.1.9).
pub(super) fn is_authority(certificate: &Certificate) -> bool {
    let constraints = certificate.tbs_certificate().get_extension::<BasicConstraints>();
    matches!(constraints, Ok(Some((_, constraints))) if constraints.ca)
}

/// Checks that the certificate is that of the identity, and that its key may sign.
pub(super) fn check(certificate: &Certificate, identity: &Identity) -> Result<(), Refusal> {
    // RFC 4945 section 5.1.3.2: one of the two, if the extension is there.
    match certificate.tbs_certificate().get_extension::<KeyUsage>() {
        Ok(None) => {}
        Ok(Some((_, usage))) if usage.digital_signature() || usage.non_repudiation() => {}
        Ok(Some(_)) => return Err(Refusal::KeyUsage),
        Err(_) => return Err(Refusal::Malformed),
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
