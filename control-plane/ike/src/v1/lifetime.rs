//! How long SAs live. Each side has limits of its own and says them in the transforms of both phases; the shorter life is used. A responder whose own is
//! shorter than what was offered says so with RESPONDER-LIFETIME (RFC 2407 sections 4.5.4 and 4.6.3.1).

use alloc::vec::Vec;
use core::time::Duration;

use ike_wire::v1::{
    Attribute, AttributeType, AttributeValue, LifeType, Notify, NotifyType, OakleyAttribute, Payload, Proposal, Protocol, Sa,
    emit_attributes, lifetimes, parse_attributes,
};
use ipsec_types::{Instant, Limits};

use crate::child::replaced_before;
use crate::config::{ChildLifetime, IkeLifetime};
use crate::v1::common::Task;
use crate::v1::{Core, find};

/// What a peer's life is not taken for shorter than: what is replaced all the time carries nothing.
const LEAST: Limits = Limits { time: Some(Duration::from_secs(10)), octets: Some(1 << 20), packets: None };

/// By whose numbers a life is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Those of RFC 2409 appendix A.
    One,
    /// Those of RFC 2407 section 4.5.
    Two,
}

impl Phase {
    /// Life Type and Life Duration.
    const fn numbers(self) -> (u16, u16) {
        match self {
            Self::One => (OakleyAttribute::LIFE_TYPE.0, OakleyAttribute::LIFE_DURATION.0),
            Self::Two => (AttributeType::LIFE_TYPE.0, AttributeType::LIFE_DURATION.0),
        }
    }
}

/// When a Child SA ends, as it is said: by its hard limits, or the soft ones where there are no others.
pub(crate) fn of_child(lifetime: &ChildLifetime) -> Limits {
    let (hard, soft) = (&lifetime.hard, &lifetime.soft);
    Limits { time: hard.time.or(soft.time), octets: hard.octets.or(soft.octets), packets: None }
}

/// The same of an IKE SA.
pub(crate) fn of_ike_sa(lifetime: &IkeLifetime) -> Limits {
    Limits { time: lifetime.hard.or(lifetime.rekey), ..Limits::default() }
}

/// A life in attributes.
pub(crate) fn attributes(phase: Phase, life: &Limits) -> Vec<Attribute> {
    let (kind, duration) = phase.numbers();
    let mut attributes = Vec::new();
    let mut add = |life_type: LifeType, value: u64| {
        let value = u32::try_from(value.max(1)).unwrap_or(u32::MAX);
        // In the short form where it fits.
        let value = u16::try_from(value).map_or_else(|_| AttributeValue::Long(value.to_be_bytes().to_vec()), AttributeValue::Short);
        attributes.extend([Attribute { kind, value: AttributeValue::Short(life_type.0) }, Attribute { kind: duration, value }]);
    };
    if let Some(time) = life.time {
        add(LifeType::SECONDS, time.as_secs());
    }
    if let Some(octets) = life.octets {
        add(LifeType::KILOBYTES, octets / 1024);
    }
    attributes
}

/// The life that attributes say.
fn read(phase: Phase, attributes: &[Attribute]) -> Limits {
    let (kind, duration) = phase.numbers();
    let mut life = Limits::default();
    for (life_type, value) in lifetimes(attributes, kind, duration) {
        match life_type {
            LifeType::SECONDS => life.time = Some(Duration::from_secs(value).max(LEAST.time.unwrap_or_default())),
            LifeType::KILOBYTES => life.octets = Some(value.saturating_mul(1024).max(LEAST.octets.unwrap_or_default())),
            _ => {}
        }
    }
    life
}

/// The life that the one transform of what was chosen says.
pub(crate) fn of_chosen(phase: Phase, chosen: &Proposal) -> Limits {
    chosen.transforms.first().map(|transform| read(phase, &transform.attributes)).unwrap_or_default()
}

/// The same of the answer to an offer of phase 1.
pub(crate) fn of_ike_answer(answer: &Sa) -> Limits {
    answer.proposals.first().map(|chosen| of_chosen(Phase::One, chosen)).unwrap_or_default()
}

/// What of one life is shorter than another.
pub(crate) fn shorter(life: &Limits, than: &Limits) -> Limits {
    fn less<T: PartialOrd>(a: Option<T>, b: Option<T>) -> Option<T> {
        a.filter(|a| b.is_none_or(|b| *a < b))
    }
    Limits { time: less(life.time, than.time), octets: less(life.octets, than.octets), packets: None }
}

/// Tells the initiator what of the responder's life is shorter than it has offered.
pub(crate) fn notification(phase: Phase, protocol: Protocol, spi: Vec<u8>, ours: &Limits, offered: &Limits) -> Option<Payload> {
    let shorter = shorter(ours, offered);
    let data = emit_attributes(&attributes(phase, &shorter)).ok().filter(|_| shorter != Limits::default())?;
    Some(Payload::Notify(Notify::new(protocol, spi, NotifyType::RESPONDER_LIFETIME, data)))
}

