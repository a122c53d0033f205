//! Addresses inside the other side's network (RFC 7296 sections 2.19 and 3.15): A asks, B gives.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, LocalAuth, Pool, RemoteAuth, StartAction};
use ike::error::Failure;
use ike::io::{Event, Record};
use ike::provider::{EapBetween, EapConversation, EapMethod, EapOutcome, EapStep};
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, PasswordMethod, Users};
use ike_wire::NotifyType;
use ipsec_types::Secret;
use pair::Side::{A, B};
use pair::{Pair, Side, config, lab};

fn texts<T: ToString>(items: impl IntoIterator<Item = T>) -> Vec<String> {
    items.into_iter().map(|item| item.to_string()).collect()
}

/// A wants any IPv4 address, B has some.
fn changed(side: Side, range: &str) -> Config {
    let mut config = config(side);
    let connection = &mut config.connections[0];
    let child = &mut connection.children[0];
    child.start_action = StartAction::None;
    match side {
        A => {
            connection.virtual_addresses = vec!["0.0.0.0".parse().unwrap()];
            child.local_selectors = vec!["0.0.0.0/0".parse().unwrap()];
            child.local_dynamic = true;
        }
        B => {
            connection.pools = vec![Arc::new(Pool {
                name: "v4".into(),
                addresses: range.parse().unwrap(),
                dns: vec!["10.2.0.53".parse().unwrap()],
                networks: vec!["10.2.0.0/16".parse().unwrap()],
            })];
            child.remote_selectors = vec![range.parse().unwrap()];
            child.remote_dynamic = true;
        }
    }
    config
}

fn pair(range: &str) -> Pair {
    Pair::new(3, changed(A, range), changed(B, range))
}

fn connect(pair: &mut Pair) {
    pair.initiate(A);
    pair.run(Duration::from_secs(2));
}

/// The selectors of the only Child SA of a side, ours and the peer's.
fn selected(pair: &mut Pair, side: Side) -> (Vec<String>, Vec<String>) {
    let id = pair.only_child(side);
    let sa = &pair.gateway(side).data_plane.installed[&id];
    (texts(&sa.local_selectors), texts(&sa.remote_selectors))
}

fn address_of_a(pair: &mut Pair) -> String {
    let [sa] = pair.ike_sas(A).try_into().unwrap();
    texts(sa.virtual_addresses.local).join(" ")
}

#[test]
fn an_address_is_asked_for_given_and_what_the_child_sa_is_for() {
    let mut pair = pair("10.3.0.0/24");
    connect(&mut pair);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!(selected(&mut pair, A), (vec!["10.3.0.1".into()], vec!["10.2.0.0/16".into()]));
    assert_eq!(selected(&mut pair, B), (vec!["10.2.0.0/16".into()], vec!["10.3.0.1".into()]));
    let [ours] = pair.ike_sas(A).try_into().unwrap();
    let told = ours.virtual_addresses;
    assert_eq!(
        (texts(told.local), texts(told.dns), texts(told.networks)),
        (vec!["10.3.0.1".into()], vec!["10.2.0.53".into()], vec!["10.2.0.0/16".into()])
    );
    for side in [A, B] {
        let assigned = pair.gateway(side).events.iter().filter(|event| matches!(event, Event::AddressesAssigned { .. })).count();
        assert_eq!(assigned, 1, "{side:?}");
    }
    let shown = pair.traced(A);
    let with_cp: Vec<&str> = shown.iter().filter(|(.., payloads)| payloads.contains("CP")).map(|(_, title, _)| title.as_str()).collect();
    assert_eq!(with_cp, ["IKE_AUTH request 1", "IKE_AUTH response 1"]);
    for (_, _, payloads) in shown.iter().filter(|(.., payloads)| payloads.contains("CP")) {
        let position = |name: &str| payloads.split(' ').position(|payload| payload.split('(').next() == Some(name)).unwrap();
        assert!(position("CP") < position("SA"), "in all cases before the SA payload: {payloads}");
    }
}

#[test]
fn a_rekeyed_ike_sa_keeps_the_address_and_further_child_sas_are_for_it() {
    let mut pair = pair("10.3.0.0/24");
    connect(&mut pair);
    pair.rekey(A, lab());
    pair.run(Duration::from_secs(5));
    assert_eq!(address_of_a(&mut pair), "10.3.0.1");
    pair.rekey(A, pair::net());
    pair.run(Duration::from_secs(10));
    assert_eq!(selected(&mut pair, A).0, ["10.3.0.1"]);
    assert_eq!(pair.failures(A), []);
}

