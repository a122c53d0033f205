use esp::open::OpenError;
use ipsec_types::TfcPadding;

use super::transport::opened_by;
use super::*;

fn padded(padding: TfcPadding) -> Pair {
    Pair { tfc: Tfc { padding: Some(padding), dummies_per_second: 0 }, ..Pair::default() }
}

/// Octets of what leaves for a packet of `len`, which its receiver gets back.
fn outer_len(pair: &Pair, len: usize) -> usize {
    let mut gateway = Gateway::protecting(1);
    gateway.install(pair);
    let mut burst = Burst::new();
    burst.push(VecBuffer::new(&frame(PROTECTED, &ip_packet(A, B, len)), 128, 2048)).unwrap();
    gateway.pipeline.forward(PROTECTED, &mut burst, &mut gateway.wire);
    let sent = gateway.sent();
    let wire = packet_of(&sent[0]);
    assert_eq!(opened_by(2, pair, wire).map(|packet| packet[20..].to_vec()), Ok(ip_packet(A, B, len)[20..].to_vec()));
    wire.len()
}

#[test]
fn inner_packets_are_padded_to_one_length_and_no_further_than_fits() {
    let foretold = |len| Pair::default().tunnel(1).outer_len(Pair::default().layout(), len);
    let to_500 = padded(TfcPadding::To(500));
    assert_eq!([40, 499, 500].map(|len| outer_len(&to_500, len)), [foretold(500); 3]);
    assert_eq!(outer_len(&to_500, 501), foretold(501));
    let most = Pair::default().tunnel(1).inner_mtu(Pair::default().layout(), 1500).unwrap();
    for padding in [TfcPadding::Mtu, TfcPadding::To(9000)] {
        assert_eq!([40, 1000, most].map(|len| outer_len(&padded(padding), len)), [foretold(most); 3]);
        assert!(foretold(most) <= 1500 && foretold(most + 1) > 1500);
    }
}

#[test]
fn padding_takes_no_more_room_than_there_is() {
    let mut gateway = Gateway::protecting(1);
    let pair = padded(TfcPadding::Mtu);
    gateway.install(&pair);
    let mut burst = Burst::new();
    burst.push(VecBuffer::new(&frame(PROTECTED, &ip_packet(A, B, 60)), 128, 200)).unwrap();
    gateway.pipeline.forward(PROTECTED, &mut burst, &mut gateway.wire);
    let sent = gateway.sent();
    assert!(packet_of(&sent[0]).len() > 200);
    assert!(opened_by(2, &pair, packet_of(&sent[0])).is_ok());
}

fn send_dummies(gateway: &mut Gateway, pair: &Pair, random: &[u16]) -> Vec<usize> {
    let slot = SaSlot::new(pair.slot).unwrap();
    gateway.command(Command::SendDummies { slot, random: random.iter().copied().collect() });
    let sent = gateway.sent();
    for packet in &sent {
        assert_eq!(opened_by(2, pair, packet_of(packet)), Err(OpenError::Dummy));
    }
    sent.iter().map(|packet| packet_of(packet).len()).collect()
}

#[test]
fn dummies_are_as_long_as_other_packets_may_be_and_count() {
    let pair = Pair::default();
    let mut gateway = Gateway::protecting(1);
    let sa = gateway.install(&pair);
    let random: Vec<u16> = (0..32).map(|n| n * 2011).collect();
    let lens = send_dummies(&mut gateway, &pair, &random);
    assert!(lens.len() == 32 && lens.iter().all(|len| (20 + 8 + 8 + 40 + 2 + 16..=1500).contains(len)), "{lens:?}");
    assert!(lens.iter().collect::<std::collections::BTreeSet<_>>().len() > 20, "{lens:?}");
    assert_eq!((gateway.count(Verdict::DummySent), gateway.count(Verdict::Sealed), sa.state.outbound().0), (32, 0, 32));
    assert_eq!(sa.outbound.last_taken(), 32);

    // Where all packets are of one length, dummies are.
    let padded = Pair { slot: 6, ..padded(TfcPadding::To(700)) };
    gateway.install(&padded);
    let foretold = padded.tunnel(1).outer_len(padded.layout(), 700);
    assert_eq!(send_dummies(&mut gateway, &padded, &[0, 9, u16::MAX]), [foretold; 3]);
}

#[test]
fn an_sa_whose_outbound_half_carries_nothing_sends_no_dummies() {
    let mut gateway = Gateway::protecting(1);
    let parked = Pair { active: false, ..Pair::default() };
    gateway.install(&parked);
    assert_eq!(send_dummies(&mut gateway, &parked, &[1]).len(), 0);
    let retired = Pair { slot: 6, ..Pair::default() };
    let sa = gateway.install(&retired);
    gateway.command(Command::RetireOutbound(sa.slot));
    assert_eq!(send_dummies(&mut gateway, &retired, &[1]).len(), 0);
    assert_eq!((gateway.total(), sa.outbound.last_taken()), (0, 0));
}

#[test]
fn dummies_stop_where_numbers_end_or_no_way_leads_out() {
    let pair = Pair { numbers: SequenceNumbers::Standard, ..Pair::default() };
    let mut gateway = Gateway::protecting(1);
    let sa = gateway.install(&pair);
    sa.outbound.skip_to(u64::from(u32::MAX) - 1);
    let slot = SaSlot::new(pair.slot).unwrap();
    let command = || Command::SendDummies { slot, random: [1; 8].into_iter().collect() };
    gateway.command(command());
    assert_eq!((gateway.sent().len(), gateway.count(Verdict::SequenceExhausted)), (2, 1));
    gateway.snapshot.routes = Arc::new(Routes::new(vec![]));
    gateway.publish();
    gateway.command(command());
    assert_eq!((gateway.sent().len(), gateway.count(Verdict::NoRoute)), (0, 1));
}
