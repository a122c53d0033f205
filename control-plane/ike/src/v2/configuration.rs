//! Addresses inside the other side's network, asked for and given in IKE_AUTH (RFC 7296 sections 2.19 and 3.15).
//!
//! ```text
//! HDR, SK {..., CP(CFG_REQUEST), SAi2, TSi, TSr}  -->
//!                                             <--  HDR, SK {..., CP(CFG_REPLY), SAr2, TSi, TSr}
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ike_wire::{Configuration, ConfigurationAttribute, ConfigurationAttributeType as Type, ConfigurationType, Payload};
use ipsec_types::{AddressRange, Identity};

use crate::config::Pool;
use crate::context::Context;
use crate::diagnosis;
use crate::error::Fault;
use crate::io::{Event, VirtualAddresses};
use crate::pool::{Claim, Lease};
use crate::v2::Core;
use crate::v2::find;

/// What the two sides of an IKE SA have given each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Assigned {
    /// What the peer has given us.
    pub(crate) local: Received,
    /// Addresses that the peer has of us.
    pub(crate) remote: Vec<Lease>,
    /// Addresses that it has to have of us, as whoever has authenticated it says.
    pub(crate) chosen: Vec<IpAddr>,
}

/// What an initiator was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// Our addresses in the peer's network.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its name servers.
    pub(crate) dns: Vec<IpAddr>,
    /// Networks behind it.
    pub(crate) networks: Vec<AddressRange>,
}

impl Assigned {
    /// As operators see it.
    pub(crate) fn status(&self) -> VirtualAddresses {
        VirtualAddresses {
            local: self.local.addresses.clone(),
            remote: self.remote.iter().map(|lease| lease.address).collect(),
            dns: self.local.dns.clone(),
            networks: self.local.networks.clone(),
        }
    }
}

/// How many name servers and networks of a reply are kept.
const MOST: usize = 32;

/// An initiator's question, if its connection has one: addresses, by preference those of last time, with name servers and networks.
pub(crate) fn request(core: &Core, cx: &Context<'_>) -> Option<Payload> {
    let wanted = &core.connection.virtual_addresses;
    let before = cx.shared.remembered.get(&core.connection.name);
    let mut attributes = Vec::new();
    for address in wanted {
        let last_time = before.into_iter().flatten().find(|last| address.is_unspecified() && last.is_ipv4() == address.is_ipv4());
        let wish = last_time.unwrap_or(address);
        let [kind, dns, network] = match address {
            IpAddr::V4(_) => [Type::IP4_ADDRESS, Type::IP4_DNS, Type::IP4_SUBNET],
            IpAddr::V6(_) => [Type::IP6_ADDRESS, Type::IP6_DNS, Type::IP6_SUBNET],
        };
        attributes.push(if wish.is_unspecified() { ConfigurationAttribute::empty(kind) } else { ConfigurationAttribute::address(*wish) });
        for kind in [dns, network] {
            if !attributes.iter().any(|attribute| attribute.kind == kind) {
                attributes.push(ConfigurationAttribute::empty(kind));
            }
        }
    }
    (!wanted.is_empty()).then_some(Payload::Configuration(Configuration { kind: ConfigurationType::REQUEST, attributes }))
}

