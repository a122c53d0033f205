//! Payloads of ISAKMP (RFC 2408 sections 3.4 to 3.16), of NAT traversal (RFC 3947), and of fragmentation.
//!
//! Every payload begins with the generic header:
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |   RESERVED    |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

pub(crate) mod attributes;
pub(crate) mod fragment;
pub(crate) mod identification;
pub(crate) mod notify;
pub(crate) mod sa;

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Attributes, Delete, Fragment, Identification, Notify, Part, Sa};
use zeroize::Zeroizing;

use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{CertificateEncoding, EmitError, Fault, ParseError};

numbers! {
    /// Payload type (RFC 2408 section 3.1).
    PayloadType(u8) {
        NONE = 0, "none";
        SA = 1, "SA";
        PROPOSAL = 2, "P";
        TRANSFORM = 3, "T";
        KE = 4, "KE";
        ID = 5, "ID";
        CERT = 6, "CERT";
        CERTREQ = 7, "CERTREQ";
        HASH = 8, "HASH";
        SIG = 9, "SIG";
        NONCE = 10, "No";
        NOTIFY = 11, "N";
        DELETE = 12, "D";
        VENDOR_ID = 13, "V";
        ATTRIBUTES = 14, "CP";
        NAT_D = 20, "NAT-D";
        NAT_OA = 21, "NAT-OA";
        NAT_D_DRAFT = 130, "NAT-D";
        NAT_OA_DRAFT = 131, "NAT-OA";
        FRAGMENT = 132, "FRAG";
    }
}

/// Whose number a payload of NAT traversal has: that of RFC 3947 or that of the drafts before it, 02 and 03.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// RFC 3947.
    Standard,
    /// draft-ietf-ipsec-nat-t-ike-02 and -03.
    Draft,
}

/// One payload of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// SA: Security Association.
    Sa(Sa),
    /// KE: the public value of a key exchange.
    KeyExchange(Vec<u8>),
    /// ID: Identification.
    Identification(Identification),
    /// CERT: Certificate.
    Cert(Certificate),
    /// CERTREQ: Certificate Request, whose data are the name of an authority.
    CertReq(Certificate),
    /// HASH: Hash.
    Hash(Vec<u8>),
    /// SIG: Signature.
    Signature(Vec<u8>),
    /// Ni, Nr: Nonce.
    Nonce(Vec<u8>),
    /// N: Notification.
    Notify(Notify),
    /// D: Delete.
    Delete(Delete),
    /// V: Vendor ID.
    VendorId(Vec<u8>),
    /// NAT-D: the hash of an address and port (RFC 3947 section 3.2).
    NatDetection(Spelling, Vec<u8>),
    /// NAT-OA: an address as it was before a NAT (RFC 3947 section 5.2).
    NatOriginalAddress(NatOriginalAddress),
    /// FRAG: a fragment of a message, which is all that is in its own.
    Fragment(Fragment),
    /// Attributes: what a transaction says (draft-dukes-ike-mode-cfg-02 section 3.2).
    Attributes(Attributes),
    /// A payload of a type this crate does not read.
    Unknown(PayloadType, Vec<u8>),
}

/// A certificate, or for which authority one is asked (sections 3.9 and 3.10).
///
/// ```text
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// | Cert Encoding |                                               |
/// +-+-+-+-+-+-+-+-+                                               +
/// ~              Certificate Data or Certificate Authority        ~
/// +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// What the data are.
    pub encoding: CertificateEncoding,
    /// The data.
    pub data: Vec<u8>,
}

/// An address before a NAT (RFC 3947 section 5.2): an ID Type, three reserved octets, and the address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatOriginalAddress {
    /// Whose number it has.
    pub spelling: Spelling,
    /// The address.
    pub address: IpAddr,
}

impl PayloadType {
    /// The section of RFC 2408 that draws it.
    pub const fn section(self) -> &'static str {
        match self {
            Self::SA => "3.4",
            Self::PROPOSAL => "3.5",
            Self::TRANSFORM => "3.6",
            Self::KE => "3.7",
            Self::ID => "3.8",
            Self::CERT => "3.9",
            Self::CERTREQ => "3.10",
            Self::HASH => "3.11",
            Self::SIG => "3.12",
            Self::NONCE => "3.13",
            Self::NOTIFY => "3.14",
            Self::DELETE => "3.15",
            Self::VENDOR_ID => "3.16",
            _ => "3.2",
        }
    }
}

impl Certificate {
    fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        Ok(Self { encoding: CertificateEncoding(body.u8()?), data: body.rest().to_vec() })
    }

    fn emit(&self, writer: &mut Writer) {
        writer.u8(self.encoding.0);
        writer.slice(&self.data);
    }
}

impl NatOriginalAddress {
    fn parse(spelling: Spelling, mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [id_type, ..] = body.array::<4>()?;
        let address = match id_type {
            1 => IpAddr::V4(Ipv4Addr::from(body.array::<4>()?)),
            5 => IpAddr::V6(Ipv6Addr::from(body.array::<16>()?)),
            other => return Err(body.fault(Fault::Value { field: "an ID Type of", value: other.into() })),
        };
        body.finish()?;
        Ok(Self { spelling, address })
    }

    fn emit(self, writer: &mut Writer) {
        match self.address {
            IpAddr::V4(address) => {
                writer.slice(&[1, 0, 0, 0]);
                writer.slice(&address.octets());
            }
            IpAddr::V6(address) => {
                writer.slice(&[5, 0, 0, 0]);
                writer.slice(&address.octets());
            }
        }
    }
}

