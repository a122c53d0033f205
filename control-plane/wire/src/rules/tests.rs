use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::{
    Auth, AuthMethod, Configuration, ConfigurationType, Delete, EapMessage, Flags, Identification, KeyExchange, Nonce, Notify, Proposal,
    Protocol, Sa, TrafficSelectors, Unknown, Version,
};

fn header(exchange: ExchangeType, response: bool) -> Header {
    let flags = Flags { response, ..Flags::default() };
    Header { initiator_spi: 1, responder_spi: 2, version: Version::V2, exchange, flags, message_id: 0 }
}

/// A payload of each type as short as it gets: the rules look at types alone, and of notifications at their kind.
fn payload(payload_type: PayloadType) -> Payload {
    let id = Identification::from(&"gw.example".parse().unwrap());
    let proposal = Proposal { number: 1, protocol: Protocol::IKE, spi: vec![], transforms: vec![] };
    match payload_type {
        P::SA => Payload::Sa(Sa { proposals: vec![proposal] }),
        P::KE => Payload::KeyExchange(KeyExchange { method_id: 31, data: vec![] }),
        P::IDI => Payload::IdInitiator(id),
        P::IDR => Payload::IdResponder(id),
        P::AUTH => Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: vec![] }),
        P::NONCE => Payload::Nonce(Nonce::new(vec![0; 16]).unwrap()),
        P::NOTIFY => notify(NotifyType::INITIAL_CONTACT),
        P::DELETE => Payload::Delete(Delete::IkeSa),
        P::TSI => Payload::TsInitiator(TrafficSelectors { selectors: vec![] }),
        P::TSR => Payload::TsResponder(TrafficSelectors { selectors: vec![] }),
        P::EAP => Payload::Eap(EapMessage::default()),
        P::CP => Payload::Configuration(Configuration { kind: ConfigurationType::REQUEST, attributes: vec![] }),
        P::VENDOR_ID => Payload::VendorId(vec![]),
        other => Payload::Unknown(Unknown { payload_type: other, critical: false, body: vec![] }),
    }
}

fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, vec![]))
}

fn payloads(types: &[PayloadType]) -> Vec<Payload> {
    types.iter().copied().map(payload).collect()
}

/// The messages of Appendix C, and of RFC 4739, without their optional payloads.
const APPENDIX_C: &[(ExchangeType, bool, Form, &[PayloadType])] = &[
    (ExchangeType::IKE_SA_INIT, false, Form::Normal, &[P::SA, P::KE, P::NONCE]),
    (ExchangeType::IKE_SA_INIT, true, Form::Normal, &[P::SA, P::KE, P::NONCE]),
    (ExchangeType::IKE_AUTH, false, Form::Normal, &[P::IDI, P::AUTH, P::SA, P::TSI, P::TSR]),
    (ExchangeType::IKE_AUTH, true, Form::Normal, &[P::IDR, P::AUTH, P::SA, P::TSI, P::TSR]),
    (ExchangeType::IKE_AUTH, false, Form::EapFirst, &[P::IDI, P::SA, P::TSI, P::TSR]),
    (ExchangeType::IKE_AUTH, true, Form::EapFirst, &[P::IDR, P::EAP]),
    (ExchangeType::IKE_AUTH, false, Form::Eap, &[P::EAP]),
    (ExchangeType::IKE_AUTH, true, Form::Eap, &[P::EAP]),
    (ExchangeType::IKE_AUTH, false, Form::EapLast, &[P::AUTH]),
    (ExchangeType::IKE_AUTH, true, Form::EapLast, &[P::AUTH, P::SA, P::TSI, P::TSR]),
    (ExchangeType::CREATE_CHILD_SA, false, Form::ChildSa, &[P::SA, P::NONCE, P::TSI, P::TSR]),
    (ExchangeType::CREATE_CHILD_SA, true, Form::ChildSa, &[P::SA, P::NONCE, P::TSI, P::TSR]),
    (ExchangeType::CREATE_CHILD_SA, false, Form::RekeyIkeSa, &[P::SA, P::NONCE, P::KE]),
    (ExchangeType::IKE_AUTH, false, Form::EapFirstChildless, &[P::IDI]),
    (ExchangeType::IKE_AUTH, true, Form::EapLast, &[P::AUTH]),
    (ExchangeType::IKE_AUTH, false, Form::Childless, &[P::IDI, P::AUTH]),
    (ExchangeType::IKE_AUTH, true, Form::Childless, &[P::IDR, P::AUTH]),
    (ExchangeType::CREATE_CHILD_SA, true, Form::RekeyIkeSa, &[P::SA, P::NONCE, P::KE]),
    (ExchangeType::IKE_AUTH, false, Form::Another, &[]),
    (ExchangeType::IKE_AUTH, true, Form::Another, &[]),
    (ExchangeType::IKE_AUTH, true, Form::ChildAlone, &[P::SA, P::TSI, P::TSR]),
    (ExchangeType::INFORMATIONAL, false, Form::Normal, &[]),
    (ExchangeType::INFORMATIONAL, true, Form::Normal, &[]),
];

