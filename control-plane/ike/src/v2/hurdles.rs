//! Operations that did not come about, and when to try them again (RFC 7296 section 2.25).

use core::time::Duration;

use ipsec_types::Instant;

use crate::context::{Context, End};
use crate::provider::CryptoError;
use crate::v2::{Core, Established, Task};

/// Operations of one IKE SA that did not come about: tried again not at once, but one or more times over several minutes.
#[derive(Debug, Default)]
pub(crate) struct Hurdles {
    /// In a row.
    count: u32,
    since: Option<Instant>,
}

/// The first wait after a TEMPORARY_FAILURE, doubled each time.
const FIRST_WAIT: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// "If a peer continues to receive TEMPORARY_FAILURE on the same IKE SA after several minutes, it SHOULD conclude that the state
/// information is out of sync and close the IKE SA."
const PATIENCE: Duration = Duration::from_secs(240);

impl Hurdles {
    /// An operation has come about.
    pub(crate) fn passed(&mut self) {
        *self = Self::default();
    }

    /// How long to wait, with up to half as much again, so that two peers do not meet again.
    fn wait(&mut self, cx: &mut Context<'_>) -> Duration {
        let wait = FIRST_WAIT.saturating_mul(1 << self.count.min(5)).min(LONGEST_WAIT);
        self.count = self.count.saturating_add(1);
        wait + cx.up_to(wait / 2)
    }

    /// The clock stood still for `pause`.
    pub(crate) fn shift(&mut self, pause: Duration) {
        self.since = self.since.map(|since| since + pause);
    }
}

impl Core {
    /// From now on the IKE SA ages.
    pub(crate) fn begin_life(&mut self, cx: &mut Context<'_>) {
        let lifetime = self.connection.lifetime;
        if let Some(rekey) = lifetime.rekey {
            let at = cx.now + rekey.saturating_sub(cx.up_to(lifetime.jitter));
            self.later.push((at, Task::RekeyIkeSa { request: None }));
        }
        self.later.extend(lifetime.hard.map(|hard| (cx.now + hard, Task::ExpireIkeSa)));
    }

    /// Tries a task again after a while.
    pub(crate) fn try_later(&mut self, cx: &mut Context<'_>, task: Task) {
        let at = cx.now + self.hurdles.wait(cx);
        self.later.push((at, task));
    }

    /// The IKE SA must end, with its Child SAs, before anything else is done under it.
    pub(crate) fn give_up(&mut self) {
        self.end = Some(End::Failed);
        if !self.is_ending() {
            self.tasks.push_front(Task::DeleteIkeSa);
        }
    }

    /// A key exchange with what the peer has answered has failed. "If the invalid KE payload is in a response, the Initiator getting this
    /// reply MUST immediately delete the IKE SA by sending an IKE SA Delete notification as a new exchange" (RFC 6989 section 2.5).
    pub(crate) fn give_up_over(&mut self, error: &CryptoError) {
        if *error == CryptoError::PublicValue {
            self.give_up();
        }
    }
}

impl Established {
    /// The peer has answered TEMPORARY_FAILURE.
    pub(crate) fn ask_later(&mut self, core: &mut Core, cx: &mut Context<'_>, task: Task) {
        let since = *core.hurdles.since.get_or_insert(cx.now);
        core.try_later(cx, task);
        if cx.now.since(since) > PATIENCE {
            self.make_way(core, cx);
        }
    }
}
