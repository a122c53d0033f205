//! The Identification payload in the IPsec DOI (RFC 2407 section 4.6.2): who a peer is in phase 1, what an SA is for in phase 2.
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |   ID Type     |  Protocol ID  |             Port              |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                   Identification Data                         ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{AddressRange, Identity, IdentityError, PortRange, TrafficSelector};

use crate::ParseError;
use crate::reader::Reader;

/// An identity, or the addresses of one side of an SA.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identification {
    /// ID Type, known or not.
    pub id_type: u8,
    /// IP protocol; 0 for any.
    pub protocol: u8,
    /// Port; 0 for any.
    pub port: u16,
    /// Identification Data.
    pub data: Vec<u8>,
}

impl Identification {
    /// ID_IPV4_ADDR.
    pub const IPV4_ADDR: u8 = 1;
    /// ID_IPV4_ADDR_SUBNET.
    pub const IPV4_ADDR_SUBNET: u8 = 4;
    /// ID_IPV6_ADDR.
    pub const IPV6_ADDR: u8 = 5;
    /// ID_IPV6_ADDR_SUBNET.
    pub const IPV6_ADDR_SUBNET: u8 = 6;
    /// ID_IPV4_ADDR_RANGE.
    pub const IPV4_ADDR_RANGE: u8 = 7;
    /// ID_IPV6_ADDR_RANGE.
    pub const IPV6_ADDR_RANGE: u8 = 8;

    /// The identity of phase 1, whose types are those of IKEv2.
    ///
    /// # Errors
    /// [`IdentityError`] for a type Culvert does not know or data that do not fit it.
    pub fn identity(&self) -> Result<Identity, IdentityError> {
        Identity::from_wire(self.id_type, &self.data)
    }

    /// Everything behind the generic header: IDii_b and IDir_b of RFC 2409 section 5.
    pub fn octets(&self) -> Vec<u8> {
        let [high, low] = self.port.to_be_bytes();
        [&[self.id_type, self.protocol, high, low][..], &self.data].concat()
    }

    /// The traffic of one side of an SA (RFC 2407 section 4.6.2); `None` for a name, a mask with holes, a range that runs backwards, or a port
    /// without protocol.
    pub fn selector(&self) -> Option<TrafficSelector> {
        let ports = if self.port == 0 { PortRange::ANY } else { PortRange::new(self.port, self.port).ok()? };
        TrafficSelector::new(self.addresses()?, self.protocol, ports).ok()
    }

    /// The other way round; `None` for several ports but not all, which IKEv1 has no words for.
    pub fn of_selector(selector: &TrafficSelector) -> Option<Self> {
        let port = match selector.ports() {
            PortRange::ANY => 0,
            ports if ports.first() == ports.last() && ports.first() != 0 => ports.first(),
            _ => return None,
        };
        let (id_type, data) = described(selector.addresses());
        Some(Self { id_type, protocol: selector.protocol(), port, data })
    }

    fn addresses(&self) -> Option<AddressRange> {
        match self.id_type {
            Self::IPV4_ADDR | Self::IPV6_ADDR => address(&self.data).map(AddressRange::single),
            Self::IPV4_ADDR_SUBNET | Self::IPV6_ADDR_SUBNET => {
                let (address, mask) = pair(&self.data)?;
                AddressRange::prefix(address, prefix_length(mask)?)
            }
            Self::IPV4_ADDR_RANGE | Self::IPV6_ADDR_RANGE => {
                let (first, last) = pair(&self.data)?;
                AddressRange::new(first, last).ok()
            }
            _ => None,
        }
        .filter(|range| range.first().is_ipv4() == matches!(self.id_type, Self::IPV4_ADDR | Self::IPV4_ADDR_SUBNET | Self::IPV4_ADDR_RANGE))
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let [id_type, protocol] = body.array()?;
        Ok(Self { id_type, protocol, port: body.u16()?, data: body.rest().to_vec() })
    }
}

impl From<&Identity> for Identification {
    /// "Protocol and port [...] MUST be set to zero or to UDP port 500" in phase 1 (RFC 2407 section 4.6.2): zero, as behind a NAT (RFC 3947 section 4).
    fn from(identity: &Identity) -> Self {
        Self { id_type: identity.id_type(), protocol: 0, port: 0, data: identity.data() }
    }
}

