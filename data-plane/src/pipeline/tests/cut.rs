//! Packets that are longer than what fits, and cross in pieces.

use packet::ipv6::{Ipv6, Ipv6Header};

use super::ipv6::{A6, HEADER6, gateway, install_with, packet6, tunnel};
use super::*;
use crate::command::Origin;
use crate::reassembly::{Fragment, Reassembler};

impl Gateway {
    /// Sets the MTU of the protected and of the unprotected port.
    pub(super) fn with_mtus(mut self, mtus: [usize; 2]) -> Self {
        let port = |(id, mtu): (PortId, usize)| PortInfo { mtu, ..self.snapshot.ports.port(id).unwrap().clone() };
        self.snapshot.ports = Arc::new(Ports::new([PROTECTED, UNPROTECTED].into_iter().zip(mtus).map(port).collect()));
        self.publish();
        self
    }

    fn counted(&self, verdicts: &[(Verdict, u64)], fragmented: u64) {
        let counts: Vec<_> = verdicts.iter().map(|(verdict, count)| (verdict.name(), *count)).collect();
        let mut seen = self.counts();
        seen.sort_by_key(|(name, _)| counts.iter().position(|(expected, _)| expected == name));
        assert_eq!((seen, self.handle.stats().tally(Tally::Fragmented)), (counts, fragmented));
    }
}

const LONG: Ipv4Header = Ipv4Header { source: Ipv4Addr::from_octets(A), destination: Ipv4Addr::from_octets(B), ..HEADER };

/// The packet that fragments on the wire make, each at most `mtu` octets long, and how many there are.
fn whole(sent: &[(PortId, Vec<u8>)], mtu: usize) -> (Vec<u8>, usize) {
    let mut table = Reassembler::default();
    let mut whole = Vec::new();
    for sent in sent {
        assert!(packet_of(sent).len() <= mtu);
        whole.extend(table.accept(&Fragment::read(Origin::Port(sent.0), &sent.1).unwrap(), 0).unwrap());
    }
    assert_eq!(whole.len(), 1);
    (whole[0][HEADER_LEN..].to_vec(), sent.len())
}

#[test]
fn an_ipv4_packet_without_df_is_cut_before_it_is_sealed() {
    for udp in [false, true] {
        let pair = Pair { udp, ..Pair::default() };
        let (mut one, mut two) = (Gateway::protecting(1), Gateway::protecting(2));
        let (sa, _) = (one.install(&pair), two.install(&pair));
        let packet = ip_packet_with(&LONG, 4000);
        let sent = one.receive(PROTECTED, [&frame(PROTECTED, &packet)[..]]);
        assert!(sent.iter().all(|sent| packet_of(sent).len() <= 1500 && !Ipv4::parse(packet_of(sent)).unwrap().is_fragment()));
        one.counted(&[(Verdict::Sealed, 3)], 1);
        assert_eq!(sa.state.outbound(), (3, 4000 + 40), "each with a header of its own");
        assert_eq!(one.handle.stats().policy(PolicySlot(1)).packets, 3);

        let frames: Vec<_> = sent.iter().map(|sent| frame(UNPROTECTED, packet_of(sent))).collect();
        let delivered = two.receive(UNPROTECTED, frames.iter().map(Vec::as_slice));
        let (whole, pieces) = whole(&delivered, 1446);
        let got = Ipv4::parse(&whole).unwrap();
        assert_eq!((pieces, got.ttl(), got.identification(), got.payload()), (3, 62, 7, &packet[20..]), "each hop was counted once");
    }
}

/// Later fragments have no ports, and the peer would not take them out of this SA.
#[test]
fn what_an_sa_of_certain_ports_carries_is_cut_after_it_was_sealed() {
    let (mut one, mut two) = (Gateway::protecting(1), Gateway::protecting(2));
    one.install(&Pair { remote: "10.2.0.0/24[udp/5655]", ..Pair::default() });
    two.install(&Pair { remote: "10.1.0.0/24[udp/5141]", ..Pair::default() });
    let packet = ip_packet_with(&LONG, 2000);
    let sent = one.receive(PROTECTED, [&frame(PROTECTED, &packet)[..]]);
    one.counted(&[(Verdict::Sealed, 1), (Verdict::FragmentSent, 1)], 1);
    let (sealed, _) = whole(&sent, 1500);
    let mut two = two.with_mtus([2000, 1500]);
    let delivered = two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, &sealed));
    assert_eq!(packet_of(&delivered[0])[20..], packet[20..]);
}

