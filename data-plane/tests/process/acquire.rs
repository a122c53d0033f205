//! A packet that matches PROTECT without an SA asks for one, waits, and is not lost.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::operation::Operation;

use crate::harness::{ChildSa, Gateway, HOST, PROTECT, PROTECTED, Side, Suite, address, hex, inner, outbound};

fn gateway() -> Gateway {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    gateway
}

fn refusal(acquire: u64, retry_after_ms: u64) -> Operation {
    Operation::RefuseAcquire(v1::RefuseAcquire { acquire, retry_after_ms })
}

#[test]
fn the_first_ping_waits_for_its_sa_and_leaves_sealed() {
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    let before = gateway.counters();
    let echo = |ttl: u8| format!("IP(src='{HOST}', dst='{PROTECTED}', ttl={ttl}, id=9)/ICMP(id=77, seq=1)/b'first ping'");
    gateway.send_built(Side::Lan, &echo(64));

    let acquire = gateway.controller.expect_acquire(&mut events);
    let echo_request = 8 << 8;
    assert_eq!(acquire.policy, PROTECT);
    let flow = v1::Flow {
        source: address(HOST),
        destination: address(PROTECTED),
        protocol: 1,
        source_port: echo_request,
        destination_port: echo_request,
    };
    assert_eq!(acquire.flow, Some(flow));
    gateway.expect_counters(&before, &[("acquire_queued", 1), ("sealed", 0)]);
    gateway.wire.expect_silence();

    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    let expected = gateway.scapy.build(&echo(63));
    assert_eq!(hex(&sa.expect_sealed(&mut gateway, 1)), hex(&expected));
    gateway.expect_counters(&before, &[("acquire_queued", 1), ("sealed", 1)]);
    gateway.wire.expect_silence();
}

#[test]
fn packets_that_wait_keep_their_order_and_ask_once() {
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    let before = gateway.counters();
    for n in 1..=5 {
        gateway.send_built(Side::Lan, &outbound(PROTECTED, &format!("packet {n}")));
    }
    gateway.expect_counters(&before, &[("acquire_queued", 5)]);
    let acquire = gateway.controller.expect_acquire(&mut events);
    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    for n in 1..=5 {
        let expected = gateway.scapy.build(&inner(HOST, PROTECTED, 63, &format!("packet {n}")));
        assert_eq!(hex(&sa.expect_sealed(&mut gateway, n)), hex(&expected));
    }
    gateway.expect_counters(&before, &[("acquire_queued", 5), ("sealed", 5)]);
    // The SA has answered it.
    let outcome = gateway.controller.run(refusal(acquire.id, 0));
    assert!(matches!(&outcome, v1::outcome::Outcome::Failure(f) if f.reason() == v1::failure::Reason::NotFound), "{outcome:?}");
}

#[test]
fn a_refused_acquire_drops_what_waits_and_backs_off() {
    const BACK_OFF_MS: u64 = 3000;
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    let before = gateway.counters();
    for n in 1..=2 {
        gateway.send_built(Side::Lan, &outbound(PROTECTED, &format!("packet {n}")));
    }
    gateway.expect_counters(&before, &[("acquire_queued", 2)]);
    let first = gateway.controller.expect_acquire(&mut events);

    let refused = std::time::Instant::now();
    gateway.controller.done(refusal(first.id, BACK_OFF_MS));
    gateway.expect_counters(&before, &[("acquire_queued", 2), ("drop_acquire_refused", 2)]);

    // While it backs off nothing waits and nothing is asked; afterwards the next packet asks anew.
    let second = loop {
        let before = gateway.counters();
        gateway.send_built(Side::Lan, &outbound(PROTECTED, "again"));
        let after = crate::harness::within(crate::harness::PATIENCE, "a fate of the packet", || {
            let now = gateway.counters();
            let moved = |name| now.of(name) > before.of(name);
            (moved("drop_acquire_refused") || moved("acquire_queued")).then(|| moved("acquire_queued"))
        });
        if after {
            break gateway.controller.expect_acquire(&mut events);
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert!(refused.elapsed().as_millis() >= u128::from(BACK_OFF_MS), "it did not back off");
    assert_ne!(second.id, first.id);
    gateway.wire.expect_silence();
}

#[test]
fn an_unanswered_acquire_is_sent_to_each_new_subscriber() {
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    gateway.send_built(Side::Lan, &outbound(PROTECTED, "hello"));
    let first = gateway.controller.expect_acquire(&mut events);

    drop(events);
    let mut events = gateway.controller.subscribe();
    assert_eq!(gateway.controller.expect_acquire(&mut events), first);

    // A controller that attaches anew hears of it as well.
    gateway.controller.attach_again();
    let mut events = gateway.controller.subscribe();
    assert_eq!(gateway.controller.expect_acquire(&mut events), first);

    let before = gateway.counters();
    let sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    sa.expect_sealed(&mut gateway, 1);
    gateway.expect_counters(&before, &[("sealed", 1)]);
}
