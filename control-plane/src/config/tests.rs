use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use ike::config::{Connection, StartAction};
use ipsec_types::{ChildProposal, DontFragment, Dscp, DscpSet, Identity, Mode, PolicyAction, Tfc, TfcPadding};
use tempfile::TempDir;

use super::*;

/// A configuration without faults; the tests break it line by line.
const GOOD: &str = r#"secrets = "secrets.toml"
[connections.site-b]
local_addrs = ["192.0.2.1"]
remote_addrs = ["192.0.2.2"]
proposals = ["aes128gcm16-prfsha256-x25519"]
dpd_delay = "30s"
local = { auth = "psk", id = "gw-a.example" }
remote = { auth = "psk", id = "gw-b.example" }
[connections.site-b.children.net]
local_ts = ["10.1.0.0/24"]
remote_ts = ["10.2.0.0/24"]
esp_proposals = ["aes128gcm16"]
start_action = "trap"
[policies.ssh]
action = "bypass"
local_ts = ["10.1.0.1[tcp/22]"]
remote_ts = ["0.0.0.0/0"]
"#;

const GOOD_SECRETS: &str = "[ike.site-b]\nids = [\"gw-b.example\"]\nsecret = \"0x0102\"\n";

/// Writes both files into a folder of their own.
fn folder(config: &str, secrets: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("culvert.toml"), config).unwrap();
    fs::write(folder.path().join("secrets.toml"), secrets).unwrap();
    fs::set_permissions(folder.path().join("secrets.toml"), fs::Permissions::from_mode(0o600)).unwrap();
    folder
}

fn load_in(folder: &TempDir) -> Result<Loaded, Vec<String>> {
    let prefix = format!("{}/", folder.path().display());
    load(&folder.path().join("culvert.toml")).map_err(|faults| faults.iter().map(|fault| fault.to_string().replace(&prefix, "")).collect())
}

/// What is said about the good configuration with `line` replaced.
fn faults(line: &str, by: &str) -> Vec<String> {
    assert!(GOOD.contains(line), "the table is out of date: {line}");
    load_in(&folder(&GOOD.replacen(line, by, 1), GOOD_SECRETS)).expect_err("no fault was found")
}

#[test]
fn everything_arrives_where_it_belongs() {
    let Loaded { control_socket, data_socket, ike, .. } = load_in(&folder(GOOD, GOOD_SECRETS)).unwrap();
    assert_eq!(control_socket, Path::new("/run/culvert/control.sock"));
    assert_eq!(data_socket, Path::new("/run/culvert/data.sock"));
    let [site_b] = ike.connections.as_slice() else { panic!() };
    assert_eq!(site_b.name, "site-b");
    assert_eq!((&site_b.local_addrs, &site_b.remote_addrs), (&vec!["192.0.2.1".parse().unwrap()], &vec!["192.0.2.2".parse().unwrap()]));
    assert_eq!(site_b.local_identity, Identity::Fqdn("gw-a.example".into()));
    assert_eq!(site_b.remote_identity, Some(Identity::Fqdn("gw-b.example".into())));
    assert_eq!((site_b.dpd_delay, site_b.keep_alive), (Some(Duration::from_secs(30)), Some(Duration::from_secs(20))));
    let [net] = site_b.children.as_slice() else { panic!() };
    assert_eq!((net.name.as_str(), net.start_action, net.replay_window), ("net", StartAction::Trap, 1024));
    assert_eq!(ike.psks[0].secret.expose(), [1, 2]);
    let [ssh] = ike.policies.as_slice() else { panic!() };
    assert_eq!((ssh.action, ssh.name.as_str()), (PolicyAction::Bypass, "ssh"));
    assert!(ssh.id != net.policy && net.priority < ssh.priority);
}

#[test]
fn keepalives_can_be_rarer_and_switched_off() {
    for (time, keep_alive) in [("45s", Some(Duration::from_secs(45))), ("0s", None)] {
        let text = GOOD.replace("dpd_delay = \"30s\"", &format!("keep_alive = \"{time}\""));
        assert_eq!(load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike.connections[0].keep_alive, keep_alive);
    }
}

#[test]
fn a_priority_of_its_own_comes_before_the_order_of_the_file() {
    let text = GOOD.replace("action = \"bypass\"", "action = \"bypass\"\npriority = 5");
    let ike = load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike;
    assert_eq!((ike.connections[0].children[0].priority, ike.policies[0].priority), (1000, 5));
}

