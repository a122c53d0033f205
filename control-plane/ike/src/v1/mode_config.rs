//! Mode Config (draft-dukes-ike-mode-cfg-02): addresses inside the other side's network. Either the side that needs one asks for it (pull), or the side
//! that has them says which it is to take (push).
//!
//! ```text
//! pull:  HDR*, HASH, ATTR(REQUEST)  -->                push:            <--  HDR*, HASH, ATTR(SET)
//!                       <--  HDR*, HASH, ATTR(REPLY)         HDR*, HASH, ATTR(ACK)  -->
//! ```

use alloc::vec::Vec;
use core::net::Ipv4Addr;

use ike_wire::v1::{Attributes, TransactionAttribute, TransactionAttributeType as Type};
use ike_wire::{Configuration, ConfigurationAttribute, ConfigurationAttributeType, ConfigurationType};
use ipsec_types::{AddressRange, Identity, Mode};

use crate::assigned::{MOST, Received, wishes};
use crate::child::ChildPhase;
use crate::context::{Context, End};
use crate::error::Failure;
use crate::io::{Event, VirtualAddresses};
use crate::pool::Claim;
use crate::v1::established::Established;
use crate::v1::{Core, Task};

/// Whether the peer is to give us addresses.
pub(crate) fn is_wanted(core: &Core) -> bool {
    !core.connection.virtual_addresses.is_empty()
}

/// Whether we are to tell the peer which addresses it takes.
pub(crate) fn pushes(core: &Core) -> bool {
    !core.connection.pools.is_empty() && !core.connection.pull
}

/// What we ask for.
pub(crate) fn request(core: &Core, cx: &Context<'_>) -> Vec<TransactionAttribute> {
    let split = TransactionAttribute::empty(Type::UNITY_SPLIT_INCLUDE);
    wishes(&core.connection, cx).into_iter().map(said).chain([split]).collect()
}

/// The peer gives us addresses, in its answer or by itself. Nothing was asked for, nothing is taken.
pub(crate) fn take(core: &mut Core, cx: &mut Context<'_>, given: &Attributes) {
    let Some(received) = Received::take(&core.connection, cx, &configuration(given)) else { return };
    let mut networks: Vec<AddressRange> = Vec::new();
    // Whoever knows both attributes for them may say them twice.
    for network in given.networks().take(MOST) {
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    core.assigned.local = Received { networks, ..received };
    tell(core, cx, "use addresses of the peer's network");
}

/// What the peer is told that it takes, without having asked.
///
/// # Errors
/// Why there is nothing for it.
pub(crate) fn push(core: &mut Core, cx: &mut Context<'_>, identity: &Identity) -> Result<Vec<TransactionAttribute>, Failure> {
    let [has_ipv4, has_ipv6] = [true, false].map(|four| core.connection.pools.iter().any(|pool| pool.addresses.first().is_ipv4() == four));
    let mut attributes = Vec::new();
    attributes.extend(has_ipv4.then(|| ConfigurationAttribute::empty(ConfigurationAttributeType::IP4_ADDRESS)));
    attributes.extend(has_ipv6.then(|| ConfigurationAttribute::empty(ConfigurationAttributeType::IP6_ADDRESS)));
    let everything = Configuration { kind: ConfigurationType::REQUEST, attributes };
    let mut given = give(core, cx, identity, &everything)?;
    if has_ipv4 {
        given.push(netmask());
    }
    Ok(given)
}

/// What the peer gets of what it asks for.
///
/// # Errors
/// Why it gets nothing.
pub(crate) fn answer(
    core: &mut Core,
    cx: &mut Context<'_>,
    identity: &Identity,
    asked: &Attributes,
) -> Result<Vec<TransactionAttribute>, Failure> {
    if core.connection.pools.is_empty() {
        return Ok(Vec::new());
    }
    // Who asks again has what it has.
    if !core.assigned.remote.is_empty() {
        return Ok(core.assigned.remote.iter().map(|lease| said(ConfigurationAttribute::address(lease.address))).collect());
    }
    let request = configuration(asked);
    if !request.attributes.iter().any(|attribute| attribute.kind.is_address()) {
        return Ok(Vec::new());
    }
    let mut given = give(core, cx, identity, &request)?;
    if asked.first(Type::IP4_NETMASK).is_some() && given.iter().any(|attribute| attribute.kind == Type::IP4_ADDRESS) {
        given.push(netmask());
    }
    if asked.first(Type::UNITY_SPLIT_INCLUDE).is_some() {
        let networks: Vec<_> = core.connection.pools.iter().flat_map(|pool| pool.networks.iter().copied()).collect();
        given.extend((!networks.is_empty()).then(|| TransactionAttribute::split_include(&networks)));
    }
    Ok(given)
}

fn give(core: &mut Core, cx: &mut Context<'_>, identity: &Identity, request: &Configuration) -> Result<Vec<TransactionAttribute>, Failure> {
    // A peer that comes again while it is here is about to leave the IKE SA before.
    let succeeds = cx.shared.v1.knows(&core.connection, Some(identity));
    let claim = Claim { identity, wish: None, succeeds, from: core.remote.ip() };
    let given = core.assigned.give(&core.connection, cx, claim, request)?;
    tell(core, cx, "give addresses of this network");
    Ok(given.into_iter().map(said).collect())
}

/// Phase 1 has been replaced, and the addresses may be others than `before`: Child SAs for those go, as nobody is there any more. The side whose addresses
/// they are sets up others.
pub(crate) fn follow(state: &Established, core: &mut Core, cx: &mut Context<'_>, before: VirtualAddresses) {
    let (assigned, connection) = (core.assigned.clone(), core.connection.clone());
    let mut child_sas = Vec::new();
    for sa in state.children.iter().filter(|child| child.is_live() && !child.is_installing()) {
        let child = connection.child_of(sa.policy).filter(|child| child.mode == Mode::Tunnel && !assigned.covers(child, &sa.selectors));
        let Some(child) = child else { continue };
        child_sas.push(sa.id);
        core.tasks.push_back(Task::DeleteChild { child: sa.id, request: None });
        match sa.phase {
            ChildPhase::Installed if child.local_dynamic => core.want_again(cx, sa.policy),
            ChildPhase::Installed => cx.shared.ended.push((sa.policy, End::Failed)),
            _ => {}
        }
    }
    if !child_sas.is_empty() {
        core.step(cx, "the addresses are others than before: what is for those goes", assigned.lines());
        cx.shared.event(Event::AddressesChanged { ike_sa: core.id, before, after: assigned.status(), child_sas });
    }
}

/// The whole address is the peer's: no host beside it is on a link with it.
fn netmask() -> TransactionAttribute {
    TransactionAttribute::long(Type::IP4_NETMASK, Ipv4Addr::BROADCAST.octets().to_vec())
}

/// As IKEv2 has it.
fn configuration(attributes: &Attributes) -> Configuration {
    Configuration { kind: attributes.kind, attributes: attributes.configuration().collect() }
}

/// As IKEv1 says it, by the same number.
fn said(attribute: ConfigurationAttribute) -> TransactionAttribute {
    TransactionAttribute::long(Type(attribute.kind.0), attribute.value)
}

fn tell(core: &Core, cx: &mut Context<'_>, title: &str) {
    core.step(cx, title, core.assigned.lines());
    cx.shared.event(Event::AddressesAssigned { ike_sa: core.id, addresses: core.assigned.status() });
}
