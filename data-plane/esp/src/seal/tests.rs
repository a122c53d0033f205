extern crate std;

use core::iter;
use std::vec;
use std::vec::Vec;

use ipsec_types::SequenceNumbers;
use packet::VecBuffer;
use packet::ipv4::Ipv4Header;

use super::*;
use crate::fixtures::{INNER, SPI, UDP, inbound, inner, open_one, outbound, outer, seal_one, tunnel};
use crate::{DontFragment, Ends, MAX_HEADROOM, Tunnel};

#[test]
fn a_packet_is_laid_out_as_rfc_4303_and_rfc_3948_say() {
    let plain = seal_one(&outbound(SequenceNumbers::Standard), &tunnel(None), &inner(INNER, 60)).unwrap();
    let packet = outer(&plain);
    assert_eq!((packet.protocol(), packet.ttl(), packet.total_len()), (50, 64, plain.len()));
    assert_eq!((packet.source(), packet.destination()), ([192, 0, 2, 1].into(), [192, 0, 2, 2].into()));
    assert_eq!(&packet.payload()[..16], [&SPI.to_be_bytes()[..], &[0, 0, 0, 1], &[0, 0, 0, 0, 0, 0, 0, 1]].concat());

    let in_udp = seal_one(&outbound(SequenceNumbers::Standard), &tunnel(UDP), &inner(INNER, 60)).unwrap();
    assert_eq!((outer(&in_udp).protocol(), in_udp.len()), (17, plain.len() + 8));
    let datagram = udp::Udp::parse(outer(&in_udp).payload()).unwrap();
    assert_eq!((datagram.source_port, datagram.destination_port, datagram.checksum), (4500, 4501, 0));
    assert_eq!(datagram.payload, packet.payload(), "same key, number and packet: the ESP part is the same");
}

#[test]
fn the_outer_header_is_constructed_as_rfc_4301_says() {
    let sealed = |traffic_class, df, policy| {
        let tunnel = Tunnel { dont_fragment: policy, ..tunnel(None) };
        let buffer =
            seal_one(&outbound(SequenceNumbers::Standard), &tunnel, &inner(Ipv4Header { traffic_class, dont_fragment: df, ..INNER }, 40))
                .unwrap();
        let packet = outer(&buffer);
        (packet.traffic_class(), packet.dont_fragment(), packet.identification())
    };
    assert_eq!(sealed(0xb9, true, DontFragment::Copy), (0xb9, true, 0));
    assert_eq!(sealed(0x03, false, DontFragment::Copy), (0x03, false, 0x3345));
    assert_eq!(sealed(0, false, DontFragment::Set), (0, true, 0));
    assert_eq!(sealed(0, true, DontFragment::Clear), (0, false, 0x3345));
}

#[test]
fn room_is_used_to_the_last_octet_and_not_missed() {
    // An inner packet of 47 octets needs three octets of padding: the most.
    let packet = inner(INNER, 47);
    let prepared = |headroom, tailroom| {
        let sa = outbound(SequenceNumbers::Standard);
        let mut buffer = VecBuffer::new(&packet, headroom, tailroom);
        let result = parse_and_prepare(sa.take_one().unwrap(), &Template::new(&sa, &tunnel(UDP)), &mut buffer).map(|_| ());
        if result.is_err() {
            assert_eq!(buffer.bytes(), packet, "a refusal changes nothing");
        }
        result
    };
    // Three octets of padding, the trailer and the ICV.
    let tailroom = 3 + TRAILER_LEN + 16;
    let headroom = tunnel(UDP).front_len(outbound(SequenceNumbers::Standard).layout());
    assert_eq!(prepared(headroom, tailroom), Ok(()));
    assert_eq!(prepared(headroom - 1, tailroom), Err(SealError::NoHeadroom));
    assert_eq!(prepared(headroom, tailroom - 1), Err(SealError::NoTailroom));
}

#[test]
fn what_follows_the_inner_packet_makes_room_for_the_trailer() {
    let packet = inner(INNER, 28);
    let prepared = |surplus: usize| {
        let mut buffer = VecBuffer::new(&[&packet[..], &std::vec![0xee; surplus]].concat(), MAX_HEADROOM, 0);
        let sa = outbound(SequenceNumbers::Standard);
        let plan = parse_and_prepare(sa.take_one().unwrap(), &Template::new(&sa, &tunnel(None)), &mut buffer)?;
        assert!(plan.job(&mut buffer).is_some());
        Ok(buffer.len())
    };
    // Two octets of padding, the trailer and the ICV.
    assert_eq!(prepared(20), Ok(tunnel(None).outer_len(outbound(SequenceNumbers::Standard).layout(), 28)));
    assert_eq!(prepared(19), Err(SealError::NoTailroom));
}

