//! Certificates and keys named by a connection.

use std::path::Path;

use ike::config::{LocalAuth, RemoteAuth};
use ike::provider::PeerProof;
use ike_wire::CertificateEncoding;
use ipsec_types::{KeyKind, SignatureEncoding, SignatureScheme};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer, KeyIdMethod, KeyPair, SerialNumber,
    date_time_ymd,
};

use super::*;

pub(super) const SIGNED: &str = r#"secrets = "secrets.toml"
[connections.site-b]
local_addrs = ["192.0.2.1"]
remote_addrs = ["192.0.2.2"]
local = { auth = "pubkey", certs = ["gw.crt"], key = "gw.key", id = "gw-a.example" }
remote = { auth = "pubkey", cacerts = ["ca.crt"], id = "gw-b.example" }
[connections.site-b.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
"#;

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// An authority, a certificate of gw-a.example with its key, and another key.
pub(super) fn pki(folder: &TempDir) {
    let path = |name: &str| folder.path().join(name);
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(path("ca.crt"), params.self_signed(&ca_key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2023, 1, 1),
        next_update: date_time_ymd(2023, 2, 1),
        crl_number: SerialNumber::from(1_u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    fs::write(path("ca.crl"), list.signed_by(&issuer).unwrap().pem().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["gw-a.example".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "gateway A");
    let certificate = params.signed_by(&key, &issuer).unwrap().pem();
    fs::write(path("gw.crt"), &certificate).unwrap();
    fs::write(path("peer.crt"), &certificate).unwrap();
    write_private(&path("gw.key"), &key.serialize_pem());
    write_private(&path("ed25519.key"), &KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap().serialize_pem());
    write_private(&path("other.key"), &KeyPair::generate().unwrap().serialize_pem());
    fs::write(path("peer.pub"), key.public_key_pem()).unwrap();
}

fn load_signed(line: &str, by: &str) -> Result<Loaded, Vec<String>> {
    assert!(SIGNED.contains(line), "the table is out of date: {line}");
    let folder = folder(&SIGNED.replacen(line, by, 1), GOOD_SECRETS);
    pki(&folder);
    load_in(&folder)
}

#[test]
fn key_certificate_and_authority_are_read() {
    let loaded = load_signed("", "").unwrap();
    let connection = &loaded.ike.connections[0];
    let LocalAuth::PublicKey(credential) = &connection.local_auth else { panic!() };
    assert_eq!((credential.key.kind(), credential.schemes.as_slice()), (KeyKind::EcdsaP256, &[SignatureScheme::EcdsaSha256][..]));
    assert_eq!(credential.certificates[0].encoding, CertificateEncoding::X509_SIGNATURE);
    let RemoteAuth::PublicKey(verifier) = &connection.remote_auth else { panic!() };
    assert_eq!(verifier.authorities().len(), 1);
}

#[test]
fn what_may_be_left_out() {
    // The words: what is named says how, and so does a scheme.
    for auth in ["", "auth = \"ecdsa\", ", "auth = \"pubkey-sha256\", ", "auth = \"ike:ecdsa-sha256\", "] {
        let loaded = load_signed("auth = \"pubkey\", certs", &format!("{auth}certs")).unwrap();
        assert!(matches!(loaded.ike.connections[0].local_auth, LocalAuth::PublicKey(_)));
    }
    // The identity is the certificate's subject.
    let loaded = load_signed(", id = \"gw-a.example\"", "").unwrap();
    assert_eq!(loaded.ike.connections[0].local_identity.to_string(), "CN=gateway A");
    // A key alone is shown raw.
    let loaded = load_signed("certs = [\"gw.crt\"], ", "").unwrap();
    let LocalAuth::PublicKey(credential) = &loaded.ike.connections[0].local_auth else { panic!() };
    assert_eq!(credential.certificates[0].encoding, CertificateEncoding::RAW_PUBLIC_KEY);
    // Whom all connections trust.
    let loaded =
        load_signed("cacerts = [\"ca.crt\"], id = \"gw-b.example\" }", "id = \"gw-b.example\" }\n[authorities.ours]\ncacert = \"ca.crt\"");
    let RemoteAuth::PublicKey(verifier) = &loaded.unwrap().ike.connections[0].remote_auth else { panic!() };
    assert_eq!(verifier.authorities().len(), 1);
    assert!(load_signed("cacerts = [\"ca.crt\"]", "pubkeys = [\"peer.pub\"]").is_ok());
    assert!(load_signed("cacerts = [\"ca.crt\"]", "certs = [\"gw.crt\"]").is_ok());
}

#[test]
fn each_fault_names_field_and_remedy() {
    for (line, by, expected) in [
        ("key = \"gw.key\", ", "", "connections.site-b.local.key: this is missing; write key = \"gateway.key\""),
        ("\"gw.key\"", "\"none.key\"", "cannot read this file"),
        ("\"gw.key\"", "\"other.key\"", "this is not the key of the first certificate in certs"),
        ("\"gw.key\"", "\"gw.crt\"", "lets others at the secrets"),
        ("\"gw.crt\"", "\"none.crt\"", "cannot read"),
        ("\"gw.crt\"", "\"peer.pub\"", "there is no certificate in 'peer.pub'"),
        ("gw-a.example", "elsewhere.example", "the certificate is not one of 'elsewhere.example': it is about gw-a.example, CN=gateway A"),
        ("\"ca.crt\"", "\"gw.crt\"", "this is no certificate of an authority"),
        (
            "cacerts = [\"ca.crt\"], ",
            "",
            "connections.site-b.remote.cacerts: this is missing; write cacerts = [\"ca.crt\"], certs or pubkeys here",
        ),
        ("auth = \"pubkey\", certs", "auth = \"rsa\", certs", "a key of ECDSA P-256 does not sign by what auth says"),
        ("auth = \"pubkey\", certs", "auth = \"eap\", certs", "authentication 'eap' is not supported; write \"psk\" or \"pubkey\""),
    ] {
        let faults = load_signed(line, by).expect_err(by);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{by}: {faults:#?}");
    }
}

#[test]
fn a_connection_by_signatures_needs_no_shared_key() {
    let folder = folder(&SIGNED.replacen("secrets = \"secrets.toml\"\n", "", 1), "");
    pki(&folder);
    assert!(load_in(&folder).is_ok());
}

/// What a peer may sign by that has these words in `remote.auth`.
fn accepted(auth: &str) -> (Vec<SignatureScheme>, Vec<Diagnostic>) {
    let folder = folder(&SIGNED.replacen("remote = { auth = \"pubkey\"", &format!("remote = {{ {auth}"), 1), GOOD_SECRETS);
    pki(&folder);
    let loaded = load_in(&folder).unwrap();
    let RemoteAuth::PublicKey(verifier) = &loaded.ike.connections[0].remote_auth else { panic!() };
    let accepted = |scheme: &SignatureScheme| {
        let proof = PeerProof {
            identity: "gw-b.example".parse().unwrap(),
            certificates: Vec::new(),
            scheme: *scheme,
            encoding: SignatureEncoding::Fixed,
            message: Vec::new(),
            signature: Vec::new(),
        };
        // What is no algorithm to be accepted is refused before it is noticed that no certificate is there.
        verifier.verify(&proof).unwrap_err().summary.contains("shows no certificate")
    };
    (SignatureScheme::ALL.iter().copied().filter(accepted).collect(), loaded.warnings)
}

#[test]
fn sha1_has_to_be_written_out_and_is_warned_of() {
    use SignatureScheme as S;
    for auth in ["certs = [\"peer.crt\"]", "auth = \"pubkey\"", "auth = \"rsa\""] {
        let (schemes, warnings) = accepted(auth);
        assert!(!schemes.contains(&SignatureScheme::RsaSha1) && warnings.is_empty(), "{auth}: {schemes:?} {warnings:?}");
    }
    let (schemes, _) = accepted("auth = \"rsa-sha256-sha512\"");
    assert_eq!(schemes, [S::RsaSha256, S::RsaSha512, S::RsaPssSha256, S::RsaPssSha512]);
    for (auth, expected) in [("rsa-sha1", &[S::RsaSha1][..]), ("pubkey-sha1", &[S::RsaSha1]), ("rsa/pss-sha256", &[S::RsaPssSha256])] {
        let (schemes, warnings) = accepted(&format!("auth = \"{auth}\""));
        assert_eq!((schemes.as_slice(), warnings.len()), (expected, usize::from(auth.contains("sha1"))), "{auth}");
    }
    let (schemes, warnings) = accepted("auth = \"rsa-sha256-sha1\"");
    assert_eq!(schemes, [S::RsaSha256, S::RsaPssSha256, S::RsaSha1]);
    assert!(warnings[0].field == "connections.site-b.remote.auth" && warnings[0].problem.contains("SHA-1"), "{warnings:?}");
}

#[test]
fn revocation_is_read_from_authorities_and_connections() {
    let with = |remote: &str, authority: &str| {
        let by = format!("remote = {{ auth = \"pubkey\", {remote}");
        let text = SIGNED.replacen("remote = { auth = \"pubkey\", cacerts = [\"ca.crt\"], ", &by, 1);
        let folder = folder(&format!("{text}[authorities.ours]\ncacert = \"ca.crt\"\n{authority}"), GOOD_SECRETS);
        pki(&folder);
        load_in(&folder)
    };
    for policy in ["strict", "ifuri", "relaxed", "off"] {
        let all = "crls = [\"ca.crl\"]\ncrl_uris = [\"http://a.example/ca.crl\"]\nocsp_uris = [\"http://a.example/\"]";
        let loaded = with(&format!("revocation = \"{policy}\", "), all).unwrap();
        // rcgen's list is of 2023.
        assert!(loaded.warnings.len() == 1 && loaded.warnings[0].problem.contains("has expired"), "{:?}", loaded.warnings);
    }
    for (remote, authority, expected) in [
        ("revocation = \"lax\", ", "", "connections.site-b.remote.revocation: 'lax' is not known here"),
        ("", "crls = [\"ca.crt\"]", "authorities.ours.crls[0]: 'ca.crt' is no list of revocations"),
        ("", "crl_uris = [\"https://a.example/\"]", "authorities.ours.crl_uris[0]: 'https://a.example/' is no address of http://"),
        ("", "ocsp_uris = [\"ldap://a.example/\"]", "authorities.ours.ocsp_uris[0]"),
    ] {
        let faults = with(remote, authority).unwrap_err();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:#?}");
    }
}