#[test]
fn lifetimes_are_completed_as_strongswan_completes_them() {
    use ike::config::{ChildLifetime, IkeLifetime};
    use ipsec_types::Limits;
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    let read = |connection: &str, child: &str| {
        let text = GOOD.replace("dpd_delay = \"30s\"", connection).replace("start_action = \"trap\"", child);
        let connection = load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike.connections.remove(0);
        (connection.lifetime, connection.children[0].lifetime)
    };
    let (ike, child) = read("", "");
    assert_eq!(ike, IkeLifetime { rekey: seconds(14_400), hard: seconds(15_840), jitter: Duration::from_secs(1440) });
    let time = |of: fn(&ChildLifetime) -> &Limits, child: &ChildLifetime| of(child).time;
    let times = |child: &ChildLifetime| [time(|c| &c.soft, child), time(|c| &c.hard, child), time(|c| &c.jitter, child)];
    assert_eq!(times(&child), [seconds(3600), seconds(3960), seconds(360)]);
    assert_eq!((child.soft.octets, child.hard.packets), (None, None));

    let (ike, child) = read("rekey_time = \"10m\"\nover_time = \"30s\"\nrand_time = \"1m\"", "life_time = \"110s\"");
    assert_eq!(ike, IkeLifetime { rekey: seconds(600), hard: seconds(630), jitter: Duration::from_secs(60) });
    assert_eq!(times(&child), [seconds(100), seconds(110), seconds(10)], "from the hard limit down");

    let (ike, child) = read("rekey_time = 0", "rekey_time = 0\nrekey_bytes = \"1g\"\nlife_packets = 1100\nrand_packets = 5");
    assert_eq!(ike, IkeLifetime::default());
    assert_eq!(times(&child), [None; 3]);
    assert_eq!(
        (child.soft.octets, child.hard.octets, child.jitter.octets),
        (Some(1 << 30), Some((1 << 30) + (1 << 30) / 10), Some((1 << 30) / 10))
    );
    assert_eq!((child.soft.packets, child.hard.packets, child.jitter.packets), (Some(1000), Some(1100), Some(5)));

    let (_, child) = read("", "rekey_time = \"1h\"\nlife_time = 0");
    assert_eq!(times(&child)[..2], [seconds(3600), None], "0 switches a limit off");
}

#[test]
fn lifetimes_that_contradict_each_other_are_faults() {
    let child = |by: &str| faults("start_action = \"trap\"", by).join("\n");
    let fault = child("rekey_time = \"1h\"\nlife_time = \"1h\"");
    assert!(
        fault.contains("children.net.rekey_time: rekey_time does not lie below life_time")
            && fault.contains("write a rekey_time below life_time"),
        "{fault}"
    );
    let fault = child("rekey_bytes = \"2k\"\nlife_bytes = 1024");
    assert!(fault.contains("rekey_bytes does not lie below life_bytes"), "{fault}");
    let fault = child("rekey_packets = 10\nrand_packets = 10");
    assert!(fault.contains("children.net.rand_packets: this is not less than rekey_packets"), "{fault}");
    let fault = child("life_bytes = \"1t\"");
    assert!(fault.contains("children.net.life_bytes: this is no amount"), "{fault}");
    let fault = faults("dpd_delay = \"30s\"", "rekey_time = \"1m\"\nrand_time = \"1m\"").join("\n");
    assert!(fault.contains("site-b.rand_time: this is not less than rekey_time"), "{fault}");
}

#[test]
fn the_order_is_that_of_the_file_and_not_of_the_alphabet() {
    let more = GOOD.replace(
        "[policies.ssh]",
        "[policies.a]\naction = \"discard\"\nlocal_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.9.0.0/24\"]\n[policies.ssh]",
    );
    let more = more.replace(
        "[connections.site-b.children.net]",
        "[connections.site-b.children.z]\nlocal_ts = [\"10.1.1.0/24\"]\nremote_ts = [\"10.2.0.0/24\"]\n[connections.site-b.children.net]",
    );
    let ike = load_in(&folder(&more, GOOD_SECRETS)).unwrap().ike;
    let mut spd = ike.spd();
    spd.sort_by_key(|policy| policy.priority);
    assert_eq!(spd.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>(), ["z", "net", "a", "ssh"]);
}

