//! The configuration file: TOML, checked whole before anything starts. Each error names file, line and field, and what to write instead.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use esp_crypto::Kernel;
use ipsec_types::AddressRange;
use packet::ethernet::MacAddress;
use serde::Deserialize;
use toml::Spanned;

use crate::command::PortId;
use crate::table::sad::MAX_GENERATION;

mod raw;

use raw::{Fault, Raw, RawNeighbor, RawPort, RawRoute};

/// Limits of what can be configured.
mod limits {
    pub(super) const WORKERS: usize = 64;
    pub(super) const CORE: usize = 1023;
    /// What the stages of a worker take at once.
    pub(super) const BURST: std::ops::RangeInclusive<u16> = 1..=32;
    const _: () = assert!(*BURST.end() as usize == crate::pipeline::BURST);
    pub(super) const PORTS: usize = 32;
    pub(super) const ADDRESSES: usize = 64;
    pub(super) const ROUTES: usize = 4096;
    pub(super) const NEIGHBORS: usize = 256;
    /// The smallest datagram every host takes (RFC 791), and the largest frame that is common.
    pub(super) const MTU: std::ops::RangeInclusive<u16> = 576..=9000;
    /// The smallest MTU of a link that carries IPv6 (RFC 8200 section 5).
    pub(super) const IPV6_MTU: u16 = 1280;
    /// An SPI names a slot with 20 of its bits.
    pub(super) const SLOTS: u32 = 1 << 20;
    /// One server thread sends them all.
    pub(super) const ICMP_ERRORS: u32 = 100_000;
}

/// The checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where gRPC is served.
    pub socket: PathBuf,
    /// Users who may connect; `None` means the user the daemon runs as.
    pub allowed_uids: Option<Vec<u32>>,
    /// The core of each worker.
    pub workers: Vec<usize>,
    /// What a worker does when there is nothing to do.
    pub idle: Idle,
    /// Packets that a worker takes from a queue at once, at most.
    pub receive_burst: u16,
    /// What computes AES-GCM with its whole ICV: one that this CPU runs.
    pub kernel: Kernel,
    /// The ports.
    pub ports: Vec<Port>,
    /// Static routes; those to the ports' own subnets are not among them.
    pub routes: Vec<Route>,
    /// Static neighbours, which are never asked where they are.
    pub neighbors: Vec<Neighbor>,
    /// Slots of the SAD: how many pairs of SAs there may be.
    pub sad_slots: u32,
    /// Slots of the SPD: how many policies there may be.
    pub policy_slots: u32,
    /// The generation of the first SPI of each slot, 1 to 4095. `None`: random at each start, as it should be wherever packets of an earlier
    /// run may still be under way.
    pub first_generation: Option<u16>,
    /// ICMP errors that each worker may cause in a second; zero: none.
    pub icmp_errors_per_second: u32,
    /// Whether ICMP errors of routers say what the path to a peer lets pass.
    pub learn_path_mtu: bool,
    /// Whether TCP connections through an SA are kept from announcing segments that do not fit it.
    pub clamp_mss: bool,
}

/// What a worker does when there is nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Idle {
    /// Polls without pause: for cores of its own.
    Spin,
    /// Backs off to short sleeps: for shared cores.
    #[default]
    Adaptive,
}

/// Which side of the IPsec boundary a port is on (RFC 4301 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The hosts this gateway protects.
    Protected,
    /// The network in between.
    Unprotected,
}

/// One port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    /// DPDK's name of the device: `net_af_packet0`, `0000:00:03.0`.
    pub name: String,
    /// Its side.
    pub role: Role,
    /// The gateway's addresses on it.
    pub addresses: Vec<InterfaceAddress>,
    /// Octets behind the Ethernet header.
    pub mtu: u16,
}

/// An address with the subnet it lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    /// The gateway's own address.
    pub address: IpAddr,
    /// Bits of the subnet's prefix.
    pub prefix_len: u8,
}

/// A static route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to; no host bits are set.
    pub destination: IpAddr,
    /// Bits of the prefix.
    pub prefix_len: u8,
    /// The next hop, of the same address family: a neighbour on the port's subnets.
    pub via: IpAddr,
    /// The port it is behind.
    pub port: PortId,
}

/// A static neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address, on the port's subnets.
    pub address: IpAddr,
    /// Where it is.
    pub mac: MacAddress,
    /// The port it is behind.
    pub port: PortId,
}

