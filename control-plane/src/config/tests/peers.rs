use super::*;

/// Another peer, whose networks are `local` here and `remote` there.
fn other(local: &str, remote: &str, more: &str) -> String {
    format!(
        "[connections.site-d]\nremote_addrs = [\"192.0.2.4\"]\nlocal.id = \"gw-a.example\"\nremote.id = \"gw-d.example\"\n\
         [connections.site-d.children.lan]\nlocal_ts = [\"{local}\"]\nremote_ts = [\"{remote}\"]\n{more}"
    )
}

fn with(local: &str, remote: &str, more: &str) -> Result<Loaded, Vec<String>> {
    let secrets = format!("{GOOD_SECRETS}\n[ike.d]\nsecret = \"0x6b6579\"\nids = [\"gw-d.example\"]\n");
    load_in(&folder(&format!("{GOOD}{}", other(local, remote, more)), &secrets))
}

/// The good configuration's child is for 10.1.0.0/24 === 10.2.0.0/24.
#[test]
fn packets_of_two_peers_are_one_peers_or_have_an_order() {
    let faults = with("10.1.0.0/16", "10.2.0.128/25", "").unwrap_err();
    let [fault] = faults.as_slice() else { panic!("{faults:?}") };
    for part in [
        "connections.site-d.children.lan: ",
        "connections.site-b.children.net, of another peer, selects some of the same packets: 10.1.0.0/24 === 10.2.0.128/25",
        "write priority in one of them",
    ] {
        assert!(fault.contains(part), "{part} in {fault}");
    }
    assert!(with("10.1.0.0/16", "10.2.0.128/25", "priority = 900\n").is_ok());
    assert!(with("10.1.0.0/16", "10.3.0.0/24", "").is_ok());
    assert!(with("10.1.1.0/24", "10.2.0.0/24", "").is_ok());
}

#[test]
fn two_connections_of_one_peer_may_overlap() {
    let text = other("10.1.0.0/16", "10.2.0.128/25", "").replace("gw-d.example", "gw-b.example");
    assert!(load_in(&folder(&format!("{GOOD}{text}"), GOOD_SECRETS)).is_ok());
}

/// Peers that call may be told apart by what they bring along.
#[test]
fn peers_that_call_share_what_is_the_same_for_all() {
    let called = |remote: &str| {
        let (connection, _) = GOOD.split_once("[policies.ssh]").unwrap();
        let both = connection.replace("remote_addrs = [\"192.0.2.2\"]\n", "").replace("start_action = \"trap\"\n", "");
        let text = other("10.1.0.0/16", remote, "").replace("remote_addrs = [\"192.0.2.4\"]\n", "").replace("gw-d.example", "*.d.example");
        let secrets = format!("{GOOD_SECRETS}\n[ike.d]\nsecret = \"0x6b6579\"\nids = [\"*.d.example\"]\n");
        load_in(&folder(&format!("{both}{text}"), &secrets))
    };
    let loaded = called("10.2.0.0/24").unwrap();
    let entries: Vec<_> = loaded.ike.connections.iter().map(|connection| loaded.ike.entry(connection.children[0].policy)).collect();
    assert_eq!(entries[0], entries[1]);
    assert!(called("10.2.0.0/25").unwrap_err()[0].contains("of another peer"));
}

#[test]
fn a_name_with_an_asterisk_is_the_peers_alone() {
    let local = load_in(&folder(&GOOD.replace("\"gw-a.example\"", "\"*.example\""), GOOD_SECRETS)).unwrap_err();
    assert!(local.iter().any(|fault| fault.contains("local.id: '*.example' stands for many")), "{local:?}");
    let odd = load_in(&folder(&GOOD.replace("\"gw-b.example\"", "\"gw*.example\""), &GOOD_SECRETS.replace("gw-b.example", "gw*.example")));
    let warnings: Vec<_> = odd.unwrap().warnings.iter().map(ToString::to_string).collect();
    assert!(warnings.iter().any(|warning| warning.contains("the * in 'gw*.example' stands for nothing but itself")), "{warnings:?}");
}

/// swanctl's wildcards: any name of a domain, any mailbox of one, any value in a distinguished name, anybody.
#[test]
fn peers_by_pattern_find_their_key_where_it_names_them_or_the_pattern() {
    let by = |id: &str, owner: &str| {
        let secrets = GOOD_SECRETS.replace("gw-b.example", owner);
        assert_ne!(secrets, GOOD_SECRETS);
        load_in(&folder(&GOOD.replace("\"gw-b.example\"", &format!("\"{id}\"")), &secrets))
    };
    for (id, owner) in [
        ("*.example", "gw-c.example"),
        ("*.example", "*.example"),
        ("*@example.org", "alice@example.org"),
        ("C=DE, O=Example, CN=*", "C=DE, O=Example, CN=gw"),
        ("%any", "alice@example.org"),
    ] {
        let loaded = by(id, owner).unwrap_or_else(|faults| panic!("{id}: {faults:?}"));
        let expected = (id != "%any").then(|| id.parse().unwrap());
        assert_eq!(loaded.ike.connections[0].remote_identity, expected, "{id}");
    }
    let faults = by("*.example", "gw.other").unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("no pre-shared key for 'gw-a.example' and '*.example'")), "{faults:?}");
}
