//! RADIUS as a gateway speaks it, with servers that keep the rules and servers that do not.
#![allow(clippy::unwrap_used, reason = "test code")]

mod exercise;
mod server;

use std::fs;
use std::time::Duration;

use exercise::{begun, open_to};
use ike::error::Detail;
use ike::provider::{EapCode, EapOutcome, EapPacket, EapStep, EapType};
use ike_crypto::eap::EapIdentity;
use ike_crypto::radius::{Answer, Move, RadiusError, Request, Sealed, Session, Verdict};
use ipsec_types::{Identity, Secret};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use server::{attribute, eap, values};

const CHALLENGE: u8 = 11;
const REJECT: u8 = 3;

fn secret() -> Secret {
    Secret::copy_from(b"xyzzy5461")
}

fn sealed(request: &Request) -> Sealed {
    request.seal(7, [9; 16], &secret())
}

/// What a server answers with.
fn open(request: &Request, code: u8, attributes: &[u8]) -> Result<Answer, RadiusError> {
    let sealed = sealed(request);
    sealed.open(&server::answer(sealed.octets(), code, attributes, &secret()), &secret())
}

fn asks(next: Move) -> Request {
    match next {
        Move::Ask(request) => request,
        Move::Step(step) => panic!("{step:?}"),
    }
}

fn request_of(kind: EapType, data: &[u8]) -> Vec<u8> {
    EapPacket::emit(EapCode::REQUEST, 50, kind, data).unwrap()
}

fn response_of(kind: EapType, data: &[u8]) -> Vec<u8> {
    EapPacket::emit(EapCode::RESPONSE, 50, kind, data).unwrap()
}

fn success() -> Vec<u8> {
    eap(&EapPacket::verdict(EapCode::SUCCESS, 50))
}

fn keys(request: &Request) -> Vec<u8> {
    let sealed = sealed(request);
    [server::key(sealed.octets(), 16, &[0x5e; 32], &secret()), server::key(sealed.octets(), 17, &[0x4e; 32], &secret())].concat()
}

fn failed(step: EapStep) -> (Option<Vec<u8>>, Box<Detail>) {
    match step {
        EapStep::Failed { last, why } => (last, why),
        other => panic!("{other:?}"),
    }
}

fn succeeded(step: EapStep) -> EapOutcome {
    match step {
        EapStep::Succeeded { last, outcome } => {
            assert_eq!(last, Some(EapPacket::verdict(EapCode::SUCCESS, 50)));
            outcome
        }
        other => panic!("{other:?}"),
    }
}

/// A conversation whose peer has answered a method.
fn running(method: EapType) -> (Session, Request) {
    let (mut session, request) = begun();
    let challenge = open(&request, CHALLENGE, &eap(&request_of(method, b"prove it"))).unwrap();
    assert!(matches!(session.hear_server(challenge), EapStep::Say(_)));
    let request = asks(session.hear_peer(Some(&response_of(method, b"proof"))));
    (session, request)
}

#[test]
fn a_request_says_who_asks_for_whom_and_is_protected_from_its_beginning() {
    let (_, request) = begun();
    let sealed = sealed(&request);
    let packet = sealed.octets();
    assert_eq!((packet[0], packet[1], &packet[4..20]), (1, 7, &[9; 16][..]));
    assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
    let text = |kind| String::from_utf8(values(packet, kind)).unwrap();
    assert_eq!([1, 31, 30, 32, 87].map(text), ["alice@lab.test", "198.51.100.7[1024]", "192.0.2.1[4500]", "gw.lab.test", "users"]);
    assert_eq!((values(packet, 4), values(packet, 12), values(packet, 6)), (vec![192, 0, 2, 1], vec![0, 0, 4, 0], vec![0, 0, 0, 2]));
    let packet_of_eap = values(packet, server::EAP_MESSAGE);
    let identity = EapPacket::parse(&packet_of_eap).ok().unwrap();
    assert!(identity.code == EapCode::RESPONSE && identity.content == Some((EapType::IDENTITY, b"alice@lab.test")));
    // OpenSSL's HMAC, over zeros where it stands itself.
    assert_eq!(packet[20..22], [server::MESSAGE_AUTHENTICATOR, 18]);
    let mut zeroed = packet.to_vec();
    zeroed[22..38].fill(0);
    let key = PKey::hmac(secret().expose()).unwrap();
    let mut signer = Signer::new(MessageDigest::md5(), &key).unwrap();
    assert_eq!(packet[22..38], signer.sign_oneshot_to_vec(&zeroed).unwrap());
}