/// Line of the good configuration, what stands there instead, what is said.
const TABLE: &[(&str, &str, &str)] = &[
    (
        "proposals = [\"aes128gcm16-prfsha256-x25519\"]",
        "proposals = [\"aes129gcm16-prfsha256-x25519\"]",
        "culvert.toml:5:14: connections.site-b.proposals[0]: unknown algorithm 'aes129gcm16'; \
         did you mean 'aes128gcm16'? write for example aes128gcm16-prfsha256-x25519",
    ),
    (
        "proposals = [\"aes128gcm16-prfsha256-x25519\"]",
        "proposals = [\"aes128gcm16-prfsha256-x25519\", \"aes128-x25519\"]",
        "culvert.toml:5:46: connections.site-b.proposals[1]: a cipher that is no AEAD needs an integrity algorithm, such as sha256; \
         write for example aes128gcm16-prfsha256-x25519",
    ),
    (
        "proposals = [\"aes128gcm16-prfsha256-x25519\"]",
        "proposals = [\"null-sha256-x25519\"]",
        "culvert.toml:5:14: connections.site-b.proposals[0]: 'null' protects ESP alone, and has no place in a proposal for IKE; \
         write for example aes128gcm16-prfsha256-x25519",
    ),
    (
        "proposals = [\"aes128gcm16-prfsha256-x25519\"]",
        "proposals = []",
        "culvert.toml:5:13: connections.site-b.proposals: this list is empty; \
         write proposals = [\"aes128gcm16-prfsha256-x25519\"], or leave it out for the default",
    ),
    (
        "esp_proposals = [\"aes128gcm16\"]",
        "esp_proposals = [\"aes256gcm16\", \"aes128-sha256-aes256gcm16\"]",
        "culvert.toml:12:33: connections.site-b.children.net.esp_proposals[1]: AEAD and other ciphers stand in one proposal: \
         write two proposals; write for example aes128gcm16",
    ),
    (
        "esp_proposals = [\"aes128gcm16\"]",
        "esp_proposals = [\"aes128\"]",
        "culvert.toml:12:18: connections.site-b.children.net.esp_proposals[0]: a cipher that is no AEAD needs an integrity algorithm, \
         such as sha256; write for example aes128gcm16",
    ),
    (
        "esp_proposals = [\"aes128gcm16\"]",
        "esp_proposals = [\"aes128gcm16-prfsha256\"]",
        "culvert.toml:12:18: connections.site-b.children.net.esp_proposals[0]: 'prfsha256' has no place in this kind of proposal; \
         write for example aes128gcm16",
    ),
    ("proposals = [", "propsals = [", "culvert.toml:5:1: connections.site-b.propsals: unknown key; did you mean proposals?"),
    ("[policies.ssh]", "[plicies.ssh]", "culvert.toml:14:2: plicies: unknown key; did you mean policies?"),
    (
        "dpd_delay = \"30s\"",
        "dpd_delay = \"30 parsecs\"",
        "culvert.toml:6:13: connections.site-b.dpd_delay: this is no time; write for example \"30s\", \"5m\" or \"4h\"",
    ),
    ("dpd_delay = \"30s\"", "version = 3", "culvert.toml:6:11: connections.site-b.version: 3 is out of range; write a number from 0 to 2"),
    (
        "dpd_delay = \"30s\"",
        "retransmit_base = 0.5",
        "culvert.toml:6:19: connections.site-b.retransmit_base: this number is out of range; \
         write a number from 1 to 10, with two decimals at most",
    ),
    (
        "dpd_delay = \"30s\"",
        "encap = \"yes\"",
        "culvert.toml:6:9: connections.site-b.encap: expected true or false, found text; write for example true or false",
    ),
    (
        "remote_addrs = [\"192.0.2.2\"]",
        "remote_addrs = [\"gw-b.example\"]",
        "culvert.toml:4:17: connections.site-b.remote_addrs[0]: 'gw-b.example' is no address, and names are not looked up; \
         write for example \"192.0.2.1\"",
    ),
    (
        "remote_addrs = [\"192.0.2.2\"]",
        "remote_addrs = \"192.0.2.2\"",
        "culvert.toml:4:16: connections.site-b.remote_addrs: expected a list of texts, found text; write for example [\"192.0.2.1\"]",
    ),
    (
        "remote_addrs = [\"192.0.2.2\"]",
        "",
        "culvert.toml:13:16: connections.site-b.children.net.start_action: the connection has no remote_addrs to call; \
         write remote_addrs, or start_action = \"none\"",
    ),
    (
        "local = { auth = \"psk\", id = \"gw-a.example\" }",
        "local = { auth = \"eap\", id = \"gw-a.example\" }",
        "culvert.toml:7:18: connections.site-b.local.auth: authentication 'eap' is not supported; write \"psk\" or \"pubkey\"",
    ),
    (
        "remote = { auth = \"psk\", id = \"gw-b.example\" }",
        "remote = { id = \"gw-c.example\" }",
        "culvert.toml:2:14: connections.site-b.local: no pre-shared key for 'gw-a.example' and 'gw-c.example'; \
         add [ike.site-b] with secret and ids to secrets.toml",
    ),
    (
        "local_ts = [\"10.1.0.0/24\"]",
        "local_ts = [\"10.1.0.0/33\"]",
        "culvert.toml:10:13: connections.site-b.children.net.local_ts[0]: '10.1.0.0/33' is no traffic selector: write 10.0.0.0/8, \
         10.0.0.1, 10.0.0.1-10.0.0.9 or 10.0.0.0/8[tcp/443]; write for example \"10.1.0.0/24\"",
    ),
    (
        "local_ts = [\"10.1.0.0/24\"]",
        "",
        "culvert.toml:9:30: connections.site-b.children.net.local_ts: this is missing; write local_ts = [\"10.1.0.0/24\"]",
    ),
    (
        "start_action = \"trap\"",
        "start_action = \"route\"",
        "culvert.toml:13:16: connections.site-b.children.net.start_action: 'route' is not known here; write \"none\" or \"trap\" or \"start\"",
    ),
    (
        "start_action = \"trap\"",
        "replay_window = 2000000",
        "culvert.toml:13:17: connections.site-b.children.net.replay_window: 2000000 is out of range; write a number from 0 to 1048576",
    ),
    (
        "\"192.0.2.2\"",
        "\"fe80::2\"",
        "culvert.toml:4:17: connections.site-b.remote_addrs[0]: 'fe80::2' is link-local, and IKE needs an address that says which link it is on; write an address",
    ),
    (
        "\"192.0.2.2\"",
        "\"::ffff:192.0.2.2\"",
        "culvert.toml:4:17: connections.site-b.remote_addrs[0]: '::ffff:192.0.2.2' is an IPv4 address in IPv6 notation; write",
    ),
    (
        "\"192.0.2.2\"",
        "\"2001:db8::2\"",
        "culvert.toml:2:14: connections.site-b.local_addrs: none of them can speak to remote_addrs: IPv4 and IPv6 do not mix; write addresses of one",
    ),
    (
        "remote_ts = [\"10.2.0.0/24\"]",
        "remote_ts = [\"10.2.0.0/24\", \"fd00:2::/64\"]",
        "culvert.toml:9:30: connections.site-b.children.net.remote_ts: 'fd00:2::/64' matches no packet: local_ts has nothing of IPv6; add it to local_ts",
    ),
    ("action = \"bypass\"", "", "culvert.toml:14:11: policies.ssh.mode: this is missing; write mode = \"pass\" or mode = \"drop\""),
    (
        "action = \"bypass\"",
        "action = \"bypass\"\nmode = \"drop\"",
        "culvert.toml:15:10: policies.ssh.action: this contradicts mode; leave action out",
    ),
    (
        "action = \"bypass\"",
        "mode = \"tunnel\"",
        "culvert.toml:15:8: policies.ssh.mode: 'tunnel' is not known here; write \"pass\" or \"drop\"",
    ),
    (
        "esp_proposals = [\"aes128gcm16\"]",
        "ah_proposals = [\"aes128-sha256\"]",
        "culvert.toml:12:17: connections.site-b.children.net.ah_proposals[0]: AH encrypts nothing, and 'aes128' has no place in its \
         proposals: leave it out, or write esp_proposals; write for example sha256",
    ),
    (
        "start_action = \"trap\"",
        "ah_proposals = [\"sha256\"]",
        "culvert.toml:9:30: connections.site-b.children.net.ah_proposals: a child is protected by ESP or by AH; \
         leave ah_proposals or esp_proposals out",
    ),
    (
        "esp_proposals = [\"aes128gcm16\"]",
        "ah_proposals = [\"sha256\"]\ntfc_dummies = 5",
        "culvert.toml:13:15: connections.site-b.children.net.tfc_dummies: this is for ESP in tunnel mode alone (RFC 4303 section 2.7); \
         leave it out, or write esp_proposals and mode = \"tunnel\"",
    ),
    (
        "remote_ts = [\"10.2.0.0/24\"]",
        "mode = \"transport\"",
        "culvert.toml:10:13: connections.site-b.children.net.local_ts[0]: '10.1.0.0/24' is wider than the gateway's own address, and \
         transport mode protects no other traffic; write 192.0.2.1, leave local_ts out, or write mode = \"tunnel\"",
    ),
    (
        "local_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.2.0.0/24\"]",
        "mode = \"transport\"\ncopy_df = true",
        "culvert.toml:11:11: connections.site-b.children.net.copy_df: transport mode has no outer header of its own; leave it out",
    ),
    (
        "start_action = \"trap\"",
        "dont_fragment = \"set\"\ncopy_df = false",
        "culvert.toml:14:11: connections.site-b.children.net.copy_df: this contradicts dont_fragment; leave copy_df out",
    ),
    (
        "start_action = \"trap\"",
        "copy_dscp = \"in\"",
        "culvert.toml:13:13: connections.site-b.children.net.copy_dscp: 'in' is not known here; write \"out\" or \"no\"",
    ),
    (
        "start_action = \"trap\"",
        "tfc_padding = 70000",
        "culvert.toml:13:15: connections.site-b.children.net.tfc_padding: 70000 is out of range; write a number from 0 to 65535",
    ),
    (
        "start_action = \"trap\"",
        "dscp = [\"ef\", 64]",
        "culvert.toml:13:15: connections.site-b.children.net.dscp[1]: '64' is no DSCP: write a number from 0 to 63, or cs0 to cs7, \
         af11 to af43, ef, va or le; write for example \"ef\" or 46",
    ),
    (
        "start_action = \"trap\"",
        "dscp = [46]\n[connections.site-b.children.voice]\nlocal_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.2.0.0/24\"]\ndscp = [\"va\", \"ef\"]",
        "culvert.toml:17:9: connections.site-b.children.voice.dscp: ef stands in child 'net', too, which selects the same traffic; \
         let each code point stand in one of them",
    ),
    ("start_action = \"trap\"", "mode = \"pass\"", "culvert.toml:12:1: connections.site-b.children.net.esp_proposals: unknown key; "),
    ("dpd_delay = \"30s\"", "dpd_delay = 30s", "culvert.toml:6:13: this is no TOML: "),
];

