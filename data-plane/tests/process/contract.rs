//! What the two planes have promised each other: epochs, identifiers, leases, and silence about keys.

use culvert_proto::dataplane::v1;
use culvert_proto::dataplane::v1::failure::Reason;
use culvert_proto::dataplane::v1::operation::Operation;
use culvert_proto::dataplane::v1::outcome::Outcome;
use prost::Message;
use tonic::Code;

use crate::harness::{ChildSa, Gateway, HOST, PATIENCE, PROTECT, PROTECTED, Side, Suite, address, hex, inner, outbound, within};

fn gateway() -> Gateway {
    let mut gateway = Gateway::start();
    gateway.set_policies();
    gateway
}

#[track_caller]
fn assert_refused(outcome: &Outcome, reason: Reason) {
    assert!(matches!(outcome, Outcome::Failure(failure) if failure.reason() == reason), "{outcome:?}");
}

#[test]
fn an_attached_controller_knows_the_boot_and_the_own_addresses() {
    let mut gateway = Gateway::start();
    let first = gateway.attached.clone();
    assert_eq!(first.boot_id.len(), 16);
    assert_eq!(first.local_addresses, [address(crate::harness::GATEWAY_WAN)]);
    assert_eq!(first.child_sas, []);
    let second = gateway.controller.attach_again();
    assert_eq!(second.boot_id, first.boot_id);
    assert!(second.epoch > first.epoch);
}

#[test]
fn epochs_that_are_not_the_present_one_are_refused() {
    let mut gateway = gateway();
    let old = gateway.controller.epoch();
    let mut events = gateway.controller.subscribe();
    gateway.controller.attach_again();
    // The old controller's subscription ends.
    gateway.controller.expect_end(&mut events);
    let sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    for epoch in [0, old, gateway.controller.epoch() + 1] {
        let error = gateway.controller.program(epoch, vec![(7_000_000, sa.install())]).unwrap_err();
        assert_eq!(error.code(), Code::FailedPrecondition, "{error}");
        let (events, punt) = gateway.controller.streams_of_epoch(epoch);
        assert_eq!(events.unwrap().code(), Code::FailedPrecondition);
        assert_eq!(punt.unwrap().code(), Code::FailedPrecondition);
    }
    assert_eq!(gateway.controller.child_sas(), []);
    // The identifier was not used up by requests that were refused.
    let outcomes = gateway.controller.program(gateway.controller.epoch(), vec![(7_000_000, sa.install())]).unwrap();
    assert_eq!(outcomes, [Outcome::Done(v1::Done {})]);
}

#[test]
fn a_repeated_install_answers_the_first_outcome_and_leaves_the_counter_alone() {
    let mut gateway = gateway();
    let sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let (epoch, id) = (gateway.controller.epoch(), 7_000_000);
    let done = [Outcome::Done(v1::Done {})];
    assert_eq!(gateway.controller.program(epoch, vec![(id, sa.install())]).unwrap(), done);
    for number in 1..=3 {
        sa.expect_sent(&mut gateway, number, "before");
    }
    assert_eq!(gateway.controller.program(epoch, vec![(id, sa.install())]).unwrap(), done);
    sa.expect_sent(&mut gateway, 4, "after");
    // The same within one batch, and after another Attach.
    assert_eq!(gateway.controller.program(epoch, vec![(id, sa.install()), (id, sa.install())]).unwrap().len(), 2);
    let epoch = gateway.controller.attach_again().epoch;
    assert_eq!(gateway.controller.program(epoch, vec![(id, sa.install())]).unwrap(), done);
    sa.expect_sent(&mut gateway, 5, "still");
    // Under a new identifier it is another operation: refused, since its SPI and its name are used.
    let outcome = gateway.controller.run(sa.install());
    assert!(matches!(outcome, Outcome::Failure(_)), "{outcome:?}");
    sa.expect_sent(&mut gateway, 6, "unharmed");
    // A refusal is repeated like any other outcome, and so is a lease.
    let lease = Operation::LeaseSpis(v1::LeaseSpis { count: 3 });
    let first = gateway.controller.program(epoch, vec![(id + 1, lease.clone())]).unwrap();
    assert_eq!(gateway.controller.program(epoch, vec![(id + 1, lease)]).unwrap(), first);
}

