use super::*;

const POOLS: &str = r#"[pools.v4]
addrs = "10.3.0.0/24"
dns = ["10.1.0.53"]
subnet = ["10.1.0.0/16"]
[pools.v6]
addrs = "fd99::10-fd99::99"
"#;

/// The good configuration as that of a gateway for road warriors.
fn gateway(change: impl Fn(String) -> String) -> Result<Loaded, Vec<String>> {
    let with = GOOD.replace("remote_addrs = [\"192.0.2.2\"]", "pools = [\"v4\", \"v6\"]").replace("remote_ts = [\"10.2.0.0/24\"]\n", "");
    let with = with.replace("start_action = \"trap\"\n", "") + POOLS;
    load_in(&folder(&change(with), GOOD_SECRETS))
}

#[test]
fn pools_arrive_and_are_what_remote_ts_is_by_default() {
    let loaded = gateway(|text| text).unwrap();
    let [connection] = loaded.ike.connections.as_slice() else { panic!() };
    let pools: Vec<_> = connection.pools.iter().map(|pool| (pool.name.as_str(), pool.addresses.to_string())).collect();
    assert_eq!(pools, [("v4", "10.3.0.0/24".into()), ("v6", "fd99::10-fd99::99".into())]);
    assert_eq!(connection.pools[0].dns, ["10.1.0.53".parse::<std::net::IpAddr>().unwrap()]);
    assert_eq!(connection.pools[0].networks, ["10.1.0.0/16".parse().unwrap()]);
    // local_ts has no IPv6.
    let [child] = connection.children.as_slice() else { panic!() };
    assert_eq!(
        (child.local_dynamic, child.remote_dynamic, child.remote_selectors.as_slice()),
        (false, true, &["10.3.0.0/24".parse().unwrap()][..])
    );
    let word = gateway(|text| text.replace("local_ts = [\"10.1.0.0/24\"]\n", "local_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"dynamic\"]\n"))
        .unwrap();
    assert!(word.ike.connections[0].children[0].remote_dynamic);
}

#[test]
fn addresses_to_ask_for_are_what_local_ts_is_by_default() {
    let text = GOOD.replace("dpd_delay", "vips = [\"0.0.0.0\", \"fd99::7\"]\ndpd_delay").replacen("local_ts = [\"10.1.0.0/24\"]\n", "", 1);
    let loaded = load_in(&folder(&text, GOOD_SECRETS)).unwrap();
    let [connection] = loaded.ike.connections.as_slice() else { panic!() };
    assert_eq!(connection.virtual_addresses, ["0.0.0.0", "fd99::7"].map(|text| text.parse::<std::net::IpAddr>().unwrap()));
    assert_eq!(
        (connection.children[0].local_dynamic, connection.children[0].local_selectors.as_slice()),
        (true, &["0.0.0.0/0".parse().unwrap()][..])
    );
}

#[test]
fn faults_of_pools_name_field_and_remedy() {
    let table = [
        ("addrs = \"10.3.0.0/24\"", "addrs = \"10.3.0.0/33\"", "pools.v4.addrs: ", "write for example \"10.3.0.0/24\""),
        ("addrs = \"10.3.0.0/24\"\n", "", "pools.v4.addrs: this is missing", "write addrs = \"10.3.0.0/24\""),
        ("addrs = \"fd99::10-fd99::99\"", "addrs = \"10.3.0.9\"", "pools.v6.addrs: pool 'v4' has some of these addresses", "one pool"),
        (
            "subnet = [\"10.1.0.0/16\"]",
            "subnet = [\"10.1.0.0-10.1.0.9\"]",
            "pools.v4.subnet[0]: '10.1.0.0-10.1.0.9' is no network",
            "prefix",
        ),
        ("dns = [\"10.1.0.53\"]", "dns = [\"ns\"]", "pools.v4.dns[0]: ", "write for example"),
        (
            "pools = [\"v4\", \"v6\"]",
            "pools = [\"v4\", \"v5\"]",
            "connections.site-b.pools[1]: there is no pool 'v5'",
            "write \"v4\" or \"v6\"",
        ),
        (
            "esp_proposals",
            "start_action = \"start\"\nesp_proposals",
            "connections.site-b.children.net.start_action: the connection has no remote_addrs",
            "start_action = \"none\"",
        ),
        ("pools = [\"v4\", \"v6\"]", "", "connections.site-b.children.net.remote_ts: this is missing", "write remote_ts"),
        (
            "local_ts = [\"10.1.0.0/24\"]",
            "local_ts = [\"dynamic\"]",
            "connections.site-b.children.net.local_ts[0]: 'dynamic' stands alone",
            "write vips in the connection",
        ),
        ("dpd_delay", "vips = [\"any\"]\ndpd_delay", "connections.site-b.vips[0]: 'any' is no address", "write \"0.0.0.0\""),
    ];
    for (line, by, problem, remedy) in table {
        let faults = gateway(|text| {
            assert!(text.contains(line), "{line}");
            text.replacen(line, by, 1)
        })
        .expect_err(by);
        assert!(faults.iter().any(|fault| fault.contains(problem) && fault.contains(remedy)), "{problem}\n{}", faults.join("\n"));
    }
}

