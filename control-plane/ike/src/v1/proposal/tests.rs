use alloc::vec;

use ipsec_types::EspProposal;

use super::*;

fn attribute(transform: &Transform, kind: AttributeType) -> Option<u64> {
    transform.value(kind.0)
}

fn child(proposals: &[&str]) -> config::Child {
    let net = |text: &str| vec![text.parse().unwrap()];
    config::Child {
        name: "net".into(),
        policy: ipsec_types::PolicyId(1),
        priority: 1,
        proposals: proposals.iter().map(|text| text.parse::<EspProposal>().unwrap().into()).collect(),
        local_selectors: net("10.1.0.0/16"),
        remote_selectors: net("10.2.0.0/16"),
        local_dynamic: false,
        remote_dynamic: false,
        start_action: config::StartAction::None,
        dpd_action: config::DpdAction::Clear,
        close_action: config::StartAction::None,
        mode: Mode::Tunnel,
        dont_fragment: ipsec_types::DontFragment::Copy,
        copy_dscp: true,
        tfc: ipsec_types::Tfc::default(),
        dscp: ipsec_types::DscpSet::ALL,
        replay_window: 64,
        lifetime: config::ChildLifetime {
            hard: Limits { time: Some(core::time::Duration::from_secs(3600)), octets: Some(1 << 30), packets: None },
            ..config::ChildLifetime::default()
        },
    }
}

const TUNNEL: Encapsulation = Encapsulation { mode: Mode::Tunnel, udp: None };

fn spi() -> Spi {
    Spi::new(0xc000_0001).unwrap()
}

fn offered(proposals: &[&str]) -> (Sa, Option<KeyExchangeMethod>) {
    offer_child(&child(proposals), spi(), TUNNEL, KeyExchangeMethod::ALL).unwrap()
}

fn chosen(ours: &[&str], theirs: &(Sa, Option<KeyExchangeMethod>)) -> Option<String> {
    choose_child(&child(ours), &theirs.0, TUNNEL, theirs.1.is_some(), KeyExchangeMethod::ALL).map(|chosen| chosen.suite.describe())
}

#[test]
fn each_combination_is_a_transform_of_one_proposal() {
    let (sa, method) = offered(&["aes128-aes256-sha256-sha1"]);
    let [proposal] = sa.proposals.as_slice() else { panic!("one proposal") };
    assert_eq!((proposal.protocol, proposal.child_spi(), method), (Protocol::ESP, Some(spi()), None));
    let said: Vec<_> = proposal
        .transforms
        .iter()
        .map(|transform| {
            let value = |kind| attribute(transform, kind);
            (transform.number, transform.id, value(AttributeType::KEY_LENGTH), value(AttributeType::AUTHENTICATION))
        })
        .collect();
    assert_eq!(said, [(1, 12, Some(128), Some(5)), (2, 12, Some(128), Some(2)), (3, 12, Some(256), Some(5)), (4, 12, Some(256), Some(2))]);
    let first = &proposal.transforms[0];
    assert_eq!(attribute(first, AttributeType::ENCAPSULATION_MODE), Some(1));
    let lifetimes: Vec<_> =
        ike_wire::v1::lifetimes(&first.attributes, AttributeType::LIFE_TYPE.0, AttributeType::LIFE_DURATION.0).collect();
    assert_eq!(lifetimes, [(ike_wire::v1::LifeType::SECONDS, 3600), (ike_wire::v1::LifeType::KILOBYTES, 1 << 20)]);
}

#[test]
fn ciphers_have_the_numbers_of_the_ipsec_doi() {
    for (text, id, key_length, authentication) in [
        ("3des-sha1", 3, None, Some(2)),
        ("null-sha256", 11, None, Some(5)),
        ("aes192ctr-sha384", 13, Some(192), Some(6)),
        ("aes128gcm16", 20, Some(128), None),
        ("aes256gcm8", 18, Some(256), None),
        ("aes128gmac", 23, Some(128), None),
        ("aes256-sha512", 12, Some(256), Some(7)),
        ("aes128-aesxcbc", 12, Some(128), Some(9)),
    ] {
        let (sa, _) = offered(&[text]);
        let transform = &sa.proposals[0].transforms[0];
        let said = (transform.id, attribute(transform, AttributeType::KEY_LENGTH), attribute(transform, AttributeType::AUTHENTICATION));
        assert_eq!(said, (id, key_length, authentication), "{text}");
    }
    for unspeakable in ["chacha20poly1305", "aes128gcm16-esn", "aes128-aescmac"] {
        assert!(offer_child(&child(&[unspeakable]), spi(), TUNNEL, KeyExchangeMethod::ALL).is_none(), "{unspeakable}");
    }
}

