//! The secrets file: `[ike.NAME]` with `secret` and `ids`, `[eap.NAME]` and `[ppk.NAME]` with `secret` and `id`, as in swanctl.conf, and `[radius.NAME]` with
//! `secret`. Only its owner may read it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use ike::config::{Ppk, Psk};
use ike_crypto::eap::Users;
use ipsec_types::{Identity, Secret};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use toml::de::{DeTable, DeValue};
use zeroize::{Zeroize, Zeroizing};

use super::authentication::Files;
use super::diagnostic::{Diagnostic, Report};
use super::section::Section;
use super::{eap, parse, unreadable};

/// What is in it.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    pub(super) psks: Vec<Psk>,
    pub(super) users: Users,
    /// Shared with RADIUS servers, by their names.
    pub(super) radius: BTreeMap<String, Secret>,
    pub(super) ppks: Vec<Ppk>,
}

/// What the connections are checked against.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) eap: eap::Known<'a>,
    /// `None` where the file of secrets has faults.
    pub(super) ppks: Option<&'a [Ppk]>,
}

/// The secrets, and what is wrong with the file. The text is zeroed before this returns.
pub(super) fn load(file: &Path) -> (Secrets, Vec<Diagnostic>) {
    let text = match read_private(file) {
        Ok(text) => text,
        Err(fault) => return (Secrets::default(), vec![*fault]),
    };
    let report = Report::new(file, &text);
    let mut table = parse(&text, &report);
    let secrets = read(&table, &report);
    wipe(&mut table);
    (secrets, report.into_faults())
}

/// The text of a file that nobody but root or this process's user owns, reads or writes. The check is of the open file, so that nothing can
/// be swapped in.
pub(super) fn read_private(path: &Path) -> Result<Zeroizing<String>, Box<Diagnostic>> {
    let cannot = |error: std::io::Error| Box::new(unreadable(path, &error));
    let fault =
        |problem, remedy| Err(Box::new(Diagnostic { file: path.to_path_buf(), position: None, field: String::new(), problem, remedy }));
    // Without O_NONBLOCK a FIFO would hold the daemon until somebody writes to it.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let mut file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(cannot)?;
    let metadata = file.metadata().map_err(cannot)?;
    if !metadata.is_file() {
        return fault("this is no regular file".to_owned(), "put the secrets into a regular file".to_owned());
    }
    let (owner, own) = (metadata.uid(), geteuid().as_raw());
    if owner != 0 && owner != own {
        return fault(format!("user {owner} owns the secrets"), format!("run chown {own} {}", path.display()));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return fault(format!("mode {mode:03o} lets others at the secrets"), format!("run chmod 600 {}", path.display()));
    }
    // One octet more than the file, so that reading to its end never moves the text and leaves a copy behind.
    let capacity = usize::try_from(metadata.len()).unwrap_or(0).saturating_add(1);
    let mut text = Zeroizing::new(String::with_capacity(capacity));
    file.read_to_string(&mut text).map_err(cannot)?;
    Ok(text)
}

fn read<'d>(table: &'d DeTable<'d>, report: &'d Report<'d>) -> Secrets {
    let mut root = Section::root(table, report);
    let mut secrets = Secrets::default();
    for (_, mut section) in root.sections("ike") {
        let ids = section.list::<Identity>("ids", "\"gw.example.org\"").unwrap_or_default();
        let owners = ids.into_iter().map(|found| found.value).collect();
        secrets.psks.extend(secret(&mut section).map(|secret| Psk { owners, secret }));
        section.finish();
    }
    for (_, mut section) in root.sections("eap") {
        let name = section.text("id", "\"alice\"");
        if name.is_none() {
            section.missing("id", "write id = \"alice\", the name of the EAP user");
        }
        let found = name.zip(secret(&mut section));
        if let Some((name, secret)) = found {
            if secrets.users.password(name.value).is_some() {
                section.fault_at(&name, format!("'{}' has a secret already", name.value), "leave one of the two out");
            }
            secrets.users.add(name.value.to_owned(), secret);
        }
        section.finish();
    }
    for (name, mut section) in root.sections("radius") {
        secrets.radius.extend(secret(&mut section).map(|secret| (name, secret)));
        section.finish();
    }
    for (name, mut section) in root.sections("ppk") {
        let id = section.text("id", PPK_ID_EXAMPLE);
        if id.is_none() {
            section.missing("id", format!("write id = \"{name}\", the PPK's name at both peers"));
        }
        if let Some((id, secret)) = id.zip(secret(&mut section)) {
            if id.value.is_empty() || id.value == "%any" {
                section.fault_at(&id, "this is no name of a PPK", format!("write for example {PPK_ID_EXAMPLE}"));
            } else if secrets.ppks.iter().any(|ppk| ppk.id == id.value) {
                section.fault_at(&id, format!("'{}' has a secret already", id.value), "leave one of the two out");
            }
            secrets.ppks.push(Ppk { id: id.value.to_owned(), secret });
        }
        section.finish();
    }
    root.finish();
    secrets
}

