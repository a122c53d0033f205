//! Messages for the eyes: one line in strongSwan's short notation, and every field by name and value.
//!
//! What a trace may not show is not printed here: of EAP packets, which may hold passwords, and of session tickets only the length.
//! Everything else that travels is shown; keys and shared secrets never do.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::{self, Write};

use crate::{
    Attribute, AttributeValue, Configuration, Delete, EapPacket, EapTlsData, EapType, Flags, Header, Identification, Notify, NotifyType,
    Payload, PayloadType, PpkIdType, Proposal, Protocol, Redirect, Sa, Selector, Transform, TransformType,
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
        Payload::Fragment(fragment) => format!("SKF({}/{})", fragment.number.number(), fragment.number.total()),
        other => other.payload_type().to_string(),
    }
}

/// The fields of a header. `next` is the type of the first payload behind it, `length` the octets of the whole message.
pub fn header(header: &Header, next: PayloadType, length: usize) -> Vec<Field> {
    let mut fields = Fields::default();
    fields.add(0, "IKE SA Initiator's SPI", format_args!("{:016x}", header.initiator_spi));
    fields.add(0, "IKE SA Responder's SPI", format_args!("{:016x}", header.responder_spi));
    fields.add(0, "Next Payload", numbered(next, next.0));
    fields.add(0, "Version", format_args!("{}.{}", header.version.major, header.version.minor));
    fields.add(0, "Exchange Type", numbered(header.exchange, header.exchange.0));
    fields.add(0, "Flags", format_args!("{} (0x{:02x})", header.flags, header.flags.octet()));
    fields.add(0, "Message ID", header.message_id);
    fields.add(0, "Length", format_args!("{length} octets"));
    fields.0
}

/// A payload's fields, itself first. `next` is the type of the payload behind it.
pub fn fields(payload: &Payload, next: PayloadType) -> Vec<Field> {
    let mut fields = Fields::default();
    fields.add(0, "payload", short_name(payload));
    fields.add(1, "Next Payload", numbered(next, next.0));
    fields.add(1, "Critical", if matches!(payload, Payload::Unknown(unknown) if unknown.critical) { 1 } else { 0 });
    if let Some(length) = payload.length() {
        fields.add(1, "Payload Length", format_args!("{length} octets"));
    }
    fields.body(payload);
    fields.0
}

/// Whether a payload's fields show all that is in it: of what may be secret, and of what is sealed, they do not.
pub const fn shows_all(payload: &Payload) -> bool {
    match payload {
        Payload::Eap(_) | Payload::Encrypted(_) | Payload::Fragment(_) => false,
        Payload::Notify(notify) => !matches!(notify.kind, NotifyType::TICKET_LT_OPAQUE | NotifyType::TICKET_OPAQUE),
        _ => true,
    }
}

#[derive(Default)]
pub(crate) struct Fields(pub(crate) Vec<Field>);

impl Fields {
    pub(crate) fn add(&mut self, depth: usize, name: &'static str, value: impl fmt::Display) {
        self.0.push(Field { depth, name, value: value.to_string() });
    }

    /// A field of which only the length is shown.
    fn octets(&mut self, name: &'static str, octets: &[u8]) {
        self.add(1, name, format_args!("{} octets", octets.len()));
    }

    fn body(&mut self, payload: &Payload) {
        match payload {
            Payload::Sa(sa) => self.sa(sa),
            Payload::KeyExchange(ke) => {
                self.add(1, "Key Exchange Method", numbered(Transform::new(TransformType::KE, ke.method_id, None), ke.method_id));
                self.add(1, "Key Exchange Data", Hex(&ke.data));
            }
            Payload::IdInitiator(id) | Payload::IdResponder(id) => self.identification(id),
            Payload::Cert(certificate) => {
                self.add(1, "Cert Encoding", numbered(certificate.encoding, certificate.encoding.0));
                self.add(1, "Certificate Data", Hex(&certificate.data));
            }
            Payload::CertReq(request) => {
                self.add(1, "Cert Encoding", numbered(request.encoding, request.encoding.0));
                self.add(1, "Certification Authority", Hex(&request.authority));
            }
            Payload::Auth(auth) => {
                self.add(1, "Auth Method", numbered(auth.method, auth.method.0));
                self.add(1, "Authentication Data", Hex(&auth.data));
            }
            Payload::Nonce(nonce) => self.add(1, "Nonce Data", Hex(nonce.octets())),
            Payload::Notify(notify) => self.notify(notify),
            Payload::Delete(delete) => self.delete(delete),
            Payload::VendorId(octets) => self.add(1, "Vendor ID", Hex(octets)),
            Payload::TsInitiator(selectors) | Payload::TsResponder(selectors) => {
                self.add(1, "Number of TSs", selectors.selectors.len());
                selectors.selectors.iter().for_each(|selector| self.selector(selector));
            }
            Payload::Encrypted(encrypted) => self.octets("Encrypted, with IV and checksum", &encrypted.body),
            Payload::Fragment(fragment) => {
                self.add(1, "Fragment Number", fragment.number.number());
                self.add(1, "Total Fragments", fragment.number.total());
                self.octets("Encrypted, with IV and checksum", &fragment.body);
            }
            Payload::Configuration(configuration) => self.configuration(configuration),
            Payload::Eap(octets) => self.eap(octets),
            Payload::Unknown(unknown) => self.add(1, "Body", Hex(&unknown.body)),
        }
    }

