//! What the ends of an IKE SA mean for its Child SAs: transport mode is between them alone (RFC 7296 sections 1.3.1 and 2.23.1), and AH
//! cannot be where a NAT changes them.

use alloc::boxed::Box;
use alloc::vec::Vec;

use ike_wire::{Notify, NotifyType, Payload, Protocol, Selector, TrafficSelectors};
use ipsec_types::{AddressRange, Mode, TrafficSelector};

use crate::assigned::at;
use crate::config;
use crate::diagnosis;
use crate::error::{Detail, Failure};
use crate::v2::Core;

/// What an initiator offers for a child: the selectors, ours and the peer's.
///
/// # Errors
/// Why there is nothing to offer under this IKE SA.
pub(crate) fn offer(core: &Core, child: &config::Child) -> Result<(Vec<TrafficSelector>, Vec<TrafficSelector>), Failure> {
    if let Some(obstacle) = obstacle(core, child) {
        return Err(Failure::Incompatible(NotifyType::NO_PROPOSAL_CHOSEN, obstacle));
    }
    let (local, remote) = selectors(core, child);
    if child.mode == Mode::Tunnel && (local.is_empty() || remote.is_empty()) {
        return Err(Failure::Incompatible(NotifyType::TS_UNACCEPTABLE, diagnosis::no_virtual_address(child)));
    }
    if local.is_empty() || remote.is_empty() {
        return Err(Failure::Incompatible(NotifyType::TS_UNACCEPTABLE, diagnosis::not_between(child, core.local.ip(), core.remote.ip())));
    }
    Ok((local, remote))
}

/// Why a child can have no SA under this IKE SA, if so: AH authenticates the addresses that a NAT changes (RFC 3715 section 2.1), and there is
/// no UDP encapsulation of AH.
pub(crate) fn obstacle(core: &Core, child: &config::Child) -> Option<Box<Detail>> {
    (child.protocol() == Protocol::AH && core.encapsulates()).then(|| diagnosis::ah_behind_nat(child, core.nat))
}

/// The selectors of a child under this IKE SA, ours and the peer's: in transport mode "exactly one IP address" each (section 2.23.1).
pub(crate) fn selectors(core: &Core, child: &config::Child) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
    match child.mode {
        Mode::Tunnel => core.assigned.selectors(child),
        Mode::Transport => (at(core.local.ip(), &child.local_selectors), at(core.remote.ip(), &child.remote_selectors)),
    }
}

/// What an initiator asks for, and a responder grants.
pub(crate) fn mode_notification(child: &config::Child) -> Option<Payload> {
    (child.mode == Mode::Transport).then(|| Payload::Notify(Notify::new(NotifyType::USE_TRANSPORT_MODE, Vec::new())))
}

/// A peer's selectors of our side and of its own, as addresses are seen here: for transport mode that of an end behind a NAT is the one its
/// packets have here (section 2.23.1). Both roles do the same.
pub(crate) fn as_seen_here(core: &Core, (local, remote): (&TrafficSelectors, &TrafficSelectors)) -> (TrafficSelectors, TrafficSelectors) {
    let seen = |behind_nat: bool, address, selectors: &TrafficSelectors| match behind_nat {
        true => TrafficSelectors { selectors: selectors.selectors.iter().map(|selector| moved(selector, address)).collect() },
        false => selectors.clone(),
    };
    (seen(core.nat.local, core.local.ip(), local), seen(core.nat.remote, core.remote.ip(), remote))
}

/// One that is not of exactly one address is left as it is: it is not of transport mode, and will not fit.
fn moved(selector: &Selector, address: core::net::IpAddr) -> Selector {
    let Selector::Range(range) = selector else { return selector.clone() };
    let is_single = range.addresses().first() == range.addresses().last();
    let moved = TrafficSelector::new(AddressRange::single(address), range.protocol(), range.ports()).ok().filter(|_| is_single);
    Selector::Range(moved.unwrap_or(*range))
}
