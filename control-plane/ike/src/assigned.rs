//! Addresses inside the other side's network, and what comes with them: asked for and given by CP of IKEv2 (RFC 7296 sections 2.19 and 3.15) and by Mode
//! Config of IKEv1, which has the same attributes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use ike_wire::{Configuration, ConfigurationAttribute, ConfigurationAttributeType as Type};
use ipsec_types::{AddressRange, TrafficSelector};

use crate::config::{Child, Pool};
use crate::context::Context;
use crate::diagnosis;
use crate::error::Fault;
use crate::io::VirtualAddresses;
use crate::negotiate::SelectorsNarrowed;
use crate::policy::ConnectionRef;
use crate::pool::{Claim, Lease};

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

/// What the side that asks was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Received {
    /// Our addresses in the peer's network.
    pub(crate) addresses: Vec<IpAddr>,
    /// Its name servers.
    pub(crate) dns: Vec<IpAddr>,
    /// Networks behind it.
    pub(crate) networks: Vec<AddressRange>,
}

/// How many name servers and networks of an answer are kept.
pub(crate) const MOST: usize = 32;

/// What a connection asks for: addresses, by preference those of last time, with name servers and networks. Empty where it asks for none.
pub(crate) fn wishes(connection: &ConnectionRef, cx: &Context<'_>) -> Vec<ConfigurationAttribute> {
    let before = cx.shared.remembered.get(&connection.name);
    let mut attributes = Vec::new();
    for address in &connection.virtual_addresses {
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
    attributes
}

impl Received {
    /// What an answer gives of what the connection asks for; `None` for no address. The addresses are remembered.
    pub(crate) fn take(connection: &ConnectionRef, cx: &mut Context<'_>, answer: &Configuration) -> Option<Self> {
        let of = |kinds: [Type; 2]| kinds.into_iter().flat_map(|kind| answer.of(kind));
        let mut addresses: Vec<IpAddr> = Vec::new();
        for address in of([Type::IP4_ADDRESS, Type::IP6_ADDRESS]).filter_map(ConfigurationAttribute::ip) {
            // As many of a family as were asked for.
            let of_family = |all: &[IpAddr]| all.iter().filter(|other| other.is_ipv4() == address.is_ipv4()).count();
            if of_family(&addresses) < of_family(&connection.virtual_addresses) && !address.is_unspecified() {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return None;
        }
        let dns = of([Type::IP4_DNS, Type::IP6_DNS]).filter_map(ConfigurationAttribute::ip).take(MOST).collect();
        let networks = of([Type::IP4_SUBNET, Type::IP6_SUBNET]).filter_map(ConfigurationAttribute::network).take(MOST).collect();
        cx.shared.remembered.insert(connection.name.clone(), addresses.clone());
        Some(Self { addresses, dns, networks })
    }
}

impl Assigned {
    /// Gives addresses of a connection's pools: one of each family that is asked for, as far as there are any, with name servers and networks.
    ///
    /// # Errors
    /// [`Fault::NoAddress`] where not one is left.
    pub(crate) fn give(
        &mut self,
        connection: &ConnectionRef,
        cx: &mut Context<'_>,
        claim: Claim<'_>,
        request: &Configuration,
    ) -> Result<Vec<ConfigurationAttribute>, Fault> {
        let mut attributes = Vec::new();
        for kind in [Type::IP4_ADDRESS, Type::IP6_ADDRESS] {
            let Some(asked) = request.of(kind).next() else { continue };
            let claim = Claim { wish: asked.ip().filter(|wish| !wish.is_unspecified()), ..claim };
            let of_family = |address: IpAddr| address.is_ipv4() == (kind == Type::IP4_ADDRESS);
            let of_pools = || connection.pools.iter().filter(|pool| of_family(pool.addresses.first()));
            let given = match self.chosen.iter().find(|address| of_family(**address)) {
                Some(chosen) => Some(assign(connection, cx, *chosen, claim)?),
                None => of_pools().find_map(|pool| Some((pool, cx.shared.leases.take(pool, claim)?))),
            };
            if let Some((pool, lease)) = given {
                attributes.push(ConfigurationAttribute::address(lease.address));
                attributes.extend(pool.dns.iter().copied().map(ConfigurationAttribute::dns));
                attributes.extend(pool.networks.iter().copied().filter_map(ConfigurationAttribute::subnet));
                self.remote.push(lease);
            }
        }
        if self.remote.is_empty() {
            return Err(Fault::NoAddress(diagnosis::no_address(connection, request)));
        }
        Ok(attributes)
    }

    /// The selectors of a child in tunnel mode, ours and the peer's: those that are of addresses given are of these alone. As long as the peer has not
    /// said which is ours, it may be any.
    pub(crate) fn selectors(&self, child: &Child) -> (Vec<TrafficSelector>, Vec<TrafficSelector>) {
        let (local, remote, ours) = (&child.local_selectors, &child.remote_selectors, &self.local.addresses);
        (
            if child.local_dynamic && !ours.is_empty() { each(ours.iter().copied(), local) } else { local.clone() },
            if child.remote_dynamic { each(self.remote.iter().map(|lease| lease.address), remote) } else { remote.clone() },
        )
    }

    /// Whether a Child SA between these selectors is for the addresses that its child is for now.
    pub(crate) fn covers(&self, child: &Child, selectors: &SelectorsNarrowed) -> bool {
        let within = |all: &[TrafficSelector], part: &TrafficSelector| all.iter().any(|all| all.intersect(part) == Some(*part));
        let (local, remote) = self.selectors(child);
        (!child.local_dynamic || selectors.local().iter().all(|part| within(&local, part)))
            && (!child.remote_dynamic || selectors.remote().iter().all(|part| within(&remote, part)))
    }

    /// What an IKE SA with the same peer had before, where under this one nothing has been given: addresses of the peer's as far as they are of a pool.
    pub(crate) fn inherit(&mut self, connection: &ConnectionRef, before: Self) {
        if self.local.addresses.is_empty() {
            self.local = before.local;
        }
        if self.remote.is_empty() {
            let is_of_a_pool = |lease: &Lease| connection.pools.iter().any(|pool| pool.addresses.contains(lease.address));
            self.remote = before.remote.into_iter().filter(is_of_a_pool).collect();
        }
    }

    /// As operators see it.
    pub(crate) fn status(&self) -> VirtualAddresses {
        VirtualAddresses {
            local: self.local.addresses.clone(),
            remote: self.remote.iter().map(|lease| lease.address).collect(),
            dns: self.local.dns.clone(),
            networks: self.local.networks.clone(),
        }
    }

    /// As traces show it.
    pub(crate) fn lines(&self) -> Vec<String> {
        let VirtualAddresses { local, remote, dns, networks } = self.status();
        let line = |what: &str, items: Vec<String>| (!items.is_empty()).then(|| format!("{what} {}", items.join(" ")));
        let texts = |addresses: &[IpAddr]| addresses.iter().map(ToString::to_string).collect::<Vec<_>>();
        let networks = networks.iter().map(ToString::to_string).collect();
        let lines = [
            line("ours:", texts(&local)),
            line("the peer's:", texts(&remote)),
            line("name servers:", texts(&dns)),
            line("networks:", networks),
        ];
        lines.into_iter().flatten().collect()
    }
}

/// An address that somebody else has chosen for the peer, such as a RADIUS server (RFC 2865 section 5.8). It has to be one of a pool, as SPD entries are
/// for those, and nobody else's.
fn assign<'a>(
    connection: &'a ConnectionRef,
    cx: &mut Context<'_>,
    address: IpAddr,
    claim: Claim<'_>,
) -> Result<(&'a Arc<Pool>, Lease), Fault> {
    let pool = connection.pools.iter().find(|pool| pool.addresses.contains(address));
    let lease = pool.and_then(|pool| Some((pool, cx.shared.leases.assign(pool, address, claim)?)));
    lease.ok_or_else(|| Fault::NoAddress(diagnosis::chosen_address(connection, address, pool.is_some())))
}

fn each(addresses: impl Iterator<Item = IpAddr>, selectors: &[TrafficSelector]) -> Vec<TrafficSelector> {
    addresses.flat_map(|address| at(address, selectors)).collect()
}

/// What selectors have of one address.
pub(crate) fn at(address: IpAddr, selectors: &[TrafficSelector]) -> Vec<TrafficSelector> {
    let end = TrafficSelector::addresses_only(AddressRange::single(address));
    selectors.iter().filter_map(|selector| selector.intersect(&end)).collect()
}
