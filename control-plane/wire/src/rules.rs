//! Which payloads a message carries, and how often: RFC 7296 Appendix C as a table.
//!
//! Read a row beside the appendix: `one` is X, `maybe` is \[X\], `any` is \[X+\], `some` is X+. The order of payloads is free
//! (section 2.5). Notifications and Vendor IDs may come with every message. Which notifications mean what is for the exchange to say.

use Sign::{Bare, Has, Says, SaysError};

use crate::PayloadType as P;
use crate::{ExchangeType, Header, NotifyType, Payload, PayloadType};

/// What a message turns out to be. Exchange and direction, which the header tells, complete it: the caller checks that the form is one
/// it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// What the exchange is there for.
    Normal,
    /// A responder that first wants its cookie back (section 2.6).
    Cookie,
    /// A responder that wants the initiator elsewhere (RFC 5685 section 3).
    Redirect,
    /// A responder that wants another key exchange method (section 1.2).
    OtherGroup,
    /// A refusal, in whole or, in IKE_AUTH, of the Child SA alone.
    Error,
    /// IKE_AUTH without a Child SA (RFC 6023).
    Childless,
    /// The first pair of IKE_AUTH messages with EAP (section 2.16).
    EapFirst,
    /// The first request with EAP, without a Child SA (RFC 6023 section 5).
    EapFirstChildless,
    /// One of those between.
    Eap,
    /// The last pair.
    EapLast,
    /// Nothing but what comes with every message: the other side is to show more of itself (RFC 4739 section 2.5).
    Another,
    /// The response with the Child SA after the initiator's last round (RFC 4739 section 2.4).
    ChildAlone,
    /// CREATE_CHILD_SA for a new or rekeyed Child SA.
    ChildSa,
    /// CREATE_CHILD_SA for a rekeyed IKE SA.
    RekeyIkeSa,
}

/// How often payloads of one type may appear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// The payload type.
    pub payload: PayloadType,
    /// At least so often.
    pub min: usize,
    /// At most so often.
    pub max: usize,
}

/// Why a well-formed message does not belong into its exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// An exchange without a table.
    #[error("exchange type {0} is not supported")]
    Exchange(ExchangeType),
    /// A payload too often, too rarely, or where it has no place.
    #[error(
        "{exchange} {}, {form:?}: payload {} appears {found} times, allowed are {} to {} (RFC 7296 Appendix C)",
        if *response { "response" } else { "request" }, rule.payload, rule.min, rule.max
    )]
    Cardinality {
        /// Exchange Type.
        exchange: ExchangeType,
        /// Response or request.
        response: bool,
        /// What the message was taken for.
        form: Form,
        /// The broken rule; 0 to 0 for a payload no rule names.
        rule: Rule,
        /// How often the payload is there.
        found: usize,
    },
}

/// Checks the payloads of a message: of IKE_SA_INIT those of the message, of all other exchanges those its Encrypted payload held.
///
/// Payloads of unknown type are passed over: a critical one is found by [`unsupported_critical`](crate::unsupported_critical).
///
/// # Errors
/// The first [`Violation`] found.
pub fn check(header: &Header, payloads: &[Payload]) -> Result<Form, Violation> {
    let table = table(header)?;
    let row = table.iter().find(|(_, signs, _)| signs.iter().all(|sign| sign.shows(payloads)));
    let (form, _, rules) = row.ok_or(Violation::Exchange(header.exchange))?;
    keep(rules, *form, header, payloads)
}

/// Checks the outside of a message that must be protected: an Encrypted payload, or a fragment of one, and nothing else that is understood
/// (section 3.14, RFC 7383 section 2.5).
///
/// # Errors
/// The first [`Violation`] found.
pub fn check_protected(header: &Header, payloads: &[Payload]) -> Result<(), Violation> {
    let fragmented = payloads.iter().any(|payload| payload.payload_type() == P::SKF);
    keep(&[one(if fragmented { P::SKF } else { P::SK })], Form::Normal, header, payloads).map(drop)
}

/// Exactly one.
const fn one(payload: PayloadType) -> Rule {
    Rule { payload, min: 1, max: 1 }
}

