//! Traffic selectors (RFC 4301 section 4.4.1.1, RFC 7296 section 3.13.1).

use alloc::string::{String, ToString};
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Why a range or selector cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectorError {
    /// First and last address are of different families.
    #[error("{0} and {1} are of different address families")]
    MixedFamilies(IpAddr, IpAddr),
    /// The last address lies before the first.
    #[error("range {0} - {1} runs backwards")]
    Backwards(IpAddr, IpAddr),
    /// The last port lies before the first.
    #[error("port range {0}-{1} runs backwards")]
    PortsBackwards(u16, u16),
    /// Ports without a protocol that has them.
    #[error("ports need a protocol: write [tcp/443] or [udp/1000-2000]")]
    PortsWithoutProtocol,
    /// Not an address, prefix or range, with or without `[protocol/port]`.
    #[error("'{0}' is no traffic selector: write 10.0.0.0/8, 10.0.0.1, 10.0.0.1-10.0.0.9 or 10.0.0.0/8[tcp/443]")]
    Text(String),
}

/// A range of addresses of one family, both ends included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Every IPv4 address.
    pub const ALL_IPV4: Self = Self { first: IpAddr::V4(Ipv4Addr::UNSPECIFIED), last: IpAddr::V4(Ipv4Addr::BROADCAST) };

    /// `first` to `last`.
    ///
    /// # Errors
    /// [`SelectorError`] where families differ or the range runs backwards.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, SelectorError> {
        if first.is_ipv4() != last.is_ipv4() {
            return Err(SelectorError::MixedFamilies(first, last));
        }
        if first > last {
            return Err(SelectorError::Backwards(first, last));
        }
        Ok(Self { first, last })
    }

    /// A single address.
    pub const fn single(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// The addresses of `address`/`length`; host bits are ignored. `None` where the length exceeds the family's.
    pub fn prefix(address: IpAddr, length: u8) -> Option<Self> {
        match address {
            IpAddr::V4(a) if length <= 32 => {
                let host = u32::MAX.checked_shr(length.into()).unwrap_or(0);
                let bits = u32::from(a);
                Some(Self { first: Ipv4Addr::from(bits & !host).into(), last: Ipv4Addr::from(bits | host).into() })
            }
            IpAddr::V6(a) if length <= 128 => {
                let host = u128::MAX.checked_shr(length.into()).unwrap_or(0);
                let bits = u128::from(a);
                Some(Self { first: Ipv6Addr::from(bits & !host).into(), last: Ipv6Addr::from(bits | host).into() })
            }
            _ => None,
        }
    }

    /// The lowest address.
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The highest address.
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether `address` lies in the range.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }

    /// What both ranges hold.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        if self.first.is_ipv4() != other.first.is_ipv4() {
            return None;
        }
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }

    /// Bits of the prefix that it is, if it is one.
    pub fn prefix_length(&self) -> Option<u8> {
        let (first, last, width) = match (self.first, self.last) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(u32::from(a)), u128::from(u32::from(b)), 32),
            (IpAddr::V6(a), IpAddr::V6(b)) => (u128::from(a), u128::from(b), 128),
            _ => return None,
        };
        let host = first ^ last;
        // A prefix differs from first to last in a run of low bits: all zero in the first address, all one in the last.
        let is_prefix = host & host.wrapping_add(1) == 0 && first & host == 0;
        is_prefix.then_some(width - u8::try_from(host.count_ones()).ok()?)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            return self.first.fmt(f);
        }
        match self.prefix_length() {
            Some(length) => write!(f, "{}/{length}", self.first),
            None => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

impl fmt::Debug for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for AddressRange {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let bad = || SelectorError::Text(text.to_string());
        if let Some((address, length)) = text.split_once('/') {
            let address = address.parse().map_err(|_| bad())?;
            return Self::prefix(address, length.parse().map_err(|_| bad())?).ok_or_else(bad);
        }
        if let Some((first, last)) = text.split_once('-') {
            return Self::new(first.trim().parse().map_err(|_| bad())?, last.trim().parse().map_err(|_| bad())?);
        }
        text.parse().map(Self::single).map_err(|_| bad())
    }
}

