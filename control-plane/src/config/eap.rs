//! `auth = "eap-..."`, `eap_id` and `[eap.NAME]`: EAP users (RFC 7296 section 2.16).

use std::sync::Arc;

use ike::config::{Credential, LocalAuth, RemoteAuth};
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, EapTlsClient, EapTlsServer, PasswordMethod, Users, user_of};
use ike_wire::CertificateEncoding;
use ipsec_types::Identity;

use super::authentication::{Local, Remote};
use super::radius::Servers;
use super::section::{Found, Section};
use crate::radius::EapRadius;

/// Who knows users.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    /// The secrets file; `None` where that has faults.
    pub(super) users: Option<&'a Arc<Users>>,
    /// RADIUS servers.
    pub(super) servers: &'a Servers,
}

/// swanctl's word for TLS.
pub(super) const TLS: &str = "eap-tls";

pub(super) const USER_EXAMPLE: &str = "\"%any\" or \"alice\"";

/// swanctl's word for a method by password.
pub(super) fn method(word: &str) -> Option<PasswordMethod> {
    PasswordMethod::ALL.iter().copied().find(|method| method.keyword() == word)
}

/// Every word for a method.
pub(super) fn methods() -> String {
    let by_password = PasswordMethod::ALL.iter().map(|method| method.keyword());
    std::iter::once(TLS).chain(by_password).collect::<Vec<_>>().join(", ")
}

/// We are a user of the peer's.
pub(super) fn client(section: &mut Section<'_>, method: PasswordMethod, identity: Option<&Identity>, known: Known<'_>) -> LocalAuth {
    let user = section.text("eap_id", "\"alice\"").map(|found| found.value.to_owned());
    let name = user.clone().or_else(|| identity.map(user_of));
    let Some(name) = name else {
        section.fault("eap_id", "this gateway has no name as an EAP user", "write local.eap_id = \"alice\", or local.id");
        return LocalAuth::Psk;
    };
    let Some(users) = known.users else { return LocalAuth::Psk };
    match users.password(&name) {
        Some(password) => LocalAuth::Eap(Arc::new(EapClient::new(method, user, password))),
        None => {
            section.fault(
                "eap_id",
                format!("no secret for the EAP user '{name}'"),
                format!("add [eap.NAME] with id = \"{name}\" and secret to the secrets file"),
            );
            LocalAuth::Psk
        }
    }
}

/// The peer is one of our users.
pub(super) fn server(section: &mut Section<'_>, method: PasswordMethod, identity: Option<&Identity>, known: Known<'_>) -> RemoteAuth {
    let asked = section.text("eap_id", USER_EXAMPLE);
    let Some(users) = known.users else { return RemoteAuth::Psk };
    let only = match &asked {
        Some(Found { value: "%any", .. }) => None,
        Some(found) => Some(found.value.to_owned()),
        // Each of those that a pattern stands for is a user.
        None => identity.filter(|identity| !identity.is_pattern()).map(user_of),
    };
    if users.is_empty() {
        section.fault("auth", "there are no EAP users", "add [eap.NAME] with id and secret to the secrets file");
    } else if let Some(name) = only.as_ref().filter(|name| users.password(name).is_none()) {
        let remedy = format!("add [eap.NAME] with id = \"{name}\" and secret to the secrets file, or write eap_id = \"%any\"");
        section.fault("eap_id", format!("no secret for the EAP user '{name}'"), remedy);
    }
    RemoteAuth::Eap(Arc::new(EapServer::new(method, who(asked.as_ref()), Arc::clone(users))))
}

/// The peer is a user of our RADIUS servers.
pub(super) fn radius(section: &mut Section<'_>, servers: &Servers) -> RemoteAuth {
    let asked = section.text("eap_id", USER_EXAMPLE);
    match servers {
        Servers::Faulty => RemoteAuth::Psk,
        Servers::None => {
            section.fault(
                "auth",
                "there are no RADIUS servers",
                "add [radius.NAME] with address, and [radius.NAME] with secret to the secrets file",
            );
            RemoteAuth::Psk
        }
        Servers::Some(client) => {
            let path = section.own_path();
            let connection = path.strip_prefix("connections.").and_then(|path| path.strip_suffix(".remote")).unwrap_or(path).to_owned();
            RemoteAuth::Eap(Arc::new(EapRadius::new(Arc::clone(client), who(asked.as_ref()), connection)))
        }
    }
}

