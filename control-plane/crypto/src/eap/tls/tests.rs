//! Both sides of EAP-TLS with certificates made by rcgen: who is believed, who is not, and what comes in a wrong order.

use ike::provider::{Certificate, CertificateEncoding, EapCode, EapPacket, EapStep, Judgement, SigningKey};
use ipsec_types::SignatureScheme;
use rcgen::{CertificateParams, CrlDistributionPoint, SanType};

use super::*;
use crate::eap::tests::{Ends, between, identity, talk};
use crate::x509::tests::{ROOT, authority, clock, gateway};
use crate::{RevocationPolicy, schemes};

fn credential(issuer: &rcgen::Issuer<'_, rcgen::KeyPair>, change: impl FnOnce(&mut CertificateParams)) -> Credential {
    let (data, key) = gateway(issuer, change);
    let schemes = schemes(key.kind()).to_vec();
    let certificates = vec![Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data }];
    Credential { key: Arc::new(key), certificates, schemes }
}

fn trusting(policy: RevocationPolicy) -> Arc<Trust> {
    let mut trust = Trust::new(clock, SignatureScheme::ALL.to_vec());
    trust.trust_authority(ROOT.der.clone()).unwrap();
    trust.check_revocation(policy, Arc::default());
    Arc::new(trust)
}

/// Of alice@lab.test.
fn of_alice(params: &mut CertificateParams) {
    params.subject_alt_names = vec![SanType::Rfc822Name("alice@lab.test".try_into().unwrap())];
}

fn client(credential: Credential, server: Option<Identity>) -> Box<dyn EapConversation> {
    EapTlsClient::new(None, credential, trusting(RevocationPolicy::Off), server)
        .begin(&between(&identity("alice@lab.test"), &identity("gw.example")))
}

fn server_of(credential: Credential, asks: EapIdentity, policy: RevocationPolicy) -> Box<dyn EapConversation> {
    EapTlsServer::new(asks, credential, trusting(policy)).begin(&between(&identity("alice@lab.test"), &identity("gw.example")))
}

fn alice() -> Box<dyn EapConversation> {
    client(credential(&ROOT.issuer, of_alice), None)
}

fn server(asks: EapIdentity) -> Box<dyn EapConversation> {
    server_of(credential(&ROOT.issuer, |_| {}), asks, RevocationPolicy::Off)
}

fn failed((ends, _): Ends) -> [String; 2] {
    ends.map(|end| end.err().unwrap_or_else(|| "has succeeded".to_owned()))
}

#[test]
fn both_show_certificates_and_have_a_key() {
    for asks in [EapIdentity::FromIke, EapIdentity::Any, EapIdentity::Exactly("alice@lab.test".to_owned())] {
        let (ends, said) = talk(alice(), server(asks));
        let [client_end, server_end] = ends.map(Result::unwrap);
        assert_eq!(client_end.msk.as_ref().map(Secret::len), Some(64));
        assert_eq!(client_end.msk, server_end.msk);
        assert_eq!(server_end.user, Some(identity("alice@lab.test")));
        assert!(said.len() < 13, "{}", said.len());
    }
}

/// Flights of more than one packet, of which every one but the last is acknowledged.
#[test]
fn large_certificates_come_in_fragments() {
    let large = |params: &mut CertificateParams| {
        params.subject_alt_names.extend((0..300).map(|i| SanType::DnsName(format!("gw-{i}.example").try_into().unwrap())));
    };
    let client = client(credential(&ROOT.issuer, |params| (of_alice(params), large(params)).0), None);
    let (ends, said) = talk(client, server_of(credential(&ROOT.issuer, large), EapIdentity::FromIke, RevocationPolicy::Off));
    let [client_end, server_end] = ends.map(Result::unwrap);
    assert_eq!(client_end.msk, server_end.msk);
    assert!(said.len() > 18 && said.iter().all(|packet| packet.len() <= 1034), "{}", said.len());
}

