use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use ipsec_types::{
    Activation, ChildSa, DontFragment, EncryptionAlgorithm, IntegrityAlgorithm, Lifetime, Mode, Protection, SaKeys, Secret,
    SequenceNumbers, Tfc, TfcPadding,
};

use super::*;

fn any_selector() -> impl Strategy<Value = TrafficSelector> {
    (any::<(bool, u32, u32, u128, u128)>(), any::<(u8, u16, u16)>()).prop_map(|((v4, a, b, c, d), (protocol, p, q))| {
        let (a, b): (IpAddr, IpAddr) =
            if v4 { (Ipv4Addr::from(a).into(), Ipv4Addr::from(b).into()) } else { (Ipv6Addr::from(c).into(), Ipv6Addr::from(d).into()) };
        let ports = if protocol == 0 { PortRange::ANY } else { PortRange::new(p.min(q), p.max(q)).unwrap() };
        TrafficSelector::new(AddressRange::new(a.min(b), a.max(b)).unwrap(), protocol, ports).unwrap()
    })
}

fn any_limits() -> impl Strategy<Value = Limits> {
    (option::of(1..u64::MAX / 2_000_000), option::of(1..u64::MAX / 2), option::of(1..u64::MAX / 2))
        .prop_map(|(time, octets, packets)| Limits { time: time.map(Duration::from_millis), octets, packets })
}

/// The soft limits, and hard ones above them.
fn any_lifetime() -> impl Strategy<Value = Lifetime> {
    (any_limits(), 1..1000u64).prop_map(|(soft, more)| {
        let hard = Limits {
            time: soft.time.map(|d| d + Duration::from_millis(more)),
            octets: soft.octets.map(|n| n + more),
            packets: soft.packets.map(|n| n + more),
        };
        Lifetime::new(soft, hard).unwrap()
    })
}

fn any_keys(protection: Protection) -> impl Strategy<Value = SaKeys> {
    let lens =
        (protection.encryption().map_or(0, EncryptionAlgorithm::keymat_len), protection.integrity().map_or(0, IntegrityAlgorithm::key_len));
    (vec(any::<u8>(), lens.0), vec(any::<u8>(), lens.1))
        .prop_map(move |(e, i)| SaKeys { encryption: Secret::new(e), integrity: protection.integrity().map(|_| Secret::copy_from(&i)) })
}

fn any_protection() -> impl Strategy<Value = Protection> {
    let any = (any::<bool>(), prop::sample::select(EncryptionAlgorithm::ALL), prop::sample::select(IntegrityAlgorithm::ALL));
    any.prop_map(|(ah, encryption, integrity)| match ah {
        true => Protection::Ah { integrity },
        false => Protection::Esp { encryption, integrity: (!encryption.is_aead()).then_some(integrity) },
    })
}

fn any_handling() -> impl Strategy<Value = (Mode, DontFragment, bool, Tfc)> {
    let padding = prop_oneof![Just(None), (1..u16::MAX).prop_map(|len| Some(TfcPadding::To(len))), Just(Some(TfcPadding::Mtu))];
    (0..2usize, 0..3usize, any::<bool>(), padding, any::<u32>()).prop_map(|(mode, df, copy_dscp, padding, dummies_per_second)| {
        let df = [DontFragment::Copy, DontFragment::Set, DontFragment::Clear][df];
        ([Mode::Tunnel, Mode::Transport][mode], df, copy_dscp, Tfc { padding, dummies_per_second })
    })
}

fn any_child_sa() -> impl Strategy<Value = ChildSa> {
    let names = (1..u64::MAX, any::<u32>(), 256..=u32::MAX, 256..=u32::MAX, any::<u32>(), option::of(1..u64::MAX));
    let path = (any::<(u32, u32, bool)>(), option::of((1..=u16::MAX, 1..=u16::MAX)));
    let selectors = (vec(any_selector(), 1..4), vec(any_selector(), 1..4));
    let activation = option::of(option::of(1..u64::MAX / 2_000_000));
    let keys = any_protection().prop_flat_map(|protection| (Just(protection), any_keys(protection), any_keys(protection)));
    let rest = (activation, any_lifetime(), any_handling());
    (names, path, keys, selectors, rest).prop_map(|(names, path, keys, selectors, (activation, lifetime, handling))| {
        let ((local, remote, esn), ports) = path;
        let (protection, inbound_keys, outbound_keys) = keys;
        let (mode, dont_fragment, copy_dscp, tfc) = handling;
        let is_ah = matches!(protection, Protection::Ah { .. });
        ChildSa {
            id: ChildSaId(names.0),
            policy: PolicyId(names.1),
            inbound_spi: Spi::new(names.2).unwrap(),
            outbound_spi: Spi::new(names.3).unwrap(),
            local: Ipv4Addr::from(local).into(),
            remote: Ipv4Addr::from(remote).into(),
            encapsulation: ports.filter(|_| !is_ah).map(|(local_port, remote_port)| UdpEncapsulation { local_port, remote_port }),
            protection,
            mode,
            dont_fragment,
            copy_dscp,
            tfc: if is_ah || mode == Mode::Transport { Tfc::default() } else { tfc },
            sequence_numbers: if esn { SequenceNumbers::Extended } else { SequenceNumbers::Standard },
            replay_window: names.4,
            inbound_keys,
            outbound_keys,
            local_selectors: selectors.0,
            remote_selectors: selectors.1,
            activation: match activation {
                None => Activation::Immediate,
                Some(fallback) => Activation::Parked { fallback: fallback.map(Duration::from_millis) },
            },
            predecessor: names.5.map(ChildSaId),
            lifetime,
        }
    })
}

