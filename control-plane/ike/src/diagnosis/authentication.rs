//! Why a peer is not believed, or does not believe us: the PAD of RFC 4301 section 4.4.3, for people.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ipsec_types::Identity;

use super::list;
use crate::config::{LocalAuth, Psk, RemoteAuth};
use crate::error::{Detail, Failure};
use crate::policy::ConnectionRef;

/// No connection has this peer; `candidates` are those between the two addresses. `asked` is whom the peer wants to speak to.
pub(crate) fn unknown_peer(candidates: &[ConnectionRef], remote: &Identity, asked: Option<&Identity>) -> Box<Detail> {
    let anybody = |identity: Option<&Identity>| identity.map_or_else(|| "anybody".to_string(), ToString::to_string);
    let known = candidates.iter().map(|connection| {
        let (local, remote) = (&connection.local_identity, anybody(connection.remote_identity.as_ref()));
        format!("connection {} between {local} and {remote}", connection.name)
    });
    let admitting = candidates.iter().find(|connection| connection.admits(remote, asked));
    // The proposals were chosen before anybody had said who it is.
    let (would_match, remedy) = match admitting {
        Some(connection) => (
            format!("connection {} admits the peer, but not the proposal that was chosen for another one", connection.name),
            format!("give the connections between these addresses the same proposals, or {} the peer's", connection.name),
        ),
        None => (String::new(), format!("let remote.id of a connection here be {remote}, or correct the identities at the peer")),
    };
    Detail {
        summary: format!("no connection is for {remote}"),
        ours: known.collect::<Vec<_>>().join("; "),
        theirs: format!("the peer is {remote} and asks for {}", anybody(asked)),
        would_match,
        remedy,
    }
    .bounded()
}

/// Another peer answered than was called.
pub(crate) fn other_peer(connection: &ConnectionRef, wanted: Option<&Identity>, found: &Identity) -> Box<Detail> {
    let expected = wanted.map_or_else(|| "anybody".to_string(), ToString::to_string);
    Detail {
        summary: format!("the peer is {found}, not {expected}"),
        ours: format!("connection {} demands {expected}", connection.name),
        theirs: format!("the peer is {found}"),
        would_match: String::new(),
        remedy: format!("let remote.id here be {found}, or local.id at the peer {expected}"),
    }
    .bounded()
}

/// There is no shared key for a peer.
pub(crate) fn no_key(connection: &ConnectionRef, remote: &Identity) -> Box<Detail> {
    let local = &connection.local_identity;
    let keys = connection.keys();
    let owners: Vec<String> = keys.iter().map(|key| format!("[{}]", owners(key))).collect();
    let ours = if owners.is_empty() { "there are no keys".into() } else { format!("the keys here belong to {}", owners.join(" ")) };
    Detail {
        summary: format!("no shared key for {local} and {remote}"),
        ours: format!("a key was looked for that belongs to {local} and {remote}, to {remote}, to {local} alone, or to everybody; {ours}"),
        theirs: format!("the peer is {remote}"),
        would_match: format!("a key with ids = [\"{local}\", \"{remote}\"]"),
        remedy: "add it to the secrets, or correct the identities of one side".into(),
    }
    .bounded()
}

/// The peer's AUTH was made with another key than ours, or about other messages.
pub(crate) fn wrong_key(connection: &ConnectionRef, remote: &Identity) -> Box<Detail> {
    Detail {
        summary: format!("{remote} does not hold the shared key"),
        ours: own_key(connection, remote),
        theirs: format!("the peer is {remote}; its AUTH was made with another key, or covers other messages than those seen here"),
        would_match: String::new(),
        remedy: "compare the secret of this key with the peer's for the same two identities: the same octets, the same notation (0x, 0s)"
            .into(),
    }
    .bounded()
}

/// The peer authenticates by what is not configured.
pub(crate) fn wrong_method(connection: &ConnectionRef, way: &RemoteAuth, who: &str, method: &str) -> Box<Detail> {
    let keyword = way.keyword();
    let expected = match way {
        RemoteAuth::Psk => "a shared key",
        RemoteAuth::PublicKey(_) => "a signature",
        RemoteAuth::Eap(_) => "EAP",
        RemoteAuth::Xauth(_) => "XAuth of IKEv1",
    };
    Detail {
        summary: format!("{who} wants to authenticate by {method}, not by {expected}"),
        ours: format!("connection {}: remote.auth = {keyword}", connection.name),
        theirs: method.into(),
        would_match: expected.into(),
        remedy: format!("set local.auth = {keyword} at the peer, or another remote.auth here"),
    }
    .bounded()
}

/// The peer shows more than is configured, or less (RFC 4739).
pub(crate) fn other_rounds(connection: &ConnectionRef, over: usize, more: bool) -> Box<Detail> {
    let ways: Vec<&str> = connection.remote_rounds().map(|(_, way)| way.keyword()).collect();
    Detail {
        summary: format!(
            "the peer has to authenticate {} times, and {}",
            ways.len(),
            if more { "would do so more often" } else { "stops before" }
        ),
        ours: format!("connection {}: {}", connection.name, ways.join(", then ")),
        theirs: format!("{over} rounds of authentication{}", if more { ", and another follows (ANOTHER_AUTH_FOLLOWS)" } else { "" }),
        would_match: String::new(),
        remedy: "let local, local-2, ... at the peer be as many as remote, remote-2, ... here".into(),
    }
    .bounded()
}

/// An initiator that takes one round of authentication alone.
pub(crate) fn one_round(connection: &ConnectionRef) -> Box<Detail> {
    Detail {
        summary: "the peer does not take several rounds of authentication (RFC 4739)".into(),
        ours: format!("connection {} has local-2 or remote-2", connection.name),
        theirs: "no MULTIPLE_AUTH_SUPPORTED".into(),
        remedy: "configure as many rounds at the peer, or leave out local-2 and remote-2 here".into(),
        ..Detail::default()
    }
    .bounded()
}

