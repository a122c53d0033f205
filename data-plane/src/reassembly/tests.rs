use std::collections::HashSet;
use std::net::Ipv4Addr;

use packet::ipv4::{Ipv4, Ipv4Header};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::command::{Origin, PortId};

const PORT: Origin = Origin::Port(PortId(1));

fn key(source: u32, identification: u32) -> Key {
    let (source, destination) = (Ipv4Addr::from(source).into(), Ipv4Addr::new(192, 0, 2, 1).into());
    Key { origin: PORT, source, destination, identification, protocol: Some(17) }
}

fn fragment(key: Key, offset: usize, more: bool, payload: &[u8]) -> Fragment<'_> {
    let header = if offset == 0 { vec![0x45; 34] } else { Vec::new() };
    Fragment { key, offset, more, header, payload }
}

impl Reassembler {
    /// What is kept: datagrams, fragments and their octets, counted anew.
    fn usage(&self) -> (usize, usize, usize) {
        let collected = || {
            self.datagrams.values().filter_map(|datagram| match &datagram.state {
                State::Collecting(collected) => Some(collected),
                State::GivenUp => None,
            })
        };
        let fragments = collected().map(|collected| collected.parts.len()).sum();
        let octets = collected().flat_map(|collected| &collected.parts).map(|part| part.octets.len()).sum();
        assert_eq!(octets, collected().map(|collected| collected.octets).sum::<usize>());
        assert_eq!(self.sources.values().sum::<usize>(), self.datagrams.len());
        assert!(self.sources.values().all(|count| (1..=SOURCE_DATAGRAMS).contains(count)));
        assert!(collected().all(|collected| collected.parts.len() <= FRAGMENTS && collected.octets <= OCTETS));
        (self.datagrams.len(), fragments, octets)
    }

    fn holds(&self, key: &Key) -> bool {
        self.datagrams.contains_key(key)
    }
}

/// An IPv4 packet in a frame, cut at multiples of eight octets as a router would.
fn cut(payload: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<Vec<u8>>) {
    let header = Ipv4Header {
        traffic_class: 0,
        identification: 7,
        dont_fragment: false,
        ttl: 64,
        protocol: 17,
        source: [192, 0, 2, 2].into(),
        destination: [192, 0, 2, 1].into(),
    };
    let frame = |offset: usize, more: bool, part: &[u8]| {
        let mut packet = [&header.to_octets(part.len()).unwrap()[..], part].concat();
        packet::ipv4::set_fragment(&mut packet, u16::try_from(offset).unwrap(), more);
        [&[2; 12][..], &[8, 0], &packet].concat()
    };
    let places: std::collections::BTreeSet<usize> = cuts.iter().map(|cut| cut * 8).filter(|cut| (1..payload.len()).contains(cut)).collect();
    let starts: Vec<usize> = [0].into_iter().chain(places).collect();
    let ends = starts.iter().skip(1).copied().chain([payload.len()]);
    let frames = starts.iter().copied().zip(ends).map(|(start, end)| frame(start, end < payload.len(), &payload[start..end])).collect();
    (frame(0, false, payload), frames)
}