proptest! {
    #[test]
    fn a_child_sa_comes_back_as_it_went(sa in any_child_sa()) {
        let message = v1::Install::from(sa);
        let again = ChildSa::try_from(message.clone()).unwrap();
        prop_assert_eq!(v1::Install::from(again), message);
    }

    #[test]
    fn a_status_agrees_with_its_install(sa in any_child_sa()) {
        let status = v1::ChildSaStatus::from(sa.protection);
        let install = v1::Install::from(sa);
        prop_assert_eq!((status.encryption, status.encryption_key_length, status.integrity, status.protocol),
            (install.encryption, install.encryption_key_length, install.integrity, install.protocol));
    }

    #[test]
    fn a_selector_comes_back_as_it_went(selector in any_selector()) {
        prop_assert_eq!(TrafficSelector::try_from(v1::TrafficSelector::from(selector)), Ok(selector));
    }

    #[test]
    fn a_policy_comes_back_as_it_went(id: u32, priority: u32, name: String, action in 0..3usize, local in vec(any_selector(), 1..4), remote in vec(any_selector(), 1..4),
        dscp in vec(0..64u8, 0..5)) {
        let action = [PolicyAction::Protect, PolicyAction::Bypass, PolicyAction::Discard][action];
        let dscp = if dscp.is_empty() { DscpSet::ALL } else { dscp.into_iter().filter_map(Dscp::new).collect() };
        let policy = Policy { id: PolicyId(id), name, priority, action, local, remote, dscp };
        prop_assert_eq!(Policy::try_from(v1::Policy::from(policy.clone())), Ok(policy));
    }

    #[test]
    fn a_flow_comes_back_as_it_went(source: Ipv4Addr, destination: Ipv6Addr, protocol: u8, source_port: u16, destination_port: u16) {
        let (source_port, destination_port) = (Some(source_port), Some(destination_port));
        let flow = Flow { source: source.into(), destination: destination.into(), protocol, source_port, destination_port };
        prop_assert_eq!(Flow::try_from(v1::Flow::from(flow)), Ok(flow));
    }

    #[test]
    fn octets_are_an_address_at_4_and_16_only(octets in vec(any::<u8>(), 0..20)) {
        match address("a", &octets) {
            Ok(address) => prop_assert_eq!(address_octets(address), octets),
            Err(error) => {
                prop_assert!(octets.len() != 4 && octets.len() != 16);
                prop_assert_eq!(error.problem, Problem::AddressLength(octets.len()));
            }
        }
    }
}

const KEY: u8 = 0xA7;

fn install() -> v1::Install {
    let selector = || vec![v1::TrafficSelector::from("10.0.0.0/8".parse::<TrafficSelector>().unwrap())];
    let keys = || Some(v1::Keys { encryption: vec![KEY; 20], integrity: Vec::new() });
    v1::Install {
        child_sa: 1,
        inbound_spi: 0x100,
        outbound_spi: 0x101,
        local_address: vec![192, 0, 2, 1],
        remote_address: vec![192, 0, 2, 2],
        encryption: 20,
        encryption_key_length: 128,
        inbound_keys: keys(),
        outbound_keys: keys(),
        local_selectors: selector(),
        remote_selectors: selector(),
        ..v1::Install::default()
    }
}