#[test]
fn an_outer_packet_ends_at_65535_octets() {
    let prepared = |len| {
        let sa = outbound(SequenceNumbers::Standard);
        parse_and_prepare(sa.take_one().unwrap(), &Template::new(&sa, &tunnel(None)), &mut VecBuffer::from_packet(&inner(INNER, len)))
            .map(|_| ())
    };
    // 20 + 8 + 8 + 16 octets around a multiple of four: 65,532 is the longest.
    assert_eq!(prepared(65_478), Ok(()));
    assert_eq!(prepared(65_479), Err(SealError::TooLong));
}

#[test]
fn no_ip_packet_is_malformed() {
    let mut six = inner(INNER, 40);
    six[0] = 0x60;
    let mut bad_sum = inner(INNER, 40);
    bad_sum[10] ^= 1;
    for packet in [&[][..], &[0x45; 19], &six, &bad_sum, &inner(INNER, 40)[..39]] {
        assert_eq!(seal_one(&outbound(SequenceNumbers::Standard), &tunnel(None), packet).err(), Some(SealError::MalformedInner));
    }
}

#[test]
fn a_plan_fits_its_own_buffer_only() {
    let sa = outbound(SequenceNumbers::Standard);
    let mut buffer = VecBuffer::from_packet(&inner(INNER, 40));
    let plan = parse_and_prepare(sa.take_one().unwrap(), &Template::new(&sa, &tunnel(None)), &mut buffer).unwrap();
    assert!(plan.job(&mut VecBuffer::from_packet(&inner(INNER, 40))).is_none());
}

#[test]
fn an_sa_goes_on_counting_under_the_same_key_when_its_tunnel_leads_elsewhere() {
    let sa = outbound(SequenceNumbers::Standard);
    let packet = inner(INNER, 60);
    let here = seal_one(&sa, &tunnel(None), &packet).unwrap();
    let ends = Ends::V4 { source: [192, 0, 2, 1].into(), destination: [198, 51, 100, 7].into() };
    let there = seal_one(&sa, &Tunnel { ends, ..tunnel(UDP) }, &packet).unwrap();
    assert_eq!((outer(&here).destination(), outer(&there).destination()), ([192, 0, 2, 2].into(), [198, 51, 100, 7].into()));
    let datagram = udp::Udp::parse(outer(&there).payload()).unwrap();
    assert_eq!((datagram.source_port, datagram.destination_port), (4500, 4501));
    let (inbound, mut window) = inbound(SequenceNumbers::Standard, 64);
    for (mut buffer, number) in [(here, 1), (there, 2)] {
        assert_eq!(open_one(&inbound, &mut window, &mut buffer).map(|opened| opened.number), Ok(number));
        assert_eq!(buffer.bytes(), packet);
    }
}

#[test]
fn padding_of_any_length_counts_up() {
    for padding in 0..16 {
        for hidden in [0, 1, 100] {
            let mut back = std::vec![0xee; hidden + padding + TRAILER_LEN + 12];
            write_trailer(&mut back, hidden, padding, 41);
            let pattern: Vec<u8> = (1..=u8::try_from(padding).unwrap()).collect();
            let expected = [&std::vec![0; hidden][..], &pattern, &[u8::try_from(padding).unwrap(), 41]].concat();
            assert_eq!(back[..expected.len()], expected);
        }
    }
}

/// [`prepare_frames`] of one frame, whose link header is fourteen times 0xaa then.
fn prepare_one<'a, B: Buffer>(
    sa: &'a OutboundSa,
    template: &Template,
    pad_to: usize,
    frame: Frame<'a, B>,
    hand_over: impl FnMut(SealJob<'a>),
) -> Result<(), SealError> {
    let mut result = Ok(());
    let refuse = |_, error| result = Err(error);
    let template = template.esp_tunnel().unwrap();
    prepare_frames(sa.take(1).unwrap(), template, pad_to, &[0xaa; 14], &mut iter::once(frame), hand_over, refuse);
    result
}

fn carry_out(job: SealJob<'_>) {
    esp_crypto::seal_burst(&mut [job]);
}

