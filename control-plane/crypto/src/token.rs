//! Private keys in a PKCS #11 token, which sign there and never leave it. A URI names them (RFC 7512).
//!
//! A token may be slow, be taken out, or say nothing at all: each key has a thread that owns its session, and whoever wants a signature waits
//! for a bounded time.
//!
//! The module of a token is a library that is loaded into this process, and may start threads of its own: a process that wants to give up
//! privileges opens its keys before.

mod error;
mod mechanism;
mod public;
mod session;
#[cfg(test)]
mod tests;
mod uri;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ike::provider::{CryptoError, SigningKey};
use ipsec_types::{KeyKind, Secret, SignatureEncoding, SignatureScheme};

use crate::signing::bare_scheme;
use crate::x509;
use public::PublicKey;
use session::Opened;

pub use error::TokenError;
pub use uri::{PinSource, TokenUri, UriError};

/// How long anybody waits for a token. Cards take up to some seconds for a signature.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the end of a session is awaited.
const FAREWELL: Duration = Duration::from_secs(1);
/// Signatures that may wait for one key.
const QUEUE: usize = 16;

/// A private key in a token.
pub struct TokenKey {
    /// The token's name for people.
    name: String,
    public_key: PublicKey,
    schemes: Vec<SignatureScheme>,
    thread: Thread,
    /// Somebody has waited in vain, and the token has not answered since.
    silent: Arc<AtomicBool>,
    patience: Duration,
}

/// The one that owns the session.
struct Thread {
    /// None when it is to end.
    requests: Option<SyncSender<Request>>,
    handle: Option<JoinHandle<()>>,
    /// Is closed when the thread has done with the token.
    done: Mutex<Receiver<()>>,
}

struct Request {
    scheme: SignatureScheme,
    message: Vec<u8>,
    reply: SyncSender<Result<Vec<u8>, TokenError>>,
}

impl TokenKey {
    /// Loads the module, logs in with the PIN, and finds the key. Waits 20 s for the token at most. A PIN that a token has refused is not tried
    /// there again in the life of the process.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn open(uri: TokenUri, pin: Option<Secret>) -> Result<Self, TokenError> {
        let name = uri.token_name();
        let silent = Arc::new(AtomicBool::new(false));
        let (requests, asked) = sync_channel(QUEUE);
        let (opened, found) = sync_channel(1);
        let answered = silent.clone();
        let thread = Thread::start(requests, move || match Opened::new(&uri, pin.as_ref()) {
            Ok(first) => {
                let key = (first.public_key.clone(), first.schemes.clone());
                // Nobody is there any more if this took too long.
                if opened.send(Ok(key)).is_ok() {
                    serve(&uri, pin.as_ref(), first, &asked, &answered);
                }
            }
            Err(error) => drop(opened.send(Err(error))),
        })?;
        let (public_key, schemes) = found.recv_timeout(PATIENCE).unwrap_or(Err(TokenError::Silent))?;
        Ok(Self { name, public_key, schemes, thread, silent, patience: PATIENCE })
    }

    /// SubjectPublicKeyInfo, DER: what a certificate of this key has.
    #[must_use]
    pub fn public_key(&self) -> &[u8] {
        &self.public_key.info
    }

    /// What the token can do with the key, in order of preference.
    #[must_use]
    pub fn schemes(&self) -> &[SignatureScheme] {
        &self.schemes
    }

    /// A signature as the token makes it: ECDSA as two numbers of the curve's length.
    fn signature(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        if self.silent.load(Ordering::Relaxed) {
            return Err(TokenError::Silent);
        }
        let (reply, signed) = sync_channel(1);
        let request = Request { scheme, message: message.to_vec(), reply };
        let asked = self.thread.requests.as_ref().is_some_and(|thread| thread.try_send(request).is_ok());
        if !asked {
            return Err(TokenError::Silent);
        }
        signed.recv_timeout(self.patience).unwrap_or_else(|_| {
            self.silent.store(true, Ordering::Relaxed);
            Err(TokenError::Silent)
        })
    }
}

impl Thread {
    fn start(requests: SyncSender<Request>, work: impl FnOnce() + Send + 'static) -> Result<Self, TokenError> {
        let (working, done) = sync_channel::<()>(0);
        let work = move || {
            work();
            drop(working);
        };
        let handle = thread::Builder::new().name("token".to_owned()).spawn(work).map_err(|error| TokenError::Thread(error.to_string()))?;
        Ok(Self { requests: Some(requests), handle: Some(handle), done: Mutex::new(done) })
    }
}

/// A module does not bear it that the process ends, and unloads it, while a thread is in it. One that is silent is not waited for long.
impl Drop for Thread {
    fn drop(&mut self) {
        self.requests = None;
        let done = self.done.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let (Err(RecvTimeoutError::Disconnected), Some(handle)) = (done.recv_timeout(FAREWELL), self.handle.take()) {
            let _ = handle.join();
        }
    }
}

/// The key's thread: until nobody has the key any more.
fn serve(uri: &TokenUri, pin: Option<&Secret>, first: Opened, requests: &Receiver<Request>, silent: &AtomicBool) {
    let key = first.public_key.clone();
    let mut opened = Some(first);
    for Request { scheme, message, reply } in requests {
        let result = sign(uri, pin, &key, &mut opened, scheme, &message);
        silent.store(false, Ordering::Relaxed);
        // Who asked may have given up.
        let _ = reply.send(result);
    }
}

/// Signs. A session that fails, as of a token that was taken out, is replaced by a new one, once.
fn sign(
    uri: &TokenUri,
    pin: Option<&Secret>,
    key: &PublicKey,
    opened: &mut Option<Opened>,
    scheme: SignatureScheme,
    message: &[u8],
) -> Result<Vec<u8>, TokenError> {
    if let Some(Ok(signature)) = opened.as_ref().map(|opened| opened.sign(scheme, message)) {
        return Ok(signature);
    }
    // The session ends before another one begins: what is open counts as a login.
    *opened = None;
    let again = Opened::new(uri, pin)?;
    if again.public_key != *key {
        return Err(TokenError::AnotherKey);
    }
    let signature = again.sign(scheme, message)?;
    *opened = Some(again);
    Ok(signature)
}

impl SigningKey for TokenKey {
    fn kind(&self) -> KeyKind {
        self.public_key.kind
    }

    fn sign(&self, scheme: SignatureScheme, encoding: SignatureEncoding, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        // Whether the token can sign as IKEv1 wants it, it says itself.
        if !self.schemes.contains(&scheme) && bare_scheme(self.kind()) != Some(scheme) {
            return Err(CryptoError::Unavailable);
        }
        let told = |error: TokenError| CryptoError::Token(format!("{}: {error}; {}", self.name, error.remedy()));
        let signature = self.signature(scheme, message).map_err(told)?;
        match self.kind() {
            KeyKind::EcdsaP256 | KeyKind::EcdsaP384 | KeyKind::EcdsaP521 if encoding == SignatureEncoding::Der => {
                x509::to_der(&signature).ok_or(CryptoError::Unavailable)
            }
            _ => Ok(signature),
        }
    }

    fn waits(&self) -> bool {
        true
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenKey({} in {})", self.kind(), self.name)
    }
}
