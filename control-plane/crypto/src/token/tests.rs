//! Keys in SoftHSM. What they sign is checked by OpenSSL, with the key that made it into the token.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{env, fs, process};

use cryptoki::context::Pkcs11;
use cryptoki::session::Session;
use ipsec_types::{HashAlgorithm, SignatureEncoding as E, SignatureScheme as S};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{RsaPssSaltlen, Verifier};

use super::*;
use crate::signing;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const PIN: &str = "123456";
const MESSAGE: &[u8] = b"InitiatorSignedOctets";

/// SoftHSM finds its tokens by the environment: each test is a process of its own, with a folder of its own, and more of SoftHSM's configuration.
fn with_token(test: &str, more: &str, body: impl FnOnce(&Path)) {
    const FOLDER: &str = "CULVERT_TOKEN_TEST";
    if let Some(folder) = env::var_os(FOLDER) {
        return body(Path::new(&folder));
    }
    if !Path::new(MODULE).exists() {
        println!("skipped: {MODULE} is missing; scripts/setup test installs softhsm2");
        return;
    }
    let folder = env::temp_dir().join(format!("culvert-token-{}-{test}", process::id()));
    let (tokens, config) = (folder.join("tokens"), folder.join("softhsm2.conf"));
    fs::create_dir_all(&tokens).unwrap();
    fs::write(&config, format!("directories.tokendir = {}\nlog.level = ERROR\n{more}\n", tokens.display())).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("token::tests::{test}"), "--nocapture"]);
    let run = command.env("SOFTHSM2_CONF", config).env(FOLDER, &folder).output().unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let output = format!("{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success() && output.contains("1 passed"), "{output}");
}

fn softhsm(arguments: &[&str]) {
    let output = Command::new("softhsm2-util").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn make_token(label: &str) {
    softhsm(&["--init-token", "--free", "--label", label, "--pin", PIN, "--so-pin", "654321"]);
}

fn import(folder: &Path, key: &PKey<Private>, label: &str, id: &str, more: &[&str]) {
    let file = folder.join("key.p8");
    fs::write(&file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    let arguments = ["--import", file.to_str().unwrap(), "--token", "My token", "--label", label, "--id", id, "--pin", PIN];
    softhsm(&[&arguments, more].concat());
    fs::remove_file(file).unwrap();
}

fn uri(attributes: &str) -> TokenUri {
    format!("pkcs11:{attributes}?module-path={MODULE}").parse().unwrap()
}

fn open_with(attributes: &str, pin: &str) -> Result<TokenKey, TokenError> {
    TokenKey::open(uri(attributes), Some(Secret::copy_from(pin.as_bytes())))
}

fn open(attributes: &str) -> Result<TokenKey, TokenError> {
    open_with(attributes, PIN)
}

fn on(curve: Nid) -> PKey<Private> {
    PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(curve).unwrap()).unwrap()).unwrap()
}

fn p256() -> PKey<Private> {
    on(Nid::X9_62_PRIME256V1)
}

fn rsa(bits: u32) -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap()
}

fn is_right(key: &PKey<Private>, scheme: S, signature: &[u8]) -> bool {
    let digest = match scheme.hash() {
        HashAlgorithm::Sha1 => MessageDigest::sha1(),
        HashAlgorithm::Sha256 => MessageDigest::sha256(),
        HashAlgorithm::Sha384 => MessageDigest::sha384(),
        HashAlgorithm::Sha512 => MessageDigest::sha512(),
        HashAlgorithm::Identity => return Verifier::new_without_digest(key).unwrap().verify_oneshot(signature, MESSAGE).unwrap(),
    };
    let mut verifier = Verifier::new(digest, key).unwrap();
    if let S::RsaPssSha256 | S::RsaPssSha384 | S::RsaPssSha512 = scheme {
        verifier.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
        verifier.set_rsa_pss_saltlen(RsaPssSaltlen::DIGEST_LENGTH).unwrap();
    }
    verifier.verify_oneshot(signature, MESSAGE).unwrap_or(false)
}

fn signs(opened: &TokenKey, key: &PKey<Private>) -> bool {
    opened.sign(S::EcdsaSha256, E::Der, MESSAGE).is_ok_and(|signature| is_right(key, S::EcdsaSha256, &signature))
}