/// No more than there are numbers: the others stay where they are.
#[test]
fn frames_get_numbers_in_their_order_as_far_as_there_are_any() {
    let (sa, packet) = (outbound(SequenceNumbers::Standard), inner(INNER, 28));
    sa.skip_to((1 << 32) - 2);
    let template = Template::new(&sa, &tunnel(None));
    let parsed = Parsed::parse(&packet).unwrap();
    let mut buffers = [(); 4].map(|()| VecBuffer::from_packet(&[&[0xee; 14][..], &packet].concat()));
    // The second has no room.
    buffers[1] = VecBuffer::new(&packet, 0, 0);
    let mut frames = buffers.iter_mut().zip(7..).map(|(buffer, index)| Frame { index, inner: parsed, buffer });
    let (mut jobs, mut refused) = (Vec::new(), Vec::new());
    let numbers = sa.take(4).unwrap();
    let refuse = |index, error| refused.push((index, error));
    prepare_frames(numbers, template.esp_tunnel().unwrap(), 0, &[0xaa; 14], &mut frames, |job| jobs.push(job), refuse);
    assert_eq!((jobs.len(), refused), (1, vec![(8, SealError::MalformedInner)]));
    assert_eq!(frames.map(|frame| frame.index).collect::<Vec<_>>(), [9, 10]);
    drop(jobs);
    let sequence = |buffer: &VecBuffer| buffer.bytes().get(14 + 20 + 4..14 + 20 + 8).map(<[u8]>::to_vec);
    assert_eq!(sequence(&buffers[0]), Some(vec![0xff, 0xff, 0xff, 0xfe]));
    assert_eq!(buffers[2].bytes(), [&[0xee; 14][..], &packet].concat());
}

/// Over both versions, in UDP too, where the checksum comes last.
#[test]
fn preparing_a_frame_makes_the_same_packet_as_a_plan_does_behind_another_link_header() {
    let v6 = Ends::V6 { source: [0x20; 16].into(), destination: [0x21; 16].into() };
    for (ends, udp) in [(None, None), (None, UDP), (Some(v6), None), (Some(v6), UDP)] {
        let tunnel = tunnel(udp);
        let tunnel = Tunnel { ends: ends.unwrap_or(tunnel.ends), ..tunnel };
        for (len, pad_to) in [(20, 0), (61, 0), (90, 100), (1400, 100)] {
            let sa = outbound(SequenceNumbers::Extended);
            let template = Template::new(&sa, &tunnel);
            let packet = inner(INNER, len);
            let parsed = Parsed::parse(&packet).unwrap();
            let mut one = VecBuffer::from_packet(&packet);
            let plan = prepare_padded(sa.take_one().unwrap(), &template, parsed, pad_to, &mut one).unwrap();
            esp_crypto::seal_burst(&mut [plan.job(&mut one).unwrap()]);
            finish(&template, &mut one).unwrap();

            // The one way to have a number twice: another SA under the same key. Behind the packet there is padding of the link.
            let twin = outbound(SequenceNumbers::Extended);
            let mut other = VecBuffer::from_packet(&[&[0xee; 14][..], &packet, &[0xdd; 6]].concat());
            let frame = Frame { index: 0, inner: parsed, buffer: &mut other };
            assert_eq!(prepare_one(&twin, &template, pad_to, frame, carry_out), Ok(()));
            finish_frame::<14, _>(&template, &mut other).unwrap();
            assert_eq!(other.bytes(), [&[0xaa; 14][..], one.bytes()].concat());

            // And a frame by itself.
            let twin = outbound(SequenceNumbers::Extended);
            let mut other = VecBuffer::from_packet(&[&[0xee; 14][..], &packet, &[0xdd; 6]].concat());
            let (number, tunnel) = (twin.take_one().unwrap(), template.esp_tunnel().unwrap());
            carry_out(prepare_frame(number, tunnel, pad_to, &[0xaa; 14], parsed, &mut other).unwrap());
            finish_frame::<14, _>(&template, &mut other).unwrap();
            assert_eq!(other.bytes(), [&[0xaa; 14][..], one.bytes()].concat());
        }
    }
    let transport = outbound(SequenceNumbers::Standard).in_mode(Mode::Transport);
    assert!(Template::new(&transport, &tunnel(None)).esp_tunnel().is_none());
}

#[test]
fn a_frame_without_room_is_refused_and_unchanged() {
    let packet = inner(INNER, 28);
    let frame = [&[0xee; 14][..], &packet].concat();
    let sa = outbound(SequenceNumbers::Standard);
    let template = Template::new(&sa, &tunnel(None));
    let front_len = tunnel(None).front_len(sa.layout());
    let prepared = |bytes: &[u8], headroom, tailroom| {
        let mut buffer = VecBuffer::new(bytes, headroom, tailroom);
        let parsed = Parsed::parse(&packet).unwrap();
        let result = prepare_one(&sa, &template, 0, Frame { index: 0, inner: parsed, buffer: &mut buffer }, drop);
        assert!(result.is_ok() || buffer.bytes() == bytes);
        result
    };
    // Two octets of padding, the trailer and the ICV.
    assert_eq!(prepared(&frame, front_len, 20), Ok(()));
    assert_eq!(prepared(&frame, front_len - 1, 20), Err(SealError::NoHeadroom));
    assert_eq!(prepared(&frame, front_len, 19), Err(SealError::NoTailroom));
    assert_eq!(prepared(&frame[..41], front_len, 50), Err(SealError::MalformedInner));
}
