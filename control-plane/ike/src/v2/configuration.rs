//! Addresses inside the other side's network, asked for and given in IKE_AUTH (RFC 7296 sections 2.19 and 3.15).
//!
//! ```text
//! HDR, SK {..., CP(CFG_REQUEST), SAi2, TSi, TSr}  -->
//!                                             <--  HDR, SK {..., CP(CFG_REPLY), SAr2, TSi, TSr}
//! ```

use ike_wire::{Configuration, ConfigurationAttribute, ConfigurationAttributeType as Type, ConfigurationType, Payload};
use ipsec_types::Identity;

use crate::assigned::{Received, wishes};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Fault;
use crate::io::Event;
use crate::pool::Claim;
use crate::v2::Core;
use crate::v2::find;

/// An initiator's question, if its connection has one: addresses, by preference those of last time, with name servers and networks.
pub(crate) fn request(core: &Core, cx: &Context<'_>) -> Option<Payload> {
    let attributes = wishes(&core.connection, cx);
    (!attributes.is_empty()).then_some(Payload::Configuration(Configuration { kind: ConfigurationType::REQUEST, attributes }))
}

/// An initiator has its answer. Nothing was asked for, nothing is taken.
pub(crate) fn take_reply(core: &mut Core, cx: &mut Context<'_>, payloads: &[Payload]) {
    let Some(reply) = find::configuration(payloads).filter(|reply| reply.kind == ConfigurationType::REPLY) else { return };
    let Some(received) = Received::take(&core.connection, cx, reply) else { return };
    core.assigned.local = received;
    tell(core, cx, "use addresses of the peer's network");
}

/// A responder gives addresses of its connection's pools: one of each family that is asked for, as far as there are any. `succeeds`: other IKE SAs
/// with the same peer are about to end.
///
/// # Errors
/// [`Fault::NoAddress`] where not one is left, [`Fault::AddressRequired`] where none was asked for and no child does without.
pub(crate) fn answer(
    core: &mut Core,
    cx: &mut Context<'_>,
    identity: &Identity,
    payloads: &[Payload],
    succeeds: bool,
) -> Result<Option<Payload>, Fault> {
    if core.connection.pools.is_empty() {
        return Ok(None);
    }
    let request = find::configuration(payloads).filter(|request| request.kind == ConfigurationType::REQUEST);
    let Some(request) = request else {
        let needed = core.connection.children.iter().all(|child| child.remote_dynamic);
        return if needed {
            Err(Fault::AddressRequired(diagnosis::address_required(&core.connection, "an IKE_AUTH request without CP(CFG_REQUEST)")))
        } else {
            Ok(None)
        };
    };
    let claim = Claim { identity, wish: None, succeeds, from: core.remote.ip() };
    let attributes = core.assigned.give(&core.connection, cx, claim, request)?;
    tell(core, cx, "give addresses of this network");
    Ok(Some(Payload::Configuration(Configuration { kind: ConfigurationType::REPLY, attributes })))
}

/// An answer to what is asked in INFORMATIONAL (section 2.20): our version is nobody's business, which an empty string says. Addresses are for IKE_AUTH,
/// and what is to be set (CFG_SET) may be ignored.
pub(crate) fn inform(payloads: &[Payload]) -> Option<Payload> {
    let request = find::configuration(payloads).filter(|request| request.kind == ConfigurationType::REQUEST)?;
    request.of(Type::APPLICATION_VERSION).next()?;
    let attributes = alloc::vec![ConfigurationAttribute::empty(Type::APPLICATION_VERSION)];
    Some(Payload::Configuration(Configuration { kind: ConfigurationType::REPLY, attributes }))
}

fn tell(core: &Core, cx: &mut Context<'_>, title: &str) {
    core.step(cx, title, core.assigned.lines());
    cx.shared.event(Event::AddressesAssigned { ike_sa: core.id, addresses: core.assigned.status() });
}
