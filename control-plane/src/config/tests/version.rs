//! Which versions of IKE a connection speaks.

use ike::config::Version;

use super::authentication::{SIGNED, pki};
use super::*;

fn with(version: &str, change: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let dpd = "dpd_delay = \"30s\"";
    let mut text = GOOD.replacen(dpd, &format!("{dpd}\nversion = {version}"), 1);
    for (from, to) in change {
        assert!(text.contains(from), "{from}");
        text = text.replacen(from, to, 1);
    }
    load_in(&folder(&text, GOOD_SECRETS))
}

const CBC: (&str, &str) = ("proposals = [\"aes128gcm16-prfsha256-x25519\"]", "proposals = [\"aes128-sha256-modp2048\"]");

#[test]
fn the_version_is_2_unless_it_is_said_and_the_others_warn_why() {
    for (text, version) in [("1", Version::V1), ("2", Version::V2), ("\"any\"", Version::Any), ("0", Version::Any)] {
        let loaded = with(text, &[CBC]).unwrap();
        assert_eq!(loaded.ike.connections[0].version, version);
        let warned = loaded.warnings.iter().filter(|warning| warning.to_string().contains("RFC 9395")).count();
        assert_eq!(warned, usize::from(version != Version::V2), "{text}");
    }
    let without = load_in(&folder(GOOD, GOOD_SECRETS)).unwrap();
    assert_eq!((without.ike.connections[0].version, without.warnings.len()), (Version::V2, 0));
}

#[test]
fn ikev1_by_default_offers_what_it_can_say_in_one_datagram() {
    let loaded = with("1", &[("proposals = [\"aes128gcm16-prfsha256-x25519\"]", "")]).unwrap();
    let [proposal] = &loaded.ike.connections[0].proposals[..] else { panic!("one proposal") };
    let transforms = proposal.encryption().len() * proposal.integrity().len() * proposal.key_exchange().len();
    assert!((1..=16).contains(&transforms), "{transforms}");
    let [esp] = &loaded.ike.connections[0].children[0].proposals[..] else { panic!("one proposal") };
    assert!(!esp.encryption().is_empty());
}

#[test]
fn ikev1_has_one_method_of_authentication_for_both_sides() {
    let with = |local: &str, remote: &str| {
        let text =
            SIGNED.replacen("[connections.site-b]", "[connections.site-b]\nversion = 1\nproposals = [\"aes128-sha256-modp2048\"]", 1);
        let text = text.replacen("local = { auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\"", &format!("local = {{ {local}"), 1);
        let text = text.replacen("remote = { auth = \"pubkey\", cacerts = [\"ca.crt\"]", &format!("remote = {{ {remote}"), 1);
        let folder = folder(&text, GOOD_SECRETS);
        pki(&folder);
        load_in(&folder)
    };
    let (shared, remote) = ("auth = \"psk\"", "auth = \"pubkey\", cacerts = [\"ca.crt\"]");
    let own = |key: &str| format!("auth = \"pubkey\", key = \"{key}\"");
    assert!(with(&own("gw.key"), remote).is_ok() && with(shared, shared).is_ok());
    for (local, remote, expected) in [
        (own("gw.key"), shared, "no method by which local shows itself by pubkey and remote by psk"),
        (shared.to_owned(), remote, "no method by which local shows itself by psk and remote by pubkey"),
        (own("ed25519.key"), remote, "IKEv1 has no signatures by Ed25519; write version = 2, or name a key of RSA or ECDSA"),
    ] {
        let faults = with(&local, remote).expect_err(expected).concat();
        assert!(faults.contains(expected), "{faults}");
    }
}

#[test]
fn aggressive_mode_is_ikev1s_and_warns_why() {
    let aggressive = ("dpd_delay", "aggressive = true\ndpd_delay");
    for version in ["1", "\"any\""] {
        let loaded = with(version, &[CBC, aggressive]).unwrap();
        assert!(loaded.ike.connections[0].aggressive);
        assert!(loaded.warnings.iter().any(|warning| warning.to_string().contains("by which the key can be guessed at leisure")));
    }
    let loaded = with("1", &[CBC, ("dpd_delay", "aggressive = false\ndpd_delay")]).unwrap();
    assert!(!loaded.ike.connections[0].aggressive && !loaded.warnings.iter().any(|warning| warning.to_string().contains("guessed")));
    assert!(with("2", &[aggressive]).expect_err("a fault").concat().contains("aggressive mode is IKEv1's"));
}

#[test]
fn what_ikev1_has_no_words_for_is_a_fault() {
    let fault = |version: &str, change: &[(&str, &str)]| with(version, change).expect_err("no fault was found").concat();
    for version in ["1", "\"any\""] {
        assert!(fault(version, &[]).contains("none of the proposals can be said in IKEv1"), "{version}");
        assert!(fault(version, &[CBC, ("dpd_delay", "ppk_id = \"site-b.ppk\"\ndpd_delay")]).contains("IKEv1 has no PPK"));
    }
    let several = ("remote_ts = [\"10.2.0.0/24\"]", "remote_ts = [\"10.2.0.0/24\", \"10.3.0.0/24\"]");
    assert!(fault("1", &[CBC, several]).contains("child 'net' has several selectors"));
    assert!(with("\"any\"", &[CBC, several]).is_ok(), "IKEv2 can say it");
    let ports = ("remote_ts = [\"10.2.0.0/24\"]", "remote_ts = [\"10.2.0.0/24[tcp/1-9]\"]");
    assert!(fault("1", &[CBC, ports]).contains("has a range of ports"));
    let chacha = ("esp_proposals = [\"aes128gcm16\"]", "esp_proposals = [\"chacha20poly1305\"]");
    assert!(fault("1", &[CBC, chacha]).contains("has no proposal that can be said in IKEv1"));
    assert!(fault("3", &[]).contains("write a number from 0 to 2"));
}

