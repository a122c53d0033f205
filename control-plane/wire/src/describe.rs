//! Messages for the eyes: one line in strongSwan's short notation, and every field by name and value.
//!
//! What a trace may not show is not printed here: of AUTH, EAP, configuration and certificates only the length. Public values, nonces and
//! cookies travel in the clear and are shown.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::{
    Attribute, AttributeValue, Delete, Flags, Header, KeyExchange, Notify, NotifyType, Payload, PayloadType, Proposal, Protocol, Sa,
    Transform, TransformType,
};

/// One field of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// How deep it is nested: 0 for payloads, 1 for their fields, and so on.
    pub depth: usize,
    /// Its name.
    pub name: &'static str,
    /// Its value as text.
    pub value: String,
}

/// The message in one line: `IKE_SA_INIT request 0 [ SA KE No N(NATD_S_IP) N(NATD_D_IP) ]`. For a protected message, hand in what was
/// in its Encrypted payload.
pub fn message(header: &Header, payloads: &[Payload]) -> String {
    let direction = if header.flags.response { "response" } else { "request" };
    format!("{} {direction} {} [ {}]", header.exchange, header.message_id, Spaced(payloads))
}

/// One payload in one word, such as `SA`, `N(COOKIE)` or `CP`.
pub fn short_name(payload: &Payload) -> String {
    match payload {
        Payload::Notify(notify) => format!("N({})", short_notify_name(notify.kind)),
        Payload::Nonce(_) => "No".to_string(),
        other => other.payload_type().to_string(),
    }
}

/// A payload's fields, itself first.
pub fn fields(payload: &Payload) -> Vec<Field> {
    let mut fields = Fields::default();
    fields.add(0, "payload", short_name(payload));
    match payload {
        Payload::Sa(sa) => fields.sa(sa),
        Payload::KeyExchange(ke) => fields.key_exchange(ke),
        Payload::IdInitiator(id) | Payload::IdResponder(id) => {
            fields.add(1, "type", id.id_type);
            match id.identity() {
                Ok(identity) => fields.add(1, "identity", identity),
                Err(_) => fields.add(1, "data", Hex(&id.data)),
            }
        }
        Payload::Cert(certificate) => {
            fields.add(1, "encoding", certificate.encoding);
            fields.octets("data", &certificate.data);
        }
        Payload::CertReq(request) => {
            fields.add(1, "encoding", request.encoding);
            fields.octets("authorities", &request.authority);
        }
        Payload::Auth(auth) => {
            fields.add(1, "method", auth.method);
            fields.octets("data", &auth.data);
        }
        Payload::Nonce(nonce) => fields.add(1, "data", Hex(nonce.octets())),
        Payload::Notify(notify) => fields.notify(notify),
        Payload::Delete(Delete::IkeSa) => fields.add(1, "protocol", Protocol::IKE),
        Payload::Delete(Delete::ChildSas { protocol, spis }) => {
            fields.add(1, "protocol", protocol);
            spis.iter().for_each(|spi| fields.add(1, "SPI", format_args!("{spi:08x}")));
        }
        Payload::VendorId(octets) => fields.add(1, "data", Hex(octets)),
        Payload::TsInitiator(selectors) | Payload::TsResponder(selectors) => {
            selectors.selectors.iter().for_each(|selector| fields.add(1, "selector", selector));
        }
        Payload::Encrypted(encrypted) => {
            fields.add(1, "first payload", encrypted.first);
            fields.octets("data", &encrypted.body);
        }
        Payload::Configuration(octets) | Payload::Eap(octets) => fields.octets("data", octets),
        Payload::Unknown(unknown) => {
            fields.add(1, "critical", unknown.critical);
            fields.octets("data", &unknown.body);
        }
    }
    fields.0
}

#[derive(Default)]
struct Fields(Vec<Field>);

impl Fields {
    fn add(&mut self, depth: usize, name: &'static str, value: impl fmt::Display) {
        self.0.push(Field { depth, name, value: value.to_string() });
    }

    /// A field of which only the length is shown.
    fn octets(&mut self, name: &'static str, octets: &[u8]) {
        self.add(1, name, format_args!("{} octets", octets.len()));
    }

    fn sa(&mut self, sa: &Sa) {
        for Proposal { number, protocol, spi, transforms } in &sa.proposals {
            self.add(1, "proposal", number);
            self.add(2, "protocol", protocol);
            if !spi.is_empty() {
                self.add(2, "SPI", Hex(spi));
            }
            transforms.iter().for_each(|transform| self.transform(transform));
        }
    }

