//! Between the generated structures of [`v1`] and the checked types of `ipsec-types`, and nothing else.
//!
//! Towards the domain everything is `TryFrom`: one bad field refuses the whole message, and [`ConvertError`] names it. Keys leave the
//! generated structure as the first step and are zeroed with their [`Secret`] whatever comes after.

mod child_sa;

use std::net::IpAddr;
use std::time::Duration;

use ipsec_types::{
    AddressRange, ChildSaId, Dscp, DscpSet, Flow, Limits, Policy, PolicyAction, PolicyId, PortRange, SelectorError, Spi, TrafficSelector,
    UdpEncapsulation,
};

use crate::dataplane::v1;

/// A field of a message that has no meaning in the domain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct ConvertError {
    /// The path of the field within its message, such as `local_selectors[1].first_port`.
    pub field: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field. Never holds the value of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is absent.
    #[error("is missing")]
    Missing,
    /// A list without elements.
    #[error("needs at least one element")]
    Empty,
    /// Zero where zero has no meaning.
    #[error("may not be 0")]
    Zero,
    /// Too large.
    #[error("is {value}, more than {max}")]
    TooLarge {
        /// What was found.
        value: u64,
        /// The largest legal value.
        max: u64,
    },
    /// Outside of what is possible.
    #[error("is {value}, and must lie between {min} and {max}")]
    OutOfRange {
        /// What was found.
        value: u64,
        /// The smallest legal value.
        min: u64,
        /// The largest legal value.
        max: u64,
    },
    /// A name that nothing has.
    #[error("nothing is called '{0}' there")]
    UnknownName(String),
    /// Not as long as an address.
    #[error("an address has 4 or 16 octets, not {0}")]
    AddressLength(usize),
    /// The two ends of a tunnel are of different families.
    #[error("is of another address family than local_address")]
    MixedFamilies,
    /// Not as long as the algorithm demands.
    #[error("has {found} octets where the algorithm takes {expected}")]
    KeyLength {
        /// What the algorithm takes, salt included.
        expected: usize,
        /// What was found.
        found: usize,
    },
    /// No algorithm Culvert knows.
    #[error("no algorithm has number {number} with a key of {key_length} bits")]
    UnknownAlgorithm {
        /// The IANA number.
        number: u32,
        /// Bits; 0 for none.
        key_length: u32,
    },
    /// An integrity algorithm beside AEAD.
    #[error("an AEAD cipher takes no integrity algorithm")]
    IntegrityWithAead,
    /// A cipher that is no AEAD, alone, or AH.
    #[error("AH, and a cipher that is no AEAD, need an integrity algorithm")]
    NoIntegrity,
    /// A cipher with AH.
    #[error("AH has no cipher")]
    CipherWithAh,
    /// UDP encapsulation of AH.
    #[error("AH cannot travel in UDP (RFC 3948 is about ESP)")]
    EncapsulatedAh,
    /// Traffic flow confidentiality where nothing hides it.
    #[error("goes with ESP in tunnel mode alone (RFC 4303 section 2.7)")]
    TfcOutsideTunnel,
    /// An SPI below 256.
    #[error(transparent)]
    ReservedSpi(#[from] ipsec_types::ReservedSpi),
    /// A range or selector that cannot be.
    #[error(transparent)]
    Selector(#[from] SelectorError),
    /// Limits that contradict each other.
    #[error(transparent)]
    Lifetime(#[from] ipsec_types::LifetimeError),
    /// An enumeration's value that has no meaning here.
    #[error("{0} is not a known value")]
    UnknownValue(i32),
}

impl ConvertError {
    /// The error of `field`.
    pub fn new(field: impl Into<String>, problem: impl Into<Problem>) -> Self {
        Self { field: field.into(), problem: problem.into() }
    }

    /// The same error, seen from the message that holds this one as `outer`.
    #[must_use]
    pub fn within(self, outer: &str) -> Self {
        Self { field: format!("{outer}.{}", self.field), problem: self.problem }
    }
}

/// Reads 4 or 16 octets.
///
/// # Errors
/// [`Problem::AddressLength`] for any other length.
pub fn address(field: &str, octets: &[u8]) -> Result<IpAddr, ConvertError> {
    if let Ok(octets) = <[u8; 4]>::try_from(octets) {
        return Ok(IpAddr::from(octets));
    }
    <[u8; 16]>::try_from(octets).map(IpAddr::from).map_err(|_| ConvertError::new(field, Problem::AddressLength(octets.len())))
}

/// The 4 or 16 octets of an address.
pub fn address_octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Reads a port or another number of 16 bits.
///
/// # Errors
/// [`Problem::TooLarge`].
pub fn port(field: &str, value: u32) -> Result<u16, ConvertError> {
    u16::try_from(value).map_err(|_| too_large(field, value.into(), u16::MAX.into()))
}

/// Reads an SPI.
///
/// # Errors
/// [`Problem::ReservedSpi`] below 256.
pub fn spi(field: &str, value: u32) -> Result<Spi, ConvertError> {
    Spi::new(value).map_err(|reserved| ConvertError::new(field, reserved))
}

/// Reads the identifier of a Child SA.
///
/// # Errors
/// [`Problem::Zero`], since 0 means "none".
pub fn child_sa_id(field: &str, value: u64) -> Result<ChildSaId, ConvertError> {
    if value == 0 { Err(ConvertError::new(field, Problem::Zero)) } else { Ok(ChildSaId(value)) }
}

/// Milliseconds, rounded up: a limit never turns into 0, which means "none".
pub fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

impl TryFrom<v1::TrafficSelector> for TrafficSelector {
    type Error = ConvertError;

    fn try_from(message: v1::TrafficSelector) -> Result<Self, ConvertError> {
        let first = address("first_address", &message.first_address)?;
        let last = address("last_address", &message.last_address)?;
        let addresses = AddressRange::new(first, last).map_err(|e| ConvertError::new("last_address", e))?;
        let protocol = octet("protocol", message.protocol)?;
        let ports = PortRange::new(port("first_port", message.first_port)?, port("last_port", message.last_port)?)
            .map_err(|e| ConvertError::new("last_port", e))?;
        Self::new(addresses, protocol, ports).map_err(|e| ConvertError::new("protocol", e))
    }
}

impl From<TrafficSelector> for v1::TrafficSelector {
    fn from(selector: TrafficSelector) -> Self {
        Self {
            first_address: address_octets(selector.addresses().first()),
            last_address: address_octets(selector.addresses().last()),
            protocol: selector.protocol().into(),
            first_port: selector.ports().first().into(),
            last_port: selector.ports().last().into(),
        }
    }
}

impl TryFrom<v1::Flow> for Flow {
    type Error = ConvertError;

    fn try_from(message: v1::Flow) -> Result<Self, ConvertError> {
        Ok(Self {
            source: address("source", &message.source)?,
            destination: address("destination", &message.destination)?,
            protocol: octet("protocol", message.protocol)?,
            source_port: Some(port("source_port", message.source_port)?),
            destination_port: Some(port("destination_port", message.destination_port)?),
        })
    }
}

impl From<Flow> for v1::Flow {
    fn from(flow: Flow) -> Self {
        Self {
            source: address_octets(flow.source),
            destination: address_octets(flow.destination),
            protocol: flow.protocol.into(),
            source_port: flow.source_port.unwrap_or(0).into(),
            destination_port: flow.destination_port.unwrap_or(0).into(),
        }
    }
}

impl TryFrom<v1::policy::Action> for PolicyAction {
    type Error = ConvertError;

    fn try_from(action: v1::policy::Action) -> Result<Self, ConvertError> {
        match action {
            v1::policy::Action::Protect => Ok(Self::Protect),
            v1::policy::Action::Bypass => Ok(Self::Bypass),
            v1::policy::Action::Discard => Ok(Self::Discard),
            v1::policy::Action::Unspecified => Err(ConvertError::new("action", Problem::Missing)),
        }
    }
}

impl From<PolicyAction> for v1::policy::Action {
    fn from(action: PolicyAction) -> Self {
        match action {
            PolicyAction::Protect => Self::Protect,
            PolicyAction::Bypass => Self::Bypass,
            PolicyAction::Discard => Self::Discard,
        }
    }
}

impl TryFrom<v1::Policy> for Policy {
    type Error = ConvertError;

    fn try_from(message: v1::Policy) -> Result<Self, ConvertError> {
        let action =
            v1::policy::Action::try_from(message.action).map_err(|_| ConvertError::new("action", Problem::UnknownValue(message.action)))?;
        Ok(Self {
            id: PolicyId(message.id),
            name: message.name,
            priority: message.priority,
            action: action.try_into()?,
            local: selectors("local", message.local)?,
            remote: selectors("remote", message.remote)?,
            dscp: dscp(&message.dscp)?,
        })
    }
}

impl From<Policy> for v1::Policy {
    fn from(policy: Policy) -> Self {
        Self {
            id: policy.id.0,
            name: policy.name,
            priority: policy.priority,
            action: v1::policy::Action::from(policy.action).into(),
            local: policy.local.into_iter().map(Into::into).collect(),
            remote: policy.remote.into_iter().map(Into::into).collect(),
            dscp: dscp_values(policy.dscp),
        }
    }
}

impl TryFrom<v1::UdpEncapsulation> for UdpEncapsulation {
    type Error = ConvertError;

    fn try_from(message: v1::UdpEncapsulation) -> Result<Self, ConvertError> {
        // UDP knows 0 as the source port of somebody who wants no answer (RFC 768).
        let end = |field: &str, value| if value == 0 { Err(ConvertError::new(field, Problem::Zero)) } else { port(field, value) };
        Ok(Self { local_port: end("local_port", message.local_port)?, remote_port: end("remote_port", message.remote_port)? })
    }
}

impl From<UdpEncapsulation> for v1::UdpEncapsulation {
    fn from(ports: UdpEncapsulation) -> Self {
        Self { local_port: ports.local_port.into(), remote_port: ports.remote_port.into() }
    }
}

impl From<v1::Limits> for Limits {
    fn from(message: v1::Limits) -> Self {
        Self { time: some(message.time_ms).map(Duration::from_millis), octets: some(message.octets), packets: some(message.packets) }
    }
}

/// A limit of 0, which no SA could keep, becomes the smallest one: 0 would mean "unlimited".
impl From<Limits> for v1::Limits {
    fn from(limits: Limits) -> Self {
        let number = |limit: Option<u64>| limit.map_or(0, |n| n.max(1));
        Self { time_ms: number(limits.time.map(milliseconds)), octets: number(limits.octets), packets: number(limits.packets) }
    }
}

/// Reads the outer addresses of a tunnel.
///
/// # Errors
/// [`Problem::AddressLength`] and [`Problem::MixedFamilies`].
pub fn tunnel(local: &[u8], remote: &[u8]) -> Result<(IpAddr, IpAddr), ConvertError> {
    let local = address("local_address", local)?;
    let remote = address("remote_address", remote)?;
    if local.is_ipv4() != remote.is_ipv4() {
        return Err(ConvertError::new("remote_address", Problem::MixedFamilies));
    }
    Ok((local, remote))
}

/// Reads UDP encapsulation; absent means plain ESP.
///
/// # Errors
/// [`Problem::Zero`] for port 0, [`Problem::TooLarge`] for ports past 65535.
pub fn encapsulation(message: Option<v1::UdpEncapsulation>) -> Result<Option<UdpEncapsulation>, ConvertError> {
    message.map(UdpEncapsulation::try_from).transpose().map_err(|e| e.within("encapsulation"))
}

/// Selectors of one side.
///
/// # Errors
/// Names the first that cannot be read.
pub fn selectors(field: &str, list: Vec<v1::TrafficSelector>) -> Result<Vec<TrafficSelector>, ConvertError> {
    if list.is_empty() {
        return Err(ConvertError::new(field, Problem::Empty));
    }
    list.into_iter().enumerate().map(|(i, s)| s.try_into().map_err(|e: ConvertError| e.within(&format!("{field}[{i}]")))).collect()
}

/// Code points for a message.
pub fn dscp_values(set: DscpSet) -> Vec<u32> {
    if set == DscpSet::ALL { Vec::new() } else { set.iter().map(|dscp| dscp.value().into()).collect() }
}

/// Reads code points; none at all mean any.
///
/// # Errors
/// Where one is above 63.
pub fn dscp(list: &[u32]) -> Result<DscpSet, ConvertError> {
    if list.is_empty() {
        return Ok(DscpSet::ALL);
    }
    let read = |(i, &value): (usize, &u32)| {
        u8::try_from(value).ok().and_then(Dscp::new).ok_or_else(|| too_large(&format!("dscp[{i}]"), value.into(), 63))
    };
    list.iter().enumerate().map(read).collect()
}

fn octet(field: &str, value: u32) -> Result<u8, ConvertError> {
    u8::try_from(value).map_err(|_| too_large(field, value.into(), u8::MAX.into()))
}

fn too_large(field: &str, value: u64, max: u64) -> ConvertError {
    ConvertError::new(field, Problem::TooLarge { value, max })
}

fn some(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

#[cfg(test)]
mod tests;
