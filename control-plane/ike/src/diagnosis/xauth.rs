//! Why a user of XAuth is not let in, or this gateway as one, for people.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use ike_wire::v1::Attributes;

use crate::error::Detail;
use crate::policy::ConnectionRef;

/// The peer answers without a user, or without a password.
pub(crate) fn no_user(connection: &ConnectionRef) -> Box<Detail> {
    Detail {
        summary: "the peer names no user, or no password, when it is asked (XAuth)".into(),
        ours: format!("connection {}: remote.auth = xauth", connection.name),
        theirs: "an answer without XAUTH-USER-NAME or XAUTH-USER-PASSWORD".into(),
        remedy: "let the peer have a name and a secret for XAuth (strongSwan: auth = xauth, xauth_id)".into(),
        ..Detail::default()
    }
    .bounded()
}

/// The peer does not believe our user. `said` is what it says beside that.
pub(crate) fn refused_user(connection: &ConnectionRef, said: Option<String>) -> Box<Detail> {
    let user = crate::v1::own_user(connection).map(|user| user.name.escape_debug().to_string());
    Detail {
        summary: "the peer does not let the user of this gateway in (XAuth)".into(),
        ours: match user {
            Some(user) => format!("connection {}: local.auth = xauth, user {user}", connection.name),
            None => format!("connection {}: no user", connection.name),
        },
        theirs: said.map_or_else(|| "XAUTH-STATUS = FAIL".into(), |said| format!("XAUTH-STATUS = FAIL: {said}")),
        remedy: "compare the user's name and secret with the peer's".into(),
        ..Detail::default()
    }
    .bounded()
}

/// The peer wants something else than a name and a password.
pub(crate) fn other_xauth(kind: u16) -> Box<Detail> {
    let name = match kind {
        1 => "RADIUS-CHAP",
        2 => "a one-time password",
        3 => "S/KEY",
        _ => "unknown",
    };
    Detail {
        summary: format!("the peer wants another kind of XAuth than a name and a password: {name} ({kind})"),
        ours: "XAUTH-TYPE = generic (0)".into(),
        theirs: format!("XAUTH-TYPE = {kind}"),
        remedy: "let the peer ask for a name and a password (generic)".into(),
        ..Detail::default()
    }
    .bounded()
}

/// The peer asks neither for a name nor for a password.
pub(crate) fn unknown_xauth_question(asked: &Attributes) -> Box<Detail> {
    let kinds: Vec<String> = asked.attributes.iter().take(16).map(|attribute| attribute.kind.to_string()).collect();
    Detail {
        summary: "the peer asks the user of this gateway for something that it does not have (XAuth)".into(),
        ours: "a name and a password".into(),
        theirs: kinds.join(", "),
        remedy: "let the peer ask for a name and a password (generic)".into(),
        ..Detail::default()
    }
    .bounded()
}

/// The peer has not gone on after phase 1.
pub(crate) fn not_asked(connection: &ConnectionRef, what: &str) -> Box<Detail> {
    Detail {
        summary: format!("the peer has not asked {what} after phase 1"),
        ours: format!("connection {}", connection.name),
        theirs: "phase 1, then nothing that could be read".into(),
        remedy: "compare XAuth and Mode Config (pull or push) with the peer's".into(),
        ..Detail::default()
    }
    .bounded()
}
