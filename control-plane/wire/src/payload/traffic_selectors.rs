//! The Traffic Selector payloads (RFC 7296 section 3.13).
//!
//! ```text
//!                      1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Next Payload  |C|  RESERVED   |         Payload Length        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Number of TSs |                 RESERVED                      |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+   each selector:
//! |   TS Type     |IP Protocol ID |       Selector Length         |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |           Start Port          |           End Port            |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Starting Address                      ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ~                         Ending Address                        ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipsec_types::{AddressRange, PortRange, TrafficSelector};

use crate::reader::{Framed, Reader};
use crate::writer::Writer;
use crate::{EmitError, Fault, ParseError, Part, PayloadType, limits};

/// Traffic of one side: what at least one of the selectors selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrafficSelectors {
    /// The selectors, at least one. Of an initiator that has a packet to send, the first is that packet's (section 2.9).
    pub selectors: Vec<Selector>,
}

/// One selector. Those Culvert cannot enforce stand beside those it can: a responder leaves them out when it narrows, and answers
/// TS_UNACCEPTABLE where nothing else is left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// TS_IPV4_ADDR_RANGE or TS_IPV6_ADDR_RANGE.
    Range(TrafficSelector),
    /// The same with start port 65535 and end port 0: only packets whose ports are not to be had, as of later fragments.
    Opaque {
        /// The addresses.
        addresses: AddressRange,
        /// The IP protocol number; 0 means any.
        protocol: u8,
    },
    /// A TS Type that is neither, or ports without a protocol, kept as octets.
    Unsupported {
        /// TS Type.
        ts_type: u8,
        /// The octet that types 7 and 8 use for the IP Protocol ID.
        protocol: u8,
        /// Everything behind Selector Length.
        body: Vec<u8>,
    },
}

const TS_IPV4_ADDR_RANGE: u8 = 7;
const TS_IPV6_ADDR_RANGE: u8 = 8;
/// Start and end port that mean OPAQUE: the one pair that may run backwards.
const OPAQUE: (u16, u16) = (u16::MAX, 0);

impl TrafficSelectors {
    /// The selectors Culvert can enforce, in their order.
    pub fn supported(&self) -> impl Iterator<Item = TrafficSelector> {
        self.selectors.iter().filter_map(|selector| match selector {
            Selector::Range(range) => Some(*range),
            Selector::Opaque { .. } | Selector::Unsupported { .. } => None,
        })
    }

    pub(crate) fn parse(mut body: Reader<'_>) -> Result<Self, ParseError> {
        let said = usize::from(body.u8()?);
        let _reserved = body.array::<3>()?;
        if said == 0 {
            return Err(body.fault(Fault::Empty));
        }
        if said > limits::SELECTORS {
            return Err(body.fault(Fault::TooMany(limits::SELECTORS)));
        }
        let mut selectors = Vec::new();
        while !body.is_empty() && selectors.len() < said {
            selectors.push(Selector::parse(body.framed(Part::Selector)?)?);
        }
        if selectors.len() != said {
            return Err(body.fault(Fault::Count { said, found: selectors.len() }));
        }
        body.finish()?;
        Ok(Self { selectors })
    }

    pub(crate) fn emit(&self, payload_type: PayloadType, writer: &mut Writer) -> Result<(), EmitError> {
        writer.count(self.selectors.len(), Part::Payload(payload_type))?;
        writer.slice(&[0; 3]);
        self.selectors.iter().try_for_each(|selector| selector.emit(writer))
    }
}

impl FromIterator<TrafficSelector> for TrafficSelectors {
    fn from_iter<I: IntoIterator<Item = TrafficSelector>>(selectors: I) -> Self {
        Self { selectors: selectors.into_iter().map(Selector::Range).collect() }
    }
}

impl Selector {
    fn parse(framed: Framed<'_>) -> Result<Self, ParseError> {
        let [ts_type, protocol] = framed.lead;
        let mut body = framed.body;
        let unsupported = || Self::Unsupported { ts_type, protocol, body: framed.body.rest().to_vec() };
        if !matches!(ts_type, TS_IPV4_ADDR_RANGE | TS_IPV6_ADDR_RANGE) {
            return Ok(unsupported());
        }
        let (start, end) = (body.u16()?, body.u16()?);
        let (first, last) = (read_address(ts_type, &mut body)?, read_address(ts_type, &mut body)?);
        body.finish()?;
        let backwards = |field, value: u16| framed.body.fault(Fault::Value { field, value: value.into() });
        let addresses =
            AddressRange::new(first, last).map_err(|_| backwards("an ending address before the starting one, TS type", ts_type.into()))?;
        if (start, end) == OPAQUE {
            return Ok(Self::Opaque { addresses, protocol });
        }
        let ports = PortRange::new(start, end).map_err(|_| backwards("an end port before the start port,", end))?;
        Ok(TrafficSelector::new(addresses, protocol, ports).map_or_else(|_| unsupported(), Self::Range))
    }

    fn emit(&self, writer: &mut Writer) -> Result<(), EmitError> {
        match self {
            Self::Range(selector) => {
                let ports = selector.ports();
                emit_range(writer, selector.addresses(), selector.protocol(), (ports.first(), ports.last()))
            }
            Self::Opaque { addresses, protocol } => emit_range(writer, addresses, *protocol, OPAQUE),
            Self::Unsupported { ts_type, protocol, body } => writer.framed(Part::Selector, [*ts_type, *protocol], |writer| {
                writer.slice(body);
                Ok(())
            }),
        }
    }
}

