//! The Notification and Delete payloads (RFC 2408 sections 3.14 and 3.15).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |              Domain of Interpretation  (DOI)                  |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |  Protocol ID  |   SPI Size    | Notify Type or Number of SPIs |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                     SPI, or SPIs to be deleted                ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                       Notification Data                       ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;

use crate::number::numbers;
use crate::reader::Reader;
use crate::v1::payload::sa::{DOI_IPSEC, Protocol};
use crate::v1::{Part, PayloadType, limits};
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError};

/// An error, or something the peer wants to be known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// Domain of Interpretation: 1 for IPsec, 0 for ISAKMP alone.
    pub doi: u32,
    /// Protocol of the SA it is about.
    pub protocol: Protocol,
    /// That SA; the two cookies, or nothing, for an ISAKMP SA.
    pub spi: Vec<u8>,
    /// What is said.
    pub kind: NotifyType,
    /// Notification Data.
    pub data: Vec<u8>,
}

numbers! {
    /// Notify Message Type: errors below 16384 (RFC 2408 section 3.14.1), status types from there (RFC 2407 section 4.6.3, RFC 3706 section 5).
    NotifyType(u16) {
        INVALID_PAYLOAD_TYPE = 1, "INVALID-PAYLOAD-TYPE";
        DOI_NOT_SUPPORTED = 2, "DOI-NOT-SUPPORTED";
        SITUATION_NOT_SUPPORTED = 3, "SITUATION-NOT-SUPPORTED";
        INVALID_COOKIE = 4, "INVALID-COOKIE";
        INVALID_MAJOR_VERSION = 5, "INVALID-MAJOR-VERSION";
        INVALID_MINOR_VERSION = 6, "INVALID-MINOR-VERSION";
        INVALID_EXCHANGE_TYPE = 7, "INVALID-EXCHANGE-TYPE";
        INVALID_FLAGS = 8, "INVALID-FLAGS";
        INVALID_MESSAGE_ID = 9, "INVALID-MESSAGE-ID";
        INVALID_PROTOCOL_ID = 10, "INVALID-PROTOCOL-ID";
        INVALID_SPI = 11, "INVALID-SPI";
        INVALID_TRANSFORM_ID = 12, "INVALID-TRANSFORM-ID";
        ATTRIBUTES_NOT_SUPPORTED = 13, "ATTRIBUTES-NOT-SUPPORTED";
        NO_PROPOSAL_CHOSEN = 14, "NO-PROPOSAL-CHOSEN";
        BAD_PROPOSAL_SYNTAX = 15, "BAD-PROPOSAL-SYNTAX";
        PAYLOAD_MALFORMED = 16, "PAYLOAD-MALFORMED";
        INVALID_KEY_INFORMATION = 17, "INVALID-KEY-INFORMATION";
        INVALID_ID_INFORMATION = 18, "INVALID-ID-INFORMATION";
        INVALID_CERT_ENCODING = 19, "INVALID-CERT-ENCODING";
        INVALID_CERTIFICATE = 20, "INVALID-CERTIFICATE";
        CERT_TYPE_UNSUPPORTED = 21, "CERT-TYPE-UNSUPPORTED";
        INVALID_CERT_AUTHORITY = 22, "INVALID-CERT-AUTHORITY";
        INVALID_HASH_INFORMATION = 23, "INVALID-HASH-INFORMATION";
        AUTHENTICATION_FAILED = 24, "AUTHENTICATION-FAILED";
        INVALID_SIGNATURE = 25, "INVALID-SIGNATURE";
        ADDRESS_NOTIFICATION = 26, "ADDRESS-NOTIFICATION";
        NOTIFY_SA_LIFETIME = 27, "NOTIFY-SA-LIFETIME";
        CERTIFICATE_UNAVAILABLE = 28, "CERTIFICATE-UNAVAILABLE";
        UNSUPPORTED_EXCHANGE_TYPE = 29, "UNSUPPORTED-EXCHANGE-TYPE";
        UNEQUAL_PAYLOAD_LENGTHS = 30, "UNEQUAL-PAYLOAD-LENGTHS";
        CONNECTED = 16384, "CONNECTED";
        RESPONDER_LIFETIME = 24576, "RESPONDER-LIFETIME";
        REPLAY_STATUS = 24577, "REPLAY-STATUS";
        INITIAL_CONTACT = 24578, "INITIAL-CONTACT";
        R_U_THERE = 36136, "R-U-THERE";
        R_U_THERE_ACK = 36137, "R-U-THERE-ACK";
    }
}

