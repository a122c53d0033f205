//! RADIUS servers, and connections whose peers are their users.

use ike::config::RemoteAuth;

use super::eap::load_changed;
use super::*;

const USERS: &str = r#"secrets = "secrets.toml"
[radius.first]
address = "192.0.2.10"
[radius.second]
address = "2001:db8::10"
auth_port = 1645
source = "2001:db8::1"
nas_identifier = "gw-a.example"
retransmit_timeout = "1s"
retransmit_tries = 3
retransmit_base = 2.0
dead_time = "5m"
[connections.users]
local_addrs = ["192.0.2.1"]
local = { auth = "pubkey", certs = ["gw.crt"], key = "gw.key", id = "gw-a.example" }
remote = { auth = "eap-radius", id = "%any", eap_id = "%any" }
[connections.users.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
"#;

const SECRETS: &str = "[radius.first]\nsecret = \"0123456789abcdef\"\n[radius.second]\nsecret = \"0123456789abcdef\"\n";

fn load_users(line: &str, by: &str, secrets: &str) -> Result<Loaded, Vec<String>> {
    load_changed(USERS, line, by, secrets)
}

#[test]
fn peers_are_users_of_the_servers_in_their_order() {
    let loaded = load_users("", "", SECRETS).unwrap();
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    let RemoteAuth::Eap(method) = &loaded.ike.connections[0].remote_auth else { panic!() };
    assert_eq!(method.keyword(), "eap-radius");
    let shown = format!("{method:?}");
    assert!(shown.contains(r#"["first at 192.0.2.10:1812", "second at [2001:db8::10]:1645"]"#) && shown.contains("\"users\""), "{shown}");
    assert!(!shown.contains("0123456789abcdef"));
}

#[test]
fn a_short_secret_is_warned_of() {
    let loaded = load_users("", "", &SECRETS.replacen("0123456789abcdef", "testing123", 1)).unwrap();
    let [warning] = loaded.warnings.as_slice() else { panic!("{:?}", loaded.warnings) };
    assert!(warning.field == "radius.first" && warning.problem.contains("shorter than 16 octets"), "{warning}");
}

#[test]
fn what_does_not_fit_is_explained() {
    let whole = USERS.split_inclusive("dead_time = \"5m\"\n").next().unwrap();
    let remote = "remote = { auth = \"eap-radius\", id = \"%any\", eap_id = \"%any\" }";
    let cases = [
        (
            whole,
            "secrets = \"secrets.toml\"\n",
            SECRETS,
            "connections.users.remote.auth: there are no RADIUS servers; add [radius.NAME] with address",
        ),
        (
            "",
            "",
            "[radius.first]\nsecret = \"0123456789abcdef\"\n",
            "radius.second.secret: there is no secret for this server; add [radius.second] with secret",
        ),
        ("", "", "[radius.first]\n[radius.second]\nsecret = \"0123456789abcdef\"\n", "radius.first.secret: this is missing"),
        ("address = \"192.0.2.10\"\n", "", SECRETS, "radius.first.address: this is missing; write address = \"192.0.2.10\""),
        ("192.0.2.10", "radius.example", SECRETS, "radius.first.address: invalid IP address syntax"),
        ("1645", "0", SECRETS, "radius.second.auth_port: "),
        ("source = \"2001:db8::1\"", "source = \"192.0.2.1\"", SECRETS, "radius.second.source: IPv4 and IPv6 do not mix"),
        (
            "\"gw-a.example\"\nretransmit",
            "\"\"\nretransmit",
            SECRETS,
            "radius.second.nas_identifier: RADIUS takes names of 1 to 253 octets",
        ),
        ("\"1s\"", "\"1ms\"", SECRETS, "radius.second.retransmit_timeout: this would flood the server"),
        (
            "\"1s\"",
            "\"6s\"",
            SECRETS,
            "radius.second.retransmit_timeout: a silent server would be asked for 42 s, and no peer waits longer than 20 s",
        ),
        ("retransmit_tries = 3", "retransmit_tries = 0", SECRETS, "radius.second.retransmit_tries: "),
        ("dead_time = \"5m\"", "secret = \"0123456789abcdef\"", SECRETS, "radius.second.secret: unknown key"),
        (remote, "remote = { auth = \"eap-radius\", users = \"alice\" }", SECRETS, "connections.users.remote.users: unknown key"),
        (
            "auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\", id = \"gw-a.example\"",
            "auth = \"eap-radius\", id = \"gw-a.example\"",
            SECRETS,
            "connections.users.local.auth: by RADIUS a gateway knows its peers",
        ),
        (
            "auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\", id = \"gw-a.example\"",
            "auth = \"psk\"",
            SECRETS,
            "has to show a certificate",
        ),
    ];
    for (line, by, secrets, expected) in cases {
        let faults = load_users(line, by, secrets).expect_err(expected);
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}
