//! `local` and `remote` of a connection: how each side shows who it is (the PAD of RFC 4301 section 4.4.3).

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ike::config::{Credential, LocalAuth, RemoteAuth};
use ike_crypto::Trust;
use ike_crypto::eap::{EapIdentity, PasswordMethod};
use ike_wire::{Certificate, CertificateEncoding};
use ipsec_types::{HashAlgorithm, Identity, KeyKind, SignatureScheme};

use super::authorities::{self, Authorities};
use super::section::{Found, Section};
use super::tokens::{OwnKey, Tokens, private_key};
use super::{eap, rounds, xauth};
use crate::radius;

/// Files that a configuration names are beside it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Files<'a> {
    /// The configuration.
    pub(super) beside: &'a Path,
    pub(super) tokens: &'a Tokens,
}

impl Files<'_> {
    pub(super) fn path(self, name: &str) -> PathBuf {
        self.beside.with_file_name(name)
    }

    /// Every certificate of a PEM file, or the one of a DER file.
    pub(super) fn certificates(self, section: &Section<'_>, name: &Found<&str>) -> Option<Vec<Vec<u8>>> {
        let octets = self.read(section, name)?;
        let found = ike_crypto::certificates(&octets);
        if found.is_none() {
            section.fault_at(
                name,
                format!("there is no certificate in '{}'", name.value),
                "name a file with X.509 certificates, PEM or DER",
            );
        }
        found
    }

    pub(super) fn read(self, section: &Section<'_>, name: &Found<&str>) -> Option<Vec<u8>> {
        let path = self.path(name.value);
        fs::read(&path)
            .inspect_err(|error| {
                section.fault_at(name, format!("cannot read {}: {error}", path.display()), "check the path and who may read it");
            })
            .ok()
    }
}

/// What `local` says.
#[derive(Debug, Default)]
pub(super) struct Local {
    pub(super) identity: Option<Identity>,
    pub(super) auth: LocalAuth,
    /// Our key with its certificates.
    pub(super) credential: Option<Credential>,
    /// How a server of EAP-TLS knows us.
    pub(super) tls_user: Option<eap::TlsUser>,
}

/// What `remote` says.
#[derive(Debug, Default)]
pub(super) struct Remote {
    pub(super) identity: Option<Identity>,
    pub(super) auth: RemoteAuth,
    /// Whose certificates are believed.
    pub(super) trust: Option<Arc<Trust>>,
    /// Whom EAP-TLS is for.
    pub(super) tls_peers: Option<EapIdentity>,
}

/// How a side authenticates: by a shared key, by signatures with these schemes, or by EAP.
enum Way {
    Psk,
    PublicKey(Vec<SignatureScheme>),
    Eap(PasswordMethod),
    EapTls,
    Radius,
    Xauth,
}

const AUTH_EXAMPLE: &str = "\"psk\" or \"pubkey\"";

/// swanctl's words: `psk`, `pubkey`, a kind of key, a scheme, or one of the first two with hashes, such as `pubkey-sha384-sha512`.
fn way(section: &mut Section<'_>) -> Option<Way> {
    let Some(auth) = section.text("auth", AUTH_EXAMPLE) else {
        let signs = ["certs", "key", "cacerts", "pubkeys"].into_iter().any(|key| section.has(key));
        return Some(if signs { Way::PublicKey(schemes_of("pubkey")) } else { Way::Psk });
    };
    if auth.value == "psk" {
        return Some(Way::Psk);
    }
    if auth.value == eap::TLS {
        return Some(Way::EapTls);
    }
    if let Some(method) = eap::method(auth.value) {
        return Some(Way::Eap(method));
    }
    if auth.value == radius::KEYWORD {
        return Some(Way::Radius);
    }
    if auth.value == xauth::KEYWORD {
        return Some(Way::Xauth);
    }
    let word = auth.value.strip_prefix("ike:").unwrap_or(auth.value);
    let schemes = schemes_of(word);
    if schemes.is_empty() {
        let all: Vec<&str> = SignatureScheme::ALL.iter().map(|scheme| scheme.keyword()).collect();
        let problem = format!("authentication '{}' is not supported", auth.value);
        section.fault_at(
            &auth,
            problem,
            format!("write {AUTH_EXAMPLE}, or one of {}, {}, {}, {}", all.join(", "), eap::methods(), radius::KEYWORD, xauth::KEYWORD),
        );
        return None;
    }
    if schemes.contains(&SignatureScheme::RsaSha1) {
        if !ike_crypto::schemes(KeyKind::Rsa).contains(&SignatureScheme::RsaSha1) {
            section.fault_at(
                &auth,
                "RSA with SHA-1 is not in this build",
                "build culvert-control with its feature legacy, or write \"rsa-sha256\"",
            );
            return None;
        }
        let problem = "RSA with SHA-1 should no longer be used: whoever finds collisions of SHA-1 may forge signatures";
        section.warn_at(&auth, problem.to_owned(), "write \"rsa-sha256\" where the peer knows RFC 7427".to_owned());
    }
    Some(Way::PublicKey(schemes))
}