#[test]
fn each_bad_field_is_named() {
    type Spoil = fn(&mut v1::Install);
    let cases: &[(&str, Spoil)] = &[
        ("child_sa", |m| m.child_sa = 0),
        ("inbound_spi", |m| m.inbound_spi = 255),
        ("outbound_spi", |m| m.outbound_spi = 0),
        ("local_address", |m| m.local_address.clear()),
        ("remote_address", |m| m.remote_address = vec![0; 16]),
        ("encapsulation.local_port", |m| m.encapsulation = Some(v1::UdpEncapsulation { local_port: 0, remote_port: 4500 })),
        ("encapsulation.remote_port", |m| m.encapsulation = Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 0 })),
        ("encapsulation.remote_port", |m| m.encapsulation = Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 65536 })),
        ("encryption", |m| m.encryption_key_length = 127),
        ("encryption", |m| m.encryption = 65536 + 20),
        ("integrity", |m| m.integrity = 12),
        ("protocol", |m| m.protocol = 2),
        ("encryption", |m| (m.protocol, m.integrity) = (1, 12)),
        ("integrity", |m| (m.protocol, m.encryption, m.encryption_key_length) = (1, 0, 0)),
        ("encapsulation", |m| {
            (m.protocol, m.encryption, m.encryption_key_length, m.integrity) = (1, 0, 0, 12);
            m.encapsulation = Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 4500 });
        }),
        ("mode", |m| m.mode = 2),
        ("dont_fragment", |m| m.dont_fragment = 3),
        ("tfc", |m| (m.mode, m.tfc) = (1, Some(v1::Tfc { pad_to_mtu: true, ..v1::Tfc::default() }))),
        ("tfc.pad_to", |m| m.tfc = Some(v1::Tfc { pad_to: 65536, ..v1::Tfc::default() })),
        ("inbound_keys", |m| m.inbound_keys = None),
        ("outbound_keys.encryption", |m| m.outbound_keys = Some(v1::Keys { encryption: vec![0; 19], integrity: Vec::new() })),
        ("inbound_keys.integrity", |m| m.inbound_keys = Some(v1::Keys { encryption: vec![0; 20], integrity: vec![0] })),
        ("local_selectors", |m| m.local_selectors.clear()),
        ("remote_selectors[0].first_address", |m| m.remote_selectors[0].first_address.push(0)),
        ("remote_selectors[0].last_address", |m| m.remote_selectors[0].last_address = vec![9, 0, 0, 0]),
        ("local_selectors[0].protocol", |m| m.local_selectors[0].protocol = 256),
        ("local_selectors[0].protocol", |m| m.local_selectors[0].last_port = 80),
        ("local_selectors[0].first_port", |m| m.local_selectors[0].first_port = 65536),
        ("local_selectors[0].last_port", |m| (m.local_selectors[0].first_port, m.local_selectors[0].last_port) = (2, 1)),
        ("soft", |m| {
            m.soft = Some(v1::Limits { packets: 5, ..v1::Limits::default() });
            m.hard = m.soft;
        }),
    ];
    ChildSa::try_from(install()).unwrap();
    for (field, spoil) in cases {
        let mut message = install();
        spoil(&mut message);
        assert_eq!(ChildSa::try_from(message).map_err(|e| e.field), Err((*field).to_owned()));
    }
}

#[test]
fn a_policy_needs_an_action_that_is_known() {
    let selector = || vec![v1::TrafficSelector::from("0.0.0.0/0".parse::<TrafficSelector>().unwrap())];
    let policy = |action| v1::Policy { action, local: selector(), remote: selector(), ..v1::Policy::default() };
    assert_eq!(Policy::try_from(policy(0)), Err(ConvertError::new("action", Problem::Missing)));
    assert_eq!(Policy::try_from(policy(9)), Err(ConvertError::new("action", Problem::UnknownValue(9))));
    assert!(Policy::try_from(policy(2)).is_ok());
    let beyond = v1::Policy { dscp: vec![46, 64], ..policy(2) };
    assert_eq!(Policy::try_from(beyond), Err(ConvertError::new("dscp[1]", Problem::TooLarge { value: 64, max: 63 })));
}

#[test]
fn a_limit_never_turns_into_unlimited() {
    let limits = Limits { time: Some(Duration::from_nanos(1)), octets: Some(0), packets: Some(0) };
    assert_eq!(v1::Limits::from(limits), v1::Limits { time_ms: 1, octets: 1, packets: 1 });
}

/// No message prints the octets of a key, however deep it holds them: neither as numbers nor as hexadecimal digits.
#[test]
fn debug_never_shows_a_key() {
    let operation = || v1::Operation { id: 7, operation: Some(v1::operation::Operation::Install(install())) };
    let request = v1::ProgramRequest { epoch: 1, operations: vec![operation()] };
    let sa = ChildSa::try_from(install()).unwrap();
    let texts = [
        format!("{:?}", install()),
        format!("{:#?}", install()),
        format!("{:?}", operation()),
        format!("{:?}", operation().operation),
        format!("{request:?}"),
        format!("{request:#?}"),
        format!("{sa:?}"),
        format!("{:?}", install().inbound_keys),
    ];
    for text in texts {
        let words: Vec<String> = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::to_lowercase).collect();
        assert!(!words.iter().any(|w| w == &KEY.to_string() || w.contains("a7a7") || w.contains("xa7") || w == "a7"), "{text}");
        assert!(text.contains("write-only") || text.contains("Secret("), "{text}");
    }
}
