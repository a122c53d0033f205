//! EAP in IKE_AUTH (RFC 7296 section 2.16): who says what in which message, whom the responder knows afterwards, and who is refused.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Childless, Config, Credential, LocalAuth, LocalRound, RemoteAuth, RemoteRound};
use ike::error::Failure;
use ike::io::Event;
use ike::provider::{
    Certificate, CertificateEncoding, EapBetween, EapCode, EapConversation, EapMethod, EapOutcome, EapPacket, EapStep, EapType,
};
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, EapTlsClient, EapTlsServer, PasswordMethod, Users};
use ike_crypto::{PrivateKeyFile, Trust};
use ipsec_types::{Identity, Secret, SignatureScheme};
use pair::{Network, Pair, Side, config};

use Side::{A, B};

/// A is alice, and knows B by a shared key.
fn user(method: PasswordMethod, password: &str) -> Config {
    let mut config = config(A);
    let password = Arc::new(Secret::copy_from(password.as_bytes()));
    config.connections[0].local_auth = LocalAuth::Eap(Arc::new(EapClient::new(method, Some("alice".into()), password)));
    config
}

fn server(method: PasswordMethod) -> EapServer {
    let mut users = Users::default();
    users.add("alice".into(), Secret::copy_from(b"wonderland"));
    EapServer::new(method, EapIdentity::Any, Arc::new(users))
}

fn gateway(method: impl EapMethod + 'static) -> Config {
    let mut config = config(B);
    config.connections[0].remote_auth = RemoteAuth::Eap(Arc::new(method));
    config
}

/// A calls B, and comes to nothing.
fn refused(a: Config, b: Config) -> Pair {
    let mut pair = Pair::new(1, a, b);
    pair.acquire(A, 1);
    pair.run(Duration::from_secs(20));
    for side in [A, B] {
        assert!(pair.gateway(side).data_plane.installed.is_empty());
        assert!(!pair.gateway(side).events.iter().any(|event| matches!(event, Event::IkeSaEstablished(_))));
    }
    pair
}

#[test]
fn a_user_is_authenticated_between_the_first_exchange_and_the_last() {
    let mut pair = Pair::new(1, user(PasswordMethod::Mschapv2, "wonderland"), gateway(server(PasswordMethod::Mschapv2)));
    pair.connect();
    let expected = [
        "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT) SA TSi TSr",
        "IKE_AUTH response 1: SK IDr AUTH EAP",
        "IKE_AUTH request 2: SK EAP",
        "IKE_AUTH response 2: SK EAP",
        "IKE_AUTH request 3: SK EAP",
        "IKE_AUTH response 3: SK EAP",
        "IKE_AUTH request 4: SK EAP",
        "IKE_AUTH response 4: SK EAP",
        "IKE_AUTH request 5: SK AUTH",
        "IKE_AUTH response 5: SK AUTH N(INIT_CONTACT) SA TSi TSr",
    ];
    assert_eq!(pair.ike_auth(A), expected);
    // Section 2.16: the user of EAP, not the identity of IKE, is who the peer is.
    let now = pair.now;
    let known = pair.gateway(B).endpoint.ike_sas(now).first().unwrap().remote_identity.clone();
    assert_eq!(known, Some("keyid:alice".parse::<Identity>().unwrap()));
    let rounds = |side: Side| {
        pair.gateways[side as usize].events.iter().filter_map(|event| match event {
            Event::EapRound { packet, .. } => Some(packet.clone()),
            _ => None,
        })
    };
    assert_eq!(rounds(B).next().as_deref(), Some("Request Identity, 5 octets"));
    assert_eq!(rounds(B).next_back().as_deref(), Some("Success"));
    assert_eq!(rounds(A).count(), 3);
}

#[test]
fn methods_without_a_key_use_those_of_ike() {
    for method in [PasswordMethod::Md5, PasswordMethod::Gtc] {
        let mut pair = Pair::new(2, user(method, "wonderland"), gateway(server(method)));
        pair.connect();
    }
}

