//! Messages that other implementations wrote, read as other implementations read them. Each file says where it comes from.

use ike_wire::{
    Chain, Header, Message, Payload, PayloadType, Selector, describe, emit_payloads, parse_payloads, rules, unsupported_critical,
};
use serde_json::Value;

fn messages(file: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(file).expect("JSON");
    let messages = document["messages"].as_array().expect("messages").clone();
    assert!(!messages.is_empty());
    messages
}

fn octets(hex: &Value) -> Vec<u8> {
    let hex = hex.as_str().expect("hex");
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hex")).collect()
}

/// The numbers under `key`, or none.
fn numbers(vector: &Value, key: &str) -> Vec<u64> {
    vector[key].as_array().map(|list| list.iter().map(|n| n.as_u64().expect("number")).collect()).unwrap_or_default()
}

/// Payloads of a captured message, those of its Encrypted payload where it has one. Both layers must be written again octet by octet.
fn read(vector: &Value) -> (Header, Vec<Payload>) {
    let datagram = octets(&vector["datagram"]);
    let message = Message::parse(&datagram).expect("a message of strongSwan");
    let Some(encrypted) = message.encrypted() else {
        assert_eq!(message.emit().expect("read before"), datagram);
        return (message.header, message.payloads);
    };
    assert_eq!(message.emit().expect("read before"), datagram);
    assert_eq!(encrypted.associated_data(&datagram), &datagram[..32]);
    assert_eq!(rules::check_protected(&message.header, &message.payloads), Ok(()));
    let inner = octets(&vector["inner"]);
    assert_eq!(Some(u64::from(encrypted.first.0)), vector["inner_first"].as_u64());
    let payloads = parse_payloads(encrypted.first, &inner).expect("payloads of strongSwan");
    assert_eq!(emit_payloads(&payloads).expect("read before"), Chain { first: encrypted.first, octets: inner });
    (message.header, payloads)
}

#[test]
fn strongswan_is_read_as_strongswan_and_tshark_read_it() {
    for vector in messages(include_str!("vectors/strongswan.json")) {
        if vector["inner"].is_null() && octets(&vector["datagram"])[16] == PayloadType::SKF.0 {
            continue;
        }
        let (header, payloads) = read(&vector);
        rules::check(&header, &payloads).expect("strongSwan keeps the rules");
        assert_eq!(unsupported_critical(&payloads), None);
        if let Some(line) = vector["charon"].as_str() {
            assert_eq!(describe::message(&header, &payloads), line);
        }
        compare_with_tshark(&vector, &payloads);
    }
}

fn compare_with_tshark(vector: &Value, payloads: &[Payload]) {
    let mut seen = Seen::default();
    payloads.iter().for_each(|payload| seen.note(payload));
    let context = format!("{}, {}", vector["scenario"], vector["charon"]);
    assert_eq!(seen.transform_types, numbers(vector, "transform_types"), "{context}");
    assert_eq!(seen.encryption_ids, numbers(vector, "encryption_ids"), "{context}");
    assert_eq!(seen.notify_types, numbers(vector, "notify_types"), "{context}");
    assert_eq!(seen.auth_methods, numbers(vector, "auth_methods"), "{context}");
    assert_eq!(seen.key_exchange_methods, numbers(vector, "key_exchange_methods"), "{context}");
    let mut expected: Vec<_> =
        vector["selectors"].as_array().into_iter().flatten().map(|s| s.as_str().unwrap_or_default().to_string()).collect();
    // tshark lists the IPv4 selectors of both payloads before the IPv6 ones.
    expected.sort();
    seen.selectors.sort();
    assert_eq!(seen.selectors, expected, "{context}");
}

/// The values tshark has a field for, in the order of the message.
#[derive(Default)]
struct Seen {
    transform_types: Vec<u64>,
    encryption_ids: Vec<u64>,
    notify_types: Vec<u64>,
    auth_methods: Vec<u64>,
    key_exchange_methods: Vec<u64>,
    selectors: Vec<String>,
}

impl Seen {
    fn note(&mut self, payload: &Payload) {
        match payload {
            Payload::Sa(sa) => {
                for transform in sa.proposals.iter().flat_map(|proposal| &proposal.transforms) {
                    self.transform_types.push(transform.kind.0.into());
                    self.encryption_ids.extend(transform.encryption().map(|algorithm| u64::from(algorithm.id())));
                }
            }
            Payload::KeyExchange(ke) => self.key_exchange_methods.push(ke.method_id.into()),
            Payload::Notify(notify) => self.notify_types.push(notify.kind.0.into()),
            Payload::Auth(auth) => self.auth_methods.push(auth.method.0.into()),
            Payload::TsInitiator(selectors) | Payload::TsResponder(selectors) => {
                for selector in &selectors.selectors {
                    let Selector::Range(range) = selector else { panic!("{selector}") };
                    self.selectors.push(format!("{}-{}", range.addresses().first(), range.addresses().last()));
                }
            }
            _ => {}
        }
    }
}

/// strongSwan's fragments (RFC 7383) end the chain: the Next Payload of the first names what is inside.
#[test]
fn fragments_of_strongswan_are_read() {
    let fragments: Vec<_> = messages(include_str!("vectors/strongswan.json"))
        .iter()
        .map(|vector| octets(&vector["datagram"]))
        .filter(|datagram| datagram[16] == PayloadType::SKF.0)
        .collect();
    assert!(!fragments.is_empty());
    for datagram in fragments {
        let message = Message::parse(&datagram).expect("a fragment of strongSwan");
        assert_eq!(message.payloads.len(), 1);
        let fragment = message.fragment().expect("a fragment");
        assert_eq!(fragment.first != PayloadType::NONE, fragment.number.number() == 1);
        assert_eq!(rules::check_protected(&message.header, &message.payloads), Ok(()));
        assert_eq!(message.emit().expect("read before"), datagram);
    }
}

#[test]
fn scapy_is_read_field_by_field() {
    for vector in messages(include_str!("vectors/scapy.json")) {
        let message = Message::parse(&octets(&vector["datagram"])).expect("a message of scapy");
        let fields = message.payloads.iter().flat_map(|payload| describe::fields(payload, PayloadType::NONE));
        // Of the generic header only what is unusual; its octets are compared below.
        let fields: Vec<_> = fields
            .filter(|field| !["Next Payload", "Payload Length"].contains(&field.name) && (field.name, &*field.value) != ("Critical", "0"))
            .map(|field| format!("{} {}", field.name, field.value))
            .collect();
        let expected: Vec<_> = vector["fields"].as_array().expect("fields").iter().map(|f| f.as_str().expect("text")).collect();
        assert_eq!(fields, expected, "{}", vector["name"]);
        let critical = unsupported_critical(&message.payloads).map(|payload_type| u64::from(payload_type.0));
        assert_eq!(critical, vector["unsupported_critical"].as_u64(), "{}", vector["name"]);
        assert_eq!(message.emit().expect("read before"), octets(&vector["datagram"]), "{}", vector["name"]);
    }
}
