//! Two endpoints on a virtual clock, with a network between them that loses, repeats and reorders, and a fake data plane behind each.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "test support of which every binary uses its own part")]

pub mod clear;
pub mod signing;
pub mod table;
mod trouble;
pub mod users;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ike::Endpoint;
use ike::config::{Child, ChildLifetime, Config, Connection, IkeLifetime, Psk, Retransmission, StartAction};
use ike::error::Failure;
use ike::io::{
    Answer, Command, Datagram, Dataplane, Event, IkeSaKeys, IkeSaStatus, IkeV1Key, Input, InstalledChildSa, Job, JobId, Output, Record,
    RequestId, SaState, Target, Trace,
};
use ike::provider::{Provider, Random};
use ipsec_types::{
    Activation, AhProposal, ChildProposal, ChildSa, ChildSaId, DontFragment, DscpSet, EspProposal, Flow, Instant, Mode, Policy, PolicyId,
    Secret, Spi, Tfc,
};

/// Which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    A,
    B,
}

use Side::{A, B};

impl Side {
    pub const fn other(self) -> Self {
        match self {
            A => B,
            B => A,
        }
    }

    pub fn address(self) -> IpAddr {
        match self {
            A => "192.0.2.1".parse().unwrap(),
            B => "192.0.2.2".parse().unwrap(),
        }
    }
}

/// Reproducible numbers (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

impl Random for Numbers {
    fn fill(&mut self, octets: &mut [u8]) {
        for chunk in octets.chunks_mut(8) {
            let number = self.next().to_be_bytes();
            chunk.copy_from_slice(&number[..chunk.len()]);
        }
    }
}

/// What the network does to datagrams.
#[derive(Debug, Clone, Copy)]
pub struct Network {
    pub loss_percent: u64,
    pub duplication_percent: u64,
    /// Each datagram takes between these times, so that later ones may come first.
    pub delay: (Duration, Duration),
}

impl Network {
    pub const GOOD: Self = Self { loss_percent: 0, duplication_percent: 0, delay: (Duration::from_millis(10), Duration::from_millis(10)) };
    pub const BAD: Self =
        Self { loss_percent: 25, duplication_percent: 25, delay: (Duration::from_millis(1), Duration::from_millis(3000)) };
}

/// A data plane that believes everything, but looks at what it is told.
#[derive(Default)]
pub struct FakeDataPlane {
    pub installed: BTreeMap<ChildSaId, ChildSa>,
    pub retired: Vec<ChildSaId>,
    pub activated: Vec<ChildSaId>,
    /// How long the inbound half of what was retired may still receive.
    pub lingers: BTreeMap<ChildSaId, Duration>,
    /// When outbound halves begin to carry packets.
    active_from: BTreeMap<ChildSaId, Instant>,
    /// Until when retired inbound halves linger.
    lingering: BTreeMap<Spi, Instant>,
    pub policies: Vec<Policy>,
    pub claims: Vec<Vec<ChildSaId>>,
    pub refused: Vec<(u64, Duration)>,
    pub retargets: Vec<(ChildSaId, SocketAddr)>,
    /// Answers to Installs, if not yes.
    pub refuses: Option<String>,
    /// Installs are not answered.
    pub silent: bool,
    /// SPIs are not leased.
    pub stingy: bool,
    /// SPIs that no SA has taken yet; an attachment makes those of the one before void.
    pub leased: BTreeSet<Spi>,
    last_spi: u32,
}

impl FakeDataPlane {
    /// What it shows of its SAs.
    pub fn listed(&self) -> Vec<InstalledChildSa> {
        let shown = |sa: &ChildSa| InstalledChildSa {
            id: sa.id,
            policy: sa.policy,
            remote: sa.remote,
            local_selectors: sa.local_selectors.clone(),
            remote_selectors: sa.remote_selectors.clone(),
            retiring: false,
        };
        self.installed.values().map(shown).collect()
    }
}