#[test]
fn nothing_but_the_whole_answer_to_this_request_is_read() {
    let (_, request) = begun();
    let sealed = sealed(&request);
    let attributes = [attribute(24, b"state"), eap(&request_of(EapType::TLS, &[0x20])), attribute(1, b"alice")].concat();
    let good = server::answer(sealed.octets(), CHALLENGE, &attributes, &secret());
    let answer = sealed.open(&good, &secret()).unwrap();
    assert_eq!((answer.verdict, answer.state.as_deref()), (Verdict::Challenge, Some(&b"state"[..])));
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut altered = good.clone();
            altered[at] ^= 1 << bit;
            assert!(sealed.open(&altered, &secret()).is_err(), "octet {at}, bit {bit}");
        }
        assert!(sealed.open(&good[..at], &secret()).is_err(), "{at} octets");
    }
    // Padding is no part of it.
    assert!(sealed.open(&[&good[..], &[0; 9]].concat(), &secret()).is_ok());
    let refused = |datagram: &[u8], secret: &Secret| sealed.open(datagram, secret).unwrap_err();
    assert_eq!(refused(&good, &Secret::copy_from(b"another")), RadiusError::Unauthentic);
    // Signed by the server, each of them.
    assert_eq!(
        refused(&server::unprotected(sealed.octets(), CHALLENGE, &attributes, &secret(), false), &secret()),
        RadiusError::Unprotected
    );
    assert_eq!(refused(&server::answer(sealed.octets(), 1, &attributes, &secret()), &secret()), RadiusError::Code(1));
    assert_eq!(refused(&server::answer(sealed.octets(), CHALLENGE, &[24, 1], &secret()), &secret()), RadiusError::Attribute(24));
    let twice = [attribute(24, b"a"), attribute(24, b"b")].concat();
    assert_eq!(refused(&server::answer(sealed.octets(), CHALLENGE, &twice, &secret()), &secret()), RadiusError::Attribute(24));
    let second = attribute(80, &[0; 16]);
    assert_eq!(refused(&server::answer(sealed.octets(), CHALLENGE, &second, &secret()), &secret()), RadiusError::Attribute(80));
    let other = request.seal(8, [9; 16], &secret());
    assert_eq!(other.open(&good, &secret()).unwrap_err(), RadiusError::Identifier);
    let other = request.seal(7, [8; 16], &secret());
    assert_eq!(other.open(&good, &secret()).unwrap_err(), RadiusError::Unauthentic);
}

/// RFC 3579 section 3.1: 253 octets at most in one attribute, and 4096 in all.
#[test]
fn eap_packets_are_cut_and_joined() {
    for octets in [5, 253, 254, 506, 507, 1020, 3500] {
        let (mut session, request) = begun();
        let asked = request_of(EapType::TLS, &vec![0x41; octets - 5]);
        let challenge = open(&request, CHALLENGE, &eap(&asked)).unwrap();
        assert!(matches!(session.hear_server(challenge), EapStep::Say(packet) if packet == asked), "{octets}");
        let answered = response_of(EapType::TLS, &vec![0x42; octets - 5]);
        let sealed = sealed(&asks(session.hear_peer(Some(&answered))));
        assert_eq!(values(sealed.octets(), server::EAP_MESSAGE), answered);
        assert!(sealed.octets().len() <= 4096);
    }
    let (mut session, request) = begun();
    let _said = session.hear_server(open(&request, CHALLENGE, &eap(&request_of(EapType::TLS, &[0x20]))).unwrap());
    let Move::Step(step) = session.hear_peer(Some(&response_of(EapType::TLS, &[0; 4000]))) else { panic!() };
    assert_eq!(failed(step).1.summary, "an EAP packet that is too long for RADIUS");
}

#[test]
fn the_state_of_the_last_challenge_comes_back_unchanged() {
    let (mut session, request) = begun();
    assert_eq!(values(sealed(&request).octets(), 24), b"");
    for state in [b"first", b"again"] {
        let attributes = [attribute(24, state), eap(&request_of(EapType::TLS, &[0x20]))].concat();
        let _said = session.hear_server(open(&request, CHALLENGE, &attributes).unwrap());
        assert_eq!(values(sealed(&asks(session.hear_peer(Some(&response_of(EapType::TLS, &[0]))))).octets(), 24), state);
    }
}