/// A configuration that is refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}; name a readable file with --config", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file holds something that cannot be.
    #[error("{}:{line}: {field}: {problem}", file.display())]
    Invalid {
        /// The file.
        file: PathBuf,
        /// Counted from 1.
        line: usize,
        /// The field, such as `port[1].mtu`.
        field: String,
        /// What is wrong and what to write instead.
        problem: String,
    },
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`ConfigError`], for the first fault in the file.
    pub fn load(file: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(file).map_err(|source| ConfigError::Unreadable { file: file.to_owned(), source })?;
        Self::parse(file, &text)
    }

    /// Checks the text of a file; `file` is for messages only.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], for the first fault in the text.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let locate = |fault: Fault| ConfigError::Invalid {
            file: file.to_owned(),
            line: text.get(..fault.span.start).unwrap_or(text).matches('\n').count() + 1,
            field: fault.field,
            problem: fault.problem,
        };
        let raw: Raw = toml::from_str(text).map_err(|e| locate(Fault::from_toml(text, &e)))?;
        check(raw).map_err(locate)
    }
}

impl Port {
    /// Whether it carries IPv6: then it has a link-local address, too.
    pub fn has_ipv6(&self) -> bool {
        self.addresses.iter().any(|subnet| subnet.address.is_ipv6())
    }

    /// Whether an address is one of its neighbours': on one of its subnets, or link-local.
    fn reaches(&self, address: IpAddr) -> bool {
        is_link_local(address) && self.has_ipv6() || self.addresses.iter().any(|subnet| subnet.holds(address))
    }
}

impl InterfaceAddress {
    /// Whether `address` is in this subnet.
    pub fn holds(&self, address: IpAddr) -> bool {
        AddressRange::prefix(self.address, self.prefix_len).is_some_and(|range| range.contains(address))
    }

    /// Whether it is link-local: of use between neighbours alone (RFC 4291 section 2.5.6).
    pub fn is_link_local(&self) -> bool {
        is_link_local(self.address)
    }