    fn transform(&mut self, transform: &Transform) {
        self.add(2, "transform", transform);
        self.add(3, "type", transform.kind);
        self.add(3, "ID", transform.id);
        for attribute in &transform.attributes {
            match (attribute.kind, &attribute.value) {
                (Attribute::KEY_LENGTH, AttributeValue::Short(bits)) => self.add(3, "key length", bits),
                (kind, AttributeValue::Short(value)) => self.add(3, "attribute", format_args!("{kind} = {value}")),
                (kind, AttributeValue::Long(octets)) => self.add(3, "attribute", format_args!("{kind} = {}", Hex(octets))),
            }
        }
    }

    fn key_exchange(&mut self, ke: &KeyExchange) {
        self.add(1, "method", Transform::new(TransformType::KE, ke.method_id, None));
        self.add(1, "data", Hex(&ke.data));
    }

    fn notify(&mut self, notify: &Notify) {
        self.add(1, "type", notify.kind);
        if notify.protocol != Protocol::NONE {
            self.add(1, "protocol", notify.protocol);
        }
        if !notify.spi.is_empty() {
            self.add(1, "SPI", Hex(&notify.spi));
        }
        if !notify.data.is_empty() {
            self.add(1, "data", notify_data(notify));
        }
    }
}

/// Notification Data in the form its type gives it; where that is unknown or not for every eye, the length.
fn notify_data(notify: &Notify) -> String {
    match (notify.kind, &notify.data[..]) {
        (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [payload_type]) => PayloadType(*payload_type).to_string(),
        (NotifyType::INVALID_KE_PAYLOAD, [high, low]) => {
            Transform::new(TransformType::KE, u16::from_be_bytes([*high, *low]), None).to_string()
        }
        (NotifyType::SET_WINDOW_SIZE | NotifyType::AUTH_LIFETIME, [a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]).to_string(),
        (NotifyType::ADDITIONAL_IP4_ADDRESS, [a, b, c, d]) => core::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        (
            NotifyType::NAT_DETECTION_SOURCE_IP
            | NotifyType::NAT_DETECTION_DESTINATION_IP
            | NotifyType::COOKIE
            | NotifyType::COOKIE2
            | NotifyType::INVALID_MESSAGE_ID
            | NotifyType::INVALID_SPI
            | NotifyType::SIGNATURE_HASH_ALGORITHMS
            | NotifyType::SA_RESOURCE_INFO,
            data,
        ) => Hex(data).to_string(),
        (_, data) => format!("{} octets", data.len()),
    }
}

/// The words strongSwan's log has for notifications, so that two logs lie side by side.
fn short_notify_name(kind: NotifyType) -> String {
    let name = match kind {
        NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD => "CRIT",
        NotifyType::INVALID_IKE_SPI => "INVAL_IKE_SPI",
        NotifyType::INVALID_MAJOR_VERSION => "INVAL_MAJOR",
        NotifyType::INVALID_SYNTAX => "INVAL_SYN",
        NotifyType::INVALID_MESSAGE_ID => "INVAL_MID",
        NotifyType::INVALID_SPI => "INVAL_SPI",
        NotifyType::NO_PROPOSAL_CHOSEN => "NO_PROP",
        NotifyType::INVALID_KE_PAYLOAD => "INVAL_KE",
        NotifyType::AUTHENTICATION_FAILED => "AUTH_FAILED",
        NotifyType::SINGLE_PAIR_REQUIRED => "SINGLE_PAIR",
        NotifyType::NO_ADDITIONAL_SAS => "NO_ADD_SAS",
        NotifyType::INTERNAL_ADDRESS_FAILURE => "INT_ADDR_FAIL",
        NotifyType::FAILED_CP_REQUIRED => "FAIL_CP_REQ",
        NotifyType::TS_UNACCEPTABLE => "TS_UNACCEPT",
        NotifyType::INVALID_SELECTORS => "INVAL_SEL",
        NotifyType::UNACCEPTABLE_ADDRESSES => "UNACC_ADDR",
        NotifyType::UNEXPECTED_NAT_DETECTED => "UNEXP_NAT",
        NotifyType::TEMPORARY_FAILURE => "TEMP_FAIL",
        NotifyType::CHILD_SA_NOT_FOUND => "NO_CHILD_SA",
        NotifyType::INITIAL_CONTACT => "INIT_CONTACT",
        NotifyType::SET_WINDOW_SIZE => "SET_WINSIZE",
        NotifyType::ADDITIONAL_TS_POSSIBLE => "ADD_TS_POSS",
        NotifyType::IPCOMP_SUPPORTED => "IPCOMP_SUPP",
        NotifyType::NAT_DETECTION_SOURCE_IP => "NATD_S_IP",
        NotifyType::NAT_DETECTION_DESTINATION_IP => "NATD_D_IP",
        NotifyType::USE_TRANSPORT_MODE => "USE_TRANSP",
        NotifyType::HTTP_CERT_LOOKUP_SUPPORTED => "HTTP_CERT_LOOK",
        NotifyType::ESP_TFC_PADDING_NOT_SUPPORTED => "ESP_TFC_PAD_N",
        NotifyType::NON_FIRST_FRAGMENTS_ALSO => "NON_FIRST_FRAG",
        NotifyType::MOBIKE_SUPPORTED => "MOBIKE_SUP",
        NotifyType::ADDITIONAL_IP4_ADDRESS => "ADD_4_ADDR",
        NotifyType::ADDITIONAL_IP6_ADDRESS => "ADD_6_ADDR",
        NotifyType::NO_ADDITIONAL_ADDRESSES => "NO_ADD_ADDR",
        NotifyType::UPDATE_SA_ADDRESSES => "UPD_SA_ADDR",
        NotifyType::NO_NATS_ALLOWED => "NO_NATS",
        NotifyType::AUTH_LIFETIME => "AUTH_LFT",
        NotifyType::MULTIPLE_AUTH_SUPPORTED => "MULT_AUTH",
        NotifyType::ANOTHER_AUTH_FOLLOWS => "AUTH_FOLLOWS",
        NotifyType::REDIRECT_SUPPORTED => "REDIR_SUP",
        NotifyType::REDIRECT => "REDIR",
        NotifyType::REDIRECTED_FROM => "REDIR_FROM",
        NotifyType::EAP_ONLY_AUTHENTICATION => "EAP_ONLY",
        NotifyType::CHILDLESS_IKEV2_SUPPORTED => "CHDLESS_SUP",
        NotifyType::IKEV2_MESSAGE_ID_SYNC_SUPPORTED => "MSG_ID_SYN_SUP",
        NotifyType::IKEV2_FRAGMENTATION_SUPPORTED => "FRAG_SUP",
        NotifyType::SIGNATURE_HASH_ALGORITHMS => "HASH_ALG",
        other => return other.to_string(),
    };
    name.to_string()
}