#[test]
fn what_the_server_accepts_has_its_key_its_name_and_its_time() {
    let (mut session, request) = running(EapType::TLS);
    let attributes = [success(), keys(&request), attribute(1, b"carol@lab.test"), attribute(27, &3600_u32.to_be_bytes())].concat();
    let outcome = succeeded(session.hear_server(open(&request, server::ACCEPT, &attributes).unwrap()));
    // What the gateway receives by comes first.
    assert_eq!(outcome.msk, Some(Secret::new([[0x4e; 32], [0x5e; 32]].concat())));
    assert_eq!(outcome.user, Some("carol@lab.test".parse::<Identity>().unwrap()));
    assert_eq!(outcome.lifetime, Some(Duration::from_secs(3600)));

    // MSCHAPv2 has halves of 16 octets, and the peer pads with zeros.
    let (mut session, request) = running(EapType::MSCHAPV2);
    let octets = sealed(&request);
    let short = [17, 16].map(|kind| server::key(octets.octets(), kind, &[kind; 16], &secret())).concat();
    let outcome = succeeded(session.hear_server(open(&request, server::ACCEPT, &[success(), short].concat()).unwrap()));
    assert_eq!(outcome.msk, Some(Secret::new([&[17; 16][..], &[16; 16], &[0; 32]].concat())));
    assert_eq!((outcome.user, outcome.lifetime), (Some("alice@lab.test".parse().unwrap()), None));
}

