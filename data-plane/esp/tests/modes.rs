//! Both protocols in both modes: packets computed by hand, and every packet whatever on its way there and back.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::net::IpAddr;

use esp::open::{self, IpsecPacket, OpenError, Opened};
use esp::seal::{self, SealError};
use esp::{DontFragment, Ends, InboundSa, OutboundSa, ReplayWindow, SaKey, Selectors, Template, Tunnel, UdpPorts, WindowSize};
use ipsec_types::{EncryptionAlgorithm, IntegrityAlgorithm, Mode, Protection, SaKeys, Secret, SequenceNumbers, Spi, TrafficSelector};
use packet::ip::{self, Ip};
use packet::ipv4::Ipv4Header;
use packet::ipv6::Ipv6Header;
use packet::{Buffer, VecBuffer, udp};
use proptest::prelude::*;

const SPI: u32 = 0x1122_3344;
const ENDS4: (&str, &str) = ("192.0.2.1", "192.0.2.2");
const ENDS6: (&str, &str) = ("2001:db8::1", "2001:db8::2");

/// Both halves of an SA in one direction, seen from the sender.
#[derive(Debug, Clone, Copy)]
struct Sa {
    protection: Protection,
    mode: Mode,
    numbers: SequenceNumbers,
    ends: (&'static str, &'static str),
    udp: bool,
}

impl Sa {
    const fn ah(integrity: IntegrityAlgorithm, mode: Mode, numbers: SequenceNumbers, ends: (&'static str, &'static str)) -> Self {
        Self { protection: Protection::Ah { integrity }, mode, numbers, ends, udp: false }
    }

    fn key(self) -> SaKey {
        let keys = |first: u8, len: usize| Secret::new((first..).take(len).collect());
        let encryption = keys(1, self.protection.encryption().map_or(0, EncryptionAlgorithm::keymat_len));
        let integrity = self.protection.integrity().map(|integrity| keys(101, integrity.key_len()));
        SaKey::new(self.protection, &SaKeys { encryption, integrity }).unwrap()
    }

    fn tunnel(self) -> Tunnel {
        let ends = Ends::new(self.ends.0.parse().unwrap(), self.ends.1.parse().unwrap()).unwrap();
        let udp = self.udp.then_some(UdpPorts { source: 4500, destination: 4501 });
        Tunnel { ends, udp, dont_fragment: DontFragment::Copy, copy_dscp: true }
    }

    fn outbound(self, first: u64) -> OutboundSa {
        let sa = OutboundSa::new(Spi::new(SPI).unwrap(), self.key(), self.numbers).in_mode(self.mode);
        sa.skip_to(first);
        sa
    }

    /// A receiver that has seen the number before `first`.
    fn receiver(self, first: u64) -> Receiver {
        let any = || -> Vec<TrafficSelector> { ["0.0.0.0/0", "::/0"].map(|text| text.parse().unwrap()).to_vec() };
        let selectors = Selectors::new(any(), any());
        let sa = InboundSa::new(Spi::new(SPI).unwrap(), self.key(), self.numbers, WindowSize::DEFAULT, selectors).in_mode(self.mode);
        let mut window = ReplayWindow::new(sa.window_size());
        assert!(first <= 1 || window.accept(first - 1).is_ok());
        Receiver { sa, window }
    }

    fn seal(self, sa: &OutboundSa, packet: &[u8]) -> Result<VecBuffer, SealError> {
        let (template, mut buffer) = (Template::new(sa, &self.tunnel()), VecBuffer::from_packet(packet));
        let plan = seal::parse_and_prepare(sa.take_one().unwrap(), &template, &mut buffer)?;
        esp_crypto::seal_burst(&mut [plan.job(&mut buffer).unwrap()]);
        seal::finish(&template, &mut buffer).unwrap();
        Ok(buffer)
    }
}

struct Receiver {
    sa: InboundSa,
    window: ReplayWindow,
}

impl Receiver {
    fn open(&mut self, buffer: &mut VecBuffer) -> Result<Opened, OpenError> {
        let packet = IpsecPacket::parse(buffer.bytes())?;
        let plan = open::prepare(&self.sa, &self.window, &packet, buffer)?;
        let verified = esp_crypto::open_burst(&mut [plan.job(buffer).unwrap()]);
        plan.finish(verified.contains(0), &mut self.window, buffer)
    }

