//! The table of strongSwan's words names no word of ours that is not there.

use super::*;

const TABLE: &str = include_str!("../../../strongswan.md");

/// What is said about a document in which one key is set, and the path at which it stands.
fn said_of(word: &str) -> (String, Vec<String>) {
    let (path, value) = word.split_once(" = ").unwrap_or((word, "{}"));
    let (in_secrets, path) = path.strip_prefix("secrets:").map_or((false, path), |path| (true, path));
    let path = path.replace("NAME", "x");
    // Some words belong to one way of authentication.
    let auth = |side: &str, way: &str| format!("connections.x.{side}.auth = \"{way}\"\n");
    let more = match path.rsplit_once('.').map(|(of, key)| (of.rsplit('.').next().unwrap(), key)) {
        Some((side, "eap_id")) => auth(side, "eap-mschapv2"),
        Some((side, "xauth_id")) => auth(side, "xauth"),
        Some((side @ ("local" | "remote"), "certs" | "key" | "cacerts" | "pubkeys" | "revocation")) => auth(side, "pubkey"),
        // And some actions to a peer that can be called.
        _ if path.contains(".children.") => {
            "connections.x.local_addrs = [\"192.0.2.1\"]\nconnections.x.remote_addrs = [\"192.0.2.2\"]\n".to_owned()
        }
        _ => String::new(),
    };
    let line = format!("{path} = {value}\n");
    let (config, secrets) =
        if in_secrets { (GOOD.to_owned(), line) } else { (format!("secrets = \"secrets.toml\"\n{more}{line}"), GOOD_SECRETS.to_owned()) };
    (path, load_in(&folder(&config, &secrets)).err().unwrap_or_default())
}

fn ours() -> impl Iterator<Item = &'static str> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.flat_map(|row| row.split('|').nth(3).unwrap().split('`').skip(1).step_by(2))
}

#[test]
fn every_word_of_the_table_is_known_and_takes_the_value_beside_it() {
    assert!(ours().count() > 60, "the table is not found");
    for word in ours() {
        let (path, faults) = said_of(word);
        let of_it: Vec<_> =
            faults.iter().filter(|fault| fault.contains(&format!("{path}: ")) || fault.contains(&format!("{path}["))).collect();
        assert!(!of_it.iter().any(|fault| fault.contains("unknown key")), "{word}: {of_it:?}");
        if word.contains(" = ") && !word.contains("dynamic") {
            assert!(of_it.is_empty(), "{word}: {of_it:?}");
        }
    }
    let (_, faults) = said_of("connections.NAME.leftid");
    assert!(faults.iter().any(|fault| fault.contains("connections.x.leftid: unknown key")), "{faults:?}");
}