/// RFC 2865 section 5.8, RFC 6911 section 3.1.
#[test]
fn a_server_may_choose_the_peers_addresses_or_leave_that_to_others() {
    let given = |attributes: &[u8]| {
        let (mut session, request) = running(EapType::TLS);
        let answer = open(&request, server::ACCEPT, &[&success(), &keys(&request), attributes].concat())?;
        let addresses = succeeded(session.hear_server(answer)).addresses;
        Ok(addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
    };
    let ipv4 = |address: [u8; 4]| attribute(8, &address);
    let ipv6 = |last: u8| attribute(168, &[0xfd, 0x99, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last]);
    for (attributes, expected) in [
        (vec![], Ok("")),
        (ipv4([10, 3, 0, 7]), Ok("10.3.0.7")),
        ([ipv6(9), ipv4([10, 3, 0, 7]), ipv6(10)].concat(), Ok("10.3.0.7 fd99::9")),
        (ipv4([255, 255, 255, 253]), Ok("255.255.255.253")),
        (ipv4([255, 255, 255, 254]), Ok("")),
        ([ipv4([255, 255, 255, 255]), ipv6(9)].concat(), Ok("fd99::9")),
        ([ipv4([10, 3, 0, 7]), ipv4([10, 3, 0, 8])].concat(), Err(RadiusError::Attribute(8))),
        (attribute(8, &[10, 3, 0]), Err(RadiusError::Attribute(8))),
        (attribute(168, &[0xfd; 15]), Err(RadiusError::Attribute(168))),
    ] {
        assert_eq!(given(&attributes), expected.map(str::to_owned));
    }
    // Nobody who is not let in has any.
    let (_, request) = running(EapType::TLS);
    assert!(open(&request, CHALLENGE, &ipv4([10, 3, 0, 7])).unwrap().addresses.is_empty());
}

#[test]
fn keys_that_are_malformed_are_no_keys() {
    let (_, request) = running(EapType::TLS);
    let octets = sealed(&request);
    let key = |kind, length| server::key(octets.octets(), kind, &vec![1; length], &secret());
    let mut overlong = key(16, 32);
    overlong[9] ^= 0xff;
    let mut cut = key(16, 32);
    cut.truncate(cut.len() - 16);
    (cut[1], cut[7]) = (cut[1] - 16, cut[7] - 16);
    for keys in [
        key(16, 32),                                     // half of it
        [key(16, 32), key(17, 15)].concat(),             // hardly a key
        [key(16, 32), key(16, 32)].concat(),             // the same half twice
        [key(17, 32), cut].concat(),                     // longer than it is
        attribute(26, &[0, 0, 1, 0x37, 17, 9]),          // longer than its attribute
        attribute(26, &[0, 0, 1, 0x37, 17, 4, 0x80, 1]), // nothing behind the salt
    ] {
        let answer = open(&request, server::ACCEPT, &[success(), keys].concat());
        assert_eq!(answer.unwrap_err(), RadiusError::Attribute(26));
    }
    // Other vendors are none of our business.
    let answer = open(&request, server::ACCEPT, &[success(), attribute(26, &[0, 0, 0, 9, 1])].concat()).unwrap();
    assert!(answer.msk.is_none());
}

#[test]
fn success_comes_after_the_method_with_its_key_or_not_at_all() {
    let why = |(mut session, request): (Session, Request), code, attributes: &[u8]| {
        let (last, why) = failed(session.hear_server(open(&request, code, attributes).unwrap()));
        assert_eq!(last, None, "nobody is told of success or failure that there is not");
        why.summary
    };
    let early = "the RADIUS server's EAP Success has come before any method was done";
    let (session, request) = begun();
    let with_keys = [success(), keys(&request)].concat();
    assert_eq!(why((session, request), server::ACCEPT, &with_keys), early);
    let (mut session, request) = begun();
    let _said = session.hear_server(open(&request, CHALLENGE, &eap(&request_of(EapType::TLS, &[0x20]))).unwrap());
    let request = asks(session.hear_peer(Some(&response_of(EapType::NAK, &[EapType::MSCHAPV2.0]))));
    assert_eq!(why((session, request), server::ACCEPT, &with_keys), early, "the peer has declined, and nothing else");
    let keyless = "the RADIUS server's Access-Accept holds no key (MS-MPPE-Recv-Key), and TLS makes one";
    assert_eq!(why(running(EapType::TLS), server::ACCEPT, &success()), keyless);
    assert!(why(running(EapType(250)), server::ACCEPT, &success()).ends_with("makes one"));
    assert_eq!(why(running(EapType::TLS), CHALLENGE, &success()), "the RADIUS server's Access-Challenge holds no EAP Request");
    assert_eq!(why(running(EapType::TLS), CHALLENGE, &[]), "the RADIUS server's Access-Challenge holds no EAP Request");
    let failure = eap(&EapPacket::verdict(EapCode::FAILURE, 50));
    for attributes in [&failure[..], &[], &eap(&request_of(EapType::TLS, &[])), &eap(&[3, 50, 0])] {
        assert_eq!(why(running(EapType::TLS), server::ACCEPT, attributes), "the RADIUS server's Access-Accept holds no EAP Success");
    }
    assert!(why(running(EapType::TLS), REJECT, &success()).starts_with("the RADIUS server refuses the EAP user"));
    for method in [EapType::MD5_CHALLENGE, EapType::GTC] {
        let (mut session, request) = running(method);
        assert!(succeeded(session.hear_server(open(&request, server::ACCEPT, &success()).unwrap())).msk.is_none());
    }
}

#[test]
fn whoever_is_refused_is_told_so_by_the_server() {
    let (mut session, request) = running(EapType::MSCHAPV2);
    let failure = EapPacket::verdict(EapCode::FAILURE, 50);
    let attributes = [eap(&failure), attribute(18, b"account\nlocked")].concat();
    let (last, why) = failed(session.hear_server(open(&request, REJECT, &attributes).unwrap()));
    assert_eq!(last, Some(failure));
    assert_eq!(why.summary, "the RADIUS server refuses the EAP user: account\\nlocked");
    assert_eq!(why.ours, "remote.auth = eap-radius, EAP user alice@lab.test");
}

#[test]
fn the_peer_is_asked_who_it_is_and_stays_that() {
    let only = EapIdentity::Exactly("alice".into());
    for (identity, name, taken) in [(EapIdentity::Any, "bob", true), (only.clone(), "alice", true), (only, "bob", false)] {
        let mut session = open_to(identity);
        let Move::Step(EapStep::Say(asked)) = session.hear_peer(None) else { panic!() };
        let identifier = EapPacket::parse(&asked).ok().unwrap().identifier;
        let said = |name: &[u8]| EapPacket::emit(EapCode::RESPONSE, identifier, EapType::IDENTITY, name).unwrap();
        let next = session.hear_peer(Some(&said(name.as_bytes())));
        assert_eq!(matches!(next, Move::Ask(_)), taken, "{name}");
        if let Move::Ask(request) = next {
            assert_eq!(values(sealed(&request).octets(), 1), name.as_bytes());
        }
    }
    let mut session = open_to(EapIdentity::Any);
    let _asked = session.hear_peer(None);
    for packet in [&response_of(EapType::TLS, &[])[..], &[2, 1], &EapPacket::verdict(EapCode::SUCCESS, 1)] {
        assert!(matches!(session.hear_peer(Some(packet)), Move::Step(EapStep::Failed { .. })), "{packet:?}");
    }
    // A server may ask again; the answer may not be another.
    let (mut session, request) = begun();
    let _said = session.hear_server(open(&request, CHALLENGE, &eap(&request_of(EapType::IDENTITY, &[]))).unwrap());
    let Move::Step(step) = session.hear_peer(Some(&response_of(EapType::IDENTITY, b"mallory"))) else { panic!() };
    assert_eq!(failed(step).1.summary, "the peer has become another EAP user");
}

#[test]
fn the_corpus_is_read_or_refused() {
    let corpus = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/radius")).unwrap();
    let files: Vec<_> = corpus.map(|entry| fs::read(entry.unwrap().path()).unwrap()).collect();
    assert!(files.len() >= 20, "{}", files.len());
    files.iter().for_each(|octets| exercise::exercise(octets));
}
