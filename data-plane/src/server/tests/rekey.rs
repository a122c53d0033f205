//! A Child SA replaces another (RFC 7296 section 2.8): whenever the old one ends, the new one carries packets.

use super::*;

const PARKED: Option<v1::Parked> = Some(v1::Parked { fallback_ms: 0 });

impl Rig {
    fn is_parked(&self, child_sa: u64) -> bool {
        self.core.list().child_sas.iter().find(|status| status.child_sa == child_sa).unwrap().outbound_parked
    }

    fn replace(&mut self, old: u64, new: u64) {
        self.install(new, |message| (message.predecessor, message.parked) = (old, PARKED));
        assert!(self.is_parked(new));
    }
}

fn rig() -> Rig {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    rig
}

#[test]
fn a_successor_takes_over_before_any_worker_has_given_the_old_one_up() {
    for linger_ms in [0, 5000] {
        let mut rig = rig();
        rig.install(1, |_| ());
        rig.replace(1, 2);
        let retire = rig.operation(Operation::Retire(v1::Retire { child_sa: 1, linger_ms }));
        let mut answer = rig.submit(vec![retire]);
        rig.poll();
        // No worker has heard of it yet, and all of them may send on the new one.
        assert!(answer.try_recv().is_err() && rig.installed_sa(2).state.is_active());
        rig.settle();
        assert_eq!(rig.installed(), if linger_ms == 0 { vec![2] } else { vec![1, 2] });
        rig.wait(5100);
        assert_eq!(rig.installed(), [2]);
    }
}

#[test]
fn a_hard_limit_of_the_old_one_activates_the_new_one() {
    let mut rig = rig();
    rig.install(1, |message| message.hard = Some(v1::Limits { time_ms: 4000, ..v1::Limits::default() }));
    rig.replace(1, 2);
    rig.wait(3900);
    assert!(rig.is_parked(2));
    rig.wait(200);
    assert!(!rig.is_parked(2));
    assert_eq!(rig.installed(), [2]);
    // Used-up sequence numbers are a limit, too.
    rig.replace(2, 3);
    rig.ends[1].notify(Notice::Spent(ChildSaId(2)));
    rig.settle();
    assert!(!rig.is_parked(3));
}

#[test]
fn the_successor_of_one_that_never_sent_waits_for_the_one_before() {
    let mut rig = rig();
    rig.install(1, |_| ());
    rig.replace(1, 2);
    rig.replace(2, 3);
    rig.run(Operation::Retire(v1::Retire { child_sa: 2, linger_ms: 0 }));
    assert!(rig.is_parked(3), "the first one still carries packets");
    rig.run(Operation::Retire(v1::Retire { child_sa: 1, linger_ms: 5000 }));
    assert!(!rig.is_parked(3));
}

#[test]
fn one_that_is_retired_itself_takes_nothing_over_and_answers_no_acquire() {
    let mut rig = rig();
    rig.install(1, |_| ());
    rig.replace(1, 2);
    rig.run(Operation::Retire(v1::Retire { child_sa: 2, linger_ms: 60_000 }));
    rig.run(Operation::Retire(v1::Retire { child_sa: 1, linger_ms: 0 }));
    assert!(rig.is_parked(2));
    let mut events = rig.subscribe();
    rig.ends[0].notify(Notice::Acquire { policy: PolicyId(1), slot: PolicySlot(0), flow: flow() });
    rig.settle();
    // A late packet of the peer on the inbound half.
    rig.installed_sa(2).state.activate();
    rig.ends[0].notify(Notice::Activated(ChildSaId(2)));
    rig.settle();
    assert_eq!(news(&mut events).len(), 1);
    let mut again = rig.subscribe();
    rig.settle();
    assert_eq!(news(&mut again).len(), 1, "it still waits for an answer");
}

#[test]
fn nearly_used_up_sequence_numbers_are_a_soft_limit_unless_they_are_extended() {
    let mut rig = rig();
    let mut events = rig.subscribe();
    rig.install(1, |_| ());
    rig.install(2, |message| message.extended_sequence_numbers = true);
    for (number, expected) in [(3 << 30, vec![]), ((3 << 30) + 1, vec![event::Event::SoftExpire(v1::SoftExpire { child_sa: 1 })])] {
        [1, 2].iter().for_each(|id| rig.installed_sa(*id).outbound.skip_to(number));
        rig.wait(200);
        assert_eq!(news(&mut events), expected);
    }
    // What is retired is replaced already.
    rig.install(3, |_| ());
    rig.run(Operation::Retire(v1::Retire { child_sa: 3, linger_ms: 60_000 }));
    rig.installed_sa(3).outbound.skip_to(u64::from(u32::MAX));
    rig.wait(200);
    assert_eq!(news(&mut events), []);
}