proptest! {
    #[test]
    fn fragments_in_any_order_and_number_of_copies_make_the_packet_they_were_cut_from(
        payload in vec(any::<u8>(), 16..2000), cuts in vec(1..250usize, 1..20), order in vec((any::<prop::sample::Index>(), 1..3usize), 60..61),
    ) {
        let (packet, mut frames) = cut(&payload, &cuts);
        prop_assume!(frames.len() > 1);
        let mut table = Reassembler::default();
        let mut whole = None;
        for (index, copies) in order {
            if frames.is_empty() {
                break;
            }
            let frame = frames.remove(index.index(frames.len()));
            let fragment = Fragment::read(PORT, &frame).unwrap();
            prop_assert!(whole.is_none());
            whole = table.accept(&fragment, 5).unwrap();
            for _ in 1..copies {
                if whole.is_none() {
                    prop_assert_eq!(table.accept(&fragment, 5), Err(Dropped::Duplicate));
                }
            }
        }
        prop_assert_eq!(whole, Some(packet));
        prop_assert_eq!(table.usage(), (0, 0, 0));
    }

    #[test]
    fn a_hole_is_never_filled(payload in vec(any::<u8>(), 16..1000), cuts in vec(1..120usize, 1..20), missing: prop::sample::Index) {
        let (_, mut frames) = cut(&payload, &cuts);
        prop_assume!(frames.len() > 1);
        frames.remove(missing.index(frames.len()));
        let mut table = Reassembler::default();
        for frame in &frames {
            prop_assert_eq!(table.accept(&Fragment::read(PORT, frame).unwrap(), 5), Ok(None));
        }
        prop_assert_eq!(table.expire(5 + AGE_MS - 1), 0);
        prop_assert_eq!(table.expire(5 + AGE_MS), 1);
        prop_assert_eq!(table.usage(), (0, 0, 0));
    }

    /// One overlap, and nothing of the datagram is delivered whatever else arrives, nor kept.
    #[test]
    fn an_overlap_spoils_the_datagram(
        payload in vec(any::<u8>(), 64..600), cuts in vec(1..60usize, 2..20), at: prop::sample::Index, evil in (0..70usize, 1..12usize, any::<bool>()),
    ) {
        let (_, frames) = cut(&payload, &cuts);
        prop_assume!(frames.len() > 2);
        let (start, eighths, more) = evil;
        let octets = vec![0xee; eighths * 8];
        let before = at.index(frames.len() - 1) + 1;
        let sent: Vec<_> = frames.iter().map(|frame| Fragment::read(PORT, frame).unwrap()).collect();
        let evil = Fragment { offset: start * 8, more, payload: &octets, header: Vec::new(), ..sent[0].clone() };
        prop_assume!(evil.offset > 0 || more);
        let touches = |part: &Fragment<'_>| part.offset < evil.offset + octets.len() && evil.offset < part.offset + part.payload.len();
        prop_assume!(sent[..before].iter().any(touches) && sent[..before].iter().all(|part| part.payload != octets));
        let mut table = Reassembler::default();
        for part in &sent[..before] {
            prop_assert_eq!(table.accept(part, 5), Ok(None));
        }
        prop_assert_eq!(table.accept(&evil, 5), Err(Dropped::Overlap));
        for part in &sent {
            prop_assert_eq!(table.accept(part, 5), Err(Dropped::GivenUp));
        }
        prop_assert_eq!(table.usage(), (1, 0, 0));
        prop_assert_eq!(table.expire(5 + AGE_MS), 0, "given up before, so it does not count as incomplete");
    }

    #[test]
    fn whatever_arrives_the_bounds_hold(
        arrivals in vec((0..40u32, 0..30u32, 0..80usize, 1..1500usize, any::<bool>(), 0..400u64), 1..700),
    ) {
        let octets = [0xab; 1500];
        let (mut table, mut now) = (Reassembler::default(), 0);
        for (source, id, offset, len, more, later) in arrivals {
            now += later;
            table.expire(now);
            let _ = table.accept(&fragment(key(source, id), offset * 8 * 64, more, &octets[..len]), now);
            let (datagrams, _, _) = table.usage();
            prop_assert!(datagrams <= DATAGRAMS);
        }
    }

    #[test]
    fn hostile_octets_never_panic(octets in vec(any::<u8>(), 0..120), at in 0..60usize, value: u8) {
        let _ = Fragment::read(PORT, &octets);
        let (_, mut frames) = cut(&[1; 80], &[4]);
        if let Some(octet) = frames[0].get_mut(at) { *octet = value; }
        let mut table = Reassembler::default();
        for frame in &frames {
            if let Some(fragment) = Fragment::read(PORT, frame) {
                let _ = table.accept(&fragment, 0);
            }
        }
    }
}

#[test]
fn the_first_header_is_mended() {
    let payload: Vec<u8> = (0..100).collect();
    let (_, frames) = cut(&payload, &[4]);
    let mut table = Reassembler::default();
    assert_eq!(table.accept(&Fragment::read(PORT, &frames[1]).unwrap(), 0), Ok(None));
    let whole = table.accept(&Fragment::read(PORT, &frames[0]).unwrap(), 0).unwrap().unwrap();
    let ip = Ipv4::parse(&whole[14..]).unwrap();
    assert_eq!((ip.is_fragment(), ip.payload(), ip.identification()), (false, &payload[..], 7));
}