#[test]
fn the_certificate_has_to_be_that_of_the_identity() {
    // The peer's.
    let [_, servers] = failed(talk(client(credential(&ROOT.issuer, |_| {}), None), server(EapIdentity::FromIke)));
    assert_eq!(servers, "the certificate is not one of alice@lab.test: it is about gw.example, CN=a gateway");
    // Whatever the peer says its name is, the certificate has to have it.
    let other =
        EapTlsClient::new(Some("bob@lab.test".to_owned()), credential(&ROOT.issuer, of_alice), trusting(RevocationPolicy::Off), None);
    let other = other.begin(&between(&identity("alice@lab.test"), &identity("gw.example")));
    let [_, servers] = failed(talk(other, server(EapIdentity::Any)));
    assert!(servers.starts_with("the certificate is not one of bob@lab.test: it is about alice@lab.test"), "{servers}");
    // The server's.
    let [clients, _] = failed(talk(alice(), server_of(credential(&ROOT.issuer, of_alice), EapIdentity::FromIke, RevocationPolicy::Off)));
    assert!(clients.starts_with("the certificate is not one of gw.example: it is about alice@lab.test"), "{clients}");
    let aaa = client(credential(&ROOT.issuer, of_alice), Some(identity("aaa.example")));
    let [clients, _] = failed(talk(aaa, server(EapIdentity::FromIke)));
    assert!(clients.starts_with("the certificate is not one of aaa.example"), "{clients}");
}

#[test]
fn a_certificate_of_another_authority_is_refused_and_both_are_told() {
    let other = authority("other", |_| {});
    let [clients, servers] = failed(talk(client(credential(&other, of_alice), None), server(EapIdentity::FromIke)));
    assert!(servers.contains("no authority that is trusted here has signed it"), "{servers}");
    assert!(clients.starts_with("the other side ends TLS"), "{clients}");
    let (ends, said) = talk(alice(), server_of(credential(&other, |_| {}), EapIdentity::FromIke, RevocationPolicy::Off));
    // RFC 5216 section 2.1.3: "The EAP Server MUST reply with an EAP-Failure packet".
    assert_eq!(said.last().unwrap()[0], EapCode::FAILURE.0);
    let [clients, servers] = failed((ends, said));
    assert!(clients.contains("no authority that is trusted here has signed it"), "{clients}");
    assert!(servers.starts_with("the other side ends TLS"), "{servers}");
}

/// A server that goes on though it was told by an alert that it is not believed.
#[test]
fn a_server_that_does_not_heed_an_alert_is_refused_for_the_reason_it_was_told() {
    let mut peer = alice();
    let mut gateway = server_of(credential(&authority("other", |_| {}), |_| {}), EapIdentity::FromIke, RevocationPolicy::Off);
    let mut answer = None;
    for _ in 0..2 {
        let EapStep::Say(request) = gateway.step(answer.as_deref()) else { panic!() };
        let EapStep::Say(response) = peer.step(Some(&request)) else { panic!() };
        answer = Some(response);
    }
    let more = EapPacket::emit(EapCode::REQUEST, 9, EapType::TLS, &[0]).unwrap();
    let EapStep::Failed { why, .. } = peer.step(Some(&more)) else { panic!() };
    assert!(why.theirs.contains("no authority") || why.summary.contains("no authority"), "{why}");
}

#[test]
fn success_before_the_server_has_finished_is_refused() {
    let success = EapPacket::verdict(EapCode::SUCCESS, 1);
    let (_, said) = talk(alice(), server(EapIdentity::FromIke));
    let rounds = said.iter().filter(|packet| packet[0] == EapCode::REQUEST.0).count();
    for early in 0..rounds {
        let (mut peer, mut gateway) = (alice(), server(EapIdentity::FromIke));
        let mut answer = None;
        for _ in 0..early {
            let EapStep::Say(request) = gateway.step(answer.as_deref()) else { panic!() };
            let EapStep::Say(response) = peer.step(Some(&request)) else { panic!() };
            answer = Some(response);
        }
        let EapStep::Failed { why, .. } = peer.step(Some(&success)) else { panic!("after {early} rounds") };
        assert_eq!(why.summary, "EAP Success has come before the method was done");
    }
}

