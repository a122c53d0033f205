//! Every command as a process: what people and programs read, and exit statuses. Behind them stand two control planes over fake data
//! planes, the same as in the daemon's own tests.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod alone;
#[allow(dead_code, reason = "shared with the daemon's tests")]
#[path = "../../../tests/gateways/fake.rs"]
mod fake;
#[allow(dead_code, reason = "shared with the daemon's tests")]
#[path = "../../../tests/gateways/pair.rs"]
mod pair;

use std::env;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use pair::{Pair, Setup, Side};
use serde_json::Value;

/// What a process has said.
#[derive(Debug)]
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    /// The one document on standard output.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn done(self) -> Self {
        assert!(self.code == 0 && self.err.is_empty(), "{self:?}");
        self
    }
}

fn command(socket: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_culvert"));
    command.arg("--socket").arg(socket);
    command
}

/// Runs `culvert` on the first gateway.
async fn culvert(pair: &Pair, arguments: &[&str]) -> Said {
    culvert_at(&pair.a, arguments).await
}

/// Runs `culvert` beside the tasks that carry the messages between the gateways.
async fn culvert_at(side: &Side, arguments: &[&str]) -> Said {
    let mut command = command(&side.control_socket());
    command.args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let text = |octets: Vec<u8>| String::from_utf8(octets).unwrap();
    Said { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

#[tokio::test]
async fn sas_are_listed_with_and_without_their_ike_sas() {
    let pair = Pair::start(Setup::default()).await;
    assert_eq!(culvert(&pair, &["sas"]).await.done().out, "no IKE SAs\n");
    assert_eq!(culvert(&pair, &["children"]).await.done().out, "no Child SAs\n");
    let installed = culvert(&pair, &["initiate", "peer/net"]).await.done();
    assert!(installed.out.starts_with("peer/net: installed as Child SA "), "{installed:?}");

    let sas = culvert(&pair, &["sas"]).await.done().out;
    assert!(sas.starts_with("peer #1: established, initiator, IKEv2, ") && sas.contains("'gw-2.example' at 192.0.2.2:4500"), "{sas}");
    let children = culvert(&pair, &["children"]).await.done().out;
    assert!(children.contains("peer/net") && children.contains("10.1.0.0/24 === 10.2.0.0/24"), "{children}");
    let sas = culvert(&pair, &["sas", "--json"]).await.done().json();
    let children = culvert(&pair, &["children", "--json"]).await.done().json();
    let (sa, child) = (&sas["ike_sas"][0], &children["child_sas"][0]);
    assert_eq!((&sa["connection"], &sa["state"], &child["connection"]), (&"peer".into(), &"established".into(), &"peer".into()));
    assert_eq!((&child["ike_sa"], &child["inbound_packets"], &child["name"]), (&sa["id"], &1.into(), &"net".into()));

    let deleted = culvert(&pair, &["terminate", "--connection", "peer", "--json"]).await.done().json();
    assert_eq!(deleted["terminated"], 1);
    assert_eq!(culvert(&pair, &["terminate", "--child", "net"]).await.done().out, "0 deleted\n");
}

#[tokio::test]
async fn a_rekeyed_child_sa_has_another_number() {
    let pair = Pair::start(Setup::default()).await;
    for child in ["net", "peer/net"] {
        let nothing = culvert(&pair, &["rekey", "--child", child]).await;
        assert!(nothing.code == 1 && nothing.err.starts_with("culvert: there is no such SA"), "{nothing:?}");
    }
    let first = culvert(&pair, &["initiate", "net", "--json"]).await.done().json()["child_sa"].clone();
    let rekeyed = culvert(&pair, &["rekey", "--child-sa", &first.to_string(), "--json"]).await.done().json();
    assert!(rekeyed["child_sas"][0].is_u64() && rekeyed["child_sas"][0] != first, "{rekeyed}");
    let again = culvert(&pair, &["rekey", "--child", "peer/net"]).await.done().out;
    assert!(again.starts_with("rekeyed; now Child SA "), "{again}");
    let wrong = culvert(&pair, &["rekey", "--child", "net", "--reauth"]).await;
    assert!(wrong.err.contains("a peer is authenticated for an IKE SA"), "{}", wrong.err);
    let reauthenticated = culvert(&pair, &["rekey", "--connection", "peer", "--reauth", "--json"]).await.done().json();
    assert!(reauthenticated["ike_sas"][0].is_u64(), "{reauthenticated}");
    let unknown = culvert(&pair, &["rekey", "--child", "nut"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("there are: peer/net"), "{unknown:?}");
}

#[tokio::test]
async fn a_reload_tells_what_is_in_force_or_what_is_wrong() {
    let pair = Pair::start(Setup::default()).await;
    assert_eq!(culvert(&pair, &["reload"]).await.done().out, "in force: 1 connections, 1 children, 0 policies\n");
    let reloaded = culvert(&pair, &["reload", "--json"]).await.done().json();
    assert_eq!((&reloaded["connections"], &reloaded["children"]), (&1.into(), &1.into()));
    let file = pair.a.configuration();
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("esp_proposals", "esp_proposal")).unwrap();
    let refused = culvert(&pair, &["reload"]).await;
    assert!(refused.code == 1 && refused.err.contains("culvert.toml:") && refused.err.contains("esp_proposal"), "{refused:?}");
    let refused = culvert(&pair, &["reload", "--json"]).await;
    assert!(refused.code == 1 && refused.err.contains("\"reason\":\"CONFIGURATION\""), "{refused:?}");
}

#[tokio::test]
async fn pools_are_listed_with_who_has_which_address() {
    let pair = Pair::start(Setup::default()).await;
    assert_eq!(culvert(&pair, &["pools"]).await.done().out, "no connection has a pool\n");
    let with = |side: &Side, change: &dyn Fn(String) -> String| {
        let text = std::fs::read_to_string(side.configuration()).unwrap();
        std::fs::write(side.configuration(), change(text)).unwrap();
    };
    with(&pair.a, &|text| {
        let called = text.replace("remote_ts = [\"10.2.0.0/24\"]\n", "").replace("\"trap\"", "\"none\"");
        called.replace("proposals = [\"aes128gcm16-", "pools = [\"clients\"]\nproposals = [\"aes128gcm16-")
            + "[pools.clients]\naddrs = \"10.9.0.0/29\"\n"
    });
    with(&pair.b, &|text| {
        let calls = text.replace("local_ts = [\"10.2.0.0/24\"]\n", "");
        calls.replace("proposals = [\"aes128gcm16-", "vips = [\"0.0.0.0\"]\nproposals = [\"aes128gcm16-")
    });
    for side in [&pair.a, &pair.b] {
        culvert_at(side, &["reload"]).await.done();
    }
    assert_eq!(culvert(&pair, &["pools"]).await.done().out, "clients: 10.9.0.0/29, 6 addresses, 0 online, 0 offline\n");
    culvert_at(&pair.b, &["initiate", "peer/net"]).await.done();
    let listed = culvert(&pair, &["pools"]).await.done().out;
    let [pool, header, lease] = listed.lines().collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(pool, "clients: 10.9.0.0/29, 6 addresses, 1 online, 0 offline");
    let words = |line: &str| line.split_whitespace().map(ToOwned::to_owned).collect::<Vec<_>>();
    assert_eq!([words(header), words(lease)], [["ADDRESS", "STATE", "IDENTITY"], ["10.9.0.1", "online", "gw-2.example"]]);
    let json = culvert(&pair, &["pools", "--json"]).await.done().json();
    let pool = &json["pools"][0];
    assert_eq!((&pool["size"], &pool["online"], &pool["offline"]), (&6.into(), &1.into(), &0.into()), "{json}");
    assert_eq!(pool["leases"][0], serde_json::json!({ "address": "10.9.0.1", "identity": "gw-2.example", "online": true }));
    assert_eq!(culvert_at(&pair.b, &["terminate", "--connection", "peer", "--json"]).await.done().json()["terminated"], 1);
    let json = culvert(&pair, &["pools", "--json"]).await.done().json();
    assert_eq!((&json["pools"][0]["online"], &json["pools"][0]["offline"]), (&0.into(), &1.into()), "{json}");
}

#[tokio::test]
async fn an_explanation_has_policy_sa_next_hop_and_the_failure_behind_it() {
    let pair = Pair::start(Setup { b_proposals: "aes256gcm16-prfsha384-ecp256", ..Setup::default() }).await;
    let refused = culvert(&pair, &["initiate", "net"]).await;
    assert_eq!(refused.code, 1);
    let explain = ["explain", "10.1.0.5", "10.2.0.9", "tcp", "443", "--length", "84"];
    let text = culvert(&pair, &explain).await.done().out;
    for part in [
        "10.1.0.5 -> 10.2.0.9, protocol 6, ports 0 -> 443",
        "fate         waits: no_sa",
        "policy       net: protect 10.1.0.0/24 === 10.2.0.0/24",
        "refused      no SA is asked for in the next 3 s",
        "1st failure: the peer answered NO_PROPOSAL_CHOSEN",
        "ours         proposals offered: aes128gcm16-prfsha256-x25519",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let json = culvert(&pair, &[&explain[..], &["--json"]].concat()).await.done().json();
    assert_eq!((&json["fate"], &json["want"]["last_failure"]["reason"]), (&"waits".into(), &"NO_PROPOSAL_CHOSEN".into()));
    let wants = culvert(&pair, &["sas"]).await.done().out;
    assert!(wants.contains("peer/net: ") && wants.contains("1st failure: the peer answered NO_PROPOSAL_CHOSEN"), "{wants}");
    let mixed = culvert(&pair, &["explain", "10.1.0.5", "2001:db8::1", "tcp", "443"]).await;
    assert!(mixed.code == 2 && mixed.err.contains("different address families"), "{mixed:?}");

    let text = culvert_at(&pair.b, &["explain", "10.2.0.9", "10.1.0.5", "icmp", "-"]).await.done().out;
    for part in [
        "  last failure ",
        " ago, with 192.0.2.1:500: no proposal in common (NO_PROPOSAL_CHOSEN)",
        "ours         aes256gcm16-prfsha384-ecp256",
        "theirs       aes128gcm16-prfsha256-x25519",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }

    let pair = Pair::start(Setup::default()).await;
    culvert(&pair, &["initiate", "net"]).await.done();
    let text = culvert(&pair, &explain).await.done().out;
    for part in [
        "fate         forwarded: protected",
        "peer/net, SPIs ",
        "ESP tunnel AES_GCM_16_128/NO_EXT_SEQ plain",
        "84 octets, 140 as sent",
        "1438 octets fit",
        "192.0.2.2 on wan0",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[tokio::test]
async fn the_data_plane_is_shown_as_it_says_it_is() {
    let pair = Pair::start(Setup::default()).await;
    let policies = culvert(&pair, &["policies"]).await.done().out;
    assert!(policies.contains("net") && policies.contains("protect") && policies.contains("10.1.0.0/24 === 10.2.0.0/24"), "{policies}");
    let policy = &culvert(&pair, &["policies", "--json"]).await.done().json()["policies"][0];
    assert_eq!((&policy["packets"], &policy["local_selectors"][0]), (&9.into(), &"10.1.0.0/24".into()));

    let ports = culvert(&pair, &["ports"]).await.done().out;
    assert!(ports.contains("net0") && ports.contains("10.1.0.1/24") && ports.contains("6 pkts"), "{ports}");
    assert_eq!(culvert(&pair, &["ports", "--json"]).await.done().json()["ports"][0]["mtu"], 1500);
    let workers = culvert(&pair, &["workers"]).await.done().out;
    assert!(workers.contains("12.5 %") && workers.contains("4242") && workers.contains("0/8/0/0"), "{workers}");
    assert_eq!(culvert(&pair, &["workers", "--json"]).await.done().json()["workers"][0]["core"], 3);

    let stats = culvert(&pair, &["stats"]).await.done().out;
    assert!(stats.contains("data.esp_replayed") && stats.contains("net0") && !stats.contains("control.probes_sent"), "{stats}");
    let all = culvert(&pair, &["stats", "--all", "--json"]).await.done().json();
    assert!(all["data_plane_attached"] == true && all["data_plane"][0]["value"] == 5, "{all}");
    let version = culvert(&pair, &["version"]).await.done().out;
    assert!(version.starts_with("culvert ") && version.ends_with("data plane fake\n"), "{version}");
    assert_eq!(culvert(&pair, &["version", "--json"]).await.done().json()["data_plane"], "fake");
}

#[tokio::test]
async fn a_refusal_shows_ours_theirs_and_what_to_do() {
    let pair = Pair::start(Setup { b_proposals: "aes256gcm16-prfsha384-ecp256", ..Setup::default() }).await;
    let refused = culvert(&pair, &["initiate", "net"]).await;
    assert_eq!(refused.code, 1);
    let lines: Vec<&str> = refused.err.lines().collect();
    assert_eq!(lines[0], "culvert: the peer answered NO_PROPOSAL_CHOSEN");
    assert!(lines[1].starts_with("  ours         proposals offered: aes128gcm16-prfsha256-x25519"), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("  remedy       compare with the IKE proposals")), "{lines:?}");
    let refused = culvert(&pair, &["initiate", "net", "--json"]).await;
    let error: Value = serde_json::from_str(&refused.err).unwrap();
    assert!(refused.code == 1 && refused.out.is_empty() && error["error"]["reason"] == "NO_PROPOSAL_CHOSEN", "{refused:?}");
    assert!(error["error"]["theirs"].as_str().unwrap().starts_with("not told"), "{error}");
    let unknown = culvert(&pair, &["terminate", "--child", "nut", "--json"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("\"reason\":\"NOT_FOUND\""), "{unknown:?}");
}

/// Selectors, keys and silence, each after the configuration was changed and read again.
#[tokio::test]
async fn every_kind_of_failure_shows_what_to_compare() {
    let mut pair = Pair::start(Setup::default()).await;
    let file = pair.a.configuration();
    let good = std::fs::read_to_string(&file).unwrap();
    let configured = async |pair: &Pair, text: String| {
        std::fs::write(pair.a.configuration(), text).unwrap();
        culvert(pair, &["reload"]).await.done();
    };
    let refused = async |pair: &Pair| {
        let refused = culvert(pair, &["initiate", "net", "--json"]).await;
        assert_eq!(refused.code, 1);
        let error: Value = serde_json::from_str(&refused.err).unwrap();
        let part = |name: &str| error["error"][name].as_str().unwrap().to_owned();
        (part("reason"), part("ours"), part("theirs"), part("remedy"))
    };
    configured(&pair, good.replace("10.2.0.0/24", "10.9.0.0/24")).await;
    let (reason, ours, _, remedy) = refused(&pair).await;
    assert_eq!((&*reason, &*ours), ("TS_UNACCEPTABLE", "offered for net: 10.1.0.0/24 === 10.9.0.0/24"));
    assert!(remedy.contains("its remote_ts must overlap our local_ts"), "{remedy}");
    culvert(&pair, &["terminate", "--connection", "peer"]).await.done();

    configured(&pair, good.replace("gw-1.example", "gw-3.example")).await;
    let (reason, ours, ..) = refused(&pair).await;
    let looked = "this gateway is gw-3.example; the key was looked for by gw-3.example and gw-2.example: it belongs to everybody";
    assert_eq!((&*reason, &*ours), ("AUTHENTICATION_FAILED", looked));

    configured(&pair, good.replace("local.id", "retransmit_timeout = \"100ms\"\nretransmit_tries = 1\nlocal.id")).await;
    drop(pair.b.data_plane.take());
    let (reason, ours, theirs, remedy) = refused(&pair).await;
    assert_eq!((&*reason, &*ours), ("TIMED_OUT", "IKE_SA_INIT request 0 from 192.0.2.1:500 to 192.0.2.2:500, 2 times"));
    assert!(theirs.starts_with("the last message from 192.0.2.2 came") && remedy.contains("500 and 4500"), "{theirs}; {remedy}");
}

/// A process that watches the second gateway, and what it has printed so far.
fn watch(pair: &Pair, arguments: &[&str]) -> (Child, Arc<Mutex<String>>) {
    let mut child = command(&pair.b.control_socket()).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let text = Arc::new(Mutex::new(String::new()));
    let heard = text.clone();
    std::thread::spawn(move || lines.map_while(Result::ok).for_each(|line| heard.lock().unwrap().push_str(&format!("{line}\n"))));
    (child, text)
}

/// The responder's events have both sides.
#[tokio::test]
async fn watchers_see_both_sides_of_a_failure() {
    let pair = Pair::start(Setup { b_proposals: "aes256gcm16-prfsha384-ecp256", ..Setup::default() }).await;
    let (mut watchers, texts): (Vec<_>, Vec<_>) =
        [&["watch"][..], &["watch", "--json"]].map(|arguments| watch(&pair, arguments)).into_iter().unzip();
    // Whoever listens too late for the first refusal hears of the next.
    let unheard = || texts.iter().any(|text| text.lock().unwrap().lines().count() < 5 && !text.lock().unwrap().contains('{'));
    let begin = Instant::now();
    while unheard() {
        assert!(begin.elapsed() < pair::PATIENCE, "{texts:?}");
        let _refused = culvert(&pair, &["initiate", "net", "--timeout", "1"]).await;
    }
    for watcher in &mut watchers {
        watcher.kill().unwrap();
        watcher.wait().unwrap();
    }
    let [text, json] = [0, 1].map(|index| texts[index].lock().unwrap().clone());
    let (text, json): (Vec<&str>, &str) = (text.lines().collect(), json.lines().next().unwrap());
    assert!(text[0].ends_with("with 192.0.2.1:500: no proposal in common (NO_PROPOSAL_CHOSEN)"), "{text:?}");
    assert_eq!(text[1..3], ["  ours         aes256gcm16-prfsha384-ecp256", "  theirs       aes128gcm16-prfsha256-x25519"]);
    assert!(text[3].starts_with("  would match  they differ in ENCR (ours aes256gcm16, theirs aes128gcm16)"), "{text:?}");
    let event: Value = serde_json::from_str(json).unwrap();
    assert_eq!((&event["kind"], &event["failure"]["reason"]), (&"negotiation-failed".into(), &"NO_PROPOSAL_CHOSEN".into()));
}

#[tokio::test]
async fn a_trace_is_filtered_and_has_every_field() {
    let pair = Pair::start(Setup::default()).await;
    assert_eq!(culvert(&pair, &["trace"]).await.done().out, "no IKE messages yet\n");
    culvert(&pair, &["initiate", "net"]).await.done();
    let plain = culvert(&pair, &["trace"]).await.done().out;
    assert!(plain.contains("IKE_AUTH request 1") && plain.contains("SK {IDi IDr ") && !plain.contains("Transform"), "{plain}");
    let fields = culvert(&pair, &["trace", "--fields", "--connection", "peer"]).await.done().out;
    for field in
        ["IKE SA Initiator's SPI: ", "Flags: initiator (0x08)", "Transform Type: ENCR (1)", "Pad Length: ", "Starting Address: 10.1.0.0"]
    {
        assert!(fields.contains(field), "{field} in {fields}");
    }
    let records = culvert(&pair, &["trace", "--json"]).await.done().out;
    let records: Vec<Value> = records.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let spi = records[0]["initiator_spi"].as_str().unwrap();
    let of_sa = culvert(&pair, &["trace", "--json", "--spi", spi]).await.done().out;
    assert_eq!(of_sa.lines().count(), records.len());
    assert_eq!(culvert(&pair, &["trace", "--spi", "1"]).await.done().out, "no IKE messages yet\n");
    let unknown = culvert(&pair, &["trace", "--connection", "pear"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("there are: peer"), "{unknown:?}");
}

/// What `scripts/check-trace-html` looks at in a browser, saved where CULVERT_TRACE_PAGE says.
#[tokio::test]
async fn a_page_shows_a_whole_life() {
    const HOSTILE: &str = "fqdn:\"><img/src=x/onerror=document.title=1>";
    let pair = Pair::start(Setup { b_id: HOSTILE, ..Setup::default() }).await;
    culvert(&pair, &["initiate", "net"]).await.done();
    culvert(&pair, &["rekey", "--child", "net"]).await.done();
    culvert(&pair, &["terminate", "--connection", "peer"]).await.done();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace.html");
    assert_eq!(culvert(&pair, &["trace", "--html", file.to_str().unwrap()]).await.done().out, "");
    let page = std::fs::read_to_string(&file).unwrap();
    // IKE_SA_INIT, IKE_AUTH, the rekey, the deletion of the old Child SA and of the IKE SA; a slow machine may have sent some again.
    let arrows = page.lines().filter(|line| line.contains("class=\"msg ") && !line.contains(" again\""));
    assert_eq!(arrows.count(), 10);
    assert!(page.contains("&quot;&gt;&lt;img/src=x/onerror=document.title=1&gt;") && !page.contains("<img"), "{page}");
    if let Some(wanted) = env::var_os("CULVERT_TRACE_PAGE") {
        std::fs::copy(&file, wanted).unwrap();
    }
    let nowhere = culvert(&pair, &["trace", "--html", "/nowhere/trace.html"]).await;
    assert!(nowhere.code == 1 && nowhere.err.contains("cannot write /nowhere/trace.html"), "{nowhere:?}");
}

/// Nothing that is printed holds the shared key, in any notation.
#[tokio::test]
async fn no_command_prints_a_shared_key() {
    const SECRET: &str = "correct-horse-battery-staple";
    let wrong = Setup { a_secret: SECRET, b_secret: "another-secret-altogether", ..Setup::default() };
    let pair = Pair::start(wrong).await;
    let refused = culvert(&pair, &["initiate", "net"]).await;
    assert!(refused.code == 1 && refused.err.contains("AUTHENTICATION_FAILED"), "{refused:?}");
    let page = tempfile::NamedTempFile::new().unwrap();
    let path = page.path().to_str().unwrap();
    let mut all = refused.out + &refused.err;
    let commands: &[&[&str]] = &[
        &["initiate", "net", "--json"],
        &["sas"],
        &["children"],
        &["policies"],
        &["pools"],
        &["ports"],
        &["workers"],
        &["stats", "--all"],
        &["version"],
        &["explain", "10.1.0.5", "10.2.0.9", "icmp", "-"],
        &["reload"],
        &["trace"],
        &["trace", "--fields"],
        &["trace", "--json"],
        &["trace", "--html", path],
        &["terminate", "--connection", "peer"],
    ];
    for arguments in commands {
        let said = culvert(&pair, arguments).await;
        all.push_str(&said.out);
        all.push_str(&said.err);
    }
    all.push_str(&std::fs::read_to_string(path).unwrap());
    let hex: String = SECRET.bytes().map(|octet| format!("{octet:02x}")).collect();
    let listed = format!("{:?}", SECRET.as_bytes());
    for text in [SECRET, &hex, listed.trim_matches(['[', ']']), "another-secret-altogether"] {
        assert!(!all.contains(text), "{text}");
    }
    assert!(all.len() > 10_000, "the commands have said something");
}