    fn packet(&mut self, wire: &[u8]) -> Result<Vec<u8>, OpenError> {
        let mut buffer = VecBuffer::from_packet(wire);
        self.open(&mut buffer).map(|_| buffer.bytes().to_vec())
    }
}

/// Computed by Python's hmac over octets put together by hand: the packet before, after, and how. The ICV key counts from 101.
const VECTORS: [(Sa, u64, &str, &str); 3] = [
    // A UDP packet of four octets in an IPv4 tunnel.
    (
        Sa::ah(IntegrityAlgorithm::HmacSha256, Mode::Tunnel, SequenceNumbers::Standard, ENDS4),
        1,
        "45b80020471140003f11dc560a4d010a0a4d020a03e807d0000c000061626364",
        "45b80050000040004033b5bfc0000201c00002020405000011223344000000014b5b8519318ff999a9468a99fcc0645945b80020471140\
         003f11dc560a4d010a0a4d020a03e807d0000c000061626364",
    ),
    // Router alert and record route in front; the low half of the number is zero.
    (
        Sa::ah(IntegrityAlgorithm::HmacSha1, Mode::Transport, SequenceNumbers::Extended, ENDS4),
        1 << 32,
        "4803002c0007000040114ae6c0000201c000020294040000070704c00002090003e807d0000c000061626364",
        "480300440007000040334aacc0000201c000020294040000070704c000020900110400001122334400000000299cf05daf5da353e5ea19\
         c003e807d0000c000061626364",
    ),
    // Hop-by-hop options in front, of which the first may change on the way; four octets of padding in the AH.
    (
        Sa::ah(IntegrityAlgorithm::HmacSha512, Mode::Transport, SequenceNumbers::Extended, ENDS6),
        5 << 32 | 2,
        "62e12345001c004020010db800000000000000000000000120010db800000000000000000000000211013e060102030405060104000000\
         0003e807d0000c000061626364",
        "62e12345004c004020010db800000000000000000000000120010db800000000000000000000000233013e060102030405060104000000\
         00110a000011223344000000024dca0fa4aa65ddc564525f07da360c2a7432ff906ddb55d8605be81282339ff70000000003e807d0000c\
         000061626364",
    ),
];

#[test]
fn packets_computed_by_hand_are_what_is_sealed_and_opened() {
    for (sa, number, packet, wire) in VECTORS {
        let sealed = sa.seal(&sa.outbound(number), &hex(packet)).unwrap();
        assert_eq!(sealed.bytes(), hex(wire), "{sa:?}");
        assert_eq!(sa.receiver(number).packet(&hex(wire)), Ok(hex(packet)), "{sa:?}");
        // Under another high half the same octets are no packet of the SA.
        if sa.numbers == SequenceNumbers::Extended {
            assert_eq!(sa.receiver(number + (1 << 32)).packet(&hex(wire)), Err(OpenError::Integrity), "{sa:?}");
        }
    }
}

/// What routers may change, and what they may not: one bit in every octet of the IP headers and of AH.
#[test]
fn routers_change_what_is_mutable_and_nothing_else() {
    let mutable: [&[usize]; 3] = [
        &[1, 6, 7, 8, 10, 11],
        // And the record route option, but for its length, by which the next one is found.
        &[1, 6, 7, 8, 10, 11, 24, 26, 27, 28, 29, 30],
        // And the data of the hop-by-hop option.
        &[0, 1, 2, 3, 7, 44, 45, 46, 47, 48, 49],
    ];
    for ((sa, number, _, wire), mutable) in VECTORS.into_iter().zip(mutable) {
        let good = hex(wire);
        for at in 0..good.len() {
            let mut changed = good.clone();
            changed[at] ^= 4;
            resum(&mut changed);
            let result = sa.receiver(number).packet(&changed);
            match (result, mutable.contains(&at)) {
                // A fragment, or a class that only the inner packet knows.
                (Ok(_), true) => {}
                (Err(OpenError::Fragment), true) if at == 6 || at == 7 => {}
                (Err(OpenError::Integrity | OpenError::WrongSpi | OpenError::Runt | OpenError::MalformedOuter), false) => {}
                (Err(OpenError::NotIpsec | OpenError::Replay | OpenError::OutOfWindow), false) => {}
                (result, _) => panic!("{sa:?} {at}: {result:?}"),
            }
        }
    }
}

