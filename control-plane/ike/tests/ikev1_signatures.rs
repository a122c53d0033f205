//! IKEv1: main mode with signatures, made and checked by fakes: who signs what, who checks it, and what becomes of a wrong one.
#![allow(clippy::unwrap_used, reason = "test code")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, RemoteAuth, Version};
use ike::error::Failure;
use ipsec_types::KeyKind;
use pair::Side::{A, B};
use pair::signing::{AWAY, FakeVerifier, NAMES, credential};
use pair::{Network, Pair, Side, config, esp};

const SECOND: Duration = Duration::from_secs(1);

/// Both sign, with keys of this kind; without any shared key.
fn signing(side: Side, kind: KeyKind) -> Config {
    let mut config = config(side);
    config.psks.clear();
    let connection = &mut config.connections[0];
    connection.version = Version::V1;
    connection.proposals = vec!["aes128-sha1-modp2048".parse().unwrap()];
    connection.children[0].proposals = vec![esp("aes128-sha256")];
    connection.local_auth = credential(NAMES[side as usize], NAMES[side as usize], kind);
    connection.remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier));
    config
}

fn pair(seed: u64, kind: KeyKind) -> Pair {
    Pair::new(seed, signing(A, kind), signing(B, kind))
}

/// RFC 2409 section 5.1.
#[test]
fn both_sign_in_six_messages() {
    for (index, kind) in [KeyKind::Rsa, KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::EcdsaP521].into_iter().enumerate() {
        let mut pair = pair(1 + index as u64, kind);
        pair.connect();
        for side in [A, B] {
            let shown: Vec<String> = pair.traced(side).into_iter().map(|(_, title, payloads)| format!("{title}: {payloads}")).collect();
            let expected = [
                "Main Mode: SA V V V V V V",
                "Main Mode: SA V V V",
                "Main Mode: KE No CERTREQ NAT-D NAT-D",
                "Main Mode: KE No CERTREQ NAT-D NAT-D",
                "Main Mode: ID CERT SIG N(INITIAL-CONTACT)",
                "Main Mode: ID CERT SIG",
            ];
            assert_eq!(shown[..6], expected, "{kind}");
            assert!(shown[6..].iter().all(|line| line.starts_with("Quick Mode")));
            let [sa] = &pair.ike_sas(side)[..] else { panic!("one IKE SA") };
            assert_eq!(sa.remote_identity.as_ref().unwrap().to_string(), NAMES[side.other() as usize]);
            assert!(pair.ping(side));
        }
    }
}

#[test]
fn both_sides_must_have_keys_of_one_kind() {
    for (a, b) in [(KeyKind::Rsa, KeyKind::EcdsaP256), (KeyKind::EcdsaP256, KeyKind::EcdsaP384)] {
        let mut pair = Pair::new(10, signing(A, a), signing(B, b));
        pair.initiate(A);
        pair.run(SECOND * 10);
        assert_eq!((pair.established(A), pair.established(B)), (0, 0));
        let text = pair.failure(B).to_string();
        assert!(text.contains("no IKEv1 proposal in common") && text.contains("signatures"), "{text}");
    }
}

#[test]
fn a_wrong_signature_or_certificate_is_refused_by_either_side_and_both_are_told() {
    for liar in [A, B] {
        for (key, certificate, expected) in
            [("somebody else", NAMES[liar as usize], "the signature is wrong"), (NAMES[liar as usize], "x", "the certificate is another's")]
        {
            let mut configs = [signing(A, KeyKind::Rsa), signing(B, KeyKind::Rsa)];
            configs[liar as usize].connections[0].local_auth = credential(key, certificate, KeyKind::Rsa);
            let [a, b] = configs;
            let mut pair = Pair::new(11, a, b);
            pair.initiate(A);
            pair.run(SECOND);
            assert_eq!((pair.installed(A), pair.installed(B), pair.established(A), pair.established(B)), (0, 0, 0, 0));
            let seen = pair.failure(liar.other());
            assert!(matches!(&seen, Failure::Unauthenticated(detail) if detail.summary == expected), "{seen:?}");
            if liar == A {
                // It learns it by a message that is protected, at once.
                let told = pair.failure(A).to_string();
                assert!(told.contains("AUTHENTICATION_FAILED"), "{told}");
            }
        }
    }
}