/// A range of ports, both ends included. For ICMP a "port" is type * 256 + code (RFC 7296 section 3.13.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Every port: also matches packets whose ports are not to be had (OPAQUE is part of ANY, RFC 4301 section 4.4.1.1).
    pub const ANY: Self = Self { first: 0, last: u16::MAX };

    /// `first` to `last`.
    ///
    /// # Errors
    /// [`SelectorError::PortsBackwards`].
    pub const fn new(first: u16, last: u16) -> Result<Self, SelectorError> {
        if first > last {
            return Err(SelectorError::PortsBackwards(first, last));
        }
        Ok(Self { first, last })
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` lies in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// What both ranges hold.
    pub fn intersect(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last)).ok()
    }
}

/// One side of a flow: addresses, protocol and ports.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    addresses: AddressRange,
    protocol: u8,
    ports: PortRange,
}

impl TrafficSelector {
    /// Builds a selector. Protocol 0 means any and takes no ports.
    ///
    /// # Errors
    /// [`SelectorError::PortsWithoutProtocol`].
    pub fn new(addresses: AddressRange, protocol: u8, ports: PortRange) -> Result<Self, SelectorError> {
        if protocol == 0 && ports != PortRange::ANY {
            return Err(SelectorError::PortsWithoutProtocol);
        }
        Ok(Self { addresses, protocol, ports })
    }

    /// Everything to or from `addresses`.
    pub const fn addresses_only(addresses: AddressRange) -> Self {
        Self { addresses, protocol: 0, ports: PortRange::ANY }
    }

    /// The addresses.
    pub const fn addresses(&self) -> &AddressRange {
        &self.addresses
    }

    /// The IP protocol number; 0 means any.
    pub const fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The ports.
    pub const fn ports(&self) -> PortRange {
        self.ports
    }

    /// Whether a packet with this address, protocol and port is selected. A packet without port is selected by every port only (OPAQUE is part of
    /// ANY, RFC 4301 sections 4.4.1.1 and 7).
    pub fn matches(&self, address: IpAddr, protocol: u8, port: Option<u16>) -> bool {
        let port = port.map_or(self.ports == PortRange::ANY, |port| self.ports.contains(port));
        port && (self.protocol == 0 || self.protocol == protocol) && self.addresses.contains(address)
    }

    /// What both selectors select; the narrowing of RFC 7296 section 2.9.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let protocol = match (self.protocol, other.protocol) {
            (0, p) | (p, 0) => p,
            (p, q) if p == q => p,
            _ => return None,
        };
        Some(Self { addresses: self.addresses.intersect(&other.addresses)?, protocol, ports: self.ports.intersect(other.ports)? })
    }
}

impl fmt::Display for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.addresses, f)?;
        if self.protocol == 0 {
            return Ok(());
        }
        match self.protocol {
            1 => f.write_str("[icmp")?,
            6 => f.write_str("[tcp")?,
            17 => f.write_str("[udp")?,
            58 => f.write_str("[ipv6-icmp")?,
            other => write!(f, "[{other}")?,
        }
        match self.ports {
            PortRange::ANY => f.write_str("]"),
            PortRange { first, last } if first == last => write!(f, "/{first}]"),
            PortRange { first, last } => write!(f, "/{first}-{last}]"),
        }
    }
}

impl fmt::Debug for TrafficSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text as in swanctl.conf: `10.0.0.0/8`, `10.0.0.1-10.0.0.9`, `10.0.0.0/8[tcp/443]`, `10.0.0.0/8[udp]`, `10.0.0.1[17/500-600]`.
impl FromStr for TrafficSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let bad = || SelectorError::Text(text.to_string());
        let Some((addresses, rest)) = text.split_once('[') else {
            return text.parse().map(Self::addresses_only);
        };
        let inner = rest.strip_suffix(']').ok_or_else(bad)?;
        let (protocol, ports) = inner.split_once('/').map_or((inner, None), |(protocol, ports)| (protocol, Some(ports)));
        let protocol = match protocol {
            "icmp" => 1,
            "tcp" => 6,
            "udp" => 17,
            "ipv6-icmp" | "icmpv6" => 58,
            "any" | "" => 0,
            number => number.parse().map_err(|_| bad())?,
        };
        let ports = match ports {
            None | Some("any" | "") => PortRange::ANY,
            Some(ports) => {
                let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
                PortRange::new(first.parse().map_err(|_| bad())?, last.parse().map_err(|_| bad())?)?
            }
        };
        Self::new(addresses.parse()?, protocol, ports)
    }
}

/// The selector fields of one packet. A packet of another protocol has no ports, nor has a fragment after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Flow {
    /// Source address.
    pub source: IpAddr,
    /// Destination address.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, or for ICMP type * 256 + code.
    pub source_port: Option<u16>,
    /// Destination port, or for ICMP type * 256 + code.
    pub destination_port: Option<u16>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |f: &mut fmt::Formatter<'_>, address: IpAddr, port: Option<u16>| match (address, port) {
            (IpAddr::V4(address), Some(port)) => write!(f, "{address}:{port}"),
            (IpAddr::V6(address), Some(port)) => write!(f, "[{address}]:{port}"),
            (address, None) => write!(f, "{address}"),
        };
        end(f, self.source, self.source_port)?;
        f.write_str(" -> ")?;
        end(f, self.destination, self.destination_port)?;
        write!(f, " protocol {}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn selector(text: &str) -> TrafficSelector {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_back_is_identity() {
        for text in [
            "10.0.0.0/8",
            "10.0.0.1",
            "10.0.0.1-10.0.0.9",
            "0.0.0.0/0",
            "10.0.0.0/8[tcp/443]",
            "10.0.0.1[udp/500-600]",
            "10.0.0.1[47]",
            "fd00::/64",
            "fd00::1-fd00::9[ipv6-icmp/32768]",
            "::/0",
        ] {
            assert_eq!(selector(text).to_string(), text);
        }
    }

    #[test]
    fn a_prefix_ends_where_it_should() {
        let net = *selector("10.1.2.0/24").addresses();
        assert!(net.contains("10.1.2.0".parse().unwrap()) && net.contains("10.1.2.255".parse().unwrap()));
        assert!(!net.contains("10.1.1.255".parse().unwrap()) && !net.contains("10.1.3.0".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
    }

    #[test]
    fn bad_text_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0.9-10.0.0.1", "10.0.0.1-::1", "10.0.0.1[tcp/5-4]", "10.0.0.1[any/80]", "10.0.0.1[tcp", "x"] {
            assert!(text.parse::<TrafficSelector>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_intersection_selects_what_both_select(
            a in any::<(u32, u32, u8, u16, u16)>(), b in any::<(u32, u32, u8, u16, u16)>(), address in any::<u32>(), port in any::<Option<u16>>(), protocol in 0..3u8,
        ) {
            let make = |(x, y, p, s, t): (u32, u32, u8, u16, u16)| {
                let addresses = AddressRange::new(Ipv4Addr::from(x.min(y)).into(), Ipv4Addr::from(x.max(y)).into()).unwrap();
                let ports = if p % 3 == 0 { PortRange::ANY } else { PortRange::new(s.min(t), s.max(t)).unwrap() };
                TrafficSelector::new(addresses, p % 3, ports).unwrap()
            };
            let (a, b) = (make(a), make(b));
            let address = IpAddr::from(Ipv4Addr::from(address));
            let both = a.matches(address, protocol, port) && b.matches(address, protocol, port);
            prop_assert_eq!(both, a.intersect(&b).is_some_and(|c| c.matches(address, protocol, port)));
        }
    }
}
