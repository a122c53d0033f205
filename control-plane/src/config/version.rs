//! `version`: which versions of IKE a connection speaks, and what IKEv1 has no words for.

use ike::config::{Child, LocalAuth, MethodV1, RemoteAuth, Version};
use ipsec_types::{
    ChildProposal, EncryptionAlgorithm, IkeProposal, IntegrityAlgorithm, KeyExchangeMethod, KeyKind, PortRange, SequenceNumbers,
};

use super::section::{Found, Section};

/// `1`, `2`, or `"any"`, which swanctl writes 0.
pub(super) fn read(section: &mut Section<'_>) -> Found<Version> {
    let Some(found) = section.integer_or("version", 0..=2, "any") else {
        return Found { value: Version::V2, span: section.span(), path: section.path("version") };
    };
    let version = match found.value {
        Some(1) => Version::V1,
        Some(2) => Version::V2,
        _ => Version::Any,
    };
    let found = found.with(version);
    if version.has_v1() {
        let (problem, remedy) = match version {
            Version::V1 => (
                "IKEv1 is historic (RFC 9395): no AEAD for IKE, and a peer's messages can be told from no one's before it has shown who it is",
                "write version = 2 where the peer has it",
            ),
            _ => ("a peer may choose IKEv1, which is historic (RFC 9395)", "write version = 2 where every peer has it"),
        };
        section.warn_at(&found, problem.to_owned(), remedy.to_owned());
    }
    found
}

/// `aggressive`: whether IKEv1's aggressive mode is begun and answered.
pub(super) fn aggressive(section: &mut Section<'_>, version: &Found<Version>) -> bool {
    let Some(found) = section.boolean("aggressive").filter(|found| found.value) else { return false };
    if version.value.has_v1() {
        let problem = "aggressive mode shows both identities to everybody, and with a pre-shared key gives whoever calls a hash by which the key can be \
                       guessed at leisure";
        let remedy = "leave it out where the peer has main mode; otherwise let the key be long and random, or use certificates";
        section.warn_at(&found, problem.to_owned(), remedy.to_owned());
    } else {
        section.fault_at(&found, "aggressive mode is IKEv1's", "write version = 1 where the peer has nothing newer, or leave it out");
    }
    true
}

/// What a connection with IKEv1 has besides.
pub(super) struct Rest<'a> {
    pub(super) proposals: &'a [IkeProposal],
    pub(super) children: &'a [Child],
    /// Each side's rounds of authentication.
    pub(super) auth: (&'a [&'a LocalAuth], &'a [&'a RemoteAuth]),
    pub(super) has_ppk: bool,
    /// What `pull` says, where it says it.
    pub(super) pull: Option<&'a Found<bool>>,
}

/// Notes what IKEv1, as it is here, has no words for. Where a peer may speak IKEv2 instead, its children may have more than IKEv1 can say.
pub(super) fn check(section: &Section<'_>, version: &Found<Version>, rest: &Rest<'_>) {
    let by_user = rest.auth.0.iter().any(|way| matches!(way, LocalAuth::Xauth(_)))
        || rest.auth.1.iter().any(|way| matches!(way, RemoteAuth::Xauth(_)));
    if by_user && version.value != Version::V1 {
        section.fault_at(version, "XAuth is for IKEv1 alone", "write version = 1, or an EAP method such as auth = \"eap-mschapv2\"");
    }
    if !version.value.has_v1() {
        if let Some(pull) = rest.pull {
            section.fault_at(pull, "pull is for IKEv1 alone: in IKEv2 whoever needs an address asks for it", "leave it out");
        }
        return;
    }
    if let Err((problem, remedy)) = authentication(rest.auth) {
        section.fault_at(version, problem, format!("write version = 2, or {remedy}"));
    }
    if rest.has_ppk {
        section.fault_at(version, "IKEv1 has no PPK", "write version = 2, or leave ppk_id and ppk_required out");
    }
    if !rest.proposals.iter().any(is_spoken) {
        let problem = "none of the proposals can be said in IKEv1: it has no AEAD for IKE, and AES-CBC or 3DES with SHA-1 or SHA-2";
        section.fault_at(version, problem, "write version = 2, or for example proposals = [\"aes128-sha256-modp2048\"]");
    }
    if version.value != Version::V1 {
        return;
    }
    for child in rest.children {
        let fault = |problem: &str, remedy: &str| section.fault_at(version, format!("child '{}' {problem}", child.name), remedy);
        let selectors = [&child.local_selectors, &child.remote_selectors];
        // Of those that stand for addresses to be given one is chosen when they are.
        let fixed = selectors.into_iter().zip([child.local_dynamic, child.remote_dynamic]).filter(|(_, dynamic)| !dynamic);
        if fixed.map(|(selectors, _)| selectors.len()).any(|count| count > 1) {
            fault("has several selectors, and an SA of IKEv1 has one for each side", "write a child for each pair");
        }
        let sayable = |ports: PortRange| ports == PortRange::ANY || (ports.first() == ports.last() && ports.first() != 0);
        if !selectors.iter().flat_map(|selectors| selectors.iter()).all(|selector| sayable(selector.ports())) {
            fault("has a range of ports, and IKEv1 knows one or all", "write one port, or none");
        }
        if !child.proposals.iter().any(is_spoken_for_child) {
            let remedy = "write for example esp_proposals = [\"aes128-sha256\"] or [\"aes128gcm16\"]";
            fault(
                "has no proposal that can be said in IKEv1: no ChaCha20-Poly1305, no AES-CMAC, and extended sequence numbers only beside others",
                remedy,
            );
        }
    }
}

