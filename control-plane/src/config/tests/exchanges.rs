use ike::config::{Childless, Connection, Fragmentation};

use super::*;

fn connection(lines: &str) -> Connection {
    let text = GOOD.replace("dpd_delay = \"30s\"", lines);
    load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike.connections.remove(0)
}

#[test]
fn fragmentation_is_strongswans_and_has_a_size() {
    let read = |lines| connection(lines).fragmentation;
    assert_eq!(read(""), Fragmentation::Yes { datagram: 1280 });
    assert_eq!(read("fragmentation = \"yes\"\nfragment_size = 576"), Fragmentation::Yes { datagram: 576 });
    assert_eq!(read("fragmentation = \"force\""), Fragmentation::Yes { datagram: 1280 });
    assert_eq!(read("fragmentation = \"accept\""), Fragmentation::Accept);
    assert_eq!(read("fragmentation = \"no\""), Fragmentation::No);
}

#[test]
fn childless_has_strongswans_words() {
    let words = [("allow", Childless::Allow), ("prefer", Childless::Prefer), ("force", Childless::Force), ("never", Childless::Never)];
    for (word, expected) in words {
        assert_eq!(connection(&format!("childless = \"{word}\"")).childless, expected);
    }
    assert_eq!(connection("").childless, Childless::Allow);
}

#[test]
fn redirects_are_followed_unless_it_says_not_to() {
    assert!(connection("").follow_redirects);
    assert!(!connection("follow_redirects = false").follow_redirects);
}

#[test]
fn what_contradicts_itself_is_named_with_a_remedy() {
    for (lines, expected) in [
        (
            "fragment_size = 255",
            "culvert.toml:6:17: connections.site-b.fragment_size: 255 is out of range; write a number from 256 to 65535",
        ),
        (
            "fragmentation = \"accept\"\nfragment_size = 576",
            "culvert.toml:7:17: connections.site-b.fragment_size: no fragments are sent, as fragmentation says; leave it out, or write \
             fragmentation = \"yes\"",
        ),
        (
            "fragmentation = \"maybe\"",
            "culvert.toml:6:17: connections.site-b.fragmentation: 'maybe' is not known here; write \"yes\" or \"accept\" or \"no\" or \"force\"",
        ),
    ] {
        assert_eq!(faults("dpd_delay = \"30s\"", lines), [expected]);
    }
}

#[test]
fn tokens_grow_from_a_file_that_nobody_else_may_read() {
    let text = format!("{GOOD}[control]\ncrash_secret = \"crash.secret\"\n");
    let folder = folder(&text, GOOD_SECRETS);
    let path = folder.path().join("crash.secret");
    let fault = || load_in(&folder).expect_err("no fault was found").remove(0);
    assert!(fault().contains("cannot read this file") && fault().contains("openssl rand -hex 32"), "{}", fault());
    fs::write(&path, format!("{}\n", "5".repeat(31))).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(fault().contains("holds less than 32 characters"), "{}", fault());
    fs::write(&path, format!("{}\n", "5".repeat(32))).unwrap();
    assert_eq!(load_in(&folder).unwrap().ike.crash_secret.unwrap().expose(), [b'5'; 32]);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(fault().contains("mode 640 lets others at the secrets"), "{}", fault());
}
