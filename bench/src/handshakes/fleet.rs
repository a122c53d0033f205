//! Initiators, as many as are wanted: the core of the control plane without a data plane, one endpoint for each IKE SA.

use std::collections::HashMap;
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

use ike::Endpoint;
use ike::config::{Child, Config, Connection, Psk};
use ike::io::{Command, Datagram, Dataplane, Event, Input, Output, RequestId};
use ike_crypto::SystemRandom;
use ipsec_types::{AddressRange, Instant, Secret, Spi, TrafficSelector};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::responder::Responder;
use crate::error::{Context, Failure};

/// Initiators of one responder.
pub(super) struct Fleet {
    /// Of port 500, and of 4500, to which IKE goes as soon as both sides know NAT traversal (RFC 7296 section 2.23).
    sockets: [UdpSocket; 2],
    local: IpAddr,
    /// What all of them are configured with, but for their selectors.
    config: Config,
    began: std::time::Instant,
    /// Those that have not finished, by their SPIs.
    under_way: HashMap<[u8; 8], Endpoint>,
    connected: u32,
    last_spi: u32,
}

const PORTS: [u16; 2] = [500, 4500];
/// Before an IKE message on port 4500 (RFC 3948 section 2.2).
const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// Handshakes at one time.
const WINDOW: usize = 32;
/// How long nothing may arrive before clocks are looked at, and how long at most.
const PATIENCE: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(60);
/// The address that the first initiator protects; each has the next one.
const FIRST: Ipv4Addr = Ipv4Addr::new(10, 64, 0, 1);

impl Fleet {
    pub(super) fn new(responder: &Responder) -> Result<Self, Failure> {
        let loaded = culvert_control::config::load(&responder.config)
            .map_err(|faults| Failure(faults.first().map_or_else(String::new, ToString::to_string)))?;
        let config = loaded.ike;
        let local = config.connections.first().and_then(|connection| connection.local_addrs.first()).copied().context("no address")?;
        let [plain, marked] = PORTS.map(|port| socket_in(&responder.netns, SocketAddr::new(local, port)));
        let sockets = [plain?, marked?];
        sockets.iter().try_for_each(|socket| socket.set_nonblocking(true)).context("socket")?;
        Ok(Self { sockets, local, config, began: std::time::Instant::now(), under_way: HashMap::new(), connected: 0, last_spi: 0x1000 })
    }

    /// How many there are.
    pub(super) const fn connected(&self) -> u32 {
        self.connected
    }

    /// Connects so many more, each with an IKE SA and a Child SA.
    pub(super) fn connect(&mut self, number: u32) -> Result<(), Failure> {
        let goal = self.connected + number;
        let mut begun = self.connected;
        let mut buffer = vec![0; 0xffff];
        let mut quiet = Duration::ZERO;
        while self.connected < goal {
            while begun < goal && self.under_way.len() < WINDOW {
                self.begin(begun)?;
                begun += 1;
            }
            if self.wait()? {
                quiet = Duration::ZERO;
                self.receive_all(&mut buffer)?;
            } else {
                quiet += PATIENCE;
                if quiet > LONGEST {
                    return Err(Failure(format!("the responder is silent, {} of {goal} are connected", self.connected)));
                }
                self.look_at_clocks()?;
            }
        }
        Ok(())
    }

    fn begin(&mut self, number: u32) -> Result<(), Failure> {
        let mut endpoint = Endpoint::new(ike_crypto::provider());
        let address = Ipv4Addr::from_bits(FIRST.to_bits() + number).into();
        let config = own_config(&self.config, address)?;
        let attached = Dataplane::Attached { boot: [1; 16], epoch: 1, child_sas: Vec::new(), local_addresses: vec![self.local] };
        let inputs = [
            Input::Command(Command::Configure(Box::new(config))),
            Input::Dataplane(attached),
            Input::Command(Command::Initiate { request: RequestId(1), child: "net".into() }),
        ];
        let mut spi = None;
        for input in inputs {
            spi = self.feed(&mut endpoint, input)?.spi.or(spi);
        }
        self.under_way.insert(spi.context("an initiator has not begun")?, endpoint);
        Ok(())
    }

    /// Whether something has arrived, by and by.
    fn wait(&self) -> Result<bool, Failure> {
        let mut arrivals = [0, 1].map(|n| PollFd::new(&self.sockets[n], PollFlags::IN));
        let patience = Timespec::try_from(PATIENCE).context("poll")?;
        Ok(poll(&mut arrivals, Some(&patience)).context("poll")? > 0)
    }

