use packet::checksum;
use packet::ethernet::MacAddress;
use packet::ipv4::Ipv4Header;
use packet::ipv6::Ipv6Header;
use proptest::prelude::*;

use super::*;

const V4: [[u8; 4]; 7] = [[192, 0, 2, 1], [10, 0, 0, 1], [198, 51, 100, 9], [127, 0, 0, 1], [0; 4], [224, 0, 0, 1], [255; 4]];
const V6: [[u8; 2]; 6] = [[0x20, 1], [0xfd, 1], [0x20, 2], [0, 1], [0xfe, 0x80], [0xff, 2]];

fn v6([first, second]: [u8; 2]) -> Ipv6Addr {
    let mut octets = [0; 16];
    (octets[0], octets[1], octets[15]) = (first, second, 1);
    octets.into()
}

/// Own addresses outside and inside, such among them that no port should have.
fn ports() -> Ports {
    let port = |role, last, addresses| PortInfo { role, mac: MacAddress([2, 0, 0, 0, 0, last]), mtu: 1500, addresses };
    let outer = vec![V4[0].into(), V4[3].into(), v6(V6[0]).into(), v6(V6[4]).into()];
    Ports::new(vec![port(PortRole::Unprotected, 1, outer), port(PortRole::Protected, 2, vec![V4[1].into(), v6(V6[1]).into()])])
}

/// A frame with ESP, plain or in UDP, or nearly.
fn nearly_esp() -> impl Strategy<Value = Vec<u8>> {
    let protocol = prop::sample::select(&[50_u8, 50, 17, 17, 51, 6, 0, 44][..]);
    // Mostly from a host to the gateway.
    let ends = (prop_oneof![3 => Just(2_usize), 1 => 0..7_usize], prop_oneof![3 => Just(0_usize), 1 => 0..7_usize]);
    let udp = (prop_oneof![3 => Just(4500_u16), 1 => Just(500), 1 => Just(9)], prop_oneof![3 => Just(0_i16), 1 => -50..9_i16]);
    let mac = prop_oneof![5 => Just(1_u8), 1 => Just(3), 1 => Just(0xff)];
    let payload = prop_oneof![3 => Just(40_usize), 1 => 0..40_usize];
    let damage = (prop_oneof![3 => Just(0_u8), 1 => any::<u8>()], 0..60_usize, any::<bool>());
    (any::<bool>(), protocol, ends, udp, mac, (payload, any::<bool>(), 0..3_usize), damage).prop_map(
        |(is_v6, protocol, (source, destination), (port, off), mac, (len, marker, behind), (xor, at, resum))| {
            let mut upper: Vec<u8> = (1..=u8::try_from(len).unwrap()).collect();
            if protocol == 17 {
                let [c, d] = u16::try_from(len + 8).unwrap().saturating_add_signed(off).to_be_bytes();
                let [a, b] = port.to_be_bytes();
                upper.splice(..0, [0x11, 0x94, a, b, c, d, 0, 0]);
                if marker && off == 0 && len > 4 {
                    upper[8..12].fill(0);
                }
            }
            let packet = if is_v6 {
                let (source, destination) = (v6(V6[source % 6]), v6(V6[destination % 6]));
                Ipv6Header { traffic_class: 3, next_header: protocol, hop_limit: 9, source, destination }
                    .to_octets(upper.len())
                    .unwrap()
                    .to_vec()
            } else {
                let (source, destination) = (V4[source].into(), V4[destination].into());
                let header =
                    Ipv4Header { traffic_class: 3, identification: 7, dont_fragment: false, ttl: 9, protocol, source, destination };
                header.to_octets(upper.len()).unwrap().to_vec()
            };
            let ethertype: [u8; 2] = if is_v6 { [0x86, 0xdd] } else { [8, 0] };
            let mut frame = [&[2, 0, 0, 0, 0, mac, 2, 0, 0, 0, 0, 9], &ethertype[..], &packet, &upper, &[0, 0][..behind.min(2)]].concat();
            if mac == 0xff {
                frame[..6].fill(0xff);
            }
            if let Some(octet) = frame.get_mut(at) {
                *octet ^= xor;
            }
            if resum && !is_v6 {
                frame[24..26].fill(0);
                let sum = checksum::internet(&frame[14..34]).to_be_bytes();
                frame[24..26].copy_from_slice(&sum);
            }
            frame
        },
    )
}

proptest! {
    /// What is taken for ESP at the first look is what all checks find.
    #[test]
    fn the_short_way_says_what_the_long_one_does(frame in nearly_esp()) {
        let ports = ports();
        let port = ports.port(PortId(0)).unwrap();
        if let Some(found) = esp(&ports, port, &frame) {
            match classify(&ports, port, 0, &frame) {
                Class::Ipsec(packet) => prop_assert_eq!(found, packet),
                _ => prop_assert!(false, "not ESP for the gateway"),
            }
        }
    }
}

/// The property above says nothing unless frames go the short way.
#[test]
fn plain_and_encapsulated_esp_go_the_short_way() {
    let ports = ports();
    let port = ports.port(PortId(0)).unwrap();
    for is_v6 in [false, true] {
        for protocol in [50, 17] {
            let mut esp_packet = vec![7; 40];
            if protocol == 17 {
                esp_packet.splice(..0, [0x11, 0x94, 0x11, 0x94, 0, 48, 0, 0]);
            }
            let (header, ethertype) = if is_v6 {
                let header =
                    Ipv6Header { traffic_class: 0, next_header: protocol, hop_limit: 9, source: v6(V6[2]), destination: v6(V6[0]) };
                (header.to_octets(esp_packet.len()).unwrap().to_vec(), [0x86, 0xdd])
            } else {
                let (source, destination) = (V4[2].into(), V4[0].into());
                let header =
                    Ipv4Header { traffic_class: 0, identification: 7, dont_fragment: false, ttl: 9, protocol, source, destination };
                (header.to_octets(esp_packet.len()).unwrap().to_vec(), [8, 0])
            };
            let frame = [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9], &ethertype[..], &header, &esp_packet].concat();
            assert_eq!(esp(&ports, port, &frame).map(|packet| packet.spi), Some(0x0707_0707), "{is_v6} {protocol}");
        }
    }
}