impl Payload {
    /// The payload type.
    pub const fn payload_type(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::KeyExchange(_) => PayloadType::KE,
            Self::Identification(_) => PayloadType::ID,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Hash(_) => PayloadType::HASH,
            Self::Signature(_) => PayloadType::SIG,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::NatDetection(Spelling::Standard, _) => PayloadType::NAT_D,
            Self::NatDetection(Spelling::Draft, _) => PayloadType::NAT_D_DRAFT,
            Self::NatOriginalAddress(NatOriginalAddress { spelling: Spelling::Standard, .. }) => PayloadType::NAT_OA,
            Self::NatOriginalAddress(NatOriginalAddress { spelling: Spelling::Draft, .. }) => PayloadType::NAT_OA_DRAFT,
            Self::Fragment(_) => PayloadType::FRAGMENT,
            Self::Attributes(_) => PayloadType::ATTRIBUTES,
            Self::Unknown(payload_type, _) => *payload_type,
        }
    }

    /// Octets on the wire, generic header included; `None` for what no octets can say.
    pub fn length(&self) -> Option<usize> {
        let mut writer = Writer::new();
        self.emit(PayloadType::NONE, &mut writer).ok()?;
        Some(Zeroizing::new(writer.finish()).len())
    }

    pub(super) fn parse(payload_type: PayloadType, body: Reader<'_>) -> Result<Self, ParseError> {
        let octets = |body: Reader<'_>| body.rest().to_vec();
        Ok(match payload_type {
            PayloadType::SA => Self::Sa(Sa::parse(body)?),
            PayloadType::KE => Self::KeyExchange(octets(body)),
            PayloadType::ID => Self::Identification(Identification::parse(body)?),
            PayloadType::CERT => Self::Cert(Certificate::parse(body)?),
            PayloadType::CERTREQ => Self::CertReq(Certificate::parse(body)?),
            PayloadType::HASH => Self::Hash(octets(body)),
            PayloadType::SIG => Self::Signature(octets(body)),
            PayloadType::NONCE => Self::Nonce(octets(body)),
            PayloadType::NOTIFY => Self::Notify(Notify::parse(body)?),
            PayloadType::DELETE => Self::Delete(Delete::parse(body)?),
            PayloadType::VENDOR_ID => Self::VendorId(octets(body)),
            PayloadType::NAT_D => Self::NatDetection(Spelling::Standard, octets(body)),
            PayloadType::NAT_D_DRAFT => Self::NatDetection(Spelling::Draft, octets(body)),
            PayloadType::NAT_OA => Self::NatOriginalAddress(NatOriginalAddress::parse(Spelling::Standard, body)?),
            PayloadType::NAT_OA_DRAFT => Self::NatOriginalAddress(NatOriginalAddress::parse(Spelling::Draft, body)?),
            PayloadType::FRAGMENT => Self::Fragment(Fragment::parse(body)?),
            PayloadType::ATTRIBUTES => Self::Attributes(Attributes::parse(body)?),
            other => Self::Unknown(other, octets(body)),
        })
    }

    /// Writes the payload, generic header included.
    pub(super) fn emit(&self, next: PayloadType, writer: &mut Writer) -> Result<(), EmitError> {
        writer.framed(crate::Part::V1(Part::Payload(self.payload_type())), [next.0, 0], |writer| self.emit_body(writer))
    }

    fn emit_body(&self, writer: &mut Writer) -> Result<(), EmitError> {
        match self {
            Self::Sa(sa) => return sa.emit(writer),
            Self::Identification(id) => writer.slice(&id.octets()),
            Self::Cert(certificate) | Self::CertReq(certificate) => certificate.emit(writer),
            Self::Notify(notify) => return notify.emit(writer),
            Self::Delete(delete) => return delete.emit(writer),
            Self::NatOriginalAddress(address) => address.emit(writer),
            Self::Fragment(fragment) => fragment.emit(writer),
            Self::Attributes(attributes) => return attributes.emit(writer),
            Self::KeyExchange(octets)
            | Self::Hash(octets)
            | Self::Signature(octets)
            | Self::Nonce(octets)
            | Self::VendorId(octets)
            | Self::NatDetection(_, octets)
            | Self::Unknown(_, octets) => writer.slice(octets),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::v1::parse_payloads;

    #[test]
    fn an_original_address_has_the_length_of_its_family() {
        let read =
            |octets: &[u8]| parse_payloads(PayloadType::NAT_OA, &[&[0, 0, 0, u8::try_from(octets.len() + 4).unwrap()], octets].concat());
        let address = NatOriginalAddress { spelling: Spelling::Standard, address: "192.0.2.1".parse().unwrap() };
        assert_eq!(read(&[1, 0, 0, 0, 192, 0, 2, 1]), Ok(vec![Payload::NatOriginalAddress(address)]));
        assert!(read(&[1, 0, 0, 0, 192, 0, 2]).is_err() && read(&[1, 0, 0, 0, 192, 0, 2, 1, 0]).is_err());
        assert!(read(&[2, 0, 0, 0, 192, 0, 2, 1]).is_err(), "a name is no address");
    }

    #[test]
    fn both_spellings_of_nat_detection_keep_theirs() {
        for (number, spelling) in [(20, Spelling::Standard), (130, Spelling::Draft)] {
            let read = parse_payloads(PayloadType(number), &[0, 0, 0, 6, 1, 2]).unwrap();
            assert_eq!(read, [Payload::NatDetection(spelling, vec![1, 2])]);
            assert_eq!(read[0].payload_type().0, number);
        }
    }
}