#[test]
fn an_spi_serves_one_install_and_only_when_leased() {
    let mut gateway = gateway();
    let mut foreign = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let leased = foreign.inbound_spi;
    // Another generation of the slot, and a slot nobody leased.
    for spi in [leased ^ 0x0010_0000, leased + 1000] {
        foreign.inbound_spi = spi;
        assert_refused(&gateway.controller.run(foreign.install()), Reason::SpiNotLeased);
    }
    foreign.inbound_spi = leased;
    gateway.controller.done(foreign.install());
    let second = ChildSa { id: gateway.controller.next_child_sa(), ..foreign.clone() };
    assert_refused(&gateway.controller.run(second.install()), Reason::SpiNotLeased);
    foreign.expect_sent(&mut gateway, 1, "unharmed");

    // A lease ends with its controller.
    let mut late = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    gateway.controller.attach_again();
    late.id = gateway.controller.next_child_sa();
    assert_refused(&gateway.controller.run(late.install()), Reason::SpiNotLeased);
}

#[test]
fn an_install_that_cannot_be_is_refused_whole() {
    let mut gateway = gateway();
    let mut sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let good = sa.message();
    let cases = [
        (v1::Install { policy: 99, ..good.clone() }, Reason::NotFound),
        // A policy that does not protect.
        (v1::Install { policy: 3, ..good.clone() }, Reason::NotFound),
        (v1::Install { inbound_keys: None, ..good.clone() }, Reason::Invalid),
        (v1::Install { encryption_key_length: 192, ..good.clone() }, Reason::Invalid),
        (v1::Install { local_address: address("192.0.2.77"), ..good.clone() }, Reason::Invalid),
        (v1::Install { remote_selectors: Vec::new(), ..good.clone() }, Reason::Invalid),
        (v1::Install { child_sa: 0, ..good.clone() }, Reason::Invalid),
        (v1::Install { replay_window: u32::MAX, ..good.clone() }, Reason::Invalid),
    ];
    for (message, reason) in cases {
        let inbound_spi = gateway.controller.lease();
        assert_refused(&gateway.controller.run(Operation::Install(v1::Install { inbound_spi, ..message })), reason);
        let again = Operation::Install(v1::Install { inbound_spi, ..good.clone() });
        assert_refused(&gateway.controller.run(again), Reason::SpiNotLeased);
    }
    assert_eq!(gateway.controller.child_sas(), []);
    // Nothing was used up but the leases.
    sa.inbound_spi = gateway.controller.lease();
    gateway.controller.done(sa.install());
    sa.expect_sent(&mut gateway, 1, "at last");
}

#[test]
fn what_is_listed_describes_the_sa_and_never_has_keys() {
    let mut gateway = gateway();
    let sa = ChildSa::installed(&mut gateway, Suite { udp: true, esn: true, ..Suite::PLAIN });
    let listed = gateway.controller.child_sas();
    let message = sa.message();
    let expected = v1::ChildSaStatus {
        child_sa: sa.id,
        policy: PROTECT,
        inbound_spi: sa.inbound_spi,
        outbound_spi: sa.outbound_spi,
        local_address: message.local_address.clone(),
        remote_address: message.remote_address.clone(),
        encapsulation: message.encapsulation,
        encryption: message.encryption,
        encryption_key_length: message.encryption_key_length,
        extended_sequence_numbers: true,
        replay_window: message.replay_window,
        local_selectors: message.local_selectors.clone(),
        remote_selectors: message.remote_selectors.clone(),
        age_ms: listed[0].age_ms,
        outbound_sequence: 1,
        ..v1::ChildSaStatus::default()
    };
    assert_eq!(listed, [expected]);

    let attached = gateway.controller.attach_again();
    assert_eq!(attached.child_sas.len(), 1);
    let said = [
        v1::ListChildSasResponse { child_sas: listed }.encode_to_vec(),
        attached.encode_to_vec(),
        gateway.controller.stats().encode_to_vec(),
    ];
    let log = gateway.process.log();
    for key in [&sa.inbound_key, &sa.outbound_key] {
        for part in key.windows(8) {
            assert!(said.iter().all(|octets| !octets.windows(8).any(|window| window == part)), "a key was told");
            assert!(!log.contains(&hex(part)) && !log.contains(&format!("{part:?}")[1..20]), "a key was logged");
        }
    }
}

