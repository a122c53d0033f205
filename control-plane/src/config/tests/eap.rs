//! EAP users, and connections that have them.

use ike::config::{LocalAuth, RemoteAuth};

use super::authentication::pki;
use super::*;

const USERS: &str = r#"secrets = "secrets.toml"
[connections.users]
local_addrs = ["192.0.2.1"]
local = { auth = "pubkey", certs = ["gw.crt"], key = "gw.key", id = "gw-a.example" }
remote = { auth = "eap-mschapv2", id = "%any", eap_id = "%any" }
[connections.users.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
"#;

const ALICE: &str = "[eap.alice]\nid = \"alice\"\nsecret = \"wonderland\"\n";

fn load_users(line: &str, by: &str, secrets: &str) -> Result<Loaded, Vec<String>> {
    load_changed(USERS, line, by, secrets)
}

/// A configuration with another text in place of `line`, beside certificates.
pub(super) fn load_changed(text: &str, line: &str, by: &str, secrets: &str) -> Result<Loaded, Vec<String>> {
    assert!(text.contains(line), "the table is out of date: {line}");
    let folder = folder(&text.replacen(line, by, 1), secrets);
    pki(&folder);
    load_in(&folder)
}

#[test]
fn a_connection_with_users_and_one_as_a_user() {
    let loaded = load_users("", "", ALICE).unwrap();
    let RemoteAuth::Eap(method) = &loaded.ike.connections[0].remote_auth else { panic!() };
    assert_eq!(method.keyword(), "eap-mschapv2");
    for (word, id) in [("eap-mschapv2", "eap_id = \"alice\""), ("eap-md5", "id = \"keyid:alice\""), ("eap-gtc", "id = \"alice\"")] {
        let local = format!("local = {{ auth = \"{word}\", {id} }}");
        let remote = "remote = { auth = \"pubkey\", cacerts = [\"ca.crt\"] }\nremote_addrs = [\"192.0.2.2\"]";
        let both = USERS.lines().filter(|line| line.starts_with("local =") || line.starts_with("remote =")).collect::<Vec<_>>().join("\n");
        let loaded = load_users(&both, &format!("{local}\n{remote}"), ALICE).unwrap();
        let LocalAuth::Eap(method) = &loaded.ike.connections[0].local_auth else { panic!() };
        assert_eq!(method.keyword(), word);
    }
}

/// As the user with a certificate, as the gateway, and as either where EAP alone shows who both are.
#[test]
fn eap_tls_takes_certificates_of_both_sections() {
    let ours = "auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\", id = \"gw-a.example\"";
    let theirs = "auth = \"eap-mschapv2\", id = \"%any\", eap_id = \"%any\"";
    let keywords = |loaded: &Loaded| {
        let connection = &loaded.ike.connections[0];
        let local = if let LocalAuth::Eap(method) = &connection.local_auth { method.keyword() } else { "" };
        let remote = if let RemoteAuth::Eap(method) = &connection.remote_auth { method.keyword() } else { "" };
        (local, remote)
    };
    let user = ours.replacen("pubkey", "eap-tls", 1);
    let peers = "auth = \"eap-tls\", id = \"%any\", eap_id = \"%any\", cacerts = [\"ca.crt\"]";
    let signed = "auth = \"pubkey\", cacerts = [\"ca.crt\"]";
    let named = format!("{user}, eap_id = \"gw-a.example\", aaa_id = \"aaa.example\"");
    for (local, remote, expected) in [
        (&user[..], signed, ("eap-tls", "")),
        (&named, signed, ("eap-tls", "")),
        (ours, peers, ("", "eap-tls")),
        (&user, peers, ("eap-tls", "eap-tls")),
    ] {
        let text = USERS.replacen(ours, local, 1).replacen(theirs, remote, 1);
        let folder = folder(&text, ALICE);
        pki(&folder);
        assert_eq!(keywords(&load_in(&folder).unwrap()), expected, "{text}");
    }
    for (local, remote, expected) in [
        (&user.replace("certs = [\"gw.crt\"], ", "")[..], signed, "local.certs: this is missing"),
        (&format!("{user}, eap_id = \"alice\""), signed, "the certificate is not one of 'alice': it is about gw-a.example"),
        (&user, "auth = \"psk\"", "nobody whom to believe as the server"),
        (&user, theirs, "nobody whom to believe as the server"),
        ("auth = \"psk\"", peers, "needs a certificate of this gateway"),
        ("key = \"gw.key\", id = \"gw-a.example\"", peers, "needs a certificate of this gateway"),
        (&ours.replace("pubkey", "eap-tls2"), signed, "one of rsa-sha256"),
        (ours, "auth = \"eap-tls\", aaa_id = \"x\", cacerts = [\"ca.crt\"]", "unknown key"),
    ] {
        let text = USERS.replacen(ours, local, 1).replacen(theirs, remote, 1);
        let folder = folder(&text, ALICE);
        pki(&folder);
        let faults = load_in(&folder).expect_err(expected);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}

#[test]
fn what_does_not_fit_is_explained() {
    let remote = "remote = { auth = \"eap-mschapv2\", id = \"%any\", eap_id = \"%any\" }";
    let cases = [
        (remote, "remote = { auth = \"eap-mschapv2\", eap_id = \"bob\" }", ALICE, "no secret for the EAP user 'bob'"),
        (remote, "remote = { auth = \"eap-mschapv2\", id = \"bob\" }", ALICE, "no secret for the EAP user 'bob'"),
        (remote, remote, "", "there are no EAP users"),
        (remote, "remote = { auth = \"eap-sim\" }", ALICE, "authentication 'eap-sim' is not supported"),
        (remote, "remote = { auth = \"psk\", eap_id = \"alice\" }", ALICE, "unknown key"),
        (remote, remote, "[eap.alice]\nsecret = \"x\"\n", "eap.alice.id: this is missing"),
        (remote, remote, "[eap.a]\nid = \"a\"\nsecret = \"x\"\n[eap.b]\nid = \"a\"\nsecret = \"y\"\n", "'a' has a secret already"),
        (
            "[connections.users.children.net]\n",
            "remote_addrs = [\"192.0.2.2\"]\n[connections.users.children.net]\nstart_action = \"trap\"\n",
            ALICE,
            "has to begin itself",
        ),
        (
            "auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\", id = \"gw-a.example\"",
            "auth = \"eap-md5\", eap_id = \"alice\"",
            ALICE,
            "does not show who the responder is",
        ),
        (
            "auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\", id = \"gw-a.example\"",
            "auth = \"psk\"",
            ALICE,
            "has to show a certificate",
        ),
    ];
    for (line, by, secrets, expected) in cases {
        let faults = load_users(line, by, secrets).expect_err(expected);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}

#[test]
fn further_rounds_are_read_and_what_cannot_be_is_explained() {
    const REMOTE: &str = "remote = { auth = \"eap-mschapv2\", id = \"%any\", eap_id = \"%any\" }";
    const FIRST: &str = "auth = \"pubkey\", cacerts = [\"ca.crt\"]";
    const USER: &str = "auth = \"eap-mschapv2\", id = \"%any\", eap_id = \"%any\"";
    let both = format!("remote-1 = {{ {FIRST}, id = \"host.example\" }}\nremote-2 = {{ {USER} }}");
    let loaded = load_users(REMOTE, &both, ALICE).unwrap();
    let connection = &loaded.ike.connections[0];
    assert!(matches!(connection.remote_auth, RemoteAuth::PublicKey(_)));
    assert_eq!(connection.remote_identity, Some("host.example".parse().unwrap()));
    assert!(matches!(connection.remote_more[..], [ike::config::RemoteRound { identity: None, auth: RemoteAuth::Eap(_) }]));

    let own = "local-2 = { auth = \"eap-mschapv2\", eap_id = \"alice\" }";
    let loaded = load_users(REMOTE, &format!("{own}\nremote = {{ {FIRST} }}\nremote_addrs = [\"192.0.2.2\"]"), ALICE).unwrap();
    let [round] = &loaded.ike.connections[0].local_more[..] else { panic!() };
    assert!(matches!(round.auth, LocalAuth::Eap(_)));
    assert_eq!(round.identity, "gw-a.example".parse().unwrap());

    let cases = [
        (format!("remote = {{ {FIRST} }}\nremote-1 = {{ {FIRST} }}"), "remote is the same round"),
        (format!("remote = {{ {FIRST} }}\nremote-3 = {{ {USER} }}"), "there is no remote-2 before it"),
        (format!("remote = {{ {FIRST} }}\nremote-2 = {{ auth = \"psk\" }}"), "a shared key is for the first round"),
        (
            format!("remote = {{ {USER} }}\nlocal-2 = {{ auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\" }}"),
            "this gateway has shown everything",
        ),
        (
            format!("remote_addrs = [\"192.0.2.2\"]\nremote = {{ {FIRST} }}\nremote-2 = {{ {FIRST} }}\nremote-3 = {{ {FIRST} }}\n{own}"),
            "the peer has shown everything",
        ),
    ];
    for (by, expected) in cases {
        let faults = load_users(REMOTE, &by, ALICE).expect_err(expected);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}
