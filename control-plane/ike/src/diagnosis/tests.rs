use alloc::vec;

use ike_wire::{Attribute, AttributeValue};
use ipsec_types::{AhProposal, EspProposal, Spi};

use super::*;

fn ike(text: &str) -> IkeProposal {
    text.parse().unwrap()
}

fn offer(texts: &[&str]) -> Sa {
    Sa::offer(texts.iter().map(|text| Proposal::ike(&ike(text), None)))
}

#[test]
fn the_closest_pair_is_named_with_the_one_transform_that_differs() {
    let ours = [ike("aes256gcm16-prfsha512-ecp256"), ike("aes128-sha256-ecp256-x25519")];
    let detail = proposals(&ours, &offer(&["aes128gcm16-prfsha384-x25519", "aes128-sha384-prfsha256-x25519"]), IKE_TYPES);
    assert_eq!(
        detail.would_match,
        "closest are ours aes128-sha256-prfsha256-ecp256-x25519 and theirs aes128-sha384-prfsha256-x25519: \
         they differ in INTEG (ours sha256, theirs sha384)"
    );
    assert_eq!(detail.remedy, "let one of proposals here have sha384, or one at the peer sha256");
}

#[test]
fn what_has_no_name_here_is_shown_by_its_number() {
    let mut offered = offer(&["aes128gcm16-prfsha256-x25519"]);
    let odd = Attribute { kind: 99, value: AttributeValue::Short(1) };
    offered.proposals[0].transforms = vec![
        Transform { kind: TransformType::ENCR, id: 60_000, attributes: vec![] },
        Transform { kind: TransformType::PRF, id: 5, attributes: vec![odd] },
        Transform::new(TransformType::KE, 31, None),
        Transform::new(TransformType(42), 7, None),
    ];
    let detail = proposals(&[ike("aes128gcm16-prfsha256-x25519")], &offered, IKE_TYPES);
    assert_eq!(detail.theirs, "ENCR:60000-PRF_HMAC_SHA2_256 with 1 attributes-x25519-42:7");
    assert_eq!(
        detail.would_match,
        "they differ in ENCR (ours aes128gcm16, theirs ENCR:60000); PRF (ours prfsha256, theirs PRF_HMAC_SHA2_256 with 1 attributes); \
         42 (ours 42:0, theirs 42:7)"
    );
}

#[test]
fn a_type_left_out_is_none_but_numbers_are_to_be_named() {
    let esp = |text: &str| -> ChildProposal { text.parse::<EspProposal>().unwrap().into() };
    let theirs = |text: &str| {
        let transforms = esp(text).transforms().into_iter().filter(|transform| transform.kind != TransformType::ESN).collect();
        Sa { proposals: vec![Proposal { number: 1, protocol: Protocol::ESP, spi: vec![], transforms }] }
    };
    let detail = proposals(&[esp("aes128gcm16-esn")], &theirs("aes128gcm16-x25519"), CHILD_TYPES);
    assert_eq!(detail.would_match, "they differ in KE (ours none, theirs x25519); ESN (ours esn, theirs nothing)");
    let first = proposals(&[esp("aes128gcm16-esn")], &theirs("aes128gcm16-x25519"), FIRST_CHILD_TYPES);
    assert_eq!(first.would_match, "they differ in ESN (ours esn, theirs nothing)");
}

