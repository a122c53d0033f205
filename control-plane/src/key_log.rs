//! Keys for Wireshark, which opens IKE and ESP in a capture with them: the tables `ikev2_decryption_table`, `esp_sa` and `ikev1_decryption_table` of a profile. Who has them reads
//! all that was and will be captured; nothing but `key_log` in the configuration brings keys here.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ike::io::{IkeSaKeys, IkeV1Key};
use ipsec_types::{ChildSa, CipherMode, EncryptionAlgorithm, IntegrityAlgorithm, Protection, SaKeys, Secret, Spi};
use rustix::fs::OFlags;
use rustix::process::geteuid;
use zeroize::Zeroizing;

use crate::config::Diagnostic;

/// The names that Wireshark looks for in a folder of its configuration.
const TABLES: [&str; 3] = ["ikev2_decryption_table", "esp_sa", "ikev1_decryption_table"];

/// The tables, open to be appended to.
#[derive(Debug)]
pub(crate) struct KeyLog {
    ike: File,
    esp: File,
    ike_v1: File,
}

impl KeyLog {
    /// Opens the tables in `folder`, which is made for its owner alone if it is not there.
    ///
    /// # Errors
    /// Where a table cannot be written, or is not its owner's alone.
    pub(crate) fn open(folder: &Path) -> Result<Self, Box<Diagnostic>> {
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(unusable(folder, &error)),
            _ => {}
        }
        let [ike, esp, ike_v1] = TABLES.map(|table| table_in(folder, table));
        Ok(Self { ike: ike?, esp: esp?, ike_v1: ike_v1? })
    }

    /// Writes the keys of an IKE SA down.
    pub(crate) fn ike_sa(&mut self, keys: &IkeSaKeys) {
        match ike_line(keys) {
            Some(line) => append(&mut self.ike, &line),
            None => nameless(&format_args!("IKE SA {} {}", keys.initiator_spi, keys.responder_spi)),
        }
    }

    /// Writes the key of an IKE SA of version 1 down.
    pub(crate) fn ike_v1_sa(&mut self, key: &IkeV1Key) {
        append(&mut self.ike_v1, &ike_v1_line(key));
    }

    /// Writes the keys of a pair of ESP SAs down.
    pub(crate) fn child_sa(&mut self, sa: &ChildSa) {
        let Protection::Esp { encryption, integrity } = sa.protection else { return };
        let Some(names) = esp_names(encryption, integrity) else { return nameless(&format_args!("Child SA {}", sa.id)) };
        append(&mut self.esp, &esp_line(names, (sa.remote, sa.local), sa.inbound_spi, &sa.inbound_keys));
        append(&mut self.esp, &esp_line(names, (sa.local, sa.remote), sa.outbound_spi, &sa.outbound_keys));
    }
}

/// Checks the tables that are there already; makes none.
///
/// # Errors
/// What is wrong with one.
pub(crate) fn check(folder: &Path) -> Result<(), Box<Diagnostic>> {
    if fs::metadata(folder).is_ok_and(|found| !found.is_dir()) {
        return Err(unusable(folder, &ErrorKind::NotADirectory.into()));
    }
    for path in TABLES.map(|table| folder.join(table)) {
        match fs::symlink_metadata(&path) {
            Ok(found) => owned(&path, &found)?,
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(&path, &error)),
        }
    }
    Ok(())
}

/// The check is of the open file, so that nothing can be swapped in; a symbolic link is not followed, and a FIFO does not hold the daemon up.
fn table_in(folder: &Path, table: &str) -> Result<File, Box<Diagnostic>> {
    let path = folder.join(table);
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = OpenOptions::new().append(true).create(true).mode(0o600).custom_flags(flags).open(&path);
    let file = file.map_err(|error| unusable(&path, &error))?;
    owned(&path, &file.metadata().map_err(|error| unusable(&path, &error))?)?;
    Ok(file)
}

/// A table is a regular file that its owner alone, who is this process's user, reads and writes.
fn owned(path: &Path, found: &Metadata) -> Result<(), Box<Diagnostic>> {
    let mode = found.permissions().mode() & 0o777;
    let fault = |problem: String| Err(diagnostic(path, problem, format!("move {} away; a new one is made", path.display())));
    if !found.is_file() {
        return fault("this is no regular file, and keys are not written to it".to_owned());
    }
    if found.uid() != geteuid().as_raw() {
        return fault(format!("user {} owns this file, and keys are not written to it", found.uid()));
    }
    if mode != 0o600 || found.nlink() != 1 {
        return fault(format!("mode {mode:03o} and {} names: keys are written to a file of mode 600 and one name alone", found.nlink()));
    }
    Ok(())
}

