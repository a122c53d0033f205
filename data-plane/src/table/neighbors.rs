//! MAC addresses of neighbours.

use std::net::IpAddr;

use packet::ethernet::MacAddress;

use crate::command::PortId;
use crate::table::NextHop;

/// Who is where, as ARP and Neighbor Discovery learnt it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Neighbors {
    /// Sorted by key.
    entries: Box<[((PortId, IpAddr), MacAddress)]>,
}

impl Neighbors {
    /// The table of these neighbours; of two with the same address on a port the last wins.
    pub fn new(neighbors: impl IntoIterator<Item = (NextHop, MacAddress)>) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = neighbors.into_iter().map(|(hop, mac)| ((hop.port, hop.address), mac)).collect();
        Self { entries: sorted.into_iter().collect() }
    }

    /// The MAC address of a next hop, where it is known.
    #[inline]
    pub fn lookup(&self, hop: NextHop) -> Option<MacAddress> {
        let index = self.entries.binary_search_by_key(&(hop.port, hop.address), |(key, _)| *key).ok()?;
        self.entries.get(index).map(|(_, mac)| *mac)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_part_of_the_key_and_the_last_one_wins() {
        let hop = |port, last| NextHop { port: PortId(port), address: [10, 0, 0, last].into() };
        let mac = |n| MacAddress([2, 0, 0, 0, 0, n]);
        let table = Neighbors::new([(hop(1, 5), mac(1)), (hop(0, 5), mac(2)), (hop(0, 9), mac(3)), (hop(1, 5), mac(4))]);
        assert_eq!([hop(1, 5), hop(0, 5), hop(0, 9), hop(1, 9)].map(|h| table.lookup(h)), [Some(mac(4)), Some(mac(2)), Some(mac(3)), None]);
    }
}