    /// Whether it names the subnet itself, or everybody in it: network and broadcast address of IPv4, where there are such (RFC 3021), and the
    /// anycast address of IPv6's routers (RFC 4291 section 2.6.1, RFC 6164).
    pub fn is_nobodys(&self) -> bool {
        let Some(range) = AddressRange::prefix(self.address, self.prefix_len) else { return true };
        match self.address {
            IpAddr::V4(_) => self.prefix_len < 31 && [range.first(), range.last()].contains(&self.address),
            IpAddr::V6(_) => self.prefix_len < 127 && range.first() == self.address,
        }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

const fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

fn check(raw: Raw) -> Result<Config, Fault> {
    if !raw.socket.get_ref().is_absolute() {
        return Err(Fault::new(&raw.socket, "socket", "must be an absolute path, such as /run/culvert/data.sock"));
    }
    if let Some(uids) = raw.allowed_uids.as_ref().filter(|uids| uids.get_ref().is_empty()) {
        return Err(Fault::new(
            uids,
            "allowed_uids",
            "nobody could connect: name a user, or leave the field out for the daemon's own user",
        ));
    }
    if let Some(burst) = raw.receive_burst.as_ref().filter(|burst| !limits::BURST.contains(burst.get_ref())) {
        let problem = format!("must lie between {} and {}", limits::BURST.start(), limits::BURST.end());
        return Err(Fault::new(burst, "receive_burst", problem));
    }
    let ports = check_ports(&raw.port)?;
    let sad_slots = check_slots(raw.sad.slots.as_ref(), "sad.slots")?;
    let policy_slots = check_slots(raw.spd.slots.as_ref(), "spd.slots")?;
    if let Some(generation) = raw.sad.first_generation.as_ref().filter(|g| !(1..=MAX_GENERATION).contains(g.get_ref())) {
        let problem = format!("must lie between 1 and {MAX_GENERATION}; leave the field out for a random one");
        return Err(Fault::new(generation, "sad.first_generation", problem));
    }
    let icmp_errors = raw.icmp.errors_per_second;
    if let Some(rate) = icmp_errors.as_ref().filter(|rate| *rate.get_ref() > limits::ICMP_ERRORS) {
        let problem = format!("must lie between 0, for no ICMP errors, and {}", limits::ICMP_ERRORS);
        return Err(Fault::new(rate, "icmp.errors_per_second", problem));
    }
    Ok(Config {
        workers: check_workers(&raw.workers)?,
        routes: check_routes(&raw.route, &ports)?,
        neighbors: check_neighbors(&raw.neighbor, &ports)?,
        socket: raw.socket.into_inner(),
        allowed_uids: raw.allowed_uids.map(Spanned::into_inner),
        idle: raw.idle,
        receive_burst: raw.receive_burst.map_or(*limits::BURST.end(), Spanned::into_inner),
        kernel: check_kernel(raw.kernel.as_ref())?,
        ports,
        sad_slots,
        policy_slots,
        first_generation: raw.sad.first_generation.map(Spanned::into_inner),
        icmp_errors_per_second: icmp_errors.map_or(100, Spanned::into_inner),
        learn_path_mtu: raw.icmp.path_mtu.unwrap_or(true),
        clamp_mss: raw.tcp.clamp_mss.unwrap_or(true),
    })
}

/// "auto", or the name of a kernel that this CPU runs.
fn check_kernel(kernel: Option<&Spanned<String>>) -> Result<Kernel, Fault> {
    let Some(kernel) = kernel.filter(|kernel| kernel.get_ref() != "auto") else { return Ok(Kernel::best()) };
    let remedy = "write one of these, or \"auto\" for the fastest";
    let named: Kernel = kernel.get_ref().parse().map_err(|e| Fault::new(kernel, "kernel", format!("{e}: {remedy}")))?;
    named.checked().map_err(|e| Fault::new(kernel, "kernel", format!("{e}: {remedy}")))
}

fn check_slots(slots: Option<&Spanned<u32>>, field: &str) -> Result<u32, Fault> {
    let Some(slots) = slots else { return Ok(16_384) };
    if !(1..=limits::SLOTS).contains(slots.get_ref()) {
        return Err(Fault::new(slots, field, format!("must lie between 1 and {}", limits::SLOTS)));
    }
    Ok(*slots.get_ref())
}

fn check_workers(workers: &Spanned<Vec<Spanned<usize>>>) -> Result<Vec<usize>, Fault> {
    if workers.get_ref().is_empty() || workers.get_ref().len() > limits::WORKERS {
        return Err(Fault::new(workers, "workers", format!("name 1 to {} cores, such as [1, 2]", limits::WORKERS)));
    }
    let mut seen = HashSet::new();
    for (i, core) in workers.get_ref().iter().enumerate() {
        let field = format!("workers[{i}]");
        if *core.get_ref() > limits::CORE {
            return Err(Fault::new(core, field, format!("no core has a number past {}", limits::CORE)));
        }
        if !seen.insert(*core.get_ref()) {
            return Err(Fault::new(core, field, "this core has a worker already: name each core once"));
        }
    }
    Ok(workers.get_ref().iter().map(|core| *core.get_ref()).collect())
}

fn check_ports(raw: &Spanned<Vec<RawPort>>) -> Result<Vec<Port>, Fault> {
    if raw.get_ref().is_empty() || raw.get_ref().len() > limits::PORTS {
        return Err(Fault::new(raw, "port", format!("write 1 to {} tables [[port]]", limits::PORTS)));
    }
    let (mut names, mut addresses) = (HashSet::new(), HashSet::new());
    raw.get_ref().iter().enumerate().map(|(i, port)| check_port(i, port, &mut names, &mut addresses)).collect()
}

fn check_port(i: usize, raw: &RawPort, names: &mut HashSet<String>, seen: &mut HashSet<IpAddr>) -> Result<Port, Fault> {
    let name = raw.name.get_ref();
    if name.is_empty() || name.contains(',') {
        let problem = "must be the name of a device, without arguments: net_af_packet0, or 0000:00:03.0";
        return Err(Fault::new(&raw.name, format!("port[{i}].name"), problem));
    }
    if !names.insert(name.clone()) {
        return Err(Fault::new(&raw.name, format!("port[{i}].name"), "this device has a port already: name each once"));
    }
    let list = raw.addresses.get_ref();
    if raw.role == Role::Unprotected && list.is_empty() {
        let problem = "an unprotected port needs an address, where peers reach this gateway: addresses = [\"192.0.2.1/24\"]";
        return Err(Fault::new(&raw.name, format!("port[{i}].addresses"), problem));
    }
    if list.len() > limits::ADDRESSES {
        return Err(Fault::new(&raw.addresses, format!("port[{i}].addresses"), format!("at most {} addresses", limits::ADDRESSES)));
    }
    let mut addresses = Vec::new();
    for (j, text) in list.iter().enumerate() {
        let fault = |problem: String| Fault::new(text, format!("port[{i}].addresses[{j}]"), problem);
        let address = interface_address(text.get_ref()).map_err(fault)?;
        // Each link has link-local addresses of its own.
        let elsewhere = !address.is_link_local() && !seen.insert(address.address);
        if elsewhere || addresses.iter().any(|earlier: &InterfaceAddress| earlier.address == address.address) {
            return Err(fault(format!("{} stands on another port or twice: write each address once", address.address)));
        }
        addresses.push(address);
    }
    let mtu = raw.mtu.as_ref().map_or(1500, |mtu| *mtu.get_ref());
    if let Some(mtu) = raw.mtu.as_ref().filter(|mtu| !limits::MTU.contains(mtu.get_ref())) {
        let problem = format!("must lie between {} and {}", limits::MTU.start(), limits::MTU.end());
        return Err(Fault::new(mtu, format!("port[{i}].mtu"), problem));
    }
    let port = Port { name: name.clone(), role: raw.role, addresses, mtu };
    if let Some(mtu) = raw.mtu.as_ref().filter(|_| port.has_ipv6() && port.mtu < limits::IPV6_MTU) {
        let problem = format!("IPv6 needs {} at least: write a larger one, or leave the port's IPv6 addresses out", limits::IPV6_MTU);
        return Err(Fault::new(mtu, format!("port[{i}].mtu"), problem));
    }
    if port.role == Role::Unprotected && port.addresses.iter().all(InterfaceAddress::is_link_local) {
        let problem = "an unprotected port needs an address that is not link-local, where peers reach this gateway";
        return Err(Fault::new(&raw.addresses, format!("port[{i}].addresses"), problem));
    }
    Ok(port)
}

fn interface_address(text: &str) -> Result<InterfaceAddress, String> {
    let (address, prefix_len) = prefix(text)?;
    if !is_host(address) {
        return Err(format!("{address} cannot be an address of a port: write one of the port's subnet"));
    }
    if prefix_len == 0 {
        return Err("a subnet of all addresses leaves nothing to route: write the subnet's prefix, such as /24".to_owned());
    }
    let subnet = InterfaceAddress { address, prefix_len };
    if subnet.is_nobodys() {
        let name = if address.is_ipv4() { "network or broadcast" } else { "routers' anycast" };
        return Err(format!("{address} is the {name} address of its subnet: write a host's"));
    }
    if subnet.is_link_local() && prefix_len != LINK_LOCAL_PREFIX {
        return Err(format!("link-local addresses have prefixes of {LINK_LOCAL_PREFIX}: write {address}/{LINK_LOCAL_PREFIX}"));
    }
    Ok(subnet)
}

/// Bits of the prefix that all link-local addresses share with the others of their link (RFC 4291 section 2.5.6).
pub const LINK_LOCAL_PREFIX: u8 = 64;

/// Whether an address can be a host's.
fn is_host(address: IpAddr) -> bool {
    let odd = match address {
        IpAddr::V4(address) => address.is_broadcast(),
        IpAddr::V6(address) => address.to_ipv4_mapped().is_some(),
    };
    !(odd || address.is_unspecified() || address.is_multicast() || address.is_loopback())
}

fn prefix(text: &str) -> Result<(IpAddr, u8), String> {
    let bad = || format!("'{text}' is no address with prefix: write 192.0.2.1/24 or 2001:db8::1/64");
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    let (address, length) = (IpAddr::from_str(address).map_err(|_| bad())?, u8::from_str(length).map_err(|_| bad())?);
    let longest = if address.is_ipv4() { 32 } else { 128 };
    if length <= longest { Ok((address, length)) } else { Err(bad()) }
}

fn check_routes(raw: &[RawRoute], ports: &[Port]) -> Result<Vec<Route>, Fault> {
    if let Some(one) = raw.get(limits::ROUTES) {
        return Err(Fault::new(&one.prefix, "route", format!("at most {} routes", limits::ROUTES)));
    }
    let mut seen = HashSet::new();
    raw.iter().enumerate().map(|(i, route)| check_route(i, route, ports, &mut seen)).collect()
}

fn check_route(i: usize, raw: &RawRoute, ports: &[Port], seen: &mut HashSet<(IpAddr, u8)>) -> Result<Route, Fault> {
    let fault = |problem: String| Fault::new(&raw.prefix, format!("route[{i}].prefix"), problem);
    let (destination, prefix_len) = prefix(raw.prefix.get_ref()).map_err(fault)?;
    if let Some(range) = AddressRange::prefix(destination, prefix_len).filter(|range| range.first() != destination) {
        return Err(fault(format!("host bits are set: write {range}")));
    }
    if is_link_local(destination) || destination.is_multicast() {
        return Err(fault("neither link-local nor multicast packets are routed: leave it out".to_owned()));
    }
    if !seen.insert((destination, prefix_len)) {
        return Err(fault("this prefix has a route already: write each once".to_owned()));
    }
    let place = format!("route[{i}]");
    let (via, port) = neighbor_address(&place, "via", &raw.via, raw.port.as_ref(), ports)?;
    if via.is_ipv4() != destination.is_ipv4() {
        let problem = format!("{via} is of the other address family than {destination}/{prefix_len}: name a neighbour of the same");
        return Err(Fault::new(&raw.via, format!("{place}.via"), problem));
    }
    Ok(Route { destination, prefix_len, via, port })
}

/// An address that packets can be sent to, on a port's subnet and not the gateway's own; and that port. A link-local one says nothing of its
/// port, which must be named.
fn neighbor_address(
    place: &str,
    key: &str,
    text: &Spanned<String>,
    port: Option<&Spanned<String>>,
    ports: &[Port],
) -> Result<(IpAddr, PortId), Fault> {
    let fault = |problem: String| Fault::new(text, format!("{place}.{key}"), problem);
    let address = IpAddr::from_str(text.get_ref()).map_err(|_| fault(format!("'{}' is no IP address", text.get_ref())))?;
    let mut numbered = (0..=u8::MAX).map(PortId).zip(ports);
    let found = match port {
        Some(name) => {
            let named = numbered.find(|(_, port)| port.name == *name.get_ref());
            let unknown = || Fault::new(name, format!("{place}.port"), format!("no port is called '{}': write its name", name.get_ref()));
            let (id, port) = named.ok_or_else(unknown)?;
            Some((id, port)).filter(|_| port.reaches(address))
        }
        None if is_link_local(address) => {
            let example = ports.iter().find(|port| port.has_ipv6()).map_or("net_af_packet0", |port| port.name.as_str());
            return Err(fault(format!("{address} is link-local, and may be behind any port: add port = \"{example}\"")));
        }
        None => numbered.find(|(_, port)| port.reaches(address)),
    };
    let Some((id, _)) = found else {
        let which = if port.is_some() { "not on that port's subnets" } else { "on no port's subnet" };
        return Err(fault(format!("{address} is {which}: name a neighbour, or give a port an address there")));
    };
    if !is_host(address) {
        return Err(fault(format!("{address} is no host's address: name a neighbour")));
    }
    if ports.iter().flat_map(|port| &port.addresses).any(|subnet| subnet.address == address && !subnet.is_link_local()) {
        return Err(fault(format!("{address} is this gateway itself: name a neighbour")));
    }
    Ok((address, id))
}

fn check_neighbors(raw: &[RawNeighbor], ports: &[Port]) -> Result<Vec<Neighbor>, Fault> {
    if let Some(one) = raw.get(limits::NEIGHBORS) {
        return Err(Fault::new(&one.address, "neighbor", format!("at most {} static neighbours", limits::NEIGHBORS)));
    }
    let mut seen = HashSet::new();
    let check = |(i, raw): (usize, &RawNeighbor)| {
        let fault = |problem: String| Fault::new(&raw.address, format!("neighbor[{i}].address"), problem);
        let (address, port) = neighbor_address(&format!("neighbor[{i}]"), "address", &raw.address, raw.port.as_ref(), ports)?;
        if !seen.insert((address, port)) {
            return Err(fault("this neighbour stands here already: write each once".to_owned()));
        }
        let bad = || format!("'{}' is no MAC address of one host: write 02:00:00:00:00:01", raw.mac.get_ref());
        let mac = mac_address(raw.mac.get_ref()).ok_or_else(|| Fault::new(&raw.mac, format!("neighbor[{i}].mac"), bad()))?;
        Ok(Neighbor { address, mac, port })
    };
    raw.iter().enumerate().map(check).collect()
}

/// Six octets in hexadecimal with colons; not a group's.
fn mac_address(text: &str) -> Option<MacAddress> {
    let octets: Option<Vec<u8>> = text.split(':').map(|two| (two.len() == 2).then(|| u8::from_str_radix(two, 16).ok())?).collect();
    let mac = MacAddress(octets?.try_into().ok()?);
    (!mac.is_group()).then_some(mac)
}

#[cfg(test)]
mod tests;