#[test]
fn who_gives_addresses_cannot_begin() {
    let called = |text: String| text.replace("pools = [\"v4\", \"v6\"]", "pools = [\"v4\", \"v6\"]\nremote_addrs = [\"192.0.2.2\"]");
    let faults = gateway(|text| called(text).replace("esp_proposals", "start_action = \"start\"\nesp_proposals")).unwrap_err();
    assert!(faults.iter().any(|fault| fault.contains("children.net.start_action: the peer asks for the address")), "{faults:?}");
}

/// Two connections whose peers get addresses of the same pool share an entry of the SPD: the later one is not hidden.
#[test]
fn connections_with_the_same_pool_do_not_hide_each_other() {
    const OTHER: &str = r#"[connections.managers]
pools = ["v4"]
[connections.managers.local]
id = "gw-a.example"
[connections.managers.children.all]
local_ts = ["10.1.0.0/16"]
"#;
    // Before the policy that lets SSH pass, which has a say in some of its traffic.
    let both = |between: &str| {
        gateway(|text| {
            text.replace("pools = [\"v4\", \"v6\"]", "pools = [\"v4\"]")
                .replace("[policies.ssh]", &format!("{between}{OTHER}[policies.ssh]"))
        })
    };
    let loaded = both("").unwrap();
    let protect: Vec<_> = loaded.ike.spd().into_iter().filter(|policy| policy.action == PolicyAction::Protect).collect();
    let [entry] = protect.as_slice() else { panic!("{protect:?}") };
    assert_eq!((&entry.local, &entry.remote), (&selectors(&["10.1.0.0/24", "10.1.0.0/16"]), &selectors(&["10.3.0.0/24"])));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    // What stands in between keeps its place: then nothing says whose packets they are.
    let parted = both("[policies.no]\nmode = \"drop\"\nlocal_ts = [\"10.1.9.0/24\"]\nremote_ts = [\"10.3.0.0/24\"]\n").unwrap_err();
    assert!(parted[0].contains("connections.managers.children.all: connections.site-b.children.net, of another peer"), "{parted:?}");
}

/// Leases of either would be looked for in the earlier entry: an order is no remedy.
#[test]
fn connections_that_have_some_of_their_pools_in_common_are_told_to_have_all() {
    let (v4, v6) = (["\"v4\"", "\"10.1.0.0/24\""], ["\"v6\"", "\"fd01::/64\""]);
    let [pools, networks] = [0, 1].map(|place| format!("{}, {}", v4[place], v6[place]));
    let (both, v4_alone) = ([pools.as_str(), networks.as_str()], [pools.as_str(), v4[1]]);
    let with = |[first, here]: [&str; 2], [second, there]: [&str; 2]| {
        let other = format!(
            "[connections.others]\npools = [{second}]\nlocal.id = \"gw-a.example\"\n[connections.others.children.all]\nlocal_ts = [{there}]\n"
        );
        gateway(|text| {
            let text = text.replace("\"v4\", \"v6\"", first).replace("\"10.1.0.0/24\"", here);
            text.replace("[policies.ssh]", &format!("{other}[policies.ssh]"))
        })
    };
    for (first, second) in [(v4, both), (both, v4), (both, v4_alone)] {
        let faults = with(first, second).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        assert!(fault.contains("give both connections the same pools in the same order") && !fault.contains("priority"), "{fault}");
    }
    for (first, second) in [(both, both), (v4, v6), (v4, v4_alone)] {
        let loaded = with(first, second);
        assert!(loaded.is_ok(), "{:?}", loaded.err());
    }
}

fn selectors(texts: &[&str]) -> Vec<ipsec_types::TrafficSelector> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}
