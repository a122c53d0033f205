//! XAuth (draft-beaulieu-ike-xauth-02): after phase 1 one side asks the other for the name and password of a user.
//!
//! ```text
//! server                                              client
//! ------                                              ------
//! HDR*, HASH, ATTR(REQUEST: name, password)  -->
//!                                            <--  HDR*, HASH, ATTR(REPLY: name, password)
//! HDR*, HASH, ATTR(SET: STATUS)              -->
//!                                            <--  HDR*, HASH, ATTR(ACK)
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use ike_wire::v1::{Attributes, TransactionAttribute as Attribute, TransactionAttributeType as Type};
use ipsec_types::{Identity, Secret};

use crate::config::{Connection, LocalAuth, RemoteAuth, XauthUser};
use crate::diagnosis;
use crate::error::Detail;
use crate::v1::Core;

/// Proof that a user knows its password. Only this module makes one.
pub(crate) struct UserShown {
    identity: Identity,
}

impl UserShown {
    /// Who the user is.
    pub(crate) fn into_identity(self) -> Identity {
        self.identity
    }
}

/// XAUTH-TYPE: a name and a password, or whatever the server calls so.
const GENERIC: u16 = 0;
/// XAUTH-STATUS.
const FAIL: u16 = 0;
const OK: u16 = 1;

/// The user of this gateway, where the connection has one.
pub(crate) fn own_user(connection: &Connection) -> Option<&XauthUser> {
    connection.local_rounds().find_map(|(_, way)| if let LocalAuth::Xauth(user) = way { Some(user) } else { None })
}

/// What the server asks.
pub(crate) fn question() -> Vec<Attribute> {
    alloc::vec![
        Attribute::short(Type::XAUTH_TYPE, GENERIC),
        Attribute::empty(Type::XAUTH_USER_NAME),
        Attribute::empty(Type::XAUTH_USER_PASSWORD)
    ]
}

/// Whether the server asks for a user, or says what has come of it.
pub(crate) fn is_meant(asked: &Attributes) -> bool {
    asked.attributes.iter().any(|attribute| (Type::XAUTH_TYPE.0..=Type::XAUTH_ANSWER.0).contains(&attribute.kind.0))
}

/// What the client answers.
///
/// # Errors
/// Why it does not, with what it says then.
pub(crate) fn answer(user: &XauthUser, asked: &Attributes) -> Result<Vec<Attribute>, (Vec<Attribute>, Box<Detail>)> {
    let kind = asked.first(Type::XAUTH_TYPE).and_then(Attribute::number).unwrap_or(GENERIC);
    if kind != GENERIC {
        return Err((verdict(false), diagnosis::other_xauth(kind)));
    }
    let answer = asked.attributes.iter().filter_map(|attribute| match attribute.kind {
        Type::XAUTH_TYPE => Some(Attribute::short(Type::XAUTH_TYPE, GENERIC)),
        Type::XAUTH_USER_NAME => Some(Attribute::long(Type::XAUTH_USER_NAME, user.name.clone().into_bytes())),
        Type::XAUTH_USER_PASSWORD => Some(Attribute::long(Type::XAUTH_USER_PASSWORD, user.password.expose().to_vec())),
        _ => None,
    });
    let answer: Vec<Attribute> = answer.collect();
    if answer.iter().all(|attribute| attribute.kind == Type::XAUTH_TYPE) {
        return Err((verdict(false), diagnosis::unknown_xauth_question(asked)));
    }
    Ok(answer)
}

/// The server checks an answer.
///
/// # Errors
/// Why it is not believed.
pub(crate) fn check(core: &Core, answer: &Attributes) -> Result<UserShown, Box<Detail>> {
    let verifier =
        core.connection.remote_rounds().find_map(|(_, way)| if let RemoteAuth::Xauth(verifier) = way { Some(verifier) } else { None });
    let verifier = verifier.ok_or_else(|| diagnosis::no_user(&core.connection))?;
    let said = |kind| answer.first(kind).map(Attribute::octets).filter(|octets| !octets.is_empty());
    let (Some(name), Some(password)) = (said(Type::XAUTH_USER_NAME), said(Type::XAUTH_USER_PASSWORD)) else {
        return Err(diagnosis::no_user(&core.connection));
    };
    // As some clients write texts.
    let [name, password] = [name, password].map(|octets| octets.strip_suffix(&[0]).unwrap_or(octets));
    verifier.verify(name, &Secret::copy_from(password)).map(|identity| UserShown { identity }).map_err(|detail| detail.bounded())
}

/// How it has ended.
pub(crate) fn verdict(believed: bool) -> Vec<Attribute> {
    alloc::vec![Attribute::short(Type::XAUTH_STATUS, if believed { OK } else { FAIL })]
}

/// What the server says of that; `None` where it says nothing.
pub(crate) fn status(order: &Attributes) -> Option<bool> {
    order.first(Type::XAUTH_STATUS).and_then(Attribute::number).map(|status| status == OK)
}

/// What the server says beside it, for people.
pub(crate) fn message(order: &Attributes) -> Option<alloc::string::String> {
    let octets = order.first(Type::XAUTH_MESSAGE)?.octets();
    core::str::from_utf8(octets).ok().filter(|text| !text.is_empty()).map(|text| format!("{}", text.escape_debug()))
}