pub struct Gateway {
    pub endpoint: Endpoint,
    pub random: Numbers,
    pub data_plane: FakeDataPlane,
    pub events: Vec<Event>,
    pub traces: Vec<Trace>,
    pub keys: Vec<IkeSaKeys>,
    pub v1_keys: Vec<IkeV1Key>,
}

/// A datagram that was sent, whatever became of it.
#[derive(Debug, Clone)]
pub struct Sent {
    pub at: Instant,
    pub from: Side,
    pub datagram: Datagram,
}

pub struct Pair {
    pub now: Instant,
    pub network: Network,
    pub numbers: Numbers,
    pub gateways: [Gateway; 2],
    pub sent: Vec<Sent>,
    /// NAT-keepalives: when, who, from where and to where.
    pub keep_alives: Vec<(Instant, Side, SocketAddr, SocketAddr)>,
    /// (arrival, order) -> who gets what.
    wire: BTreeMap<(Instant, u64), (Side, Datagram)>,
    order: u64,
    /// Nothing arrives at this side.
    pub deaf: Option<Side>,
    /// Jobs of this side are not done, or later.
    pub idle: Option<Side>,
    /// Those.
    jobs: Vec<(JobId, Job)>,
    /// The address a NAT gives to A's datagrams; a multiple of 10000 as its port.
    pub nat: Option<SocketAddr>,
    /// Somebody on the path who changes what he sees.
    pub tamper: Option<Tamper>,
    /// Does the jobs.
    pub provider: Provider,
    requests: u64,
}

pub type Tamper = Box<dyn Fn(Side, &mut Vec<u8>)>;

/// Site-to-site with a shared key.
pub fn config(side: Side) -> Config {
    let name = |side| match side {
        A => "a.lab.test",
        B => "b.lab.test",
    };
    let net = |side| match side {
        A => "10.1.0.0/16",
        B => "10.2.0.0/16",
    };
    let child = Child {
        name: "net".into(),
        policy: PolicyId(1),
        priority: 100,
        proposals: vec![esp("aes128gcm16")],
        local_selectors: vec![net(side).parse().unwrap()],
        remote_selectors: vec![net(side.other()).parse().unwrap()],
        start_action: StartAction::Trap,
        dpd_action: ike::config::DpdAction::Clear,
        close_action: StartAction::None,
        mode: Mode::Tunnel,
        local_dynamic: false,
        remote_dynamic: false,
        dont_fragment: DontFragment::Copy,
        copy_dscp: true,
        tfc: Tfc::default(),
        dscp: DscpSet::ALL,
        replay_window: 1024,
        lifetime: ChildLifetime::default(),
    };
    let connection = Connection {
        name: "lab".into(),
        version: ike::config::Version::V2,
        local_addrs: vec![side.address()],
        remote_addrs: vec![side.other().address()],
        proposals: vec!["aes128gcm16-prfsha256-x25519".parse().unwrap()],
        local_identity: name(side).parse().unwrap(),
        remote_identity: Some(name(side.other()).parse().unwrap()),
        local_auth: ike::config::LocalAuth::Psk,
        remote_auth: ike::config::RemoteAuth::Psk,
        local_more: vec![],
        remote_more: vec![],
        ppk: None,
        children: vec![child],
        unique: ike::config::Unique::default(),
        dpd_delay: None,
        keep_alive: Some(Duration::from_secs(20)),
        retransmission: Retransmission { timeout: Duration::from_secs(4), base_percent: 180, tries: 5 },
        lifetime: IkeLifetime::default(),
        reauthentication: None,
        force_encapsulation: false,
        pools: vec![],
        virtual_addresses: vec![],
        pull: true,
        fragmentation: ike::config::Fragmentation::default(),
        mobike: false,
        childless: ike::config::Childless::default(),
        aggressive: false,
        follow_redirects: false,
    };
    let psk = Psk { owners: vec![], secret: Secret::copy_from(b"correct horse battery staple") };
    Config {
        connections: vec![connection],
        psks: vec![psk],
        ppks: vec![],
        policies: vec![],
        entries: ike::config::Entries::default(),
        cookie_threshold: 100,
        block_threshold: 100,
        key_log: false,
        crash_secret: None,
    }
}

