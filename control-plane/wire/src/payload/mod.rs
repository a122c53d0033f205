//! Payloads (RFC 7296 sections 3.2 to 3.16), one file each.
//!
//! Every payload begins with the generic header:
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! The critical bit is kept for payload types this crate does not know and ignored, as it must be, for those it knows (section 2.5).

pub(crate) mod auth;
pub(crate) mod certificate;
pub(crate) mod configuration;
pub(crate) mod delete;
pub(crate) mod eap;
pub(crate) mod encrypted;
pub(crate) mod fragment;
pub(crate) mod identification;
pub(crate) mod key_exchange;
pub(crate) mod nonce;
pub(crate) mod notify;
pub(crate) mod redirect;
pub(crate) mod sa;
pub mod signature;
pub(crate) mod traffic_selectors;
mod transform;

use alloc::vec::Vec;

use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{
    Auth, Certificate, CertificateRequest, Configuration, Delete, EapMessage, EmitError, Encrypted, Fragment, Identification, KeyExchange,
    Nonce, Notify, ParseError, Part, Sa, TrafficSelectors,
};

numbers! {
    /// Payload type, named in the notation of RFC 7296 section 3.2.
    PayloadType(u8) {
        NONE = 0, "none";
        SA = 33, "SA";
        KE = 34, "KE";
        IDI = 35, "IDi";
        IDR = 36, "IDr";
        CERT = 37, "CERT";
        CERTREQ = 38, "CERTREQ";
        AUTH = 39, "AUTH";
        NONCE = 40, "Nonce";
        NOTIFY = 41, "N";
        DELETE = 42, "D";
        VENDOR_ID = 43, "V";
        TSI = 44, "TSi";
        TSR = 45, "TSr";
        SK = 46, "SK";
        CP = 47, "CP";
        EAP = 48, "EAP";
        SKF = 53, "SKF";
    }
}

/// One payload of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// SA: Security Association.
    Sa(Sa),
    /// KE: Key Exchange.
    KeyExchange(KeyExchange),
    /// IDi: Identification of the initiator.
    IdInitiator(Identification),
    /// IDr: Identification of the responder.
    IdResponder(Identification),
    /// CERT: Certificate.
    Cert(Certificate),
    /// CERTREQ: Certificate Request.
    CertReq(CertificateRequest),
    /// AUTH: Authentication.
    Auth(Auth),
    /// Ni, Nr: Nonce.
    Nonce(Nonce),
    /// N: Notify.
    Notify(Notify),
    /// D: Delete.
    Delete(Delete),
    /// V: Vendor ID (section 3.12), the octets its vendor chose.
    VendorId(Vec<u8>),
    /// TSi: Traffic Selectors of the initiator's side.
    TsInitiator(TrafficSelectors),
    /// TSr: Traffic Selectors of the responder's side.
    TsResponder(TrafficSelectors),
    /// SK: Encrypted and Authenticated, still sealed.
    Encrypted(Encrypted),
    /// CP: Configuration.
    Configuration(Configuration),
    /// EAP: one EAP packet (section 3.16).
    Eap(EapMessage),
    /// SKF: a fragment of an Encrypted and Authenticated payload, still sealed (RFC 7383).
    Fragment(Fragment),
    /// A payload of a type this crate does not read.
    Unknown(Unknown),
}

/// A payload carried without being understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// Its type: none of those that [`Payload`] has a variant for.
    pub payload_type: PayloadType,
    /// Whether the sender demands that the message be refused with UNSUPPORTED_CRITICAL_PAYLOAD (section 2.5).
    pub critical: bool,
    /// Everything behind the generic header.
    pub body: Vec<u8>,
}

impl PayloadType {
    /// The section of RFC 7296 that draws it.
    pub const fn section(self) -> &'static str {
        match self {
            Self::SA => "3.3",
            Self::KE => "3.4",
            Self::IDI | Self::IDR => "3.5",
            Self::CERT => "3.6",
            Self::CERTREQ => "3.7",
            Self::AUTH => "3.8",
            Self::NONCE => "3.9",
            Self::NOTIFY => "3.10",
            Self::DELETE => "3.11",
            Self::VENDOR_ID => "3.12",
            Self::TSI | Self::TSR => "3.13",
            Self::SK | Self::SKF => "3.14",
            Self::CP => "3.15",
            Self::EAP => "3.16",
            _ => "3.2",
        }
    }
}