/// An initiator has its answer. Nothing was asked for, nothing is taken.
pub(crate) fn take_reply(core: &mut Core, cx: &mut Context<'_>, payloads: &[Payload]) {
    let Some(reply) = find::configuration(payloads).filter(|reply| reply.kind == ConfigurationType::REPLY) else { return };
    let wanted = &core.connection.virtual_addresses;
    let mut addresses: Vec<IpAddr> = Vec::new();
    for address in [Type::IP4_ADDRESS, Type::IP6_ADDRESS].into_iter().flat_map(|kind| reply.of(kind)).filter_map(ConfigurationAttribute::ip)
    {
        // As many of a family as were asked for.
        let of_family = |all: &[IpAddr]| all.iter().filter(|other| other.is_ipv4() == address.is_ipv4()).count();
        if of_family(&addresses) < of_family(wanted) && !address.is_unspecified() {
            addresses.push(address);
        }
    }
    if addresses.is_empty() {
        return;
    }
    let dns = [Type::IP4_DNS, Type::IP6_DNS].into_iter().flat_map(|kind| reply.of(kind)).filter_map(ConfigurationAttribute::ip);
    let networks = [Type::IP4_SUBNET, Type::IP6_SUBNET].into_iter().flat_map(|kind| reply.of(kind));
    let networks = networks.filter_map(ConfigurationAttribute::network).take(MOST).collect();
    cx.shared.remembered.insert(core.connection.name.clone(), addresses.clone());
    core.assigned.local = Received { addresses, dns: dns.take(MOST).collect(), networks };
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
        return if needed { Err(Fault::AddressRequired(diagnosis::address_required(&core.connection))) } else { Ok(None) };
    };
    let mut attributes = Vec::new();
    let pools = core.connection.pools.clone();
    for kind in [Type::IP4_ADDRESS, Type::IP6_ADDRESS] {
        let Some(asked) = request.of(kind).next() else { continue };
        let claim = Claim { identity, wish: asked.ip().filter(|wish| !wish.is_unspecified()), succeeds, from: core.remote.ip() };
        let of_family = |address: IpAddr| address.is_ipv4() == (kind == Type::IP4_ADDRESS);
        let of_pools = || pools.iter().filter(|pool| of_family(pool.addresses.first()));
        let given = match core.assigned.chosen.iter().find(|address| of_family(**address)) {
            Some(chosen) => Some(assign(core, cx, &pools, *chosen, claim)?),
            None => of_pools().find_map(|pool| Some((pool, cx.shared.leases.take(pool, claim)?))),
        };
        if let Some((pool, lease)) = given {
            attributes.push(ConfigurationAttribute::address(lease.address));
            attributes.extend(pool.dns.iter().copied().map(ConfigurationAttribute::dns));
            attributes.extend(pool.networks.iter().copied().filter_map(ConfigurationAttribute::subnet));
            core.assigned.remote.push(lease);
        }
    }
    if core.assigned.remote.is_empty() {
        return Err(Fault::NoAddress(diagnosis::no_address(&core.connection, request)));
    }
    tell(core, cx, "give addresses of this network");
    Ok(Some(Payload::Configuration(Configuration { kind: ConfigurationType::REPLY, attributes })))
}

/// An address that somebody else has chosen for the peer, such as a RADIUS server (RFC 2865 section 5.8). It has to be one of a pool, as SPD entries are
/// for those, and nobody else's.
fn assign<'a>(
    core: &Core,
    cx: &mut Context<'_>,
    pools: &'a [Arc<Pool>],
    address: IpAddr,
    claim: Claim<'_>,
) -> Result<(&'a Arc<Pool>, Lease), Fault> {
    let pool = pools.iter().find(|pool| pool.addresses.contains(address));
    let lease = pool.and_then(|pool| Some((pool, cx.shared.leases.assign(pool, address, claim)?)));
    lease.ok_or_else(|| Fault::NoAddress(diagnosis::chosen_address(&core.connection, address, pool.is_some())))
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
    let VirtualAddresses { local, remote, dns, networks } = core.assigned.status();
    let line = |what: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{what} {}", items.join(" ")));
    let texts = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
    let networks = networks.iter().map(ToString::to_string).collect();
    let lines = [
        line("ours:", texts(&local)),
        line("the peer's:", texts(&remote)),
        line("name servers:", texts(&dns)),
        line("networks:", networks),
    ];
    core.step(cx, title, lines.into_iter().flatten().collect());
    cx.shared.event(Event::AddressesAssigned { ike_sa: core.id, addresses: core.assigned.status() });
}
