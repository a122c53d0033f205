//! Post-quantum preshared keys (RFC 8784): each row of its table 1, what the notifications say, and that the PPK is in the keys.
#![allow(clippy::unwrap_used, reason = "tests")]

mod pair;

use std::sync::Arc;
use std::time::Duration;

use ike::config::{Config, Credential, LocalAuth, LocalRound, Ppk, PpkPolicy, RemoteAuth, RemoteRound};
use ike::error::{Detail, Failure};
use ike::io::{Event, PpkStatus, Record};
use ike::provider::{CryptoError, PeerProof, PeerVerifier, SigningKey};
use ike_crypto::eap::{EapClient, EapIdentity, EapServer, PasswordMethod, Users};
use ike_wire::{Certificate, CertificateEncoding};
use ipsec_types::{KeyKind, Secret, SignatureEncoding, SignatureScheme};
use pair::{Network, Pair, Side, clear, config, lab};

use Side::{A, B};

const SECRET: &[u8] = b"thirty-two octets that are secret";

fn ppk(id: &str) -> Ppk {
    Ppk { id: id.into(), secret: Secret::copy_from(SECRET) }
}

/// Whether a side has a PPK, and does without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Has {
    Nothing,
    Optional(&'static str),
    Required(&'static str),
    AnyOf(&'static [&'static str]),
}

use Has::{AnyOf, Nothing, Optional, Required};

fn with(mut config: Config, has: Has) -> Config {
    let (ids, policy): (Vec<&str>, _) = match has {
        Nothing => (vec![], None),
        Optional(id) => (vec![id], Some(PpkPolicy { id: Some(id.into()), required: false })),
        Required(id) => (vec![id], Some(PpkPolicy { id: Some(id.into()), required: true })),
        AnyOf(ids) => (ids.to_vec(), Some(PpkPolicy { id: None, required: true })),
    };
    config.ppks = ids.into_iter().map(ppk).collect();
    config.connections[0].ppk = policy;
    config
}

fn pair(a: Has, b: Has) -> Pair {
    Pair::new(1, with(config(A), a), with(config(B), b))
}

fn status(pair: &mut Pair) -> [PpkStatus; 2] {
    [A, B].map(|side| pair.ike_sas(side)[0].ppk.clone())
}

fn missing(pair: &Pair, side: Side) -> Vec<String> {
    let why = |event: &Event| if let Event::PpkMissing { why, .. } = event { Some(why.clone()) } else { None };
    pair.gateways[side as usize].events.iter().filter_map(why).collect()
}

fn messages(pair: &Pair) -> Vec<String> {
    let traces = pair.gateways[A as usize].traces.iter();
    let said = traces.filter_map(|trace| match &trace.record {
        Record::Message { title, payloads, .. } => {
            Some(format!("{title}: {}", payloads.iter().map(|payload| payload.name.clone()).collect::<Vec<_>>().join(" ")))
        }
        Record::Step { .. } => None,
    });
    said.collect()
}

fn failure(pair: &Pair, side: Side) -> Option<Failure> {
    let failed = |event: &Event| if let Event::NegotiationFailed { failure, .. } = event { Some(failure.clone()) } else { None };
    pair.gateways[side as usize].events.iter().find_map(failed)
}

/// A calls B, and comes to nothing.
fn refused(mut pair: Pair) -> Pair {
    pair.acquire(A, 1);
    pair.run(Duration::from_secs(20));
    for side in [A, B] {
        assert_eq!((pair.installed(side), pair.established(side)), (0, 0));
        assert!(!pair.gateway(side).events.iter().any(|event| matches!(event, Event::IkeSaEstablished(_))) || side == B);
    }
    pair
}

fn detail(failure: Option<Failure>) -> Detail {
    failure.unwrap().detail().unwrap().clone()
}

fn used() -> [PpkStatus; 2] {
    [PpkStatus::Used("b.ppk".into()), PpkStatus::Used("b.ppk".into())]
}