fn secret(section: &mut Section<'_>) -> Option<Secret> {
    let Some(found) = section.text("secret", SECRET_EXAMPLE) else {
        section.missing("secret", format!("write secret = {SECRET_EXAMPLE}"));
        return None;
    };
    decode(found.value).map_err(|problem| section.fault_at(&found, problem, format!("write for example {SECRET_EXAMPLE}"))).ok()
}

/// `crash_secret`: a file whose text tokens grow from (RFC 6290 section 5.1). It has to outlive this process, and nobody may guess it.
pub(super) fn crash(section: &mut Section<'_>, files: Files<'_>) -> Option<Secret> {
    /// "32 random octets"; hexadecimal and Base64 have more.
    const LEAST: usize = 32;

    let found = section.text("crash_secret", "\"crash.secret\"")?;
    let path = files.path(found.value);
    let make = format!("run (umask 077; openssl rand -hex 32 > {})", path.display());
    match read_private(&path) {
        Ok(text) if text.trim().len() >= LEAST => return Some(Secret::copy_from(text.trim().as_bytes())),
        Ok(_) => section.fault_at(&found, format!("{} holds less than {LEAST} characters", path.display()), make),
        Err(fault) => section.fault_at(&found, format!("{}: {}", path.display(), fault.problem), format!("{}; or {make}", fault.remedy)),
    }
    None
}

pub(super) const PPK_ID_EXAMPLE: &str = "\"site-b.ppk\"";
const SECRET_EXAMPLE: &str = "\"some long text\", \"0x...\" for hexadecimal or \"0s...\" for Base64";

/// The key that the text stands for, as in swanctl.conf.
fn decode(text: &str) -> Result<Secret, &'static str> {
    let octets = if let Some(hex) = text.strip_prefix("0x") {
        hexadecimal(hex).ok_or("this is no hexadecimal")?
    } else if let Some(base64) = text.strip_prefix("0s") {
        base64_octets(base64).ok_or("this is no Base64")?
    } else {
        Zeroizing::new(text.as_bytes().to_vec())
    };
    if octets.is_empty() { Err("the secret is empty") } else { Ok(octets.into()) }
}

fn hexadecimal(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len() / 2));
    for i in (0..text.len()).step_by(2) {
        octets.push(u8::from_str_radix(text.get(i..i + 2)?, 16).ok()?);
    }
    Some(octets)
}

/// RFC 4648 section 4, with or without padding.
fn base64_octets(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if digits.len() % 4 == 1 || padding > 0 && (padding > 2 || !text.len().is_multiple_of(4)) {
        return None;
    }
    let mut octets = Zeroizing::new(Vec::with_capacity(digits.len() * 3 / 4));
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            octets.push((bits >> held & 0xff).try_into().ok()?);
        }
    }
    // Bits left over must be zero: another text would mean the same octets.
    (bits & ((1 << held) - 1) == 0).then_some(octets)
}

/// Zeroes the texts that the parser had to copy, because they held escapes.
fn wipe(table: &mut DeTable<'_>) {
    for (_, value) in table.iter_mut() {
        wipe_value(value.get_mut());
    }
}

fn wipe_value(value: &mut DeValue<'_>) {
    match value {
        DeValue::String(Cow::Owned(text)) => text.zeroize(),
        DeValue::Array(entries) => entries.iter_mut().for_each(|entry| wipe_value(entry.get_mut())),
        DeValue::Table(table) => wipe(table),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_text_hexadecimal_or_base64() {
        let octets = |text: &str| decode(text).map(|secret| secret.expose().to_vec());
        assert_eq!(octets("hunter2").as_deref(), Ok(&b"hunter2"[..]));
        // RFC 7296 section 2.15: at least 64 octets, and no terminator is added.
        let long = "x".repeat(1000);
        assert_eq!(octets(&long).as_deref(), Ok(long.as_bytes()));
        assert_eq!(octets("0x00Ff").as_deref(), Ok(&[0, 255][..]));
        // RFC 4648 section 10.
        for (text, plain) in
            [("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYg==", "foob"), ("Zm9vYmE=", "fooba"), ("Zm9vYmFy", "foobar")]
        {
            assert_eq!(octets(&format!("0s{text}")).as_deref(), Ok(plain.as_bytes()), "{text}");
            assert_eq!(octets(&format!("0s{}", text.trim_end_matches('='))).as_deref(), Ok(plain.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_secret_that_means_nothing_is_refused() {
        for text in ["", "0x", "0x0", "0xgg", "0s", "0sA", "0sZh==", "0sZg=", "0sZg===", "0sZ g=", "0s===="] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
