//! Users who name themselves by XAuth of IKEv1: the EAP users, by their passwords.

use std::sync::Arc;

use ike::error::Detail;
use ike::provider::UserVerifier;
use ipsec_types::{Identity, Secret};

use crate::eap::{Users, by_name, detail, name_in, same};

/// Lets peers show who they are by XAuth.
#[derive(Debug)]
pub struct XauthUsers {
    only: Option<String>,
    users: Arc<Users>,
}

impl XauthUsers {
    /// A peer may be any of `users`, or `only` one of them.
    #[must_use]
    pub const fn new(only: Option<String>, users: Arc<Users>) -> Self {
        Self { only, users }
    }
}

impl UserVerifier for XauthUsers {
    fn verify(&self, name: &[u8], password: &Secret) -> Result<Identity, Box<Detail>> {
        let refused = |name: &str, why: String| {
            detail(
                why,
                format!("remote.auth = xauth, user {}", name.escape_debug()),
                "compare the user's name and secret under [eap.NAME] with the peer's",
            )
        };
        let Some(name) = name_in(name) else { return Err(refused("", "the name of the peer's user is no text of 1 to 253 octets".into())) };
        if self.only.as_ref().is_some_and(|only| only != name) {
            let why = format!("the peer is the user {}, not the one of remote.xauth_id", name.escape_debug());
            return Err(refused(name, why));
        }
        let known = self.users.password(name);
        // A user that is not there is refused after the same work as a wrong password.
        let expected = known.clone().unwrap_or_else(|| Arc::new(Secret::new(vec![0; password.len()])));
        let right = same(password.expose(), expected.expose());
        match known {
            Some(_) if right => Ok(by_name(name)),
            Some(_) => Err(refused(name, format!("the user {} does not know the password", name.escape_debug()))),
            None => Err(refused(name, format!("there is no user {}", name.escape_debug()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verify(only: Option<&str>, name: &[u8], password: &[u8]) -> Result<Identity, String> {
        let mut users = Users::default();
        users.add("alice".into(), Secret::copy_from(b"wonderland"));
        users.add("carol@lab.test".into(), Secret::copy_from(b"hunter2"));
        let users = XauthUsers::new(only.map(str::to_owned), Arc::new(users));
        users.verify(name, &Secret::copy_from(password)).map_err(|detail| detail.summary)
    }

    #[test]
    fn a_user_with_its_password_is_believed_and_nobody_else() {
        assert_eq!(verify(None, b"alice", b"wonderland"), Ok(Identity::KeyId(b"alice".to_vec())));
        assert_eq!(verify(Some("carol@lab.test"), b"carol@lab.test", b"hunter2"), Ok(Identity::Rfc822("carol@lab.test".into())));
        for password in [&b""[..], b"wonderlan", b"wonderland ", b"hunter2"] {
            assert_eq!(verify(None, b"alice", password), Err("the user alice does not know the password".into()));
        }
        // Not even with the password that is compared in its stead.
        assert_eq!(verify(None, b"bob", &[0; 4]), Err("there is no user bob".into()));
        assert_eq!(verify(None, b"bob", b""), Err("there is no user bob".into()));
        let other = "the peer is the user alice, not the one of remote.xauth_id";
        assert_eq!(verify(Some("carol@lab.test"), b"alice", b"wonderland"), Err(other.into()));
        assert!(verify(None, b"\xff", b"wonderland").is_err() && verify(None, b"", b"").is_err());
    }
}