/// Over IPv4 a multiple of four is enough, but some peers align to eight; more is padding that may not be (RFC 4302 section 3.3.3.2.1).
#[test]
fn an_ah_is_as_long_as_its_icv_or_aligned_to_eight() {
    let (sa, number, packet, wire) = VECTORS[0];
    let with_padding = |len: usize| {
        let mut wire = hex(wire);
        wire[21] += u8::try_from(len / 4).unwrap();
        wire.splice(48..48, vec![0; len]);
        let total_len = u16::try_from(wire.len()).unwrap().to_be_bytes();
        wire[2..4].copy_from_slice(&total_len);
        wire[32..48].fill(0);
        resum(&mut wire);
        // The ICV covers the padding.
        let mut covered = wire.clone();
        packet::ah::zero_mutable(&mut covered[..20]).unwrap();
        let key = esp_crypto::AeadKey::authentication(esp_crypto::MacKey::HmacSha256(&(101..133).collect::<Vec<u8>>())).unwrap();
        let mut icv = [0; 16];
        esp_crypto::seal_burst(&mut [esp_crypto::SealJob::new(&key, [0; 12], esp_crypto::Aad::new(0, 0), &mut covered, &mut icv).unwrap()]);
        wire[32..48].copy_from_slice(&icv);
        sa.receiver(number).packet(&wire)
    };
    assert_eq!([0, 4, 8].map(with_padding), [Ok(hex(packet)), Ok(hex(packet)), Err(OpenError::Runt)]);
}

/// The sender has not seen it, and so the receiver must not (RFC 4302 appendix A2).
#[test]
fn a_fragment_header_of_a_whole_packet_is_taken_out_before_the_icv_is_computed() {
    let (sa, number, packet, wire) = VECTORS[2];
    let mut with_header = hex(wire);
    // Behind the hop-by-hop options.
    with_header[40] = 44;
    with_header.splice(56..56, [51, 0, 0, 0, 1, 2, 3, 4]);
    with_header[5] += 8;
    assert_eq!(sa.receiver(number).packet(&with_header), Ok(hex(packet)));
    with_header[59] = 1;
    assert_eq!(sa.receiver(number).packet(&with_header), Err(OpenError::Fragment));
}

#[test]
fn an_ah_packet_needs_room_behind_it_and_ethernet_padding_is_some() {
    let (sa, number, packet, wire) = VECTORS[0];
    let open = |padding: usize, tailroom: usize| {
        let mut buffer = VecBuffer::new(&[hex(wire), vec![0xee; padding]].concat(), 0, tailroom);
        sa.receiver(number).open(&mut buffer).map(|_| buffer.bytes().to_vec())
    };
    // The ICV and the IP header.
    assert_eq!([(0, 36), (6, 30), (36, 0)].map(|(padding, room)| open(padding, room)), [Ok(hex(packet)), Ok(hex(packet)), Ok(hex(packet))]);
    assert_eq!(open(0, 35), Err(OpenError::NoTailroom));
}

/// Every protocol, mode and IP version, and both widths of sequence numbers.
fn any_sa() -> impl Strategy<Value = Sa> {
    let esp = |encryption, integrity| Protection::Esp { encryption, integrity };
    let protections = vec![
        esp(EncryptionAlgorithm::AesGcm128, None),
        esp(EncryptionAlgorithm::ChaCha20Poly1305, None),
        esp(EncryptionAlgorithm::AesCbc256, Some(IntegrityAlgorithm::HmacSha256)),
        esp(EncryptionAlgorithm::Null, Some(IntegrityAlgorithm::HmacSha1)),
    ];
    let ah = IntegrityAlgorithm::ALL.iter().map(|&integrity| Protection::Ah { integrity });
    let protection = prop::sample::select(protections.into_iter().chain(ah).collect::<Vec<_>>());
    let numbers = prop::sample::select(SequenceNumbers::ALL);
    (protection, numbers, any::<[bool; 3]>()).prop_map(|(protection, numbers, [six, transport, udp])| Sa {
        protection,
        mode: if transport { Mode::Transport } else { Mode::Tunnel },
        numbers,
        ends: if six { ENDS6 } else { ENDS4 },
        udp: udp && protection.encryption().is_some(),
    })
}

