//! Messages for the eyes, as for IKEv2. Everything that travels is shown, but of what may hold a password the length alone.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::payload::sa::DOI_IPSEC;
use super::{
    AttributeType, Attributes, Header, Identification, LifeType, NotifyType, OakleyAttribute, Payload, PayloadType, Proposal, Protocol, Sa,
    Transform, parse_attributes,
};
use crate::describe::{Fields, Hex, numbered};
use crate::{Attribute, AttributeValue};

pub use crate::describe::Field;

/// What a message is: `Main Mode`, or with its Message ID `Quick Mode 5f0c1d2e`.
pub fn title(header: &Header) -> String {
    match header.message_id {
        0 => header.exchange.to_string(),
        id => format!("{} {id:08x}", header.exchange),
    }
}

/// The message in one line: `Quick Mode 5f0c1d2e [ HASH SA No ID ID ]`. For an encrypted message, hand in what was in it.
pub fn message(header: &Header, payloads: &[Payload]) -> String {
    let names: String = payloads.iter().map(|payload| format!("{} ", short_name(payload))).collect();
    format!("{} [ {names}]", title(header))
}

/// One payload in one word, such as `SA` or `N(INITIAL-CONTACT)`.
pub fn short_name(payload: &Payload) -> String {
    match payload {
        Payload::Notify(notify) => format!("N({})", notify.kind),
        Payload::Fragment(fragment) => format!("FRAG({}{})", fragment.number, if fragment.last { ", last" } else { "" }),
        Payload::Attributes(attributes) => format!("{}({})", payload.payload_type(), attributes.kind),
        other => other.payload_type().to_string(),
    }
}

/// The fields of a header. `next` is the type of the first payload behind it, `length` the octets of the whole message.
pub fn header(header: &Header, next: PayloadType, length: usize) -> Vec<Field> {
    let mut fields = Fields::default();
    fields.add(0, "Initiator Cookie", format_args!("{:016x}", header.initiator_cookie));
    fields.add(0, "Responder Cookie", format_args!("{:016x}", header.responder_cookie));
    fields.add(0, "Next Payload", numbered(next, next.0));
    fields.add(0, "Version", format_args!("1.{}", header.minor));
    fields.add(0, "Exchange Type", numbered(header.exchange, header.exchange.0));
    let flags = [
        (header.flags.encryption, "encryption"),
        (header.flags.commit, "commit"),
        (header.flags.authentication_only, "authentication only"),
    ];
    let names: Vec<&str> = flags.iter().filter(|(set, _)| *set).map(|(_, name)| *name).collect();
    let names = if names.is_empty() { "-".to_string() } else { names.join(", ") };
    fields.add(0, "Flags", format_args!("{names} (0x{:02x})", header.flags.octet()));
    fields.add(0, "Message ID", format_args!("{:08x}", header.message_id));
    fields.add(0, "Length", format_args!("{length} octets"));
    fields.0
}

/// A payload's fields, itself first. `next` is the type of the payload behind it.
pub fn fields(payload: &Payload, next: PayloadType) -> Vec<Field> {
    let mut fields = Fields::default();
    fields.add(0, "payload", short_name(payload));
    fields.add(1, "Next Payload", numbered(next, next.0));
    if let Some(length) = payload.length() {
        fields.add(1, "Payload Length", format_args!("{length} octets"));
    }
    body(&mut fields, payload);
    fields.0
}