/// "Received USE_PPK: Yes, Configured with PPK: Yes: Use PPK".
#[test]
fn both_have_the_ppk_and_use_it() {
    for (a, b) in [
        (Optional("b.ppk"), Optional("b.ppk")),
        (Required("b.ppk"), Required("b.ppk")),
        (Optional("b.ppk"), Required("b.ppk")),
        (Required("b.ppk"), Optional("b.ppk")),
        (Required("b.ppk"), AnyOf(&["a.ppk", "b.ppk"])),
    ] {
        let mut pair = pair(a, b);
        pair.connect();
        assert_eq!(status(&mut pair), used(), "{a:?} {b:?}");
        let all = messages(&pair);
        assert!(all[0].ends_with("N(USE_PPK)") && all[1].contains("N(USE_PPK)"), "{all:?}");
        let fallback = if matches!(a, Optional(_)) { " N(PPK_ID) N(NO_PPK)" } else { " N(PPK_ID)" };
        assert!(all[2].ends_with(&format!("TSr{fallback}")), "{all:?}");
        assert!(all[3].contains(" AUTH N(PPK_ID) "), "{all:?}");
        assert!(missing(&pair, A).is_empty() && missing(&pair, B).is_empty());
    }
}

/// "Received USE_PPK: No".
#[test]
fn an_initiator_without_a_ppk() {
    let mut without = pair(Nothing, Optional("b.ppk"));
    without.connect();
    let [a, b] = status(&mut without);
    assert_eq!(a, PpkStatus::NotWanted);
    assert!(matches!(b, PpkStatus::Missing(_)));
    assert_eq!(missing(&without, B), ["the peer has not said that it uses one"]);
    assert!(!messages(&without).concat().contains("PPK"));

    let pair = refused(pair(Nothing, Required("b.ppk")));
    let why = detail(failure(&pair, B));
    assert_eq!(why.summary, "the peer does not use a PPK (RFC 8784), or has none");
    assert_eq!(why.ours, "connection lab: ppk_id = \"b.ppk\", ppk_required = true");
    assert!(matches!(failure(&pair, A), Some(Failure::Refused(..))));
}

/// A responder that knows nothing of PPKs, or has none, does not answer USE_PPK.
#[test]
fn a_responder_without_a_ppk() {
    let mut without = pair(Optional("b.ppk"), Nothing);
    without.connect();
    assert!(matches!(status(&mut without), [PpkStatus::Missing(_), PpkStatus::NotWanted]));
    assert_eq!(missing(&without, A).len(), 1);
    assert!(!messages(&without)[2].contains("PPK"));

    let mut pair = pair(Required("b.ppk"), Nothing);
    pair.acquire(A, 1);
    pair.run(Duration::from_secs(2));
    // Section 6: a forged answer must not end it; it waits for a better one until the next retransmission.
    assert!(failure(&pair, A).is_none());
    pair.run(Duration::from_secs(20));
    let Some(Failure::Incompatible(_, why)) = failure(&pair, A) else { panic!() };
    assert_eq!(why.theirs, "no USE_PPK in IKE_SA_INIT");
    assert!(!messages(&pair).iter().any(|message| message.starts_with("IKE_AUTH")));
}

/// "Received USE_PPK: Yes, Configured with PPK: No", which of two sides that have different PPKs is said in IKE_AUTH.
#[test]
fn a_responder_with_another_ppk() {
    let mut fallback = pair(Optional("a.ppk"), Optional("b.ppk"));
    fallback.connect();
    assert!(matches!(status(&mut fallback), [PpkStatus::Missing(_), PpkStatus::Missing(_)]));
    assert_eq!(missing(&fallback, A), ["the peer does not know the PPK 'a.ppk'"]);
    assert_eq!(missing(&fallback, B), ["the peer's PPK, PPK_ID_FIXED (2) 'a.ppk', is none of this connection"]);
    assert!(!messages(&fallback)[3].contains("PPK"));

    let why = detail(failure(&refused(pair(Required("a.ppk"), Optional("b.ppk"))), B));
    assert!(why.summary.ends_with("is not that of connection lab, and the peer does not do without"), "{}", why.summary);
    let why = detail(failure(&refused(pair(Optional("a.ppk"), Required("b.ppk"))), B));
    assert!(why.summary.ends_with("and this connection does not do without"), "{}", why.summary);
    assert_eq!(why.would_match, "the PPK 'b.ppk'");
    refused(pair(Required("c.ppk"), AnyOf(&["a.ppk", "b.ppk"])));
}

