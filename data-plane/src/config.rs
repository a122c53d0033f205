//! The configuration file: TOML, checked whole before anything starts. Each error names file, line and field, and what to write instead.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ipsec_types::AddressRange;
use packet::ethernet::MacAddress;
use serde::Deserialize;
use toml::Spanned;

use crate::table::sad::MAX_GENERATION;

/// Limits of what can be configured.
mod limits {
    pub(super) const WORKERS: usize = 64;
    pub(super) const CORE: usize = 1023;
    pub(super) const PORTS: usize = 32;
    pub(super) const ADDRESSES: usize = 64;
    pub(super) const ROUTES: usize = 4096;
    pub(super) const NEIGHBORS: usize = 256;
    /// The smallest datagram every host takes (RFC 791), and the largest frame that is common.
    pub(super) const MTU: std::ops::RangeInclusive<u16> = 576..=9000;
    /// An SPI names a slot with 20 of its bits.
    pub(super) const SLOTS: u32 = 1 << 20;
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
    /// The ports.
    pub ports: Vec<Port>,
    /// Static routes; those to the ports' own subnets are not among them.
    pub routes: Vec<Route>,
    /// Static neighbours, which are never asked where they are.
    pub neighbors: Vec<Neighbor>,
    /// Slots of the SAD: how many pairs of SAs there may be.
    pub sad_slots: u32,
    /// The generation of the first SPI of each slot, 1 to 4095. `None`: random at each start, as it should be wherever packets of an earlier
    /// run may still be under way.
    pub first_generation: Option<u16>,
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
    pub address: Ipv4Addr,
    /// Bits of the subnet's prefix.
    pub prefix_len: u8,
}

/// A static route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Where to; no host bits are set.
    pub destination: Ipv4Addr,
    /// Bits of the prefix.
    pub prefix_len: u8,
    /// The next hop: a neighbour on one of the ports' subnets.
    pub via: Ipv4Addr,
}

/// A static neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbor {
    /// Its address, on one of the ports' subnets.
    pub address: Ipv4Addr,
    /// Where it is.
    pub mac: MacAddress,
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

impl InterfaceAddress {
    /// Whether `address` is in this subnet.
    pub fn holds(&self, address: Ipv4Addr) -> bool {
        (u32::from(self.address) ^ u32::from(address)) & mask(self.prefix_len) == 0
    }