impl From<TrafficSelector> for Selector {
    fn from(selector: TrafficSelector) -> Self {
        Self::Range(selector)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(selector) => selector.fmt(f),
            Self::Opaque { addresses, protocol } => write!(f, "{addresses}[{protocol}/opaque]"),
            Self::Unsupported { ts_type, protocol, body } => write!(f, "TS type {ts_type}, protocol {protocol}, {} octets", body.len()),
        }
    }
}

fn read_address(ts_type: u8, body: &mut Reader<'_>) -> Result<IpAddr, ParseError> {
    Ok(if ts_type == TS_IPV4_ADDR_RANGE { Ipv4Addr::from(body.array::<4>()?).into() } else { Ipv6Addr::from(body.array::<16>()?).into() })
}

fn emit_range(writer: &mut Writer, addresses: &AddressRange, protocol: u8, ports: (u16, u16)) -> Result<(), EmitError> {
    let ts_type = if addresses.first().is_ipv4() { TS_IPV4_ADDR_RANGE } else { TS_IPV6_ADDR_RANGE };
    writer.framed(Part::Selector, [ts_type, protocol], |writer| {
        writer.u16(ports.0);
        writer.u16(ports.1);
        for address in [addresses.first(), addresses.last()] {
            match address {
                IpAddr::V4(address) => writer.slice(&address.octets()),
                IpAddr::V6(address) => writer.slice(&address.octets()),
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    fn parse(octets: &[u8]) -> Result<TrafficSelectors, ParseError> {
        TrafficSelectors::parse(Reader::new(Part::Payload(PayloadType::TSI), octets))
    }

    /// TCP to port 443 of 10.0.0.0/8, to be spoilt an octet at a time.
    const HTTPS: [u8; 20] = [1, 0, 0, 0, 7, 6, 0, 16, 1, 0xbb, 1, 0xbb, 10, 0, 0, 0, 10, 255, 255, 255];

    fn spoilt(changes: &[(usize, u8)]) -> Result<TrafficSelectors, ParseError> {
        let mut octets = HTTPS;
        changes.iter().for_each(|(at, octet)| octets[*at] = *octet);
        parse(&octets)
    }

    #[test]
    fn a_selector_is_read_and_written() {
        let expected: TrafficSelectors = ["10.0.0.0/8[tcp/443]".parse::<TrafficSelector>().unwrap()].into_iter().collect();
        assert_eq!(parse(&HTTPS), Ok(expected.clone()));
        let mut writer = Writer::new();
        expected.emit(PayloadType::TSI, &mut writer).unwrap();
        assert_eq!(writer.finish(), HTTPS);
    }

    #[test]
    fn opaque_ports_are_the_only_ones_to_run_backwards() {
        let addresses = "10.0.0.0/8".parse().unwrap();
        let opaque = spoilt(&[(8, 0xff), (9, 0xff), (10, 0), (11, 0)]).unwrap();
        assert_eq!(opaque.selectors, [Selector::Opaque { addresses, protocol: 6 }]);
        assert_eq!(opaque.supported().count(), 0);
        let fault = Fault::Value { field: "an end port before the start port,", value: 0x01ba };
        assert_eq!(spoilt(&[(11, 0xba)]), Err(ParseError::Malformed { part: Part::Selector, fault }));
    }

    #[test]
    fn what_cannot_be_enforced_is_kept_aside() {
        let body = HTTPS[8..].to_vec();
        let ports_without_protocol = Selector::Unsupported { ts_type: 7, protocol: 0, body: body.clone() };
        assert_eq!(spoilt(&[(5, 0)]), Ok(TrafficSelectors { selectors: vec![ports_without_protocol] }));
        let fibre_channel = Selector::Unsupported { ts_type: 9, protocol: 6, body };
        assert_eq!(spoilt(&[(4, 9)]), Ok(TrafficSelectors { selectors: vec![fibre_channel] }));
    }

    #[test]
    fn ranges_lengths_and_counts_must_agree() {
        assert!(spoilt(&[(16, 9)]).is_err(), "the range runs backwards");
        assert!(spoilt(&[(4, 8)]).is_err(), "IPv6 needs more octets");
        assert!(spoilt(&[(7, 15)]).is_err() && spoilt(&[(7, 17)]).is_err(), "Selector Length");
        let part = Part::Payload(PayloadType::TSI);
        assert_eq!(spoilt(&[(0, 0)]), Err(ParseError::Malformed { part, fault: Fault::Empty }));
        assert_eq!(spoilt(&[(0, 2)]), Err(ParseError::Malformed { part, fault: Fault::Count { said: 2, found: 1 } }));
        assert_eq!(spoilt(&[(0, 129)]), Err(ParseError::Malformed { part, fault: Fault::TooMany(limits::SELECTORS) }));
        let two = [&HTTPS[..], &HTTPS[4..]].concat();
        assert_eq!(parse(&two), Err(ParseError::Malformed { part, fault: Fault::Trailing(16) }));
    }
}