    fn configuration(&mut self, configuration: &Configuration) {
        self.add(1, "CFG Type", numbered(configuration.kind, configuration.kind.0));
        for attribute in &configuration.attributes {
            self.add(1, "Configuration Attribute", numbered(attribute.kind, attribute.kind.0));
            self.add(2, "Length", attribute.value.len());
            if !attribute.value.is_empty() {
                self.add(2, "Value", attribute);
            }
        }
    }

    fn eap(&mut self, octets: &[u8]) {
        let Ok(packet) = EapPacket::parse(octets) else { return self.octets("EAP Message", octets) };
        self.add(1, "Code", numbered(packet.code, packet.code.0));
        self.add(1, "Identifier", packet.identifier);
        self.add(1, "Length", octets.len());
        if let Some((kind, data)) = packet.content {
            self.add(1, "Type", numbered(kind, kind.0));
            match (kind, EapTlsData::parse(data)) {
                (EapType::TLS, Some(tls)) => self.eap_tls(&tls),
                _ => self.octets("Type-Data", data),
            }
        }
    }

    fn eap_tls(&mut self, tls: &EapTlsData<'_>) {
        self.add(2, "Flags", tls.flags);
        if let Some(total) = tls.total {
            self.add(2, "TLS Message Length", format_args!("{total} octets"));
        }
        self.add(2, "TLS Data", format_args!("{} octets", tls.data.len()));
    }

    fn identification(&mut self, id: &Identification) {
        let name = match id.id_type {
            1 => "ID_IPV4_ADDR",
            2 => "ID_FQDN",
            3 => "ID_RFC822_ADDR",
            5 => "ID_IPV6_ADDR",
            9 => "ID_DER_ASN1_DN",
            10 => "ID_DER_ASN1_GN",
            11 => "ID_KEY_ID",
            _ => "unknown",
        };
        self.add(1, "ID Type", numbered(name, id.id_type));
        if let Ok(identity) = id.identity() {
            self.add(1, "Identity", identity);
        }
        self.add(1, "Identification Data", Hex(&id.data));
    }

    fn sa(&mut self, sa: &Sa) {
        for Proposal { number, protocol, spi, transforms } in &sa.proposals {
            self.add(1, "Proposal Num", number);
            self.add(2, "Protocol ID", numbered(protocol, protocol.0));
            self.spi(2, spi);
            self.add(2, "Num Transforms", transforms.len());
            transforms.iter().for_each(|transform| self.transform(transform));
        }
    }

    fn spi(&mut self, depth: usize, spi: &[u8]) {
        self.add(depth, "SPI Size", spi.len());
        if !spi.is_empty() {
            self.add(depth, "SPI", Hex(spi));
        }
    }

    fn transform(&mut self, transform: &Transform) {
        self.add(2, "Transform", transform);
        self.add(3, "Transform Type", numbered(transform.kind, transform.kind.0));
        self.add(3, "Transform ID", transform.id);
        for attribute in &transform.attributes {
            match (attribute.kind, &attribute.value) {
                (Attribute::KEY_LENGTH, AttributeValue::Short(bits)) => {
                    self.add(3, "Attribute: Key Length (14)", format_args!("{bits} bits"));
                }
                (kind, AttributeValue::Short(value)) => self.add(3, "Attribute", format_args!("{kind} = {value}")),
                (kind, AttributeValue::Long(octets)) => self.add(3, "Attribute", format_args!("{kind} = {}", Hex(octets))),
            }
        }
    }

    fn selector(&mut self, selector: &Selector) {
        self.add(1, "Traffic Selector", selector);
        let (addresses, protocol, ports) = match selector {
            Selector::Range(range) => (range.addresses(), range.protocol(), (range.ports().first(), range.ports().last())),
            Selector::Opaque { addresses, protocol } => (addresses, *protocol, (u16::MAX, 0)),
            Selector::Unsupported { ts_type, protocol, body } => {
                self.add(2, "TS Type", ts_type);
                self.add(2, "IP Protocol ID", protocol);
                self.add(2, "Body", Hex(body));
                return;
            }
        };
        let ipv4 = addresses.first().is_ipv4();
        self.add(2, "TS Type", if ipv4 { numbered("TS_IPV4_ADDR_RANGE", 7) } else { numbered("TS_IPV6_ADDR_RANGE", 8) });
        self.add(2, "IP Protocol ID", protocol);
        self.add(2, "Selector Length", if ipv4 { 16 } else { 40 });
        self.add(2, "Start Port", ports.0);
        self.add(2, "End Port", ports.1);
        self.add(2, "Starting Address", addresses.first());
        self.add(2, "Ending Address", addresses.last());
    }