#[test]
fn who_comes_back_gets_the_same_address_and_what_is_gone_is_free() {
    let mut pair = pair("10.3.0.0/24");
    for _ in 0..3 {
        connect(&mut pair);
        assert_eq!(address_of_a(&mut pair), "10.3.0.1");
        pair.terminate(A, lab());
        pair.run(Duration::from_secs(2));
        assert_eq!(pair.established(B), 0);
    }
    // It vanishes without a word and comes back as another process that asks for any address: INITIAL_CONTACT frees the lease.
    connect(&mut pair);
    pair.kill_control(A);
    pair.start_control(A, changed(A, "10.3.0.0/24"), 2);
    pair.run(Duration::from_secs(1));
    connect(&mut pair);
    assert_eq!(address_of_a(&mut pair), "10.3.0.1");
}

#[test]
fn without_an_address_left_the_ike_sa_stays_alone_and_both_sides_say_why() {
    let mut pair = pair("fd99::/64");
    connect(&mut pair);
    assert_eq!((pair.established(A), pair.installed(A)), (1, 0));
    let [Failure::Incompatible(NotifyType::INTERNAL_ADDRESS_FAILURE, ours)] = &pair.failures(B)[..] else {
        panic!("{:?}", pair.failures(B))
    };
    assert!(ours.theirs.contains("INTERNAL_IP4_ADDRESS") && ours.ours.contains("v4: fd99::/64"), "{ours}");
    let refused = pair.failures(A).iter().any(|failure| matches!(failure, Failure::Refused(NotifyType::INTERNAL_ADDRESS_FAILURE, _)));
    assert!(refused, "{:?}", pair.failures(A));
}

#[test]
fn who_asks_for_none_is_told_to() {
    let mut a = changed(A, "10.3.0.0/24");
    a.connections[0].virtual_addresses = vec![];
    a.connections[0].children[0].local_dynamic = false;
    let mut pair = Pair::new(3, a, changed(B, "10.3.0.0/24"));
    connect(&mut pair);
    assert_eq!((pair.established(A), pair.installed(A)), (1, 0));
    assert!(matches!(&pair.failures(B)[..], [Failure::Incompatible(NotifyType::FAILED_CP_REQUIRED, _)]), "{:?}", pair.failures(B));
    let [Failure::Refused(NotifyType::FAILED_CP_REQUIRED, detail)] = &pair.failures(A)[..] else { panic!("{:?}", pair.failures(A)) };
    assert!(detail.remedy.contains("vips"), "{detail}");
}

/// A gateway that gives nothing leaves a child for "any address" with the selectors it has, and no address is made up.
#[test]
fn a_peer_without_pools_answers_without_addresses() {
    let mut b = config(B);
    b.connections[0].children[0].remote_selectors = vec!["0.0.0.0/0".parse().unwrap()];
    let mut pair = Pair::new(3, changed(A, "10.3.0.0/24"), b);
    connect(&mut pair);
    let none: Vec<IpAddr> = Vec::new();
    assert_eq!(pair.ike_sas(A)[0].virtual_addresses.local, none);
    assert_eq!(pair.installed(A), 0);
    assert!(pair.failures(A)[0].to_string().contains("gave no address"), "{:?}", pair.failures(A));
}

/// "CP(CFG_REQUEST) MUST contain at least an INTERNAL_ADDRESS attribute" (section 2.19); what section 3.15.1 restricts is not there at all.
#[test]
fn a_request_asks_for_an_address_and_for_what_goes_with_it() {
    let mut pair = pair("10.3.0.0/24");
    connect(&mut pair);
    let shown = pair.gateway(A).traces.iter().find_map(|trace| match &trace.record {
        Record::Message { outbound: true, payloads, .. } => payloads.iter().find(|payload| payload.name.starts_with("CP")).cloned(),
        _ => None,
    });
    let attributes: Vec<String> = shown.unwrap().fields.iter().map(|field| format!("{}: {}", field.name, field.value)).collect();
    assert!(attributes.iter().any(|attribute| attribute.contains("INTERNAL_IP4_ADDRESS")), "{attributes:?}");
    for never in ["INTERNAL_IP4_NETMASK", "SUPPORTED_ATTRIBUTES", "CFG_SET"] {
        assert!(!attributes.iter().any(|attribute| attribute.contains(never)), "{attributes:?}");
    }
}

/// "The responder MUST NOT send a CFG_REPLY without having first received a CP(CFG_REQUEST)" (section 2.19).
#[test]
fn who_asks_for_none_and_needs_none_is_given_none() {
    let mut a = changed(A, "10.3.0.0/24");
    a.connections[0].virtual_addresses = vec![];
    a.connections[0].children[0].local_dynamic = false;
    let mut b = changed(B, "10.3.0.0/24");
    b.connections[0].children[0].remote_dynamic = false;
    let mut pair = Pair::new(3, a, b);
    connect(&mut pair);
    assert_eq!(pair.assert_mirrored(), 1);
    assert!(pair.traced(B).iter().all(|(.., payloads)| !payloads.contains("CP")), "{:?}", pair.traced(B));
}

