//! EAP methods (RFC 3748): TLS (RFC 5216) by certificates; by password MSCHAPv2, and for old peers MD5-Challenge and Generic Token Card.

mod client;
mod gtc;
mod md5;
mod mschapv2;
mod server;
mod tls;

use std::sync::Arc;

use ike::error::Detail;
use ike::provider::{EapStep, EapType, PeerProof, PeerVerifier};
use ipsec_types::{Identity, Secret};
use zeroize::Zeroizing;

pub use client::EapClient;
pub use server::{EapIdentity, EapServer};
pub(crate) use server::{by_name, name_in};
pub use tls::{EapTlsClient, EapTlsServer};

/// A method by password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PasswordMethod {
    /// MSCHAPv2 (RFC 2759 in draft-kamath-pppext-eap-mschapv2): both sides show that they know the password, and have a key.
    Mschapv2,
    /// MD5-Challenge (RFC 3748 section 5.4): the peer alone shows it, there is no key.
    Md5,
    /// Generic Token Card (section 5.6): the peer sends the password as it is, there is no key.
    Gtc,
}

/// EAP users and their passwords. `Debug` shows the names alone.
#[derive(Debug, Default)]
pub struct Users(Vec<(String, Arc<Secret>)>);

impl PasswordMethod {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Mschapv2, Self::Md5, Self::Gtc];

    /// As the configuration writes it.
    #[must_use]
    pub const fn keyword(self) -> &'static str {
        match self {
            Self::Mschapv2 => "eap-mschapv2",
            Self::Md5 => "eap-md5",
            Self::Gtc => "eap-gtc",
        }
    }

    const fn kind(self) -> EapType {
        match self {
            Self::Mschapv2 => EapType::MSCHAPV2,
            Self::Md5 => EapType::MD5_CHALLENGE,
            Self::Gtc => EapType::GTC,
        }
    }
}

impl Users {
    /// Adds one; of two with the same name the first counts.
    pub fn add(&mut self, name: String, password: Secret) {
        self.0.push((name, Arc::new(password)));
    }

    /// The password of a user.
    #[must_use]
    pub fn password(&self, name: &str) -> Option<Arc<Secret>> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, password)| Arc::clone(password))
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The EAP user that an identity of IKE stands for: its octets where they are text.
#[must_use]
pub fn user_of(identity: &Identity) -> String {
    match identity {
        Identity::Fqdn(name) | Identity::Rfc822(name) => name.clone(),
        Identity::KeyId(octets) => String::from_utf8(octets.clone()).unwrap_or_else(|_| identity.to_string()),
        other => other.to_string(),
    }
}

/// The peer's side of a method, between the choice of the method and Success.
trait ClientMethod: Send {
    /// Answers a Request's Type-Data.
    ///
    /// # Errors
    /// Why it goes no further.
    fn answer(&mut self, identifier: u8, data: &[u8]) -> Result<Reply, Why>;

    /// Goes on after [`Reply::Verify`].
    ///
    /// # Errors
    /// The same.
    fn verified(&mut self) -> Result<Reply, Why> {
        Err("nothing was to be verified".into())
    }

    /// Goes on where others have something against what was to be verified, and tells the server if it can.
    ///
    /// # Errors
    /// `why`, if it cannot.
    fn distrusted(&mut self, why: Why) -> Result<Reply, Why> {
        Err(why)
    }

    /// What it knows of the reason for Failure.
    fn refused(&mut self) -> Option<Why> {
        None
    }

    /// Whether Success may come now, and the MSK of methods that make one.
    fn finish(&mut self) -> Option<Option<Secret>>;
}

/// The authenticator's side of a method.
trait ServerMethod: Send {
    /// The first Request's Type-Data.
    fn begin(&mut self) -> Vec<u8>;

    /// A Response's Type-Data has come.
    fn hear(&mut self, identifier: u8, data: &[u8]) -> Verdict;

    /// Goes on after [`Verdict::Verify`].
    fn verified(&mut self) -> Verdict {
        Verdict::Refuse("nothing was to be verified".into())
    }

    /// Goes on where others have something against what was to be verified, and tells the peer if it can.
    fn distrusted(&mut self, why: Why) -> Verdict {
        Verdict::Refuse(why)
    }
}

enum Reply {
    /// The Response's Type-Data, which may be a password.
    Say(Zeroizing<Vec<u8>>),
    /// Others have to be asked about the server's certificate first.
    Verify(Open),
}

/// A certificate that is believed but for what others know of revocations.
struct Open {
    verifier: Arc<dyn PeerVerifier>,
    proof: Box<PeerProof>,
}

impl From<Open> for EapStep {
    fn from(Open { verifier, proof }: Open) -> Self {
        Self::Verify { verifier, proof }
    }
}

/// Why it goes no further.
enum Why {
    /// In words.
    Said(String),
    /// With both sides and a remedy.
    Explained(Box<Detail>),
}

impl From<String> for Why {
    fn from(words: String) -> Self {
        Self::Said(words)
    }
}

impl From<&str> for Why {
    fn from(words: &str) -> Self {
        Self::Said(words.to_owned())
    }
}

enum Verdict {
    /// The next Request's Type-Data.
    Ask(Vec<u8>),
    /// Others have to be asked about the peer's certificate first.
    Verify(Open),
    /// The peer has shown who it is; the MSK of methods that make one.
    Accept(Option<Secret>),
    /// It has not.
    Refuse(Why),
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    ike::provider::Random::fill(&mut crate::SystemRandom, &mut octets);
    octets
}

/// In constant time.
pub(crate) fn same(a: &[u8], b: &[u8]) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a, b).is_ok()
}

pub(crate) fn detail(summary: String, ours: String, remedy: &str) -> Box<Detail> {
    Box::new(Detail { summary, ours, remedy: remedy.to_owned(), ..Detail::default() })
}

impl Why {
    /// `ours` is what is configured here; `remedy` is for what says none itself.
    fn explain(self, ours: String, remedy: &str) -> Box<Detail> {
        match self {
            Self::Said(summary) => detail(summary, ours, remedy),
            Self::Explained(detail) if detail.ours.is_empty() => Box::new(Detail { ours, ..*detail }),
            Self::Explained(detail) => detail,
        }
    }
}

#[cfg(test)]
mod tests;
