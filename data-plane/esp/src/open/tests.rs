extern crate std;

use ipsec_types::SequenceNumbers::{Extended, Standard};
use packet::ip::{self, Ip};
use packet::ipv4::{Ipv4, Ipv4Header, PROTOCOL_ESP, PROTOCOL_UDP};
use packet::{VecBuffer, ipv6, udp};
use proptest::prelude::*;
use std::vec::Vec;

use super::trailer::strip_trailer;
use super::*;
use crate::fixtures::{INNER, UDP, forge, inbound, inner, open_one, outbound, seal_one, tunnel};
use crate::{Ends, Template, Tunnel, seal};

#[test]
fn every_inner_length_makes_the_round_trip() {
    for (numbers, udp) in [(Standard, None), (Extended, UDP)] {
        let (sa, tunnel) = (outbound(numbers), tunnel(udp));
        let (inbound, mut window) = inbound(numbers, 64);
        for len in 20..=1500 {
            let packet = inner(INNER, len);
            let mut buffer = seal_one(&sa, &tunnel, &packet).unwrap();
            assert_eq!(buffer.len(), tunnel.outer_len(sa.layout(), len));
            let opened = open_one(&inbound, &mut window, &mut buffer).unwrap();
            assert_eq!(buffer.bytes(), packet);
            assert_eq!((opened.inner.total_len(), opened.number, opened.accepted), (len, sa.last_taken(), Accepted::Newest));
        }
    }
}

#[test]
fn extended_numbers_cross_the_32_bit_edge() {
    let sa = outbound(Extended);
    let (inbound, mut window) = inbound(Extended, 64);
    sa.skip_to((1 << 32) - 70);
    let mut sealed: Vec<VecBuffer> = (0..140).map(|_| seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap()).collect();
    let late = sealed.remove(75); // 2^32 + 5
    // The first packet is 2^32 - 70: without the state of a long-lived SA its high half is zero, which is right.
    for (buffer, number) in sealed.iter_mut().zip(((1_u64 << 32) - 70..).filter(|n| *n != (1 << 32) + 5)) {
        assert_eq!(open_one(&inbound, &mut window, buffer).map(|o| o.number), Ok(number));
    }
    assert_eq!(window.top(), (1 << 32) + 69);
    // 2^32 + 5 is 64 behind the top: just out of the window, so it is taken for a number 2^32 higher, whose ICV is wrong.
    assert_eq!(open_one(&inbound, &mut window, &mut late.clone()).err(), Some(OpenError::Integrity));
}

#[test]
fn standard_numbers_end_and_never_wrap() {
    let sa = outbound(Standard);
    sa.skip_to(u64::MAX);
    assert!(sa.take_one().is_err(), "skipping ends at the end");
    let sa = outbound(Standard);
    sa.skip_to(u32::MAX.into());
    let (inbound, mut window) = inbound(Standard, 64);
    let mut last = seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap();
    assert_eq!(open_one(&inbound, &mut window, &mut last).map(|o| o.number), Ok(u32::MAX.into()));
    assert!(sa.take_one().is_err() && sa.take(32).is_err());
    assert_eq!(sa.last_taken(), u32::MAX.into());
}