/// The critical bit of the generic header.
const CRITICAL: u8 = 0x80;

impl Payload {
    /// The payload type.
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::KeyExchange(_) => PayloadType::KE,
            Self::IdInitiator(_) => PayloadType::IDI,
            Self::IdResponder(_) => PayloadType::IDR,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsInitiator(_) => PayloadType::TSI,
            Self::TsResponder(_) => PayloadType::TSR,
            Self::Encrypted(_) => PayloadType::SK,
            Self::Configuration(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Fragment(_) => PayloadType::SKF,
            Self::Unknown(unknown) => unknown.payload_type,
        }
    }

    /// Octets on the wire, generic header included; `None` for what no octets can say.
    pub fn length(&self) -> Option<usize> {
        let mut writer = Writer::new();
        self.emit(PayloadType::NONE, &mut writer).ok()?;
        Some(writer.finish().len())
    }

    /// Reads the body of a payload of any type but SK, which only the chain knows how to end; `flags` is the octet with the critical bit.
    pub(crate) fn parse(payload_type: PayloadType, flags: u8, body: Reader<'_>) -> Result<Self, ParseError> {
        Ok(match payload_type {
            PayloadType::SA => Self::Sa(Sa::parse(body)?),
            PayloadType::KE => Self::KeyExchange(KeyExchange::parse(body)?),
            PayloadType::IDI => Self::IdInitiator(Identification::parse(body)?),
            PayloadType::IDR => Self::IdResponder(Identification::parse(body)?),
            PayloadType::CERT => Self::Cert(Certificate::parse(body)?),
            PayloadType::CERTREQ => Self::CertReq(CertificateRequest::parse(body)?),
            PayloadType::AUTH => Self::Auth(Auth::parse(body)?),
            PayloadType::NONCE => Self::Nonce(Nonce::parse(body)?),
            PayloadType::NOTIFY => Self::Notify(Notify::parse(body)?),
            PayloadType::DELETE => Self::Delete(Delete::parse(body)?),
            PayloadType::VENDOR_ID => Self::VendorId(body.rest().to_vec()),
            PayloadType::TSI => Self::TsInitiator(TrafficSelectors::parse(body)?),
            PayloadType::TSR => Self::TsResponder(TrafficSelectors::parse(body)?),
            PayloadType::CP => Self::Configuration(Configuration::parse(body)?),
            PayloadType::EAP => Self::Eap(body.rest().to_vec().into()),
            _ => Self::Unknown(Unknown { payload_type, critical: flags & CRITICAL != 0, body: body.rest().to_vec() }),
        })
    }

    /// Writes the payload, generic header included.
    pub(crate) fn emit(&self, next: PayloadType, writer: &mut Writer) -> Result<(), EmitError> {
        let flags = if let Self::Unknown(Unknown { critical: true, .. }) = self { CRITICAL } else { 0 };
        writer.framed(Part::Payload(self.payload_type()), [next.0, flags], |writer| self.emit_body(writer))
    }

    fn emit_body(&self, writer: &mut Writer) -> Result<(), EmitError> {
        match self {
            Self::Sa(sa) => return sa.emit(writer),
            Self::KeyExchange(ke) => ke.emit(writer),
            Self::IdInitiator(id) | Self::IdResponder(id) => writer.slice(&id.octets()),
            Self::Cert(certificate) => certificate.emit(writer),
            Self::CertReq(request) => request.emit(writer),
            Self::Auth(auth) => auth.emit(writer),
            Self::Nonce(nonce) => writer.slice(nonce.octets()),
            Self::Notify(notify) => return notify.emit(writer),
            Self::Delete(delete) => return delete.emit(writer),
            Self::TsInitiator(selectors) | Self::TsResponder(selectors) => return selectors.emit(self.payload_type(), writer),
            Self::Encrypted(encrypted) => writer.slice(&encrypted.body),
            Self::Fragment(fragment) => fragment.emit(writer),
            Self::Configuration(configuration) => return configuration.emit(writer),
            Self::VendorId(octets) => writer.slice(octets),
            Self::Eap(octets) => writer.slice(octets),
            Self::Unknown(unknown) => writer.slice(&unknown.body),
        }
        Ok(())
    }
}
