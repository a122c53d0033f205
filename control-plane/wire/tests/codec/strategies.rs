//! Any message that octets can say.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ike_wire::{
    Attribute, AttributeValue, Auth, AuthMethod, Certificate, CertificateEncoding, CertificateRequest, Configuration,
    ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType, Delete, Encrypted, ExchangeType, Flags, Fragment,
    FragmentNumber, Header, Identification, KeyExchange, Message, Nonce, Notify, NotifyType, Payload, PayloadType, Proposal, Protocol, Sa,
    Selector, TrafficSelectors, Transform, TransformType, Unknown, Version,
};
use ipsec_types::{AddressRange, PortRange, TrafficSelector};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn message() -> impl Strategy<Value = Message> {
    let sealed = (any::<u8>(), octets(64)).prop_map(|(first, body)| Payload::Encrypted(Encrypted { first: PayloadType(first), body }));
    let sealed = prop::option::of(prop_oneof![sealed, fragment()]);
    (header(), inner_payloads(), sealed).prop_map(|(header, mut payloads, sealed)| {
        payloads.extend(sealed);
        Message { header, payloads }
    })
}

fn fragment() -> impl Strategy<Value = Payload> {
    let numbers = (1..=u16::MAX).prop_flat_map(|total| (1..=total, Just(total)));
    (any::<u8>(), numbers, octets(64)).prop_map(|(first, (number, total), body)| {
        let number = FragmentNumber::new(number, total).expect("from 1 to the total");
        Payload::Fragment(Fragment { first: PayloadType(first), number, body })
    })
}

pub(crate) fn header() -> impl Strategy<Value = Header> {
    (any::<(u64, u64, u8, bool, bool, bool, u32)>(), 0..16u8).prop_map(
        |((i, r, exchange, initiator, response, version, message_id), minor)| Header {
            initiator_spi: i,
            responder_spi: r,
            version: Version { major: 2, minor },
            exchange: ExchangeType(exchange),
            flags: Flags { initiator, response, version },
            message_id,
        },
    )
}

pub(crate) fn inner_payloads() -> impl Strategy<Value = Vec<Payload>> {
    vec(payload(), 0..6)
}

fn payload() -> impl Strategy<Value = Payload> {
    prop_oneof![
        sa().prop_map(Payload::Sa),
        (any::<u16>(), octets(80)).prop_map(|(method_id, data)| Payload::KeyExchange(KeyExchange { method_id, data })),
        identification().prop_map(Payload::IdInitiator),
        identification().prop_map(Payload::IdResponder),
        (any::<u8>(), octets(40)).prop_map(|(e, data)| Payload::Cert(Certificate { encoding: CertificateEncoding(e), data })),
        (any::<u8>(), octets(40))
            .prop_map(|(e, authority)| Payload::CertReq(CertificateRequest { encoding: CertificateEncoding(e), authority })),
        (any::<u8>(), octets(40)).prop_map(|(method, data)| Payload::Auth(Auth { method: AuthMethod(method), data })),
        vec(any::<u8>(), Nonce::MIN_LEN..=Nonce::MAX_LEN).prop_map(|octets| Payload::Nonce(Nonce::new(octets).expect("a legal length"))),
        notify().prop_map(Payload::Notify),
        delete().prop_map(Payload::Delete),
        octets(20).prop_map(Payload::VendorId),
        selectors().prop_map(Payload::TsInitiator),
        selectors().prop_map(Payload::TsResponder),
        configuration().prop_map(Payload::Configuration),
        octets(20).prop_map(|octets| Payload::Eap(octets.into())),
        unknown().prop_map(Payload::Unknown),
    ]
}

fn configuration() -> impl Strategy<Value = Configuration> {
    let empty = 0..0x8000u16;
    let unknown =
        (100..0x8000u16, octets(9)).prop_map(|(kind, value)| ConfigurationAttribute { kind: ConfigurationAttributeType(kind), value });
    let attribute = prop_oneof![
        empty.prop_map(|kind| ConfigurationAttribute::empty(ConfigurationAttributeType(kind))),
        unknown,
        any::<IpAddr>().prop_map(ConfigurationAttribute::address),
        any::<IpAddr>().prop_map(ConfigurationAttribute::dns),
    ];
    (any::<u8>(), vec(attribute, 0..5)).prop_map(|(kind, attributes)| Configuration { kind: ConfigurationType(kind), attributes })
}