#[test]
fn loss_repetition_and_reordering_change_nothing() {
    for seed in 0..20 {
        let mut pair = Pair::new(seed, user(PasswordMethod::Mschapv2, "wonderland"), gateway(server(PasswordMethod::Mschapv2)));
        pair.network = Network { loss_percent: 10, duplication_percent: 25, delay: (Duration::from_millis(1), Duration::from_millis(400)) };
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(100));
        pair.network = Network::GOOD;
        pair.run(Duration::from_secs(10));
        pair.assert_mirrored();
    }
}

#[test]
fn a_wrong_password_is_refused_and_both_sides_know_why() {
    for method in [PasswordMethod::Mschapv2, PasswordMethod::Md5, PasswordMethod::Gtc] {
        let pair = refused(user(method, "another"), gateway(server(method)));
        let (Failure::Unauthenticated(ours), Failure::Unauthenticated(theirs)) = (pair.failure(A), pair.failure(B)) else { panic!() };
        assert_eq!(ours.summary, "the peer's EAP server refuses us");
        assert_eq!(theirs.summary, "the EAP user does not know the password");
    }
}

#[test]
fn eap_that_is_not_configured_is_refused_on_either_side() {
    let pair = refused(user(PasswordMethod::Md5, "wonderland"), config(B));
    assert!(pair.failure(B).to_string().contains("wants to authenticate by EAP, not by a shared key"));
    let pair = refused(config(A), gateway(server(PasswordMethod::Md5)));
    assert!(pair.failure(B).to_string().contains("not by EAP"));
}

#[test]
fn another_method_than_the_configured_one_is_refused() {
    let pair = refused(user(PasswordMethod::Mschapv2, "wonderland"), gateway(server(PasswordMethod::Md5)));
    let Failure::Unauthenticated(theirs) = pair.failure(B) else { panic!() };
    assert_eq!(theirs.summary, "the peer wants another EAP method than MD5-Challenge: MSCHAPv2");
}

/// RFC 6023 section 5: with EAP, too, the Child SA may come in an exchange of its own; a responder that has to leaves it out.
#[test]
fn an_ike_sa_of_a_user_may_come_up_without_a_child_sa() {
    for theirs in [Childless::Allow, Childless::Force] {
        let mut a = user(PasswordMethod::Mschapv2, "wonderland");
        a.connections[0].childless = Childless::Force;
        let mut b = gateway(server(PasswordMethod::Mschapv2));
        b.connections[0].childless = theirs;
        let mut pair = Pair::new(1, a, b);
        pair.connect();
        let said = pair.ike_auth(A);
        assert_eq!(said[0], "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT)");
        assert_eq!(said.last().unwrap(), "IKE_AUTH response 5: SK AUTH N(INIT_CONTACT)");
        assert_eq!(pair.assert_mirrored(), 1);
    }
    let mut a = user(PasswordMethod::Mschapv2, "wonderland");
    a.connections[0].childless = Childless::Force;
    let mut b = gateway(server(PasswordMethod::Mschapv2));
    b.connections[0].childless = Childless::Never;
    refused(a, b);
}

/// gw.example, by a certificate of an authority that is trusted in June 2026 (`ike-crypto/tests/x509/make.py`).
fn credential() -> Credential {
    let key = PrivateKeyFile::from_pem(include_bytes!("../../crypto/tests/x509/leaf.pem")).unwrap();
    let leaf = include_bytes!("../../crypto/tests/x509/leaf.der").to_vec();
    let certificates = vec![Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: leaf }];
    Credential { key: Arc::new(key), certificates, schemes: vec![SignatureScheme::Ed25519] }
}

fn trust() -> Arc<Trust> {
    let clock = || std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_782_000_000);
    let mut trust = Trust::new(clock, vec![SignatureScheme::Ed25519]);
    trust.trust_authority(include_bytes!("../../crypto/tests/x509/authority.der").to_vec()).unwrap();
    Arc::new(trust)
}

const GW: &str = "gw.example";

fn tls_user() -> LocalAuth {
    LocalAuth::Eap(Arc::new(EapTlsClient::new(Some(GW.into()), credential(), trust(), Some(GW.parse().unwrap()))))
}

fn tls_server(asks: EapIdentity) -> EapTlsServer {
    EapTlsServer::new(asks, credential(), trust())
}