#[test]
fn a_replayed_or_old_packet_is_dropped_before_and_after_the_cipher() {
    let sa = outbound(Standard);
    let (inbound, mut window) = inbound(Standard, 64);
    let sealed: Vec<VecBuffer> = (0..66).map(|_| seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap()).collect();
    let mut open = |at: usize| open_one(&inbound, &mut window, &mut sealed[at].clone()).map(|o| o.accepted);
    assert_eq!(open(65), Ok(Accepted::Newest));
    assert_eq!(open(65), Err(OpenError::Replay));
    assert_eq!(open(2), Ok(Accepted::Late), "number 3 is the last within 64 of 66");
    assert_eq!(open(2), Err(OpenError::Replay));
    assert_eq!(open(1), Err(OpenError::OutOfWindow));

    // Two copies in one burst: both pass the look, one passes the end.
    let (mut a, mut b) = (sealed[9].clone(), sealed[9].clone());
    let plan = |buffer: &mut VecBuffer| prepare(&inbound, &window, &IpsecPacket::parse(buffer.bytes()).unwrap(), buffer).unwrap();
    let (plan_a, plan_b) = (plan(&mut a), plan(&mut b));
    let verified = esp_crypto::open_burst(&mut [plan_a.job(&mut a).unwrap(), plan_b.job(&mut b).unwrap()]);
    assert_eq!(verified.bits(), 3);
    assert!(plan_a.finish(true, &mut window, &mut a).is_ok());
    assert_eq!(plan_b.finish(true, &mut window, &mut b).err(), Some(OpenError::Replay));
}

#[test]
fn without_a_window_everything_authentic_passes() {
    for numbers in [Standard, Extended] {
        let sa = outbound(numbers);
        let (inbound, mut window) = inbound(numbers, 0);
        let sealed: Vec<VecBuffer> = (0..3).map(|_| seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap()).collect();
        for at in [2, 2, 0, 1, 1] {
            assert!(open_one(&inbound, &mut window, &mut sealed[at].clone()).is_ok());
        }
    }
}

#[test]
fn a_forged_packet_does_not_move_the_window() {
    let sa = outbound(Standard);
    let (inbound, mut window) = inbound(Standard, 64);
    let good = seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap();
    let mut far = good.clone();
    far.bytes_mut()[24] = 0x7f; // the sequence number
    assert_eq!(open_one(&inbound, &mut window, &mut far).err(), Some(OpenError::Integrity));
    assert_eq!(window.top(), 0);
    assert!(open_one(&inbound, &mut window, &mut good.clone()).is_ok());
}

/// Every octet from the SPI on is authenticated, as is the IV through the nonce.
#[test]
fn a_flipped_bit_anywhere_ends_in_a_drop() {
    let sa = outbound(Extended);
    let (inbound, mut window) = inbound(Extended, 64);
    let good = seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap();
    for at in 20..good.len() {
        let mut bad = good.clone();
        bad.bytes_mut()[at] ^= 0x10;
        let expected = if at < 24 { OpenError::WrongSpi } else { OpenError::Integrity };
        assert_eq!(open_one(&inbound, &mut window, &mut bad).err(), Some(expected), "octet {at}");
    }
    assert_eq!(window.top(), 0);
}

#[test]
fn runts_end_where_the_shortest_packet_begins() {
    let (inbound, mut window) = inbound(Standard, 64);
    let outer = |payload: &[u8], protocol| {
        let header = Ipv4Header { protocol, ..INNER }.to_octets(payload.len()).unwrap();
        VecBuffer::from_packet(&[&header[..], payload].concat())
    };
    let spi = crate::fixtures::SPI.to_be_bytes();
    for len in 0..34 {
        let mut esp = [0; 34];
        esp[..4].copy_from_slice(&spi);
        esp[7] = 1;
        assert_eq!(open_one(&inbound, &mut window, &mut outer(&esp[..len], PROTOCOL_ESP)).err(), Some(OpenError::Runt), "{len}");
        assert_eq!(open_one(&inbound, &mut window, &mut outer(&esp, PROTOCOL_ESP)).err(), Some(OpenError::Integrity));
    }
    let udp = |payload: &[u8]| {
        let header = udp::header_without_checksum(4500, 4500, payload.len()).unwrap();
        IpsecPacket::parse(outer(&[&header[..], payload].concat(), PROTOCOL_UDP).bytes()).map(|p| p.spi)
    };
    assert_eq!(udp(&[1, 2, 3]), Err(OpenError::Runt));
    assert_eq!(udp(&[1, 2, 3, 4, 5, 6, 7]), Err(OpenError::Runt));
    assert_eq!(udp(&[1, 2, 3, 4, 5, 6, 7, 8]), Ok(0x0102_0304));
    assert_eq!(udp(&[0xff]), Err(OpenError::NotIpsec));
    assert_eq!(udp(&[0, 0, 0, 0, 1]), Err(OpenError::NotIpsec));
}