/// A proposal for ESP.
pub fn esp(text: &str) -> ChildProposal {
    text.parse::<EspProposal>().unwrap().into()
}

/// A proposal for AH.
pub fn ah(text: &str) -> ChildProposal {
    text.parse::<AhProposal>().unwrap().into()
}

/// Another child between the same gateways.
pub fn second_child(side: Side, name: &str) -> Child {
    let net = |side| match side {
        A => "10.11.0.0/16".parse().unwrap(),
        B => "10.12.0.0/16".parse().unwrap(),
    };
    let child = config(side).connections.remove(0).children.remove(0);
    let (local_selectors, remote_selectors) = (vec![net(side)], vec![net(side.other())]);
    Child { name: name.into(), policy: PolicyId(2), local_selectors, remote_selectors, ..child }
}

pub const FLOW: Flow = Flow {
    source: IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 0, 1)),
    destination: IpAddr::V4(std::net::Ipv4Addr::new(10, 2, 0, 1)),
    protocol: 1,
    source_port: Some(0x0800),
    destination_port: Some(0x0800),
};

/// The answer to it.
pub fn reversed() -> Flow {
    Flow { source: FLOW.destination, destination: FLOW.source, ..FLOW }
}

impl Pair {
    /// Both attached and configured, on a good network.
    pub fn new(seed: u64, a: Config, b: Config) -> Self {
        Self::on(Network::GOOD, seed, a, b)
    }

    /// Both attached and configured.
    pub fn on(network: Network, seed: u64, a: Config, b: Config) -> Self {
        Self::with(ike_crypto::provider(), network, seed, a, b)
    }

    /// Both attached and configured, with other cryptography than the usual.
    pub fn with(provider: Provider, network: Network, seed: u64, a: Config, b: Config) -> Self {
        let gateway = |seed| Gateway {
            endpoint: Endpoint::new(provider),
            random: Numbers(seed),
            data_plane: FakeDataPlane::default(),
            events: vec![],
            traces: vec![],
            keys: vec![],
            v1_keys: vec![],
        };
        let mut pair = Self {
            now: Instant::from_nanos(1_000_000_000),
            network,
            numbers: Numbers(seed),
            gateways: [gateway(seed ^ 0xa), gateway(seed ^ 0xb)],
            sent: vec![],
            keep_alives: vec![],
            wire: BTreeMap::new(),
            order: 0,
            deaf: None,
            idle: None,
            jobs: vec![],
            nat: None,
            tamper: None,
            provider,
            requests: 0,
        };
        for (side, config) in [(A, a), (B, b)] {
            pair.attach(side, [1; 16], 1);
            pair.input(side, Input::Command(Command::Configure(Box::new(config))));
        }
        pair
    }

    pub fn default(seed: u64) -> Self {
        Self::new(seed, config(A), config(B))
    }

    /// One IKE SA with one Child SA, which A has begun; `change` makes the configurations what they are not by default. What was said on the
    /// way there is not among what was sent and traced.
    pub fn connected(seed: u64, change: impl Fn(Side, &mut Config)) -> Self {
        let [a, b] = [A, B].map(|side| {
            let mut config = config(side);
            change(side, &mut config);
            config
        });
        let mut pair = Self::new(seed, a, b);
        pair.connect();
        pair.sent.clear();
        pair.gateways.iter_mut().for_each(|gateway| gateway.traces.clear());
        pair
    }

    /// A packet of A brings up an IKE SA and a Child SA.
    pub fn connect(&mut self) {
        self.acquire(A, 1);
        self.run(Duration::from_secs(1));
        assert_eq!(self.assert_mirrored(), 1);
    }

    /// Does what the idle side has not done.
    pub fn make_up(&mut self) {
        let Some(side) = self.idle.take() else { return };
        for (id, job) in core::mem::take(&mut self.jobs) {
            let result = job.run(&self.provider);
            self.input(side, Input::JobDone { id, result });
        }
    }