#[test]
fn a_user_shows_a_certificate_in_tls() {
    let mut a = config(A);
    a.connections[0].local_auth = tls_user();
    let mut pair = Pair::new(1, a, gateway(tls_server(EapIdentity::Any)));
    pair.connect();
    let now = pair.now;
    let known = pair.gateway(B).endpoint.ike_sas(now).first().unwrap().remote_identity.clone();
    assert_eq!(known, Some(GW.parse::<Identity>().unwrap()));
    let tls = |event: &&Event| matches!(event, Event::EapRound { packet, .. } if packet.starts_with("Request TLS, "));
    assert!(pair.gateway(B).events.iter().filter(tls).count() >= 3);
}

/// RFC 4739: a host shows who it is by a shared key, and then its user by a certificate in TLS, which takes many messages of the second round.
#[test]
fn a_user_shows_a_certificate_in_tls_after_its_host() {
    let (mut a, mut b) = (config(A), config(B));
    a.connections[0].local_more = vec![LocalRound { identity: "user@lab.test".parse().unwrap(), auth: tls_user() }];
    let server = Arc::new(tls_server(EapIdentity::Any));
    b.connections[0].remote_more = vec![RemoteRound { identity: None, auth: RemoteAuth::Eap(server) }];
    let mut pair = Pair::new(1, a, b);
    pair.connect();
    let said = pair.ike_auth(A);
    assert_eq!(
        said[..3],
        [
            "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT) N(MULT_AUTH) N(AUTH_FOLLOWS) AUTH SA TSi TSr",
            "IKE_AUTH response 1: SK IDr AUTH",
            "IKE_AUTH request 2: SK IDi",
        ]
    );
    assert!(said.len() > 12, "{said:?}");
    assert!(said.last().unwrap().ends_with(": SK AUTH N(INIT_CONTACT) SA TSi TSr"), "{said:?}");
    let now = pair.now;
    let known = pair.gateway(B).endpoint.ike_sas(now).first().unwrap().remote_identity.clone();
    assert_eq!(known, Some(GW.parse::<Identity>().unwrap()));
}

/// Both by EAP-TLS and nothing else.
fn only_tls(side: Side) -> Config {
    let mut config = config(side);
    config.connections[0].local_auth = tls_user();
    config.connections[0].remote_auth = RemoteAuth::Eap(Arc::new(tls_server(EapIdentity::Any)));
    config
}

/// RFC 5998 section 3: the responder sends no AUTH before EAP is done.
#[test]
fn eap_alone_shows_who_both_are_where_its_method_does() {
    let mut pair = Pair::new(1, only_tls(A), only_tls(B));
    pair.connect();
    let said = pair.ike_auth(A);
    assert_eq!(said[0], "IKE_AUTH request 1: SK IDi IDr N(INIT_CONTACT) N(EAP_ONLY) SA TSi TSr");
    assert_eq!(said[1], "IKE_AUTH response 1: SK IDr EAP");
    assert_eq!(
        said[said.len() - 2..].iter().map(|line| line.split_once(": ").unwrap().1).collect::<Vec<_>>(),
        ["SK AUTH", "SK AUTH N(INIT_CONTACT) SA TSi TSr"]
    );
}

/// A responder that shows nothing of itself is refused where the initiator wants to see something, and one that wants nothing but EAP refuses whoever
/// does not offer that.
#[test]
fn eap_alone_is_for_both_or_for_nobody() {
    let mut a = config(A);
    a.connections[0].local_auth = tls_user();
    let pair = refused(a, only_tls(B));
    assert!(pair.failure(B).to_string().contains("EAP"), "{}", pair.failure(B));
    // By a method that does not show who the responder is nothing stands alone.
    let mut a = user(PasswordMethod::Mschapv2, "wonderland");
    a.connections[0].remote_auth = RemoteAuth::Eap(Arc::new(server(PasswordMethod::Mschapv2)));
    let mut b = gateway(server(PasswordMethod::Mschapv2));
    b.connections[0].local_auth = a.connections[0].local_auth.clone();
    let pair = refused(a, b);
    assert!(!pair.ike_auth(A)[0].contains("EAP_ONLY"));
}

#[test]
fn success_without_a_key_where_eap_stands_alone_is_refused() {
    let mut b = only_tls(B);
    b.connections[0].remote_auth = RemoteAuth::Eap(Arc::new(Rogue::Alone));
    let pair = refused(only_tls(A), b);
    let Failure::Unauthenticated(why) = pair.failure(A) else { panic!() };
    assert_eq!(why.summary, "EAP Success has come before the method was done");
}