/// Made by scapy 2.5: UDP behind destination options, those behind hop-by-hop options, cut in two.
#[test]
fn ipv6_extension_headers_stay_in_front_and_the_fragment_header_goes() {
    let mut table = Reassembler::default();
    let origin = Origin::Tunnel(ipsec_types::ChildSaId(1));
    let [first, last, whole] =
        SCAPY_IPV6.map(|text| (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect::<Vec<_>>());
    let read = |packet| Fragment::read(origin, packet).unwrap();
    assert_eq!(
        read(&first).key,
        Key {
            origin,
            source: "2001:db8::2".parse().unwrap(),
            destination: "2001:db8::1".parse().unwrap(),
            identification: 0x1234_5678,
            protocol: None
        }
    );
    assert_eq!(table.accept(&read(&last), 0), Ok(None));
    assert_eq!(table.accept(&read(&first), 0), Ok(Some(whole.clone())));
    assert!(Fragment::read(origin, &whole).is_none());
    // First and last at a time: whole by itself, and nothing is kept (RFC 6946).
    let mut atomic = whole.clone();
    atomic[40] = 44;
    atomic.splice(48..48, [60, 0, 0, 0, 1, 2, 3, 4]);
    let length = u16::try_from(atomic.len() - 40).unwrap().to_be_bytes();
    atomic[4..6].copy_from_slice(&length);
    assert_eq!(table.accept(&read(&atomic), 0), Ok(Some(whole)));
    assert_eq!(table.usage(), (0, 0, 0));
}
const SCAPY_IPV6: [&str; 3] = [
    "600000000040004020010db800000000000000000000000220010db80000000000000000000000012c000104000000003c00000112345678110001040000000001f401f400587ce1696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521",
    "600000000040004020010db800000000000000000000000220010db80000000000000000000000012c000104000000003c00003012345678696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521",
    "600000000068004020010db800000000000000000000000220010db80000000000000000000000013c00010400000000110001040000000001f401f400587ce1696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521696b6521",
];

#[test]
fn fragments_of_one_name_that_came_different_ways_do_not_mix() {
    let mut table = Reassembler::default();
    let inside = Key { origin: Origin::Tunnel(ipsec_types::ChildSaId(1)), ..key(1, 1) };
    assert_eq!(table.accept(&fragment(key(1, 1), 0, true, &[0; 8]), 0), Ok(None));
    assert_eq!(table.accept(&fragment(inside, 8, false, &[0; 8]), 0), Ok(None));
    assert_eq!(table.accept(&fragment(Key { protocol: Some(1), ..key(1, 1) }, 8, false, &[0; 8]), 0), Ok(None));
    assert_eq!(table.usage(), (3, 3, 24));
}

#[test]
fn impossible_lengths_are_refused() {
    let mut table = Reassembler::default();
    for (more, len) in [(true, 0), (false, 0), (true, 7), (true, 9)] {
        assert_eq!(table.accept(&fragment(key(1, 1), 8, more, &vec![0; len]), 0), Err(Dropped::Malformed));
    }
    assert_eq!(table.usage(), (0, 0, 0), "nothing is kept of them");
}

#[test]
fn two_ends_are_an_overlap() {
    let cases: [&[(usize, bool, usize)]; 4] = [
        &[(8, false, 8), (16, false, 8)],
        &[(8, false, 8), (16, true, 8)],
        &[(16, true, 8), (8, false, 8)],
        &[(8, true, 8), (8, false, 8)],
    ];
    for fragments in cases {
        let mut table = Reassembler::default();
        let mut last = Ok(None);
        for (offset, more, len) in fragments {
            last = table.accept(&fragment(key(1, 1), *offset, *more, &vec![0; *len]), 0);
        }
        assert_eq!(last, Err(Dropped::Overlap), "{fragments:?}");
    }
}

#[test]
fn a_datagram_is_as_long_as_it_may_be_and_no_longer() {
    let octets = vec![0; OCTETS / FRAGMENTS];
    let mut table = Reassembler::default();
    for at in 0..FRAGMENTS - 1 {
        assert_eq!(table.accept(&fragment(key(1, 1), at * octets.len(), true, &octets), 0), Ok(None));
    }
    let last = (FRAGMENTS - 1) * octets.len();
    let whole = table.accept(&fragment(key(1, 1), last, false, &octets), 0).unwrap().unwrap();
    assert_eq!(whole.len(), OCTETS + 34, "as many fragments and octets as there may be");

    assert_eq!(table.accept(&fragment(key(1, 2), last, false, &vec![0; octets.len() + 1]), 0), Err(Dropped::TooLong), "one octet more");
    for at in 0..FRAGMENTS {
        assert_eq!(table.accept(&fragment(key(1, 3), at * 8, true, &[0; 8]), 0), Ok(None));
    }
    assert_eq!(table.accept(&fragment(key(1, 3), FRAGMENTS * 8, false, &[0; 8]), 0), Err(Dropped::TooLong), "one fragment more");
    assert_eq!(table.usage(), (2, 0, 0));
}

#[test]
fn a_source_has_its_share_and_replaces_its_own() {
    let mut table = Reassembler::default();
    assert_eq!(table.accept(&fragment(key(2, 0), 0, true, &[0; 8]), 0), Ok(None));
    for id in 0..=u32::try_from(SOURCE_DATAGRAMS).unwrap() {
        assert_eq!(table.accept(&fragment(key(1, id), 0, true, &[0; 8]), id.into()), Ok(None));
    }
    assert_eq!((table.usage().0, table.take_evicted()), (SOURCE_DATAGRAMS + 1, 1));
    assert!(table.holds(&key(2, 0)) && !table.holds(&key(1, 0)) && table.holds(&key(1, 1)), "its own oldest has gone");
    let of_the_subnet = |host: u16| Key { source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, host).into(), protocol: None, ..key(0, 0) };
    (1..100).for_each(|host| assert_eq!(table.accept(&fragment(of_the_subnet(host), 0, true, &[0; 8]), 50), Ok(None)));
    assert_eq!(table.usage().0, 2 * SOURCE_DATAGRAMS + 1, "an IPv6 subnet is one source");
}