/// Short names, a space behind each.
struct Spaced<'a>(&'a [Payload]);

impl fmt::Display for Spaced<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|payload| write!(f, "{} ", short_name(payload)))
    }
}

struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

/// The names of the set bits, as in `initiator response`.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bits = [(self.initiator, "initiator"), (self.response, "response"), (self.version, "version")];
        let mut separator = "";
        for (_, name) in bits.iter().filter(|(set, _)| *set) {
            f.write_str(separator)?;
            f.write_str(name)?;
            separator = " ";
        }
        if separator.is_empty() { f.write_char('-') } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Auth, AuthMethod, ExchangeType, Nonce, Version};

    #[test]
    fn a_message_reads_as_in_strongswan_logs() {
        let flags = Flags { initiator: true, ..Flags::default() };
        let exchange = ExchangeType::IKE_SA_INIT;
        let header = Header { initiator_spi: 1, responder_spi: 0, version: Version::V2, exchange, flags, message_id: 0 };
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
    fn proofs_are_measured_not_shown() {
        let auth = Payload::Auth(Auth { method: AuthMethod::SHARED_KEY, data: vec![0xa5; 32] });
        let text: Vec<_> = fields(&auth).into_iter().map(|field| format!("{} {}", field.name, field.value)).collect();
        assert_eq!(text, ["payload AUTH", "method shared key message integrity code", "data 32 octets"]);
    }

    #[test]
    fn transforms_are_shown_to_the_last_attribute() {
        let known = Transform::new(TransformType::ENCR, 20, Some(256));
        let odd = Attribute { kind: 99, value: AttributeValue::Long(vec![0xfe]) };
        let unknown = Transform { kind: TransformType(42), id: 7, attributes: vec![odd] };
        let proposal = Proposal { number: 1, protocol: Protocol::ESP, spi: vec![0xc0, 0, 0, 1], transforms: vec![known, unknown] };
        let fields = fields(&Payload::Sa(Sa { proposals: vec![proposal] }));
        let text: Vec<_> = fields.iter().map(|field| format!("{}{} {}", "  ".repeat(field.depth), field.name, field.value)).collect();
        assert_eq!(
            text,
            [
                "payload SA",
                "  proposal 1",
                "    protocol ESP",
                "    SPI c0000001",
                "    transform AES_GCM_16_256",
                "      type ENCR",
                "      ID 20",
                "      key length 256",
                "    transform 42 7 with 1 attributes",
                "      type 42",
                "      ID 7",
                "      attribute 99 = fe",
            ]
        );
    }

    #[test]
    fn notifications_show_what_their_type_means() {
        let data = |kind, data: &[u8]| notify_data(&Notify::new(kind, data.to_vec()));
        assert_eq!(data(NotifyType::INVALID_KE_PAYLOAD, &[0, 19]), "ECP_256");
        assert_eq!(data(NotifyType::INVALID_KE_PAYLOAD, &[0]), "1 octets");
        assert_eq!(data(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, &[53]), "SKF");
        assert_eq!(data(NotifyType::TICKET_OPAQUE, &[1, 2, 3]), "3 octets");
    }
}