#[test]
fn each_fault_names_file_line_field_and_remedy() {
    for &(line, by, said) in TABLE {
        let faults = faults(line, by);
        assert!(faults.iter().any(|fault| fault.starts_with(said)), "{by}\nexpected {said}\nfound    {}", faults.join("\n         "));
    }
}

/// The only child of the good configuration, with `line` replaced; `before` stands in the connection.
fn child(before: &str, line: &str, by: &str) -> ike::config::Child {
    assert!(GOOD.contains(line));
    let text = GOOD.replacen(line, by, 1).replacen("dpd_delay", &format!("{before}dpd_delay"), 1);
    load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike.connections.remove(0).children.remove(0)
}

#[test]
fn what_a_child_does_to_packets() {
    let default = child("", "start_action = \"trap\"", "");
    assert_eq!((default.mode, default.dont_fragment, default.copy_dscp), (Mode::Tunnel, DontFragment::Copy, true));
    assert_eq!((default.tfc, default.dscp), (Tfc::default(), DscpSet::ALL));

    let written = child(
        "",
        "start_action = \"trap\"",
        "copy_df = false\ncopy_dscp = \"no\"\ntfc_padding = \"mtu\"\ntfc_dummies = 10\ndscp = [\"ef\", 0]",
    );
    assert_eq!((written.dont_fragment, written.copy_dscp), (DontFragment::Clear, false));
    assert_eq!(written.tfc, Tfc { padding: Some(TfcPadding::Mtu), dummies_per_second: 10 });
    assert_eq!(written.dscp.iter().map(Dscp::value).collect::<Vec<_>>(), [0, 46]);
    let written = child("", "start_action = \"trap\"", "dont_fragment = \"set\"\ncopy_dscp = false\ntfc_padding = 1400");
    assert_eq!((written.dont_fragment, written.copy_dscp, written.tfc.padding), (DontFragment::Set, false, Some(TfcPadding::To(1400))));

    let ah = child("", "esp_proposals = [\"aes128gcm16\"]", "ah_proposals = [\"sha256-esn\"]");
    assert_eq!(ah.proposals.iter().map(ToString::to_string).collect::<Vec<_>>(), ["sha256-esn"]);
    assert!(matches!(ah.proposals[0], ChildProposal::Ah(_)));
}