/// Everything that a key can do here.
fn signs_by_all(opened: &TokenKey, key: &PKey<Private>) {
    assert_eq!(opened.public_key(), key.public_key_to_der().unwrap());
    assert_eq!(opened.schemes(), signing::schemes(opened.kind()));
    for &scheme in opened.schemes() {
        assert!(is_right(key, scheme, &opened.sign(scheme, E::Der, MESSAGE).unwrap()), "{scheme}");
        assert!(!is_right(key, scheme, &opened.sign(scheme, E::Der, b"another message").unwrap()), "{scheme}");
    }
}

#[test]
fn keys_of_every_kind_sign_in_the_token() {
    with_token("keys_of_every_kind_sign_in_the_token", "", |folder| {
        make_token("My token");
        let kinds = [
            (KeyKind::Rsa, rsa(2048)),
            (KeyKind::EcdsaP256, p256()),
            (KeyKind::EcdsaP384, on(Nid::SECP384R1)),
            (KeyKind::EcdsaP521, on(Nid::SECP521R1)),
            (KeyKind::Ed25519, PKey::generate_ed25519().unwrap()),
        ];
        for (number, (kind, key)) in kinds.iter().enumerate() {
            import(folder, key, &format!("key {number}"), &format!("0{number}"), &[]);
            let opened = open(&format!("token=My%20token;object=key%20{number};id=%0{number};type=private")).unwrap();
            assert_eq!(opened.kind(), *kind);
            signs_by_all(&opened, key);
            let not_its_own = if *kind == KeyKind::Rsa { S::Ed25519 } else { S::RsaSha256 };
            assert_eq!(opened.sign(not_its_own, E::Der, MESSAGE), Err(CryptoError::Unavailable));
        }
        // AUTH methods 9 to 11 have the two numbers one after the other (RFC 4754 section 7).
        let (key, opened) = (&kinds[3].1, open("token=My%20token;id=%03").unwrap());
        let fixed = opened.sign(S::EcdsaSha512, E::Fixed, MESSAGE).unwrap();
        assert_eq!(fixed.len(), 132);
        let [r, s] = [&fixed[..66], &fixed[66..]].map(|number| BigNum::from_slice(number).unwrap());
        assert!(is_right(key, S::EcdsaSha512, &EcdsaSig::from_private_components(r, s).unwrap().to_der().unwrap()));
        assert_eq!(format!("{opened:?}"), "TokenKey(ECDSA P-521 in the token 'My token')");
        // IKEv1 signs a hash that is there already.
        let hash = [9; 64];
        let bare = opened.sign(S::EcdsaBare, E::Fixed, &hash).unwrap();
        let [r, s] = [&bare[..66], &bare[66..]].map(|number| BigNum::from_slice(number).unwrap());
        assert!(EcdsaSig::from_private_components(r, s).unwrap().verify(&hash, &key.ec_key().unwrap()).unwrap());
        let (key, opened) = (kinds[0].1.rsa().unwrap(), open("token=My%20token;id=%00").unwrap());
        let (bare, mut found) = (opened.sign(S::RsaBare, E::Fixed, &hash).unwrap(), [0; 256]);
        let length = key.public_decrypt(&bare, &mut found, Padding::PKCS1).unwrap();
        assert_eq!(&found[..length], hash);
    });
}

#[test]
fn a_token_that_wants_to_hash_itself_does() {
    // The first name after the minus sign is not understood.
    const FEWER: &str = "slots.mechanisms = -CKM_MD5,CKM_RSA_PKCS,CKM_RSA_PKCS_PSS,CKM_SHA512_RSA_PKCS";
    with_token("a_token_that_wants_to_hash_itself_does", FEWER, |folder| {
        make_token("My token");
        let key = rsa(2048);
        import(folder, &key, "gw", "01", &[]);
        let opened = open("object=gw").unwrap();
        // What is left is what it can do.
        assert!(!opened.schemes().contains(&S::RsaSha512));
        for scheme in [S::RsaSha256, S::RsaSha384, S::RsaPssSha256, S::RsaPssSha384, S::RsaPssSha512] {
            assert!(is_right(&key, scheme, &opened.sign(scheme, E::Der, MESSAGE).unwrap()), "{scheme}");
        }
        assert_eq!(opened.sign(S::RsaSha512, E::Der, MESSAGE), Err(CryptoError::Unavailable));
    });
}