/// A packet from end to end of the SA, or between others, of either version, with some header.
fn packet_for(sa: Sa, class: u8, dont_fragment: bool, six: bool, options: bool, payload: &[u8]) -> Vec<u8> {
    let (source, destination): (IpAddr, IpAddr) = match (sa.mode, six) {
        (Mode::Transport, _) => (sa.ends.0.parse().unwrap(), sa.ends.1.parse().unwrap()),
        (Mode::Tunnel, false) => ([10, 1, 0, 2].into(), [10, 2, 0, 2].into()),
        (Mode::Tunnel, true) => ("fd00:1::2".parse().unwrap(), "fd00:2::2".parse().unwrap()),
    };
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let options: &[u8] = if options { &[148, 4, 0, 0, 68, 8, 5, 0, 1, 2, 3, 4] } else { &[] };
            let header = Ipv4Header { traffic_class: class, identification: 9, dont_fragment, ttl: 64, protocol: 253, source, destination };
            let mut packet = [&header.to_octets(options.len() + payload.len()).unwrap()[..], options, payload].concat();
            packet[0] += u8::try_from(options.len() / 4).unwrap();
            resum(&mut packet);
            packet
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            // Hop-by-hop, and destination options, which transport mode protects.
            let extensions: &[u8] = if options { &[60, 0, 0x3e, 4, 1, 2, 3, 4, 253, 0, 0x3e, 4, 5, 6, 7, 8] } else { &[] };
            let header =
                Ipv6Header { traffic_class: class, next_header: if options { 0 } else { 253 }, hop_limit: 64, source, destination };
            [&header.to_octets(extensions.len() + payload.len()).unwrap()[..], extensions, payload].concat()
        }
        _ => unreachable!("two versions"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_packet_makes_the_round_trip_and_is_as_long_as_foretold(
        sa in any_sa(), class: u8, [df, six, options]: [bool; 3], payload in prop::collection::vec(any::<u8>(), 0..300), high in 0..3_u64, low: u32,
    ) {
        let first = match sa.numbers {
            SequenceNumbers::Standard => u64::from(low.clamp(1, u32::MAX - 1)),
            SequenceNumbers::Extended => (high << 32 | u64::from(low)).max(1),
        };
        let packet = packet_for(sa, class, df, six, options, &payload);
        let outbound = sa.outbound(first);
        let mut buffer = sa.seal(&outbound, &packet).unwrap();
        let sealed = buffer.bytes().to_vec();
        // In transport mode padding depends on the length of the header, which is foretold for one without options.
        if sa.mode == Mode::Tunnel || !options {
            prop_assert_eq!(sealed.len(), sa.tunnel().outer_len(outbound.layout(), packet.len()));
        }
        let outer = Ip::parse(&sealed).unwrap();
        prop_assert_eq!((outer.source(), outer.destination()), (sa.ends.0.parse().unwrap(), sa.ends.1.parse().unwrap()));
        let mut receiver = sa.receiver(first);
        // Routers change TTL and class.
        let mut on_the_way = sealed.clone();
        ip::decrement_hop_limit(&mut on_the_way).unwrap();
        let opened = receiver.open(&mut buffer).unwrap();
        prop_assert_eq!(buffer.bytes(), &packet[..]);
        prop_assert_eq!((opened.number, opened.inner.total_len(), opened.protocol), (first, packet.len(), Ip::parse(&packet).unwrap().protocol()));
        prop_assert_eq!(receiver.packet(&sealed), Err(OpenError::Replay));
        let mut later = sa.receiver(first).packet(&on_the_way).unwrap();
        if sa.mode == Mode::Transport {
            let at = if sa.ends == ENDS6 { 7 } else { 8 };
            later[at] += 1;
            resum(&mut later);
        }
        prop_assert_eq!(later, packet);
    }

    /// Nobody without the key is heard.
    #[test]
    fn any_octets_from_a_stranger_end_in_a_drop(sa in any_sa(), mut octets in prop::collection::vec(any::<u8>(), 0..200), esp: bool) {
        let _ = sa.receiver(1).packet(&octets);
        if let Some(first) = octets.first_mut() { *first = if sa.ends == ENDS6 { 0x60 } else { 0x45 } }
        let protocol = if esp { 50 } else { 51 };
        let outer = packet_for(Sa { mode: Mode::Transport, ..sa }, 0, true, false, false, &octets);
        let mut outer = outer;
        outer[if sa.ends == ENDS6 { 6 } else { 9 }] = protocol;
        resum(&mut outer);
        prop_assert!(sa.receiver(1).packet(&outer).is_err());
    }
}

