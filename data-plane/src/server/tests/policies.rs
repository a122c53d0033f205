//! Sets of policies: whole, in parts, and larger than the server takes in by itself.

use std::thread;
use std::time::{Duration, Instant};

use super::*;

fn part(ids: impl IntoIterator<Item = u32>, more: bool) -> Operation {
    Operation::SetPolicies(v1::SetPolicies { policies: ids.into_iter().map(policy).collect(), more })
}

impl Rig {
    fn policies(&self) -> Vec<u32> {
        self.core.stats().policies.iter().map(|status| status.id).collect()
    }

    /// Runs operations that a thread beside the server works for.
    fn program_and_wait(&mut self, operations: Vec<v1::Operation>) -> Vec<outcome::Outcome> {
        let (mut answer, start) = (self.submit(operations), Instant::now());
        loop {
            self.settle();
            if let Ok(answer) = answer.try_recv() {
                return answer.unwrap().outcomes.into_iter().map(|o| o.outcome.unwrap()).collect();
            }
            assert!(start.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(1));
        }
    }
}

#[test]
fn policies_are_taken_whole_or_not_at_all() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1, 2]);
    rig.install(1, |_| ());
    let before = rig.core.stats().policies;
    assert_eq!(reason(&rig.set_policies(&[3, 3])), Some(Reason::Invalid));
    let bad = vec![policy(3), v1::Policy { action: 0, ..policy(4) }];
    let outcome::Outcome::Failure(failure) = rig.run(Operation::SetPolicies(v1::SetPolicies { policies: bad, more: false })) else {
        panic!()
    };
    assert_eq!(failure.detail, "policies[1].action: is missing");
    assert_eq!(rig.core.stats().policies, before);

    let mut events = rig.subscribe();
    assert_eq!(rig.set_policies(&[1, 2]), done(), "sending them again is harmless");
    assert_eq!(rig.installed(), [1]);
    assert_eq!(rig.set_policies(&[2]), done());
    assert_eq!(rig.installed(), [0; 0], "an SA goes with its policy");
    assert_eq!(news(&mut events), [event::Event::HardExpire(v1::HardExpire { child_sa: 1 })]);
    let order: Vec<_> = rig.applied.iter().rev().take(3).map(|(_, command)| matches!(command, Command::Remove(_))).collect();
    assert_eq!(order, [false, false, true], "removed before the policies change");
    assert!(matches!(rig.applied.last(), Some((0, Command::PoliciesChanged(slots))) if slots.len() == 1));
}

#[test]
fn a_set_in_parts_is_in_force_with_its_last_part_and_not_before() {
    let mut rig = Rig::new(1);
    assert_eq!(rig.run(part([1], true)), done());
    assert!(rig.applied.is_empty(), "nothing is forwarded yet");
    assert_eq!(rig.run(part([2], false)), done());
    assert_eq!(rig.policies(), [1, 2]);
    rig.install(1, |_| ());
    rig.applied.clear();
    for ids in [[2, 3], [4, 5]] {
        assert_eq!(rig.run(part(ids, true)), done());
        assert_eq!((rig.policies(), rig.installed(), rig.applied.len()), (vec![1, 2], vec![1], 0));
    }
    assert_eq!(rig.run(part([], false)), done());
    assert_eq!((rig.policies(), rig.installed()), (vec![2, 3, 4, 5], vec![]));

    for (first, what) in [([5, 5].as_slice(), "within a part"), (&[6, 7], "in two parts")] {
        let outcomes = [part(first.iter().copied(), true), part([7], true), part([8], false)].map(|part| reason(&rig.run(part)));
        assert_eq!(outcomes[1..], [Some(Reason::Invalid); 2], "{what}: the rest of the set is refused, too");
        assert_eq!(rig.policies(), [2, 3, 4, 5], "{what}");
    }
    let outcomes = [part(0..1000, true), part(1000..1025, true), part([], false)].map(|part| reason(&rig.run(part)));
    assert_eq!(outcomes, [None, Some(Reason::Exhausted), Some(Reason::Invalid)], "no more is kept than fits");
    assert_eq!(rig.run(part([9], true)), done());
    rig.attach();
    assert_eq!(rig.run(part([10], false)), done());
    assert_eq!(rig.policies(), [10], "what another controller began is forgotten");
}

/// Hundreds of policies are computed beside the server, and their SAs removed some at a time. What comes behind finds the new ones.
#[test]
fn a_large_set_takes_the_place_of_another_at_once() {
    const COUNT: u32 = 600;
    let mut rig = Rig::sized(1, QueueSizes::default(), 2048);
    let set = rig.operation(part(1..=COUNT, false));
    assert_eq!(rig.program_and_wait(vec![set]), [done()]);
    let spis = rig.lease(COUNT + 1);
    for (policy, spi) in (1..=COUNT).zip(&spis) {
        assert_eq!(rig.run(Operation::Install(v1::Install { policy, ..install(policy.into(), *spi) })), done());
    }
    rig.applied.clear();
    let next = v1::Install { policy: COUNT + 1, ..install(u64::from(COUNT) + 1, spis[COUNT as usize]) };
    let operations = [part(COUNT / 2..COUNT, true), part(COUNT..=COUNT + 1, false), Operation::Install(next)];
    let operations = operations.map(|operation| rig.operation(operation)).to_vec();
    assert_eq!(rig.program_and_wait(operations), vec![done(); 3]);
    assert_eq!(rig.policies(), (COUNT / 2..=COUNT + 1).collect::<Vec<_>>());
    assert_eq!(rig.installed(), (u64::from(COUNT / 2)..=u64::from(COUNT) + 1).collect::<Vec<_>>());
    let snapshots: Vec<_> = (0..).zip(&rig.applied).filter(|(_, (_, command))| matches!(command, Command::Snapshot(_))).collect();
    let [(place, (_, Command::Snapshot(snapshot)))] = snapshots.as_slice() else { panic!("{snapshots:?}") };
    assert_eq!(snapshot.spd.as_ref().unwrap().entries().count(), COUNT as usize / 2 + 2);
    let removes = rig.applied.iter().take(*place).filter(|(_, command)| matches!(command, Command::Remove(_))).count();
    assert_eq!(removes, COUNT as usize / 2 - 1, "all before the policies change");
}

/// The set takes its time, and what stands behind it in its batch comes before what another batch brings.
#[test]
fn a_later_batch_waits_for_what_an_earlier_one_waits_with() {
    let mut rig = Rig::new(1);
    rig.set_policies(&[1]);
    let spis = rig.lease(2);
    let [first, second] = [(1, spis[0]), (2, spis[1])].map(|(id, spi)| rig.operation(Operation::Install(install(id, spi))));
    let set = rig.operation(part(1..1000, false));
    let _answer = rig.submit(vec![set, first]);
    assert_eq!(rig.program_and_wait(vec![second]), [done()]);
    assert_eq!(rig.installs().iter().map(|(_, id, _)| *id).collect::<Vec<_>>(), [1, 2]);
}
