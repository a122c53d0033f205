//! Differentiated services code points (RFC 2474 section 3), which classify packets by their upper six bits of the traffic class.

/// One code point, 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dscp(u8);

impl Dscp {
    /// `None` beyond 63.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    /// The code point of a packet's traffic class (IPv4: type of service), whose lower two bits are ECN's.
    #[inline]
    pub const fn of_traffic_class(traffic_class: u8) -> Self {
        Self(traffic_class >> 2)
    }

    /// 0 to 63.
    #[inline]
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// A set of code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DscpSet(u64);

impl DscpSet {
    /// Every code point: packets are not told apart by it.
    pub const ALL: Self = Self(u64::MAX);
    /// None.
    pub const EMPTY: Self = Self(0);

    /// Whether it has the code point.
    #[inline]
    pub const fn contains(self, dscp: Dscp) -> bool {
        self.0 >> dscp.0 & 1 == 1
    }

    /// Whether some code point is in both.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The code points, rising.
    pub fn iter(self) -> impl Iterator<Item = Dscp> {
        (0..64).map(Dscp).filter(move |dscp| self.contains(*dscp))
    }
}

impl Default for DscpSet {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<Dscp> for DscpSet {
    fn from_iter<T: IntoIterator<Item = Dscp>>(list: T) -> Self {
        Self(list.into_iter().fold(0, |mask, dscp| mask | 1 << dscp.0))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    #[test]
    fn a_set_has_what_was_put_in() {
        let list = [0, 10, 46, 63].map(|value| Dscp::new(value).unwrap());
        let set: DscpSet = list.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), list);
        assert!(set.contains(Dscp::of_traffic_class(0xba)) && !set.contains(Dscp::of_traffic_class(0x04)));
        assert!(set.intersects(DscpSet::ALL) && !set.intersects(DscpSet::EMPTY));
        assert_eq!((Dscp::new(64), DscpSet::ALL.iter().count(), DscpSet::default()), (None, 64, DscpSet::ALL));
    }
}