/// What `eap_id` says.
pub(super) fn who(asked: Option<&Found<&str>>) -> EapIdentity {
    match asked.map(|found| found.value) {
        Some("%any") => EapIdentity::Any,
        Some(name) => EapIdentity::Exactly(name.to_owned()),
        None => EapIdentity::FromIke,
    }
}

/// This gateway as the user of an EAP-TLS server.
#[derive(Debug)]
pub(super) struct TlsUser {
    user: Option<String>,
    /// Whose the server's certificate is, where it is not the responder's of IKE.
    server: Option<Identity>,
}

/// What `local` says of EAP-TLS. Whatever we call ourselves, the server looks for it in our certificate.
pub(super) fn tls_user(section: &mut Section<'_>, own: &Credential) -> TlsUser {
    let user = section.text("eap_id", "\"gw.example.org\"");
    if let (Some(user), Some(certificate)) = (&user, own.certificates.first())
        && certificate.encoding == CertificateEncoding::X509_SIGNATURE
    {
        let named = user.value.parse::<Identity>().map_err(|_| Vec::new()).and_then(|id| ike_crypto::certifies(&certificate.data, &id));
        if let Err(names) = named {
            let problem = format!("the certificate is not one of '{}': it is about {}", user.value, names.join(", "));
            section.fault_at(user, problem, "write a name that is in the certificate, or leave it out for local.id");
        }
    }
    let server = section.parsed::<Identity>("aaa_id", "\"aaa.example.org\"").map(|found| found.value);
    TlsUser { user: user.map(|found| found.value.to_owned()), server }
}

/// EAP-TLS needs what both sections say: our certificate, and whom we believe.
pub(super) fn tls(section: &Section<'_>, local: &mut Local, remote: &mut Remote) {
    let own =
        local.credential.as_ref().filter(|own| own.certificates.iter().all(|shown| shown.encoding == CertificateEncoding::X509_SIGNATURE));
    if let (Some(TlsUser { user, server }), Some(own)) = (local.tls_user.take(), own) {
        match &remote.trust {
            Some(trust) => local.auth = LocalAuth::Eap(Arc::new(EapTlsClient::new(user, own.clone(), trust.clone(), server))),
            None => section.fault(
                "remote.auth",
                "EAP-TLS of this gateway has nobody whom to believe as the server",
                "write remote.auth = \"pubkey\" with cacerts, or \"eap-tls\" where EAP alone shows who the peer is (RFC 5998)",
            ),
        }
    }
    if let (Some(peers), Some(trust)) = (remote.tls_peers.take(), &remote.trust) {
        match own {
            Some(own) => remote.auth = RemoteAuth::Eap(Arc::new(EapTlsServer::new(peers, own.clone(), trust.clone()))),
            None => section.fault(
                "local.auth",
                "EAP-TLS of the peer needs a certificate of this gateway",
                "write local.auth = \"pubkey\" with certs and key, or \"eap-tls\" where EAP alone shows who this gateway is (RFC 5998)",
            ),
        }
    }
}

/// Notes what the two sides of a connection cannot do together.
pub(super) fn check(section: &Section<'_>, local: &LocalAuth, remote: &RemoteAuth, begins: bool) {
    match (local, remote) {
        (LocalAuth::Eap(method), RemoteAuth::Eap(_)) if !method.is_mutual() => section.fault(
            "remote.auth",
            format!(
                "{} does not show who the responder is, as it has to where both sides authenticate by EAP (RFC 5998)",
                method.keyword()
            ),
            "write remote.auth = \"pubkey\"",
        ),
        (LocalAuth::Psk, RemoteAuth::Eap(method)) if !method.is_mutual() => section.fault(
            "local.auth",
            format!(
                "with {} of the peer this gateway has to show a certificate, or a raw public key (RFC 7296 section 2.16)",
                method.keyword()
            ),
            "write local.auth = \"pubkey\"",
        ),
        (LocalAuth::Eap(method), RemoteAuth::Psk) if !method.is_mutual() => section.fault(
            "remote.auth",
            format!(
                "with {} of this gateway the peer has to show a certificate, or a raw public key (RFC 7296 section 2.16)",
                method.keyword()
            ),
            "write remote.auth = \"pubkey\"",
        ),
        (LocalAuth::Psk | LocalAuth::PublicKey(_), RemoteAuth::Eap(method)) if begins => section.fault(
            "remote.auth",
            format!("a peer that shows who it is by {} has to begin itself", method.keyword()),
            "write start_action = \"none\" and no other dpd_action and close_action in the children of this connection",
        ),
        _ => {}
    }
}