/// A server that does what a test wants.
#[derive(Debug, Clone, Copy)]
enum Rogue {
    /// Success at once.
    EarlySuccess,
    /// The same, where nothing else shows who the responder is.
    Alone,
    /// The password is known, and the key is not given to IKE.
    WithoutKey,
    /// One request after the other.
    Endless,
    /// The user is believed for a minute.
    ForAMinute,
}

struct Conversation(Rogue, Box<dyn EapConversation>);

impl EapMethod for Rogue {
    fn keyword(&self) -> &'static str {
        "rogue"
    }

    fn is_mutual(&self) -> bool {
        matches!(self, Self::Alone)
    }

    fn begin(&self, between: &EapBetween<'_>) -> Box<dyn EapConversation> {
        Box::new(Conversation(*self, server(PasswordMethod::Mschapv2).begin(between)))
    }
}

impl EapConversation for Conversation {
    fn step(&mut self, packet: Option<&[u8]>) -> EapStep {
        match self.0 {
            Rogue::EarlySuccess | Rogue::Alone => {
                let last = Some(EapPacket::verdict(EapCode::SUCCESS, 1));
                EapStep::Succeeded { last, outcome: EapOutcome::default() }
            }
            Rogue::WithoutKey => match self.1.step(packet) {
                EapStep::Succeeded { last, .. } => EapStep::Succeeded { last, outcome: EapOutcome::default() },
                other => other,
            },
            Rogue::ForAMinute => match self.1.step(packet) {
                EapStep::Succeeded { last, outcome } => {
                    EapStep::Succeeded { last, outcome: EapOutcome { lifetime: Some(Duration::from_secs(60)), ..outcome } }
                }
                other => other,
            },
            Rogue::Endless => EapStep::Say(EapPacket::emit(EapCode::REQUEST, 1, EapType::NOTIFICATION, b"wait").unwrap()),
        }
    }
}

/// The peer that answers EAP with Success before the method has begun.
#[test]
fn early_success_is_refused() {
    for method in [PasswordMethod::Mschapv2, PasswordMethod::Md5, PasswordMethod::Gtc] {
        let pair = refused(user(method, "wonderland"), gateway(Rogue::EarlySuccess));
        let Failure::Unauthenticated(why) = pair.failure(A) else { panic!() };
        assert_eq!(why.summary, "EAP Success has come before the method was done");
    }
}

#[test]
fn success_without_the_key_that_the_method_makes_is_refused() {
    let pair = refused(user(PasswordMethod::Mschapv2, "wonderland"), gateway(Rogue::WithoutKey));
    assert!(pair.failure(B).to_string().contains("does not hold the key that EAP has made"));
}

#[test]
fn a_conversation_without_an_end_is_ended() {
    let mut pair = refused(user(PasswordMethod::Mschapv2, "wonderland"), gateway(Rogue::Endless));
    pair.run(Duration::from_secs(120));
    assert!(pair.failure(B).to_string().contains("EAP has come to no end after 101 packets"));
    assert!(pair.ike_auth(A).len() < 210);
}

/// What a RADIUS server says of a session's length: the initiator is told (RFC 4478), and who does not come back is gone.
#[test]
fn a_user_is_believed_as_long_as_its_server_says() {
    let mut pair = Pair::new(1, user(PasswordMethod::Mschapv2, "wonderland"), gateway(Rogue::ForAMinute));
    pair.connect();
    assert!(pair.ike_auth(A).last().unwrap().contains("N(AUTH_LFT)"), "{:?}", pair.ike_auth(A));
    let of = |pair: &mut Pair| pair.gateways[B as usize].endpoint.ike_sas(pair.now).first().map(|sa| sa.id);
    let first = of(&mut pair);
    pair.run(Duration::from_secs(70));
    let second = of(&mut pair);
    assert!(first.is_some() && second.is_some() && first != second, "{first:?} {second:?}");
    // Its initiator falls silent.
    pair.network = Network { loss_percent: 100, ..Network::GOOD };
    pair.run(Duration::from_secs(300));
    assert_eq!(of(&mut pair), None);
}
