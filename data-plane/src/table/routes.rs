//! Routes: longest prefix first.

use std::net::Ipv4Addr;

use crate::command::PortId;

/// A route to a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The destination; host bits are ignored.
    pub destination: Ipv4Addr,
    /// Length of the prefix, 0 to 32.
    pub prefix: u8,
    /// The router; `None` where destinations are neighbours themselves.
    pub gateway: Option<Ipv4Addr>,
    /// The port to leave by.
    pub port: PortId,
}

/// Where a packet goes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NextHop {
    /// The port to leave by.
    pub port: PortId,
    /// The neighbour whose MAC address it gets.
    pub address: Ipv4Addr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    network: u32,
    mask: u32,
    gateway: Option<Ipv4Addr>,
    port: PortId,
}

/// A routing table. It is searched from the longest prefix to the shortest: made for the handful of static routes a gateway has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Routes {
    entries: Box<[Entry]>,
}

impl Routes {
    /// The table of these routes; of two for the same prefix the first wins.
    pub fn new(mut routes: Vec<Route>) -> Self {
        routes.sort_by_key(|route| std::cmp::Reverse(route.prefix));
        let entry = |route: Route| {
            let mask = mask(route.prefix);
            Entry { network: u32::from(route.destination) & mask, mask, gateway: route.gateway, port: route.port }
        };
        Self { entries: routes.into_iter().map(entry).collect() }
    }

    /// The next hop towards an address.
    #[inline]
    pub fn lookup(&self, destination: Ipv4Addr) -> Option<NextHop> {
        let bits = u32::from(destination);
        let entry = self.entries.iter().find(|entry| bits & entry.mask == entry.network)?;
        Some(NextHop { port: entry.port, address: entry.gateway.unwrap_or(destination) })
    }
}

/// A prefix longer than 32 counts as 32.
fn mask(prefix: u8) -> u32 {
    !u32::MAX.checked_shr(prefix.into()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(destination: [u8; 4], prefix: u8, gateway: Option<[u8; 4]>, port: u8) -> Route {
        Route { destination: destination.into(), prefix, gateway: gateway.map(Ipv4Addr::from), port: PortId(port) }
    }

    #[test]
    fn the_longest_prefix_wins_whatever_the_order() {
        let mut routes = vec![
            route([0, 0, 0, 0], 0, Some([192, 0, 2, 254]), 1),
            route([10, 0, 0, 0], 8, Some([192, 0, 2, 253]), 1),
            route([10, 1, 0, 77], 16, None, 0),
            route([10, 1, 2, 3], 32, Some([10, 1, 0, 9]), 2),
        ];
        for _ in 0..2 {
            let table = Routes::new(routes.clone());
            let next = |a: [u8; 4]| table.lookup(a.into()).map(|hop| (hop.port.0, hop.address.octets()));
            assert_eq!(next([10, 1, 2, 3]), Some((2, [10, 1, 0, 9])));
            assert_eq!(next([10, 1, 2, 4]), Some((0, [10, 1, 2, 4])));
            assert_eq!(next([10, 2, 0, 0]), Some((1, [192, 0, 2, 253])));
            assert_eq!(next([11, 0, 0, 0]), Some((1, [192, 0, 2, 254])));
            routes.reverse();
        }
        assert_eq!(Routes::new(routes[1..2].to_vec()).lookup([11, 0, 0, 0].into()), None);
    }
}
