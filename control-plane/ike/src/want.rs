//! Child SAs that somebody wants: who waits for each, and when to try again after a failure.
//!
//! There is at most one negotiation for each policy: whoever comes while it runs waits for its outcome.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use ipsec_types::{Instant, PolicyId};

use crate::config::{Config, StartAction};
use crate::error::Failure;
use crate::io::{IkeSaId, RequestId};
use crate::provider::Random;

/// Who waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiter {
    /// A packet in the data plane.
    Acquire(u64),
    /// An operator.
    Request(RequestId),
    /// The configuration, which does not give up.
    Start,
    /// A Child SA that is lost, or has no IKE SA any more: it needs a successor, but not for ever.
    Heir,
    /// An IKE SA that makes way for another: it goes when its Child SA has a successor, and does not wait for ever either.
    Predecessor(IkeSaId),
}

impl Waiter {
    /// Whether nobody outside waits for an answer.
    const fn is_internal(self) -> bool {
        matches!(self, Self::Start | Self::Heir | Self::Predecessor(_))
    }
}

/// One policy's.
#[derive(Debug)]
struct Want {
    waiters: Vec<Waiter>,
    /// In a row.
    failures: u32,
    phase: Phase,
    /// Why the last negotiation failed.
    last: Option<Failure>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nobody wants it.
    Idle,
    /// To be begun.
    Ready,
    /// Being negotiated.
    Running,
    /// Failed; not before then.
    Resting(Instant),
}

/// All of them, by policy.
#[derive(Debug, Default)]
pub(crate) struct Wants {
    all: BTreeMap<PolicyId, Want>,
    /// State of a generator that only has to differ from gateway to gateway: what makes rests uneven. 0 for even ones.
    jitter: u64,
}

/// How one of them stands.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) policy: PolicyId,
    pub(crate) negotiating: bool,
    /// Somebody waits for it, so that it is tried again without being asked.
    pub(crate) insists: bool,
    /// Not before so long.
    pub(crate) rest: Option<Duration>,
    pub(crate) failures: u32,
    pub(crate) last: Option<&'a Failure>,
}

/// What becomes of an Acquire or request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It will be answered by the outcome.
    Waits,
    /// Not before so long.
    Refused(Duration),
}

/// Acquires that may wait for one policy; the data plane bounds its own side, this bounds ours.
const MOST_WAITERS: usize = 256;
/// Failures in a row after which nobody tries any more to replace an SA that is lost, or has to go.
const MOST_HEIR_FAILURES: u32 = 3;
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(64);

impl Wants {
    /// Somebody wants the Child SA of `policy`. Operators do not have to wait for the end of a rest.
    pub(crate) fn add(&mut self, now: Instant, policy: PolicyId, waiter: Waiter) -> Admission {
        let want = self.all.entry(policy).or_insert_with(|| Want { waiters: Vec::new(), failures: 0, phase: Phase::Idle, last: None });
        match (want.phase, waiter) {
            (Phase::Resting(until), Waiter::Acquire(_)) if until > now => return Admission::Refused(until.since(now)),
            (Phase::Resting(until), _) if until <= now => want.phase = Phase::Idle,
            _ => {}
        }
        if want.waiters.contains(&waiter) {
            return Admission::Waits;
        }
        if want.waiters.len() >= MOST_WAITERS {
            return Admission::Refused(FIRST_REST);
        }
        want.waiters.push(waiter);
        if want.phase != Phase::Running && !(matches!(want.phase, Phase::Resting(_)) && waiter.is_internal()) {
            want.phase = Phase::Ready;
        }
        Admission::Waits
    }

    /// Policies whose negotiation is to be begun.
    pub(crate) fn ready(&self) -> Vec<PolicyId> {
        self.all.iter().filter(|(_, want)| want.phase == Phase::Ready).map(|(policy, _)| *policy).collect()
    }

    /// The negotiation of `policy` has begun.
    pub(crate) fn begun(&mut self, policy: PolicyId) {
        if let Some(want) = self.all.get_mut(&policy) {
            want.phase = Phase::Running;
        }
    }

    /// The negotiation of `policy` is to begin anew, without a rest.
    pub(crate) fn again(&mut self, policy: PolicyId) {
        if let Some(want) = self.all.get_mut(&policy).filter(|want| want.phase == Phase::Running) {
            want.phase = Phase::Ready;
        }
    }

