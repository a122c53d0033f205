//! The Attributes payload of the Transaction exchange (draft-dukes-ike-mode-cfg-02 section 3.2), in which Mode Config and XAuth
//! (draft-beaulieu-ike-xauth-02) say everything.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |     Type      |   RESERVED    |           Identifier          |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                  Attributes (RFC 2408 section 3.3)            ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::fmt;

use ipsec_types::AddressRange;
use zeroize::Zeroizing;

use crate::number::numbers;
use crate::reader::Reader;
use crate::v1::{Part, PayloadType, limits};
use crate::writer::Writer;
use crate::{
    Attribute, AttributeValue, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType, EmitError, Fault, ParseError,
};

numbers! {
    /// What an attribute of a transaction is about: Mode Config (its section 3.3), XAuth (its section 3.2), and what Cisco's clients ask for.
    TransactionAttributeType(u16) {
        IP4_ADDRESS = 1, "INTERNAL_IP4_ADDRESS";
        IP4_NETMASK = 2, "INTERNAL_IP4_NETMASK";
        IP4_DNS = 3, "INTERNAL_IP4_DNS";
        IP4_NBNS = 4, "INTERNAL_IP4_NBNS";
        ADDRESS_EXPIRY = 5, "INTERNAL_ADDRESS_EXPIRY";
        IP4_DHCP = 6, "INTERNAL_IP4_DHCP";
        APPLICATION_VERSION = 7, "APPLICATION_VERSION";
        IP6_ADDRESS = 8, "INTERNAL_IP6_ADDRESS";
        IP6_NETMASK = 9, "INTERNAL_IP6_NETMASK";
        IP6_DNS = 10, "INTERNAL_IP6_DNS";
        IP6_DHCP = 12, "INTERNAL_IP6_DHCP";
        IP4_SUBNET = 13, "INTERNAL_IP4_SUBNET";
        SUPPORTED_ATTRIBUTES = 14, "SUPPORTED_ATTRIBUTES";
        IP6_SUBNET = 15, "INTERNAL_IP6_SUBNET";
        XAUTH_TYPE = 16520, "XAUTH-TYPE";
        XAUTH_USER_NAME = 16521, "XAUTH-USER-NAME";
        XAUTH_USER_PASSWORD = 16522, "XAUTH-USER-PASSWORD";
        XAUTH_PASSCODE = 16523, "XAUTH-PASSCODE";
        XAUTH_MESSAGE = 16524, "XAUTH-MESSAGE";
        XAUTH_CHALLENGE = 16525, "XAUTH-CHALLENGE";
        XAUTH_DOMAIN = 16526, "XAUTH-DOMAIN";
        XAUTH_STATUS = 16527, "XAUTH-STATUS";
        XAUTH_NEXT_PIN = 16528, "XAUTH-NEXT-PIN";
        XAUTH_ANSWER = 16529, "XAUTH-ANSWER";
        UNITY_BANNER = 28672, "UNITY-BANNER";
        UNITY_SAVE_PASSWORD = 28673, "UNITY-SAVE-PASSWORD";
        UNITY_DEFAULT_DOMAIN = 28674, "UNITY-DEFAULT-DOMAIN";
        UNITY_SPLIT_DNS = 28675, "UNITY-SPLIT-DNS";
        UNITY_SPLIT_INCLUDE = 28676, "UNITY-SPLIT-INCLUDE";
    }
}

/// What one side asks of the other or tells it. It may hold a password: `Debug` shows of each attribute what [`TransactionAttribute`] shows, and its
/// octets are zeroed when it is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Question or answer, as with IKEv2.
    pub kind: ConfigurationType,
    /// Ties an answer to its question.
    pub identifier: u16,
    /// The attributes.
    pub attributes: Vec<TransactionAttribute>,
}

/// One attribute. `Debug` shows the length of what may be secret, and `Display` does.
#[derive(Clone, PartialEq, Eq)]
pub struct TransactionAttribute {
    /// What it is about.
    pub kind: TransactionAttributeType,
    /// Its value; of no octets in a question, or where nothing is said of it.
    pub value: TransactionValue,
}

/// The value of an attribute, in the form it was sent.
#[derive(Clone, PartialEq, Eq)]
pub enum TransactionValue {
    /// AF = 1: type and value.
    Short(u16),
    /// AF = 0: type, length and value.
    Long(Zeroizing<Vec<u8>>),
}

