//! The segment size of TCP connections through an SA, and what is known of the path to its peer.

use packet::checksum;
use packet::ip::Ip;
use packet::ipv6::Ipv6Header;

use super::ipv6::{A6, B6, HEADER6, gateway, install_with, packet6, tunnel};
use super::*;

/// A segment that opens a connection and announces this MSS, or with other flags.
fn segment(source: IpAddr, destination: IpAddr, flags: u8, mss: u16) -> Vec<u8> {
    let [high, low] = mss.to_be_bytes();
    let mut segment = vec![3, 232, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0, 0x60, flags, 0x20, 0, 0, 0, 0, 0, 2, 4, high, low];
    let sum = checksum::pseudo(source, destination, 6, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

fn ipv4(segment: &[u8], more_fragments: bool) -> Vec<u8> {
    let header = Ipv4Header { protocol: 6, source: A.into(), destination: B.into(), ..HEADER };
    let mut packet = [&header.to_octets(segment.len()).unwrap()[..], segment].concat();
    packet::ipv4::set_fragment(&mut packet, 0, more_fragments);
    packet
}

fn ipv6(segment: &[u8], options: bool) -> Vec<u8> {
    let header = Ipv6Header { next_header: if options { 60 } else { 6 }, ..HEADER6 };
    let options: &[u8] = if options { &[6, 0, 1, 4, 0, 0, 0, 0] } else { &[] };
    packet6(&header, &[options, segment].concat())
}

/// The MSS of a packet, whose checksum is right.
fn mss(packet: &[u8]) -> u16 {
    let ip = Ip::parse(packet).unwrap();
    assert_eq!(checksum::pseudo(ip.source(), ip.destination(), 6, ip.upper()), 0);
    u16::from_be_bytes([ip.upper()[22], ip.upper()[23]])
}

/// What the other end reads when `sender` seals a packet, and what a host gets when that comes out of an SA of `receiver`, in the clear.
fn through(sender: &mut Gateway, receiver: &mut Gateway, packet: &[u8]) -> u16 {
    let sealed = sender.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, packet));
    let opened = receiver.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, packet_of(&sealed[0])));
    mss(packet_of(&opened[0]))
}

const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const ACK: u8 = 0x10;

#[test]
fn connections_announce_what_fits_their_sa_in_either_direction() {
    let pair = Pair::default();
    let pipes = |clamps: [bool; 2]| {
        let mut gateways = [gateway(1), gateway(2)];
        for (site, (gateway, clamp)) in (1..).zip(gateways.iter_mut().zip(clamps)) {
            gateway.pipeline.clamp_mss = clamp;
            install_with(gateway, &pair, tunnel(&pair, site, true));
        }
        gateways
    };
    // 40 octets of outer IPv6: 1426 fit.
    let four = |flags, mss| ipv4(&segment(A.into(), B.into(), flags, mss), false);
    let six = |flags, mss, options| ipv6(&segment(A6.into(), B6.into(), flags, mss), options);
    for clamps in [[true, false], [false, true], [true, true]] {
        let [mut one, mut two] = pipes(clamps);
        let mut through = |packet: &[u8]| through(&mut one, &mut two, packet);
        for flags in [SYN, SYN_ACK] {
            assert_eq!([1387, 1386, 536].map(|mss| through(&four(flags, mss))), [1386, 1386, 536]);
            assert_eq!([1367, 1366, 536].map(|mss| through(&six(flags, mss, false))), [1366, 1366, 536]);
            assert_eq!(through(&six(flags, 1460, true)), 1366, "behind an extension header");
        }
        assert_eq!((through(&four(ACK, 9000)), through(&six(ACK, 9000, false))), (9000, 9000), "these bits mean something else");
        let clamped = [&one, &two].map(|gateway| gateway.handle.stats().tally(Tally::MssClamped));
        assert_eq!(clamped, if clamps[0] { [6, 0] } else { [0, 6] });
    }
    let [mut one, mut two] = pipes([false, false]);
    assert_eq!(through(&mut one, &mut two, &four(SYN, 9000)), 9000);
    let fragment = ipv4(&segment(A.into(), B.into(), SYN, 9000), true);
    let [mut one, mut two] = pipes([true, true]);
    assert_eq!(through(&mut one, &mut two, &fragment), 9000, "the first of several fragments");
}

#[test]
fn the_path_to_the_peer_may_carry_less_than_its_port() {
    let mut one = Gateway::protecting(1);
    let sa = one.install(&Pair::default());
    let packet = |len, dont_fragment| {
        frame(PROTECTED, &ip_packet_with(&Ipv4Header { dont_fragment, source: A.into(), destination: B.into(), ..HEADER }, len))
    };
    one.expect(Verdict::Sealed, PROTECTED, &packet(1446, true));
    one.command(Command::PathMtu { slot: sa.slot, mtu: Some(1400) });
    // 20 + 8 + 8 + 1346 + 2 + 16 = 1400, without padding.
    one.expect(Verdict::Sealed, PROTECTED, &packet(1346, true));
    one.expect(Verdict::FragmentationNeeded, PROTECTED, &packet(1347, true));
    let refusal = crate::command::Refusal::TooBig { mtu: 1346 };
    let refused = one.handle.punted(PuntClass::Refused).map(|frame| frame.origin());
    assert_eq!(refused, Some(crate::command::Origin::Refused { sender: A.into(), refusal }));
    let sent = one.receive(PROTECTED, [&packet(1347, false)[..]]);
    assert!(sent.len() == 2 && sent.iter().all(|sent| packet_of(sent).len() <= 1400));
    let sent = one.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &ipv4(&segment(A.into(), B.into(), SYN, 1460), false)));
    assert_eq!((sent.len(), one.handle.stats().tally(Tally::MssClamped)), (1, 1));
    one.command(Command::PathMtu { slot: sa.slot, mtu: None });
    one.expect(Verdict::Sealed, PROTECTED, &packet(1446, true));
    one.command(Command::PathMtu { slot: sa.slot, mtu: Some(1400) });
    one.command(Command::Retarget { slot: sa.slot, tunnel: Pair::default().tunnel(1) });
    one.expect(Verdict::Sealed, PROTECTED, &packet(1446, true));
}

/// RFC 4301 section 6.2: it is authentic, and travels like any other packet to the host it is for, who alone knows what to make of it.
#[test]
fn an_icmp_error_of_a_router_behind_the_peer_reaches_the_host_it_is_for() {
    let pair = Pair::default();
    let mut one = Gateway::protecting(1);
    one.install(&pair);
    let sender = pair.outbound(2);
    let quoted = ip_packet_with(&Ipv4Header { dont_fragment: true, source: A.into(), destination: B.into(), ..HEADER }, 1446);
    let mut error = [&[3, 4, 0, 0, 0, 0, 4, 0][..], &quoted[..28]].concat();
    let sum = checksum::internet(&error);
    error[2..4].copy_from_slice(&sum.to_be_bytes());
    let from = |source: [u8; 4]| {
        let header = Ipv4Header { protocol: 1, source: source.into(), destination: A.into(), ..HEADER };
        [&header.to_octets(error.len()).unwrap()[..], &error].concat()
    };
    // It comes from another address than the quoted packet was sent to. What counts are the selectors.
    let opened = one.expect(Verdict::Opened, UNPROTECTED, &sealed_in(&pair.tunnel(2), &sender, &from([10, 2, 9, 9])));
    assert_eq!(packet_of(&opened[0])[20..], error);
    one.expect(Verdict::SelectorMismatch, UNPROTECTED, &sealed_in(&pair.tunnel(2), &sender, &from([198, 51, 100, 1])));
}