#[test]
fn another_peer_with_a_right_signature_is_refused() {
    let mut a = signing(A, KeyKind::Rsa);
    a.connections[0].local_identity = "x.lab.test".parse().unwrap();
    a.connections[0].local_auth = credential("x.lab.test", "x.lab.test", KeyKind::Rsa);
    let mut pair = Pair::new(12, a, signing(B, KeyKind::Rsa));
    pair.initiate(A);
    pair.run(SECOND * 40);
    assert_eq!((pair.established(A), pair.established(B)), (0, 0));
    assert!(matches!(pair.failure(B), Failure::Unauthenticated(detail) if detail.summary.contains("x.lab.test")));
}

#[test]
fn a_key_out_of_reach_is_told_to_the_operator_alone() {
    for broken in [A, B] {
        let mut configs = [signing(A, KeyKind::Rsa), signing(B, KeyKind::Rsa)];
        configs[broken as usize].connections[0].local_auth = credential("broken", NAMES[broken as usize], KeyKind::Rsa);
        let [a, b] = configs;
        let mut pair = Pair::new(13, a, b);
        pair.initiate(A);
        pair.run(SECOND);
        assert_eq!((pair.established(A), pair.established(B)), (0, 0));
        assert!(pair.failure(broken).to_string().contains(AWAY), "{}", pair.failure(broken));
        assert!(pair.gateways[broken.other() as usize].events.iter().all(|event| !format!("{event:?}").contains("token")));
    }
}

/// The connection is chosen when the peer has said who it is: of those between the addresses the one that is for it.
#[test]
fn the_identity_chooses_the_connection() {
    let mut b = signing(B, KeyKind::Rsa);
    let mut other = signing(B, KeyKind::Rsa).connections.remove(0);
    other.name = "anybody".into();
    other.remote_identity = None;
    other.children[0].policy = ipsec_types::PolicyId(77);
    b.connections.insert(0, other);
    let mut pair = Pair::new(14, signing(A, KeyKind::Rsa), b);
    pair.connect();
    assert_eq!(pair.ike_sas(B)[0].connection, "lab");
}

#[test]
fn each_lost_message_is_sent_again() {
    for lost in 0..9 {
        let mut pair = pair(15, KeyKind::Rsa);
        pair.acquire(A, 1);
        pair.gets_over_the_loss_of(lost, SECOND);
    }
}

#[test]
fn a_bad_network_only_delays() {
    for seed in 0..20 {
        let [a, b] = [A, B].map(|side| {
            let mut config = signing(side, KeyKind::EcdsaP256);
            config.connections[0].retransmission.tries = 12;
            config.connections[0].retransmission.base_percent = 110;
            config
        });
        let mut pair = Pair::on(Network::BAD, 2000 + seed, a, b);
        pair.acquire(A, 1);
        pair.comes_up(seed);
    }
}

/// A job may take its time: what the peer repeats meanwhile begins no second one, and is answered once.
#[test]
fn what_is_repeated_while_a_signature_is_made_or_checked_begins_no_other() {
    let mut pair = pair(16, KeyKind::Rsa);
    pair.acquire(A, 1);
    while pair.sent.len() < 5 {
        assert!(pair.step());
    }
    // B's jobs wait from here on.
    pair.idle = Some(B);
    pair.run(SECOND * 20);
    let repeated = pair.sent.iter().skip(5).filter(|sent| sent.from == A).count();
    assert!(repeated >= 2 && pair.sent.iter().skip(5).all(|sent| sent.from == A), "A has repeated its message {repeated} times");
    pair.make_up();
    pair.run(SECOND * 5);
    assert_eq!(pair.assert_mirrored(), 1);
    assert_eq!((pair.established(A), pair.established(B)), (1, 1));
}

/// Jobs that never end hold nobody up, and a responder forgets.
#[test]
fn a_verification_without_an_end_is_given_up() {
    let mut pair = pair(17, KeyKind::Rsa);
    pair.acquire(A, 1);
    while pair.sent.len() < 5 {
        assert!(pair.step());
    }
    pair.idle = Some(B);
    pair.run(SECOND * 200);
    assert_eq!((pair.ike_sas(A).len(), pair.ike_sas(B).len(), pair.installed(A)), (0, 0, 0));
}

/// What was signed travels encrypted: nobody on the way learns who the two are.
#[test]
fn identities_and_certificates_are_not_seen() {
    let mut pair = pair(18, KeyKind::Rsa);
    pair.connect();
    let shows = |octets: &[u8]| NAMES.iter().any(|name| octets.windows(name.len()).any(|window| window == name.as_bytes()));
    assert!(!pair.sent.iter().any(|sent| shows(&sent.datagram.payload)));
}