/// Whether IKEv1 has a method by which both sides can show who they are: it knows one for the two. Otherwise problem and remedy.
fn authentication((local, remote): (&[&LocalAuth], &[&RemoteAuth])) -> Result<(), (String, &'static str)> {
    const ALIKE: &str =
        "auth = \"psk\" or auth = \"pubkey\" in both local and remote, and \"xauth\" in local-2 or remote-2 where a user follows";
    let (credential, with_user) = match MethodV1::of(local, remote) {
        Some(MethodV1::SharedKey { .. } | MethodV1::Hybrid { own: None }) => return Ok(()),
        Some(MethodV1::Signatures { own, user }) => (own, user.is_some()),
        Some(MethodV1::Hybrid { own: Some(own) }) => (own, true),
        None => {
            let local = local.iter().map(|way| way.keyword()).collect::<Vec<_>>().join(", then ");
            let remote = remote.iter().map(|way| way.keyword()).collect::<Vec<_>>().join(", then ");
            return Err((format!("IKEv1 has no method by which local shows itself by {local} and remote by {remote}"), ALIKE));
        }
    };
    let kind = credential.key.kind();
    match ike_crypto::bare_scheme(kind) {
        Some(_) if with_user && kind != KeyKind::Rsa => {
            Err((format!("where a user follows, IKEv1 has no signatures by {kind}"), "name a key of RSA in local"))
        }
        Some(_) => Ok(()),
        None if kind == KeyKind::Rsa => {
            Err(("the RSA signatures of IKEv1 are not in this build".into(), "build culvert-control with its feature legacy"))
        }
        None => Err((format!("IKEv1 has no signatures by {kind}"), "name a key of RSA or ECDSA")),
    }
}

fn is_spoken(proposal: &IkeProposal) -> bool {
    let cipher = |cipher: &EncryptionAlgorithm| {
        !cipher.is_aead() && matches!(cipher.mode(), ipsec_types::CipherMode::Cbc | ipsec_types::CipherMode::TripleDesCbc)
    };
    let hash = |mac: &IntegrityAlgorithm| !matches!(mac, IntegrityAlgorithm::AesXcbc | IntegrityAlgorithm::AesCmac);
    let group = |method: &KeyExchangeMethod| *method != KeyExchangeMethod::X25519;
    proposal.encryption().iter().any(cipher) && proposal.integrity().iter().any(hash) && proposal.key_exchange().iter().any(group)
}

fn is_spoken_for_child(proposal: &ChildProposal) -> bool {
    let cipher = |cipher: &EncryptionAlgorithm| *cipher != EncryptionAlgorithm::ChaCha20Poly1305;
    let mac = |mac: &IntegrityAlgorithm| *mac != IntegrityAlgorithm::AesCmac;
    let ciphers = proposal.encryption().is_empty() || proposal.encryption().iter().any(cipher);
    let macs = proposal.integrity().is_empty() || proposal.integrity().iter().any(mac);
    ciphers && macs && proposal.sequence_numbers().contains(&SequenceNumbers::Standard)
}
