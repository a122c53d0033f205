use alloc::vec;

use super::*;
use crate::{
    Auth, AuthMethod, Certificate, CertificateEncoding, CertificateRequest, ConfigurationAttribute, ConfigurationAttributeType,
    ConfigurationType, Encrypted, ExchangeType, Fragment, FragmentNumber, KeyExchange, Nonce, Unknown, Version,
};

fn init_header(flags: Flags) -> Header {
    Header { initiator_spi: 1, responder_spi: 0, version: Version::V2, exchange: ExchangeType::IKE_SA_INIT, flags, message_id: 0 }
}

fn lines(fields: &[Field]) -> Vec<String> {
    fields.iter().map(|field| format!("{}{}: {}", "  ".repeat(field.depth), field.name, field.value)).collect()
}

#[test]
fn a_message_reads_as_in_strongswan_logs() {
    let header = init_header(Flags { initiator: true, ..Flags::default() });
    let payloads = [
        Payload::KeyExchange(KeyExchange { method_id: 31, data: vec![1, 2] }),
        Payload::Nonce(Nonce::new(vec![0xab; 16]).unwrap()),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, vec![7; 20])),
        Payload::Notify(Notify::new(NotifyType(40000), vec![])),
    ];
    assert_eq!(message(&header, &payloads), "IKE_SA_INIT request 0 [ KE No N(NATD_S_IP) N(40000) ]");
    assert_eq!(message(&header, &[]), "IKE_SA_INIT request 0 [ ]");
}

#[test]
fn a_header_shows_every_field() {
    let flags = Flags { response: true, ..Flags::default() };
    assert_eq!(
        lines(&header(&init_header(flags), PayloadType::SA, 240)),
        [
            "IKE SA Initiator's SPI: 0000000000000001",
            "IKE SA Responder's SPI: 0000000000000000",
            "Next Payload: SA (33)",
            "Version: 2.0",
            "Exchange Type: IKE_SA_INIT (34)",
            "Flags: response (0x20)",
            "Message ID: 0",
            "Length: 240 octets",
        ]
    );
}

/// One payload of each type, with every field, in one snapshot.
#[test]
fn every_payload_shows_every_field() {
    let known = Transform::new(TransformType::ENCR, 20, Some(256));
    let odd = Attribute { kind: 99, value: AttributeValue::Long(vec![0xfe]) };
    let transforms = vec![known, Transform { kind: TransformType(42), id: 7, attributes: vec![odd] }];
    let proposal = Proposal { number: 1, protocol: Protocol::ESP, spi: vec![0xc0, 0, 0, 1], transforms };
    let selectors = vec![
        Selector::Range("10.1.0.0/24[tcp/443]".parse().unwrap()),
        Selector::Opaque { addresses: "2001:db8::/64".parse().unwrap(), protocol: 17 },
        Selector::Unsupported { ts_type: 9, protocol: 2, body: vec![3] },
    ];
    let id = Identification::new(2, b"a.test".to_vec());
    let about = Notify::about(Protocol::ESP, ipsec_types::Spi::new(0xc000_0001).unwrap(), NotifyType::REKEY_SA);
    let payloads = vec![
        Payload::Sa(Sa { proposals: vec![proposal] }),
        Payload::KeyExchange(KeyExchange { method_id: 31, data: vec![1, 2] }),
        Payload::IdInitiator(id),
        Payload::IdResponder(Identification::new(99, vec![1])),
        Payload::Cert(Certificate { encoding: CertificateEncoding::X509_SIGNATURE, data: vec![0x30] }),
        Payload::CertReq(CertificateRequest { encoding: CertificateEncoding::X509_SIGNATURE, authority: vec![0x31] }),
        Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: vec![0xa5; 4] }),
        Payload::Nonce(Nonce::new(vec![0xab; 16]).unwrap()),
        Payload::Notify(about),
        Payload::Notify(Notify::new(NotifyType::NAT_DETECTION_SOURCE_IP, vec![7; 20])),
        Payload::Delete(Delete::IkeSa),
        Payload::Delete(Delete::ChildSas { protocol: Protocol::ESP, spis: vec![0xc000_0001, 2] }),
        Payload::VendorId(b"<b>".to_vec()),
        Payload::TsInitiator(crate::TrafficSelectors { selectors }),
        Payload::Configuration(Configuration {
            kind: ConfigurationType::REPLY,
            attributes: vec![
                ConfigurationAttribute::address("10.99.0.1".parse().unwrap()),
                ConfigurationAttribute::address("fd99::1".parse().unwrap()),
                ConfigurationAttribute::dns("10.77.2.10".parse().unwrap()),
                ConfigurationAttribute::subnet("10.77.0.0/16".parse().unwrap()).unwrap(),
                ConfigurationAttribute::empty(ConfigurationAttributeType::APPLICATION_VERSION),
            ],
        }),
        Payload::Eap(vec![2; 9].into()),
        Payload::Unknown(Unknown { payload_type: PayloadType(200), critical: true, body: vec![9] }),
        Payload::Encrypted(Encrypted { first: PayloadType::IDI, body: vec![0; 40] }),
        Payload::Fragment(Fragment { first: PayloadType::IDI, number: FragmentNumber::new(1, 3).unwrap(), body: vec![0; 40] }),
    ];
    let mut shown = Vec::new();
    for (index, payload) in payloads.iter().enumerate() {
        let next = payloads.get(index + 1).map_or(PayloadType::NONE, Payload::payload_type);
        shown.extend(lines(&fields(payload, next)));
    }
    let expected: Vec<&str> = include_str!("fields.snap").lines().collect();
    assert_eq!(shown, expected, "as it is now:\n{}", shown.join("\n"));
}