/// The AUTH after EAP was made with another key than ours, or about other messages.
pub(crate) fn other_eap_key(who: &Identity) -> Box<Detail> {
    Detail {
        summary: format!("{who} does not hold the key that EAP has made"),
        theirs: "its AUTH was made with another key, or covers other messages than those seen here".into(),
        remedy: "somebody may stand between the two: look who answers as the EAP server".into(),
        ..Detail::default()
    }
    .bounded()
}

/// The peer's EAP server has said no.
pub(crate) fn eap_refused(connection: &ConnectionRef, identity: &Identity, way: &LocalAuth) -> Box<Detail> {
    Detail {
        summary: "the peer's EAP server refuses us".into(),
        ours: format!("connection {}: local.auth = {}, id = {identity}", connection.name, way.keyword()),
        theirs: "EAP Failure".into(),
        remedy: "compare local.eap_id and its secret with the user's at the server".into(),
        ..Detail::default()
    }
    .bounded()
}

/// An EAP conversation that comes to no end.
pub(crate) fn endless_eap(rounds: u32, octets: usize) -> Box<Detail> {
    Detail {
        summary: format!("EAP has come to no end after {rounds} packets and {octets} octets"),
        remedy: "look at the EAP server's log; certificates for EAP-TLS may be too large".into(),
        ..Detail::default()
    }
    .bounded()
}

/// Nothing but EAP was asked for, and only one side can do with that.
pub(crate) fn eap_alone(connection: &ConnectionRef) -> Box<Detail> {
    Detail {
        summary: "this gateway would show who it is by EAP alone, and the peer has not said that it takes that".into(),
        ours: format!("connection {}: local.auth = {}", connection.name, connection.local_auth.keyword()),
        theirs: "no EAP_ONLY_AUTHENTICATION (RFC 5998)".into(),
        remedy: "let the peer's configuration take the same EAP method of this gateway, or set local.auth = \"pubkey\" here".into(),
        ..Detail::default()
    }
    .bounded()
}

/// A signature that cannot be checked.
pub(crate) fn bad_signature(who: &Identity, problem: &str) -> Box<Detail> {
    Detail {
        summary: format!("the signature of {who} cannot be checked: {problem}"),
        would_match: "RSA (PKCS #1 v1.5 or PSS), ECDSA or Ed25519, with SHA-256, SHA-384 or SHA-512 (RFC 7427, RFC 8420)".into(),
        remedy: "let the peer sign by one of these".into(),
        ..Detail::default()
    }
    .bounded()
}

/// A peer wants IKEv1's aggressive mode, and no connection between the addresses answers it.
pub(crate) fn not_aggressive(candidates: &[ConnectionRef]) -> Box<Detail> {
    let names: Vec<String> = candidates.iter().map(|connection| format!("connection {}: aggressive = false", connection.name)).collect();
    Detail {
        summary: "the peer begins aggressive mode, which is not answered here".into(),
        ours: list(&names, ", "),
        theirs: "a first message of aggressive mode".into(),
        would_match: "main mode".into(),
        remedy: "let the peer use main mode; or, where it cannot, write aggressive = true here: whoever calls then sees both identities and, with a \
                 shared key, gets a hash by which the key can be guessed at leisure"
            .into(),
    }
    .bounded()
}

/// A signature was agreed on, and there is none.
pub(crate) fn without_signature(connection: &ConnectionRef, scheme: &str) -> Box<Detail> {
    Detail {
        summary: "the peer has agreed to sign, and shows no signature".into(),
        ours: format!("connection {}: remote.auth = {}", connection.name, connection.remote_auth.keyword()),
        theirs: "an identity without SIG".into(),
        would_match: format!("a signature by {scheme}"),
        remedy: "look at the peer's log: its implementation breaks RFC 2409 section 5.1".into(),
    }
    .bounded()
}

/// What we need to show who we are is not there.
pub(crate) fn cannot_prove(failure: &Failure) -> Box<Detail> {
    Detail {
        summary: format!("this gateway cannot show who it is: {failure}"),
        remedy: "look at local.auth, and at the key and the certificates it names".into(),
        ..Detail::default()
    }
    .bounded()
}

/// `unique = "keep"`, and there is one.
pub(crate) fn not_unique(connection: &ConnectionRef, remote: &Identity) -> Box<Detail> {
    Detail {
        summary: format!("{remote} has an IKE SA already, and that one is kept"),
        ours: format!("connection {}: unique = keep", connection.name),
        theirs: "a further IKE SA, without INITIAL_CONTACT".into(),
        would_match: "a request with INITIAL_CONTACT, after the peer has lost the first".into(),
        remedy: "delete the first IKE SA at either side, or set unique = replace".into(),
    }
    .bounded()
}

/// An identity that is none.
pub(crate) fn bad_identity(error: &ipsec_types::IdentityError) -> Box<Detail> {
    Detail { summary: error.to_string(), remedy: "correct local.id at the peer".into(), ..Detail::default() }.bounded()
}

/// Who we are and which key there is; not the key.
pub(super) fn own_key(connection: &ConnectionRef, remote: &Identity) -> String {
    let local = &connection.local_identity;
    let key = connection.key(remote).map_or_else(|| "there is none".into(), |key| format!("it belongs to {}", owners(key)));
    format!("this gateway is {local}; the key was looked for by {local} and {remote}: {key}")
}

fn owners(key: &Psk) -> String {
    if key.owners.is_empty() { "everybody".into() } else { list(&key.owners, " ") }
}
