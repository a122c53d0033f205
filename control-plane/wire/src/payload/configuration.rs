//! The Configuration payload (RFC 7296 section 3.15).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   CFG Type    |                    RESERVED                   |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |R|      Attribute Type         |            Length             |  each attribute
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                             Value                             ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::AddressRange;

use crate::number::numbers;
use crate::reader::Reader;
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError, Part, PayloadType, limits};

numbers! {
    /// CFG Type.
    ConfigurationType(u8) {
        REQUEST = 1, "CFG_REQUEST";
        REPLY = 2, "CFG_REPLY";
        SET = 3, "CFG_SET";
        ACK = 4, "CFG_ACK";
    }
}

numbers! {
    /// Configuration Attribute type (section 3.15.1).
    ConfigurationAttributeType(u16) {
        IP4_ADDRESS = 1, "INTERNAL_IP4_ADDRESS";
        IP4_NETMASK = 2, "INTERNAL_IP4_NETMASK";
        IP4_DNS = 3, "INTERNAL_IP4_DNS";
        IP4_NBNS = 4, "INTERNAL_IP4_NBNS";
        IP4_DHCP = 6, "INTERNAL_IP4_DHCP";
        APPLICATION_VERSION = 7, "APPLICATION_VERSION";
        IP6_ADDRESS = 8, "INTERNAL_IP6_ADDRESS";
        IP6_DNS = 10, "INTERNAL_IP6_DNS";
        IP6_DHCP = 12, "INTERNAL_IP6_DHCP";
        IP4_SUBNET = 13, "INTERNAL_IP4_SUBNET";
        SUPPORTED_ATTRIBUTES = 14, "SUPPORTED_ATTRIBUTES";
        IP6_SUBNET = 15, "INTERNAL_IP6_SUBNET";
    }
}

/// What one side asks the other for, or tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configuration {
    /// Question or answer.
    pub kind: ConfigurationType,
    /// The attributes.
    pub attributes: Vec<ConfigurationAttribute>,
}

/// One attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationAttribute {
    /// What it is about.
    pub kind: ConfigurationAttributeType,
    /// Its value; empty in a question, or where nothing is said of it.
    pub value: Vec<u8>,
}

/// The bit before the type: "MUST be set to zero and MUST be ignored on receipt".
const RESERVED: u16 = 0x8000;
/// Prefix length behind the address of INTERNAL_IP6_ADDRESS, in bits: the whole address is the peer's.
const WHOLE: u8 = 128;

type Type = ConfigurationAttributeType;

impl Configuration {
    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [kind, _reserved @ ..] = body.array::<4>()?;
        let mut attributes = Vec::new();
        while !body.is_empty() {
            if attributes.len() == limits::CONFIGURATION_ATTRIBUTES {
                return Err(body.fault(Fault::TooMany(limits::CONFIGURATION_ATTRIBUTES)));
            }
            attributes.push(ConfigurationAttribute::parse(&mut body)?);
        }
        Ok(Self { kind: ConfigurationType(kind), attributes })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u8(self.kind.0);
        writer.slice(&[0; 3]);
        self.attributes.iter().try_for_each(|attribute| attribute.emit(writer))
    }

    /// The attributes of one type.
    pub fn of(&self, kind: ConfigurationAttributeType) -> impl Iterator<Item = &ConfigurationAttribute> {
        self.attributes.iter().filter(move |attribute| attribute.kind == kind)
    }
}

impl ConfigurationAttribute {
    /// One without a value: a question.
    pub const fn empty(kind: ConfigurationAttributeType) -> Self {
        Self { kind, value: Vec::new() }
    }