#[test]
fn transport_mode_takes_whole_packets_from_end_to_end() {
    let esp = Protection::Esp { encryption: EncryptionAlgorithm::AesGcm128, integrity: None };
    for protection in [esp, Protection::Ah { integrity: IntegrityAlgorithm::HmacSha256 }] {
        for ends in [ENDS4, ENDS6] {
            let sa = Sa { protection, mode: Mode::Transport, numbers: SequenceNumbers::Standard, ends, udp: false };
            let good = packet_for(sa, 0, false, false, false, &[1; 24]);
            let sealed = |packet: &[u8]| sa.seal(&sa.outbound(1), packet).map(|_| ()).err();
            assert_eq!(sealed(&good), None);
            let mut elsewhere = good.clone();
            elsewhere[if ends == ENDS4 { 19 } else { 39 }] ^= 4;
            resum(&mut elsewhere);
            assert_eq!(sealed(&elsewhere), Some(SealError::NotEndToEnd));
            let mut fragment = good.clone();
            let mut routed = good.clone();
            if ends == ENDS4 {
                fragment[6] = 0x20;
                routed[0] = 0x47;
                routed[20..28].copy_from_slice(&[131, 7, 4, 192, 0, 2, 2, 0]);
            } else {
                fragment[6] = 44;
                fragment[40..48].copy_from_slice(&[17, 0, 0, 1, 0, 0, 0, 0]);
                routed[6] = 43;
                routed[40..48].copy_from_slice(&[17, 0, 4, 1, 0, 0, 0, 0]);
            }
            resum(&mut fragment);
            resum(&mut routed);
            assert_eq!((sealed(&fragment), sealed(&routed)), (Some(SealError::Fragment), Some(SealError::NotEndToEnd)));
        }
    }
}

/// A NAT has changed the source, which the checksum of UDP, TCP and ICMPv6 covers (RFC 3948 section 3.1.2).
#[test]
fn checksums_are_computed_anew_behind_a_nat() {
    let gcm = Protection::Esp { encryption: EncryptionAlgorithm::AesGcm128, integrity: None };
    for ends in [ENDS4, ENDS6] {
        let sa = Sa { protection: gcm, mode: Mode::Transport, numbers: SequenceNumbers::Standard, ends, udp: true };
        for (protocol, field) in [(17, 6), (6, 16), (58, 2)] {
            let mut packet = packet_for(sa, 0, true, false, false, &[7; 32]);
            let header_len = if ends == ENDS4 { 20 } else { 40 };
            packet[if ends == ENDS4 { 9 } else { 6 }] = protocol;
            packet[header_len + 4..header_len + 6].copy_from_slice(&[0, 32]);
            resum(&mut packet);
            ip::fix_checksum(&mut packet).unwrap();
            let mut wire = sa.seal(&sa.outbound(1), &packet).unwrap().bytes().to_vec();
            let from = if ends == ENDS4 { 15 } else { 23 };
            wire[from] ^= 0x55;
            resum(&mut wire);
            let mut expected = packet.clone();
            expected[from] ^= 0x55;
            resum(&mut expected);
            let before = expected[header_len + field];
            ip::fix_checksum(&mut expected).unwrap();
            assert_eq!(sa.receiver(1).packet(&wire), Ok(expected.clone()), "{ends:?} {protocol}");
            assert!(expected[header_len + field] != before || expected[header_len + field + 1] != packet[header_len + field + 1]);
            // Without UDP there is no NAT, and nothing is mended.
            let plain = Sa { udp: false, ..sa };
            let mut wrong = packet.clone();
            wrong[header_len + field] ^= 1;
            let wire = plain.seal(&plain.outbound(1), &wrong).unwrap();
            assert_eq!(plain.receiver(1).packet(wire.bytes()), Ok(wrong));
        }
    }
    // A UDP checksum that is not there stays away, over IPv4.
    let sa = Sa { protection: gcm, mode: Mode::Transport, numbers: SequenceNumbers::Standard, ends: ENDS4, udp: true };
    let segment = [&udp::header_without_checksum(1, 2, 4).unwrap()[..], b"abcd"].concat();
    let mut packet = packet_for(sa, 0, true, false, false, &segment);
    packet[9] = 17;
    resum(&mut packet);
    let wire = sa.seal(&sa.outbound(1), &packet).unwrap();
    assert_eq!(sa.receiver(1).packet(wire.bytes()), Ok(packet));
}

fn resum(packet: &mut [u8]) {
    if packet[0] >> 4 == 4 {
        let header_len = usize::from(packet[0] & 0xf) * 4;
        packet[10..12].fill(0);
        if let Some(header) = packet.get(..header_len) {
            let checksum = packet::checksum::internet(header);
            packet[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
    }
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}