fn body(fields: &mut Fields, payload: &Payload) {
    match payload {
        Payload::Sa(offer) => sa(fields, offer),
        Payload::KeyExchange(octets) => fields.add(1, "Key Exchange Data", Hex(octets)),
        Payload::Identification(id) => identification(fields, id),
        Payload::Cert(certificate) => {
            fields.add(1, "Cert Encoding", numbered(certificate.encoding, certificate.encoding.0));
            fields.add(1, "Certificate Data", Hex(&certificate.data));
        }
        Payload::CertReq(request) => {
            fields.add(1, "Cert Encoding", numbered(request.encoding, request.encoding.0));
            fields.add(1, "Certificate Authority", Hex(&request.data));
        }
        Payload::Hash(octets) => fields.add(1, "Hash Data", Hex(octets)),
        Payload::Signature(octets) => fields.add(1, "Signature Data", Hex(octets)),
        Payload::Nonce(octets) => fields.add(1, "Nonce Data", Hex(octets)),
        Payload::Notify(notify) => {
            doi(fields, notify.doi);
            fields.add(1, "Protocol-ID", numbered(notify.protocol, notify.protocol.0));
            fields.add(1, "SPI Size", notify.spi.len());
            fields.add(1, "Notify Message Type", numbered(notify.kind, notify.kind.0));
            octets_if_any(fields, "SPI", &notify.spi);
            match parse_attributes(&notify.data) {
                Ok(attributes) if notify.kind == NotifyType::RESPONDER_LIFETIME => {
                    let of_none = Transform { number: 0, id: 0, attributes: Vec::new() };
                    attributes.iter().for_each(|attribute| self::attribute(fields, notify.protocol, &of_none, attribute));
                }
                _ => octets_if_any(fields, "Notification Data", &notify.data),
            }
        }
        Payload::Delete(delete) => {
            doi(fields, delete.doi);
            fields.add(1, "Protocol-ID", numbered(delete.protocol, delete.protocol.0));
            fields.add(1, "# of SPIs", delete.spis.len());
            delete.spis.iter().for_each(|spi| fields.add(1, "SPI", Hex(spi)));
        }
        Payload::VendorId(octets) => {
            fields.add(1, "Vendor ID", Hex(octets));
            if let Some(name) = vendor(octets) {
                fields.add(1, "Known As", name);
            }
        }
        Payload::NatDetection(_, octets) => fields.add(1, "HASH of the address and port", Hex(octets)),
        Payload::NatOriginalAddress(address) => fields.add(1, "Original Address", address.address),
        Payload::Fragment(fragment) => {
            fields.add(1, "Fragment ID", fragment.id);
            fields.add(1, "Fragment Number", fragment.number);
            fields.add(1, "Last Fragment", if fragment.last { "yes" } else { "no" });
            fields.add(1, "Fragment Data", format_args!("{} octets", fragment.data.len()));
        }
        Payload::Attributes(attributes) => transaction(fields, attributes),
        Payload::Unknown(_, octets) => fields.add(1, "Body", Hex(octets)),
    }
}

fn transaction(fields: &mut Fields, transaction: &Attributes) {
    fields.add(1, "Type", numbered(transaction.kind, transaction.kind.0));
    fields.add(1, "Identifier", transaction.identifier);
    for attribute in &transaction.attributes {
        fields.add(1, "Attribute", numbered(attribute.kind, attribute.kind.0));
        fields.add(2, "Value", attribute);
    }
}

fn doi(fields: &mut Fields, doi: u32) {
    let name = match doi {
        0 => "ISAKMP",
        DOI_IPSEC => "IPsec",
        _ => "unknown",
    };
    fields.add(1, "DOI", numbered(name, doi));
}

fn octets_if_any(fields: &mut Fields, name: &'static str, octets: &[u8]) {
    if !octets.is_empty() {
        fields.add(1, name, Hex(octets));
    }
}

fn identification(fields: &mut Fields, id: &Identification) {
    let name = match id.id_type {
        1 => "ID_IPV4_ADDR",
        2 => "ID_FQDN",
        3 => "ID_USER_FQDN",
        4 => "ID_IPV4_ADDR_SUBNET",
        5 => "ID_IPV6_ADDR",
        6 => "ID_IPV6_ADDR_SUBNET",
        7 => "ID_IPV4_ADDR_RANGE",
        8 => "ID_IPV6_ADDR_RANGE",
        9 => "ID_DER_ASN1_DN",
        10 => "ID_DER_ASN1_GN",
        11 => "ID_KEY_ID",
        _ => "unknown",
    };
    fields.add(1, "ID Type", numbered(name, id.id_type));
    fields.add(1, "Protocol ID", id.protocol);
    fields.add(1, "Port", id.port);
    match (id.identity(), id.selector()) {
        (Ok(identity), _) => fields.add(1, "Identity", identity),
        (Err(_), Some(selector)) => fields.add(1, "Traffic", selector),
        (Err(_), None) => {}
    }
    fields.add(1, "Identification Data", Hex(&id.data));
}