    /// INTERNAL_IP4_ADDRESS or INTERNAL_IP6_ADDRESS: an address inside the other's network.
    pub fn address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self { kind: Type::IP4_ADDRESS, value: address.octets().to_vec() },
            IpAddr::V6(address) => Self { kind: Type::IP6_ADDRESS, value: [&address.octets()[..], &[WHOLE]].concat() },
        }
    }

    /// INTERNAL_IP4_DNS or INTERNAL_IP6_DNS: a name server.
    pub fn dns(server: IpAddr) -> Self {
        match server {
            IpAddr::V4(address) => Self { kind: Type::IP4_DNS, value: address.octets().to_vec() },
            IpAddr::V6(address) => Self { kind: Type::IP6_DNS, value: address.octets().to_vec() },
        }
    }

    /// INTERNAL_IP4_SUBNET or INTERNAL_IP6_SUBNET: a network behind the sender; `None` for a range that is no prefix.
    pub fn subnet(range: AddressRange) -> Option<Self> {
        let prefix = range.prefix_length()?;
        Some(match (range.first(), range.last()) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                let mask = !(u32::from(first) ^ u32::from(last));
                Self { kind: Type::IP4_SUBNET, value: [first.octets(), mask.to_be_bytes()].concat() }
            }
            (IpAddr::V6(first), _) => Self { kind: Type::IP6_SUBNET, value: [&first.octets()[..], &[prefix]].concat() },
            (IpAddr::V4(_), IpAddr::V6(_)) => return None,
        })
    }

    /// The address it is about, of any attribute that is about one; `None` where it has no value.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.kind {
            Type::IP4_ADDRESS | Type::IP4_NETMASK | Type::IP4_DNS | Type::IP4_NBNS | Type::IP4_DHCP => {
                Some(Ipv4Addr::from(*self.value.first_chunk::<4>()?).into())
            }
            Type::IP6_ADDRESS | Type::IP6_DNS | Type::IP6_DHCP => Some(Ipv6Addr::from(*self.value.first_chunk::<16>()?).into()),
            _ => None,
        }
    }

    /// The network it is about; `None` where there is none, or what stands there is no network.
    pub fn network(&self) -> Option<AddressRange> {
        let (address, prefix) = match (self.kind, self.value.as_slice()) {
            (Type::IP4_SUBNET, &[a, b, c, d, ref mask @ ..]) => {
                let mask = u32::from_be_bytes(*mask.first_chunk()?);
                let prefix = mask.leading_ones();
                (mask.count_ones() == prefix).then_some((Ipv4Addr::new(a, b, c, d).into(), u8::try_from(prefix).ok()?))?
            }
            (Type::IP6_SUBNET, octets) => (Ipv6Addr::from(*octets.first_chunk::<16>()?).into(), *octets.get(16)?),
            _ => return None,
        };
        AddressRange::prefix(address, prefix)
    }

    fn parse(body: &mut Reader<'_>) -> Result<Self, ParseError> {
        let kind = ConfigurationAttributeType(body.u16()? & !RESERVED);
        let length = usize::from(body.u16()?);
        let value = body.take(length)?.to_vec();
        if !kind.takes(length) {
            return Err(body.fault(Fault::Value { field: "an attribute length of", value: length as u64 }));
        }
        Ok(Self { kind, value })
    }

    fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u16(self.kind.0 & !RESERVED);
        writer.u16(u16::try_from(self.value.len()).map_err(|_| EmitError::Oversize(Part::Payload(PayloadType::CP)))?);
        writer.slice(&self.value);
        Ok(())
    }
}

impl ConfigurationAttributeType {
    /// Whether it is about an address inside the other's network.
    pub const fn is_address(self) -> bool {
        matches!(self, Self::IP4_ADDRESS | Self::IP6_ADDRESS)
    }

    /// Whether a value may have so many octets.
    pub(crate) const fn takes(self, length: usize) -> bool {
        match self {
            Self::IP4_ADDRESS | Self::IP4_NETMASK | Self::IP4_DNS | Self::IP4_NBNS | Self::IP4_DHCP => matches!(length, 0 | 4),
            Self::IP6_ADDRESS | Self::IP6_SUBNET => matches!(length, 0 | 17),
            Self::IP6_DNS | Self::IP6_DHCP => matches!(length, 0 | 16),
            Self::IP4_SUBNET => matches!(length, 0 | 8),
            Self::SUPPORTED_ATTRIBUTES => length.is_multiple_of(2),
            _ => true,
        }
    }
}

