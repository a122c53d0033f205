//! SAs between the gateways themselves, and AH.

use super::*;
use crate::command::Origin;
use esp::open::{self, IpsecPacket};

const ENDS: [[u8; 4]; 2] = [[192, 0, 2, 1], [192, 0, 2, 2]];

/// Between the gateways' outer addresses.
pub(super) fn in_transport_mode() -> [Pair; 3] {
    let pair = Pair { mode: Mode::Transport, ..Pair::default() };
    [pair.clone(), Pair { udp: true, ..pair.clone() }, with_ah(pair)]
}

pub(super) fn with_ah(pair: Pair) -> Pair {
    Pair { algorithm: None, integrity: Some(IntegrityAlgorithm::HmacSha256), ..pair }
}

/// Site 2, which protects what it says to gateway 1, and site 1's half of the SA.
fn site_2(pair: &Pair) -> (Gateway, OutboundSa) {
    let mut gateway = Gateway::new(2);
    gateway.set_policies([policy(1, PolicyAction::Protect, 2, "192.0.2.2", "192.0.2.1")]);
    gateway.install(pair);
    (gateway, pair.outbound(1))
}

fn own(source: [u8; 4], destination: [u8; 4], len: usize) -> Vec<u8> {
    ip_packet_with(&Ipv4Header { protocol: 1, source: source.into(), destination: destination.into(), ..HEADER }, len)
}

fn send_own(gateway: &mut Gateway, packet: &[u8]) -> Vec<(PortId, Vec<u8>)> {
    gateway.command(Command::Transmit { via: Via::Policy, frame: Frame::outgoing(packet.to_vec()) });
    gateway.sent()
}

/// What site 1 takes out of a packet of site 2.
fn opened_by_1(pair: &Pair, packet: &[u8]) -> Result<Vec<u8>, open::OpenError> {
    opened_by(1, pair, packet)
}

pub(super) fn opened_by(site: u8, pair: &Pair, packet: &[u8]) -> Result<Vec<u8>, open::OpenError> {
    let sa = pair.installed(site).inbound;
    let mut window = ReplayWindow::new(sa.window_size());
    let mut buffer = VecBuffer::from_packet(packet);
    let packet = IpsecPacket::parse(buffer.bytes())?;
    let plan = open::prepare(&sa, &window, &packet, &mut buffer)?;
    let verified = esp_crypto::open_burst(&mut [plan.job(&mut buffer).unwrap()]);
    plan.finish(verified.contains(0), &mut window, &mut buffer)?;
    Ok(buffer.bytes().to_vec())
}

#[test]
fn what_the_peer_says_goes_to_the_slow_path_and_the_answer_through_the_sa() {
    for pair in in_transport_mode() {
        let (mut gateway, outbound) = site_2(&pair);
        let request = own(ENDS[0], ENDS[1], 84);
        gateway.expect(Verdict::PuntedSlowPath, UNPROTECTED, &sealed_by(&pair, &outbound, &request));
        let punted = gateway.handle.punted(PuntClass::SlowPath).unwrap();
        assert_eq!((punted.origin(), punted.bytes()), (Origin::Tunnel(ChildSaId(105)), &request[..]));
        let answer = own(ENDS[1], ENDS[0], 84);
        let sent = send_own(&mut gateway, &answer);
        assert_eq!(sent.len(), 1);
        assert_eq!(opened_by_1(&pair, packet_of(&sent[0])), Ok(answer));
        assert_eq!(gateway.count(Verdict::Sealed), 1);
    }
}

#[test]
fn what_is_not_from_end_to_end_is_dropped_in_both_directions() {
    for pair in in_transport_mode() {
        let (mut gateway, outbound) = site_2(&pair);
        // A host of the site that calls itself by the gateway's address: it would be the gateway to its peer.
        gateway.expect(Verdict::NotEndToEnd, PROTECTED, &frame(PROTECTED, &ip_packet(ENDS[1], ENDS[0], 60)));
        // From elsewhere: the SA is not between these ends.
        let good = sealed_by(&pair, &outbound, &own(ENDS[0], ENDS[1], 60));
        let mut stranger = good[HEADER_LEN..].to_vec();
        stranger[12..16].copy_from_slice(&[192, 0, 2, 77]);
        resum(&mut stranger);
        gateway.expect(Verdict::NotEndToEnd, UNPROTECTED, &frame(UNPROTECTED, &stranger));
        gateway.expect(Verdict::PuntedSlowPath, UNPROTECTED, &good);
    }
}