/// Type and data for addresses: the shortest that says them.
fn described(range: &AddressRange) -> (u8, Vec<u8>) {
    let octets = |address: IpAddr| match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    let (first, last) = (range.first(), range.last());
    let by_family = |v4, v6| if first.is_ipv4() { v4 } else { v6 };
    if first == last {
        return (by_family(Identification::IPV4_ADDR, Identification::IPV6_ADDR), octets(first));
    }
    match range.prefix_length() {
        Some(length) => (
            by_family(Identification::IPV4_ADDR_SUBNET, Identification::IPV6_ADDR_SUBNET),
            [octets(first), octets(mask(first, length))].concat(),
        ),
        None => (by_family(Identification::IPV4_ADDR_RANGE, Identification::IPV6_ADDR_RANGE), [octets(first), octets(last)].concat()),
    }
}

fn mask(of: IpAddr, length: u8) -> IpAddr {
    match of {
        IpAddr::V4(_) => Ipv4Addr::from(!u32::MAX.checked_shr(length.into()).unwrap_or(0)).into(),
        IpAddr::V6(_) => Ipv6Addr::from(!u128::MAX.checked_shr(length.into()).unwrap_or(0)).into(),
    }
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| IpAddr::V4(octets.into()));
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| IpAddr::V6(octets.into()))).ok()
}

fn pair(octets: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let (first, second) = octets.split_at_checked(octets.len() / 2)?;
    Some((address(first)?, address(second)?))
}

/// Bits of a mask, which must be ones before zeros.
fn prefix_length(mask: IpAddr) -> Option<u8> {
    let (ones, all) = match mask {
        IpAddr::V4(mask) => (u32::from(mask).leading_ones(), u32::from(mask).count_ones()),
        IpAddr::V6(mask) => (u128::from(mask).leading_ones(), u128::from(mask).count_ones()),
    };
    (ones == all).then(|| u8::try_from(ones).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn id(id_type: u8, data: &[u8]) -> Identification {
        Identification { id_type, protocol: 0, port: 0, data: data.to_vec() }
    }

    #[test]
    fn selectors_are_said_and_read_in_the_shortest_form() {
        for (text, id_type) in [
            ("192.0.2.1", 1),
            ("10.1.0.0/16", 4),
            ("0.0.0.0/0", 4),
            ("10.0.0.1-10.0.0.9", 7),
            ("2001:db8::1", 5),
            ("2001:db8::/32", 6),
            ("::/0", 6),
            ("2001:db8::1-2001:db8::9", 8),
            ("10.1.0.0/16[tcp/443]", 4),
            ("10.1.0.0/16[47]", 4),
        ] {
            let selector: TrafficSelector = text.parse().unwrap();
            let said = Identification::of_selector(&selector).unwrap();
            assert_eq!(said.id_type, id_type, "{text}");
            assert_eq!(said.selector().map(|selector| selector.to_string()), Some(selector.to_string()));
        }
        assert_eq!(Identification::of_selector(&"10.0.0.0/8[tcp/1-9]".parse().unwrap()), None, "several ports");
    }

    #[test]
    fn what_is_no_traffic_is_no_selector() {
        assert_eq!(id(2, b"gw.example.org").selector(), None);
        assert_eq!(id(4, &[10, 0, 0, 0, 255, 0, 255, 0]).selector(), None, "a mask with holes");
        assert_eq!(id(7, &[10, 0, 0, 9, 10, 0, 0, 1]).selector(), None, "backwards");
        assert_eq!(id(4, &[10, 0, 0, 0]).selector(), None, "no mask");
        assert_eq!(id(1, &[0; 16]).selector(), None, "an address of the other family");
        assert_eq!(id(6, &[10, 0, 0, 0, 255, 0, 0, 0]).selector(), None);
        assert_eq!(Identification { port: 80, ..id(1, &[10, 0, 0, 1]) }.selector(), None, "a port of no protocol");
    }

    #[test]
    fn an_identity_is_said_without_protocol_and_port_and_kept_as_it_was_said() {
        let identity: Identity = "gw.example.org".parse().unwrap();
        assert_eq!(Identification::from(&identity).octets(), [&[2, 0, 0, 0][..], b"gw.example.org"].concat());
        let sent = [1, 17, 1, 0xf4, 192, 0, 2, 1];
        let read = Identification::parse(Reader::new(crate::Part::V1(crate::v1::Part::Header), &sent)).unwrap();
        assert_eq!((read.octets(), read.identity()), (sent.to_vec(), "192.0.2.1".parse()));
    }
}
