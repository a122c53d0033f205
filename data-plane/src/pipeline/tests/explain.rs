use super::*;
use crate::command::Garbage;
use crate::pipeline::{Explanation, Fate, Inquiry, Outlook};

impl Gateway {
    /// What would become of a frame; the question leaves no trace.
    pub(super) fn explain(&mut self, port: PortId, frame: &[u8], len: Option<usize>) -> Explanation {
        let (before, policies) = (self.counts(), self.policy_counts());
        let taken = self.last_taken();
        self.command(Command::Explain(Box::new(Inquiry { id: 1, port, frame: frame.to_vec(), len, explanation: None })));
        assert_eq!((self.counts(), self.policy_counts(), self.last_taken()), (before, policies, taken));
        assert!(self.sent().is_empty() && self.notices().is_empty());
        let answers = std::iter::from_fn(|| self.handle.garbage()).filter_map(|garbage| match garbage {
            Garbage::Explained(inquiry) => inquiry.explanation,
            _ => None,
        });
        let answers: Vec<_> = answers.collect();
        assert_eq!(answers.len(), 1);
        answers[0]
    }

    fn policy_counts(&self) -> Vec<crate::stats::PolicyCount> {
        (0..8).map(|slot| self.handle.stats().policy(PolicySlot(slot))).collect()
    }

    fn last_taken(&mut self) -> Option<u64> {
        let (sas, _) = self.pipeline.sad.split();
        sas.inbound(Pair::default().spi(self.site).value()).map(|entry| entry.sa.outbound.last_taken())
    }
}

