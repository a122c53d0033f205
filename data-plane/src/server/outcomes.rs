//! What became of operations, so that one that is repeated is answered and not done again.

use std::collections::{HashMap, VecDeque};

use culvert_proto::dataplane::v1;

/// Outcomes that are remembered. An Install is safe even beyond: the identifier of its Child SA and its leased SPI serve once.
pub(super) const REMEMBERED: usize = 8192;

/// The last outcomes, by operation id.
#[derive(Debug, Default)]
pub(super) struct Outcomes {
    by_id: HashMap<u64, v1::Outcome>,
    order: VecDeque<u64>,
}

impl Outcomes {
    /// The outcome of an operation that was done before.
    pub(super) fn of(&self, id: u64) -> Option<&v1::Outcome> {
        self.by_id.get(&id)
    }

    /// Remembers an outcome; the first one of an id stays.
    pub(super) fn remember(&mut self, outcome: v1::Outcome) {
        let id = outcome.id;
        if self.by_id.contains_key(&id) {
            return;
        }
        self.by_id.insert(id, outcome);
        self.order.push_back(id);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_id.remove(&oldest);
        }
    }
}

/// An operation was done.
pub(super) fn done(id: u64) -> v1::Outcome {
    v1::Outcome { id, outcome: Some(v1::outcome::Outcome::Done(v1::Done {})) }
}

/// An operation was refused.
pub(super) fn failure(id: u64, reason: v1::failure::Reason, detail: impl Into<String>) -> v1::Outcome {
    v1::Outcome { id, outcome: Some(v1::outcome::Outcome::Failure(v1::Failure { reason: reason.into(), detail: detail.into() })) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_stays_and_the_oldest_goes() {
        let mut outcomes = Outcomes::default();
        outcomes.remember(done(1));
        outcomes.remember(failure(1, v1::failure::Reason::Invalid, ""));
        assert_eq!(outcomes.of(1), Some(&done(1)));
        (2..=REMEMBERED as u64).for_each(|id| outcomes.remember(done(id)));
        assert!(outcomes.of(1).is_some());
        outcomes.remember(done(0));
        assert_eq!((outcomes.of(1), outcomes.of(2)), (None, Some(&done(2))));
    }
}
