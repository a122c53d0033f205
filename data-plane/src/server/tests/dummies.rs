//! Dummy packets on the clock of the server.

use super::*;

impl Rig {
    /// Dummies that the workers were told to send, and by which worker.
    fn dummies(&mut self) -> Vec<(u16, usize)> {
        let dummies = |(worker, command): (u16, Command)| match command {
            Command::SendDummies { random, .. } => Some((worker, random.len())),
            _ => None,
        };
        std::mem::take(&mut self.applied).into_iter().filter_map(dummies).collect()
    }
}

fn rig(per_second: u32, change: impl FnOnce(&mut v1::Install)) -> Rig {
    let mut rig = Rig::new(2);
    rig.set_policies(&[1]);
    rig.install(1, |message| {
        message.tfc = Some(v1::Tfc { dummies_per_second: per_second, ..v1::Tfc::default() });
        change(message);
    });
    rig
}

#[test]
fn as_many_dummies_are_sent_each_second_as_the_sa_says_by_its_owner() {
    for (per_second, rounds) in [(1, 20), (3, 10), (10, 10), (70, 10), (10_000, 2)] {
        let mut rig = rig(per_second, |_| ());
        let owner = rig.installed_sa(1).owner.0;
        rig.dummies();
        let mut sent = 0;
        for _ in 0..rounds * 10 {
            rig.wait(100);
            let dummies = rig.dummies();
            assert!(dummies.iter().all(|(worker, count)| *worker == owner && (1..=32).contains(count)), "{dummies:?}");
            sent += dummies.iter().map(|(_, count)| count).sum::<usize>();
        }
        let expected = usize::try_from(per_second).unwrap() * rounds;
        assert!((expected - 1..=expected).contains(&sent) || per_second == 10_000 && sent >= expected * 99 / 100, "{per_second}: {sent}");
    }
}

#[test]
fn a_late_sweep_makes_up_for_little() {
    let mut rig = rig(10_000, |_| ());
    rig.wait(60_000);
    assert_eq!(rig.dummies().iter().map(|(_, count)| count).sum::<usize>(), 1024);
}

#[test]
fn no_dummies_before_an_sa_is_active_and_none_when_it_is_retired() {
    let mut rig = rig(10, |message| message.parked = Some(v1::Parked { fallback_ms: 0 }));
    rig.wait(1000);
    assert_eq!(rig.dummies(), []);
    assert_eq!(rig.run(Operation::Activate(v1::Activate { child_sa: 1 })), done());
    rig.wait(1000);
    assert!(!rig.dummies().is_empty());
    assert_eq!(rig.run(Operation::Retire(v1::Retire { child_sa: 1, linger_ms: 5000 })), done());
    rig.dummies();
    rig.wait(1000);
    assert_eq!(rig.dummies(), []);
}