#[test]
fn a_module_and_a_token_that_are_not_there_are_named() {
    with_token("a_module_and_a_token_that_are_not_there_are_named", "", |_| {
        let by = |module: &str| TokenKey::open(TokenUri { module: module.into(), ..uri("token=My%20token") }, None).unwrap_err();
        for (module, says) in [("/nowhere/p11.so", "No such file"), ("/lib/x86_64-linux-gnu/libm.so.6", "C_GetFunctionList")] {
            let error = by(module);
            assert!(matches!(error, TokenError::NotLoaded(_)) && error.to_string().contains(says), "{error}");
        }
        assert_eq!(by(MODULE).to_string(), "no such token is there; there is none at all");
    });
}

#[test]
fn what_a_token_has_not_is_named() {
    with_token("what_a_token_has_not_is_named", "", |folder| {
        make_token("another");
        make_token("My token");
        for (key, label, id) in
            [(p256(), "gw", "01"), (p256(), "gw", "02"), (rsa(1024), "weak", "03"), (on(Nid::SECP256K1), "foreign", "04")]
        {
            import(folder, &key, label, id, &[]);
        }
        import(folder, &p256(), "lonely", "05", &["--no-public-key"]);
        let whole = rsa(2048);
        import(folder, &whole, "whole", "06", &["--no-public-key"]);
        let error = |attributes: &str| open(attributes).unwrap_err();
        assert_eq!(error("token=a%20third"), TokenError::NoToken(vec!["My token".to_owned(), "another".to_owned()]));
        for no_token in ["serial=0", "model=1", "manufacturer=a"] {
            assert!(matches!(error(&format!("token=My%20token;{no_token}")), TokenError::NoToken(_)), "{no_token}");
        }
        assert_eq!(error("object=gw"), TokenError::SeveralTokens(2));
        assert_eq!(TokenKey::open(uri("token=My%20token;object=gw"), None).unwrap_err(), TokenError::NoPin);
        for (attributes, expected) in [
            ("object=none", TokenError::NoKey),
            ("id=%07", TokenError::NoKey),
            ("object=gw", TokenError::SeveralKeys(2)),
            ("object=weak", TokenError::Unsupported),
            ("object=foreign", TokenError::Unsupported),
            ("object=lonely", TokenError::NoPublicKey),
        ] {
            assert_eq!(error(&format!("token=My%20token;{attributes}")), expected, "{attributes}");
        }
        assert!(open("token=My%20token;model=SoftHSM%20v2;manufacturer=SoftHSM%20project;object=gw;id=%02").is_ok());
        signs_by_all(&open("token=My%20token;object=whole").unwrap(), &whole);
    });
}

/// Another user of the token in this process: a login is the process's.
fn beside() -> (Pkcs11, Session) {
    let module = Pkcs11::new(MODULE).unwrap();
    let slot = module.get_slots_with_token().unwrap()[0];
    let session = module.open_ro_session(slot).unwrap();
    (module, session)
}

#[test]
fn a_pin_that_was_refused_is_not_tried_again() {
    with_token("a_pin_that_was_refused_is_not_tried_again", "", |folder| {
        make_token("My token");
        import(folder, &p256(), "gw", "01", &[]);
        assert_eq!(open_with("object=gw", "000000").unwrap_err(), TokenError::WrongPin);
        let (module, session) = beside();
        let count_is_low = || module.get_token_info(module.get_slots_with_token().unwrap()[0]).unwrap().user_pin_count_low();
        assert!(count_is_low(), "SoftHSM counts");
        drop(open("object=gw").unwrap());
        assert!(!count_is_low());
        // The key's thread ends, and with its session the login.
        session.logout().unwrap();
        for attributes in ["object=gw", "id=%01"] {
            assert_eq!(open_with(attributes, "000000").unwrap_err(), TokenError::WrongPin);
            assert!(!count_is_low(), "it was tried again");
        }
        assert_eq!(open_with("object=gw", "000001").unwrap_err(), TokenError::WrongPin);
        assert!(count_is_low());
    });
}