impl TransactionValue {
    fn len(&self) -> usize {
        match self {
            Self::Short(_) => 2,
            Self::Long(octets) => octets.len(),
        }
    }
}

/// Octets of one network in UNITY-SPLIT-INCLUDE: address, mask, and a protocol with ports that nobody fills in.
const SPLIT_INCLUDE: usize = 14;

type Type = TransactionAttributeType;

impl Attributes {
    /// The first attribute of a type.
    pub fn first(&self, kind: TransactionAttributeType) -> Option<&TransactionAttribute> {
        self.attributes.iter().find(|attribute| attribute.kind == kind)
    }

    /// The attributes that IKEv2 has as well and whose values have the lengths that it gives them. Others are passed over: peers are of many
    /// drafts.
    pub fn configuration(&self) -> impl Iterator<Item = ConfigurationAttribute> {
        self.attributes.iter().filter_map(TransactionAttribute::configuration)
    }

    /// Networks behind the sender.
    pub fn networks(&self) -> impl Iterator<Item = AddressRange> {
        let split = self.attributes.iter().filter(|attribute| attribute.kind == Type::UNITY_SPLIT_INCLUDE);
        let split = split.flat_map(|attribute| attribute.octets().chunks_exact(SPLIT_INCLUDE)).filter_map(|network| {
            let value = network.get(..8)?.to_vec();
            ConfigurationAttribute { kind: ConfigurationAttributeType::IP4_SUBNET, value }.network()
        });
        self.configuration().filter_map(|attribute| attribute.network()).chain(split)
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [kind, _reserved] = body.array()?;
        let identifier = body.u16()?;
        let mut rest = Reader::new(crate::Part::V1(Part::Attribute), body.rest());
        let mut attributes = Vec::new();
        while !rest.is_empty() {
            if attributes.len() == limits::TRANSACTION_ATTRIBUTES {
                return Err(body.fault(Fault::TooMany(limits::TRANSACTION_ATTRIBUTES)));
            }
            let Attribute { kind, value } = Attribute::parse(&mut rest)?;
            let value = match value {
                AttributeValue::Short(value) => TransactionValue::Short(value),
                AttributeValue::Long(octets) => TransactionValue::Long(octets.into()),
            };
            attributes.push(TransactionAttribute { kind: TransactionAttributeType(kind), value });
        }
        Ok(Self { kind: ConfigurationType(kind), identifier, attributes })
    }

    pub(crate) fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        writer.u8(self.kind.0);
        writer.u8(0);
        writer.u16(self.identifier);
        self.attributes.iter().try_for_each(|attribute| attribute.emit(writer))
    }
}

impl TransactionAttribute {
    /// One without a value: a question.
    pub fn empty(kind: TransactionAttributeType) -> Self {
        Self::long(kind, Vec::new())
    }

    /// One whose value is a number.
    pub const fn short(kind: TransactionAttributeType, value: u16) -> Self {
        Self { kind, value: TransactionValue::Short(value) }
    }

    /// One whose value is octets, which are zeroed when it is dropped.
    pub fn long(kind: TransactionAttributeType, octets: Vec<u8>) -> Self {
        Self { kind, value: TransactionValue::Long(octets.into()) }
    }

    /// UNITY-SPLIT-INCLUDE: IPv4 networks behind the sender; others have no words in it.
    pub fn split_include(networks: &[AddressRange]) -> Self {
        let octets = networks.iter().filter_map(|network| {
            let subnet = ConfigurationAttribute::subnet(*network)?;
            (subnet.kind == ConfigurationAttributeType::IP4_SUBNET).then(|| [&subnet.value[..], &[0; SPLIT_INCLUDE - 8]].concat())
        });
        Self::long(Type::UNITY_SPLIT_INCLUDE, octets.flatten().collect())
    }

    /// The value as octets; none of one that is a number.
    pub fn octets(&self) -> &[u8] {
        match &self.value {
            TransactionValue::Short(_) => &[],
            TransactionValue::Long(octets) => octets,
        }
    }

    /// The value as a number, in either form.
    pub fn number(&self) -> Option<u16> {
        match &self.value {
            TransactionValue::Short(value) => Some(*value),
            TransactionValue::Long(octets) => Some(u16::from_be_bytes(octets.as_slice().try_into().ok()?)),
        }
    }