/// Who says nothing where its certificate is due, who begins again, and who cannot wait.
#[test]
fn what_does_not_belong_there_is_refused() {
    let start = EapPacket::emit(EapCode::REQUEST, 1, EapType::TLS, &start()).unwrap();
    let nothing = EapPacket::emit(EapCode::REQUEST, 2, EapType::TLS, &[0]).unwrap();
    for (packets, expected) in [
        (&[&nothing][..], "the server does not start EAP-TLS"),
        (&[&start, &start], "the server starts EAP-TLS twice"),
        (&[&start, &nothing], "the server has nothing to say"),
    ] {
        let mut peer = alice();
        let last = packets.iter().map(|packet| peer.step(Some(packet))).last().unwrap();
        let EapStep::Failed { why, .. } = last else { panic!("{expected}") };
        assert_eq!(why.summary, expected);
    }
    let mut gateway = server(EapIdentity::FromIke);
    let EapStep::Say(request) = gateway.step(None) else { panic!() };
    let silent = EapPacket::emit(EapCode::RESPONSE, request[1], EapType::TLS, &[0]).unwrap();
    let EapStep::Failed { why, .. } = gateway.step(Some(&silent)) else { panic!() };
    assert_eq!(why.summary, "the peer has nothing to say");
}

/// A peer without a certificate of its own: TLS goes on until its empty list comes.
#[test]
fn a_peer_without_a_certificate_is_refused() {
    let without = Credential { certificates: Vec::new(), ..credential(&ROOT.issuer, of_alice) };
    let (ends, _) = talk(client(without, None), server(EapIdentity::FromIke));
    assert!(ends.iter().all(Result::is_err));
}

/// Of a certificate that names where its revocation is said others have to be asked, and nothing is said before.
#[test]
fn revocation_is_asked_about_before_anything_else_is_said() {
    let with_address = |params: &mut CertificateParams| {
        of_alice(params);
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://pki.example/ca.crl".to_owned()] }];
    };
    for revoked in [false, true] {
        let mut peer = client(credential(&ROOT.issuer, with_address), None);
        let mut gateway = server_of(credential(&ROOT.issuer, |_| {}), EapIdentity::FromIke, RevocationPolicy::Strict);
        let mut answer = None;
        let (verifier, proof) = loop {
            match gateway.step(answer.as_deref()) {
                EapStep::Verify { verifier, proof } => break (verifier, proof),
                EapStep::Say(request) => {
                    let EapStep::Say(response) = peer.step(Some(&request)) else { panic!() };
                    answer = Some(response);
                }
                other => panic!("{other:?}"),
            }
        };
        let Judgement::Open(inquiries) = verifier.judge(&proof) else { panic!("nobody is asked") };
        assert_eq!(inquiries[0].url, "http://pki.example/ca.crl");
        let refusal = verifier.verify(&proof).unwrap_err();
        assert!(refusal.summary.starts_with("it is not known whether the certificate of alice@lab.test"), "{refusal}");
        match gateway.verified(if revoked { Err(refusal) } else { Ok(()) }) {
            // RFC 5216 section 2.1.3: the peer hears an alert, and then EAP Failure.
            EapStep::Say(alert) if revoked => {
                let EapStep::Say(acknowledged) = peer.step(Some(&alert)) else { panic!() };
                let EapStep::Failed { why, last: Some(failure) } = gateway.step(Some(&acknowledged)) else { panic!() };
                assert!(why.ours.contains("eap-tls") && why.summary.starts_with("it is not known whether"), "{why}");
                let EapStep::Failed { why, .. } = peer.step(Some(&failure)) else { panic!() };
                assert_eq!(why.summary, "the other side ends TLS: CertificateUnknown");
            }
            EapStep::Say(finished) if !revoked => {
                let EapStep::Say(acknowledged) = peer.step(Some(&finished)) else { panic!() };
                assert!(matches!(gateway.step(Some(&acknowledged)), EapStep::Succeeded { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// The same of a server: it hears an alert.
#[test]
fn a_server_that_others_know_something_of_is_told_by_an_alert() {
    let with_address = |params: &mut CertificateParams| {
        params.crl_distribution_points = vec![CrlDistributionPoint { uris: vec!["http://pki.example/ca.crl".to_owned()] }];
    };
    let strict = EapTlsClient::new(None, credential(&ROOT.issuer, of_alice), trusting(RevocationPolicy::Strict), None)
        .begin(&between(&identity("alice@lab.test"), &identity("gw.example")));
    let gateway = server_of(credential(&ROOT.issuer, with_address), EapIdentity::FromIke, RevocationPolicy::Off);
    let [clients, servers] = failed(talk(strict, gateway));
    assert!(clients.starts_with("it is not known whether the certificate of gw.example"), "{clients}");
    assert_eq!(servers, "the other side ends TLS: CertificateUnknown");
}
