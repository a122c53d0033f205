//! Routes: longest prefix first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::BitAnd;

use crate::command::PortId;

/// A route to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits are ignored.
    pub destination: IpAddr,
    /// Length of the prefix, 0 to 32 or 128.
    pub prefix: u8,
    /// The router, of the same IP version; `None` where destinations are neighbours themselves.
    pub gateway: Option<IpAddr>,
    /// The port to leave by.
    pub port: PortId,
}

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The port to leave by.
    pub port: PortId,
    /// The neighbour whose MAC address it gets, of the packet's IP version.
    pub address: IpAddr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<Bits, Address> {
    network: Bits,
    mask: Bits,
    gateway: Option<Address>,
    port: PortId,
}

/// A routing table. It is searched from the longest prefix to the shortest: made for the handful of static routes a gateway has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    ipv4: Box<[Entry<u32, Ipv4Addr>]>,
    ipv6: Box<[Entry<u128, Ipv6Addr>]>,
}

impl Routes {
    /// The table of these routes; of two for the same prefix the first wins. One whose router is of the other IP version leads nowhere and is left out.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix));
        let (mut ipv4, mut ipv6) = (Vec::new(), Vec::new());
        for Route { destination, prefix, gateway, port } in routes {
            match (destination, gateway) {
                (IpAddr::V4(destination), None) => ipv4.push(entry(destination, mask32(prefix), None, port)),
                (IpAddr::V4(destination), Some(IpAddr::V4(gateway))) => ipv4.push(entry(destination, mask32(prefix), Some(gateway), port)),
                (IpAddr::V6(destination), None) => ipv6.push(entry(destination, mask128(prefix), None, port)),
                (IpAddr::V6(destination), Some(IpAddr::V6(gateway))) => ipv6.push(entry(destination, mask128(prefix), Some(gateway), port)),
                (IpAddr::V4(_), Some(IpAddr::V6(_))) | (IpAddr::V6(_), Some(IpAddr::V4(_))) => {}
            }
        }
        Self { ipv4: ipv4.into_boxed_slice(), ipv6: ipv6.into_boxed_slice() }
    }

    /// The next hop towards an address.
    #[inline]
    pub fn lookup(&self, destination: IpAddr) -> Option<NextHop> {
        match destination {
            IpAddr::V4(destination) => lookup(&self.ipv4, destination),
            IpAddr::V6(destination) => lookup(&self.ipv6, destination),
        }
    }
}

fn entry<Bits, Address>(destination: Address, mask: Bits, gateway: Option<Address>, port: PortId) -> Entry<Bits, Address>
where
    Bits: Copy + BitAnd<Output = Bits>,
    Address: Into<Bits>,
{
    Entry { network: destination.into() & mask, mask, gateway, port }
}

#[inline]
fn lookup<Bits, Address>(entries: &[Entry<Bits, Address>], destination: Address) -> Option<NextHop>
where
    Bits: Copy + Eq + BitAnd<Output = Bits>,
    Address: Copy + Into<Bits> + Into<IpAddr>,
{
    let bits: Bits = destination.into();
    let entry = entries.iter().find(|entry| bits & entry.mask == entry.network)?;
    Some(NextHop { port: entry.port, address: entry.gateway.unwrap_or(destination).into() })
}

/// A prefix longer than 32 counts as 32.
fn mask32(prefix: u8) -> u32 {
    !u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

/// A prefix longer than 128 counts as 128.
fn mask128(prefix: u8) -> u128 {
    !u128::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: &str, gateway: Option<&str>, port: u8) -> Route {
        let (destination, prefix) = destination.split_once('/').unwrap();
        let address = |text: &str| text.parse().unwrap();
        Route { destination: address(destination), prefix: prefix.parse().unwrap(), gateway: gateway.map(address), port: PortId(port) }
    }

    /// In either order of the routes.
    fn expect(mut routes: Vec<Route>, expected: &[(&str, Option<(u8, &str)>)]) {
        for _ in 0..2 {
            let table = Routes::new(routes.clone());
            for (destination, next) in expected {
                let hop = table.lookup(destination.parse().unwrap()).map(|hop| (hop.port.0, hop.address.to_string()));
                assert_eq!(hop, next.map(|(port, address)| (port, address.to_owned())), "{destination}");
            }
            routes.reverse();
        }
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let routes = vec![
            route("0.0.0.0/0", Some("192.0.2.254"), 1),
            route("10.0.0.0/8", Some("192.0.2.253"), 1),
            route("10.1.0.77/16", None, 0),
            route("10.1.2.3/32", Some("10.1.0.9"), 2),
            route("::/0", Some("2001:db8::fe"), 3),
            route("2001:db8:1::77/48", None, 4),
            route("2001:db8:1:2::/64", Some("2001:db8:1::9"), 5),
            route("2001:db8:1:2::3/128", None, 6),
        ];
        let expected = [
            ("10.1.2.3", Some((2, "10.1.0.9"))),
            ("10.1.2.4", Some((0, "10.1.2.4"))),
            ("10.2.0.0", Some((1, "192.0.2.253"))),
            ("11.0.0.0", Some((1, "192.0.2.254"))),
            ("2001:db8:1:2::3", Some((6, "2001:db8:1:2::3"))),
            ("2001:db8:1:2::4", Some((5, "2001:db8:1::9"))),
            ("2001:db8:1:3::", Some((4, "2001:db8:1:3::"))),
            ("2001:db9::", Some((3, "2001:db8::fe"))),
        ];
        expect(routes, &expected);
    }

    #[test]
    fn the_versions_have_nothing_to_do_with_each_other() {
        let four_only = vec![route("0.0.0.0/0", None, 1)];
        expect(four_only, &[("192.0.2.1", Some((1, "192.0.2.1"))), ("::ffff:192.0.2.1", None), ("::", None)]);
        let six_only = vec![route("::/0", None, 1), route("10.0.0.0/8", Some("2001:db8::1"), 2)];
        expect(six_only, &[("10.0.0.1", None), ("::1", Some((1, "::1")))]);
        expect(vec![route("10.0.0.0/8", None, 1)], &[("11.0.0.0", None)]);
    }
}