    fn configuration(&self) -> Option<ConfigurationAttribute> {
        const PREFIX_64: u8 = 64;
        let TransactionValue::Long(octets) = &self.value else { return None };
        let mut value = octets.to_vec();
        // The draft has no prefix length behind an IPv6 address; IKEv2, and strongSwan in both versions, has.
        if self.kind == Type::IP6_ADDRESS && value.len() == 16 {
            value.push(PREFIX_64);
        }
        let kind = ConfigurationAttributeType(self.kind.0);
        let known = kind.name().is_some() && kind.takes(value.len());
        known.then_some(ConfigurationAttribute { kind, value })
    }

    /// Whether its value is for nobody's eyes: what is not known may be a password, too.
    fn is_secret(&self) -> bool {
        match self.kind {
            Type::XAUTH_USER_PASSWORD | Type::XAUTH_PASSCODE | Type::XAUTH_CHALLENGE | Type::XAUTH_NEXT_PIN | Type::XAUTH_ANSWER => true,
            kind => kind.name().is_none(),
        }
    }

    fn is_text(&self) -> bool {
        const TEXTS: [TransactionAttributeType; 6] = [
            Type::APPLICATION_VERSION,
            Type::XAUTH_USER_NAME,
            Type::XAUTH_MESSAGE,
            Type::XAUTH_DOMAIN,
            Type::UNITY_BANNER,
            Type::UNITY_DEFAULT_DOMAIN,
        ];
        TEXTS.contains(&self.kind)
    }

    fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        let oversize = || EmitError::Oversize(crate::Part::V1(Part::Payload(PayloadType::ATTRIBUTES)));
        if self.kind.0 & Attribute::FORMAT != 0 {
            return Err(oversize());
        }
        match &self.value {
            TransactionValue::Short(value) => {
                writer.u16(self.kind.0 | Attribute::FORMAT);
                writer.u16(*value);
            }
            TransactionValue::Long(octets) => {
                writer.u16(self.kind.0);
                writer.u16(u16::try_from(octets.len()).map_err(|_| oversize())?);
                writer.slice(octets);
            }
        }
        Ok(())
    }
}

/// Its value in the notation of its type; of what may be secret the length.
impl fmt::Display for TransactionAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let octets = self.octets();
        match (&self.value, core::str::from_utf8(octets)) {
            _ if self.is_secret() => write!(f, "{} octets", self.value.len()),
            (TransactionValue::Short(value), _) => write!(f, "{value}"),
            (_, Ok(text)) if self.is_text() => write!(f, "{}", text.escape_debug()),
            _ => match self.configuration() {
                Some(attribute) => write!(f, "{attribute}"),
                None => octets.iter().try_for_each(|octet| write!(f, "{octet:02x}")),
            },
        }
    }
}

/// Its length: nobody knows here whether it is secret.
impl fmt::Debug for TransactionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.len())
    }
}

