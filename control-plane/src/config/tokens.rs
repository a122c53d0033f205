//! Private keys: in a file, or in a token, as `key = "pkcs11:token=...;object=...?module-path=...&pin-source=file:..."` (RFC 7512) says.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use ike::provider::SigningKey;
use ike_crypto::{PrivateKeyFile, TokenKey, TokenUri, UriError, schemes};
use ipsec_types::{Secret, SignatureScheme};

use super::authentication::Files;
use super::secrets;
use super::section::{Found, Section};

/// A private key, wherever it is.
#[derive(Debug, Clone)]
pub(super) struct OwnKey {
    pub(super) key: Arc<dyn SigningKey>,
    /// SubjectPublicKeyInfo, DER.
    pub(super) public_key: Vec<u8>,
    /// What it signs by, in order of preference.
    pub(super) schemes: Vec<SignatureScheme>,
}

/// What URIs have led to. A token is asked once, however many connections name its key: it counts wrong PINs, and may be slow.
#[derive(Debug, Default)]
pub(super) struct Tokens(RefCell<BTreeMap<String, Result<OwnKey, Trouble>>>);

/// Problem and remedy.
type Trouble = (String, String);

/// The private key that `key` names.
pub(super) fn private_key(section: &Section<'_>, files: Files<'_>, name: &Found<&str>) -> Option<OwnKey> {
    let read = || if name.value.starts_with("pkcs11:") { in_token(files, name.value) } else { in_file(files, name.value) };
    read().map_err(|(problem, remedy)| section.fault_at(name, problem, remedy)).ok()
}

fn in_file(files: Files<'_>, name: &str) -> Result<OwnKey, Trouble> {
    let text =
        secrets::read_private(&files.path(name)).map_err(|fault| (format!("{}: {}", fault.file.display(), fault.problem), fault.remedy))?;
    let key = PrivateKeyFile::from_pem(text.as_bytes())
        .map_err(|error| (format!("'{name}': {error}"), "name a PEM file with a private key that is not encrypted".to_owned()))?;
    Ok(OwnKey { public_key: key.public_key().to_vec(), schemes: schemes(key.kind()).to_vec(), key: Arc::new(key) })
}

fn in_token(files: Files<'_>, name: &str) -> Result<OwnKey, Trouble> {
    if let Some(known) = files.tokens.0.borrow().get(name) {
        return known.clone();
    }
    let found = open(files, name);
    files.tokens.0.borrow_mut().insert(name.to_owned(), found.clone());
    found
}

fn open(files: Files<'_>, name: &str) -> Result<OwnKey, Trouble> {
    let uri: TokenUri = name.parse().map_err(|error: UriError| (error.to_string(), error.remedy().to_owned()))?;
    let pin = uri.pin_source.as_ref().map(|source| pin(files, &source.0.to_string_lossy())).transpose()?;
    let key = TokenKey::open(uri, pin).map_err(|error| (error.to_string(), error.remedy().to_owned()))?;
    Ok(OwnKey { public_key: key.public_key().to_vec(), schemes: key.schemes().to_vec(), key: Arc::new(key) })
}

/// A PIN is the file's text up to its line feed.
fn pin(files: Files<'_>, name: &str) -> Result<Secret, Trouble> {
    let path = files.path(name);
    let about = |problem: &str| format!("pin-source {}: {problem}", path.display());
    let text = secrets::read_private(&path).map_err(|fault| (about(&fault.problem), fault.remedy))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err((about("there is no PIN in it"), "write the token's PIN into it".to_owned())),
        pin => Ok(Secret::copy_from(pin.as_bytes())),
    }
}