    /// Done; gives back who waited.
    pub(crate) fn succeeded(&mut self, policy: PolicyId) -> Vec<Waiter> {
        self.all.remove(&policy).map(|want| want.waiters).unwrap_or_default()
    }

    /// Failed; gives back who waited, and for how long not to ask again. The configuration goes on waiting.
    pub(crate) fn failed(&mut self, now: Instant, policy: PolicyId, failure: &Failure) -> (Vec<Waiter>, Duration) {
        let early = self.next_jitter();
        let Some(want) = self.all.get_mut(&policy) else { return (Vec::new(), FIRST_REST) };
        let rest = FIRST_REST.saturating_mul(1 << want.failures.min(6)).min(LONGEST_REST);
        // Gateways that lost the same peer at the same time shall not come back at the same time.
        let shortened = rest - rest * early / 400;
        want.failures = want.failures.saturating_add(1);
        want.phase = Phase::Resting(now + shortened);
        want.last = Some(failure.clone());
        let stays = |waiter: &Waiter| match waiter {
            Waiter::Start => true,
            Waiter::Heir | Waiter::Predecessor(_) => want.failures < MOST_HEIR_FAILURES,
            Waiter::Acquire(_) | Waiter::Request(_) => false,
        };
        let (stay, leave) = core::mem::take(&mut want.waiters).into_iter().partition(stays);
        want.waiters = stay;
        (leave, rest)
    }