#[test]
fn a_lost_login_is_made_good() {
    with_token("a_lost_login_is_made_good", "", |folder| {
        make_token("My token");
        let key = p256();
        import(folder, &key, "gw", "01", &[]);
        let opened = [open("object=gw").unwrap(), open("id=%01").unwrap()];
        let (_module, session) = beside();
        for opened in &opened {
            assert!(signs(opened, &key));
            session.logout().unwrap();
            assert!(signs(opened, &key));
        }
        assert!(opened.iter().all(|opened| signs(opened, &key)));
    });
}

#[test]
fn a_token_that_was_taken_out_is_named_and_comes_back() {
    with_token("a_token_that_was_taken_out_is_named_and_comes_back", "", |folder| {
        make_token("My token");
        let key = p256();
        import(folder, &key, "gw", "01", &[]);
        let opened = [open("token=My%20token;object=gw").unwrap(), open("id=%01").unwrap()];
        assert!(signs(&opened[0], &key));
        let (there, away) = (folder.join("tokens"), folder.join("away"));
        fs::rename(&there, &away).unwrap();
        let errors = [0, 1].map(|number: usize| opened[number].sign(S::EcdsaSha256, E::Der, MESSAGE).unwrap_err().to_string());
        assert!(
            errors[0].starts_with("the token 'My token': no such token is there; there is none at all; put the token in"),
            "{errors:?}"
        );
        fs::rename(&away, &there).unwrap();
        // SoftHSM looks for it when it is initialised anew, for which nobody may have a session.
        assert!(opened.iter().all(|opened| signs(opened, &key)));
    });
}

#[test]
fn another_key_of_the_same_name_does_not_sign() {
    with_token("another_key_of_the_same_name_does_not_sign", "", |folder| {
        make_token("My token");
        import(folder, &p256(), "gw", "01", &[]);
        let opened = open("object=gw").unwrap();
        let (module, _) = beside();
        let session = module.open_rw_session(module.get_slots_with_token().unwrap()[0]).unwrap();
        for object in session.find_objects(&[]).unwrap() {
            session.destroy_object(object).unwrap();
        }
        assert_eq!(opened.signature(S::EcdsaSha256, MESSAGE), Err(TokenError::NoKey));
        let new = p256();
        import(folder, &new, "gw", "01", &[]);
        assert_eq!(opened.signature(S::EcdsaSha256, MESSAGE), Err(TokenError::AnotherKey));
        // As when the configuration is read anew.
        assert!(signs(&open("object=gw").unwrap(), &new));
    });
}

/// Holds the locks by which processes take turns at SoftHSM's files, until it is ended.
struct Hold(Child);

impl Hold {
    fn of(folder: &Path) -> Self {
        const LOCK: &str = "import fcntl, pathlib, sys\n\
            files = [open(f, 'r+b') for f in pathlib.Path(sys.argv[1]).rglob('*') if f.is_file()]\n\
            [fcntl.lockf(f, fcntl.LOCK_EX) for f in files]\n\
            print(len(files), flush=True)\n\
            sys.stdin.read()";
        let mut command = Command::new("/usr/bin/python3");
        let mut child = command.args(["-c", LOCK]).arg(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_ne!(line.trim(), "0");
        Self(child)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_token_that_says_nothing_is_waited_for_once() {
    with_token("a_token_that_says_nothing_is_waited_for_once", "", |folder| {
        make_token("My token");
        let key = p256();
        import(folder, &key, "gw", "01", &[]);
        let mut opened = open("object=gw").unwrap();
        assert!(signs(&opened, &key));
        opened.patience = Duration::from_millis(100);
        let hold = Hold::of(&folder.join("tokens"));
        assert_eq!(opened.signature(S::EcdsaSha256, MESSAGE), Err(TokenError::Silent));
        // Now nobody waits any more.
        opened.patience = Duration::MAX;
        assert_eq!(opened.signature(S::EcdsaSha256, MESSAGE), Err(TokenError::Silent));
        drop(hold);
        // Until the thread is back from the module.
        while !signs(&opened, &key) {
            thread::sleep(Duration::from_millis(10));
        }
    });
}