#[test]
fn an_outer_packet_must_be_whole() {
    let sa = outbound(Standard);
    let good = seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap();
    let with = |at: usize, value: u8| {
        let mut bytes = good.bytes().to_vec();
        bytes[at] = value;
        bytes[10..12].fill(0);
        let sum = packet::checksum::internet(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        IpsecPacket::parse(&bytes).err()
    };
    assert_eq!(with(6, 0x20), Some(OpenError::Fragment));
    assert_eq!(with(7, 1), Some(OpenError::Fragment));
    assert_eq!(with(9, 6), Some(OpenError::NotIpsec));
    assert_eq!(with(0, 0x44), Some(OpenError::MalformedOuter));
    assert_eq!(IpsecPacket::parse(&good.bytes()[..good.len() - 1]).err(), Some(OpenError::MalformedOuter));
}

/// Opens an authentic packet with this plaintext.
fn opened(plaintext: &[u8]) -> Result<Opened, OpenError> {
    let (inbound, mut window) = inbound(Standard, 64);
    let result = open_one(&inbound, &mut window, &mut forge(1, 0, plaintext));
    assert_eq!(window.top(), 1, "the packet is authentic, so the window advances whatever it holds");
    result
}

#[test]
fn padding_is_checked_to_the_last_octet() {
    let packet = inner(INNER, 38);
    let with_trailer = |trailer: &[u8]| opened(&[&packet[..], trailer].concat()).map(|o| o.inner.total_len());
    assert_eq!(with_trailer(&[0, 4]), Ok(38));
    assert_eq!(with_trailer(&[1, 2, 3, 4, 4, 4]), Ok(38));
    let longest: Vec<u8> = (1..=255).chain([255, 4]).collect();
    assert_eq!(with_trailer(&longest), Ok(38));
    assert_eq!(with_trailer(&[1, 2, 3, 5, 4, 4]), Err(OpenError::BadPadding));
    assert_eq!(with_trailer(&[0, 2, 3, 4, 4, 4]), Err(OpenError::BadPadding));
    assert_eq!(with_trailer(&[0, 0, 0, 0, 4, 4]), Err(OpenError::BadPadding));
    assert_eq!(opened(&[0, 4]), Err(OpenError::MalformedInner));
    assert_eq!(opened(&[1, 4]), Err(OpenError::BadPadding));
    assert_eq!(opened(&[1, 1, 4]), Err(OpenError::MalformedInner));
    assert_eq!(opened(&[1, 2, 4]), Err(OpenError::BadPadding));
}

#[test]
fn tunnel_mode_carries_ip_only() {
    let packet = inner(INNER, 38);
    let with_next_header = |next| opened(&[&packet[..], &[0, next]].concat()).map(|o| o.inner.total_len());
    assert_eq!(with_next_header(59), Err(OpenError::Dummy));
    assert_eq!(with_next_header(41), Err(OpenError::MalformedInner), "IPv4 under the number of IPv6");
    for next in [0, 6, 17, 43, 50, 255] {
        assert_eq!(with_next_header(next), Err(OpenError::BadNextHeader(next)));
    }
    assert_eq!(opened(&[1, 1, 59]), Err(OpenError::Dummy), "a dummy needs no payload");
}

#[test]
fn the_inner_packet_is_checked() {
    let packet = inner(INNER, 38);
    let with = |at: usize, value: u8| {
        let mut bytes = packet.clone();
        bytes[at] = value;
        opened(&[&bytes[..], &[0, 4]].concat()).err()
    };
    assert_eq!(with(0, 0x65), Some(OpenError::MalformedInner));
    assert_eq!(with(3, 39), Some(OpenError::MalformedInner));
    assert_eq!(with(10, packet[10] ^ 1), Some(OpenError::MalformedInner));
    let stranger = inner(Ipv4Header { source: [10, 77, 3, 1].into(), ..INNER }, 38);
    assert_eq!(opened(&[&stranger[..], &[0, 4]].concat()), Err(OpenError::SelectorMismatch));
    let astray = inner(Ipv4Header { destination: [10, 77, 1, 10].into(), ..INNER }, 38);
    assert_eq!(opened(&[&astray[..], &[0, 4]].concat()), Err(OpenError::SelectorMismatch));
}

#[test]
fn padding_for_traffic_flow_confidentiality_and_ethernet_is_cut_off() {
    let packet = inner(INNER, 38);
    let (inbound, mut window) = inbound(Standard, 64);
    let mut buffer = forge(1, 0, &[&packet[..], &[0; 100], &[1, 2, 2, 4]].concat());
    buffer.append(6).unwrap().fill(0xee);
    assert!(open_one(&inbound, &mut window, &mut buffer).is_ok());
    assert_eq!(buffer.bytes(), packet);
}

#[test]
fn congestion_is_passed_on() {
    let ecn = |inner_class, outer_class| {
        let packet = inner(Ipv4Header { traffic_class: inner_class, ..INNER }, 38);
        let (inbound, mut window) = inbound(Standard, 64);
        let mut buffer = forge(1, outer_class, &[&packet[..], &[0, 4]].concat());
        open_one(&inbound, &mut window, &mut buffer).map(|_| Ipv4::parse(buffer.bytes()).unwrap().traffic_class())
    };
    assert_eq!(ecn(0xb8 | 2, 3), Ok(0xb8 | 3));
    assert_eq!(ecn(0xb8, 0x20), Ok(0xb8), "the outer DSCP does not come in");
    assert_eq!(ecn(0, 3), Err(OpenError::Congestion));
}

/// RFC 6040 figure 4 with both IP versions in both: a row for each ECN field of the inner packet (Not-ECT, ECT(1), ECT(0), CE), a column for each of the
/// outer one in the same order. DSCP and all else stay as they are.
#[test]
fn congestion_is_passed_on_between_all_mixes_of_ip_versions() {
    const FIGURE_4: [[Option<u8>; 4]; 4] = [
        [Some(0), Some(0), Some(0), None],
        [Some(1), Some(1), Some(1), Some(3)],
        [Some(2), Some(1), Some(2), Some(3)],
        [Some(3), Some(3), Some(3), Some(3)],
    ];
    let addresses6 = ("fd77:1::10".parse().unwrap(), "fd77:2::10".parse().unwrap());
    let six = |traffic_class| {
        let header = ipv6::Ipv6Header { traffic_class, next_header: 17, hop_limit: 63, source: addresses6.0, destination: addresses6.1 };
        [&header.to_octets(20).unwrap()[..], &[0x5a; 20]].concat()
    };
    let four = |traffic_class| inner(Ipv4Header { traffic_class, ..INNER }, 40);
    let outer6 = Tunnel { ends: Ends::V6 { source: addresses6.0, destination: addresses6.1 }, ..tunnel(None) };
    for tunnel in [tunnel(None), outer6] {
        let sa = outbound(Standard);
        let (inbound, mut window) = inbound(Standard, 64);
        for (ecn, row) in (0..).zip(FIGURE_4) {
            for (outer_ecn, expected) in (0..).zip(row) {
                for packet in [&four as &dyn Fn(u8) -> Vec<u8>, &six] {
                    let mut buffer = seal_one(&sa, &tunnel, &packet(0xb8 | ecn)).unwrap();
                    assert_eq!(Ip::parse(buffer.bytes()).unwrap().traffic_class(), 0xb8 | ecn, "normal mode");
                    ip::replace_traffic_class(buffer.bytes_mut(), 0x28 | outer_ecn);
                    match (open_one(&inbound, &mut window, &mut buffer), expected) {
                        (Ok(_), Some(ecn)) => assert_eq!(buffer.bytes(), packet(0xb8 | ecn)),
                        (Err(error), None) => assert_eq!(error, OpenError::Congestion),
                        (result, _) => panic!("{ecn} in {outer_ecn}: {result:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn a_failed_check_is_final() {
    let sa = outbound(Standard);
    let (inbound, mut window) = inbound(Standard, 64);
    let mut buffer = seal_one(&sa, &tunnel(None), &inner(INNER, 40)).unwrap();
    let packet = IpsecPacket::parse(buffer.bytes()).unwrap();
    let plan = prepare(&inbound, &window, &packet, &mut buffer).unwrap();
    assert_eq!(plan.finish(false, &mut window, &mut buffer).err(), Some(OpenError::Integrity));
    assert_eq!(window.top(), 0);
}

proptest! {
    #[test]
    fn any_octets_end_in_a_drop(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let (inbound, mut window) = inbound(Extended, 64);
        prop_assert!(open_one(&inbound, &mut window, &mut VecBuffer::from_packet(&bytes)).is_err());
    }

    /// Behind the cipher too nothing panics, whatever an authentic peer sends.
    #[test]
    fn any_plaintext_opens_or_is_dropped(mut plaintext in prop::collection::vec(any::<u8>(), 2..120), pad in 0..8u8) {
        let len = plaintext.len();
        plaintext[len - 2] = pad;
        plaintext[len - 1] = 4;
        for (at, octet) in plaintext.iter_mut().rev().skip(2).take(pad.into()).enumerate() {
            *octet = pad - u8::try_from(at).unwrap();
        }
        if let Some(first) = plaintext.first_mut() { *first = 0x45; }
        let _ = opened(&plaintext);
    }

    #[test]
    fn any_ipv4_packet_survives(class in any::<u8>(), protocol in any::<u8>(), df in any::<bool>(), len in 20..200usize, esn in any::<bool>()) {
        let numbers = if esn { Extended } else { Standard };
        let packet = inner(Ipv4Header { traffic_class: class, protocol, dont_fragment: df, ..INNER }, len);
        let (inbound, mut window) = inbound(numbers, 1024);
        let mut buffer = seal_one(&outbound(numbers), &tunnel(UDP), &packet).unwrap();
        prop_assert!(open_one(&inbound, &mut window, &mut buffer).is_ok());
        prop_assert_eq!(buffer.bytes(), packet);
    }
}

#[test]
fn a_plan_fits_its_own_buffer_only() {
    let sa = outbound(Standard);
    let (inbound, window) = inbound(Standard, 64);
    let mut buffer = seal_one(&sa, &tunnel(None), &inner(INNER, 400)).unwrap();
    let plan = prepare(&inbound, &window, &IpsecPacket::parse(buffer.bytes()).unwrap(), &mut buffer).unwrap();
    assert!(plan.job(&mut VecBuffer::from_packet(&[0; 60])).is_none());
    let mut clear = VecBuffer::from_packet(&inner(INNER, 40));
    assert!(seal::parse_and_prepare(sa.take_one().unwrap(), &Template::new(&sa, &tunnel(None)), &mut clear).is_ok());
}

#[test]
fn padding_is_checked_alike_whatever_its_length_and_whatever_is_in_front() {
    for pad_len in 0..=8_u8 {
        for in_front in 0..12 {
            let padding: Vec<u8> = (1..=pad_len).collect();
            let data = [&std::vec![0xee; in_front][..], &padding, &[pad_len, 4]].concat();
            assert_eq!(strip_trailer(&data), Ok((in_front, 4)));
            for at in in_front..data.len() - 2 {
                for bit in 0..8 {
                    let mut wrong = data.clone();
                    wrong[at] ^= 1 << bit;
                    assert_eq!(strip_trailer(&wrong), Err(OpenError::BadPadding));
                }
            }
        }
    }
}
