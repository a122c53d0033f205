//! A session with a token, logged in, and the key in it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::MechanismType;
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use ipsec_types::{Secret, SignatureScheme};

use super::mechanism::mechanism;
use super::public::PublicKey;
use super::{TokenError, TokenUri};
use crate::signing;

pub(super) struct Opened {
    // It ends before the use of its module does.
    session: Session,
    _used: Module,
    key: ObjectHandle,
    mechanisms: Vec<MechanismType>,
    pub(super) public_key: PublicKey,
    /// What key and token can do, in order of preference.
    pub(super) schemes: Vec<SignatureScheme>,
}

impl Opened {
    pub(super) fn new(uri: &TokenUri, pin: Option<&Secret>) -> Result<Self, TokenError> {
        let used = Module::of(&uri.module)?;
        let module = &used.module;
        let (slot, token) = match find_token(module, uri) {
            Err(TokenError::NoToken(_) | TokenError::Module(_)) if used.begin_anew()? => find_token(module, uri)?,
            found => found?,
        };
        let session = module.open_ro_session(slot)?;
        if token.login_required() {
            login(&session, &uri.module, &token, pin)?;
        }
        let key = find_key(&session, uri)?;
        let public_key = PublicKey::of(&session, key)?;
        let mechanisms = module.get_mechanism_list(slot)?;
        let can = |scheme: &SignatureScheme| mechanism(*scheme, &mechanisms).is_some();
        let schemes = signing::schemes(public_key.kind).iter().copied().filter(can).collect();
        Ok(Self { session, _used: used, key, mechanisms, public_key, schemes })
    }

    pub(super) fn sign(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (mechanism, input) = mechanism(scheme, &self.mechanisms).ok_or(TokenError::Unsupported)?;
        Ok(self.session.sign(&mechanism, self.key, &input.of(message))?)
    }
}

/// A module is loaded once in the life of the process, whatever its path is called.
struct Loaded {
    path: PathBuf,
    module: Pkcs11,
    users: Arc<()>,
}

static MODULES: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

/// A use of a module, counted.
struct Module {
    module: Pkcs11,
    users: Arc<()>,
}

impl Module {
    fn of(path: &Path) -> Result<Self, TokenError> {
        let mut modules = lock(&MODULES);
        // Whatever is wrong with the path, the loader says it better.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        if let Some(Loaded { module, users, .. }) = modules.iter().find(|loaded| loaded.path == path) {
            return Ok(Self { module: module.clone(), users: users.clone() });
        }
        let module = Pkcs11::new(&path)?;
        initialize(&module)?;
        let users = Arc::new(());
        modules.push(Loaded { path, module: module.clone(), users: users.clone() });
        Ok(Self { module, users })
    }

    /// Lets the module look for tokens anew, which some do but then. That ends all its sessions: only where nobody else has one.
    fn begin_anew(&self) -> Result<bool, TokenError> {
        let _modules = lock(&MODULES);
        let is_alone = Arc::strong_count(&self.users) == 2;
        if is_alone {
            match self.module.clone().finalize() {
                // As after a beginning that failed.
                Ok(()) | Err(Error::Pkcs11(RvError::CryptokiNotInitialized, _)) => initialize(&self.module)?,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(is_alone)
    }
}

fn initialize(module: &Pkcs11) -> Result<(), TokenError> {
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn find_token(module: &Pkcs11, uri: &TokenUri) -> Result<(Slot, TokenInfo), TokenError> {
    let (mut found, mut others) = (Vec::new(), Vec::new());
    for slot in module.get_slots_with_token()? {
        // One that is being taken out is none.
        let Ok(token) = module.get_token_info(slot) else { continue };
        let is = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|wanted| wanted == text.trim_end());
        let named = is(&uri.token, token.label()) && is(&uri.serial, token.serial_number());
        if !token.token_initialized() {
            continue;
        } else if named && is(&uri.manufacturer, token.manufacturer_id()) && is(&uri.model, token.model()) {
            found.push((slot, token));
        } else {
            others.push(token.label().trim_end().to_owned());
        }
    }
    others.sort();
    match found.len() {
        several @ 2.. => Err(TokenError::SeveralTokens(several)),
        _ => found.pop().ok_or(TokenError::NoToken(others)),
    }
}

/// A login is the process's: another key of this token may have seen to it.
fn login(session: &Session, module: &Path, token: &TokenInfo, pin: Option<&Secret>) -> Result<(), TokenError> {
    let pin = pin.ok_or(TokenError::NoPin)?;
    let refused = refused(module, token);
    // Held meanwhile, so that not each of a token's keys tries a PIN that is wrong.
    let mut refused = lock(&refused);
    if let SessionState::RoUser | SessionState::RwUser = session.get_session_info()?.session_state() {
        return Ok(());
    }
    if refused.contains(pin) {
        return Err(TokenError::WrongPin);
    }
    if token.user_pin_locked() {
        return Err(TokenError::Locked);
    }
    if token.user_pin_final_try() {
        return Err(TokenError::LastTry);
    }
    match session.login_with_raw(UserType::User, &RawAuthPin::new(Box::new(pin.expose().to_vec()))) {
        Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => Ok(()),
        Err(error) => Err(TokenError::from(error)).inspect_err(|error| {
            if *error == TokenError::WrongPin {
                refused.push(Secret::copy_from(pin.expose()));
            }
        }),
    }
}

/// PINs that a token has refused, so that none is tried twice.
fn refused(module: &Path, token: &TokenInfo) -> Arc<Mutex<Vec<Secret>>> {
    struct Refused {
        module: PathBuf,
        token: [String; 2],
        pins: Arc<Mutex<Vec<Secret>>>,
    }
    static REFUSED: Mutex<Vec<Refused>> = Mutex::new(Vec::new());

    let token = [token.label().to_owned(), token.serial_number().to_owned()];
    let mut tokens = lock(&REFUSED);
    if let Some(known) = tokens.iter().find(|known| known.module == module && known.token == token) {
        return known.pins.clone();
    }
    let pins = Arc::default();
    tokens.push(Refused { module: module.to_owned(), token, pins: Arc::clone(&pins) });
    pins
}

fn find_key(session: &Session, uri: &TokenUri) -> Result<ObjectHandle, TokenError> {
    let label = uri.object.as_ref().map(|label| Attribute::Label(label.clone().into_bytes()));
    let id = uri.id.as_ref().map(|id| Attribute::Id(id.clone()));
    let template: Vec<Attribute> = [Attribute::Class(ObjectClass::PRIVATE_KEY)].into_iter().chain(label).chain(id).collect();
    let key = match session.find_objects(&template)?.as_slice() {
        [] => return Err(TokenError::NoKey),
        [key] => *key,
        found => return Err(TokenError::SeveralKeys(found.len())),
    };
    let always = session.get_attributes(key, &[AttributeType::AlwaysAuthenticate])?;
    if always.contains(&Attribute::AlwaysAuthenticate(true)) { Err(TokenError::AlwaysAuthenticate) } else { Ok(key) }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
