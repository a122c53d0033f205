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
    assert!(USERS.contains(line), "the table is out of date: {line}");
    let folder = folder(&USERS.replacen(line, by, 1), secrets);
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