/// Packets of every kind, as long as they are.
fn frames() -> Vec<(PortId, Vec<u8>)> {
    let dont_fragment = Ipv4Header { source: A.into(), destination: B.into(), dont_fragment: true, ..HEADER };
    let icmp = |destination: [u8; 4]| Ipv4Header { source: B.into(), destination: destination.into(), protocol: 1, ..HEADER };
    vec![
        (PROTECTED, frame(PROTECTED, &ip_packet(A, B, 100))),
        (PROTECTED, frame(PROTECTED, &ip_packet(A, B, 1439))),
        (PROTECTED, frame(PROTECTED, &ip_packet_with(&dont_fragment, 1446))),
        (PROTECTED, frame(PROTECTED, &ip_packet_with(&dont_fragment, 1447))),
        (PROTECTED, frame(PROTECTED, &ip_packet(A, [10, 3, 0, 2], 100))),
        (PROTECTED, frame(PROTECTED, &ip_packet(A, [10, 4, 0, 2], 1500))),
        (PROTECTED, frame(PROTECTED, &ip_packet(A, [10, 4, 0, 2], 1501))),
        (PROTECTED, frame(PROTECTED, &ip_packet(A, [11, 0, 0, 2], 100))),
        (PROTECTED, frame(PROTECTED, &ip_packet(A, [224, 0, 0, 5], 100))),
        (PROTECTED, frame(PROTECTED, &ip_packet_with(&icmp([10, 1, 0, 1]), 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet(B, A, 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet([10, 3, 0, 2], A, 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet([10, 4, 0, 2], A, 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet([10, 4, 0, 2], [10, 9, 0, 2], 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet([10, 4, 0, 2], [10, 1, 0, 1], 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet([11, 0, 0, 2], A, 100))),
        (UNPROTECTED, frame(UNPROTECTED, &ip_packet_with(&icmp([192, 0, 2, 1]), 100))),
    ]
}

#[test]
fn what_is_explained_is_what_happens() {
    let mut gateway = Gateway::new(1);
    let early = gateway.explain(PROTECTED, &frame(PROTECTED, &ip_packet(A, B, 100)), None);
    assert_eq!((early.fate, early.policy), (Fate::Verdict(Verdict::NoPolicySet), None));
    gateway.set_policies([
        policy(1, PolicyAction::Protect, 1, "10.1.0.0/24", "10.2.0.0/16"),
        policy(2, PolicyAction::Discard, 2, "10.1.0.0/24", "10.3.0.0/24"),
        policy(3, PolicyAction::Bypass, 3, "10.0.0.0/8", "10.4.0.0/24"),
    ]);
    gateway.install(&Pair::default());
    let mut seen = std::collections::HashSet::new();
    for (port, frame) in frames() {
        let explained = gateway.explain(port, &frame, None);
        let Fate::Verdict(verdict) = explained.fate else { panic!("{explained:?}") };
        if explained.way.is_some_and(|way| explained.len > way.mtu) && verdict != Verdict::FragmentationNeeded {
            let before = gateway.count(verdict);
            assert!(gateway.receive(port, [&frame[..]]).len() > 1 && gateway.count(verdict) > before, "in pieces");
            continue;
        }
        let sent = gateway.expect(verdict, port, &frame);
        gateway.handle.punted(PuntClass::SlowPath);
        assert_eq!(explained.len, frame.len() - HEADER_LEN);
        if let Some((out, packet)) = sent.first() {
            let way = explained.way.unwrap();
            assert_eq!((way.hop.port, way.sent_len), (*out, packet.len() - HEADER_LEN));
            assert_eq!(way.mac, Some(EthernetHeader::parse(packet).unwrap().destination));
        }
        seen.insert(verdict);
    }
    assert!(seen.len() >= 11, "{seen:?}");
}

#[test]
fn the_mtu_of_a_flow_is_what_just_fits_its_sa() {
    for udp in [false, true] {
        let mut gateway = Gateway::protecting(1);
        gateway.install(&Pair { udp, ..Pair::default() });
        let packet = frame(PROTECTED, &ip_packet(A, B, 60));
        let way = gateway.explain(PROTECTED, &packet, None).way.unwrap();
        let fate = |gateway: &mut Gateway, len| gateway.explain(PROTECTED, &packet, Some(len)).fate;
        assert_eq!(fate(&mut gateway, way.mtu), Fate::Verdict(Verdict::Sealed));
        assert_eq!(fate(&mut gateway, way.mtu + 1), Fate::Verdict(Verdict::Sealed), "in pieces");
        let too_big = gateway.explain(PROTECTED, &packet, Some(9000));
        assert_eq!((too_big.child_sa, too_big.way.map(|way| way.mtu)), (Some(ChildSaId(105)), Some(way.mtu)));
    }
}

#[test]
fn without_an_sa_a_packet_would_wait_unless_that_was_refused() {
    let mut gateway = Gateway::protecting(1);
    let packet = frame(PROTECTED, &ip_packet(A, B, 100));
    let fate = |gateway: &mut Gateway| gateway.explain(PROTECTED, &packet, None).fate;
    assert_eq!(fate(&mut gateway), Fate::NoSa(Outlook::Wait { asked: false }));
    gateway.receive(PROTECTED, [&packet[..]]);
    assert_eq!(gateway.notices().len(), 1);
    assert_eq!(fate(&mut gateway), Fate::NoSa(Outlook::Wait { asked: true }));
    gateway.command(refuse(1, 500));
    gateway.later(100);
    assert_eq!(fate(&mut gateway), Fate::NoSa(Outlook::Refused { for_ms: 400 }));
    gateway.later(400);
    assert_eq!(fate(&mut gateway), Fate::NoSa(Outlook::Wait { asked: false }));
}

#[test]
fn used_up_sequence_numbers_are_seen() {
    let mut gateway = Gateway::protecting(1);
    let sa = gateway.install(&Pair::default());
    sa.outbound.skip_to(u64::MAX);
    assert_eq!(gateway.explain(PROTECTED, &frame(PROTECTED, &ip_packet(A, B, 100)), None).fate, Fate::Verdict(Verdict::SequenceExhausted));
}

#[test]
fn a_hard_limit_that_is_reached_is_seen() {
    let mut gateway = Gateway::protecting(1);
    gateway.install(&Pair { quota: hard_limit(Some(1), None), ..Pair::default() });
    let packet = frame(PROTECTED, &ip_packet(A, B, 100));
    for verdict in [Verdict::Sealed, Verdict::HardLimit] {
        assert_eq!(gateway.explain(PROTECTED, &packet, None).fate, Fate::Verdict(verdict));
        gateway.receive(PROTECTED, [&packet[..]]);
        gateway.notices();
    }
}
