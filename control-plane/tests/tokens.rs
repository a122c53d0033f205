//! Keys in SoftHSM, as `culvert-control --check` sees them: what is wrong is named with its field and a remedy.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Two connections with the key in the token.
const CONFIGURATION: &str = r#"
[connections.b]
remote_addrs = ["192.0.2.2"]
local = { certs = ["gw.crt"], key = "KEY", id = "gw.example" }
remote = { certs = ["gw.crt"] }
[connections.b.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
[connections.c]
remote_addrs = ["192.0.2.3"]
local = { key = "KEY", id = "gw.example" }
remote = { certs = ["gw.crt"] }
[connections.c.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.3.0.0/24"]
"#;

const KEY: &str = "pkcs11:token=gateways;object=gw;type=private?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=file:gw.pin";

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn with_softhsm(folder: &TempDir, program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("SOFTHSM2_CONF", folder.path().join("softhsm2.conf")).current_dir(folder.path());
    command
}

fn softhsm(folder: &TempDir, arguments: &str) {
    let output = with_softhsm(folder, "softhsm2-util").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
}

/// A token with the key of gw.crt, and another key.
fn folder() -> Option<TempDir> {
    if !Path::new(MODULE).exists() {
        println!("skipped: {MODULE} is missing; scripts/setup test installs softhsm2");
        return None;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("tokens")).unwrap();
    fs::write(path("softhsm2.conf"), format!("directories.tokendir = {}\nlog.level = ERROR\n", path("tokens").display())).unwrap();
    softhsm(&folder, "--init-token --free --label gateways --pin 123456 --so-pin 654321");
    let [key, other] = [(); 2].map(|()| KeyPair::generate().unwrap());
    for (key, label, id) in [(&key, "gw", "01"), (&other, "other", "02")] {
        write_private(&path("key.p8"), &key.serialize_pem());
        softhsm(&folder, &format!("--import key.p8 --token gateways --label {label} --id {id} --pin 123456"));
        fs::remove_file(path("key.p8")).unwrap();
    }
    fs::write(path("gw.crt"), CertificateParams::new(["gw.example".to_owned()]).unwrap().self_signed(&key).unwrap().pem()).unwrap();
    write_private(&path("gw.pin"), "123456\n");
    Some(folder)
}

fn check(folder: &TempDir, key: &str) -> Output {
    let file = folder.path().join("culvert.toml");
    fs::write(&file, CONFIGURATION.replace("KEY", key)).unwrap();
    with_softhsm(folder, env!("CARGO_BIN_EXE_culvert-control")).arg("--check").arg(&file).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_key_in_a_token_is_a_key() {
    let Some(folder) = folder() else { return };
    let output = check(&folder, KEY);
    assert!(output.status.success() && text(&output).contains("2 connections"), "{} {}", output.status, text(&output));
}

#[test]
fn what_is_wrong_with_a_key_in_a_token_is_named() {
    let Some(folder) = folder() else { return };
    write_private(&folder.path().join("wrong.pin"), "000000");
    write_private(&folder.path().join("empty.pin"), "\n");
    fs::write(folder.path().join("open.pin"), "123456").unwrap();
    fs::set_permissions(folder.path().join("open.pin"), fs::Permissions::from_mode(0o644)).unwrap();
    let module = "/usr/lib/softhsm/libsofthsm2.so";
    for (part, by, problem, remedy) in [
        (module, "/nowhere/p11.so", "the PKCS #11 module cannot be loaded: /nowhere/p11.so", "as module-path, and install it"),
        (module, "p11.so", "module-path is missing, or is no path from the root", "add for example ?module-path="),
        ("token=gateways", "token=gw", "no such token is there; there is 'gateways'", "correct token, serial, manufacturer or model"),
        ("gw.pin", "wrong.pin", "the token refuses the PIN", "before you try again: each wrong one counts"),
        ("gw.pin", "empty.pin", "empty.pin: there is no PIN in it", "write the token's PIN into it"),
        ("gw.pin", "open.pin", "open.pin: mode 644 lets others at the secrets", "run chmod 600"),
        ("gw.pin", "none.pin", "none.pin: cannot read this file", "check the path"),
        ("&pin-source=file:gw.pin", "", "the token wants a PIN", "add ?pin-source=file:FILE"),
        ("pin-source=file:gw.pin", "pin-value=123456", "the PIN stands there in the clear", "write pin-source=file:FILE instead"),
        ("object=gw", "object=none", "no private key in the token is so", "correct object or id"),
        ("object=gw", "object=other", "this is not the key of the first certificate in certs", "name the two that belong together"),
    ] {
        assert!(KEY.contains(part), "the table is out of date: {part}");
        let output = check(&folder, &KEY.replacen(part, by, 1));
        let text = text(&output);
        let line = text.lines().find(|line| line.contains("connections.b.local.key: ")).unwrap_or_else(|| panic!("{by}: {text}"));
        assert_eq!(output.status.code(), Some(1), "{by}: {text}");
        assert!(line.contains(problem) && line.contains(remedy), "{by}: {line}");
        assert!(!text.contains("pre-shared key"), "{text}");
        assert!(!text.contains("123456") && !text.contains("000000"), "{text}");
    }
}

#[test]
fn a_daemon_with_a_token_ends_in_peace() {
    let Some(folder) = folder() else { return };
    let sockets = "[control]\nsocket = \"control.sock\"\n[dataplane]\nsocket = \"data.sock\"\n";
    let file = folder.path().join("culvert.toml");
    fs::write(&file, CONFIGURATION.replace("KEY", KEY) + sockets).unwrap();
    let mut daemon = with_softhsm(&folder, env!("CARGO_BIN_EXE_culvert-control")).arg("--config").arg(&file).spawn().unwrap();
    let socket = folder.path().join("control.sock");
    while !socket.exists() {
        assert_eq!(daemon.try_wait().unwrap(), None, "it has ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(Command::new("kill").args(["-s", "TERM", &daemon.id().to_string()]).status().unwrap().success());
    let status = daemon.wait().unwrap();
    assert!(status.success(), "{status}");
}
