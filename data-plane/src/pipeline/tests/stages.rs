//! Where the time goes: every stage is seen once a burst.

use super::*;

const CROSSED: [Stage; 4] = [Stage::Classify, Stage::Prepare, Stage::Cipher, Stage::Post];

fn laps(gateway: &Gateway) -> Vec<(Stage, u64)> {
    let lap = |stage: Stage| (stage, gateway.handle.stats().stage(stage).unwrap().laps);
    Stage::ALL.iter().map(|stage| lap(*stage)).filter(|(_, laps)| *laps > 0).collect()
}

fn ticks(gateway: &Gateway) -> u64 {
    Stage::ALL.iter().map(|stage| gateway.handle.stats().stage(*stage).unwrap().ticks).sum()
}

#[test]
fn each_stage_ends_once_a_burst_in_either_direction() {
    let pair = Pair::default();
    let (mut here, mut there) = (Gateway::protecting(1), Gateway::protecting(2));
    here.install(&pair);
    there.install(&pair);
    let plain = frame(PROTECTED, &ip_packet(A, B, 100));
    for burst in 1..=3 {
        let sent = here.receive(PROTECTED, [&plain[..]; 5]);
        here.pipeline.end_round(true);
        assert_eq!(laps(&here), CROSSED.map(|stage| (stage, burst)));
        let sealed: Vec<_> = sent.iter().map(|sent| frame(UNPROTECTED, packet_of(sent))).collect();
        assert_eq!(there.receive(UNPROTECTED, sealed.iter().map(Vec::as_slice)).len(), 5);
        there.pipeline.end_round(true);
        assert_eq!(laps(&there), CROSSED.map(|stage| (stage, burst)));
    }
}

#[test]
fn a_stage_has_the_time_since_the_one_before() {
    let mut here = Gateway::protecting(1);
    here.install(&Pair::default());
    let began = dpdk::ticks();
    here.pipeline.lap(Stage::Turn);
    here.receive(PROTECTED, [&frame(PROTECTED, &ip_packet(A, B, 100))[..]]);
    here.pipeline.lap(Stage::Transmit);
    let ended = dpdk::ticks();
    here.pipeline.end_round(true);
    let turn = here.handle.stats().stage(Stage::Turn).unwrap().ticks;
    assert!((1..=ended - began).contains(&(ticks(&here) - turn)));
}

#[test]
fn a_round_with_nothing_to_do_does_not_count() {
    let mut here = Gateway::protecting(1);
    here.pipeline.lap(Stage::Turn);
    here.pipeline.end_round(false);
    assert_eq!((laps(&here), ticks(&here)), (Vec::new(), 0));
    here.pipeline.lap(Stage::Turn);
    here.pipeline.end_round(true);
    assert_eq!(laps(&here), [(Stage::Turn, 1)]);
}