    pub fn gateway(&mut self, side: Side) -> &mut Gateway {
        &mut self.gateways[side as usize]
    }

    pub fn attach(&mut self, side: Side, boot: [u8; 16], epoch: u64) {
        let child_sas = self.gateway(side).data_plane.listed();
        let local_addresses = vec![side.address()];
        self.gateway(side).data_plane.leased.clear();
        self.input(side, Input::Dataplane(Dataplane::Attached { boot, epoch, child_sas, local_addresses }));
    }

    pub fn input(&mut self, side: Side, input: Input) {
        let now = self.now;
        let gateway = self.gateway(side);
        if let Input::SpisLeased(spis) = &input {
            gateway.data_plane.leased.extend(spis);
        }
        gateway.endpoint.handle(now, input, &mut gateway.random);
        self.drain(side);
    }

    fn drain(&mut self, side: Side) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(output) = self.gateway(side).endpoint.poll_output() {
                answers.extend(self.output(side, output));
            }
            let Some(answer) = answers.pop_front() else { break };
            let now = self.now;
            let gateway = self.gateway(side);
            gateway.endpoint.handle(now, answer, &mut gateway.random);
        }
    }

    fn output(&mut self, side: Side, output: Output) -> Option<Input> {
        let gateway = &mut self.gateways[side as usize];
        let now = self.now;
        let data_plane = &mut gateway.data_plane;
        match output {
            Output::Transmit(datagram) => self.transmit(side, datagram),
            Output::KeepAlive { local, remote } => self.keep_alives.push((now, side, local, remote)),
            Output::LeaseSpis(count) if !data_plane.stingy => {
                let first = data_plane.last_spi + 1;
                data_plane.last_spi += count;
                let base = if side == A { 0xa000_0000 } else { 0xb000_0000 };
                let spis: Vec<Spi> = (first..first + count).map(|n| Spi::new(base + n).unwrap()).collect();
                data_plane.leased.extend(&spis);
                return Some(Input::SpisLeased(spis));
            }
            Output::LeaseSpis(_) => {}
            Output::Install(sa) => {
                let child = sa.id;
                assert!(!data_plane.installed.contains_key(&child) && !data_plane.retired.contains(&child), "{child} is used twice");
                assert!(data_plane.leased.remove(&sa.inbound_spi), "{} is not leased", sa.inbound_spi);
                if data_plane.silent {
                    return None;
                }
                let result = data_plane.refuses.clone().map_or(Ok(()), Err);
                if result.is_ok() {
                    let wait = match sa.activation {
                        Activation::Immediate => Duration::ZERO,
                        Activation::Parked { fallback } => fallback.unwrap_or(Duration::MAX / 4),
                    };
                    data_plane.active_from.insert(child, now + wait);
                    data_plane.installed.insert(child, *sa);
                }
                return Some(Input::Installed { child, result });
            }
            Output::Activate(child) => {
                assert!(data_plane.installed.contains_key(&child), "{child} is activated but not installed");
                data_plane.activated.push(child);
                data_plane.active_from.insert(child, now);
            }
            Output::Retarget { child, remote, .. } => data_plane.retargets.push((child, remote)),
            Output::Retire { child, linger } => {
                assert!(!data_plane.retired.contains(&child), "{child} is retired twice");
                data_plane.lingers.insert(child, linger);
                if let Some(sa) = data_plane.installed.remove(&child) {
                    data_plane.lingering.insert(sa.inbound_spi, now + linger);
                }
                data_plane.retired.push(child);
            }
            Output::SetPolicies(policies) => data_plane.policies = policies,
            Output::Claim(claim) => data_plane.claims.push(claim),
            Output::RefuseAcquire { id, retry_after } => data_plane.refused.push((id, retry_after)),
            Output::Job { id, job } if self.idle == Some(side) => self.jobs.push((id, job)),
            Output::Job { id, job } => return Some(Input::JobDone { id, result: job.run(&self.provider) }),
            Output::IkeKeys(keys) => gateway.keys.push(*keys),
            Output::IkeV1Key(key) => gateway.v1_keys.push(*key),
            Output::Event(event) => gateway.events.push(event),
            Output::Trace(trace) => gateway.traces.push(trace.describe()),
        }
        None
    }

    fn transmit(&mut self, from: Side, datagram: Datagram) {
        self.sent.push(Sent { at: self.now, from, datagram: datagram.clone() });
        let copies = 1 + u64::from(self.numbers.percent(self.network.duplication_percent));
        for _ in 0..copies {
            if !self.numbers.percent(self.network.loss_percent) {
                self.carry(from, datagram.clone());
            }
        }
    }

    /// Puts a datagram onto the wire, swapped as its receiver sees it.
    pub fn carry(&mut self, from: Side, datagram: Datagram) {
        let (shortest, longest) = self.network.delay;
        let spread = u64::try_from((longest - shortest).as_nanos()).unwrap() + 1;
        let delay = shortest + Duration::from_nanos(self.numbers.below(spread));
        let (mut source, mut destination) = (datagram.local, datagram.remote);
        // A stands behind the NAT, which adds its own port number to those of A.
        match (self.nat, from) {
            (Some(outside), A) => source = SocketAddr::new(outside.ip(), outside.port() + source.port()),
            (Some(_), B) => destination = SocketAddr::new(A.address(), destination.port() % 10_000),
            (None, _) => {}
        }
        let mut payload = datagram.payload;
        if let Some(tamper) = &self.tamper {
            tamper(from, &mut payload);
        }
        self.order += 1;
        let received = Datagram { local: destination, remote: source, payload };
        self.wire.insert((self.now + delay, self.order), (from.other(), received));
    }

    /// The next thing that happens; false if nothing ever will.
    pub fn step(&mut self) -> bool {
        let arrival = self.wire.first_key_value().map(|(key, _)| key.0);
        let timeouts = [A, B].map(|side| self.gateway(side).endpoint.next_timeout());
        let Some(next) = [arrival, timeouts[0], timeouts[1]].into_iter().flatten().min() else { return false };
        self.now = self.now.max(next);
        if arrival == Some(next) {
            let (_, (side, datagram)) = self.wire.pop_first().unwrap();
            if self.deaf != Some(side) {
                self.input(side, Input::Datagram(datagram));
            }
            return true;
        }
        for (side, timeout) in [A, B].into_iter().zip(timeouts) {
            if timeout == Some(next) {
                self.input(side, Input::Timeout);
                let again = self.gateway(side).endpoint.next_timeout();
                assert!(again.is_none_or(|again| again > self.now), "a timeout must not be due again at once: {again:?}");
            }
        }
        true
    }

    /// Lets `time` pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        loop {
            let arrival = self.wire.first_key_value().map(|(key, _)| key.0);
            let timeouts = [A, B].map(|side| self.gateway(side).endpoint.next_timeout());
            let next = [arrival, timeouts[0], timeouts[1]].into_iter().flatten().min();
            if next.is_none_or(|next| next > end) {
                break;
            }
            self.step();
            steps += 1;
            assert!(steps < 100_000, "the endpoints do not come to rest");
        }
        self.now = end;
    }

    /// Sends a packet through the data planes: whether it arrives, which it does not without an SA at both ends.
    pub fn ping(&mut self, from: Side) -> bool {
        let now = self.now;
        let sender = &self.gateway(from).data_plane;
        // The newest that carries packets.
        let carries = |sa: &&ChildSa| sender.active_from.get(&sa.id).is_some_and(|from| *from <= now);
        let Some(spi) = sender.installed.values().rev().find(carries).map(|sa| sa.outbound_spi) else { return false };
        let receiver = &mut self.gateway(from.other()).data_plane;
        if let Some(sa) = receiver.installed.values().find(|sa| sa.inbound_spi == spi) {
            let active = receiver.active_from.entry(sa.id).or_insert(now);
            *active = now.min(*active);
            return true;
        }
        receiver.lingering.get(&spi).is_some_and(|until| *until > now)
    }

    /// Lets `time` pass with a packet each way every 10 ms; gives back how many of them did not arrive.
    pub fn run_under_load(&mut self, time: Duration) -> usize {
        let end = self.now + time;
        let mut lost = 0;
        while self.now < end {
            lost += [A, B].iter().filter(|side| !self.ping(**side)).count();
            self.run(Duration::from_millis(10));
        }
        lost
    }

    /// The control plane of a side is killed: its IKE SAs are gone, its data plane goes on.
    pub fn kill_control(&mut self, side: Side) {
        let provider = self.provider;
        let gateway = self.gateway(side);
        gateway.endpoint = Endpoint::new(provider);
        gateway.events.clear();
    }

    /// It is started again.
    pub fn start_control(&mut self, side: Side, config: Config, epoch: u64) {
        self.input(side, Input::Command(Command::Configure(Box::new(config))));
        self.attach(side, [1; 16], epoch);
    }

    /// The data plane of a side is killed, and started again.
    pub fn restart_data_plane(&mut self, side: Side, boot: u8) {
        self.input(side, Input::Dataplane(Dataplane::Detached));
        self.gateway(side).data_plane.installed.clear();
        self.gateway(side).data_plane.lingering.clear();
        self.attach(side, [boot; 16], 1);
    }

    pub fn acquire(&mut self, side: Side, id: u64) {
        self.input(side, Input::Dataplane(Dataplane::Acquire { id, policy: PolicyId(1), flow: FLOW }));
    }

    pub fn initiate(&mut self, side: Side) -> RequestId {
        self.initiate_child(side, "net")
    }

    pub fn initiate_child(&mut self, side: Side, child: &str) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(side, Input::Command(Command::Initiate { request, child: child.into() }));
        request
    }

    pub fn rekey(&mut self, side: Side, target: Target) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(side, Input::Command(Command::Rekey { request, target }));
        request
    }

    /// The data plane reports that the only Child SA has reached a soft limit.
    pub fn soft_expire(&mut self, side: Side) {
        let child = self.only_child(side);
        self.input(side, Input::Dataplane(Dataplane::SoftExpire(child)));
    }

    /// The only Child SA that is installed.
    pub fn only_child(&mut self, side: Side) -> ChildSaId {
        let installed: Vec<_> = self.gateway(side).data_plane.installed.keys().copied().collect();
        let [child] = installed[..] else { panic!("{} Child SAs", installed.len()) };
        child
    }

    pub fn terminate(&mut self, side: Side, target: Target) -> RequestId {
        self.requests += 1;
        let request = RequestId(self.requests);
        self.input(side, Input::Command(Command::Terminate { request, target }));
        request
    }

    /// The IKE_AUTH messages that a side has traced, SK included.
    pub fn ike_auth(&self, side: Side) -> Vec<String> {
        let said = self.gateways[side as usize].traces.iter().filter_map(|trace| match &trace.record {
            Record::Message { title, payloads, .. } => {
                Some(format!("{title}: {}", payloads.iter().map(|payload| payload.name.clone()).collect::<Vec<_>>().join(" ")))
            }
            Record::Step { .. } => None,
        });
        said.filter(|line| line.starts_with("IKE_AUTH")).collect()
    }

    /// Why the first negotiation that failed did.
    pub fn failure(&self, side: Side) -> Failure {
        let failed = |event: &Event| if let Event::NegotiationFailed { failure, .. } = event { Some(failure.clone()) } else { None };
        self.gateways[side as usize].events.iter().find_map(failed).expect("nothing has failed")
    }

    /// Why negotiations failed.
    pub fn failures(&mut self, side: Side) -> Vec<Failure> {
        let failed = |event: &Event| if let Event::NegotiationFailed { failure, .. } = event { Some(failure.clone()) } else { None };
        self.gateway(side).events.iter().filter_map(failed).collect()
    }

    /// What an operator was told.
    pub fn answer(&mut self, side: Side, request: RequestId) -> Option<Result<Answer, Failure>> {
        self.gateway(side).events.iter().find_map(|event| match event {
            Event::Answer { request: answered, result } if *answered == request => Some(result.clone()),
            _ => None,
        })
    }

    pub fn ike_sas(&mut self, side: Side) -> Vec<IkeSaStatus> {
        let now = self.now;
        self.gateway(side).endpoint.ike_sas(now)
    }

    pub fn established(&mut self, side: Side) -> usize {
        self.ike_sas(side).iter().filter(|sa| sa.state == SaState::Established).count()
    }

    pub fn installed(&mut self, side: Side) -> usize {
        self.gateway(side).data_plane.installed.len()
    }

    pub fn stat(&mut self, side: Side, name: &str) -> u64 {
        self.gateway(side).endpoint.stats().iter().find(|(found, _)| *found == name).map_or(0, |(_, value)| *value)
    }

    /// Each Child SA of one side is the mirror of one of the other; gives back how many there are.
    pub fn assert_mirrored(&mut self) -> usize {
        let [a, b] = &self.gateways;
        let count = a.data_plane.installed.len();
        assert_eq!(count, b.data_plane.installed.len(), "one side has more Child SAs than the other");
        for ours in a.data_plane.installed.values() {
            let mut mirrored = b.data_plane.installed.values().filter(|theirs| theirs.inbound_spi == ours.outbound_spi);
            let theirs = mirrored.next().expect("the outbound SPI is the peer's inbound one");
            assert_eq!(ours.inbound_spi, theirs.outbound_spi);
            assert_eq!(ours.inbound_keys, theirs.outbound_keys);
            assert_eq!(ours.outbound_keys, theirs.inbound_keys);
            assert_ne!(ours.inbound_keys, ours.outbound_keys);
            assert_eq!(ours.local_selectors, theirs.remote_selectors);
            assert_eq!(ours.remote_selectors, theirs.local_selectors);
            assert_eq!((ours.protection, ours.mode), (theirs.protection, theirs.mode));
            assert_eq!(ours.sequence_numbers, theirs.sequence_numbers);
            assert_eq!(ours.encapsulation.is_some(), theirs.encapsulation.is_some());
            let parked = |sa: &ChildSa| matches!(sa.activation, Activation::Parked { .. });
            assert!(parked(ours) || parked(theirs), "the responder's outbound SA is parked, and in a collision the initiator's too");
        }
        count
    }

    /// Titles of the messages sent so far, first transmissions and repetitions.
    pub fn titles(&mut self) -> Vec<String> {
        self.sent.iter().map(|sent| title(&sent.datagram)).collect()
    }

    /// The same, from one of them on.
    pub fn titles_from(&self, first: usize) -> Vec<String> {
        self.sent.iter().skip(first).map(|sent| title(&sent.datagram)).collect()
    }

    /// Messages a side has sent or received as its trace shows them, without the Encrypted payload around the others.
    pub fn traced(&mut self, side: Side) -> Vec<(bool, String, String)> {
        let messages = self.gateway(side).traces.iter().filter_map(|trace| match &trace.record {
            Record::Message { outbound, title, payloads, .. } => {
                let names: Vec<&str> = payloads.iter().map(|payload| payload.name.as_str()).filter(|name| *name != "SK").collect();
                Some((*outbound, title.clone(), names.join(" ")))
            }
            Record::Step { .. } => None,
        });
        messages.collect()
    }

    /// The same in one line each, such as `INFORMATIONAL request 2: D`.
    pub fn shown(&mut self, side: Side) -> Vec<String> {
        self.traced(side).into_iter().map(|(_, title, payloads)| format!("{title}: {payloads}")).collect()
    }
}

/// The only child of [`config`].
pub fn net() -> Target {
    Target::Child { connection: None, name: "net".into() }
}

/// The only connection of [`config`].
pub fn lab() -> Target {
    Target::Connection("lab".into())
}

/// Such as `IKE_AUTH request 1`.
pub fn title(datagram: &Datagram) -> String {
    let header = ike_wire::Header::peek(&datagram.payload).unwrap();
    let direction = if header.flags.response { "response" } else { "request" };
    format!("{} {direction} {}", header.exchange, header.message_id)
}
