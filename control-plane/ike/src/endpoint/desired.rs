//! What the configuration wants to be there, whatever becomes of it.

use alloc::sync::Arc;

use super::*;
use crate::child::TAKEN_OVER;
use crate::config::{DpdAction, StartAction};
use crate::context::End;
use crate::want::Waiter;

impl Endpoint {
    /// Wants every Child SA that the configuration wants at once, where it is not there already.
    pub(super) fn want_starts(&mut self, now: Instant) {
        let config = Arc::clone(&self.shared.config);
        for child in config.connections.iter().flat_map(|connection| &connection.children) {
            if child.start_action == StartAction::Start && !self.has_child(child.policy) {
                self.shared.wants.add(now, child.policy, Waiter::Start);
            }
        }
    }

    /// What has ended is wanted again where the configuration says so. An operator's word is no end of this kind.
    pub(super) fn reconcile(&mut self, now: Instant) {
        for (policy, end) in core::mem::take(&mut self.shared.ended) {
            let found = ConnectionRef::of_policy(&self.shared.config, policy);
            let Some((connection, index)) = found.filter(|_| !self.closing) else { continue };
            let Some(child) = connection.child(index) else { continue };
            let starts = child.start_action == StartAction::Start;
            let (again, trap) = match end {
                End::Dead => (starts || child.dpd_action == DpdAction::Restart, child.dpd_action == DpdAction::Trap),
                End::ByPeer => (child.close_action == StartAction::Start, child.close_action == StartAction::Trap),
                End::Forgotten | End::Expired | End::Failed => (starts, false),
            };
            if trap {
                self.shared.trapped.insert(policy);
            }
            if again && !self.has_child(policy) {
                match end {
                    // The peer is back, and probably sets it up itself.
                    End::Forgotten => self.shared.wants.add_later(now, policy, now + TAKEN_OVER),
                    _ => _ = self.shared.wants.add(now, policy, Waiter::Start),
                }
            }
        }
    }
}