#[test]
fn the_messages_of_appendix_c_pass_in_any_order() {
    for (exchange, response, form, types) in APPENDIX_C {
        let header = header(*exchange, *response);
        let mut message = payloads(types);
        assert_eq!(check(&header, &message), Ok(*form), "{exchange} {response} {types:?}");
        message.reverse();
        message.extend(payloads(&[P::VENDOR_ID, P::NOTIFY, P::NOTIFY, PayloadType(200)]));
        assert_eq!(check(&header, &message), Ok(*form), "{exchange} {response} {types:?}");
    }
}

#[test]
fn a_mandatory_payload_neither_fails_nor_doubles() {
    for (exchange, response, form, types) in APPENDIX_C {
        let header = header(*exchange, *response);
        for i in 0..types.len() {
            let mut fewer = payloads(types);
            fewer.remove(i);
            assert_ne!(check(&header, &fewer), Ok(*form), "{exchange} {response} {types:?} without {}", types[i]);
            let mut more = payloads(types);
            more.push(payload(types[i]));
            assert!(check(&header, &more).is_err(), "{exchange} {response} {types:?} with two {}", types[i]);
        }
    }
}

#[test]
fn informational_carries_deletions_in_any_number() {
    let message = payloads(&[P::DELETE, P::DELETE, P::NOTIFY, P::CP]);
    assert_eq!(check(&header(ExchangeType::INFORMATIONAL, false), &message), Ok(Form::Normal));
    assert!(check(&header(ExchangeType::INFORMATIONAL, false), &payloads(&[P::SA])).is_err());
}

#[test]
fn a_payload_without_a_place_is_named() {
    let message = payloads(&[P::SA, P::KE, P::NONCE, P::DELETE]);
    let violation = check(&header(ExchangeType::IKE_SA_INIT, false), &message).unwrap_err();
    let expected = "IKE_SA_INIT request, Normal: payload D appears 1 times, allowed are 0 to 0 (RFC 7296 Appendix C)";
    assert_eq!(alloc::format!("{violation}"), expected);
}

#[test]
fn refusals_are_told_apart() {
    let init = header(ExchangeType::IKE_SA_INIT, true);
    assert_eq!(check(&init, &[notify(NotifyType::COOKIE)]), Ok(Form::Cookie));
    assert_eq!(check(&init, &[notify(NotifyType::INVALID_KE_PAYLOAD)]), Ok(Form::OtherGroup));
    assert_eq!(check(&init, &[notify(NotifyType::REDIRECT)]), Ok(Form::Redirect));
    assert_eq!(check(&init, &[notify(NotifyType::NO_PROPOSAL_CHOSEN)]), Ok(Form::Error));
    assert_eq!(check(&init, &[notify(NotifyType(9999))]), Ok(Form::Error), "an error nobody knows is an error");
    assert!(check(&init, &[notify(NotifyType::INITIAL_CONTACT)]).is_err());

    let auth = header(ExchangeType::IKE_AUTH, true);
    assert_eq!(check(&auth, &[notify(NotifyType::AUTHENTICATION_FAILED)]), Ok(Form::Error));
    let no_child = [payload(P::IDR), payload(P::AUTH), notify(NotifyType::TS_UNACCEPTABLE)];
    assert_eq!(check(&auth, &no_child), Ok(Form::Error));
}

#[test]
fn a_protected_message_shows_nothing_but_sk() {
    let header = header(ExchangeType::IKE_AUTH, false);
    let sk = Payload::Encrypted(crate::Encrypted { first: P::IDI, body: vec![0; 8] });
    assert_eq!(check_protected(&header, core::slice::from_ref(&sk)), Ok(()));
    let number = crate::FragmentNumber::new(1, 2).unwrap();
    let fragment = Payload::Fragment(crate::Fragment { first: P::IDI, number, body: vec![0; 8] });
    assert_eq!(check_protected(&header, core::slice::from_ref(&fragment)), Ok(()));
    assert!(check_protected(&header, &[payload(P::NOTIFY), fragment.clone()]).is_err());
    assert!(check_protected(&header, &[sk.clone(), fragment]).is_err());
    assert!(check_protected(&header, &[payload(P::NOTIFY), sk]).is_err());
    assert!(check_protected(&header, &payloads(&[P::IDI, P::AUTH])).is_err());
    assert_eq!(check(&self::header(ExchangeType::IKE_INTERMEDIATE, false), &[]), Err(Violation::Exchange(ExchangeType::IKE_INTERMEDIATE)));
}
