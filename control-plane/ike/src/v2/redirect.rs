//! REDIRECT: a responder sends us to another gateway (RFC 5685), as an initiator. Whoever answers there has to be whom the connection wants: "it
//! MUST use the same Peer Authorization Database (PAD) and Security Policy Database (SPD) entries as it would have used with the original gateway."
//!
//! ```text
//! HDR, SAi1, KEi, Ni, N(REDIRECT_SUPPORTED)  -->
//!                                           <--  HDR, N(REDIRECT)        with our nonce: instead of an IKE SA
//!                                           <--  HDR, SK {IDr, AUTH, N(REDIRECT)}    in the first or last response of IKE_AUTH
//!                                           <--  HDR, SK {N(REDIRECT)}   later; our IKE SA makes way for one with the other gateway
//! HDR, SAi1, KEi, Ni, N(REDIRECTED_FROM)  -->    to the other gateway
//! ```

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use ike_wire::{Gateway, Notify, NotifyType, Payload, Redirect};
use ipsec_types::Instant;

use crate::context::Context;
use crate::diagnosis;
use crate::error::Failure;
use crate::io::Event;
use crate::v2::auth::AwaitResponse;
use crate::v2::find::notification;
use crate::v2::init::saying;
use crate::v2::{Core, Established, State, mobike};

/// Where connections were sent lately.
#[derive(Debug, Default)]
pub(crate) struct Redirects {
    of: BTreeMap<String, Redirected>,
}

#[derive(Debug, Default)]
struct Redirected {
    /// When, at most [`MOST`].
    at: Vec<Instant>,
    /// The next IKE SA goes to the first, as the second says.
    next: Option<(IpAddr, IpAddr)>,
}

/// MAX_REDIRECTS and REDIRECT_LOOP_DETECT_PERIOD (section 7): gateways may send us round in circles.
const MOST: usize = 5;
const PERIOD: Duration = Duration::from_secs(300);

impl Redirects {
    /// Whether a connection may be sent elsewhere once more.
    fn count(&mut self, now: Instant, connection: &str) -> bool {
        let redirected = self.of.entry(connection.to_string()).or_default();
        redirected.at.retain(|at| now.since(*at) < PERIOD);
        let may = redirected.at.len() < MOST;
        if may {
            redirected.at.push(now);
        }
        may
    }

    /// Where the next IKE SA of a connection goes, and who has said so.
    pub(crate) fn take(&mut self, connection: &str) -> Option<(IpAddr, IpAddr)> {
        self.of.get_mut(connection)?.next.take()
    }

    /// A new configuration: connections that are gone are forgotten.
    pub(crate) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.of.retain(|connection, _| is_there(connection));
    }
}

/// `N(REDIRECT_SUPPORTED)`, or `N(REDIRECTED_FROM)`, which says that, too.
pub(crate) fn announce(core: &Core) -> Option<Payload> {
    let announced = match core.redirected_from {
        Some(from) => {
            let data = Redirect { gateway: Gateway::Address(from), nonce: Vec::new() }.emit();
            Payload::Notify(Notify::new(NotifyType::REDIRECTED_FROM, data))
        }
        None => saying(NotifyType::REDIRECT_SUPPORTED),
    };
    core.connection.follow_redirects.then_some(announced)
}

/// What a message says of another gateway.
pub(crate) fn said(payloads: &[Payload]) -> Option<&Notify> {
    notification(payloads, |kind| kind == NotifyType::REDIRECT)
}

/// The same in a message that the peer has protected, and only where we are the side that can be sent (section 10).
pub(crate) fn asked<'a>(core: &Core, payloads: &'a [Payload]) -> Option<&'a Notify> {
    said(payloads).filter(|_| core.extensions.redirect)
}

/// Whether we follow; where to.
///
/// # Errors
/// Why we do not.
pub(crate) fn accept(core: &Core, cx: &mut Context<'_>, gateway: &Gateway) -> Result<IpAddr, Failure> {
    let refused =
        |why: &str, remedy: &str| Failure::Incompatible(NotifyType::REDIRECT, diagnosis::redirect(&core.connection, gateway, why, remedy));
    if !core.connection.follow_redirects {
        return Err(refused("redirects are not followed here", "write follow_redirects = true, or the other gateway in remote_addrs"));
    }
    let to = match gateway {
        Gateway::Address(address) => *address,
        Gateway::Name(_) => return Err(refused("names are not looked up", "let the peer send its address, or write that in remote_addrs")),
    };
    if !mobike::usable(&to) {
        return Err(refused("no gateway can be there", "correct the address that the peer redirects to"));
    }
    if core.local_towards(cx, to).is_none() {
        return Err(refused("this gateway has no address of that version of IP", "let the peer send an address of the other version"));
    }
    if !cx.shared.redirects.count(cx.now, &core.connection.name) {
        let why = format!("it is more than {MOST} times in {} s", PERIOD.as_secs());
        return Err(refused(&why, "see whether gateways redirect to each other"));
    }
    cx.shared.count("redirects_followed");
    core.step(cx, "the peer sends us to another gateway", alloc::vec![format!("from {} to {to} (RFC 5685)", core.remote.ip())]);
    cx.shared.event(Event::Redirected { connection: core.connection.name.clone(), from: core.remote.ip(), to });
    Ok(to)
}

/// As [`accept`], of a protected message, in which there is no nonce; the next IKE SA goes there.
fn follow(core: &Core, cx: &mut Context<'_>, notify: &Notify) -> Result<(), Failure> {
    let redirect = Redirect::parse(&notify.data).filter(|redirect| redirect.nonce.is_empty());
    let redirect = redirect.ok_or_else(|| Failure::PeerMisbehaved("a REDIRECT that names no gateway".into()))?;
    let to = accept(core, cx, &redirect.gateway)?;
    cx.shared.redirects.of.entry(core.connection.name.clone()).or_default().next = Some((to, core.remote.ip()));
    Ok(())
}

impl Established {
    /// The peer wants us elsewhere: another IKE SA takes this one's place, and the peer's is deleted.
    ///
    /// # Errors
    /// Why it stays.
    pub(crate) fn redirect(&mut self, core: &mut Core, cx: &mut Context<'_>, notify: &Notify) -> Result<(), Failure> {
        follow(core, cx, notify)?;
        self.make_way(core, cx);
        Ok(())
    }
}

/// In the first response of IKE_AUTH, before we have shown who we are: "Note that the IKEv2 SA is not created in this case" (section 6).
pub(crate) fn instead(state: AwaitResponse, core: &mut Core, cx: &mut Context<'_>, notify: &Notify) -> State {
    if let Err(failure) = follow(core, cx, notify) {
        return State::AwaitAuthResponse(state).close(core, cx, Some(failure));
    }
    cx.shared.return_spi(state.child.spi);
    for policy in core::mem::take(&mut core.wanted) {
        cx.shared.wants.again(policy);
    }
    core.release(cx, &Failure::Local("the peer has sent us to another gateway".into()));
    for request in core::mem::take(&mut core.terminating) {
        cx.shared.terminated(request);
    }
    State::Closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_times_in_five_minutes_and_not_more() {
        let mut redirects = Redirects::default();
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        for second in 0..5 {
            assert!(redirects.count(at(second), "lab"));
        }
        assert!(!redirects.count(at(299), "lab"));
        assert!(redirects.count(at(299), "another"));
        assert!(redirects.count(at(300), "lab"));
        assert!(!redirects.count(at(300), "lab"));
    }
}
