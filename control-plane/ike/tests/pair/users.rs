//! Users who show who they are by XAuth, and addresses by Mode Config: A is the user, and has its address from B.

use std::sync::Arc;

use ike::config::{Connection, LocalAuth, LocalRound, Pool, RemoteAuth, RemoteRound, XauthUser};
use ike_crypto::XauthUsers;
use ike_crypto::eap::Users;
use ipsec_types::Secret;

use super::Side::{self, A, B};

/// The user's name.
pub const USER: &str = "alice";
/// Its password.
pub const PASSWORD: &[u8] = b"wonderland";

/// How A shows who its user is.
pub fn user() -> LocalAuth {
    LocalAuth::Xauth(XauthUser { name: USER.into(), password: Arc::new(Secret::copy_from(PASSWORD)) })
}

/// How B knows it.
pub fn users() -> RemoteAuth {
    let mut users = Users::default();
    users.add(USER.into(), Secret::copy_from(PASSWORD));
    RemoteAuth::Xauth(Arc::new(XauthUsers::new(None, Arc::new(users))))
}

/// After phase 1 A is asked for its user.
pub fn ask_for_user(connection: &mut Connection, side: Side) {
    match side {
        A => connection.local_more = vec![LocalRound { identity: connection.local_identity.clone(), auth: user() }],
        B => connection.remote_more = vec![RemoteRound { identity: None, auth: users() }],
    }
}

/// B gives A an address: where A asks for one with `pull`, and by itself without.
pub fn give_address(connection: &mut Connection, side: Side, pull: bool) {
    connection.pull = pull;
    let child = &mut connection.children[0];
    match side {
        A => {
            connection.virtual_addresses = vec!["0.0.0.0".parse().unwrap()];
            child.local_selectors = vec!["0.0.0.0/0".parse().unwrap()];
            child.local_dynamic = true;
        }
        B => {
            connection.pools = vec![Arc::new(Pool {
                name: "v4".into(),
                addresses: "10.3.0.0/24".parse().unwrap(),
                dns: vec!["10.2.0.53".parse().unwrap()],
                networks: vec!["10.2.0.0/16".parse().unwrap()],
            })];
            child.remote_selectors = vec!["10.3.0.0/24".parse().unwrap()];
            child.remote_dynamic = true;
        }
    }
}