/// The schemes of a word, none if it means nothing here. SHA-1 has to be written out.
fn schemes_of(word: &str) -> Vec<SignatureScheme> {
    if let Some(scheme) = SignatureScheme::from_keyword(word) {
        return vec![scheme];
    }
    let mut parts = word.split('-');
    let kind = parts.next().unwrap_or_default();
    let hashes: Vec<Option<HashAlgorithm>> =
        parts.map(|word| HashAlgorithm::ALL.iter().copied().find(|hash| hash.keyword() == word)).collect();
    let of_kind = |scheme: SignatureScheme| match kind {
        "pubkey" => true,
        "rsa" => scheme.suits(KeyKind::Rsa),
        "ecdsa" => scheme.suits(KeyKind::EcdsaP256),
        _ => false,
    };
    let of_hash = |hash| if hashes.is_empty() { hash != HashAlgorithm::Sha1 } else { hashes.contains(&Some(hash)) };
    if hashes.contains(&None) {
        return Vec::new();
    }
    SignatureScheme::ALL.iter().copied().filter(|&scheme| of_kind(scheme) && of_hash(scheme.hash())).collect()
}

/// How we show who we are.
pub(super) fn local(connection: &mut Section<'_>, files: Files<'_>, users: eap::Known<'_>) -> Local {
    rounds::first(connection, "local", "local-1").map_or_else(Local::default, |section| local_round(section, files, users))
}

/// The same in one round.
pub(super) fn local_round(mut section: Section<'_>, files: Files<'_>, users: eap::Known<'_>) -> Local {
    let way = way(&mut section);
    let identity = identity(&mut section);
    if let Some(pattern) = identity.as_ref().filter(|found| found.value.is_pattern()) {
        let problem = format!("'{}' stands for many, and this gateway is one", pattern.value);
        section.fault_at(pattern, problem, "write the gateway's own name without *, or leave id out");
    }
    let mut local = Local::default();
    let mut subject = None;
    match way {
        Some(Way::PublicKey(schemes)) => {
            if let Some((own, found)) = credential(&mut section, files, &schemes, identity.as_ref()) {
                subject = found;
                local.auth = LocalAuth::PublicKey(own.clone());
                local.credential = Some(own);
            }
        }
        Some(Way::EapTls) => {
            section.missing("certs", "write certs = [\"user.crt\"]: EAP-TLS shows a certificate");
            if let Some((own, found)) = credential(&mut section, files, &schemes_of("pubkey"), identity.as_ref()) {
                subject = found;
                local.tls_user = Some(eap::tls_user(&mut section, &own));
                local.credential = Some(own);
            }
        }
        Some(Way::Eap(method)) => local.auth = eap::client(&mut section, method, identity.as_ref().map(|found| &found.value), users),
        Some(Way::Xauth) => local.auth = xauth::client(&mut section, identity.as_ref().map(|found| &found.value), users),
        Some(Way::Radius) => {
            let remedy = format!("write the method by which the peer's server knows this gateway: one of {}", eap::methods());
            section.fault("auth", "by RADIUS a gateway knows its peers; it does not show itself so", remedy);
        }
        Some(Way::Psk) | None => {}
    }
    section.finish();
    local.identity = identity.map(|found| found.value).or(subject);
    local
}

