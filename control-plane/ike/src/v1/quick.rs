//! Quick mode (RFC 2409 section 5.5): phase 2 in three messages, for each Child SA.
//!
//! ```text
//! initiator                                          responder
//! ---------                                          ---------
//! Generating, with perfect forward secrecy
//! AwaitAnswer   HDR*, HASH(1), SA, Ni [, KE], IDci, IDcr  -->
//!                                                    Agreeing, with perfect forward secrecy
//!                                                    Installing
//!                <--   HDR*, HASH(2), SA, Nr [, KE], IDci, IDcr   AwaitThird
//! Agreeing, with perfect forward secrecy
//! Installing    HDR*, HASH(3)             -->
//! ```
//!
//! Each side has its half in the data plane before it says the message that lets the other one send.

pub(crate) mod initiator;
pub(crate) mod replacing;
pub(crate) mod responder;

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::TrafficSelectors;
use ike_wire::v1::{Identification, Message, Payload, parse_padded};
use ipsec_types::{AddressRange, Mode, Secret, TrafficSelector};

pub(crate) use self::initiator::{Initiating, abandon, begin, on_answer};
pub(crate) use self::responder::{Responding, forget, on_request, on_third};
use crate::config;
use crate::context::Context;
use crate::io::{JobId, JobResult};
use crate::v1::established::Established;
use crate::v1::informational::is_hash;
use crate::v1::keys::{Iv, Keys};
use crate::v1::proposal::Encapsulation;
use crate::v1::{Core, State};

/// Opens a message of phase 2 and checks the hash at its beginning; `expected` makes it out of what stands behind. Gives back the payloads and where the
/// chain of blocks has come to.
pub(crate) fn open(keys: &Keys, iv: &Iv, message: &Message<'_>, expected: impl FnOnce(&[u8]) -> Secret) -> Option<(Vec<Payload>, Iv)> {
    let opened = keys.decrypt(iv, message.body).ok()?;
    let (payloads, length) = parse_padded(message.first, &opened.text).ok()?;
    let Some(Payload::Hash(hash)) = payloads.first() else { return None };
    let rest = opened.text.get(hash.len().checked_add(4)?..length)?;
    is_hash(hash, &expected(rest)).then_some((payloads, opened.next))
}

/// The traffic of one SA of a child, ours and the peer's: IKEv1 has one selector for each side. `None` where the child has nothing between these ends.
fn selectors(core: &Core, child: &config::Child) -> Option<(TrafficSelector, TrafficSelector)> {
    match child.mode {
        Mode::Tunnel => {
            let (local, remote) = core.assigned.selectors(child);
            let like = |ours: &TrafficSelector| {
                remote.iter().find(|theirs| theirs.addresses().first().is_ipv4() == ours.addresses().first().is_ipv4()).copied()
            };
            local.iter().find_map(|ours| Some((*ours, like(ours)?)))
        }
        // Between the ends of the IKE SA alone.
        Mode::Transport => {
            let at =
                |address, selector: &TrafficSelector| selector.intersect(&TrafficSelector::addresses_only(AddressRange::single(address)));
            let of = |selectors: &[TrafficSelector], address| selectors.iter().find_map(|selector| at(address, selector));
            Some((of(&child.local_selectors, core.local.ip())?, of(&child.remote_selectors, core.remote.ip())?))
        }
    }
}

/// How the packets of a child are wrapped under this IKE SA.
fn encapsulation(core: &Core, child: &config::Child) -> Encapsulation {
    Encapsulation { mode: child.mode, udp: core.abilities.nat.filter(|_| core.encapsulates()) }
}

/// A selector as a list of them, as IKEv2 has it.
fn wire(selector: TrafficSelector) -> TrafficSelectors {
    core::iter::once(selector).collect()
}

/// The two identities of a quick mode, the initiator's first; without them the SA is for the ends of the IKE SA. `None` where they are no traffic.
fn identities(payloads: &[Payload], initiator: core::net::IpAddr, responder: core::net::IpAddr) -> Option<[TrafficSelector; 2]> {
    let ids: Vec<&Identification> = crate::v1::find::identifications(payloads).collect();
    match ids.as_slice() {
        [] => Some([initiator, responder].map(|address| TrafficSelector::addresses_only(AddressRange::single(address)))),
        [first, second] => Some([first.selector()?, second.selector()?]),
        _ => None,
    }
}

/// The selectors of a child that identities mean, ours first: in transport mode the addresses behind a NAT are those seen here (RFC 3947 section 5.2,
/// RFC 3948 section 5.2).
fn meant(core: &Core, child: &config::Child, [ours, theirs]: [TrafficSelector; 2]) -> [TrafficSelector; 2] {
    match child.mode {
        Mode::Tunnel => [ours, theirs],
        Mode::Transport => [as_seen(core.nat.local, core.local.ip(), ours), as_seen(core.nat.remote, core.remote.ip(), theirs)],
    }
}

fn as_seen(behind_nat: bool, address: core::net::IpAddr, selector: TrafficSelector) -> TrafficSelector {
    let is_single = selector.addresses().first() == selector.addresses().last();
    let moved = TrafficSelector::new(AddressRange::single(address), selector.protocol(), selector.ports()).ok();
    moved.filter(|_| behind_nat && is_single).unwrap_or(selector)
}

/// A job of a quick mode is done.
pub(crate) fn on_job(state: Box<Established>, core: &mut Core, cx: &mut Context<'_>, id: JobId, result: JobResult) -> State {
    if state.active.as_ref().is_some_and(|active| active.waits_for(id)) {
        return initiator::on_job(state, core, cx, result);
    }
    match state.answering.iter().find(|(_, answering)| answering.waits_for(id)).map(|(message_id, _)| *message_id) {
        Some(message_id) => responder::on_job(state, core, cx, message_id, result),
        None => State::Established(state),
    }
}

/// What is due by the clock.
pub(crate) fn on_timeout(state: &mut Established, core: &mut Core, cx: &mut Context<'_>) {
    initiator::on_timeout(state, core, cx);
    responder::on_timeout(state, core, cx);
}

/// The data plane has answered an Install.
pub(crate) fn on_installed(
    state: Box<Established>,
    core: &mut Core,
    cx: &mut Context<'_>,
    child: ipsec_types::ChildSaId,
    result: Result<(), alloc::string::String>,
) -> State {
    if state.active.as_ref().is_some_and(|active| active.installs(child)) {
        return initiator::on_installed(state, core, cx, child, result);
    }
    responder::on_installed(state, core, cx, child, result)
}
