//! What would become of a packet, asked of the running pipeline; and then it does.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::explain_response::Fate;
use tonic::Code;

use crate::harness::{
    BYPASSED, ChildSa, DISCARDED, Gateway, HOST, PEER_MAC, PROTECT, PROTECTED, Side, Suite, UNKNOWN, address, inner, outbound,
};

/// The packet that [`outbound`] builds, and its way back.
fn request(source: &str, destination: &str) -> v1::ExplainRequest {
    let flow =
        v1::Flow { source: address(source), destination: address(destination), protocol: 17, source_port: 1000, destination_port: 2000 };
    v1::ExplainRequest { flow: Some(flow), ..v1::ExplainRequest::default() }
}

fn explain(gateway: &mut Gateway, request: v1::ExplainRequest) -> v1::ExplainResponse {
    gateway.controller.explain(request).unwrap()
}

#[test]
fn each_answer_is_what_then_happens() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    // The peer's MAC address is learnt by then.
    sa.expect_sent(&mut gateway, 1, "first");
    for (destination, policy, fate, verdict) in [
        (PROTECTED, PROTECT, Fate::Forwarded, "sealed"),
        (DISCARDED, 2, Fate::Dropped, "drop_policy_discard"),
        (BYPASSED, 3, Fate::Forwarded, "bypassed_outbound"),
        (UNKNOWN, 0, Fate::Dropped, "drop_no_policy"),
    ] {
        let before = gateway.counters();
        let answer = explain(&mut gateway, request(HOST, destination));
        assert_eq!((answer.fate(), answer.verdict.as_str(), answer.port.as_str()), (fate, verdict, "net_af_packet0"));
        assert_eq!(answer.policy.map_or(0, |policy| policy.id), policy);
        assert!(!answer.meaning.is_empty());
        let through = answer.child_sa.map(|sa| (sa.child_sa, sa.inbound_spi, sa.outbound_spi, sa.outbound_sequence));
        assert_eq!(through, (destination == PROTECTED).then_some((sa.id, sa.inbound_spi, sa.outbound_spi, 2)));
        assert_eq!(answer.next_hop.map(|hop| hop.mac), (fate == Fate::Forwarded).then(|| PEER_MAC.to_owned()));
        gateway.send_built(Side::Lan, &outbound(destination, "then"));
        gateway.expect_counters(&before, &[(verdict, 1)]);
    }
    for (source, verdict) in [
        (PROTECTED, "drop_cleartext_protected"),
        (DISCARDED, "drop_policy_discard"),
        (BYPASSED, "bypassed_inbound"),
        (UNKNOWN, "drop_no_policy"),
    ] {
        let before = gateway.counters();
        let answer = explain(&mut gateway, v1::ExplainRequest { from_unprotected: true, ..request(source, HOST) });
        assert_eq!((answer.verdict.as_str(), answer.port.as_str()), (verdict, "net_af_packet1"));
        gateway.send_built(Side::Wan, &inner(source, HOST, 64, "then"));
        gateway.expect_counters(&before, &[(verdict, 1)]);
    }
}

#[test]
fn length_and_acquire_are_part_of_the_answer() {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    let answer = explain(&mut gateway, request(HOST, PROTECTED));
    assert_eq!((answer.fate(), answer.verdict.as_str(), answer.no_sa), (Fate::Waits, "acquire_queued", Some(v1::NoSa::default())));
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &outbound(PROTECTED, "asks"));
    gateway.expect_counters(&before, &[("acquire_queued", 1)]);
    let asked = crate::harness::within(crate::harness::PATIENCE, "an Acquire", || {
        let waits = explain(&mut gateway, request(HOST, PROTECTED)).no_sa.unwrap();
        (waits.acquire > 0).then_some(waits)
    });
    assert_eq!(asked.refused_for_ms, 0);
    let refusal = v1::RefuseAcquire { acquire: asked.acquire, retry_after_ms: 60_000 };
    gateway.controller.done(v1::operation::Operation::RefuseAcquire(refusal));
    let answer = explain(&mut gateway, request(HOST, PROTECTED));
    assert_eq!((answer.fate(), answer.verdict.as_str()), (Fate::Dropped, "drop_acquire_refused"));
    assert!((1..=60_000).contains(&answer.no_sa.unwrap().refused_for_ms));

    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    // 20 + 8 + 8 + 1446 + 2 + 16: no more fits.
    for (length, verdict, sent) in [(1446, "sealed", 1500), (1447, "sealed", 1504)] {
        let answer = explain(&mut gateway, v1::ExplainRequest { length, ..request(HOST, PROTECTED) });
        assert_eq!((answer.verdict.as_str(), answer.mtu, answer.length, answer.sent_length), (verdict, 1446, length, sent));
        assert_eq!(answer.child_sa.unwrap().child_sa, sa.id);
    }
    let must_not = v1::ExplainRequest { length: 1447, dont_fragment: true, ..request(HOST, PROTECTED) };
    assert_eq!(explain(&mut gateway, must_not).verdict, "drop_fragmentation_needed");
}

#[test]
fn a_question_that_cannot_be_is_refused_by_its_field() {
    let mut gateway = Gateway::start();
    for (request, field) in [
        (v1::ExplainRequest::default(), "flow"),
        (v1::ExplainRequest { length: 27, ..request(HOST, PROTECTED) }, "length"),
        (v1::ExplainRequest { length: 65_536, ..request(HOST, PROTECTED) }, "length"),
        (v1::ExplainRequest { dscp: 64, ..request(HOST, PROTECTED) }, "dscp"),
        (v1::ExplainRequest { port: "net_af_packet1".to_owned(), ..request(HOST, PROTECTED) }, "port"),
    ] {
        let status = gateway.controller.explain(request).unwrap_err();
        assert_eq!((status.code(), status.message().split(':').next()), (Code::InvalidArgument, Some(field)));
    }
}