fn octets(max: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..max)
}

fn sa() -> impl Strategy<Value = Sa> {
    (1..250u8, vec(proposal(), 1..4)).prop_map(|(first, proposals)| Sa {
        proposals: (first..).zip(proposals).map(|(number, proposal)| Proposal { number, ..proposal }).collect(),
    })
}

fn proposal() -> impl Strategy<Value = Proposal> {
    (any::<u8>(), octets(9), vec(transform(), 1..6)).prop_map(|(protocol, spi, transforms)| Proposal {
        number: 1,
        protocol: Protocol(protocol),
        spi,
        transforms,
    })
}

fn transform() -> impl Strategy<Value = Transform> {
    (any::<u8>(), any::<u16>(), vec(attribute(), 0..3)).prop_map(|(kind, id, attributes)| Transform {
        kind: TransformType(kind),
        id,
        attributes,
    })
}

fn attribute() -> impl Strategy<Value = Attribute> {
    let value = prop_oneof![any::<u16>().prop_map(AttributeValue::Short), octets(6).prop_map(AttributeValue::Long)];
    (0..0x8000u16, value).prop_map(|(kind, value)| Attribute { kind, value })
}

fn identification() -> impl Strategy<Value = Identification> {
    (any::<u8>(), octets(20)).prop_map(|(id_type, data)| Identification::new(id_type, data))
}

fn notify() -> impl Strategy<Value = Notify> {
    (any::<u8>(), octets(9), any::<u16>(), octets(30)).prop_map(|(protocol, spi, kind, data)| Notify {
        protocol: Protocol(protocol),
        spi,
        kind: NotifyType(kind),
        data,
    })
}

fn delete() -> impl Strategy<Value = Delete> {
    let protocol = prop_oneof![Just(Protocol::ESP), Just(Protocol::AH)];
    prop_oneof![Just(Delete::IkeSa), (protocol, vec(any::<u32>(), 0..5)).prop_map(|(protocol, spis)| Delete::ChildSas { protocol, spis }),]
}

fn selectors() -> impl Strategy<Value = TrafficSelectors> {
    vec(selector(), 1..4).prop_map(|selectors| TrafficSelectors { selectors })
}

fn selector() -> impl Strategy<Value = Selector> {
    prop_oneof![
        (addresses(), any::<(u8, u16, u16)>()).prop_map(|(addresses, (protocol, a, b))| {
            let ports = if protocol == 0 { PortRange::ANY } else { PortRange::new(a.min(b), a.max(b)).expect("in order") };
            Selector::Range(TrafficSelector::new(addresses, protocol, ports).expect("ports with a protocol"))
        }),
        (addresses(), any::<u8>()).prop_map(|(addresses, protocol)| Selector::Opaque { addresses, protocol }),
        (9..=u8::MAX, any::<u8>(), octets(20)).prop_map(|(ts_type, protocol, body)| Selector::Unsupported { ts_type, protocol, body }),
    ]
}

fn addresses() -> impl Strategy<Value = AddressRange> {
    let range = |a: IpAddr, b: IpAddr| AddressRange::new(a.min(b), a.max(b)).expect("in order");
    prop_oneof![
        any::<(u32, u32)>().prop_map(move |(a, b)| range(Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into())),
        any::<(u128, u128)>().prop_map(move |(a, b)| range(Ipv6Addr::from(a).into(), Ipv6Addr::from(b).into())),
    ]
}

/// Types this crate gives no meaning to; a fragment (53) would have to be the last payload.
fn unknown() -> impl Strategy<Value = Unknown> {
    let payload_type = any::<u8>().prop_filter("understood or ending the chain", |t| *t != 0 && !(33..=48).contains(t) && *t != 53);
    (payload_type, any::<bool>(), octets(20)).prop_map(|(payload_type, critical, body)| Unknown {
        payload_type: PayloadType(payload_type),
        critical,
        body,
    })
}
