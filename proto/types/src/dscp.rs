//! Differentiated services code points (RFC 2474 section 3), which classify packets by their upper six bits of the traffic class.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;

/// One code point, 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dscp(u8);

impl Dscp {
    /// That of packets of no special class (RFC 2474 section 4.1).
    pub const DEFAULT: Self = Self(0);

    /// `None` beyond 63.
    pub const fn new(value: u8) -> Option<Self> {
        if value < 64 { Some(Self(value)) } else { None }
    }

    /// The code point of a packet's traffic class (IPv4: type of service), whose lower two bits are ECN's.
    #[inline]
    pub const fn of_traffic_class(traffic_class: u8) -> Self {
        Self(traffic_class >> 2)
    }

    /// The traffic class of packets with it, ECN's bits clear.
    pub const fn traffic_class(self) -> u8 {
        self.0 << 2
    }

    /// 0 to 63.
    #[inline]
    pub const fn value(self) -> u8 {
        self.0
    }
}

/// Why text is no code point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no DSCP: write a number from 0 to 63, or cs0 to cs7, af11 to af43, ef, va or le")]
pub struct DscpError(String);

/// Names of code points: class selectors (RFC 2474 section 4.2.2.2), assured forwarding (RFC 2597 section 6), expedited forwarding (RFC 3246
/// section 2.7), voice admit (RFC 5865 section 2.3), lower effort (RFC 8622 section 3).
const NAMES: &[(&str, u8)] = &[
    ("cs0", 0),
    ("le", 1),
    ("cs1", 8),
    ("af11", 10),
    ("af12", 12),
    ("af13", 14),
    ("cs2", 16),
    ("af21", 18),
    ("af22", 20),
    ("af23", 22),
    ("cs3", 24),
    ("af31", 26),
    ("af32", 28),
    ("af33", 30),
    ("cs4", 32),
    ("af41", 34),
    ("af42", 36),
    ("af43", 38),
    ("cs5", 40),
    ("va", 44),
    ("ef", 46),
    ("cs6", 48),
    ("cs7", 56),
];

/// A name such as `ef`, or a number.
impl FromStr for Dscp {
    type Err = DscpError;

    fn from_str(text: &str) -> Result<Self, DscpError> {
        let named = NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, value)| *value);
        named.or_else(|| text.parse().ok()).and_then(Self::new).ok_or_else(|| DscpError(text.to_string()))
    }
}

/// Its name, or its number.
impl fmt::Display for Dscp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, value)| *value == self.0) {
            Some((name, _)) => f.write_str(name),
            None => self.0.fmt(f),
        }
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

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is here and not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The code points, rising.
    pub fn iter(self) -> impl Iterator<Item = Dscp> {
        (0..64).map(Dscp).filter(move |dscp| self.contains(*dscp))
    }
}

/// Names and numbers, and ranges of what stands side by side: `ef`, `0-45 47-63`.
impl fmt::Display for DscpSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        let mut rest = self.iter().peekable();
        while let Some(first) = rest.next() {
            let mut last = first;
            while let Some(next) = rest.next_if(|next| next.0 == last.0 + 1) {
                last = next;
            }
            match first == last {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{}-{}", first.0, last.0)?,
            }
            separator = " ";
        }
        Ok(())
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
    fn names_and_numbers_are_read() {
        let read = |text: &str| text.parse::<Dscp>().map(Dscp::value).ok();
        assert_eq!(["ef", "AF41", "cs6", "va", "le", "0", "63"].map(read), [46, 34, 48, 44, 1, 0, 63].map(Some));
        assert_eq!(["", "64", "-1", "af44", "af5"].map(read), [None; 5]);
        // RFC 2597 section 6: class a with drop precedence b is 8a + 2b; RFC 2474 section 4.2.2.2: class selector n is 8n.
        for (a, b) in (1..=4u8).flat_map(|a| (1..=3u8).map(move |b| (a, b))) {
            assert_eq!(read(&alloc::format!("af{a}{b}")), Some(8 * a + 2 * b));
        }
        for n in 0..8u8 {
            assert_eq!(read(&alloc::format!("cs{n}")), Some(8 * n));
        }
        for value in 0..64 {
            assert_eq!(read(&Dscp(value).to_string()), Some(value));
        }
    }

    #[test]
    fn a_set_has_what_was_put_in() {
        let list = [0, 10, 46, 63].map(|value| Dscp::new(value).unwrap());
        let set: DscpSet = list.into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), list);
        assert_eq!(
            (set.to_string(), DscpSet::ALL.to_string(), DscpSet::EMPTY.to_string()),
            ("cs0 af11 ef 63".into(), "0-63".into(), String::new())
        );
        let ef: DscpSet = [Dscp(46)].into_iter().collect();
        assert_eq!((DscpSet::ALL.without(ef).to_string(), Dscp(46).traffic_class()), ("0-45 47-63".into(), 0xb8));
        assert!(set.contains(Dscp::of_traffic_class(0xba)) && !set.contains(Dscp::of_traffic_class(0x04)));
        assert!(set.intersects(DscpSet::ALL) && !set.intersects(DscpSet::EMPTY));
        assert_eq!((DscpSet::ALL.without(set).iter().count(), set.intersection(DscpSet::EMPTY)), (60, DscpSet::EMPTY));
        assert_eq!((Dscp::new(64), DscpSet::ALL.iter().count(), DscpSet::default()), (None, 64, DscpSet::ALL));
    }
}
