//! Fragments that workers punt, until they are whole.

use super::*;

/// An ICMP or UDP message in fragments of so many octets, as frames that the peer sent.
fn frames(protocol: u8, message: &[u8], part_len: usize) -> Vec<Vec<u8>> {
    let frame = |(at, part): (usize, &[u8])| {
        let header = packet::ipv4::Ipv4Header {
            traffic_class: 0,
            identification: 9,
            dont_fragment: false,
            ttl: 64,
            protocol,
            source: PEER,
            destination: OUTSIDE,
        };
        let mut packet = [&header.to_octets(part.len()).unwrap()[..], part].concat();
        packet::ipv4::set_fragment(&mut packet, u16::try_from(at * part_len).unwrap(), (at + 1) * part_len < message.len());
        [&[2, 0, 0, 0, 0, 2][..], &[2, 0, 0, 0, 0, 9], &[8, 0], &packet].concat()
    };
    message.chunks(part_len).enumerate().map(frame).collect()
}

fn datagram(payload: &[u8]) -> v1::Datagram {
    v1::Datagram {
        local_address: PEER.octets().to_vec().into(),
        local_port: 500,
        remote_address: OUTSIDE.octets().to_vec().into(),
        remote_port: 500,
        payload: payload.to_vec().into(),
    }
}

fn segment(payload: &[u8]) -> Vec<u8> {
    punt::to_packet(&datagram(payload), |_| true, 1).unwrap().split_off(20)
}