fn users() -> EapServer {
    let mut users = Users::default();
    users.add("alice".into(), Secret::copy_from(b"wonderland"));
    EapServer::new(PasswordMethod::Mschapv2, EapIdentity::Any, Arc::new(users))
}

/// A is alice, about whom B asks `server`.
fn of_user(server: impl EapMethod + 'static) -> (Config, Config) {
    let (mut a, mut b) = (changed(A, "10.3.0.0/24"), changed(B, "10.3.0.0/24"));
    let client = EapClient::new(PasswordMethod::Mschapv2, Some("alice".into()), Arc::new(Secret::copy_from(b"wonderland")));
    a.connections[0].local_auth = LocalAuth::Eap(Arc::new(client));
    b.connections[0].remote_auth = RemoteAuth::Eap(Arc::new(server));
    (a, b)
}

/// Section 2.19: with several exchanges of IKE_AUTH, "the CP payloads MUST be inserted in the messages containing the SA payloads".
#[test]
fn with_eap_the_address_comes_beside_the_child_sa() {
    let (a, b) = of_user(users());
    let mut pair = Pair::new(3, a, b);
    connect(&mut pair);
    assert_eq!(address_of_a(&mut pair), "10.3.0.1");
    assert_eq!(selected(&mut pair, B), (vec!["10.2.0.0/16".into()], vec!["10.3.0.1".into()]));
    let shown = pair.traced(A);
    let having = |name: &str| -> Vec<String> {
        let has = |payloads: &str| payloads.split(' ').any(|payload| payload.split('(').next() == Some(name));
        let auth = shown.iter().filter(|(_, title, payloads)| title.starts_with("IKE_AUTH") && has(payloads));
        auth.map(|(_, title, _)| title.clone()).collect()
    };
    assert_eq!(having("CP"), ["IKE_AUTH request 1", "IKE_AUTH response 5"]);
    assert_eq!(having("CP"), having("SA"));
}

/// A server that chooses the address of whoever it accepts, as RADIUS servers may (RFC 2865 section 5.8).
#[derive(Debug)]
struct Chooses(&'static str);

struct Choosing(&'static str, Box<dyn EapConversation>);

impl EapMethod for Chooses {
    fn keyword(&self) -> &'static str {
        "chooses"
    }

    fn is_mutual(&self) -> bool {
        false
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        Box::new(Choosing(self.0, users().begin(between)))
    }
}

impl EapConversation for Choosing {
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep {
        match self.1.step(packet) {
            EapStep::Succeeded { last, outcome } => {
                let addresses = vec![self.0.parse().unwrap()];
                EapStep::Succeeded { last, outcome: EapOutcome { addresses, ..outcome } }
            }
            other => other,
        }
    }
}

#[test]
fn the_address_may_be_the_one_that_a_radius_server_chooses() {
    let (a, b) = of_user(Chooses("10.3.0.77"));
    let mut pair = Pair::new(3, a, b);
    connect(&mut pair);
    assert_eq!(address_of_a(&mut pair), "10.3.0.77");
    assert_eq!(selected(&mut pair, B), (vec!["10.2.0.0/16".into()], vec!["10.3.0.77".into()]));
    // An address of the other family says nothing of this one.
    let (a, b) = of_user(Chooses("fd99::1"));
    let mut pair = Pair::new(3, a, b);
    connect(&mut pair);
    assert_eq!(address_of_a(&mut pair), "10.3.0.1");
}

#[test]
fn an_address_of_no_pool_is_given_to_nobody_whoever_has_chosen_it() {
    let (a, b) = of_user(Chooses("10.4.0.77"));
    let mut pair = Pair::new(3, a, b);
    connect(&mut pair);
    assert_eq!(pair.installed(B), 0);
    let why = pair.failures(B)[0].to_string();
    assert!(why.contains("that is in no pool of the connection: 10.4.0.77") && why.contains("v4: 10.3.0.0/24"), "{why}");
    assert!(matches!(pair.failures(A)[0], Failure::Refused(NotifyType::INTERNAL_ADDRESS_FAILURE, _)));
}

/// Make before break (RFC 7296 section 2.8.3): the old IKE SA still has the address when the new one gets it.
#[test]
fn who_authenticates_anew_or_comes_back_has_the_chosen_address_again() {
    let (mut a, b) = of_user(Chooses("10.3.0.77"));
    a.connections[0].reauthentication = Some(Duration::from_secs(100));
    let mut pair = Pair::new(3, a, b);
    connect(&mut pair);
    pair.run(Duration::from_secs(250));
    assert!(pair.stat(A, "reauthentications") >= 2);
    assert_eq!(address_of_a(&mut pair), "10.3.0.77");
    let request = pair.terminate(A, lab());
    pair.run(Duration::from_secs(2));
    assert!(pair.answer(A, request).unwrap().is_ok());
    connect(&mut pair);
    assert_eq!((address_of_a(&mut pair), pair.assert_mirrored()), ("10.3.0.77".into(), 1));
}