/// None or one.
const fn maybe(payload: PayloadType) -> Rule {
    Rule { payload, min: 0, max: 1 }
}

/// None or more.
const fn any(payload: PayloadType) -> Rule {
    Rule { payload, min: 0, max: crate::limits::PAYLOADS }
}

/// One or more.
const fn some(payload: PayloadType) -> Rule {
    Rule { payload, min: 1, max: crate::limits::PAYLOADS }
}

/// By what a form is recognised.
#[derive(Debug, Clone, Copy)]
enum Sign {
    /// A payload of this type.
    Has(PayloadType),
    /// This notification.
    Says(NotifyType),
    /// Any notification of an error.
    SaysError,
    /// Nothing but notifications and Vendor IDs.
    Bare,
}

/// A row: the form, its signs (all of them must show), its rules. Of a table, the first row whose signs show is the one that counts; the
/// last has none, so that a message without any sign is measured against the normal form.
type Row = (Form, &'static [Sign], &'static [Rule]);

// C.1. IKE_SA_INIT exchange.

const IKE_SA_INIT_REQUEST: &[Row] = &[(Form::Normal, &[], &[one(P::SA), one(P::KE), one(P::NONCE), any(P::NOTIFY), any(P::VENDOR_ID)])];

const INIT_RESPONSE: &[Rule] = &[one(P::SA), one(P::KE), one(P::NONCE), any(P::CERTREQ), any(P::NOTIFY), any(P::VENDOR_ID)];
const REFUSAL: &[Rule] = &[some(P::NOTIFY), any(P::VENDOR_ID)];

const IKE_SA_INIT_RESPONSE: &[Row] = &[
    (Form::Normal, &[Has(P::SA)], INIT_RESPONSE),
    (Form::Cookie, &[Says(NotifyType::COOKIE)], REFUSAL),
    (Form::OtherGroup, &[Says(NotifyType::INVALID_KE_PAYLOAD)], REFUSAL),
    (Form::Redirect, &[Says(NotifyType::REDIRECT)], REFUSAL),
    (Form::Error, &[SaysError], REFUSAL),
    (Form::Normal, &[], INIT_RESPONSE),
];

// C.2. IKE_AUTH exchange without EAP, and C.3. with EAP: there the first request has no AUTH, and the last pair has nothing but. With several
// rounds of authentication (RFC 4739) only the first request and the last response have a Child SA.

const AUTH_REQUEST: &[Rule] = &[
    one(P::IDI),
    any(P::CERT),
    any(P::CERTREQ),
    maybe(P::IDR),
    one(P::AUTH),
    maybe(P::CP),
    one(P::SA),
    one(P::TSI),
    one(P::TSR),
    any(P::NOTIFY),
    any(P::VENDOR_ID),
];

const AUTH_REQUEST_CHILDLESS: &[Rule] =
    &[one(P::IDI), any(P::CERT), any(P::CERTREQ), maybe(P::IDR), one(P::AUTH), maybe(P::CP), any(P::NOTIFY), any(P::VENDOR_ID)];

const AUTH_REQUEST_EAP_FIRST: &[Rule] =
    &[one(P::IDI), any(P::CERTREQ), maybe(P::IDR), maybe(P::CP), one(P::SA), one(P::TSI), one(P::TSR), any(P::NOTIFY), any(P::VENDOR_ID)];

const AUTH_REQUEST_EAP_FIRST_CHILDLESS: &[Rule] =
    &[one(P::IDI), any(P::CERTREQ), maybe(P::IDR), maybe(P::CP), any(P::NOTIFY), any(P::VENDOR_ID)];

const EAP: &[Rule] = &[one(P::EAP), any(P::NOTIFY), any(P::VENDOR_ID)];
const AUTH_REQUEST_EAP_LAST: &[Rule] = &[one(P::AUTH), any(P::NOTIFY), any(P::VENDOR_ID)];
const BARE: &[Rule] = &[any(P::NOTIFY), any(P::VENDOR_ID)];