fn sa(fields: &mut Fields, sa: &Sa) {
    doi(fields, DOI_IPSEC);
    for Proposal { number, protocol, spi, transforms } in &sa.proposals {
        fields.add(1, "Proposal #", number);
        fields.add(2, "Protocol-Id", numbered(protocol, protocol.0));
        fields.add(2, "SPI Size", spi.len());
        if !spi.is_empty() {
            fields.add(2, "SPI", Hex(spi));
        }
        fields.add(2, "# of Transforms", transforms.len());
        for transform in transforms {
            fields.add(2, "Transform #", transform.number);
            fields.add(3, "Transform-Id", numbered(transform_name(*protocol, transform.id), transform.id));
            transform.attributes.iter().for_each(|attribute| self::attribute(fields, *protocol, transform, attribute));
        }
    }
}

fn attribute(fields: &mut Fields, protocol: Protocol, transform: &Transform, attribute: &Attribute) {
    let kind = if protocol == Protocol::ISAKMP {
        numbered(OakleyAttribute(attribute.kind), attribute.kind)
    } else {
        numbered(AttributeType(attribute.kind), attribute.kind)
    };
    let value = match &attribute.value {
        AttributeValue::Short(value) => {
            let name = if protocol == Protocol::ISAKMP {
                oakley_value(attribute.kind, *value)
            } else {
                value_name(transform, protocol, attribute.kind, *value)
            };
            name.map_or_else(|| value.to_string(), |name| numbered(name, value))
        }
        AttributeValue::Long(octets) if octets.len() <= 8 => octets.iter().fold(0_u64, |n, octet| n << 8 | u64::from(*octet)).to_string(),
        AttributeValue::Long(octets) => Hex(octets).to_string(),
    };
    fields.add(3, "Attribute", format_args!("{kind} = {value}"));
}

/// RFC 2407 sections 4.4.3 and 4.4.4 and the registry after them.
const fn transform_name(protocol: Protocol, id: u8) -> &'static str {
    match (protocol, id) {
        (Protocol::ISAKMP, 1) => "KEY_IKE",
        (Protocol::AH, 2) => "AH_MD5",
        (Protocol::AH, 3) => "AH_SHA",
        (Protocol::AH, 5) => "AH_SHA2-256",
        (Protocol::AH, 6) => "AH_SHA2-384",
        (Protocol::AH, 7) => "AH_SHA2-512",
        (Protocol::AH, 9) => "AH_AES-XCBC-MAC",
        (Protocol::ESP, 2) => "ESP_DES",
        (Protocol::ESP, 3) => "ESP_3DES",
        (Protocol::ESP, 11) => "ESP_NULL",
        (Protocol::ESP, 12) => "ESP_AES-CBC",
        (Protocol::ESP, 13) => "ESP_AES-CTR",
        (Protocol::ESP, 14) => "ESP_AES-CCM_8",
        (Protocol::ESP, 15) => "ESP_AES-CCM_12",
        (Protocol::ESP, 16) => "ESP_AES-CCM_16",
        (Protocol::ESP, 18) => "ESP_AES-GCM_8",
        (Protocol::ESP, 19) => "ESP_AES-GCM_12",
        (Protocol::ESP, 20) => "ESP_AES-GCM_16",
        (Protocol::ESP, 23) => "ESP_NULL_AUTH_AES-GMAC",
        _ => "unknown",
    }
}

/// RFC 2409 appendix A and the registry after it.
fn oakley_value(kind: u16, value: u16) -> Option<&'static str> {
    Some(match (OakleyAttribute(kind), value) {
        (OakleyAttribute::ENCRYPTION, 1) => "DES-CBC",
        (OakleyAttribute::ENCRYPTION, 5) => "3DES-CBC",
        (OakleyAttribute::ENCRYPTION, 7) => "AES-CBC",
        (OakleyAttribute::HASH, 1) => "MD5",
        (OakleyAttribute::HASH, 2) => "SHA",
        (OakleyAttribute::HASH, 4) => "SHA2-256",
        (OakleyAttribute::HASH, 5) => "SHA2-384",
        (OakleyAttribute::HASH, 6) => "SHA2-512",
        (OakleyAttribute::AUTHENTICATION_METHOD, 1) => "pre-shared key",
        (OakleyAttribute::AUTHENTICATION_METHOD, 3) => "RSA signatures",
        (OakleyAttribute::AUTHENTICATION_METHOD, 9) => "ECDSA with SHA-256 on the P-256 curve",
        (OakleyAttribute::AUTHENTICATION_METHOD, 10) => "ECDSA with SHA-384 on the P-384 curve",
        (OakleyAttribute::AUTHENTICATION_METHOD, 11) => "ECDSA with SHA-512 on the P-521 curve",
        (OakleyAttribute::AUTHENTICATION_METHOD, 64221) => "HybridInitRSA",
        (OakleyAttribute::AUTHENTICATION_METHOD, 65001) => "XAUTHInitPreShared",
        (OakleyAttribute::AUTHENTICATION_METHOD, 65005) => "XAUTHInitRSA",
        (OakleyAttribute::GROUP, value) => return group(value),
        (OakleyAttribute::LIFE_TYPE, value) => return LifeType(value).name(),
        _ => return None,
    })
}

