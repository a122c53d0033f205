//! `auth = "xauth"` and `xauth_id`: users of IKEv1 after phase 1.

use std::sync::Arc;

use ike::config::{LocalAuth, RemoteAuth, XauthUser};
use ike_crypto::XauthUsers;
use ike_crypto::eap::user_of;
use ipsec_types::Identity;

use super::eap::{Known, USER_EXAMPLE};
use super::section::{Found, Section};

/// swanctl's word.
pub(super) const KEYWORD: &str = "xauth";

/// We are a user of the peer's.
pub(super) fn client(section: &mut Section<'_>, identity: Option<&Identity>, known: Known<'_>) -> LocalAuth {
    let user = section.text("xauth_id", "\"alice\"").map(|found| found.value.to_owned());
    let Some(name) = user.or_else(|| identity.map(user_of)) else {
        section.fault("xauth_id", "this gateway has no name as a user", "write xauth_id = \"alice\"");
        return LocalAuth::Psk;
    };
    let Some(users) = known.users else { return LocalAuth::Psk };
    let Some(password) = users.password(&name) else {
        let remedy = format!("add [eap.NAME] with id = \"{name}\" and secret to the secrets file");
        section.fault("xauth_id", format!("no secret for the user '{name}'"), remedy);
        return LocalAuth::Psk;
    };
    LocalAuth::Xauth(XauthUser { name, password })
}

/// The peer is one of our users.
pub(super) fn server(section: &mut Section<'_>, known: Known<'_>) -> RemoteAuth {
    let asked = section.text("xauth_id", USER_EXAMPLE);
    let Some(users) = known.users else { return RemoteAuth::Psk };
    let only = asked.filter(|found| found.value != "%any").map(|Found { value, .. }| value.to_owned());
    if users.is_empty() {
        section.fault("auth", "there are no users", "add [eap.NAME] with id and secret to the secrets file");
    } else if let Some(name) = only.as_ref().filter(|name| users.password(name).is_none()) {
        let remedy = format!("add [eap.NAME] with id = \"{name}\" and secret to the secrets file, or write xauth_id = \"%any\"");
        section.fault("xauth_id", format!("no secret for the user '{name}'"), remedy);
    }
    RemoteAuth::Xauth(Arc::new(XauthUsers::new(only, Arc::clone(users))))
}
