//! `[pools.NAME]`, and what a connection has of them: addresses inside the other side's network (RFC 7296 section 2.19).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use ike::config::Pool;
use ipsec_types::AddressRange;

use super::section::Section;

/// Every `[pools.NAME]`; no two have an address in common.
pub(super) fn read(root: &mut Section<'_>) -> Vec<Arc<Pool>> {
    let mut pools: Vec<Arc<Pool>> = Vec::new();
    for (name, mut section) in root.sections("pools") {
        let addresses = section.parsed::<AddressRange>("addrs", "\"10.3.0.0/24\"");
        if addresses.is_none() && !section.has("addrs") {
            section.missing("addrs", "write addrs = \"10.3.0.0/24\", or \"10.3.0.10-10.3.0.99\"");
        }
        let dns = section.list::<IpAddr>("dns", "\"10.1.0.53\"").unwrap_or_default().into_iter().map(|found| found.value).collect();
        let networks = section.list_with("subnet", "\"10.0.0.0/8\"", |section, text| match AddressRange::from_str(text.value) {
            Ok(range) if range.prefix_length().is_some() => Some(text.with(range)),
            _ => {
                section.fault_at(&text, format!("'{}' is no network", text.value), "write a prefix, for example \"10.0.0.0/8\"");
                None
            }
        });
        let networks = networks.unwrap_or_default().into_iter().map(|found| found.value).collect();
        if let Some(found) = &addresses
            && let Some(other) = pools.iter().find(|other| other.addresses.intersect(&found.value).is_some())
        {
            let problem = format!("pool '{}' has some of these addresses, too: {}", other.name, other.addresses);
            section.fault_at(found, problem, "let each address be in one pool");
        }
        section.finish();
        pools.extend(addresses.map(|found| Arc::new(Pool { name, addresses: found.value, dns, networks })));
    }
    pools
}

/// The pools that a connection names.
pub(super) fn of_connection(section: &mut Section<'_>, pools: &[Arc<Pool>]) -> Vec<Arc<Pool>> {
    let list = section.list_with("pools", "\"clients\"", |section, name| {
        let pool = pools.iter().find(|pool| pool.name == name.value);
        if pool.is_none() {
            let known = pools.iter().map(|pool| format!("\"{}\"", pool.name)).collect::<Vec<_>>();
            let remedy = match known.as_slice() {
                [] => format!("add [pools.{}] with addrs", name.value),
                known => format!("write {}, or add [pools.{}] with addrs", known.join(" or "), name.value),
            };
            section.fault_at(&name, format!("there is no pool '{}'", name.value), remedy);
        }
        pool.map(|pool| name.with(Arc::clone(pool)))
    });
    list.unwrap_or_default().into_iter().map(|found| found.value).collect()
}

/// Addresses that a connection asks its peer for.
pub(super) fn wanted(section: &mut Section<'_>) -> Vec<IpAddr> {
    let list = section.list_with("vips", "\"0.0.0.0\"", |section, text| match text.value.parse::<IpAddr>() {
        Ok(address) if !address.is_multicast() && !address.is_loopback() => Some(text.with(address)),
        _ => {
            let problem = format!("'{}' is no address that a host can have", text.value);
            section.fault_at(
                &text,
                problem,
                "write \"0.0.0.0\" for any IPv4 address, \"::\" for any IPv6 address, or one that you wish for",
            );
            None
        }
    });
    list.unwrap_or_default().into_iter().map(|found| found.value).collect()
}

/// What addresses the peer may answer with: all of a family that is asked for.
pub(super) fn possible(wanted: &[IpAddr]) -> Vec<AddressRange> {
    let [ipv4, ipv6] = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()].map(|any| AddressRange::prefix(any, 0));
    let of = |is_ipv4: bool| wanted.iter().any(|address| address.is_ipv4() == is_ipv4);
    [ipv4.filter(|_| of(true)), ipv6.filter(|_| of(false))].into_iter().flatten().collect()
}
