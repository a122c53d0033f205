//! Whom we believe: `[authorities.NAME]`, and what `remote` of a connection says about certificates, keys and revocations.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use ike_crypto::{Crl, Places, RevocationPolicy, Revocations, Trust};
use ipsec_types::SignatureScheme;

use super::authentication::Files;
use super::section::{Found, Section};

/// The authorities of all connections that name none.
#[derive(Debug)]
pub(super) struct Authorities {
    /// DER.
    certificates: Vec<Vec<u8>>,
    revocations: Arc<Revocations>,
}

/// swanctl's words, and one for nobody to be asked.
const POLICIES: &[(&str, RevocationPolicy)] = &[
    ("relaxed", RevocationPolicy::Relaxed),
    ("ifuri", RevocationPolicy::IfUri),
    ("strict", RevocationPolicy::Strict),
    ("off", RevocationPolicy::Off),
];

/// Whom a connection believes, and what it wants to know of revocations.
pub(super) fn trust(section: &mut Section<'_>, files: Files<'_>, authorities: &Authorities, schemes: Vec<SignatureScheme>) -> Trust {
    let mut trust = Trust::new(SystemTime::now, schemes);
    let policy = section.choice("revocation", POLICIES).map_or_else(RevocationPolicy::default, |found| found.value);
    trust.check_revocation(policy, authorities.revocations.clone());
    let before = section.faults();
    let mut known = 0;
    for name in section.list_with("certs", "\"peer.crt\"", |_, text| Some(text)).unwrap_or_default() {
        for der in files.certificates(section, &name).unwrap_or_default() {
            trust.trust_certificate(der);
            known += 1;
        }
    }
    for name in section.list_with("pubkeys", "\"peer.pub\"", |_, text| Some(text)).unwrap_or_default() {
        let Some(octets) = files.read(section, &name) else { continue };
        match ike_crypto::raw_public_key(&octets) {
            Some(key) => {
                trust.trust_key(key);
                known += 1;
            }
            None => section.fault_at(&name, format!("there is no public key in '{}'", name.value), "name a PEM file with PUBLIC KEY"),
        }
    }
    let own = section.list_with("cacerts", "\"ca.crt\"", |_, text| Some(text));
    let everybody = own.is_none() && known == 0;
    for name in own.unwrap_or_default() {
        for der in files.certificates(section, &name).unwrap_or_default() {
            known += 1;
            if let Err(error) = trust.trust_authority(der) {
                section.fault_at(
                    &name,
                    format!("'{}': {error}", name.value),
                    "name certificates of authorities; those of peers belong into certs",
                );
            }
        }
    }
    // As swanctl: whoever an authority has signed, unless the connection says whom.
    for der in authorities.certificates.iter().filter(|_| everybody) {
        known += 1;
        // It was checked where it was read.
        let _known = trust.trust_authority(der.clone());
    }
    if known == 0 && section.faults() == before {
        section.missing("cacerts", "write cacerts = [\"ca.crt\"], certs or pubkeys here, or [authorities.NAME] with cacert");
    }
    trust
}

/// What `[authorities.NAME]` say.
pub(super) fn read(root: &mut Section<'_>, files: Files<'_>) -> Authorities {
    let (mut certificates, mut revocations) = (Vec::new(), Revocations::default());
    for (_, mut section) in root.sections("authorities") {
        let of_this = authority(&mut section, files);
        let places = Places { crl_uris: addresses(&mut section, "crl_uris"), ocsp_uris: addresses(&mut section, "ocsp_uris") };
        for der in &of_this {
            revocations.add_places(der, places.clone());
        }
        certificates.extend(of_this);
        for name in section.list_with("crls", "\"ca.crl\"", |_, text| Some(text)).unwrap_or_default() {
            lists(&section, files, &name).into_iter().for_each(|list| revocations.add_list(list));
        }
        section.finish();
    }
    Authorities { certificates, revocations: Arc::new(revocations) }
}

fn authority(section: &mut Section<'_>, files: Files<'_>) -> Vec<Vec<u8>> {
    let Some(name) = section.text("cacert", "\"ca.crt\"") else {
        section.missing("cacert", "write cacert = \"ca.crt\"");
        return Vec::new();
    };
    let found = files.certificates(section, &name).unwrap_or_default();
    let is_sound = |der: &Vec<u8>| match Trust::new(SystemTime::now, Vec::new()).trust_authority(der.clone()) {
        Ok(()) => true,
        Err(error) => {
            section.fault_at(&name, format!("'{}': {error}", name.value), "name the certificate of an authority");
            false
        }
    };
    found.into_iter().filter(is_sound).collect()
}

fn addresses(section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    const EXAMPLE: &str = "\"http://pki.example/ca.crl\"";
    let read = |section: &Section<'_>, text: Found<&str>| {
        if !text.value.starts_with("http://") {
            let problem = format!("'{}' is no address of http://", text.value);
            section.fault_at(&text, problem, format!("write for example {EXAMPLE}; what comes is signed, and needs no TLS"));
            return None;
        }
        Some(Found { value: text.value.to_owned(), span: text.span, path: text.path })
    };
    section.list_with(key, EXAMPLE, read).unwrap_or_default().into_iter().map(|found| found.value).collect()
}

/// The lists of revocations in a file. One that has expired says nothing any more.
fn lists(section: &Section<'_>, files: Files<'_>, name: &Found<&str>) -> Vec<Crl> {
    let Some(octets) = files.read(section, name) else { return Vec::new() };
    let Some(found) = Crl::from_file(&octets) else {
        let problem = format!("'{}' is no list of revocations", name.value);
        section.fault_at(name, problem, "name a complete CRL of the authority, PEM or DER (RFC 5280 section 5)");
        return Vec::new();
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    if found.iter().any(|list| list.next_update() <= now) {
        let problem = format!("the list of revocations in '{}' has expired, and says nothing any more", name.value);
        section.warn_at(name, problem, "get a new one from the authority, and reload".to_owned());
    }
    found
}
