//! Why a key in a token cannot be used, and what to do.

use cryptoki::error::{Error, RvError};

/// Why a key in a token cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The module cannot be loaded.
    #[error("the PKCS #11 module cannot be loaded: {0}")]
    NotLoaded(String),
    /// The module refuses something.
    #[error("the PKCS #11 module fails: {0}")]
    Module(String),
    /// No token is there of which the URI speaks; the labels of those that are.
    #[error("no such token is there; {}", others(.0))]
    NoToken(Vec<String>),
    /// Several are.
    #[error("{0} tokens are so, and it has to be one")]
    SeveralTokens(usize),
    /// The URI does not say where the PIN is.
    #[error("the token wants a PIN")]
    NoPin,
    /// The PIN is not the token's. It is not tried again.
    #[error("the token refuses the PIN")]
    WrongPin,
    /// One more wrong PIN locks the token, which is no risk to be taken unasked.
    #[error("wrong PINs have left the token a single try, which is not taken here")]
    LastTry,
    /// After too many wrong PINs.
    #[error("the token has locked its PIN, as after too many wrong ones")]
    Locked,
    /// The token has no user's PIN yet, or one that has to be changed.
    #[error("the token's PIN has not been set, or has expired")]
    PinNotSet,
    /// No private key is there of which the URI speaks.
    #[error("no private key in the token is so")]
    NoKey,
    /// Several are.
    #[error("{0} private keys in the token are so, and it has to be one")]
    SeveralKeys(usize),
    /// Which a certificate could be compared with.
    #[error("neither a public key nor a certificate in the token has the id of the private key")]
    NoPublicKey,
    /// Of another kind, or RSA of fewer than 2048 or more than 8192 bits.
    #[error("the token's key is no RSA key of 2048 to 8192 bits, no ECDSA key on P-256, P-384 or P-521, and no Ed25519 key")]
    Unsupported,
    /// CKA_ALWAYS_AUTHENTICATE.
    #[error("the key wants the PIN for each signature, which is not done")]
    AlwaysAuthenticate,
    /// Since the configuration was read.
    #[error("the key in the token is another one than before")]
    AnotherKey,
    /// The token did not answer in time.
    #[error("the token does not answer")]
    Silent,
    /// No thread can be had for it.
    #[error("no thread can be started for the token: {0}")]
    Thread(String),
}

impl TokenError {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::NotLoaded(_) => "write the path of the token's PKCS #11 library as module-path, and install it",
            Self::Module(_) => {
                "check the token with the tools that came with the module; some modules want this process to be started anew"
            }
            Self::NoToken(_) => {
                "put the token in, or correct token, serial, manufacturer or model in the URI; some modules find new tokens only when this process is started anew"
            }
            Self::SeveralTokens(_) => "name one of them by token or serial in the URI",
            Self::NoPin => "add ?pin-source=file:FILE to the URI, a file with the PIN that nobody else may read",
            Self::WrongPin => {
                "correct the PIN in the file of pin-source before you try again: each wrong one counts, and after a few the token locks itself"
            }
            Self::LastTry => "log in once with the right PIN by another tool, which gives the token all its tries back",
            Self::Locked => "unlock it with the security officer's PIN",
            Self::PinNotSet => "set it with the token's own tool",
            Self::NoKey => "correct object or id in the URI",
            Self::SeveralKeys(_) => "name one of them by object or id in the URI",
            Self::NoPublicKey => "store the public key, or the certificate, under the private key's id",
            Self::Unsupported => "use a key of such a kind",
            Self::AlwaysAuthenticate => "use a key that is not so protected",
            Self::AnotherKey => "have the configuration read anew: culvert reload",
            Self::Silent => "check that the token is there and its reader works, then have the configuration read anew: culvert reload",
            Self::Thread(_) => "let this process have more threads",
        }
    }
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        match error {
            Error::LibraryLoading(error) => Self::NotLoaded(error.to_string()),
            Error::MissingSymbol(_) => Self::NotLoaded(error.to_string()),
            // These are about the PIN of a login alone.
            Error::Pkcs11(RvError::PinIncorrect | RvError::PinLenRange | RvError::PinInvalid, _) => Self::WrongPin,
            Error::Pkcs11(RvError::PinLocked, _) => Self::Locked,
            Error::Pkcs11(RvError::PinExpired | RvError::UserPinNotInitialized, _) => Self::PinNotSet,
            // Its own texts are paragraphs of the standard.
            Error::Pkcs11(value, function) => Self::Module(format!("C_{function:?} says {value:?}")),
            error => Self::Module(error.to_string()),
        }
    }
}

fn others(labels: &[String]) -> String {
    if labels.is_empty() { "there is none at all".to_owned() } else { format!("there is '{}'", labels.join("', '")) }
}