/// "The responder takes the first": the initiator's order decides.
#[test]
fn the_first_transform_in_common_is_taken() {
    let theirs = offered(&["aes128-aes256-sha256"]);
    assert_eq!(chosen(&["aes256-aes128-sha256"], &theirs).unwrap(), "AES_CBC_128/HMAC_SHA2_256_128/NO_EXT_SEQ");
    assert_eq!(chosen(&["aes256-sha256"], &theirs).unwrap(), "AES_CBC_256/HMAC_SHA2_256_128/NO_EXT_SEQ");
    assert_eq!(chosen(&["aes192-sha256"], &theirs), None);
    assert_eq!(chosen(&["aes128-sha1"], &theirs), None);
}

#[test]
fn forward_secrecy_is_neither_forced_nor_dropped() {
    let with = offered(&["aes128-sha256-modp2048"]);
    assert_eq!(with.1, Some(KeyExchangeMethod::Modp2048));
    let without = offered(&["aes128-sha256"]);
    assert!(chosen(&["aes128-sha256-modp2048"], &with).is_some() && chosen(&["aes128-sha256"], &without).is_some());
    assert!(chosen(&["aes128-sha256"], &with).is_none() && chosen(&["aes128-sha256-modp2048"], &without).is_none());
    assert!(chosen(&["aes128-sha256-ecp256"], &with).is_none(), "another group");
    // "all offers [...] MUST include the same group".
    let (sa, method) = offered(&["aes128-sha256-modp2048-ecp256", "aes256-sha256-ecp256", "aes256-sha1"]);
    assert_eq!((sa.proposals[0].transforms.len(), method), (1, Some(KeyExchangeMethod::Modp2048)));
}

#[test]
fn an_answer_is_one_transform_that_was_offered() {
    let ours = child(&["aes128-aes256-sha256"]);
    let (sa, _) = offered(&["aes128-aes256-sha256"]);
    let accepts = |sa: &Sa| accept_child(&ours, sa, TUNNEL, None, KeyExchangeMethod::ALL).is_some();
    assert!(!accepts(&sa), "two transforms");
    let cut = |index: usize| {
        let mut sa = sa.clone();
        sa.proposals[0].transforms = vec![sa.proposals[0].transforms[index].clone()];
        sa
    };
    assert!(accepts(&cut(0)) && accepts(&cut(1)));
    let mut other_mode = cut(0);
    other_mode.proposals[0].transforms[0].attributes.iter_mut().filter(|a| a.kind == AttributeType::ENCAPSULATION_MODE.0).for_each(|a| {
        a.value = AttributeValue::Short(3);
    });
    assert!(!accepts(&other_mode), "another mode");
    let mut unknown = cut(0);
    unknown.proposals[0].transforms[0].attributes.push(short(99, 1));
    assert!(!accepts(&unknown), "an attribute that means nothing here");
    let mut twice = cut(0);
    let again = twice.proposals[0].clone();
    twice.proposals.push(again);
    assert!(!accepts(&twice), "two proposals");
    let mut reserved = cut(0);
    reserved.proposals[0].spi = vec![0, 0, 0, 255];
    assert!(!accepts(&reserved), "a reserved SPI");
}

#[test]
fn two_protocols_at_once_are_not_chosen() {
    let (mut sa, _) = offered(&["aes128-sha256"]);
    let ah = Proposal { protocol: Protocol::AH, ..sa.proposals[0].clone() };
    sa.proposals.push(ah);
    assert_eq!(chosen(&["aes128-sha256"], &(sa, None)), None);
}