#[test]
fn ah_does_not_go_with_encapsulation() {
    let text =
        GOOD.replace("esp_proposals = [\"aes128gcm16\"]", "ah_proposals = [\"sha256\"]").replace("dpd_delay", "encap = true\ndpd_delay");
    let said = load_in(&folder(&text, GOOD_SECRETS)).unwrap_err();
    let expected = "culvert.toml:6:9: connections.site-b.encap: child 'net' has ah_proposals, and AH does not travel in UDP; \
                    leave encap out, or write esp_proposals there";
    assert_eq!(said, [expected]);
}

#[test]
fn transport_mode_is_for_the_gateways_own_addresses() {
    let ts = "local_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.2.0.0/24\"]";
    let transport = |by: &str| {
        let child = child("", ts, &format!("mode = \"transport\"{by}"));
        [child.local_selectors, child.remote_selectors].map(|list| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    assert_eq!(transport(""), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(transport("\nlocal_ts = [\"192.0.2.1[tcp/443]\"]"), ["192.0.2.1[tcp/443]", "192.0.2.2"]);
    let text = GOOD.replace(ts, "mode = \"transport\"").replace("remote_addrs = [\"192.0.2.2\"]\n", "").replace("\"trap\"", "\"none\"");
    let said = load_in(&folder(&text, GOOD_SECRETS)).unwrap_err();
    let expected = "culvert.toml:8:30: connections.site-b.children.net.mode: transport mode is between this gateway's own address and the \
                    peer's, and the connection has no remote_addrs; write remote_addrs in the connection, or mode = \"tunnel\"";
    assert_eq!(said, [expected]);
}

/// Wherever in the file it stands.
#[test]
fn a_child_without_dscp_has_what_the_others_leave() {
    let twin = |name: &str, dscp: &str| {
        format!("[connections.site-b.children.{name}]\nlocal_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.2.0.0/24\"]\ndscp = [{dscp}]\n")
    };
    let elsewhere = "[connections.site-b.children.other]\nlocal_ts = [\"10.1.0.0/24\"]\nremote_ts = [\"10.3.0.0/24\"]\n";
    let more = [&twin("voice", "\"ef\", \"va\""), elsewhere, &twin("video", "34"), "[policies.ssh]"].concat();
    let loaded = load_in(&folder(&GOOD.replace("[policies.ssh]", &more), GOOD_SECRETS)).unwrap();
    let dscp = |name: &str| loaded.ike.spd().into_iter().find(|policy| policy.name == name).unwrap().dscp;
    let all = ["net", "voice", "video"].map(dscp);
    assert_eq!(all.map(|set| set.iter().count()), [61, 2, 1]);
    assert!(!all[0].intersects(all[1]) && !all[0].intersects(all[2]));
    assert_eq!(dscp("other"), DscpSet::ALL);
    assert_eq!(loaded.warnings, []);

    let everything: Vec<String> = (0..64).map(|value| value.to_string()).collect();
    let said = load_in(&folder(&GOOD.replace("[policies.ssh]", &(twin("voice", &everything.join(", ")) + "[policies.ssh]")), GOOD_SECRETS))
        .unwrap_err();
    assert!(said[0].starts_with("culvert.toml:2:14: connections.site-b.children: nothing is left for child 'net': "), "{said:?}");
}

#[test]
fn both_families_may_stand_side_by_side() {
    let text = GOOD
        .replace("[\"192.0.2.1\"]", "[\"192.0.2.1\", \"2001:db8::1\"]")
        .replace("[\"192.0.2.2\"]", "[\"2001:db8::2\"]")
        .replace("[\"10.1.0.0/24\"]", "[\"10.1.0.0/24\", \"fd00:1::/64\"]")
        .replace("[\"10.2.0.0/24\"]", "[\"fd00:2::/64[ipv6-icmp]\", \"10.2.0.0/24\"]");
    let ike = load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike;
    let site_b = &ike.connections[0];
    assert_eq!(site_b.remote_addrs, ["2001:db8::2".parse::<std::net::IpAddr>().unwrap()]);
    let written: Vec<String> = site_b.children[0].remote_selectors.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["fd00:2::/64[ipv6-icmp]", "10.2.0.0/24"]);
}

#[test]
fn a_key_between_this_gateway_and_another_peer_does_not_fit() {
    let loaded = |ids: &str| load_in(&folder(GOOD, &format!("[ike.k]\nids = [{ids}]\nsecret = \"0x01\"\n")));
    for ids in ["", "\"GW-A.example\"", "\"gw-b.example\"", "\"gw-a.example\", \"gw-b.example\"", "\"gw-b.example\", \"gw-c.example\""] {
        assert!(loaded(ids).is_ok(), "{ids}");
    }
    for ids in ["\"gw-a.example\", \"gw-c.example\"", "\"gw-c.example\""] {
        let faults = loaded(ids).expect_err("another's key fits");
        assert!(faults[0].contains("no pre-shared key for 'gw-a.example' and 'gw-b.example'"), "{faults:?}");
    }
}

#[test]
fn a_single_fault_is_said_once() {
    for &(line, by, said) in TABLE.iter().filter(|(_, by, _)| !by.is_empty() && !by.starts_with("[p") && !by.ends_with("30s")) {
        assert_eq!(faults(line, by).len(), 1, "{said}: {:?}", faults(line, by));
    }
}

#[test]
fn all_faults_are_found_in_the_order_of_the_file() {
    let text =
        GOOD.replace("aes128gcm16-prf", "aes-prf").replace("\"30s\"", "\"soon\"").replace("bypass", "pass").replace("10.2.0.0/24", "x");
    let places: Vec<String> = load_in(&folder(&text, GOOD_SECRETS))
        .unwrap_err()
        .iter()
        .map(|fault| fault.split(':').take(2).collect::<Vec<_>>().join(":"))
        .collect();
    assert_eq!(places, ["culvert.toml:5", "culvert.toml:6", "culvert.toml:11", "culvert.toml:15"]);
}

#[test]
fn the_secrets_file_is_for_its_owner_only() {
    let folder = folder(GOOD, GOOD_SECRETS);
    let file = folder.path().join("secrets.toml");
    for mode in [0o640, 0o604, 0o660, 0o602] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let said = format!("{}: mode {mode:o} lets others at the secrets; run chmod 600 {}", file.display(), file.display());
        let faults: Vec<String> = load(&folder.path().join("culvert.toml")).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(faults, [said]);
    }
    fs::set_permissions(&file, fs::Permissions::from_mode(0o400)).unwrap();
    assert!(load_in(&folder).is_ok());
}

#[test]
fn the_secrets_file_is_roots_or_this_users() {
    let folder = folder(GOOD, GOOD_SECRETS);
    let file = folder.path().join("secrets.toml");
    assert!(load_in(&folder).is_ok());
    // Only root gives files away.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(1), None).unwrap();
        assert_eq!(load_in(&folder).unwrap_err(), ["secrets.toml: user 1 owns the secrets; run chown 0 secrets.toml"]);
    }
}