#[test]
fn a_retired_sa_sends_no_more_and_receives_until_its_linger_ends() {
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    let mut sa = ChildSa::installed(&mut gateway, Suite::PLAIN);
    sa.expect_sent(&mut gateway, 1, "one");

    gateway.controller.done(sa.retire(600_000));
    assert!(gateway.controller.child_sa(sa.id).unwrap().retiring);
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &outbound(PROTECTED, "too late"));
    gateway.controller.expect_acquire(&mut events);
    gateway.expect_counters(&before, &[("acquire_queued", 1), ("sealed", 0)]);
    sa.expect_opened(&mut gateway, "still under way");

    // A shorter linger replaces the longer one.
    gateway.controller.done(sa.retire(50));
    within(PATIENCE, "the end of the linger", || gateway.controller.child_sas().is_empty().then_some(()));
    let before = gateway.counters();
    sa.send_sealed(&mut gateway, &inner(PROTECTED, HOST, 64, "gone"));
    gateway.expect_counters(&before, &[("drop_spi_unknown", 1), ("opened", 0)]);
    let miss = gateway.controller.expect_event(&mut events, "SpiMiss", |event| match event {
        v1::event::Event::SpiMiss(miss) => Some(miss),
        _ => None,
    });
    assert_eq!((miss.spi, miss.remote_address), (sa.inbound_spi, address(crate::harness::PEER)));
    assert_refused(&gateway.controller.run(sa.retire(0)), Reason::NotFound);
    gateway.wire.expect_silence();
}

#[test]
fn sas_that_nobody_claims_after_an_attach_are_removed() {
    let mut gateway = gateway();
    let sas = [ChildSa::installed(&mut gateway, Suite::PLAIN), ChildSa::installed(&mut gateway, Suite::PLAIN)];
    let attached = gateway.controller.attach_again();
    assert_eq!(attached.child_sas.iter().map(|sa| sa.child_sa).collect::<Vec<_>>(), sas.clone().map(|sa| sa.id));
    gateway.controller.done(Operation::Claim(v1::Claim { child_sas: vec![sas[0].id] }));
    assert_eq!(gateway.controller.child_sas().iter().map(|sa| sa.child_sa).collect::<Vec<_>>(), [sas[0].id]);
    sas[0].expect_sent(&mut gateway, 1, "claimed");
}

#[test]
fn limits_are_reported_and_enforced() {
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    let sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let limits = |packets| Some(v1::Limits { time_ms: 0, octets: 0, packets });
    gateway.controller.done(Operation::Install(v1::Install { soft: limits(2), hard: limits(4), ..sa.message() }));
    sa.expect_sent(&mut gateway, 1, "one");
    sa.expect_sent(&mut gateway, 2, "two");
    let soft = gateway.controller.expect_event(&mut events, "SoftExpire", |event| match event {
        v1::event::Event::SoftExpire(expire) => Some(expire.child_sa),
        v1::event::Event::HardExpire(_) => panic!("too early"),
        _ => None,
    });
    assert_eq!(soft, sa.id);
    sa.expect_sent(&mut gateway, 3, "three");
    sa.expect_sent(&mut gateway, 4, "four");
    let hard = gateway.controller.expect_event(&mut events, "HardExpire", |event| match event {
        v1::event::Event::HardExpire(expire) => Some(expire.child_sa),
        _ => None,
    });
    assert_eq!(hard, sa.id);
    assert_eq!(gateway.controller.child_sas(), []);
    let before = gateway.counters();
    gateway.send_built(Side::Lan, &outbound(PROTECTED, "waits"));
    gateway.expect_counters(&before, &[("acquire_queued", 1), ("sealed", 0)]);
}

/// However fast they come, and though the server looks ten times a second only.
#[test]
fn not_a_packet_beyond_the_hard_limit_is_opened() {
    const HARD: u64 = 40;
    let mut gateway = gateway();
    let mut events = gateway.controller.subscribe();
    let sa = ChildSa::prepare(&mut gateway, Suite::PLAIN);
    let hard = Some(v1::Limits { packets: HARD, ..v1::Limits::default() });
    gateway.controller.done(Operation::Install(v1::Install { hard, ..sa.message() }));
    let inner = gateway.scapy.build(&inner(PROTECTED, HOST, 64, "one of many"));
    let all: Vec<_> = (1..=2 * HARD).map(|number| gateway.scapy.seal(&sa.sent_by_peer(), number, &inner, None)).collect();
    let before = gateway.counters();
    for wire in &all {
        gateway.send_packet(Side::Wan, wire);
    }
    let ended = gateway.controller.expect_event(&mut events, "HardExpire", |event| match event {
        v1::event::Event::HardExpire(expire) => Some(expire.child_sa),
        _ => None,
    });
    assert_eq!(ended, sa.id);
    let ends = ["opened", "drop_hard_limit", "drop_spi_unknown"];
    let all = within(PATIENCE, "the end of all packets", || {
        let now = gateway.counters();
        let risen = ends.map(|name| now.of(name) - before.of(name));
        (risen.iter().sum::<u64>() == 2 * HARD).then_some(risen)
    });
    assert_eq!(all[0], HARD, "{all:?}");
}