/// "this allows both sides to detect a secret mismatch cleanly".
#[test]
fn the_same_name_with_another_secret() {
    let mut other = with(config(B), Required("b.ppk"));
    other.ppks = vec![Ppk { id: "b.ppk".into(), secret: Secret::copy_from(b"something else") }];
    for has in [Optional("b.ppk"), Required("b.ppk")] {
        let other = Config { ppks: vec![Ppk { id: "b.ppk".into(), secret: Secret::copy_from(b"another") }], ..with(config(B), has) };
        let pair = refused(Pair::new(1, with(config(A), has), other));
        let why = detail(failure(&pair, B));
        assert!(why.remedy.ends_with("or the secrets of the PPK 'b.ppk' differ: compare them"), "{}", why.remedy);
    }
}

/// Somebody who knows the secret of the key exchange, as everybody does here, has no keys of Child SAs without the PPK.
#[test]
fn the_ppk_is_in_the_keys_of_child_sas() {
    const SUITE: clear::Clear = clear::Clear(&[]);
    let keys = |has| {
        let mut pair = Pair::with(clear::provider(&[&SUITE]), Network::GOOD, 7, with(config(A), has), with(config(B), has));
        pair.connect();
        pair.assert_mirrored();
        let installed = pair.gateways[0].data_plane.installed.values().next().unwrap();
        installed.outbound_keys.encryption.expose().to_vec()
    };
    assert_eq!(keys(Nothing), keys(Nothing));
    assert_ne!(keys(Required("b.ppk")), keys(Nothing));
    assert_eq!(keys(Required("b.ppk")), keys(Required("b.ppk")));
}

#[test]
fn it_stays_after_a_rekey_and_is_not_stirred_in_again() {
    let mut pair = pair(Required("b.ppk"), Required("b.ppk"));
    pair.connect();
    for side in [A, B] {
        let request = pair.rekey(side, lab());
        pair.run(Duration::from_secs(10));
        assert!(pair.answer(side, request).unwrap().is_ok());
        assert_eq!(status(&mut pair), used());
        pair.assert_mirrored();
    }
    pair.soft_expire(A);
    pair.run(Duration::from_secs(10));
    pair.assert_mirrored();
    assert_eq!(messages(&pair).iter().filter(|message| message.contains("PPK")).count(), 4);
}

fn user_round() -> LocalRound {
    let password = Arc::new(Secret::copy_from(b"wonderland"));
    let client = EapClient::new(PasswordMethod::Mschapv2, Some("alice".into()), password);
    LocalRound { identity: "a.lab.test".parse().unwrap(), auth: LocalAuth::Eap(Arc::new(client)) }
}

fn users_round() -> RemoteRound {
    let mut users = Users::default();
    users.add("alice".into(), Secret::copy_from(b"wonderland"));
    let server = EapServer::new(PasswordMethod::Mschapv2, EapIdentity::Any, Arc::new(users));
    RemoteRound { identity: None, auth: RemoteAuth::Eap(Arc::new(server)) }
}

