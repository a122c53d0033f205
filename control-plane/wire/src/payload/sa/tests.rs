use alloc::string::String;
use alloc::vec;

use ipsec_types::{AhProposal, EspProposal};

use super::*;
use crate::PayloadType;

const SA: Part = Part::Payload(PayloadType::SA);

fn parse(octets: &[u8]) -> Result<Sa, ParseError> {
    Sa::parse(Reader::new(SA, octets))
}

fn emit(sa: &Sa) -> Vec<u8> {
    let mut writer = Writer::new();
    sa.emit(&mut writer).unwrap();
    writer.finish()
}

fn malformed(part: Part, fault: Fault) -> Result<Sa, ParseError> {
    Err(ParseError::Malformed { part, fault })
}

/// The two proposals drawn in section 3.3: AES-CBC with two integrity algorithms, AES-GCM with an 8-octet ICV, ESN or not.
fn drawn_in_the_rfc() -> Sa {
    let encr = |id, bits| Transform::new(TransformType::ENCR, id, Some(bits));
    let plain = |kind, id| Transform::new(kind, id, None);
    let esn = [plain(TransformType::ESN, 1), plain(TransformType::ESN, 0)];
    let integ = [plain(TransformType::INTEG, 2), plain(TransformType::INTEG, 5)];
    let cbc = [[encr(12, 128), encr(12, 192), encr(12, 256)].as_slice(), &integ, &esn].concat();
    let gcm = [[encr(18, 128), encr(18, 256)].as_slice(), &esn].concat();
    Sa {
        proposals: vec![
            Proposal { number: 1, protocol: Protocol::ESP, spi: vec![0x05, 0x23, 0x57, 0xbb], transforms: cbc },
            Proposal { number: 2, protocol: Protocol::ESP, spi: vec![0x35, 0xa1, 0xd6, 0xf2], transforms: gcm },
        ],
    }
}

#[test]
fn the_proposals_of_the_rfc_by_hand() {
    #[rustfmt::skip]
    let octets = [
        2, 0, 0, 80, 1, 3, 4, 7, 0x05, 0x23, 0x57, 0xbb,
            3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 0, 128,
            3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 0, 192,
            3, 0, 0, 12, 1, 0, 0, 12, 0x80, 14, 1, 0,
            3, 0, 0, 8, 3, 0, 0, 2,
            3, 0, 0, 8, 3, 0, 0, 5,
            3, 0, 0, 8, 5, 0, 0, 1,
            0, 0, 0, 8, 5, 0, 0, 0,
        0, 0, 0, 52, 2, 3, 4, 4, 0x35, 0xa1, 0xd6, 0xf2,
            3, 0, 0, 12, 1, 0, 0, 18, 0x80, 14, 0, 128,
            3, 0, 0, 12, 1, 0, 0, 18, 0x80, 14, 1, 0,
            3, 0, 0, 8, 5, 0, 0, 1,
            0, 0, 0, 8, 5, 0, 0, 0,
    ];
    assert_eq!(emit(&drawn_in_the_rfc()), octets);
    assert_eq!(parse(&octets), Ok(drawn_in_the_rfc()));
}

/// One proposal for IKE with one transform, to be spoilt an octet at a time.
const SMALL: [u8; 16] = [0, 0, 0, 16, 1, 1, 0, 1, 0, 0, 0, 8, 4, 0, 0, 31];

fn spoilt(at: usize, octet: u8) -> Result<Sa, ParseError> {
    let mut octets = SMALL;
    octets[at] = octet;
    parse(&octets)
}

#[test]
fn counts_and_lengths_must_agree() {
    assert!(parse(&SMALL).is_ok());
    assert_eq!(spoilt(7, 2), malformed(Part::Proposal, Fault::Count { said: 2, found: 1 }));
    assert_eq!(spoilt(7, 0), malformed(Part::Proposal, Fault::Trailing(8)));
    assert_eq!(parse(&[0, 0, 0, 8, 1, 1, 0, 0]), malformed(Part::Proposal, Fault::Empty));
    assert_eq!(spoilt(3, 17), malformed(Part::Proposal, Fault::Truncated { needed: 13, left: 12 }));
    assert_eq!(spoilt(3, 3), malformed(Part::Proposal, Fault::Length { said: 3, actual: 4 }));
    assert_eq!(spoilt(11, 9), malformed(Part::Transform, Fault::Truncated { needed: 5, left: 4 }));
    assert_eq!(spoilt(6, 9), malformed(Part::Proposal, Fault::Truncated { needed: 9, left: 8 }));
    assert_eq!(parse(&[]), malformed(SA, Fault::Empty));
}

