//! Why there is no PPK where one should be (RFC 8784), for people.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};

use crate::config::PpkPolicy;
use crate::error::Detail;
use crate::policy::ConnectionRef;

/// The peer has not said USE_PPK.
pub(crate) fn peer_without_ppk(connection: &ConnectionRef) -> Box<Detail> {
    Detail {
        summary: "the peer does not use a PPK (RFC 8784), or has none".into(),
        ours: demanded(connection),
        theirs: "no USE_PPK in IKE_SA_INIT".into(),
        would_match: "a peer that has a PPK for this connection".into(),
        remedy: "set ppk_id and the PPK's secret at the peer, or ppk_required = false here".into(),
    }
    .bounded()
}

/// The responder goes on without the PPK.
pub(crate) fn ppk_not_used(connection: &ConnectionRef, id: &str) -> Box<Detail> {
    Detail {
        summary: format!("the peer has not used the PPK '{id}'"),
        ours: demanded(connection),
        theirs: "an IKE_AUTH response without PPK_IDENTITY".into(),
        remedy: format!("give the peer the secret of the PPK '{id}', or set ppk_required = false here"),
        ..Detail::default()
    }
    .bounded()
}

/// USE_PPK was said on both sides, and no PPK is named.
pub(crate) fn no_ppk_identity(connection: &ConnectionRef) -> Box<Detail> {
    Detail {
        summary: "the peer has said that it uses a PPK, and names none".into(),
        ours: demanded(connection),
        theirs: "AUTH without PPK_IDENTITY".into(),
        would_match: "AUTH with PPK_IDENTITY (RFC 8784 section 3)".into(),
        remedy: "the peer's implementation has to be corrected; until then leave ppk_id out on both sides".into(),
    }
    .bounded()
}

/// The peer's PPK is not known, and one of the sides does not do without.
pub(crate) fn unknown_ppk(connection: &ConnectionRef, theirs: &str) -> Box<Detail> {
    let required = connection.ppk.as_ref().is_some_and(|ppk| ppk.required);
    let (why, either) = match required {
        true => ("this connection does not do without", "ppk_required = false here"),
        false => ("the peer does not do without", "let the peer do without (its ppk_required)"),
    };
    Detail {
        summary: format!("the peer's PPK, {theirs}, is not that of connection {}, and {why}", connection.name),
        ours: demanded(connection),
        theirs: format!("the PPK {theirs}"),
        would_match: known(connection),
        remedy: format!("let ppk_id and the secret [ppk.NAME] be the same on both sides, or {either}"),
    }
    .bounded()
}

/// What an AUTH that does not fit may have besides, where a PPK is in the keys.
pub(crate) fn or_another_ppk(mut detail: Detail, used: Option<&str>) -> Box<Detail> {
    if let Some(id) = used {
        detail.remedy.push_str(&format!("; or the secrets of the PPK '{id}' differ: compare them"));
    }
    detail.bounded()
}

fn demanded(connection: &ConnectionRef) -> String {
    match &connection.ppk {
        None => format!("connection {} has no ppk_id", connection.name),
        Some(PpkPolicy { id, required }) => {
            let id = id.as_deref().unwrap_or("%any");
            format!("connection {}: ppk_id = \"{id}\", ppk_required = {required}", connection.name)
        }
    }
}

fn known(connection: &ConnectionRef) -> String {
    match &connection.ppk {
        None => "no PPK at all".into(),
        Some(PpkPolicy { id: Some(id), .. }) => format!("the PPK '{id}'"),
        Some(PpkPolicy { id: None, .. }) => "a PPK that is among the secrets".to_string(),
    }
}