/// Its value in the notation of its type.
impl fmt::Display for ConfigurationAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.network(), self.ip()) {
            (Some(network), _) => write!(f, "{network}"),
            (None, Some(address)) => write!(f, "{address}"),
            (None, None) => self.value.iter().try_for_each(|octet| write!(f, "{octet:02x}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(octets: &[u8]) -> Result<Configuration, ParseError> {
        Configuration::parse(Reader::new(Part::Payload(PayloadType::CP), octets))
    }

    /// RFC 7296 section 2.19: CP(CFG_REPLY) = INTERNAL_ADDRESS(192.0.2.202), INTERNAL_NETMASK(255.255.255.0), INTERNAL_SUBNET(192.0.2.0/255.255.255.0).
    #[test]
    fn reads_the_reply_of_section_2_19() {
        let octets = [
            2, 0, 0, 0, //
            0, 1, 0, 4, 192, 0, 2, 202, //
            0, 2, 0, 4, 255, 255, 255, 0, //
            0, 13, 0, 8, 192, 0, 2, 0, 255, 255, 255, 0,
        ];
        let reply = parse(&octets).expect("a reply");
        assert_eq!(reply.kind, ConfigurationType::REPLY);
        let addresses: Vec<_> = reply.of(Type::IP4_ADDRESS).filter_map(ConfigurationAttribute::ip).collect();
        assert_eq!(addresses, ["192.0.2.202".parse::<IpAddr>().expect("an address")]);
        let networks: Vec<_> = reply.of(Type::IP4_SUBNET).filter_map(ConfigurationAttribute::network).collect();
        assert_eq!(networks, ["192.0.2.0/24".parse().expect("a network")]);
        let mut writer = Writer::new();
        reply.emit(&mut writer).expect("fits");
        assert_eq!(writer.finish(), octets);
    }

    #[test]
    fn a_question_has_no_values_and_the_reserved_bit_is_ignored() {
        let request = parse(&[1, 9, 9, 9, 0x80, 8, 0, 0, 0, 3, 0, 0]).expect("a request");
        assert_eq!(request.attributes, [Type::IP6_ADDRESS, Type::IP4_DNS].map(ConfigurationAttribute::empty));
        assert_eq!(request.attributes.iter().find_map(ConfigurationAttribute::ip), None);
    }

    #[test]
    fn a_value_has_the_length_of_its_type_and_unknown_ones_any() {
        for (kind, length, legal) in
            [(1, 4, true), (1, 5, false), (8, 16, false), (8, 17, true), (13, 4, false), (14, 3, false), (99, 3, true)]
        {
            let octets = [&[1, 0, 0, 0, 0, kind, 0, length][..], &alloc::vec![0; usize::from(length)]].concat();
            assert_eq!(parse(&octets).is_ok(), legal, "type {kind}, length {length}");
        }
        assert!(parse(&[1, 0, 0, 0, 0, 1, 0, 4, 192, 0, 2]).is_err(), "cut short");
        assert!(parse(&[1, 0, 0]).is_err(), "no head");
    }

    #[test]
    fn attributes_are_bounded() {
        let many = |count: usize| [&[1, 0, 0, 0][..], &[0, 1, 0, 0].repeat(count)].concat();
        assert!(parse(&many(limits::CONFIGURATION_ATTRIBUTES)).is_ok());
        assert!(parse(&many(limits::CONFIGURATION_ATTRIBUTES + 1)).is_err());
    }

    #[test]
    fn networks_are_written_as_they_are_read_and_masks_with_holes_are_none() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "192.0.2.7/32", "2001:db8::/32", "::/0"] {
            let network: AddressRange = text.parse().expect("a network");
            let attribute = ConfigurationAttribute::subnet(network).expect("a prefix");
            assert_eq!(attribute.network(), Some(network), "{text}");
        }
        let holes = ConfigurationAttribute { kind: Type::IP4_SUBNET, value: alloc::vec![10, 0, 0, 0, 255, 0, 255, 0] };
        assert_eq!(holes.network(), None);
        let long = ConfigurationAttribute { kind: Type::IP6_SUBNET, value: alloc::vec![129; 17] };
        assert_eq!(long.network(), None);
    }
}