fn echo(len: usize) -> Vec<u8> {
    let mut message = [&[8, 0, 0, 0, 1, 2, 0, 1][..], &vec![0x5a; len]].concat();
    let sum = packet::checksum::internet(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

fn punt(rig: &mut Rig, frames: &[Vec<u8>]) {
    // RSS sends the first fragment elsewhere than the others: it has ports.
    for (n, frame) in frames.iter().enumerate() {
        assert!(rig.ends[n.min(1)].punt(PuntClass::Fragment, Origin::Port(PortId(1)), frame));
    }
    rig.settle();
}

#[test]
fn an_ike_message_in_fragments_reaches_the_control_plane_whole() {
    let mut rig = Rig::new(2);
    let (sender, mut stream) = mpsc::channel(1);
    rig.core.open_punt(rig.epoch, sender).unwrap();
    let mut frames = frames(17, &segment(&[0x33; 200]), 24);
    frames.reverse();
    let last = frames.pop().unwrap();
    punt(&mut rig, &frames);
    assert!(stream.try_recv().is_err());
    punt(&mut rig, &[last]);
    let datagrams = stream.try_recv().unwrap().unwrap().datagrams;
    assert_eq!((datagrams.len(), datagrams[0].payload.len(), datagrams[0].remote_port), (1, 200, 500));
    assert_eq!(["reassembled", "ike_received"].map(|name| rig.counter(name)), [1, 1]);
}

#[test]
fn what_is_whole_is_sorted_like_anything_else() {
    let mut rig = Rig::new(2);
    let mut spoilt = segment(&[0x33; 200]);
    spoilt[100] ^= 1;
    punt(&mut rig, &frames(17, &spoilt, 24));
    assert_eq!(rig.counter("ike_malformed"), 1, "the UDP checksum covers the whole");
    // A non-zero SPI where the non-ESP marker would be.
    let mut esp = v1::Datagram { local_port: 4501, remote_port: 4500, ..datagram(&[0x33; 200]) };
    esp.payload = vec![0x33; 200].into();
    punt(&mut rig, &frames(17, &punt::to_packet(&esp, |_| true, 1).unwrap().split_off(20), 24));
    let Some((0, Command::Receive { port: PortId(1), frame })) = rig.applied.last() else { panic!("{:?}", rig.applied) };
    assert_eq!((frame.bytes().len(), rig.counter("reassembly_esp")), (14 + 20 + 8 + 200, 1));
    punt(&mut rig, &frames(50, &[0x33; 200], 24));
    let Some((0, Command::Receive { port: PortId(1), frame })) = rig.applied.last() else { panic!("{:?}", rig.applied) };
    assert_eq!((frame.bytes().len(), rig.counter("reassembly_esp")), (14 + 20 + 200, 2));
    punt(&mut rig, &frames(1, &echo(100), 24));
    let Some((_, Command::Transmit { via: Via::Port(PortId(1)), frame })) = rig.applied.last() else { panic!("{:?}", rig.applied) };
    assert_eq!((frame.bytes().len(), &frame.bytes()[..6]), (14 + 20 + 108, &[2, 0, 0, 0, 0, 9][..]));
    assert_eq!(["reassembled", "icmp_echo_replies"].map(|name| rig.counter(name)), [4, 1]);
}

#[test]
fn an_answer_is_as_long_as_the_mtu_and_then_comes_in_fragments() {
    let mut rig = Rig::new(2);
    let fitting = 1500 - 20 - 8;
    punt(&mut rig, &frames(1, &echo(fitting), 1440));
    assert_eq!(own_packets(&mut rig), [(Via::Port(PortId(1)), 14 + 1500)]);
    punt(&mut rig, &frames(1, &echo(fitting + 1), 1440));
    assert_eq!(own_packets(&mut rig), [(Via::Port(PortId(1)), 14 + 1500), (Via::Port(PortId(1)), 14 + 20 + 1)]);
    assert_eq!(["reassembled", "icmp_echo_replies", "own_fragmented"].map(|name| rig.counter(name)), [2, 2, 1]);
}

/// Packets of the gateway itself since the last call.
fn own_packets(rig: &mut Rig) -> Vec<(Via, usize)> {
    let own = |(_, command)| if let Command::Transmit { via, frame } = command { Some((via, frame.bytes().len())) } else { None };
    rig.applied.drain(..).filter_map(own).collect()
}

#[test]
fn an_ike_message_longer_than_the_mtu_leaves_in_fragments() {
    let mut rig = Rig::new(1);
    let reply = v1::Datagram {
        local_address: OUTSIDE.octets().to_vec().into(),
        remote_address: PEER.octets().to_vec().into(),
        ..datagram(&[0x33; 1472])
    };
    let longer = v1::Datagram { payload: vec![0x33; 3000].into(), ..reply.clone() };
    rig.core.send_datagrams(&[reply, longer]);
    rig.settle();
    let parts = [(Via::Route, 1500), (Via::Route, 1500), (Via::Route, 1500), (Via::Route, 20 + 3008 - 2960)];
    assert_eq!(own_packets(&mut rig), parts);
    assert_eq!(["ike_sent", "own_fragmented"].map(|name| rig.counter(name)), [2, 1]);
}

#[test]
fn an_answer_through_an_sa_is_no_longer_than_what_crosses_every_sa() {
    let mut rig = Rig::new(1);
    let request = packet::ipv4::Ipv4Header {
        traffic_class: 0,
        identification: 9,
        dont_fragment: false,
        ttl: 64,
        protocol: 1,
        source: [10, 2, 0, 9].into(),
        destination: INSIDE,
    };
    let message = echo(1400);
    let request = [&request.to_octets(message.len()).unwrap()[..], &message].concat();
    assert!(rig.ends[0].punt(PuntClass::SlowPath, Origin::Tunnel(ChildSaId(1)), &request));
    rig.settle();
    let sent = own_packets(&mut rig);
    assert!(sent.len() == 2 && sent.iter().all(|(via, len)| *via == Via::Policy && *len <= 1280), "{sent:?}");
}

#[test]
fn each_way_to_fail_has_its_counter() {
    let mut rig = Rig::new(2);
    let good = frames(1, &echo(100), 24);
    punt(&mut rig, &[good[0].clone(), good[0].clone(), good[2].clone()]);
    assert_eq!(rig.counter("fragments_duplicate"), 1);
    rig.wait(15_000);
    assert_eq!(rig.counter("reassembly_timeout"), 1);
    let mut evil = good[0].clone();
    evil[40] ^= 1;
    punt(&mut rig, &[good[0].clone(), evil, good[1].clone()]);
    assert_eq!(["reassembly_overlap", "fragments_given_up"].map(|name| rig.counter(name)), [1, 1]);
    let no_fragment = [&good[0][..20], &[0, 0], &good[0][22..]].concat();
    punt(&mut rig, &[no_fragment]);
    assert_eq!(rig.counter("fragments_malformed"), 1);
    assert_eq!(rig.counter("reassembled"), 0);
}