fn unusable(path: &Path, error: &io::Error) -> Box<Diagnostic> {
    diagnostic(path, format!("keys cannot be written here: {error}"), "name a folder that this process may write to".to_owned())
}

fn diagnostic(path: &Path, problem: String, remedy: String) -> Box<Diagnostic> {
    Box::new(Diagnostic { file: PathBuf::from(path), position: None, field: String::new(), problem, remedy })
}

/// A few hundred octets to the page cache: nothing the loop would wait for.
fn append(table: &mut File, line: &str) {
    if let Err(error) = table.write_all(line.as_bytes()) {
        tracing::error!("keys could not be written down: {error}");
    }
}

fn nameless(sa: &dyn std::fmt::Display) {
    tracing::warn!("the keys of {sa} are not written down: Wireshark has no name for its algorithms");
}

/// SPIi, SPIr, SK_ei, SK_er, cipher, SK_ai, SK_ar, integrity algorithm.
fn ike_line(keys: &IkeSaKeys) -> Option<Zeroizing<String>> {
    let (encryption, integrity) = (ike_encryption(keys.encryption)?, ike_integrity(keys.integrity));
    let secrets = [&keys.sk_ei, &keys.sk_er, &keys.sk_ai, &keys.sk_ar];
    let mut line = line_for(&secrets);
    line.push_str(&format!("{:016x},{:016x},", keys.initiator_spi.value(), keys.responder_spi.value()));
    push_hex(&mut line, &keys.sk_ei);
    line.push(',');
    push_hex(&mut line, &keys.sk_er);
    line.push_str(&format!(",\"{encryption}\","));
    push_hex(&mut line, &keys.sk_ai);
    line.push(',');
    push_hex(&mut line, &keys.sk_ar);
    line.push_str(&format!(",\"{integrity}\"\n"));
    Some(line)
}

/// CKY-I, the cipher's key.
fn ike_v1_line(key: &IkeV1Key) -> Zeroizing<String> {
    let mut line = line_for(&[&key.key]);
    line.push_str(&format!("{:016x},", key.initiator_cookie.value()));
    push_hex(&mut line, &key.key);
    line.push('\n');
    line
}

/// Version of IP, source, destination, SPI, cipher, its key with the salt, integrity algorithm, its key.
fn esp_line(names: (&str, &str), (source, destination): (IpAddr, IpAddr), spi: Spi, keys: &SaKeys) -> Zeroizing<String> {
    let (encryption, integrity) = names;
    let version = if source.is_ipv4() { 4 } else { 6 };
    let none = Secret::new(Vec::new());
    let integrity_key = keys.integrity.as_ref().unwrap_or(&none);
    let mut line = line_for(&[&keys.encryption, integrity_key]);
    line.push_str(&format!("\"IPv{version}\",\"{source}\",\"{destination}\",\"0x{:08x}\",\"{encryption}\",\"", spi.value()));
    push_key(&mut line, &keys.encryption);
    line.push_str(&format!("\",\"{integrity}\",\""));
    push_key(&mut line, integrity_key);
    line.push_str("\"\n");
    line
}

/// An empty line that never moves, and so leaves no copy behind.
fn line_for(secrets: &[&Secret]) -> Zeroizing<String> {
    const BESIDES: usize = 256;
    Zeroizing::new(String::with_capacity(BESIDES + secrets.iter().map(|secret| 2 * secret.len()).sum::<usize>()))
}

fn push_key(line: &mut String, key: &Secret) {
    if !key.is_empty() {
        line.push_str("0x");
        push_hex(line, key);
    }
}

fn push_hex(line: &mut String, key: &Secret) {
    for octet in key.expose() {
        line.extend([octet >> 4, octet & 15].into_iter().filter_map(|digit| char::from_digit(digit.into(), 16)));
    }
}

fn ike_encryption(algorithm: EncryptionAlgorithm) -> Option<String> {
    let bits = 8 * algorithm.key_len();
    Some(match algorithm.mode() {
        CipherMode::TripleDesCbc => "3DES [RFC2451]".to_owned(),
        CipherMode::Cbc => format!("AES-CBC-{bits} [RFC3602]"),
        CipherMode::Ctr => format!("AES-CTR-{bits} [RFC5930]"),
        CipherMode::Ccm => format!("AES-CCM-{bits} with {} octet ICV [RFC5282]", algorithm.aead_icv_len()?),
        CipherMode::Gcm => format!("AES-GCM-{bits} with {} octet ICV [RFC5282]", algorithm.aead_icv_len()?),
        CipherMode::Null | CipherMode::Gmac | CipherMode::ChaCha20Poly1305 => return None,
    })
}

