//! Reauthentication: a new IKE SA from scratch, and then the end of the old one (RFC 7296 section 2.8.3), which makes way for it so that no packet
//! is lost. Rekeying in between puts it off by nothing.
//!
//! A responder may have nobody to call. It says in IKE_AUTH how long the authentication holds (RFC 4478), and the initiator begins.

use alloc::format;
use core::time::Duration;

use ike_wire::{Notify, NotifyType, Payload};

use crate::context::Context;
use crate::v2::find::notification;
use crate::v2::keys::Role;
use crate::v2::{Core, Task};

/// Of the time that a responder allows, the part after which an initiator begins, in hundredths: the old IKE SA is to last until the new one is
/// there.
const PERCENT: u32 = 90;

/// What a responder says of how long it believes the peer: `N(AUTH_LIFETIME)` in seconds, four octets.
pub(crate) fn lifetime(core: &Core) -> Option<Payload> {
    let lifetime = core.believed_for().filter(|_| core.role == Role::Responder)?;
    let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
    Some(Payload::Notify(Notify::new(NotifyType::AUTH_LIFETIME, seconds.to_be_bytes().to_vec())))
}

impl Core {
    /// How long the peer is believed: as long as the connection says, and whoever has authenticated it (a RADIUS server's Session-Timeout).
    fn believed_for(&self) -> Option<Duration> {
        [self.connection.reauthentication, self.granted].into_iter().flatten().min()
    }

    /// The peer has just shown who it is; `payloads` came with that. From now on the authentication ages.
    pub(crate) fn begin_authentication(&mut self, cx: &mut Context<'_>, payloads: &[Payload]) {
        let own = self.believed_for();
        if self.role == Role::Responder {
            // Who was told has until then to come back; the end itself is left to `over_time`, as with every other lifetime.
            if let Some(own) = own {
                self.later.push((cx.now + own + over(own), Task::ExpireAuthentication));
            }
            return;
        }
        let allowed = notification(payloads, |kind| kind == NotifyType::AUTH_LIFETIME).and_then(|notify| {
            let seconds = u32::from_be_bytes(notify.data.as_slice().try_into().ok()?);
            // Nothing comes of a peer that wants to be asked all the time.
            Some(Duration::from_secs(seconds.max(1).into()) * PERCENT / 100)
        });
        let Some(after) = [own, allowed].into_iter().flatten().min() else { return };
        let after = after - cx.up_to(after / 10);
        self.step(cx, "the peer will be authenticated anew", alloc::vec![format!("in {} s", after.as_secs())]);
        self.later.push((cx.now + after, Task::Reauthenticate { request: None }));
    }
}

/// Time to spare for an initiator that is late.
fn over(lifetime: Duration) -> Duration {
    lifetime / 10
}