fn value_name(transform: &Transform, protocol: Protocol, kind: u16, value: u16) -> Option<&'static str> {
    let gmac = protocol == Protocol::ESP && transform.id == 23;
    Some(match (AttributeType(kind), value) {
        (AttributeType::ENCAPSULATION_MODE, 1) => "Tunnel",
        (AttributeType::ENCAPSULATION_MODE, 2) => "Transport",
        (AttributeType::ENCAPSULATION_MODE, 3) => "UDP-Encapsulated-Tunnel",
        (AttributeType::ENCAPSULATION_MODE, 4) => "UDP-Encapsulated-Transport",
        (AttributeType::ENCAPSULATION_MODE, 61443) => "UDP-Encapsulated-Tunnel (draft)",
        (AttributeType::ENCAPSULATION_MODE, 61444) => "UDP-Encapsulated-Transport (draft)",
        (AttributeType::AUTHENTICATION, 1) => "HMAC-MD5",
        (AttributeType::AUTHENTICATION, 2) => "HMAC-SHA",
        (AttributeType::AUTHENTICATION, 5) => "HMAC-SHA2-256",
        (AttributeType::AUTHENTICATION, 6) => "HMAC-SHA2-384",
        (AttributeType::AUTHENTICATION, 7) => "HMAC-SHA2-512",
        (AttributeType::AUTHENTICATION, 9) => "AES-XCBC-MAC",
        (AttributeType::AUTHENTICATION, 11..=13) if gmac => "AES-GMAC",
        (AttributeType::GROUP, value) => return group(value),
        (AttributeType::LIFE_TYPE, value) => return LifeType(value).name(),
        _ => return None,
    })
}

const fn group(value: u16) -> Option<&'static str> {
    Some(match value {
        1 => "MODP_768",
        2 => "MODP_1024",
        5 => "MODP_1536",
        14 => "MODP_2048",
        15 => "MODP_3072",
        16 => "MODP_4096",
        19 => "ECP_256",
        20 => "ECP_384",
        21 => "ECP_521",
        31 => "CURVE_25519",
        _ => return None,
    })
}