#[test]
fn secrets_that_are_no_regular_file_hold_nobody_up() {
    let folder = folder(GOOD, GOOD_SECRETS);
    let file = folder.path().join("secrets.toml");
    fs::remove_file(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&file).status().unwrap().success());
    assert_eq!(load_in(&folder).unwrap_err(), ["secrets.toml: this is no regular file; put the secrets into a regular file"]);
}

#[test]
fn faults_of_the_secrets_file_name_it_and_hide_the_secret() {
    let table = [
        ("[ike.a]\nsecret = \"0xhunter2\"\n", "secrets.toml:2:10: ike.a.secret: this is no hexadecimal; "),
        ("[ike.a]\nsecret = \"0shunter2!\"\n", "secrets.toml:2:10: ike.a.secret: this is no Base64; "),
        ("[ike.a]\nsecret = hunter2\n", "secrets.toml:2:10: this is no TOML: "),
        ("[ike.a]\nsecret = 123\n", "secrets.toml:2:10: ike.a.secret: expected text, found a number; "),
        ("[ike.a]\nsecrt = \"hunter2\"\n", "secrets.toml:2:1: ike.a.secrt: unknown key; did you mean secret?"),
        ("[ike.a]\nids = [\"b\"]\n", "secrets.toml:1:6: ike.a.secret: this is missing; "),
        ("[ike.a]\nids = [\"\"]\nsecret = \"hunter2\"\n", "secrets.toml:2:8: ike.a.ids[0]: an identity may not be empty"),
    ];
    for (secrets, said) in table {
        let faults = load_in(&folder(GOOD, secrets)).unwrap_err();
        assert!(faults.iter().any(|fault| fault.starts_with(said)), "{said}\n{}", faults.join("\n"));
        assert!(!faults.join("\n").contains("hunter2"), "{faults:?}");
    }
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("none.toml");
    let said = load(&file).unwrap_err()[0].to_string();
    assert!(said.starts_with(&format!("{}: cannot read this file: ", file.display())) && said.ends_with("; check the path"), "{said}");
    let faults = load_in(&self::folder(&GOOD.replace("secrets.toml", "no-secrets.toml"), "")).unwrap_err();
    assert!(faults[0].starts_with("no-secrets.toml: cannot read this file: "), "{faults:?}");
}