/// Our key with its certificates, and the subject of ours. Without certificates the key is shown raw (RFC 7670).
fn credential(
    section: &mut Section<'_>,
    files: Files<'_>,
    schemes: &[SignatureScheme],
    identity: Option<&Found<Identity>>,
) -> Option<(Credential, Option<Identity>)> {
    let mut certificates: Vec<Vec<u8>> = Vec::new();
    for name in section.list_with("certs", "\"gateway.crt\"", |_, text| Some(text)).unwrap_or_default() {
        certificates.extend(files.certificates(section, &name).unwrap_or_default());
    }
    let Some(name) = section.text("key", "\"gateway.key\"") else {
        section.missing("key", "write key = \"gateway.key\", a file that nobody else may read, or the pkcs11: URI of a key in a token");
        return None;
    };
    let OwnKey { key, public_key, schemes: possible } = private_key(section, files, &name)?;
    let own = certificates.first();
    if own.is_some_and(|der| ike_crypto::public_key(der).as_deref() != Some(&*public_key)) {
        section.fault_at(&name, "this is not the key of the first certificate in certs", "name the two that belong together");
    }
    if let (Some(own), Some(identity)) = (own, identity)
        && let Err(names) = ike_crypto::certifies(own, &identity.value)
    {
        let problem = format!("the certificate is not one of '{}': it is about {}", identity.value, names.join(", "));
        section.fault_at(identity, problem, "write an id that is in the certificate, or leave it out for its subject");
    }
    let suitable: Vec<SignatureScheme> = possible.into_iter().filter(|scheme| schemes.contains(scheme)).collect();
    if suitable.is_empty() {
        section.fault_at(&name, format!("a key of {} does not sign by what auth says", key.kind()), "write auth = \"pubkey\"");
    }
    let subject = own.and_then(|der| ike_crypto::subject(der));
    let mut shown: Vec<Certificate> =
        certificates.into_iter().map(|data| Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data }).collect();
    if shown.is_empty() {
        shown.push(Certificate { encoding: CertificateEncoding::RAW_PUBLIC_KEY, data: public_key });
    }
    Some((Credential { key, certificates: shown, schemes: suitable }, subject))
}

/// Whom we believe, and how.
pub(super) fn remote(connection: &mut Section<'_>, files: Files<'_>, authorities: &Authorities, users: eap::Known<'_>) -> Remote {
    let section = rounds::first(connection, "remote", "remote-1");
    section.map_or_else(Remote::default, |section| remote_round(section, files, authorities, users))
}

/// The same in one round.
pub(super) fn remote_round(mut section: Section<'_>, files: Files<'_>, authorities: &Authorities, users: eap::Known<'_>) -> Remote {
    let way = way(&mut section);
    let any = section.text_is("id", "%any");
    let identity = identity(&mut section).filter(|_| !any);
    if let Some(found) = identity.as_ref().filter(|found| !found.value.is_pattern() && found.value.to_string().contains('*')) {
        let remedy = "write * at the beginning, as in \"*.example.org\" and \"*@example.org\", or as a whole value, as in \"C=DE, CN=*\"";
        section.warn_at(found, format!("the * in '{}' stands for nothing but itself", found.value), remedy.to_owned());
    }
    let identity = identity.map(|found| found.value);
    let mut remote = Remote::default();
    match way {
        Some(Way::PublicKey(schemes)) => {
            let trust = Arc::new(authorities::trust(&mut section, files, authorities, schemes));
            remote.auth = RemoteAuth::PublicKey(trust.clone());
            remote.trust = Some(trust);
        }
        Some(Way::EapTls) => {
            remote.trust = Some(Arc::new(authorities::trust(&mut section, files, authorities, schemes_of("pubkey"))));
            remote.tls_peers = Some(eap::who(section.text("eap_id", eap::USER_EXAMPLE).as_ref()));
        }
        Some(Way::Eap(method)) => remote.auth = eap::server(&mut section, method, identity.as_ref(), users),
        Some(Way::Radius) => remote.auth = eap::radius(&mut section, users.servers),
        Some(Way::Xauth) => remote.auth = xauth::server(&mut section, users),
        Some(Way::Psk) | None => {}
    }
    section.finish();
    Remote { identity, ..remote }
}

fn identity(section: &mut Section<'_>) -> Option<Found<Identity>> {
    section.parsed::<Identity>("id", "\"gw.example.org\" or \"192.0.2.1\"")
}