/// What a vendor means with its octets, where somebody has said it.
fn vendor(octets: &[u8]) -> Option<&'static str> {
    const KNOWN: &[(u128, &str)] = &[
        (0x4a13_1c81_0703_5845_5c57_28f2_0e95_452f, "RFC 3947, NAT traversal"),
        (0x90cb_8091_3ebb_696e_0863_81b5_ec42_7b1f, "draft-ietf-ipsec-nat-t-ike-02"),
        (0xcd60_4643_35df_21f8_7cfd_b2fc_68b6_a448, "draft-ietf-ipsec-nat-t-ike-02"),
        (0x7d94_19a6_5310_ca6f_2c17_9d92_1552_9d56, "draft-ietf-ipsec-nat-t-ike-03"),
        (0xafca_d713_68a1_f1c9_6b86_96fc_7757_0100, "RFC 3706, Dead Peer Detection"),
        (0x12f5_f28c_4571_68a9_702d_9fe2_74cc_0100, "Cisco Unity"),
        (0x4048_b7d5_6ebc_e885_25e7_de7f_00d6_c2d3, "IKE fragmentation"),
    ];
    if octets == [0x09, 0x00, 0x26, 0x89, 0xdf, 0xd6, 0xb7, 0x12] {
        return Some("XAuth");
    }
    let first = u128::from_be_bytes(*octets.first_chunk::<16>()?);
    KNOWN.iter().find(|(id, _)| *id == first).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::v1::{ConfigurationType, TransactionAttribute, TransactionAttributeType};
    use crate::v1::{ExchangeType, Flags, Notify, NotifyType};

    fn value(fields: &[Field], name: &str) -> Vec<String> {
        fields.iter().filter(|field| field.name == name).map(|field| field.value.clone()).collect()
    }

    #[test]
    fn a_line_names_exchange_message_id_and_payloads() {
        let header = Header::new(1, 2, ExchangeType::QUICK_MODE, Flags::default(), 0x5f0c_1d2e);
        let notify = Payload::Notify(Notify::new(Protocol::ISAKMP, vec![0; 16], NotifyType::R_U_THERE, vec![0; 4]));
        assert_eq!(message(&header, &[Payload::Hash(vec![1; 20]), notify]), "Quick Mode 5f0c1d2e [ HASH N(R-U-THERE) ]");
        assert_eq!(title(&Header { message_id: 0, exchange: ExchangeType::MAIN_MODE, ..header }), "Main Mode");
        assert_eq!(title(&Header { message_id: 0, exchange: ExchangeType(99), ..header }), "99");
    }

    #[test]
    fn attributes_have_the_names_of_their_phase() {
        let short = |kind, value| Attribute { kind, value: AttributeValue::Short(value) };
        let show = |protocol, id, attributes| {
            let transforms = vec![Transform { number: 1, id, attributes }];
            let sa = Payload::Sa(Sa { proposals: vec![Proposal { number: 1, protocol, spi: vec![], transforms }] });
            value(&fields(&sa, PayloadType::NONE), "Attribute")
        };
        let phase_1 = show(Protocol::ISAKMP, 1, vec![short(1, 7), short(14, 128), short(2, 4), short(4, 14), short(3, 1), short(11, 1)]);
        assert_eq!(
            phase_1,
            [
                "Encryption Algorithm (1) = AES-CBC (7)",
                "Key Length (14) = 128",
                "Hash Algorithm (2) = SHA2-256 (4)",
                "Group Description (4) = MODP_2048 (14)",
                "Authentication Method (3) = pre-shared key (1)",
                "Life Type (11) = seconds (1)",
            ]
        );
        let long = Attribute { kind: 2, value: AttributeValue::Long(vec![0, 0, 0x70, 0x80]) };
        let phase_2 = show(Protocol::ESP, 12, vec![short(4, 3), short(5, 5), short(99, 7), long]);
        assert_eq!(
            phase_2,
            [
                "Encapsulation Mode (4) = UDP-Encapsulated-Tunnel (3)",
                "Authentication Algorithm (5) = HMAC-SHA2-256 (5)",
                "99 = 7",
                "SA Life Duration (2) = 28800"
            ]
        );
    }

    #[test]
    fn attributes_of_a_transaction_have_names_and_passwords_are_not_shown() {
        let attributes = vec![
            TransactionAttribute::long(TransactionAttributeType::XAUTH_USER_NAME, b"alice".to_vec()),
            TransactionAttribute::long(TransactionAttributeType::XAUTH_USER_PASSWORD, b"hunter2".to_vec()),
            TransactionAttribute::short(TransactionAttributeType::XAUTH_STATUS, 1),
        ];
        let reply = Payload::Attributes(Attributes { kind: ConfigurationType::REPLY, identifier: 7, attributes });
        assert_eq!(short_name(&reply), "CP(CFG_REPLY)");
        let shown = fields(&reply, PayloadType::NONE);
        assert_eq!(value(&shown, "Value"), ["alice", "7 octets", "1"]);
        assert_eq!(value(&shown, "Attribute")[1], "XAUTH-USER-PASSWORD (16522)");
        assert!(!shown.iter().any(|field| field.value.contains("hunter2") || field.value.contains("68756e746572")));
    }

    #[test]
    fn vendors_are_known_by_their_first_octets() {
        assert_eq!(vendor(&[0x09, 0x00, 0x26, 0x89, 0xdf, 0xd6, 0xb7, 0x12]), Some("XAuth"));
        let mut fragmentation = 0x4048_b7d5_6ebc_e885_25e7_de7f_00d6_c2d3_u128.to_be_bytes().to_vec();
        fragmentation.extend([0x80, 0, 0, 0]);
        assert_eq!(vendor(&fragmentation), Some("IKE fragmentation"));
        assert_eq!((vendor(&[0x12]), vendor(&[0; 16])), (None, None));
    }
}