const IKE_AUTH_REQUEST: &[Row] = &[
    (Form::Normal, &[Has(P::IDI), Has(P::AUTH), Has(P::SA)], AUTH_REQUEST),
    (Form::Childless, &[Has(P::IDI), Has(P::AUTH)], AUTH_REQUEST_CHILDLESS),
    (Form::EapFirst, &[Has(P::IDI), Has(P::SA)], AUTH_REQUEST_EAP_FIRST),
    (Form::EapFirstChildless, &[Has(P::IDI)], AUTH_REQUEST_EAP_FIRST_CHILDLESS),
    (Form::Eap, &[Has(P::EAP)], EAP),
    (Form::EapLast, &[Has(P::AUTH)], AUTH_REQUEST_EAP_LAST),
    (Form::Another, &[Bare], BARE),
    (Form::Normal, &[], AUTH_REQUEST),
];

const AUTH_RESPONSE: &[Rule] =
    &[one(P::IDR), any(P::CERT), one(P::AUTH), maybe(P::CP), one(P::SA), one(P::TSI), one(P::TSR), any(P::NOTIFY), any(P::VENDOR_ID)];

const AUTH_RESPONSE_CHILDLESS: &[Rule] = &[one(P::IDR), any(P::CERT), one(P::AUTH), maybe(P::CP), any(P::NOTIFY), any(P::VENDOR_ID)];

/// AUTH is absent where both sides agreed on EAP alone (RFC 5998).
const AUTH_RESPONSE_EAP_FIRST: &[Rule] = &[one(P::IDR), any(P::CERT), maybe(P::AUTH), one(P::EAP), any(P::NOTIFY), any(P::VENDOR_ID)];

const AUTH_RESPONSE_EAP_LAST: &[Rule] =
    &[one(P::AUTH), maybe(P::CP), one(P::SA), one(P::TSI), one(P::TSR), any(P::NOTIFY), any(P::VENDOR_ID)];

const AUTH_RESPONSE_EAP_LAST_CHILDLESS: &[Rule] = &[one(P::AUTH), maybe(P::CP), any(P::NOTIFY), any(P::VENDOR_ID)];
const AUTH_RESPONSE_CHILD_ALONE: &[Rule] = &[maybe(P::CP), one(P::SA), one(P::TSI), one(P::TSR), any(P::NOTIFY), any(P::VENDOR_ID)];

/// With IDr and AUTH only the Child SA is refused; without, the IKE SA (section 2.21.2).
const AUTH_RESPONSE_ERROR: &[Rule] = &[maybe(P::IDR), any(P::CERT), maybe(P::AUTH), maybe(P::CP), some(P::NOTIFY), any(P::VENDOR_ID)];

const IKE_AUTH_RESPONSE: &[Row] = &[
    (Form::EapFirst, &[Has(P::EAP), Has(P::IDR)], AUTH_RESPONSE_EAP_FIRST),
    (Form::Eap, &[Has(P::EAP)], EAP),
    (Form::Normal, &[Has(P::SA), Has(P::IDR)], AUTH_RESPONSE),
    (Form::EapLast, &[Has(P::SA), Has(P::AUTH)], AUTH_RESPONSE_EAP_LAST),
    (Form::ChildAlone, &[Has(P::SA)], AUTH_RESPONSE_CHILD_ALONE),
    (Form::Error, &[SaysError], AUTH_RESPONSE_ERROR),
    (Form::Childless, &[Has(P::IDR), Has(P::AUTH)], AUTH_RESPONSE_CHILDLESS),
    (Form::EapLast, &[Has(P::AUTH)], AUTH_RESPONSE_EAP_LAST_CHILDLESS),
    (Form::Another, &[Bare], BARE),
    (Form::Normal, &[], AUTH_RESPONSE),
];

// C.4. CREATE_CHILD_SA exchange for creating or rekeying Child SAs, and C.5. for rekeying the IKE SA: that one has no selectors.

const CHILD_SA: &[Rule] =
    &[maybe(P::CP), one(P::SA), one(P::NONCE), maybe(P::KE), one(P::TSI), one(P::TSR), any(P::NOTIFY), any(P::VENDOR_ID)];