/// Those without a name of their own are not checked, only their length is known.
const fn ike_integrity(algorithm: Option<IntegrityAlgorithm>) -> &'static str {
    match algorithm {
        None => "NONE [RFC4306]",
        Some(IntegrityAlgorithm::HmacMd5) => "HMAC_MD5_96 [RFC2403]",
        Some(IntegrityAlgorithm::HmacSha1) => "HMAC_SHA1_96 [RFC2404]",
        Some(IntegrityAlgorithm::AesXcbc | IntegrityAlgorithm::AesCmac) => "ANY 96-bits of Authentication [No Checking]",
        Some(IntegrityAlgorithm::HmacSha256) => "HMAC_SHA2_256_128 [RFC4868]",
        Some(IntegrityAlgorithm::HmacSha384) => "HMAC_SHA2_384_192 [RFC4868]",
        Some(IntegrityAlgorithm::HmacSha512) => "HMAC_SHA2_512_256 [RFC4868]",
    }
}

fn esp_names(encryption: EncryptionAlgorithm, integrity: Option<IntegrityAlgorithm>) -> Option<(&'static str, &'static str)> {
    let cipher = match (encryption.mode(), encryption.aead_icv_len()) {
        (CipherMode::Null, _) => "NULL",
        (CipherMode::TripleDesCbc, _) => "TripleDES-CBC [RFC2451]",
        (CipherMode::Cbc, _) => "AES-CBC [RFC3602]",
        (CipherMode::Ctr, _) => "AES-CTR [RFC3686]",
        (CipherMode::Gcm, Some(8)) => "AES-GCM with 8 octet ICV [RFC4106]",
        (CipherMode::Gcm, Some(12)) => "AES-GCM with 12 octet ICV [RFC4106]",
        (CipherMode::Gcm, _) => "AES-GCM with 16 octet ICV [RFC4106]",
        (CipherMode::Ccm | CipherMode::Gmac | CipherMode::ChaCha20Poly1305, _) => return None,
    };
    let integrity = match integrity {
        None => "NULL",
        Some(IntegrityAlgorithm::HmacMd5) => "HMAC-MD5-96 [RFC2403]",
        Some(IntegrityAlgorithm::HmacSha1) => "HMAC-SHA-1-96 [RFC2404]",
        Some(IntegrityAlgorithm::AesXcbc | IntegrityAlgorithm::AesCmac) => "ANY 96 bit authentication [no checking]",
        Some(IntegrityAlgorithm::HmacSha256) => "HMAC-SHA-256-128 [RFC4868]",
        Some(IntegrityAlgorithm::HmacSha384) => "HMAC-SHA-384-192 [RFC4868]",
        Some(IntegrityAlgorithm::HmacSha512) => "HMAC-SHA-512-256 [RFC4868]",
    };
    Some((cipher, integrity))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use ipsec_types::IkeSpi;

    use super::*;

    fn keys(encryption: EncryptionAlgorithm, integrity: Option<IntegrityAlgorithm>) -> IkeSaKeys {
        let secret = |octet: u8, len| Secret::new(vec![octet; len]);
        let (e, a) = (encryption.keymat_len(), integrity.map_or(0, IntegrityAlgorithm::key_len));
        IkeSaKeys {
            initiator_spi: IkeSpi::new(0x0102).unwrap(),
            responder_spi: IkeSpi::new(u64::MAX).unwrap(),
            encryption,
            integrity,
            sk_ei: secret(0xe1, e),
            sk_er: secret(0xe2, e),
            sk_ai: secret(0xa1, a),
            sk_ar: secret(0xa2, a),
        }
    }

    /// The lines that scripts/interop has tshark decrypt with, for other algorithms as well.
    #[test]
    fn lines_are_what_wireshark_reads() {
        let gcm = ike_line(&keys(EncryptionAlgorithm::AesGcm128, None)).unwrap();
        let (ei, er) = ("e1".repeat(20), "e2".repeat(20));
        let expected =
            format!("0000000000000102,ffffffffffffffff,{ei},{er},\"AES-GCM-128 with 16 octet ICV [RFC5282]\",,,\"NONE [RFC4306]\"\n");
        assert_eq!(*gcm, expected);
        let cbc = ike_line(&keys(EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::HmacSha256))).unwrap();
        let keys_of = ["e1", "e2", "a1", "a2"].map(|octet| octet.repeat(32));
        let [ei, er, ai, ar] = &keys_of;
        let expected =
            format!("0000000000000102,ffffffffffffffff,{ei},{er},\"AES-CBC-256 [RFC3602]\",{ai},{ar},\"HMAC_SHA2_256_128 [RFC4868]\"\n");
        assert_eq!(*cbc, expected);
        assert!(ike_line(&keys(EncryptionAlgorithm::ChaCha20Poly1305, None)).is_none(), "Wireshark does not have it");

        let v1 = IkeV1Key { initiator_cookie: IkeSpi::new(0x0102).unwrap(), key: Secret::new(vec![0xe1; 16]) };
        assert_eq!(*ike_v1_line(&v1), format!("0000000000000102,{}\n", "e1".repeat(16)));

        let (source, destination) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let sa_keys = SaKeys { encryption: Secret::new(vec![0xee; 20]), integrity: None };
        let names = esp_names(EncryptionAlgorithm::AesGcm128, None).unwrap();
        let line = esp_line(names, (source, destination), Spi::new(0xabcde).unwrap(), &sa_keys);
        let key = "ee".repeat(20);
        let expected = format!(
            "\"IPv4\",\"192.0.2.1\",\"192.0.2.2\",\"0x000abcde\",\"AES-GCM with 16 octet ICV [RFC4106]\",\"0x{key}\",\"NULL\",\"\"\n"
        );
        assert_eq!(*line, expected);
        let (source, destination) = ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap());
        let sa_keys = SaKeys { encryption: Secret::new(Vec::new()), integrity: Some(Secret::new(vec![0xaa; 20])) };
        let names = esp_names(EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::HmacSha1)).unwrap();
        let line = esp_line(names, (source, destination), Spi::new(0x100).unwrap(), &sa_keys);
        let key = "aa".repeat(20);
        let expected =
            format!("\"IPv6\",\"2001:db8::1\",\"2001:db8::2\",\"0x00000100\",\"NULL\",\"\",\"HMAC-SHA-1-96 [RFC2404]\",\"0x{key}\"\n");
        assert_eq!(*line, expected);
    }

    #[test]
    fn a_line_is_allocated_once() {
        for &encryption in EncryptionAlgorithm::ALL {
            let all = IntegrityAlgorithm::ALL.iter().copied().map(Some).chain([None]);
            for keys in all.map(|integrity| keys(encryption, integrity)) {
                let room = line_for(&[&keys.sk_ei, &keys.sk_er, &keys.sk_ai, &keys.sk_ar]).capacity();
                assert!(ike_line(&keys).is_none_or(|line| line.capacity() == room), "{encryption}");
            }
        }
    }

    #[test]
    fn tables_are_their_owners_alone_and_are_appended_to() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("keys");
        for times in 1..=2 {
            assert_eq!(check(&folder), Ok(()));
            KeyLog::open(&folder).unwrap().ike_sa(&keys(EncryptionAlgorithm::AesGcm256, None));
            let table = folder.join("ikev2_decryption_table");
            assert_eq!(fs::metadata(&table).unwrap().permissions().mode() & 0o777, 0o600);
            assert_eq!(fs::read_to_string(&table).unwrap().lines().count(), times);
        }
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_others_could_read_is_refused() {
        let of = |prepare: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            let table = folder.path().join("esp_sa");
            prepare(&table);
            let (checked, opened) = (check(folder.path()).unwrap_err(), KeyLog::open(folder.path()).unwrap_err());
            assert_eq!((&checked.file, &opened.file), (&table, &table));
            assert!(fs::read(&table).unwrap_or_default().is_empty());
            checked.problem
        };
        let made = |table: &Path, mode| {
            fs::write(table, "").unwrap();
            fs::set_permissions(table, fs::Permissions::from_mode(mode)).unwrap();
        };
        assert!(of(&|table| made(table, 0o640)).contains("mode 640"));
        assert!(of(&|table| made(table, 0o604)).contains("mode 604"));
        let linked = |table: &Path| {
            made(table, 0o600);
            fs::hard_link(table, table.with_file_name("other")).unwrap();
        };
        assert!(of(&linked).contains("2 names"));
        let symbolic = |table: &Path| {
            made(&table.with_file_name("other"), 0o600);
            symlink("other", table).unwrap();
        };
        assert!(of(&symbolic).contains("no regular file"));
        if geteuid().is_root() {
            let of_nobody = |table: &Path| {
                made(table, 0o600);
                std::os::unix::fs::chown(table, Some(65534), None).unwrap();
            };
            assert!(of(&of_nobody).contains("user 65534 owns"));
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(check(file.path()).is_err() && KeyLog::open(file.path()).is_err());
    }
}