/// Another protocol is further away than other algorithms, however many.
#[test]
fn esp_and_ah_are_told_apart() {
    let (esp, ah): (EspProposal, AhProposal) = ("aes128-sha256-esn".parse().unwrap(), "sha256".parse().unwrap());
    let (esp, ah) = (ChildProposal::from(esp), ChildProposal::from(ah));
    let offered = |proposals: &[&ChildProposal]| {
        Sa::offer(proposals.iter().map(|proposal| Proposal::child(proposal, Spi::new(0xc000_0001).unwrap())))
    };
    let detail = proposals(core::slice::from_ref(&esp), &offered(&[&ah]), CHILD_TYPES);
    assert_eq!((&*detail.theirs, &*detail.would_match), ("AH sha256-noesn", "they differ in protocol (ours ESP, theirs AH)"));
    assert_eq!(detail.remedy, "write esp_proposals on both sides, or ah_proposals");
    let other = ChildProposal::from("aes256gcm16-x25519-noesn".parse::<EspProposal>().unwrap());
    let detail = proposals(&[esp], &offered(&[&ah, &other]), CHILD_TYPES);
    assert!(detail.would_match.starts_with("closest are ours aes128-sha256-esn and theirs aes256gcm16-x25519-noesn: "), "{detail}");
    let detail = proposals(&[ah], &offered(&[&"sha384".parse::<AhProposal>().unwrap().into()]), CHILD_TYPES);
    assert_eq!(detail.remedy, "let one of ah_proposals here have sha384, or one at the peer sha256");
}

#[test]
fn the_reason_why_nothing_is_in_common_is_the_nearest_one() {
    let common = |ours: &str, theirs: &[&str]| {
        let theirs: TrafficSelectors = theirs.iter().map(|text| text.parse::<TrafficSelector>().unwrap()).collect();
        in_common(&[ours.parse().unwrap()], &theirs)
    };
    assert_eq!(common("10.0.0.0/8", &["10.1.0.0/16", "192.0.2.0/24"]), "10.1.0.0/16 in common");
    assert_eq!(common("10.0.0.0/8", &["2001:db8::/32"]), "nothing in common (the address families differ)");
    assert_eq!(common("10.0.0.0/8", &["192.0.2.0/24", "2001:db8::/32"]), "nothing in common (the addresses do not overlap)");
    assert_eq!(common("10.0.0.0/8[tcp/443]", &["10.1.0.0/16[udp/53]"]), "nothing in common (the addresses overlap, the protocols differ)");
    assert_eq!(
        common("10.0.0.0/8[tcp/443]", &["10.1.0.0/16[tcp/80]"]),
        "nothing in common (addresses and protocol overlap, the ports do not)"
    );
    assert_eq!(in_common(&["10.0.0.0/8".parse().unwrap()], &TrafficSelectors { selectors: vec![] }).matches("no kind").count(), 1);
}

#[test]
fn a_silent_peer_is_told_from_one_that_fell_silent() {
    let (local, remote) = ("192.0.2.1:500".parse().unwrap(), "192.0.2.2:500".parse().unwrap());
    let silence = Silence {
        request: "IKE_SA_INIT request 0",
        local,
        remote,
        tries: 6,
        elapsed: Duration::from_millis(164_900),
        heard: None,
        answered: false,
    };
    let failure = timed_out(&silence);
    assert_eq!(failure.headline(), "no answer from 192.0.2.2:500 to IKE_SA_INIT request 0, sent 6 times in 165 s");
    let detail = failure.detail().unwrap();
    assert_eq!(detail.theirs, "nothing has ever come from 192.0.2.2");
    assert!(detail.remedy.contains("500 and 4500"), "{detail}");
    let heard = Some(Duration::from_secs(12));
    let fell = timed_out(&Silence { answered: true, heard, request: "INFORMATIONAL request 3", ..silence });
    assert_eq!(fell.detail().unwrap().theirs, "the last message from 192.0.2.2 came 12 s ago");
    assert!(fell.detail().unwrap().remedy.starts_with("the peer answered before"));
}

#[test]
fn what_a_peer_says_at_length_is_cut() {
    let many: Vec<String> = (0..200).map(|_| "aes128gcm16-prfsha384-x25519".to_string()).collect();
    let detail = proposals(&[ike("aes256gcm16-prfsha256-ecp256")], &offer(&many.iter().map(String::as_str).collect::<Vec<_>>()), IKE_TYPES);
    assert_eq!(detail.theirs.chars().count(), Detail::LONGEST + 3);
    assert!(detail.theirs.ends_with("..."));
}