#[test]
fn only_whole_packets_cross_in_transport_mode() {
    for pair in in_transport_mode() {
        let (mut gateway, _) = site_2(&pair);
        let mut fragment = own(ENDS[1], ENDS[0], 60);
        fragment[6] = 0x20;
        resum(&mut fragment);
        assert_eq!(send_own(&mut gateway, &fragment), []);
        assert_eq!(gateway.count(Verdict::TransportFragment), 1);
    }
}

/// The packet is sealed whole, and the pieces are of what came of it (RFC 4303 section 3.3.4).
#[test]
fn what_does_not_fit_is_cut_after_it_was_sealed() {
    for pair in in_transport_mode() {
        let (mut gateway, _) = site_2(&pair);
        let answer = own(ENDS[1], ENDS[0], 1499);
        let sent = send_own(&mut gateway, &answer);
        let packets: Vec<_> = sent.iter().map(|sent| Ipv4::parse(packet_of(sent)).unwrap()).collect();
        assert!(packets.len() == 2 && packets.iter().all(|packet| packet.is_fragment() && packet.identification() == 7));
        // As the receiver puts it together.
        let mut whole = [packet_of(&sent[0]), packets[1].payload()].concat();
        let len = u16::try_from(whole.len()).unwrap();
        whole[2..4].copy_from_slice(&len.to_be_bytes());
        whole[6..8].copy_from_slice(&[0, 0]);
        resum(&mut whole);
        assert_eq!(opened_by_1(&pair, &whole), Ok(answer), "{:?}", pair.algorithm);
    }
}

#[test]
fn packets_under_ah_cross_in_both_directions() {
    let pair = with_ah(Pair::default());
    let mut gateway = Gateway::protecting(2);
    gateway.install(&pair);
    let outbound = pair.outbound(1);
    let sent = gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_by(&pair, &outbound, &ip_packet(A, B, 80)));
    assert_eq!(packet_of(&sent[0])[20..], ip_packet(A, B, 80)[20..]);
    let sent = gateway.expect(Verdict::Sealed, PROTECTED, &frame(PROTECTED, &ip_packet(B, A, 80)));
    assert_eq!(opened_by_1(&pair, packet_of(&sent[0])).map(|packet| packet[20..].to_vec()), Ok(ip_packet(B, A, 80)[20..].to_vec()));
    let mut forged = sealed_by(&pair, &outbound, &ip_packet(A, B, 80));
    *forged.last_mut().unwrap() ^= 1;
    gateway.expect(Verdict::Integrity, UNPROTECTED, &forged);
}

/// An SPI names an SA of one protocol (RFC 4301 section 4.1).
#[test]
fn esp_does_not_fit_an_sa_of_ah_nor_the_other_way_round() {
    let pairs = [Pair::default(), with_ah(Pair::default())];
    for (ours, theirs) in [(&pairs[0], &pairs[1]), (&pairs[1], &pairs[0])] {
        let mut gateway = Gateway::protecting(2);
        gateway.install(ours);
        gateway.expect(Verdict::SpiUnknown, UNPROTECTED, &sealed_by(theirs, &theirs.outbound(1), &ip_packet(A, B, 80)));
        gateway.expect(Verdict::Opened, UNPROTECTED, &sealed_by(ours, &ours.outbound(1), &ip_packet(A, B, 80)));
    }
}

#[test]
fn ah_for_the_gateway_comes_from_the_unprotected_side_whole() {
    let pair = with_ah(Pair::default());
    let mut gateway = Gateway::protecting(2);
    gateway.install(&pair);
    let packet = sealed_by(&pair, &pair.outbound(1), &ip_packet(A, B, 80))[HEADER_LEN..].to_vec();
    gateway.expect(Verdict::UnwantedByGateway, PROTECTED, &frame(PROTECTED, &packet));
    gateway.expect(
        Verdict::EspRunt,
        UNPROTECTED,
        &frame(
            UNPROTECTED,
            &ip_packet_with(&Ipv4Header { protocol: 51, source: ENDS[0].into(), destination: ENDS[1].into(), ..HEADER }, 31),
        ),
    );
    gateway.expect(Verdict::Opened, UNPROTECTED, &frame(UNPROTECTED, &packet));
}
