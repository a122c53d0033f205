//! What ways to show who the two sides are IKEv1 has a method for: it negotiates one for both (RFC 2409 section 5).

use super::{Credential, LocalAuth, RemoteAuth};

/// How the sides of a connection of IKEv1 show who they are.
#[derive(Debug, Clone, Copy)]
pub enum MethodV1<'a> {
    /// Both have a key in common; after that one may show a user by XAuth.
    SharedKey {
        /// Whose user.
        user: Option<Whose>,
    },
    /// Both sign; after that one may show a user by XAuth.
    Signatures {
        /// What this side signs with.
        own: &'a Credential,
        /// Whose user.
        user: Option<Whose>,
    },
    /// One signs, the other shows a user by XAuth and nothing else.
    Hybrid {
        /// What this side signs with; `None` where the user is its own.
        own: Option<&'a Credential>,
    },
}

/// Of which side something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// This side's.
    Ours,
    /// The peer's.
    Theirs,
}

impl<'a> MethodV1<'a> {
    /// The one of these rounds of authentication, ours and the peer's; `None` where there is none. Which keys sign in it is another question.
    pub fn of(local: &[&'a LocalAuth], remote: &[&'a RemoteAuth]) -> Option<Self> {
        use {LocalAuth as Local, RemoteAuth as Remote};
        Some(match (local, remote) {
            ([Local::Psk], [Remote::Psk]) => Self::SharedKey { user: None },
            ([Local::Psk, Local::Xauth(_)], [Remote::Psk]) => Self::SharedKey { user: Some(Whose::Ours) },
            ([Local::Psk], [Remote::Psk, Remote::Xauth(_)]) => Self::SharedKey { user: Some(Whose::Theirs) },
            ([Local::PublicKey(own)], [Remote::PublicKey(_)]) => Self::Signatures { own, user: None },
            ([Local::PublicKey(own), Local::Xauth(_)], [Remote::PublicKey(_)]) => Self::Signatures { own, user: Some(Whose::Ours) },
            ([Local::PublicKey(own)], [Remote::PublicKey(_), Remote::Xauth(_)]) => Self::Signatures { own, user: Some(Whose::Theirs) },
            ([Local::Xauth(_)], [Remote::PublicKey(_)]) => Self::Hybrid { own: None },
            ([Local::PublicKey(own)], [Remote::Xauth(_)]) => Self::Hybrid { own: Some(own) },
            _ => return None,
        })
    }
}
