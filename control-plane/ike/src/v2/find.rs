//! Finding payloads in a message whose form was checked (RFC 7296 section 3).

use ike_wire::{Auth, Configuration, EapMessage, Identification, KeyExchange, Nonce, Notify, NotifyType, Payload, Sa, TrafficSelectors};
use ipsec_types::KeyExchangeMethod;

macro_rules! first_of_each {
    ($($(#[$doc:meta])* $name:ident: $variant:ident, $payload:ty;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $name(payloads: &[Payload]) -> Option<&$payload> {
            payloads.iter().find_map(|payload| if let Payload::$variant(found) = payload { Some(found) } else { None })
        }
    )*};
}

first_of_each! {
    /// SA.
    sa: Sa, Sa;
    /// KE.
    key_exchange: KeyExchange, KeyExchange;
    /// Ni or Nr.
    nonce: Nonce, Nonce;
    /// IDi.
    id_initiator: IdInitiator, Identification;
    /// IDr.
    id_responder: IdResponder, Identification;
    /// AUTH.
    auth: Auth, Auth;
    /// CP.
    configuration: Configuration, Configuration;
    /// EAP.
    eap: Eap, EapMessage;
    /// TSi.
    ts_initiator: TsInitiator, TrafficSelectors;
    /// TSr.
    ts_responder: TsResponder, TrafficSelectors;
}

/// SA, KE and nonce: what IKE_SA_INIT and the rekeying of an IKE SA are made of.
pub(crate) fn offer(payloads: &[Payload]) -> Option<(&Sa, &KeyExchange, &Nonce)> {
    Some((sa(payloads)?, key_exchange(payloads)?, nonce(payloads)?))
}

/// The first notification of a kind.
pub(crate) fn notification(payloads: &[Payload], is: impl Fn(NotifyType) -> bool) -> Option<&Notify> {
    payloads.iter().find_map(|payload| match payload {
        Payload::Notify(notify) if is(notify.kind) => Some(notify),
        _ => None,
    })
}

/// The key exchange method that INVALID_KE_PAYLOAD asks for: two octets, big-endian (section 1.3).
pub(crate) fn other_method(payloads: &[Payload]) -> Option<KeyExchangeMethod> {
    let notify = notification(payloads, |kind| kind == NotifyType::INVALID_KE_PAYLOAD)?;
    KeyExchangeMethod::from_id(u16::from_be_bytes(notify.data.as_slice().try_into().ok()?), None)
}