#[test]
fn eap_tls_is_shown_by_its_flags() {
    let packet = EapPacket::emit(crate::EapCode::REQUEST, 7, EapType::TLS, &EapTlsData::emit(Some(4096), true, &[7; 100])).unwrap();
    let shown = lines(&fields(&Payload::Eap(packet.into()), PayloadType::NONE));
    let expected = ["    Flags: length included, more fragments", "    TLS Message Length: 4096 octets", "    TLS Data: 100 octets"];
    assert!(shown.ends_with(&expected.map(ToString::to_string)), "{shown:?}");
}

#[test]
fn passwords_and_tickets_are_measured_not_shown() {
    let password = b"correct horse battery staple";
    let hidden = [
        Payload::Eap(password.to_vec().into()),
        Payload::Notify(Notify::new(NotifyType::TICKET_OPAQUE, password.to_vec())),
        Payload::Notify(Notify::new(NotifyType::TICKET_LT_OPAQUE, password.to_vec())),
    ];
    let hex = Hex(password).to_string();
    for payload in hidden {
        assert!(!shows_all(&payload));
        assert!(lines(&fields(&payload, PayloadType::NONE)).iter().all(|line| !line.contains(&hex)), "{payload:?}");
        if let Payload::Eap(_) = payload {
            assert_eq!(format!("{payload:?}"), "Eap(EapMessage(28 octets))");
        }
    }
}

#[test]
fn notifications_show_what_their_type_means() {
    let data = |kind, data: &[u8]| notify_data(&Notify::new(kind, data.to_vec()));
    assert_eq!(data(NotifyType::INVALID_KE_PAYLOAD, &[0, 19]), "ECP_256 (19)");
    assert_eq!(data(NotifyType::INVALID_KE_PAYLOAD, &[0]), "00");
    assert_eq!(data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[53]), "SKF (53)");
    assert_eq!(data(NotifyType::SIGNATURE_HASH_ALGORITHMS, &[0, 2, 0, 5, 1, 0]), "SHA2-256 Identity unknown");
    assert_eq!(data(NotifyType::ADDITIONAL_IP6_ADDRESS, &[0xfe; 16]), "fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe");
    assert_eq!(data(NotifyType::PPK_IDENTITY, b"\x02lab.ppk"), "PPK_ID_FIXED (2) 'lab.ppk'");
    assert_eq!(data(NotifyType::PPK_IDENTITY, b"\x01\x00'"), "PPK_ID_OPAQUE (1) 0027");
    assert_eq!(data(NotifyType::PPK_IDENTITY, b"\xc8"), "200 ''");
}