#[test]
fn with_eap_the_last_auth_has_it() {
    let user = |has| {
        let mut config = with(config(A), has);
        config.connections[0].local_auth = user_round().auth;
        config
    };
    let server = |has| {
        let mut config = with(config(B), has);
        config.connections[0].remote_auth = users_round().auth;
        config
    };
    let mut pair = Pair::new(1, user(Optional("b.ppk")), server(Required("b.ppk")));
    pair.connect();
    assert_eq!(status(&mut pair), used());
    let all = messages(&pair);
    assert!(all.contains(&"IKE_AUTH request 5: SK AUTH N(PPK_ID) N(NO_PPK)".to_owned()), "{all:?}");
    assert!(all.contains(&"IKE_AUTH response 5: SK AUTH N(PPK_ID) N(INIT_CONTACT) SA TSi TSr".to_owned()), "{all:?}");
    assert_eq!(all.iter().filter(|message| message.contains("PPK")).count(), 4);

    let mut fallback = Pair::new(1, user(Optional("a.ppk")), server(Optional("b.ppk")));
    fallback.connect();
    assert!(matches!(status(&mut fallback), [PpkStatus::Missing(_), PpkStatus::Missing(_)]));

    let pair = refused(Pair::new(1, user(Nothing), server(Required("b.ppk"))));
    // It is known as soon as the initiator is.
    assert!(!messages(&pair).iter().any(|message| message.contains("EAP")));
    refused(Pair::new(1, user(Required("a.ppk")), server(Optional("b.ppk"))));
}

/// Rounds after the first (RFC 4739): its AUTH and the answer decide, and what comes then has the PPK's SK_pi and SK_pr, or those without.
#[test]
fn in_several_rounds_the_first_auth_decides() {
    let key = |identity: &str| LocalRound { identity: identity.parse().unwrap(), auth: LocalAuth::Psk };
    let shown = |identity: &str| RemoteRound { identity: Some(identity.parse().unwrap()), auth: RemoteAuth::Psk };
    let rounds = |has_a, has_b| {
        let (mut a, mut b) = (with(config(A), has_a), with(config(B), has_b));
        a.connections[0].local_more = vec![key("host.a"), user_round()];
        b.connections[0].remote_more = vec![shown("host.a"), users_round()];
        b.connections[0].local_more = vec![key("host.b")];
        a.connections[0].remote_more = vec![shown("host.b")];
        Pair::new(1, a, b)
    };
    for required in [false, true] {
        let has = if required { Required("b.ppk") } else { Optional("b.ppk") };
        let mut pair = rounds(has, has);
        pair.connect();
        pair.assert_mirrored();
        assert_eq!(status(&mut pair), used());
        let all = messages(&pair);
        assert!(all.contains(&"IKE_AUTH response 1: SK IDr AUTH N(AUTH_FOLLOWS) N(PPK_ID)".to_owned()), "{all:?}");
        // USE_PPK twice, the claim, and the answer to it.
        assert_eq!(all.iter().filter(|message| message.contains("PPK")).count(), 4, "{all:?}");
    }
    let mut fallback = rounds(Optional("a.ppk"), Optional("b.ppk"));
    fallback.connect();
    assert!(matches!(status(&mut fallback), [PpkStatus::Missing(_), PpkStatus::Missing(_)]));
    refused(rounds(Required("a.ppk"), Optional("b.ppk")));
    refused(rounds(Nothing, Required("b.ppk")));
}

/// EAP comes first, so that the PPK is in the second AUTH of the responder's only, and a shared key follows.
#[test]
fn a_round_after_eap_has_the_ppk() {
    let rounds = |has_a, has_b| {
        let (mut a, mut b) = (with(config(A), has_a), with(config(B), has_b));
        a.connections[0].local_auth = user_round().auth;
        b.connections[0].remote_auth = users_round().auth;
        a.connections[0].local_more = vec![LocalRound { identity: "host.a".parse().unwrap(), auth: LocalAuth::Psk }];
        b.connections[0].remote_more = vec![RemoteRound { identity: Some("host.a".parse().unwrap()), auth: RemoteAuth::Psk }];
        Pair::new(1, a, b)
    };
    let mut pair = rounds(Optional("b.ppk"), Required("b.ppk"));
    pair.connect();
    assert_eq!(status(&mut pair), used());
    let all = messages(&pair);
    assert!(all.contains(&"IKE_AUTH request 5: SK AUTH N(AUTH_FOLLOWS) N(PPK_ID) N(NO_PPK)".to_owned()), "{all:?}");
    assert!(all.contains(&"IKE_AUTH response 5: SK AUTH N(PPK_ID)".to_owned()), "{all:?}");
    assert!(all.contains(&"IKE_AUTH request 6: SK IDi AUTH".to_owned()), "{all:?}");
    let mut fallback = rounds(Optional("a.ppk"), Optional("b.ppk"));
    fallback.connect();
    assert!(matches!(status(&mut fallback), [PpkStatus::Missing(_), PpkStatus::Missing(_)]));
}