/// What a responder has said of its life, if anything, or in a way that can be read.
pub(crate) fn notified(phase: Phase, notify: &Notify) -> Option<Limits> {
    let attributes = parse_attributes(&notify.data).ok().filter(|_| notify.kind == NotifyType::RESPONDER_LIFETIME)?;
    Some(read(phase, &attributes))
}

/// The life of the responder of a quick mode, by its answer.
pub(crate) fn of_responder(chosen: &Proposal, payloads: &[Payload]) -> Limits {
    let mut life = of_chosen(Phase::Two, chosen);
    for said in find::notifications(payloads).filter_map(|notify| notified(Phase::Two, notify)) {
        life = Limits { time: said.time.or(life.time), octets: said.octets.or(life.octets), packets: None };
    }
    life
}

/// What an IKE SA has protected, of the peer's since phase 1 was over, and what it may, where the peer limits that (RFC 2409 appendix A).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Volume {
    octets: u64,
    most: Option<u64>,
}

impl Volume {
    /// Whether so much is protected now and was not before.
    const fn reaches(self, before: u64, limit: u64) -> bool {
        before < limit && limit <= self.octets
    }
}

impl Core {
    /// The peer lets the IKE SA live no longer than so, from now on: if that is less than here, it ends then, and is replaced before.
    pub(crate) fn limit_life(&mut self, now: Instant, life: &Limits) {
        if let Some(time) = shorter(life, &of_ike_sa(&self.connection.lifetime)).time {
            self.hasten(Some(now + replaced_before(time)), Some(now + time));
        }
        if let Some(most) = life.octets.filter(|octets| self.volume.most.is_none_or(|most| *octets < most)) {
            self.volume.most = Some(most);
            self.spend(now, 0);
        }
    }

    /// A message of so many octets was protected under the IKE SA, here or by the peer.
    pub(crate) fn protected(&mut self, now: Instant, octets: usize) {
        let before = self.volume.octets;
        self.volume.octets = before.saturating_add(u64::try_from(octets).unwrap_or(u64::MAX));
        self.spend(now, before);
    }

    fn spend(&mut self, now: Instant, before: u64) {
        let Some(most) = self.volume.most else { return };
        let [replaced, ended] = [most / 20 * 19, most].map(|limit| self.volume.reaches(before, limit).then_some(now));
        self.hasten(replaced, ended);
    }

    /// The IKE SA is replaced no later than so, where this side replaces it, and ends no later than so.
    fn hasten(&mut self, replaced: Option<Instant>, ended: Option<Instant>) {
        let mut ends = false;
        for (at, task) in &mut self.later {
            let sooner = match task {
                Task::Replace { request: None } => replaced,
                Task::Expire => {
                    ends = true;
                    ended
                }
                _ => None,
            };
            *at = sooner.map_or(*at, |sooner| sooner.min(*at));
        }
        self.later.extend(ended.filter(|_| !ends).map(|at| (at, Task::Expire)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn limits(seconds: Option<u64>, octets: Option<u64>) -> Limits {
        let time = match seconds {
            Some(seconds) => Some(Duration::from_secs(seconds)),
            None => None,
        };
        Limits { time, octets, packets: None }
    }

    #[test]
    fn a_life_is_said_and_read_alike_in_both_phases_and_units() {
        for phase in [Phase::One, Phase::Two] {
            for life in [limits(Some(3600), None), limits(Some(100_000), Some(5 << 30)), limits(None, Some(2 << 20)), limits(None, None)] {
                assert_eq!(read(phase, &attributes(phase, &life)), life);
            }
        }
        assert_eq!(read(Phase::Two, &attributes(Phase::Two, &limits(Some(0), Some(0)))), LEAST, "nothing is replaced all the time");
        assert_eq!(read(Phase::One, &attributes(Phase::Two, &limits(Some(60), None))), Limits::default(), "the numbers differ");
    }

    #[test]
    fn only_what_is_shorter_is_notified() {
        let notify = |ours, offered| match notification(Phase::Two, Protocol::ESP, alloc::vec![1; 4], &ours, &offered) {
            Some(Payload::Notify(notify)) => notified(Phase::Two, &notify),
            _ => None,
        };
        assert_eq!(notify(limits(Some(60), Some(4 << 20)), limits(Some(100), Some(4 << 20))), Some(limits(Some(60), None)));
        assert_eq!(notify(limits(Some(60), Some(4 << 20)), limits(Some(60), None)), Some(limits(None, Some(4 << 20))));
        assert_eq!(notify(limits(Some(100), None), limits(Some(60), Some(4 << 20))), None);
        assert_eq!(
            notified(Phase::Two, &Notify::new(Protocol::ESP, Vec::new(), NotifyType::RESPONDER_LIFETIME, alloc::vec![1, 2, 3])),
            None
        );
    }
}