    /// What is being negotiated, and what has failed and not come about since.
    pub(crate) fn list(&self, now: Instant) -> impl Iterator<Item = Wanted<'_>> {
        let shown = self.all.iter().filter(|(_, want)| want.phase != Phase::Idle || want.last.is_some());
        shown.map(move |(policy, want)| Wanted {
            policy: *policy,
            negotiating: matches!(want.phase, Phase::Ready | Phase::Running),
            insists: !want.waiters.is_empty(),
            rest: if let Phase::Resting(until) = want.phase { Some(until.since(now)) } else { None },
            failures: want.failures,
            last: want.last.as_ref(),
        })
    }

    /// Wants the Child SA of `policy` for the configuration, but not before `at`: it may come by itself.
    pub(crate) fn add_later(&mut self, now: Instant, policy: PolicyId, at: Instant) {
        let before = self.all.get(&policy).map(|want| want.phase);
        self.add(now, policy, Waiter::Start);
        if let Some(want) = self.all.get_mut(&policy).filter(|want| want.phase == Phase::Ready && before != Some(Phase::Ready)) {
            want.phase = Phase::Resting(at);
        }
    }

    /// Whether nobody outside waits for the Child SA of `policy`.
    pub(crate) fn is_only_internal(&self, policy: PolicyId) -> bool {
        self.all.get(&policy).is_some_and(|want| want.waiters.iter().all(|waiter| waiter.is_internal()))
    }

    /// Makes rests uneven.
    pub(crate) fn seed(&mut self, random: &mut dyn Random) {
        if self.jitter == 0 {
            let mut octets = [0; 8];
            random.fill(&mut octets);
            self.jitter = u64::from_ne_bytes(octets) | 1;
        }
    }

    /// 0 to 99.
    fn next_jitter(&mut self) -> u32 {
        // Xorshift; it stays at zero.
        self.jitter ^= self.jitter << 13;
        self.jitter ^= self.jitter >> 7;
        self.jitter ^= self.jitter << 17;
        u32::try_from(self.jitter % 100).unwrap_or(0)
    }

    /// Whether a negotiation of `policy` runs or is about to.
    pub(crate) fn is_active(&self, policy: PolicyId) -> bool {
        self.all.get(&policy).is_some_and(|want| matches!(want.phase, Phase::Ready | Phase::Running))
    }

    /// The rest of some has ended.
    pub(crate) fn wake(&mut self, now: Instant) {
        for want in self.all.values_mut() {
            if matches!(want.phase, Phase::Resting(until) if until <= now) {
                want.phase = if want.waiters.is_empty() { Phase::Idle } else { Phase::Ready };
            }
        }
    }

    /// When the next rest ends that somebody waits for.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let ends = self.all.values().filter(|want| !want.waiters.is_empty()).filter_map(|want| match want.phase {
            Phase::Resting(until) => Some(until),
            _ => None,
        });
        ends.min()
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        for want in self.all.values_mut() {
            if let Phase::Resting(until) = &mut want.phase {
                *until = *until + pause;
            }
        }
    }

    /// Keeps what a new configuration still has; gives back who waited for the rest.
    pub(crate) fn retain(&mut self, config: &Config) -> Vec<Waiter> {
        let children: BTreeMap<PolicyId, StartAction> =
            config.connections.iter().flat_map(|connection| &connection.children).map(|child| (child.policy, child.start_action)).collect();
        let gone = self.all.extract_if(.., |policy, _| !children.contains_key(policy)).flat_map(|(_, want)| want.waiters).collect();
        for (policy, want) in &mut self.all {
            if children.get(policy) != Some(&StartAction::Start) {
                want.waiters.retain(|waiter| *waiter != Waiter::Start);
            }
            // What stood in the way may be gone with the old configuration.
            if matches!(want.phase, Phase::Resting(_)) {
                want.phase = if want.waiters.is_empty() { Phase::Idle } else { Phase::Ready };
            }
        }
        gone
    }

    /// Everybody leaves.
    pub(crate) fn clear(&mut self) -> Vec<Waiter> {
        core::mem::take(&mut self.all).into_values().flat_map(|want| want.waiters).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: PolicyId = PolicyId(1);

    fn failure() -> Failure {
        Failure::Local("no".into())
    }

    #[test]
    fn what_has_failed_is_listed_with_its_next_try_until_it_succeeds() {
        let mut wants = Wants::default();
        wants.add(Instant::ZERO, POLICY, Waiter::Start);
        wants.begun(POLICY);
        assert!(wants.list(Instant::ZERO).all(|wanted| wanted.negotiating && wanted.last.is_none()));
        wants.failed(Instant::ZERO, POLICY, &failure());
        let wanted = wants.list(Instant::ZERO).next().unwrap();
        assert_eq!((wanted.insists, wanted.rest, wanted.failures, wanted.last), (true, Some(FIRST_REST), 1, Some(&failure())));
        wants.wake(Instant::ZERO + FIRST_REST);
        wants.begun(POLICY);
        wants.succeeded(POLICY);
        assert_eq!(wants.list(Instant::ZERO).count(), 0);
    }

    #[test]
    fn many_acquires_are_one_negotiation() {
        let mut wants = Wants::default();
        assert_eq!(wants.add(Instant::ZERO, POLICY, Waiter::Acquire(1)), Admission::Waits);
        assert_eq!(wants.ready(), [POLICY]);
        wants.begun(POLICY);
        assert_eq!(wants.add(Instant::ZERO, POLICY, Waiter::Acquire(2)), Admission::Waits);
        assert_eq!(wants.add(Instant::ZERO, POLICY, Waiter::Acquire(2)), Admission::Waits);
        assert!(wants.ready().is_empty());
        assert_eq!(wants.succeeded(POLICY), [Waiter::Acquire(1), Waiter::Acquire(2)]);
    }

    #[test]
    fn each_failure_in_a_row_doubles_the_rest_up_to_a_minute() {
        let mut wants = Wants::default();
        let mut now = Instant::ZERO;
        for seconds in [1, 2, 4, 8, 16, 32, 64, 64, 64] {
            wants.add(now, POLICY, Waiter::Acquire(seconds));
            wants.begun(POLICY);
            assert_eq!(wants.failed(now, POLICY, &failure()), (alloc::vec![Waiter::Acquire(seconds)], Duration::from_secs(seconds)));
            assert_eq!(wants.add(now, POLICY, Waiter::Acquire(0)), Admission::Refused(Duration::from_secs(seconds)));
            now = now + Duration::from_secs(seconds);
            wants.wake(now);
        }
    }

    #[test]
    fn the_configuration_stays_and_an_operator_does_not_rest() {
        let mut wants = Wants::default();
        wants.add(Instant::ZERO, POLICY, Waiter::Start);
        wants.begun(POLICY);
        assert_eq!(wants.failed(Instant::ZERO, POLICY, &failure()).0, []);
        assert_eq!(wants.deadline(), Some(Instant::ZERO + Duration::from_secs(1)));
        assert!(wants.ready().is_empty());
        wants.add(Instant::ZERO, POLICY, Waiter::Request(RequestId(1)));
        assert_eq!(wants.ready(), [POLICY]);
    }
}