/// RFC 2473 section 7.1: a link of IPv6 carries 1280 octets, whatever is around them.
#[test]
fn ipv6_packets_of_1280_octets_cross_where_they_do_not_fit() {
    for (outer_six, udp) in [(false, false), (true, false), (true, true)] {
        let pair = Pair { udp, ..Pair::default() };
        let (mut one, mut two) = (gateway(1).with_mtus([1500, 1280]), gateway(2));
        install_with(&mut one, &pair, tunnel(&pair, 1, outer_six));
        install_with(&mut two, &pair, tunnel(&pair, 2, outer_six));
        let mut identifications = Vec::new();
        for _ in 0..2 {
            let packet = packet6(&HEADER6, &[0x5a; 1240]);
            let sent = one.receive(PROTECTED, [&frame(PROTECTED, &packet)[..]]);
            let (sealed, pieces) = whole(&sent, 1280);
            assert_eq!((pieces, sealed.len()), (2, tunnel(&pair, 1, outer_six).outer_len(pair.layout(), 1280)));
            identifications.push(if outer_six {
                Ipv6::parse(packet_of(&sent[0])).unwrap().fragment().unwrap().identification
            } else {
                Ipv4::parse(packet_of(&sent[0])).unwrap().identification().into()
            });
            let delivered = two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, &sealed));
            assert_eq!(packet_of(&delivered[0])[40..], packet[40..]);
        }
        assert_ne!(identifications[0], identifications[1]);
        one.counted(&[(Verdict::Sealed, 2), (Verdict::FragmentSent, 2)], 2);
        one.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &packet6(&HEADER6, &[0; 1241])));
    }
}

#[test]
fn a_tunnel_that_clears_df_carries_what_does_not_fit() {
    let pair = Pair::default();
    let cleared = |site| Tunnel { dont_fragment: DontFragment::Clear, ..tunnel(&pair, site, false) };
    let (mut one, mut two) = (gateway(1), gateway(2));
    install_with(&mut one, &pair, cleared(1));
    install_with(&mut two, &pair, cleared(2));
    let packet = ip_packet_with(&Ipv4Header { dont_fragment: true, ..LONG }, 1500);
    let sent = one.receive(PROTECTED, [&frame(PROTECTED, &packet)[..]]);
    let (sealed, _) = whole(&sent, 1500);
    let delivered = two.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, &sealed));
    assert!(Ipv4::parse(packet_of(&delivered[0])).unwrap().dont_fragment());
    let header = Ipv6Header { source: A6, ..HEADER6 };
    one.expect(Verdict::FragmentationNeeded, PROTECTED, &frame(PROTECTED, &packet6(&header, &[0; 1460])));
}

#[test]
fn what_crosses_in_the_clear_or_comes_out_of_an_sa_is_cut_for_its_link() {
    let pair = Pair::default();
    let sender = pair.outbound(1);
    let mut two = Gateway::protecting(2).with_mtus([1000, 1500]);
    two.install(&pair);
    two.set_policies([
        policy(1, PolicyAction::Protect, 1, "10.2.0.0/24", "10.1.0.0/24"),
        policy(2, PolicyAction::Bypass, 2, "10.2.0.0/24", "10.4.0.0/24"),
    ]);
    let opened = two.receive(UNPROTECTED, [&sealed_by(&pair, &sender, &ip_packet_with(&LONG, 1400))[..]]);
    assert_eq!(whole(&opened, 1000).1, 2);
    let clear = Ipv4Header { source: [10, 4, 0, 2].into(), ..LONG };
    let inbound = two.receive(UNPROTECTED, [&frame(UNPROTECTED, &ip_packet_with(&clear, 1400))[..]]);
    assert_eq!(whole(&inbound, 1000).1, 2);
    let clear = Ipv4Header { source: B.into(), destination: [10, 4, 0, 2].into(), ..LONG };
    let outbound = two.receive(PROTECTED, [&frame(PROTECTED, &ip_packet_with(&clear, 4000))[..]]);
    assert_eq!(whole(&outbound, 1500).1, 3);
    let each = [Verdict::Opened, Verdict::BypassedInbound, Verdict::BypassedOutbound].map(|verdict| (verdict, 1));
    two.counted(&[&each[..], &[(Verdict::FragmentSent, 4)]].concat(), 3);
    let uncut = Ipv4Header { dont_fragment: true, ..LONG };
    two.expect(Verdict::FragmentationNeeded, UNPROTECTED, &sealed_by(&pair, &sender, &ip_packet_with(&uncut, 1400)));
}