    fn receive_all(&mut self, buffer: &mut [u8]) -> Result<(), Failure> {
        for (n, port) in PORTS.into_iter().enumerate() {
            loop {
                let (length, remote) = match self.sockets[n].recv_from(buffer) {
                    Ok(received) => received,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error).context("socket"),
                };
                let octets = buffer.get(..length).unwrap_or_default();
                let message = if port == PORTS[0] { Some(octets) } else { octets.strip_prefix(&NON_ESP_MARKER) };
                if let Some(message) = message {
                    self.receive(SocketAddr::new(self.local, port), remote, message)?;
                }
            }
        }
        Ok(())
    }

    fn send(&self, datagram: &Datagram) -> Result<(), Failure> {
        let sent = match datagram.local.port() == PORTS[0] {
            true => self.sockets[0].send_to(&datagram.payload, datagram.remote),
            false => self.sockets[1].send_to(&[&NON_ESP_MARKER, datagram.payload.as_slice()].concat(), datagram.remote),
        };
        sent.map(drop).context("socket")
    }

    fn receive(&mut self, local: SocketAddr, remote: SocketAddr, octets: &[u8]) -> Result<(), Failure> {
        let Some(spi) = octets.first_chunk::<8>().copied() else { return Ok(()) };
        // One that has finished has nothing to say to what comes again.
        let Some(mut endpoint) = self.under_way.remove(&spi) else { return Ok(()) };
        let datagram = Datagram { local, remote, payload: octets.to_vec() };
        if self.feed(&mut endpoint, Input::Datagram(datagram))?.installed {
            self.connected += 1;
        } else {
            self.under_way.insert(spi, endpoint);
        }
        Ok(())
    }

    fn look_at_clocks(&mut self) -> Result<(), Failure> {
        let now = self.now();
        let due: Vec<_> = self.under_way.extract_if(|_, endpoint| endpoint.next_timeout().is_some_and(|at| at <= now)).collect();
        for (spi, mut endpoint) in due {
            self.feed(&mut endpoint, Input::Timeout)?;
            self.under_way.insert(spi, endpoint);
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Hands something to an initiator and does what it wants.
    fn feed(&mut self, endpoint: &mut Endpoint, input: Input) -> Result<Fed, Failure> {
        let provider = ike_crypto::provider();
        let mut fed = Fed::default();
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            endpoint.handle(self.now(), input, &mut SystemRandom);
            while let Some(output) = endpoint.poll_output() {
                match output {
                    Output::Transmit(datagram) => {
                        fed.spi = datagram.payload.first_chunk::<8>().copied();
                        self.send(&datagram)?;
                    }
                    Output::LeaseSpis(count) => {
                        let first = self.last_spi;
                        self.last_spi += count;
                        inputs.push(Input::SpisLeased((first..self.last_spi).filter_map(|spi| Spi::new(spi).ok()).collect()));
                    }
                    Output::Install(sa) => inputs.push(Input::Installed { child: sa.id, result: Ok(()) }),
                    Output::Job { id, job } => inputs.push(Input::JobDone { id, result: job.run(&provider) }),
                    Output::Event(Event::ChildSaInstalled { .. }) => fed.installed = true,
                    Output::Event(Event::NegotiationFailed { failure, .. }) => {
                        return Err(Failure(format!("a handshake failed: {failure}")));
                    }
                    _ => {}
                }
            }
        }
        Ok(fed)
    }
}

/// What became of an input.
#[derive(Debug, Default)]
struct Fed {
    /// The initiator's SPI, where it sent something.
    spi: Option<[u8; 8]>,
    /// It has its Child SA.
    installed: bool,
}

/// A socket of another network namespace, by a thread that goes there: a process stays where it is.
fn socket_in(netns: &std::path::Path, address: SocketAddr) -> Result<UdpSocket, Failure> {
    let file = File::open(netns).context(netns.display())?;
    let open = || {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).context(netns.display())?;
        UdpSocket::bind(address).context(address)
    };
    thread::scope(|scope| scope.spawn(open).join()).map_err(|_| Failure("the thread for a socket ended".to_owned()))?
}

/// The configuration of the initiator that protects `address`.
fn own_config(all: &Config, address: IpAddr) -> Result<Config, Failure> {
    let connection = all.connections.first().context("no connection")?;
    let child = connection.children.first().context("no child")?;
    let child = Child {
        name: child.name.clone(),
        proposals: child.proposals.clone(),
        local_selectors: vec![TrafficSelector::addresses_only(AddressRange::single(address))],
        remote_selectors: child.remote_selectors.clone(),
        ..*child
    };
    let connection = Connection {
        name: connection.name.clone(),
        local_addrs: connection.local_addrs.clone(),
        remote_addrs: connection.remote_addrs.clone(),
        proposals: connection.proposals.clone(),
        local_identity: connection.local_identity.clone(),
        remote_identity: connection.remote_identity.clone(),
        local_auth: connection.local_auth.clone(),
        remote_auth: connection.remote_auth.clone(),
        local_more: connection.local_more.clone(),
        remote_more: connection.remote_more.clone(),
        ppk: None,
        pools: Vec::new(),
        virtual_addresses: Vec::new(),
        children: vec![child],
        ..*connection
    };
    let psks = all.psks.iter().map(|psk| Psk { owners: psk.owners.clone(), secret: Secret::copy_from(psk.secret.expose()) }).collect();
    Ok(Config { connections: vec![connection], psks, ..Config::default() })
}
