//! `local_ts` and `remote_ts`: what a child or a policy selects (RFC 7296 section 2.9).

use std::net::IpAddr;

use ipsec_types::{AddressRange, TrafficSelector};

use super::section::Section;

/// The addresses of a connection, to which transport mode is confined.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ends<'a> {
    pub(super) local: &'a [IpAddr],
    pub(super) remote: &'a [IpAddr],
    /// Some could not be read.
    pub(super) faulty: bool,
}

/// Addresses that are only known once the peers have met: what a side selects at most that says "dynamic", or nothing. Empty where a connection
/// has none.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dynamic<'a> {
    /// Those the peer may give us.
    pub(super) local: &'a [AddressRange],
    /// Those we may give to peers.
    pub(super) remote: &'a [AddressRange],
}

/// What both keys say.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) local: Vec<TrafficSelector>,
    pub(super) remote: Vec<TrafficSelector>,
    pub(super) local_dynamic: bool,
    pub(super) remote_dynamic: bool,
}

/// One list as it is written.
enum Written {
    Selectors(Vec<TrafficSelector>),
    Dynamic,
}

/// Both lists, none of whose address families stands in one of them alone: its selectors would never select a packet. Transport mode is
/// between its `ends`, which it selects by default.
pub(super) fn pair(section: &mut Section<'_>, ends: Option<&Ends<'_>>, dynamic: Dynamic<'_>) -> Selected {
    let before = section.faults();
    if let Some(ends) = ends.filter(|ends| !ends.faulty && (ends.local.is_empty() || ends.remote.is_empty())) {
        let key = if ends.local.is_empty() { "local_addrs" } else { "remote_addrs" };
        let problem = format!("transport mode is between this gateway's own address and the peer's, and the connection has no {key}");
        section.fault("mode", problem, format!("write {key} in the connection, or mode = \"tunnel\""));
    }
    let [local_end, remote_end] =
        [ends.map(|ends| own_traffic(ends.local, ends.remote)), ends.map(|ends| own_traffic(ends.remote, ends.local))];
    let (local_dynamic, remote_dynamic) = if ends.is_some() { (&[][..], &[][..]) } else { (dynamic.local, dynamic.remote) };
    let local = read(section, "local_ts", local_end, local_dynamic);
    let remote = read(section, "remote_ts", remote_end, remote_dynamic);
    let [any_local, any_remote] = [local_dynamic, remote_dynamic].map(|ranges| ranges.iter().copied().map(TrafficSelector::addresses_only));
    let selected = match (local, remote) {
        (Written::Selectors(local), Written::Selectors(remote)) => Selected { local, remote, ..Selected::default() },
        (Written::Dynamic, Written::Selectors(remote)) => Selected {
            local: any_local.filter(|any| share_family(any, &remote)).collect(),
            remote,
            local_dynamic: true,
            remote_dynamic: false,
        },
        (Written::Selectors(local), Written::Dynamic) => Selected {
            remote: any_remote.filter(|any| share_family(any, &local)).collect(),
            local,
            local_dynamic: false,
            remote_dynamic: true,
        },
        (Written::Dynamic, Written::Dynamic) => {
            Selected { local: any_local.collect(), remote: any_remote.collect(), local_dynamic: true, remote_dynamic: true }
        }
    };
    if section.faults() == before && ends.is_none_or(|ends| !ends.faulty) {
        let Selected { local, remote, .. } = &selected;
        for (key, this, other_key, others) in [("local_ts", local, "remote_ts", remote), ("remote_ts", remote, "local_ts", local)] {
            if let Some(alone) = this.iter().find(|selector| !share_family(selector, others)) {
                let name = if alone.addresses().first().is_ipv4() { "IPv4" } else { "IPv6" };
                let problem = format!("'{alone}' matches no packet: {other_key} has nothing of {name}");
                section.fault(key, problem, format!("add it to {other_key}"));
            }
        }
    }
    selected
}

fn share_family(selector: &TrafficSelector, others: &[TrafficSelector]) -> bool {
    let family = |selector: &TrafficSelector| selector.addresses().first().is_ipv4();
    others.iter().any(|other| family(other) == family(selector))
}

/// What a gateway with these addresses may protect in transport mode towards one with the others.
fn own_traffic(addresses: &[IpAddr], others: &[IpAddr]) -> Vec<TrafficSelector> {
    let reachable = addresses.iter().filter(|address| others.iter().any(|other| other.is_ipv4() == address.is_ipv4()));
    reachable.map(|address| TrafficSelector::addresses_only(AddressRange::single(*address))).collect()
}

/// `end`: what transport mode selects at most, and by default; `dynamic`: what the addresses may be that stand there by default.
fn read(section: &mut Section<'_>, key: &'static str, end: Option<Vec<TrafficSelector>>, dynamic: &[AddressRange]) -> Written {
    const EXAMPLE: &str = "\"10.1.0.0/24\"";
    let within = |selector: &TrafficSelector| {
        end.as_ref().is_none_or(|end| end.is_empty() || end.iter().any(|end| end.intersect(selector).as_ref() == Some(selector)))
    };
    let says_dynamic = section.list_is(key, "dynamic");
    if !dynamic.is_empty() && (says_dynamic || !section.has(key)) {
        section.list_with(key, EXAMPLE, |_, text| Some(text));
        return Written::Dynamic;
    }
    let list = section.list_with(key, EXAMPLE, |section, text| match text.value.parse::<TrafficSelector>() {
        Ok(selector) if !within(&selector) => {
            let own = end.iter().flatten().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            let problem = format!("'{selector}' is wider than the gateway's own address, and transport mode protects no other traffic");
            section.fault_at(&text, problem, format!("write {own}, leave {key} out, or write mode = \"tunnel\""));
            None
        }
        Ok(selector) => Some(text.with(selector)),
        Err(_) if text.value == "dynamic" => {
            let problem = "'dynamic' stands alone, for the address that one peer gives the other, and the connection has none here";
            let word = if key == "local_ts" { "vips" } else { "pools" };
            section.fault_at(&text, problem, format!("write {word} in the connection, or for example {EXAMPLE}"));
            None
        }
        Err(error) => {
            section.fault_at(&text, error.to_string(), format!("write for example {EXAMPLE}"));
            None
        }
    });
    match &list {
        Some(list) if list.is_empty() => section.empty(key, format!("write {key} = [{EXAMPLE}]")),
        Some(_) => {}
        None if end.is_some() => return Written::Selectors(end.unwrap_or_default()),
        None => section.missing(key, format!("write {key} = [{EXAMPLE}]")),
    }
    Written::Selectors(list.unwrap_or_default().into_iter().map(|found| found.value).collect())
}