/// What the server has put together is opened like any other packet: once.
#[test]
fn esp_that_was_put_together_passes_the_replay_window() {
    let pair = Pair::default();
    let mut two = Gateway::protecting(2);
    two.install(&pair);
    let inner = ip_packet_with(&LONG, 4000);
    let frame = sealed_by(&pair, &pair.outbound(1), &inner);
    two.command(Command::Receive { port: UNPROTECTED, frame: Frame::outgoing(frame.clone()) });
    let sent = two.sent();
    assert_eq!((sent.len(), &whole(&sent, 1500).0[20..]), (3, &inner[20..]));
    assert!(matches!(two.handle.garbage(), Some(Garbage::Snapshot(_))));
    assert!(matches!(two.handle.garbage(), Some(Garbage::Frame(_))));
    two.command(Command::Receive { port: UNPROTECTED, frame: Frame::outgoing(frame.clone()) });
    two.wire.room = Some(0);
    two.command(Command::Receive { port: UNPROTECTED, frame: Frame::outgoing(frame) });
    two.counted(&[(Verdict::Opened, 1), (Verdict::FragmentSent, 2), (Verdict::Replay, 1), (Verdict::NoMemory, 1)], 1);
    // The SA is another worker's: it gets the packet.
    let mut other = Gateway::worker(2, WorkerId(1), Limits { sad_slots: 64, policy_slots: 8, ..Limits::default() });
    other.set_policies([policy(1, PolicyAction::Protect, 1, "10.2.0.0/24", "10.1.0.0/24")]);
    other.install(&pair);
    let frame = sealed_by(&pair, &pair.outbound(1), &inner);
    other.command(Command::Receive { port: UNPROTECTED, frame: Frame::outgoing(frame) });
    assert_eq!(other.wire.handed.iter().map(|(worker, _)| *worker).collect::<Vec<_>>(), [WorkerId(0)]);
}

#[test]
fn a_packet_is_cut_whole_or_not_at_all() {
    let mut one = Gateway::protecting(1);
    one.install(&Pair::default());
    let packet = frame(PROTECTED, &ip_packet_with(&LONG, 4000));
    one.wire.room = Some(2);
    assert!(one.expect(Verdict::NoMemory, PROTECTED, &packet).is_empty());
    one.wire.room = None;
    one.expect(Verdict::TtlExceeded, PROTECTED, &frame(PROTECTED, &ip_packet_with(&Ipv4Header { ttl: 1, ..LONG }, 4000)));
    let mut one = one.with_mtus([1500, 100]);
    assert!(one.expect(Verdict::TooBig, PROTECTED, &packet).is_empty(), "more than 32 pieces");
    one.counted(&[(Verdict::NoMemory, 1), (Verdict::TtlExceeded, 1), (Verdict::TooBig, 1)], 0);
}

#[test]
fn pieces_leave_behind_the_burst_they_came_in() {
    let mut one = Gateway::protecting(1);
    one.install(&Pair::default());
    let frames: Vec<_> = (0..BURST).map(|n| frame(PROTECTED, &ip_packet(A, B, if n % 2 == 0 { 60 + n } else { 2000 }))).collect();
    let sent = one.receive(PROTECTED, frames.iter().map(Vec::as_slice));
    one.counted(&[(Verdict::Sealed, 3 * BURST as u64 / 2)], BURST as u64 / 2);
    let numbers: Vec<_> = sent.iter().map(|sent| esp::open::IpsecPacket::parse(packet_of(sent)).unwrap().sequence).collect();
    assert_eq!(numbers, (1..=48).collect::<Vec<u32>>(), "in the order of their numbers");
}