const REKEY_IKE_SA: &[Rule] = &[one(P::SA), one(P::NONCE), one(P::KE), any(P::NOTIFY), any(P::VENDOR_ID)];

const CREATE_CHILD_SA_REQUEST: &[Row] =
    &[(Form::ChildSa, &[Has(P::TSI)], CHILD_SA), (Form::ChildSa, &[Has(P::TSR)], CHILD_SA), (Form::RekeyIkeSa, &[], REKEY_IKE_SA)];

const CREATE_CHILD_SA_RESPONSE: &[Row] = &[
    (Form::ChildSa, &[Has(P::TSI)], CHILD_SA),
    (Form::ChildSa, &[Has(P::TSR)], CHILD_SA),
    (Form::RekeyIkeSa, &[Has(P::SA)], REKEY_IKE_SA),
    (Form::OtherGroup, &[Says(NotifyType::INVALID_KE_PAYLOAD)], REFUSAL),
    (Form::Error, &[SaysError], REFUSAL),
    (Form::RekeyIkeSa, &[], REKEY_IKE_SA),
];

// C.6. INFORMATIONAL exchange: either may be empty.

const INFORMATIONAL: &[Row] = &[(Form::Normal, &[], &[any(P::NOTIFY), any(P::DELETE), maybe(P::CP), any(P::VENDOR_ID)])];

fn table(header: &Header) -> Result<&'static [Row], Violation> {
    Ok(match (header.exchange, header.flags.response) {
        (ExchangeType::IKE_SA_INIT, false) => IKE_SA_INIT_REQUEST,
        (ExchangeType::IKE_SA_INIT, true) => IKE_SA_INIT_RESPONSE,
        (ExchangeType::IKE_AUTH, false) => IKE_AUTH_REQUEST,
        (ExchangeType::IKE_AUTH, true) => IKE_AUTH_RESPONSE,
        (ExchangeType::CREATE_CHILD_SA, false) => CREATE_CHILD_SA_REQUEST,
        (ExchangeType::CREATE_CHILD_SA, true) => CREATE_CHILD_SA_RESPONSE,
        (ExchangeType::INFORMATIONAL, _) => INFORMATIONAL,
        (other, _) => return Err(Violation::Exchange(other)),
    })
}

fn keep(rules: &[Rule], form: Form, header: &Header, payloads: &[Payload]) -> Result<Form, Violation> {
    let (exchange, response) = (header.exchange, header.flags.response);
    let violation = broken(rules, payloads).map(|(rule, found)| Violation::Cardinality { exchange, response, form, rule, found });
    violation.map_or(Ok(form), Err)
}

/// The first rule broken and how often its payload is there; a payload that no rule names breaks a rule of 0 to 0.
fn broken(rules: &[Rule], payloads: &[Payload]) -> Option<(Rule, usize)> {
    let count = |payload| payloads.iter().filter(|p| p.payload_type() == payload).count();
    let miscounted = rules.iter().map(|rule| (*rule, count(rule.payload))).find(|(rule, found)| !(rule.min..=rule.max).contains(found));
    let out_of_place = || {
        let mut known = payloads.iter().filter(|payload| !matches!(payload, Payload::Unknown(_))).map(Payload::payload_type);
        let stranger = known.find(|payload| rules.iter().all(|rule| rule.payload != *payload))?;
        Some((Rule { payload: stranger, min: 0, max: 0 }, count(stranger)))
    };
    miscounted.or_else(out_of_place)
}

impl Sign {
    fn shows(self, payloads: &[Payload]) -> bool {
        if let Bare = self {
            return payloads.iter().all(|payload| matches!(payload, Payload::Notify(_) | Payload::VendorId(_) | Payload::Unknown(_)));
        }
        payloads.iter().any(|payload| match (self, payload) {
            (Has(payload_type), payload) => payload.payload_type() == payload_type,
            (Says(kind), Payload::Notify(notify)) => notify.kind == kind,
            (SaysError, Payload::Notify(notify)) => notify.kind.is_error(),
            (Says(_) | SaysError | Bare, _) => false,
        })
    }
}

#[cfg(test)]
mod tests;