    fn notify(&mut self, notify: &Notify) {
        self.add(1, "Protocol ID", numbered(notify.protocol, notify.protocol.0));
        self.spi(1, &notify.spi);
        self.add(1, "Notify Message Type", numbered(notify.kind, notify.kind.0));
        if let Some(redirect) = redirect(notify) {
            self.redirect(&redirect);
        } else if !notify.data.is_empty() {
            self.add(1, "Notification Data", notify_data(notify));
        }
    }

    /// RFC 5685 section 9.
    fn redirect(&mut self, redirect: &Redirect) {
        let (name, kind) = redirect.gateway.kind();
        self.add(1, "GW Ident Type", numbered(name, kind));
        self.add(1, "GW Identity", &redirect.gateway);
        if !redirect.nonce.is_empty() {
            self.add(1, "Nonce Data", Hex(&redirect.nonce));
        }
    }

    fn delete(&mut self, delete: &Delete) {
        let (protocol, spi_size, spis) = match delete {
            Delete::IkeSa => (Protocol::IKE, 0, &[][..]),
            Delete::ChildSas { protocol, spis } => (*protocol, 4, &spis[..]),
        };
        self.add(1, "Protocol ID", numbered(protocol, protocol.0));
        self.add(1, "SPI Size", spi_size);
        self.add(1, "Num of SPIs", spis.len());
        spis.iter().for_each(|spi| self.add(1, "SPI", format_args!("{spi:08x}")));
    }
}

/// A registered name with its number; where there is no name, the number is the name already.
pub(crate) fn numbered(name: impl fmt::Display, number: impl fmt::Display) -> String {
    let (name, number) = (name.to_string(), number.to_string());
    if name == number { number } else { format!("{name} ({number})") }
}

/// What REDIRECT and REDIRECTED_FROM hold.
fn redirect(notify: &Notify) -> Option<Redirect> {
    matches!(notify.kind, NotifyType::REDIRECT | NotifyType::REDIRECTED_FROM).then(|| Redirect::parse(&notify.data)).flatten()
}

/// Notification Data in the form its type gives it; of what is not for every eye, the length.
fn notify_data(notify: &Notify) -> String {
    match (notify.kind, &notify.data[..]) {
        (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, [payload_type]) => numbered(PayloadType(*payload_type), payload_type),
        (NotifyType::INVALID_KE_PAYLOAD, [high, low]) => {
            let id = u16::from_be_bytes([*high, *low]);
            numbered(Transform::new(TransformType::KE, id, None), id)
        }
        (NotifyType::SET_WINDOW_SIZE | NotifyType::INVALID_MESSAGE_ID, [a, b, c, d]) => u32::from_be_bytes([*a, *b, *c, *d]).to_string(),
        (NotifyType::AUTH_LIFETIME, [a, b, c, d]) => format!("{} s", u32::from_be_bytes([*a, *b, *c, *d])),
        (NotifyType::ADDITIONAL_IP4_ADDRESS, [a, b, c, d]) => core::net::Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        (NotifyType::SIGNATURE_HASH_ALGORITHMS, data) if data.len() % 2 == 0 => hash_algorithms(data),
        (NotifyType::TICKET_LT_OPAQUE | NotifyType::TICKET_OPAQUE, data) => format!("{} octets", data.len()),
        (NotifyType::ADDITIONAL_IP6_ADDRESS, data) => {
            <[u8; 16]>::try_from(data).map_or_else(|_| Hex(data).to_string(), |octets| core::net::Ipv6Addr::from(octets).to_string())
        }
        (NotifyType::PPK_IDENTITY, data) => ppk_identity(data),
        (_, data) => Hex(data).to_string(),
    }
}

/// A PPK_ID (RFC 8784 section 5.1): `PPK_ID_FIXED (2) 'lab'`, in hexadecimal where it is no plain text.
pub fn ppk_identity(data: &[u8]) -> String {
    let Some((kind, id)) = data.split_first() else { return String::new() };
    let is_text = id.iter().all(|octet| octet.is_ascii_graphic() && *octet != b'\'');
    let id = if is_text { format!("'{}'", String::from_utf8_lossy(id)) } else { Hex(id).to_string() };
    format!("{} {id}", numbered(PpkIdType(*kind), kind))
}

/// RFC 7427 section 7 and RFC 8420.
fn hash_algorithms(data: &[u8]) -> String {
    let names = data.chunks_exact(2).map(|octets| match octets {
        [0, 1] => "SHA1",
        [0, 2] => "SHA2-256",
        [0, 3] => "SHA2-384",
        [0, 4] => "SHA2-512",
        [0, 5] => "Identity",
        _ => "unknown",
    });
    names.collect::<Vec<_>>().join(" ")
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
        NotifyType::PPK_IDENTITY => "PPK_ID",
        NotifyType::NO_PPK_AUTH => "NO_PPK",
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

pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

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
mod tests;