#[test]
fn defaults_are_algorithms_that_exist() {
    let text = GOOD.replace("proposals = [\"aes128gcm16-prfsha256-x25519\"]\n", "").replace("esp_proposals = [\"aes128gcm16\"]\n", "");
    let Connection { proposals, children, .. } = load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike.connections.remove(0);
    assert_eq!((proposals.len(), children[0].proposals.len()), (2, 1));
    assert!(proposals[0].encryption()[0].is_aead() && !proposals[1].encryption()[0].is_aead());
    let text = GOOD
        .replace("proposals = [\"aes128gcm16-prfsha256-x25519\"]", "proposals = [\"aes256-sha384-modp3072\", \"default\"]")
        .replace("esp_proposals = [\"aes128gcm16\"]", "esp_proposals = [\"default\"]");
    let said = load_in(&folder(&text, GOOD_SECRETS)).unwrap().ike.connections.remove(0);
    assert_eq!(said.proposals[0], "aes256-sha384-modp3072".parse().unwrap());
    assert_eq!((&said.proposals[1..], &said.children[0].proposals), (&proposals[..], &children[0].proposals));
}

/// As in swanctl.conf: a connection whose children all pass or drop needs no peer, no identity and no key.
#[test]
fn children_that_pass_or_drop_need_no_peer() {
    let text = "[connections.shunts.children.lan]\nmode = \"pass\"\nstart_action = \"trap\"\nlocal_ts = [\"10.1.0.0/24\"]\n\
                remote_ts = [\"10.1.0.0/24\"]\n[connections.shunts.children.telnet]\nmode = \"drop\"\npriority = 7\n\
                local_ts = [\"10.1.0.0/24[tcp/23]\"]\nremote_ts = [\"0.0.0.0/0\"]\n";
    let loaded = load_in(&folder(text, GOOD_SECRETS)).unwrap();
    assert!(loaded.ike.connections.is_empty() && loaded.warnings.is_empty());
    let entries: Vec<_> = loaded.ike.spd().into_iter().map(|policy| (policy.name, policy.action, policy.priority)).collect();
    assert_eq!(entries, [("lan".to_owned(), PolicyAction::Bypass, 1000), ("telnet".to_owned(), PolicyAction::Discard, 7)]);
    // Beside a tunnel they are entries of the same SPD, and the other words for the same are kept.
    let both = GOOD.replace("[policies.ssh]\naction = \"bypass\"", &format!("{text}[policies.ssh]\nmode = \"pass\"\naction = \"bypass\""));
    let ike = load_in(&folder(&both, GOOD_SECRETS)).unwrap().ike;
    assert_eq!((ike.connections.len(), ike.policies.len(), ike.spd().len()), (1, 3, 4));
}