/// Who has much makes room; who has as little as everybody does not, until it has waited long enough.
#[test]
fn a_newcomer_in_a_full_table_does_not_push_out_its_equals() {
    let mut table = Reassembler::default();
    let greedy = DATAGRAMS / SOURCE_DATAGRAMS;
    for n in 0..u32::try_from(DATAGRAMS).unwrap() {
        let source = n % u32::try_from(greedy).unwrap();
        assert_eq!(table.accept(&fragment(key(source, n), 0, true, &[0; 8]), 0), Ok(None));
    }
    // Sources with one datagram each take the place of those with many, until all have the same.
    let mut newcomers = (1000..).map(|source| key(source, 0));
    let mut taken = HashSet::new();
    for _ in 0..DATAGRAMS - greedy {
        let key = newcomers.next().unwrap();
        assert_eq!(table.accept(&fragment(key, 0, true, &[0; 8]), 1), Ok(None));
        taken.insert(key);
    }
    assert!(taken.iter().all(|key| table.holds(key)) && table.usage().0 == DATAGRAMS);
    let late = newcomers.next().unwrap();
    assert_eq!(table.accept(&fragment(late, 0, true, &[0; 8]), SETTLED_MS - 1), Err(Dropped::Full));
    assert_eq!(table.accept(&fragment(late, 0, true, &[0; 8]), SETTLED_MS), Ok(None), "an old one has had its time");
    assert_eq!(
        table.accept(&fragment(*taken.iter().next().unwrap(), 8, false, &[0; 8]), SETTLED_MS).map(|whole| whole.is_some()),
        Ok(true)
    );
    assert_eq!(table.take_evicted(), u64::try_from(DATAGRAMS - greedy + 1).unwrap());
}