#[test]
fn what_only_the_oldest_peers_have_stands_in_proposals_alone_and_not_with_ikev2() {
    const OLD: (&str, &str) = (CBC.0, "proposals = [\"3des-md5-modp768-modp1536\"]");
    const OLD_ESP: (&str, &str) = ("esp_proposals = [\"aes128gcm16\"]", "esp_proposals = [\"3des-md5-modp768\"]");
    let loaded = with("1", &[OLD, OLD_ESP]).unwrap();
    let outdated =
        |word: &str| loaded.warnings.iter().filter(|warning| warning.problem.starts_with(&format!("{word} should no longer"))).count();
    assert_eq!(["3des", "md5", "modp768", "modp1536"].map(outdated), [2, 2, 2, 1]);
    for version in ["2", "\"any\""] {
        let faults = with(version, &[OLD, OLD_ESP]).unwrap_err().concat();
        assert!(faults.contains("md5 must not be used with IKEv2 (RFC 8247 section 2.3)"), "{faults}");
        assert!(faults.contains("esp_proposals[0]") && faults.contains("write version = 1"), "{faults}");
    }
    assert!(with("2", &[(CBC.0, "proposals = [\"aes128-sha256-prfmd5-modp2048\"]")]).unwrap_err().concat().contains("prfmd5 must not"));
    let by_default =
        with("1", &[(CBC.0, "")]).unwrap().ike.connections.remove(0).proposals.iter().map(ToString::to_string).collect::<String>();
    assert!(!["md5", "3des", "modp768", "modp1024", "modp1536"].iter().any(|word| by_default.contains(word)), "{by_default}");
}

/// A user after phase 1, in swanctl's words, and where it has no place.
#[test]
fn users_of_ikev1_follow_a_key_or_a_signature() {
    const USERS: &str = "\n[eap.alice]\nid = \"alice\"\nsecret = \"wonderland\"\n";
    let load = |version: &str, local: &str, remote: &str| {
        let head = format!("[connections.site-b]\nversion = {version}\nproposals = [\"aes128-sha256-modp2048\"]");
        let text = SIGNED.replacen("[connections.site-b]", &head, 1);
        let text = text.replacen("local = { auth = \"pubkey\", certs = [\"gw.crt\"], key = \"gw.key\"", &format!("local = {{ {local}"), 1);
        let text = text.replacen("remote = { auth = \"pubkey\", cacerts = [\"ca.crt\"]", &format!("remote = {{ {remote}"), 1);
        let folder = folder(&text, &format!("{GOOD_SECRETS}{USERS}"));
        pki(&folder);
        load_in(&folder)
    };
    let (shared, xauth) = ("auth = \"psk\"", "auth = \"xauth\"");
    let (own, theirs) = ("auth = \"pubkey\", key = \"gw.key\"", "auth = \"pubkey\", cacerts = [\"ca.crt\"]");
    let more = |first: &str, section: &str, rest: &str| format!("{first} }}\n{section} = {{ {xauth}{rest}");
    let user = |first: &str| more(first, "local-2", ", xauth_id = \"alice\"");
    let users = |first: &str| more(first, "remote-2", "");
    for (local, remote) in [
        (user(shared), shared.to_owned()),
        (shared.to_owned(), users(shared)),
        (format!("{xauth}, xauth_id = \"alice\""), theirs.to_owned()),
    ] {
        let loaded = load("1", &local, &remote);
        assert!(loaded.is_ok(), "{local} and {remote}: {loaded:?}");
        for version in ["2", "\"any\""] {
            let faults = load(version, &local, &remote).unwrap_err().join("\n");
            assert!(faults.contains("XAuth is for IKEv1 alone; write version = 1, or an EAP method"), "{faults}");
        }
    }
    for (local, remote, expected) in [
        (format!("{xauth}, xauth_id = \"alice\""), shared.to_owned(), "IKEv1 has no method by which local shows itself by"),
        (more(shared, "local-2", ", xauth_id = \"bob\""), shared.to_owned(), "no secret for the user 'bob'; add [eap.NAME]"),
        (shared.to_owned(), more(shared, "remote-2", ", xauth_id = \"bob\""), "no secret for the user 'bob'"),
        (own.to_owned(), xauth.to_owned(), "where a user follows, IKEv1 has no signatures by"),
    ] {
        let faults = load("1", &local, &remote).unwrap_err().join("\n");
        assert!(faults.contains(expected), "{faults}");
    }
}

#[test]
fn who_speaks_first_of_addresses_is_said_in_ikev1_alone() {
    for (version, accepted) in [("1", true), ("\"any\"", true), ("2", false)] {
        let loaded = with(&format!("{version}\npull = false"), &[CBC]);
        match loaded {
            Ok(loaded) => assert!(accepted && !loaded.ike.connections[0].pull),
            Err(faults) => assert!(!accepted && faults.join("\n").contains("pull is for IKEv1 alone"), "{faults:?}"),
        }
    }
}
