//! ICMP errors about ESP packets, and which of them are believed.

use super::*;
use crate::server::path_mtu::AGE_MS;

/// An ICMP error of a router to the gateway, as a frame: it quotes the beginning of a packet of `len` octets for the peer, of this protocol.
fn error(protocol: u8, len: u16, quoted: &[u8], mtu: u16) -> Vec<u8> {
    let header = |protocol, source: Ipv4Addr, destination: Ipv4Addr| packet::ipv4::Ipv4Header {
        traffic_class: 0,
        identification: 9,
        dont_fragment: true,
        ttl: 60,
        protocol,
        source,
        destination,
    };
    let [high, low] = mtu.to_be_bytes();
    let sent = header(protocol, OUTSIDE, PEER).to_octets(usize::from(len) - 20).unwrap();
    let mut message = [&[3, 4, 0, 0, 0, 0, high, low][..], &sent, quoted].concat();
    let sum = packet::checksum::internet(&message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let packet = [&header(1, [198, 51, 100, 1].into(), OUTSIDE).to_octets(message.len()).unwrap()[..], &message].concat();
    [&[2, 0, 0, 0, 0, 2][..], &[2, 0, 0, 0, 0, 9], &[8, 0], &packet].concat()
}

fn esp(spi: u32, sequence: u32) -> Vec<u8> {
    [spi.to_be_bytes(), sequence.to_be_bytes()].concat()
}

/// What the workers are told of paths when the error arrives: slot and MTU.
fn on_error(rig: &mut Rig, frame: &[u8]) -> Vec<(SaSlot, Option<u16>)> {
    rig.wait(10);
    assert!(rig.ends[0].punt(PuntClass::SlowPath, Origin::Port(PortId(1)), frame));
    rig.settle();
    told(rig)
}

fn told(rig: &mut Rig) -> Vec<(SaSlot, Option<u16>)> {
    let path_mtu = |(worker, command)| match command {
        Command::PathMtu { slot, mtu } => Some((worker, slot, mtu)),
        _ => None,
    };
    let told: Vec<_> = rig.applied.drain(..).filter_map(path_mtu).collect();
    let of = |id| told.iter().filter(|(worker, ..)| *worker == id).map(|(_, slot, mtu)| (*slot, *mtu)).collect::<Vec<_>>();
    assert!((1..rig.ends.len()).all(|worker| of(u16::try_from(worker).unwrap()) == of(0)), "all workers alike: {told:?}");
    of(0)
}

/// A rig with an SA, of which `sent` packets were sent.
fn rig(sent: u64) -> (Rig, Arc<command::InstalledSa>) {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    rig.install(1, |_| {});
    let sa = rig.installed_sa(1);
    sa.outbound.skip_to(sent + 1);
    (rig, sa)
}

#[test]
fn an_error_about_a_packet_sent_of_late_lowers_the_mtu_of_the_path_for_ten_minutes() {
    let (mut rig, sa) = rig(100);
    let (slot, spi) = (sa.slot, sa.outbound.spi().value());
    assert_eq!(on_error(&mut rig, &error(50, 1500, &esp(spi, 99), 1400)), [(slot, Some(1400))]);
    assert_eq!(on_error(&mut rig, &error(50, 1500, &esp(spi, 100), 1450)), [], "it is never raised");
    assert_eq!(on_error(&mut rig, &error(50, 1400, &esp(spi, 100), 100)), [(slot, Some(576))], "nor lowered below what every path carries");
    // A new SA of the same path, and one that comes back to it, need not find out.
    rig.install(2, |_| {});
    let second = rig.installed_sa(2).slot;
    assert_eq!(told(&mut rig), [(second, Some(576))]);
    let retarget = |remote: Ipv4Addr| {
        let (local_address, remote_address) = (OUTSIDE.octets().to_vec(), remote.octets().to_vec());
        Operation::Retarget(v1::Retarget { child_sa: 2, local_address, remote_address, encapsulation: None })
    };
    assert_eq!(rig.run(retarget([192, 0, 2, 77].into())), done());
    assert_eq!(told(&mut rig), []);
    assert_eq!(rig.run(retarget(PEER)), done());
    assert_eq!(told(&mut rig), [(second, Some(576))]);
    rig.wait(AGE_MS);
    let mut forgotten = told(&mut rig);
    forgotten.sort();
    assert_eq!(forgotten, [(slot, None), (second, None)]);
    let mut anew = on_error(&mut rig, &error(50, 1500, &esp(spi, 100), 1450));
    anew.sort();
    assert_eq!(anew, [(slot, Some(1450)), (second, Some(1450))]);
    assert_eq!(["path_mtu_learnt", "path_mtu_ignored"].map(|name| rig.counter(name)), [3, 1]);
}

#[test]
fn an_error_about_anything_else_is_ignored() {
    let (mut rig, sa) = rig(100);
    let (slot, spi) = (sa.slot, sa.outbound.spi().value());
    let good = error(50, 1500, &esp(spi, 99), 1400);
    let mut elsewhere = good.clone();
    elsewhere[14 + 20 + 8 + 19] ^= 1;
    let mut not_ours = good.clone();
    not_ours[14 + 20 + 8 + 15] ^= 1;
    let resummed = |mut frame: Vec<u8>| {
        frame[36..38].fill(0);
        let sum = packet::checksum::internet(&frame[34..]).to_be_bytes();
        frame[36..38].copy_from_slice(&sum);
        frame
    };
    let mut damaged = good.clone();
    damaged[14 + 20 + 7] ^= 1;
    let ports = |source: u16, destination: u16| [&source.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 4], &esp(spi, 99)].concat();
    for (what, frame) in [
        ("another SPI", error(50, 1500, &esp(spi ^ 1, 99), 1400)),
        ("a number not yet given out", error(50, 1500, &esp(spi, 101), 1400)),
        ("a packet that fits", error(50, 1400, &esp(spi, 99), 1400)),
        ("no MTU", error(50, 1500, &esp(spi, 99), 0)),
        ("cut off", error(50, 1500, &esp(spi, 99)[..7], 1400)),
        ("in UDP", error(17, 1500, &ports(4500, 4500), 1400)),
        ("TCP", error(6, 1500, &esp(spi, 99), 1400)),
        ("another peer", resummed(elsewhere)),
        ("from another gateway", resummed(not_ours)),
        ("a wrong checksum", damaged),
    ] {
        assert_eq!(on_error(&mut rig, &frame), [], "{what}");
    }
    sa.outbound.skip_to(1 << 21);
    assert_eq!(on_error(&mut rig, &good), [], "too old");
    let recent = error(50, 1500, &esp(spi, (1 << 21) - 1), 1400);
    assert!(rig.ends[0].punt(PuntClass::SlowPath, Origin::Port(PortId(0)), &recent));
    rig.settle();
    assert_eq!(told(&mut rig), [], "from the protected side");
    assert_eq!(on_error(&mut rig, &recent), [(slot, Some(1400))]);
    rig.core.learn_path_mtu = false;
    assert_eq!(on_error(&mut rig, &error(50, 1400, &esp(spi, (1 << 21) - 1), 1300)), [], "switched off");
}

#[test]
fn in_udp_the_ports_are_those_of_the_sa() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    rig.install(1, |message| message.encapsulation = Some(v1::UdpEncapsulation { local_port: 4500, remote_port: 1024 }));
    let sa = rig.installed_sa(1);
    sa.outbound.skip_to(10);
    let quoted =
        |destination: u16| [&4500_u16.to_be_bytes()[..], &destination.to_be_bytes(), &[0; 4], &esp(sa.outbound.spi().value(), 9)].concat();
    assert_eq!(on_error(&mut rig, &error(17, 1500, &quoted(4500), 1400)), []);
    assert_eq!(on_error(&mut rig, &error(17, 1500, &quoted(1024)[..8], 1400)), [], "eight octets do not tell");
    assert_eq!(on_error(&mut rig, &error(17, 1500, &quoted(1024), 1400)), [(sa.slot, Some(1400))]);
    // Each costs a search: the next one comes too soon.
    assert!(rig.ends[0].punt(PuntClass::SlowPath, Origin::Port(PortId(1)), &error(17, 1400, &quoted(1024), 1300)));
    rig.settle();
    assert_eq!((told(&mut rig), rig.counter("path_mtu_ignored")), (vec![], 2));
}