/// SAs that the sender has no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delete {
    /// Domain of Interpretation.
    pub doi: u32,
    /// Protocol of the SAs.
    pub protocol: Protocol,
    /// The SPIs they receive on, all of one length; the two cookies for an ISAKMP SA. At least one.
    pub spis: Vec<Vec<u8>>,
}

impl NotifyType {
    /// Whether it says that something went wrong.
    pub const fn is_error(self) -> bool {
        self.0 < Self::CONNECTED.0
    }
}

impl Notify {
    /// About a protocol's SA in the IPsec DOI.
    pub const fn new(protocol: Protocol, spi: Vec<u8>, kind: NotifyType, data: Vec<u8>) -> Self {
        Self { doi: DOI_IPSEC, protocol, spi, kind, data }
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let doi = body.u32()?;
        let [protocol, spi_size] = body.array()?;
        let kind = NotifyType(body.u16()?);
        let spi = body.take(spi_size.into())?.to_vec();
        Ok(Self { doi, protocol: Protocol(protocol), spi, kind, data: body.rest().to_vec() })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u32(self.doi);
        writer.u8(self.protocol.0);
        writer.count(self.spi.len(), crate::Part::V1(Part::Payload(PayloadType::NOTIFY)))?;
        writer.u16(self.kind.0);
        writer.slice(&self.spi);
        writer.slice(&self.data);
        Ok(())
    }
}

impl Delete {
    /// SAs of a protocol in the IPsec DOI.
    pub const fn new(protocol: Protocol, spis: Vec<Vec<u8>>) -> Self {
        Self { doi: DOI_IPSEC, protocol, spis }
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let doi = body.u32()?;
        let [protocol, spi_size] = body.array()?;
        let said = usize::from(body.u16()?);
        if said > limits::SPIS {
            return Err(body.fault(Fault::TooMany(limits::SPIS)));
        }
        if spi_size == 0 {
            return Err(body.fault(Fault::Value { field: "an SPI Size of", value: 0 }));
        }
        let mut spis = Vec::new();
        for _ in 0..said {
            spis.push(body.take(spi_size.into())?.to_vec());
        }
        body.finish()?;
        if spis.is_empty() { Err(body.fault(Fault::Empty)) } else { Ok(Self { doi, protocol: Protocol(protocol), spis }) }
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        let oversize = || EmitError::Oversize(crate::Part::V1(Part::Payload(PayloadType::DELETE)));
        let size = self.spis.first().map_or(0, Vec::len);
        if size == 0 || self.spis.iter().any(|spi| spi.len() != size) {
            return Err(oversize());
        }
        writer.u32(self.doi);
        writer.u8(self.protocol.0);
        writer.count(size, crate::Part::V1(Part::Payload(PayloadType::DELETE)))?;
        writer.u16(u16::try_from(self.spis.len()).map_err(|_| oversize())?);
        self.spis.iter().for_each(|spi| writer.slice(spi));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::v1::{Chain, Payload, emit_payloads, parse_payloads};

    #[test]
    fn spis_are_as_many_and_as_long_as_is_said() {
        let octets = [0, 0, 0, 20, 0, 0, 0, 1, 3, 4, 0, 2, 0xc0, 0, 0, 1, 0xc0, 0, 0, 2];
        let delete = Delete::new(Protocol::ESP, vec![vec![0xc0, 0, 0, 1], vec![0xc0, 0, 0, 2]]);
        assert_eq!(parse_payloads(PayloadType::DELETE, &octets), Ok(vec![Payload::Delete(delete.clone())]));
        assert_eq!(emit_payloads(&[Payload::Delete(delete)]), Ok(Chain { first: PayloadType::DELETE, octets: octets.to_vec() }));
        for (at, value) in [(9, 0), (9, 3), (9, 5), (11, 0), (11, 1), (11, 3)] {
            let mut spoilt = octets;
            spoilt[at] = value;
            assert!(parse_payloads(PayloadType::DELETE, &spoilt).is_err(), "octet {at} = {value}");
        }
        let uneven = Delete::new(Protocol::ESP, vec![vec![1; 4], vec![1; 3]]);
        assert!(
            emit_payloads(&[Payload::Delete(uneven)]).is_err()
                && emit_payloads(&[Payload::Delete(Delete::new(Protocol::ESP, vec![]))]).is_err()
        );
    }

    #[test]
    fn errors_end_where_status_types_begin() {
        assert!(NotifyType::AUTHENTICATION_FAILED.is_error() && NotifyType(16383).is_error());
        assert!(!NotifyType::CONNECTED.is_error() && !NotifyType::R_U_THERE.is_error());
    }
}