    /// The subnet's broadcast address; `None` where it has none (RFC 3021).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        (self.prefix_len < 31).then(|| Ipv4Addr::from(u32::from(self.address) | !mask(self.prefix_len)))
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

fn mask(prefix_len: u8) -> u32 {
    !u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    socket: Spanned<PathBuf>,
    allowed_uids: Option<Spanned<Vec<u32>>>,
    workers: Spanned<Vec<Spanned<usize>>>,
    #[serde(default)]
    idle: Idle,
    port: Spanned<Vec<RawPort>>,
    #[serde(default)]
    route: Vec<RawRoute>,
    #[serde(default)]
    neighbor: Vec<RawNeighbor>,
    #[serde(default)]
    sad: RawSad,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPort {
    name: Spanned<String>,
    role: Role,
    #[serde(default = "no_addresses")]
    addresses: Spanned<Vec<Spanned<String>>>,
    mtu: Option<Spanned<u16>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    prefix: Spanned<String>,
    via: Spanned<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNeighbor {
    address: Spanned<String>,
    mac: Spanned<String>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct RawSad {
    slots: Option<Spanned<u32>>,
    first_generation: Option<Spanned<u16>>,
}

fn no_addresses() -> Spanned<Vec<Spanned<String>>> {
    Spanned::new(0..0, Vec::new())
}

/// A fault, before its place in the text has become a line.
struct Fault {
    span: Range<usize>,
    field: String,
    problem: String,
}

impl Fault {
    fn new<T>(at: &Spanned<T>, field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { span: at.span(), field: field.into(), problem: problem.into() }
    }

    /// What the parser refuses: the field is the key on its line.
    fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let field = line.split('=').next().unwrap_or_default().trim();
        let message = error.message().replace('\n', ", ");
        Self { span, field: if field.is_empty() { "file".to_owned() } else { field.to_owned() }, problem: message }
    }
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
    let ports = check_ports(&raw.port)?;
    let sad_slots = raw.sad.slots.as_ref().map_or(16_384, |slots| *slots.get_ref());
    if let Some(slots) = raw.sad.slots.as_ref().filter(|s| !(1..=limits::SLOTS).contains(s.get_ref())) {
        return Err(Fault::new(slots, "sad.slots", format!("must lie between 1 and {}", limits::SLOTS)));
    }
    if let Some(generation) = raw.sad.first_generation.as_ref().filter(|g| !(1..=MAX_GENERATION).contains(g.get_ref())) {
        let problem = format!("must lie between 1 and {MAX_GENERATION}; leave the field out for a random one");
        return Err(Fault::new(generation, "sad.first_generation", problem));
    }
    Ok(Config {
        workers: check_workers(&raw.workers)?,
        routes: check_routes(&raw.route, &ports)?,
        neighbors: check_neighbors(&raw.neighbor, &ports)?,
        socket: raw.socket.into_inner(),
        allowed_uids: raw.allowed_uids.map(Spanned::into_inner),
        idle: raw.idle,
        ports,
        sad_slots,
        first_generation: raw.sad.first_generation.map(Spanned::into_inner),
    })
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

fn check_port(i: usize, raw: &RawPort, names: &mut HashSet<String>, seen: &mut HashSet<Ipv4Addr>) -> Result<Port, Fault> {
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
        if !seen.insert(address.address) {
            return Err(fault(format!("{} stands on another port or twice: write each address once", address.address)));
        }
        addresses.push(address);
    }
    let mtu = raw.mtu.as_ref().map_or(1500, |mtu| *mtu.get_ref());
    if let Some(mtu) = raw.mtu.as_ref().filter(|mtu| !limits::MTU.contains(mtu.get_ref())) {
        let problem = format!("must lie between {} and {}", limits::MTU.start(), limits::MTU.end());
        return Err(Fault::new(mtu, format!("port[{i}].mtu"), problem));
    }
    Ok(Port { name: name.clone(), role: raw.role, addresses, mtu })
}

fn interface_address(text: &str) -> Result<InterfaceAddress, String> {
    let (address, prefix_len) = prefix(text)?;
    if address.is_unspecified() || address.is_multicast() || address.is_broadcast() || address.is_loopback() {
        return Err(format!("{address} cannot be an address of a port: write one of the port's subnet"));
    }
    if prefix_len == 0 {
        return Err("a subnet of all addresses leaves nothing to route: write the subnet's prefix, such as /24".to_owned());
    }
    let subnet = InterfaceAddress { address, prefix_len };
    let network = u32::from(address) & !mask(prefix_len) == 0 && prefix_len < 31;
    if network || subnet.broadcast() == Some(address) {
        return Err(format!("{address} is the network or broadcast address of its subnet: write a host's"));
    }
    Ok(subnet)
}

fn prefix(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let bad = || format!("'{text}' is no address with prefix: write 192.0.2.1/24");
    let (address, length) = text.split_once('/').ok_or_else(bad)?;
    let length = u8::from_str(length).map_err(|_| bad())?;
    match IpAddr::from_str(address).map_err(|_| bad())? {
        IpAddr::V4(address) if length <= 32 => Ok((address, length)),
        IpAddr::V4(_) => Err(bad()),
        IpAddr::V6(_) => Err(format!("'{text}' is IPv6, which is not supported yet: write an IPv4 address")),
    }
}

fn check_routes(raw: &[RawRoute], ports: &[Port]) -> Result<Vec<Route>, Fault> {
    if let Some(one) = raw.get(limits::ROUTES) {
        return Err(Fault::new(&one.prefix, "route", format!("at most {} routes", limits::ROUTES)));
    }
    let mut seen = HashSet::new();
    raw.iter().enumerate().map(|(i, route)| check_route(i, route, ports, &mut seen)).collect()
}

fn check_route(i: usize, raw: &RawRoute, ports: &[Port], seen: &mut HashSet<(Ipv4Addr, u8)>) -> Result<Route, Fault> {
    let fault = |problem: String| Fault::new(&raw.prefix, format!("route[{i}].prefix"), problem);
    let (destination, prefix_len) = prefix(raw.prefix.get_ref()).map_err(fault)?;
    if let Some(range) = AddressRange::prefix(destination.into(), prefix_len).filter(|range| range.first() != IpAddr::V4(destination)) {
        return Err(fault(format!("host bits are set: write {range}")));
    }
    if !seen.insert((destination, prefix_len)) {
        return Err(fault("this prefix has a route already: write each once".to_owned()));
    }
    let fault = |problem: String| Fault::new(&raw.via, format!("route[{i}].via"), problem);
    let via = neighbor_address(raw.via.get_ref(), ports).map_err(fault)?;
    Ok(Route { destination, prefix_len, via })
}

/// An address that packets can be sent to: on a port's subnet and not the gateway's own.
fn neighbor_address(text: &str, ports: &[Port]) -> Result<Ipv4Addr, String> {
    let address = Ipv4Addr::from_str(text).map_err(|_| format!("'{text}' is no IPv4 address"))?;
    let mut subnets = ports.iter().flat_map(|port| &port.addresses);
    if !subnets.clone().any(|subnet| subnet.holds(address)) {
        return Err(format!("{address} is on no port's subnet: name a neighbour, or give a port an address there"));
    }
    if subnets.any(|subnet| subnet.address == address) {
        return Err(format!("{address} is this gateway itself: name a neighbour"));
    }
    Ok(address)
}

fn check_neighbors(raw: &[RawNeighbor], ports: &[Port]) -> Result<Vec<Neighbor>, Fault> {
    if let Some(one) = raw.get(limits::NEIGHBORS) {
        return Err(Fault::new(&one.address, "neighbor", format!("at most {} static neighbours", limits::NEIGHBORS)));
    }
    let mut seen = HashSet::new();
    let check = |(i, raw): (usize, &RawNeighbor)| {
        let fault = |problem: String| Fault::new(&raw.address, format!("neighbor[{i}].address"), problem);
        let address = neighbor_address(raw.address.get_ref(), ports).map_err(fault)?;
        if !seen.insert(address) {
            return Err(fault("this neighbour stands here already: write each once".to_owned()));
        }
        let bad = || format!("'{}' is no MAC address of one host: write 02:00:00:00:00:01", raw.mac.get_ref());
        let mac = mac_address(raw.mac.get_ref()).ok_or_else(|| Fault::new(&raw.mac, format!("neighbor[{i}].mac"), bad()))?;
        Ok(Neighbor { address, mac })
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
mod tests {
    use super::*;

    const GOOD: &str = r#"socket = "/run/culvert/data.sock"
workers = [0, 1]
idle = "spin"

[[port]]
name = "net_af_packet0"
role = "protected"
addresses = ["10.1.0.1/24"]

[[port]]
name = "net_af_packet1"
role = "unprotected"
addresses = ["192.0.2.1/24"]
mtu = 1400

[[route]]
prefix = "0.0.0.0/0"
via = "192.0.2.254"

[[neighbor]]
address = "10.1.0.9"
mac = "02:00:00:00:00:0a"

[sad]
slots = 1024
first_generation = 4095
"#;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(Path::new("data.toml"), text)
    }

    #[test]
    fn a_good_file_is_read_whole() {
        let config = parse(GOOD).unwrap();
        assert_eq!((config.workers.as_slice(), config.idle, config.sad_slots), (&[0, 1][..], Idle::Spin, 1024));
        assert_eq!((config.ports[0].mtu, config.ports[1].mtu), (1500, 1400));
        assert_eq!(config.ports[1].role, Role::Unprotected);
        let default = Route { destination: Ipv4Addr::UNSPECIFIED, prefix_len: 0, via: "192.0.2.254".parse().unwrap() };
        assert_eq!(config.routes, [default]);
        assert_eq!(config.neighbors, [Neighbor { address: "10.1.0.9".parse().unwrap(), mac: MacAddress([2, 0, 0, 0, 0, 10]) }]);
        assert_eq!(config.first_generation, Some(4095));
    }

    #[test]
    fn the_example_is_valid() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("culvert-data.example.toml");
        let config = Config::load(&example).unwrap();
        assert_eq!(config.ports.len(), 2);
        assert_eq!(config.routes.len(), 1);
    }

    #[test]
    fn each_fault_is_named_with_line_and_remedy() {
        let cases = [
            ("\"/run/culvert/data.sock\"", "\"data.sock\"", "data.toml:1: socket: must be an absolute path"),
            ("[0, 1]", "[]", "data.toml:2: workers: name 1 to 64 cores"),
            ("[0, 1]", "[0, 0]", "data.toml:2: workers[1]: this core has a worker already"),
            ("[0, 1]", "[0, 4096]", "data.toml:2: workers[1]: no core"),
            ("\"spin\"", "\"fast\"", "data.toml:3: idle: unknown variant `fast`, expected `spin` or `adaptive`"),
            ("idle", "idel", "data.toml:3: idel: unknown field `idel`, expected one of"),
            ("net_af_packet0", "net_af_packet0,iface=v0", "data.toml:6: port[0].name: must be the name of a device, without arguments"),
            ("net_af_packet1", "net_af_packet0", "data.toml:11: port[1].name: this device has a port already"),
            ("\"protected\"", "\"inside\"", "data.toml:7: role: unknown variant `inside`"),
            ("10.1.0.1/24", "10.1.0.1", "data.toml:8: port[0].addresses[0]: '10.1.0.1' is no address with prefix: write 192.0.2.1/24"),
            ("10.1.0.1/24", "10.1.0.255/24", "data.toml:8: port[0].addresses[0]: 10.1.0.255 is the network or broadcast"),
            ("10.1.0.1/24", "fd00::1/64", "data.toml:8: port[0].addresses[0]: 'fd00::1/64' is IPv6"),
            ("192.0.2.1/24", "10.1.0.1/8", "data.toml:13: port[1].addresses[0]: 10.1.0.1 stands on another port"),
            ("addresses = [\"192.0.2.1/24\"]\n", "", "data.toml:11: port[1].addresses: an unprotected port needs an address"),
            ("1400", "575", "data.toml:14: port[1].mtu: must lie between 576 and 9000"),
            ("1400", "9001", "data.toml:14: port[1].mtu: must lie between 576 and 9000"),
            ("0.0.0.0/0", "10.9.9.9/8", "data.toml:17: route[0].prefix: host bits are set: write 10.0.0.0/8"),
            ("192.0.2.254", "198.51.100.1", "data.toml:18: route[0].via: 198.51.100.1 is on no port's subnet"),
            ("192.0.2.254", "192.0.2.1", "data.toml:18: route[0].via: 192.0.2.1 is this gateway itself"),
            ("1024", "0", "data.toml:25: sad.slots: must lie between 1 and 1048576"),
            ("1024", "\"many\"", "data.toml:25: slots: invalid type"),
            ("10.1.0.9", "10.2.0.9", "data.toml:21: neighbor[0].address: 10.2.0.9 is on no port's subnet"),
            ("10.1.0.9", "10.1.0.1", "data.toml:21: neighbor[0].address: 10.1.0.1 is this gateway itself"),
            ("02:00:00:00:00:0a", "03:00:00:00:00:0a", "data.toml:22: neighbor[0].mac: '03:00:00:00:00:0a' is no MAC address of one host"),
            ("02:00:00:00:00:0a", "2:00:00:00:00:0a", "data.toml:22: neighbor[0].mac:"),
            ("02:00:00:00:00:0a", "02:00:00:00:00", "data.toml:22: neighbor[0].mac:"),
            ("4095", "4096", "data.toml:26: sad.first_generation: must lie between 1 and 4095"),
            ("4095", "0", "data.toml:26: sad.first_generation: must lie between 1 and 4095"),
            ("[sad]", "[sad", "data.toml:24:"),
        ];
        for (good, bad, message) in cases {
            let text = GOOD.replacen(good, bad, 1);
            assert_ne!(text, GOOD, "{good}");
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}\nexpected {message}");
        }
    }

    #[test]
    fn the_limits_themselves_are_legal() {
        assert!(parse(&GOOD.replace("1400", "576")).is_ok());
        assert!(parse(&GOOD.replace("1400", "9000")).is_ok());
        assert!(parse(&GOOD.replace("1024", "1048576")).is_ok());
        assert!(parse(&GOOD.replace("10.1.0.1/24", "10.1.0.8/31")).is_ok());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = Config::load(Path::new("/nonexistent/data.toml")).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/data.toml: "), "{error}");
    }
}