impl fmt::Debug for TransactionAttribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {self}", self.kind)
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::v1::{Chain, Payload, emit_payloads, parse_payloads};

    fn read(octets: &[u8]) -> Result<Attributes, ParseError> {
        let length = u16::try_from(octets.len() + 4).unwrap().to_be_bytes();
        let mut payloads = parse_payloads(PayloadType(14), &[&[0, 0, length[0], length[1]], octets].concat())?;
        let Some(Payload::Attributes(attributes)) = payloads.pop() else { panic!("{payloads:?}") };
        Ok(attributes)
    }

    /// XAuth's request and its answer, as draft-beaulieu-ike-xauth-02 section 2 draws them.
    #[test]
    fn the_drawing_gives_the_offsets_and_both_forms_of_a_value_are_read() {
        let request = read(&[1, 0xff, 0x12, 0x34, 0xc0, 0x88, 0, 0, 0x40, 0x89, 0, 0, 0x40, 0x8a, 0, 0]).unwrap();
        assert_eq!((request.kind, request.identifier), (ConfigurationType::REQUEST, 0x1234));
        let asked = [TransactionAttribute::short(Type::XAUTH_TYPE, 0)];
        let asked = asked.into_iter().chain([Type::XAUTH_USER_NAME, Type::XAUTH_USER_PASSWORD].map(TransactionAttribute::empty));
        assert_eq!(request.attributes, asked.collect::<Vec<_>>());
        let octets = [2, 0, 0x12, 0x34, 0x40, 0x89, 0, 5, b'a', b'l', b'i', b'c', b'e', 0x40, 0x8f, 0, 2, 0, 1];
        let reply = read(&octets).unwrap();
        assert_eq!(reply.first(Type::XAUTH_USER_NAME).map(TransactionAttribute::octets), Some(&b"alice"[..]));
        assert_eq!(reply.first(Type::XAUTH_STATUS).and_then(TransactionAttribute::number), Some(1));
        let Chain { first, octets: again } = emit_payloads(&[Payload::Attributes(reply)]).unwrap();
        assert_eq!((first, &again[4..]), (PayloadType(14), &octets[..]));
    }

    #[test]
    fn attributes_are_bounded_and_whole() {
        let many = |count: usize| read(&[&[1, 0, 0, 0][..], &[0, 1, 0, 0].repeat(count)].concat());
        assert!(many(limits::TRANSACTION_ATTRIBUTES).is_ok() && many(limits::TRANSACTION_ATTRIBUTES + 1).is_err());
        assert!(read(&[1, 0, 0]).is_err() && read(&[1, 0, 0, 0, 0, 1, 0, 4, 192, 0, 2]).is_err() && read(&[1, 0, 0, 0, 0x80]).is_err());
        let kind =
            Attributes { attributes: vec![TransactionAttribute::empty(TransactionAttributeType(0x8001))], ..read(&[1, 0, 0, 0]).unwrap() };
        assert!(emit_payloads(&[Payload::Attributes(kind)]).is_err(), "types have 15 bits");
    }

    #[test]
    fn what_ikev2_has_is_read_as_there_and_other_lengths_are_passed_over() {
        let long = |kind, octets: &[u8]| TransactionAttribute::long(kind, octets.to_vec());
        let mut reply = read(&[2, 0, 0, 0]).unwrap();
        reply.attributes = vec![
            long(Type::IP4_ADDRESS, &[10, 3, 0, 1]),
            long(Type::IP4_NETMASK, &[255; 3]),
            long(Type::IP6_ADDRESS, &[0xfd; 16]),
            long(Type::IP6_ADDRESS, &[0xfd; 17]),
            long(Type::ADDRESS_EXPIRY, &[0; 4]),
            TransactionAttribute::short(Type::IP4_DNS, 1),
            long(Type::IP4_SUBNET, &[10, 2, 0, 0, 255, 255, 0, 0]),
            TransactionAttribute::split_include(&[
                "10.4.0.0/16".parse().unwrap(),
                "fd00::/8".parse().unwrap(),
                "10.5.0.0/24".parse().unwrap(),
            ]),
        ];
        let read: Vec<_> = reply.configuration().map(|attribute| format!("{}: {attribute}", attribute.kind)).collect();
        let six = "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd";
        let six = format!("INTERNAL_IP6_ADDRESS: {six}");
        assert_eq!(read, ["INTERNAL_IP4_ADDRESS: 10.3.0.1", &six, &six, "INTERNAL_IP4_SUBNET: 10.2.0.0/16"]);
        let networks: Vec<_> = reply.networks().map(|network| network.to_string()).collect();
        assert_eq!(networks, ["10.2.0.0/16", "10.4.0.0/16", "10.5.0.0/24"]);
        assert_eq!(reply.attributes[7].octets().len(), 28);
    }

    #[test]
    fn nothing_shows_what_may_be_a_password() {
        for kind in [16522, 16523, 16525, 16528, 16529, 16530, 999] {
            let attribute = TransactionAttribute::long(TransactionAttributeType(kind), b"hunter2".to_vec());
            for shown in [
                format!("{attribute}"),
                format!("{attribute:?}"),
                format!("{:?}", Payload::Attributes(Attributes { attributes: vec![attribute.clone()], ..read(&[2, 0, 0, 0]).unwrap() })),
            ] {
                assert!(shown.contains("7 octets") && !shown.contains("hunter2") && !shown.contains("68756e"), "{shown}");
            }
        }
        let name = TransactionAttribute::long(Type::XAUTH_USER_NAME, b"alice\n".to_vec());
        assert_eq!(format!("{name:?}"), "XAUTH-USER-NAME = alice\\n");
    }
}