/// "Signs" by a hash of its name and the message.
#[derive(Debug)]
struct FakeKey(&'static str);

#[derive(Debug)]
struct FakeVerifier(&'static str);

fn signature(name: &str, message: &[u8]) -> Vec<u8> {
    (ike_crypto::provider().sha1)(&[name.as_bytes(), message]).to_vec()
}

impl SigningKey for FakeKey {
    fn kind(&self) -> KeyKind {
        KeyKind::EcdsaP256
    }

    fn sign(&self, _: SignatureScheme, _: SignatureEncoding, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        Ok(signature(self.0, message))
    }
}

impl PeerVerifier for FakeVerifier {
    fn authorities(&self) -> &[[u8; 20]] {
        &[]
    }

    fn verify(&self, proof: &PeerProof) -> Result<(), Box<Detail>> {
        let wrong = || Box::new(Detail { summary: "the signature is wrong".into(), ..Detail::default() });
        (signature(self.0, &proof.message) == proof.signature).then_some(()).ok_or_else(wrong)
    }
}

#[test]
fn with_signatures_an_initiator_signs_twice() {
    let signing = |side: Side, has| {
        let names = ["a", "b"];
        let mut config = with(config(side), has);
        config.psks.clear();
        let certificates = vec![Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: b"any".to_vec() }];
        let schemes = vec![SignatureScheme::EcdsaSha256];
        let key = Arc::new(FakeKey(names[side as usize]));
        config.connections[0].local_auth = LocalAuth::PublicKey(Credential { key, certificates, schemes });
        config.connections[0].remote_auth = RemoteAuth::PublicKey(Arc::new(FakeVerifier(names[side.other() as usize])));
        config
    };
    let mut pair = Pair::new(1, signing(A, Optional("b.ppk")), signing(B, Optional("b.ppk")));
    pair.connect();
    assert_eq!(status(&mut pair), used());
    assert!(messages(&pair)[2].contains("N(PPK_ID) N(NO_PPK)"));
    let mut fallback = Pair::new(1, signing(A, Optional("a.ppk")), signing(B, Optional("b.ppk")));
    fallback.connect();
    assert!(matches!(status(&mut fallback), [PpkStatus::Missing(_), PpkStatus::Missing(_)]));
    let mut other = signing(B, Required("b.ppk"));
    other.ppks[0].secret = Secret::copy_from(b"another");
    let pair = refused(Pair::new(1, signing(A, Required("b.ppk")), other));
    assert!(detail(failure(&pair, B)).remedy.contains("the secrets of the PPK 'b.ppk' differ"));
}

#[test]
fn loss_repetition_and_reordering_change_nothing() {
    for seed in 0..20 {
        let b = with(config(B), if seed % 2 == 0 { Required("b.ppk") } else { Optional("c.ppk") });
        let mut pair = Pair::new(seed, with(config(A), Optional("b.ppk")), b);
        pair.network = Network { loss_percent: 10, duplication_percent: 25, delay: (Duration::from_millis(1), Duration::from_millis(400)) };
        pair.acquire(A, 1);
        pair.run(Duration::from_secs(100));
        pair.network = Network::GOOD;
        pair.run(Duration::from_secs(10));
        pair.assert_mirrored();
    }
}

#[test]
fn an_initiator_that_demands_a_ppk_names_one() {
    let pair = refused(pair(AnyOf(&["b.ppk"]), AnyOf(&["b.ppk"])));
    assert!(matches!(failure(&pair, A), Some(Failure::Local(_))));
}