#[test]
fn an_entry_that_no_packet_reaches_is_warned_of_with_what_hides_it() {
    let hidden = "[policies.late]\nmode = \"drop\"\nlocal_ts = [\"10.1.0.9\"]\nremote_ts = [\"10.2.0.0/25[udp/53]\"]\n";
    let folder = folder(&format!("{GOOD}{hidden}"), GOOD_SECRETS);
    let warnings = load_in(&folder).unwrap().warnings;
    let said: Vec<_> = warnings.iter().map(|warning| warning.to_string().replace(&format!("{}/", folder.path().display()), "")).collect();
    let expected = "culvert.toml:18:11: policies.late: no packet reaches this entry: connections.site-b.children.net selects all of its \
                    traffic before it; narrow what hides it, or give it a priority below 1000";
    assert_eq!(said, [expected]);
    fs::write(folder.path().join("culvert.toml"), format!("{GOOD}{}", hidden.replace("mode", "priority = 999\nmode"))).unwrap();
    assert!(load_in(&folder).unwrap().warnings.is_empty());
}

#[test]
fn what_should_no_longer_be_used_is_taken_with_a_warning() {
    let text = GOOD.replace("proposals = [\"aes128gcm16-prfsha256-x25519\"]", "proposals = [\"3des-sha1-modp1024\", \"default\"]");
    let folder = folder(&text, GOOD_SECRETS);
    let loaded = load_in(&folder).unwrap();
    assert_eq!(loaded.ike.connections[0].proposals[0], "3des-sha1-prfsha1-modp1024".parse().unwrap());
    let said: Vec<_> = loaded.warnings.iter().map(|warning| (&*warning.field, &*warning.problem, &*warning.remedy)).collect();
    let field = "connections.site-b.proposals[0]";
    let expected = [
        (field, "3des should no longer be used (RFC 8221 section 5)", "write aes256 where the peer has it"),
        (field, "modp1024 should no longer be used (RFC 8247 section 2.4)", "write modp2048 or x25519 where the peer has it"),
    ];
    assert_eq!(said, expected);
}

#[test]
fn keys_are_written_down_only_where_it_is_written_and_never_without_a_warning() {
    let plain = load_in(&folder(GOOD, GOOD_SECRETS)).unwrap();
    assert!(plain.key_log.is_none() && !plain.ike.key_log && plain.warnings.is_empty());
    let folder = folder(&format!("{GOOD}[control]\nkey_log = \"keys\"\n"), GOOD_SECRETS);
    let loaded = load_in(&folder).unwrap();
    assert_eq!((loaded.key_log, loaded.ike.key_log), (Some(folder.path().join("keys")), true));
    let [warning] = loaded.warnings.as_slice() else { panic!() };
    assert!(warning.field == "control.key_log" && warning.problem.contains("KEYS OF EVERY IKE SA"), "{warning}");
    assert!(!folder.path().join("keys").exists(), "a check writes nothing");
    fs::create_dir(folder.path().join("keys")).unwrap();
    fs::write(folder.path().join("keys/esp_sa"), "").unwrap();
    fs::set_permissions(folder.path().join("keys/esp_sa"), fs::Permissions::from_mode(0o644)).unwrap();
    let faults = load_in(&folder).unwrap_err();
    assert!(faults.len() == 1 && faults[0].contains("control.key_log") && faults[0].contains("mode 644"), "{faults:?}");
}

/// The example files say that they show every key: with every comment's default switched on they must load as well.
#[test]
fn the_example_files_load() {
    let config = include_str!("../../culvert-control.example.toml").replace("secrets.example.toml", "secrets.toml");
    let secrets = include_str!("../../secrets.example.toml");
    let shown = load_in(&folder(&config, secrets)).unwrap();
    let all: String =
        config.lines().map(|line| format!("{}\n", line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))).collect();
    let folder = folder(&all, secrets);
    authentication::pki(&folder);
    let token_secret = folder.path().join("crash.secret");
    fs::write(&token_secret, "0123456789abcdef0123456789abcdef").unwrap();
    fs::set_permissions(&token_secret, fs::Permissions::from_mode(0o600)).unwrap();
    let loaded = load_in(&folder).unwrap();
    assert_eq!(loaded.ike.connections[0].retransmission, shown.ike.connections[0].retransmission);
    assert_eq!(loaded.ike.cookie_threshold, shown.ike.cookie_threshold);
    assert_eq!(loaded.ike.block_threshold, shown.ike.block_threshold);
    assert_eq!((loaded.control_socket, loaded.data_socket), (shown.control_socket, shown.data_socket));
}

/// What the README tells a new user to write.
#[test]
fn the_configuration_of_the_readme_is_good() {
    const README: &str = include_str!("../../../README.md");
    let block = README.split("```toml\n").find(|block| block.trim_start().starts_with("secrets =")).unwrap();
    let (text, _) = block.split_once("```").unwrap();
    let Loaded { ike, .. } = load_in(&folder(text, "[ike.site-b]\nsecret = \"0x0102\"\n")).unwrap();
    assert_eq!(ike.connections[0].children[0].name, "net");
}

mod authentication;
mod eap;
mod exchanges;
mod peers;
mod pools;
mod ppk;
mod radius;
mod version;
mod words;