#[test]
fn last_substruc_must_tell_the_truth() {
    assert_eq!(spoilt(0, 2), malformed(Part::Proposal, Fault::Value { field: "Last Substruc", value: 2 }));
    assert_eq!(spoilt(8, 3), malformed(Part::Transform, Fault::Value { field: "Last Substruc", value: 3 }));
    assert!(spoilt(1, 0xff).is_ok(), "RESERVED is ignored");
}

#[test]
fn proposals_are_numbered_in_turn() {
    let two = |first, second| {
        let mut sa = drawn_in_the_rfc();
        (sa.proposals[0].number, sa.proposals[1].number) = (first, second);
        parse(&emit(&sa))
    };
    assert!(two(1, 2).is_ok());
    assert!(two(254, 255).is_ok());
    for (first, second) in [(1, 1), (1, 3), (2, 1), (255, 0)] {
        assert_eq!(two(first, second), malformed(Part::Proposal, Fault::Value { field: "number", value: second.into() }));
    }
}

#[test]
fn lists_are_bounded() {
    let small = parse(&SMALL).unwrap().proposals.remove(0);
    let offer = |count| Sa::offer(core::iter::repeat_n(small.clone(), count));
    assert_eq!(parse(&emit(&offer(limits::PROPOSALS))), Ok(offer(limits::PROPOSALS)));
    assert_eq!(parse(&emit(&offer(limits::PROPOSALS + 1))), malformed(SA, Fault::TooMany(limits::PROPOSALS)));

    let transforms = |count| Sa::offer([Proposal { transforms: vec![small.transforms[0].clone(); count], ..small.clone() }]);
    assert_eq!(parse(&emit(&transforms(limits::TRANSFORMS))), Ok(transforms(limits::TRANSFORMS)));
    let fault = Fault::TooMany(limits::TRANSFORMS);
    assert_eq!(parse(&emit(&transforms(limits::TRANSFORMS + 1))), malformed(Part::Proposal, fault));
    assert_eq!(transforms(256).emit(&mut Writer::new()), Err(EmitError::Oversize(Part::Proposal)));
}

#[test]
fn offers_follow_the_configuration() {
    let algorithms: IkeProposal = "aes256gcm16-prfsha384-x25519-ecp256".parse().unwrap();
    let offer = Proposal::ike(&algorithms, None);
    let names: Vec<_> = offer.transforms.iter().map(alloc::string::ToString::to_string).collect();
    assert_eq!(names, ["AES_GCM_16_256", "PRF_HMAC_SHA2_384", "CURVE_25519", "ECP_256"]);
    assert_eq!((offer.spi.len(), offer.ike_spi()), (0, None));
    let spi = IkeSpi::new(0x0102_0304_0506_0708);
    assert_eq!(Proposal::ike(&algorithms, spi).ike_spi(), spi);

    let spi = Spi::new(0xc000_0001).unwrap();
    let esp: EspProposal = "aes128-sha256-x25519-esn".parse().unwrap();
    let offer = Proposal::child(&esp.into(), spi);
    assert_eq!((offer.protocol, offer.child_spi()), (Protocol::ESP, Some(spi)));
    assert_eq!(offer.of_type(TransformType::KE).count(), 1);
    let offer = offer.without_key_exchange();
    let names: Vec<_> = offer.transforms.iter().map(alloc::string::ToString::to_string).collect();
    assert_eq!(names, ["AES_CBC_128", "HMAC_SHA2_256_128", "EXT_SEQ"]);

    let ah: AhProposal = "sha384-ecp256".parse().unwrap();
    let offer = Proposal::child(&ah.into(), spi);
    let names: Vec<_> = offer.transforms.iter().map(alloc::string::ToString::to_string).collect();
    assert_eq!((offer.protocol, names), (Protocol::AH, ["HMAC_SHA2_384_192", "ECP_256", "NO_EXT_SEQ"].map(String::from).to_vec()));
}
