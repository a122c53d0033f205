//! One run of the gateway: the process `culvert-data`, its configuration, and the policy and SA that a control plane would give it.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use culvert_data::stage::{Lap, Stage};
use culvert_proto::dataplane::v1::data_plane_client::DataPlaneClient;
use culvert_proto::dataplane::v1::operation::Operation as Kind;
use culvert_proto::dataplane::v1::outcome::Outcome as Answer;
use culvert_proto::dataplane::v1::policy::Action;
use culvert_proto::dataplane::v1::{
    AttachRequest, Install, Keys, LeaseSpis, Operation, Policy, ProgramRequest, SetPolicies, StatsRequest, StatsResponse, UdpEncapsulation,
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use crate::eal::{self, Memory, SINK, SOURCE};
use crate::error::{Context, Failure};
use crate::measure::{Sample, cpu_time};
use crate::report::Direction;
use crate::variant::{self, Variant};

/// The gateway's and its peer's outer addresses.
pub(crate) const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub(crate) const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Key and salt of either direction. Nothing secret ever passes through a benchmark.
pub(crate) const OUTBOUND_KEYMAT: [u8; 20] = [0x0a; 20];
pub(crate) const INBOUND_KEYMAT: [u8; 20] = [0x0b; 20];

/// AES-GCM with a 16-octet ICV (IANA, IKEv2 Transform Type 1).
const ENCR_AES_GCM_16: u32 = 20;
const CHILD_SA: u64 = 1;
const POLICY: u32 = 1;
const PEERS_SPI: u32 = 0x1000_0001;

/// How a gateway is run.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    /// The daemon.
    pub(crate) program: PathBuf,
    /// Configuration, socket and log go here.
    pub(crate) folder: PathBuf,
    pub(crate) memory: Memory,
    /// The worker's core; another one serves gRPC.
    pub(crate) worker_core: usize,
    pub(crate) server_core: usize,
    /// Packets that the worker takes from the source at once.
    pub(crate) burst: u16,
    pub(crate) variant: Variant,
}

/// A running gateway; it ends with this value.
#[derive(Debug)]
pub(crate) struct Gateway {
    process: Process,
    client: DataPlaneClient<Channel>,
    epoch: u64,
    operations: u64,
    variant: Variant,
}

/// What each stage took, in the order of [`Stage::ALL`]: nothing, unless the gateway takes the time.
pub(crate) type Laps = [Lap; Stage::ALL.len()];

/// Packets that came in, and what became of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    received: u64,
    /// Packets that reached the sink, and the worker's CPU time.
    sent: Sample,
    laps: Laps,
}

impl Reading {
    /// What stages took since another reading.
    pub(crate) fn laps_since(&self, earlier: &Self) -> Laps {
        let mut laps = self.laps;
        for (lap, earlier) in laps.iter_mut().zip(&earlier.laps) {
            lap.ticks = lap.ticks.saturating_sub(earlier.ticks);
            lap.laps = lap.laps.saturating_sub(earlier.laps);
        }
        laps
    }
}

impl Setup {
    /// On the last core, in bursts of 32, plain ESP over IPv4; the server runs on the first core.
    pub(crate) fn new(program: PathBuf, folder: PathBuf, memory: Memory) -> Self {
        let worker_core = available_parallelism().map_or(1, usize::from) - 1;
        Self { program, folder, memory, worker_core, server_core: 0, burst: 32, variant: Variant::Plain }
    }

    /// Starts the gateway with `capture` as its source and waits until it answers.
    pub(crate) async fn start(&self, direction: Direction, capture: &Path) -> Result<Gateway, Failure> {
        let (config, socket, log) = (self.folder.join("data.toml"), self.folder.join("data.sock"), self.folder.join("data.log"));
        fs::create_dir_all(&self.folder).context(self.folder.display())?;
        fs::write(&config, self.configuration(direction, &socket)).context(config.display())?;
        let mut command = Command::new(&self.program);
        command.arg("--config").arg(&config).arg("--").args(["-l", &self.server_core.to_string()]);
        command.args(eal::arguments(self.memory, capture));
        let output = File::create(&log).context(log.display())?;
        command.stdin(Stdio::null()).stdout(output.try_clone().context(log.display())?).stderr(output);
        let child = command.spawn().context(self.program.display())?;
        let mut process = Process { child, log };
        let mut client = process.connect(&socket).await?;
        let attached = client.attach(AttachRequest { controller: "bench".to_owned() }).await.context("Attach")?;
        Ok(Gateway { process, client, epoch: attached.into_inner().epoch, operations: 0, variant: self.variant })
    }

    /// Packets come from the source, whose side depends on the direction, and leave through the sink, where nobody answers ARP: so the
    /// next hop is a static neighbour. The generation of SPIs is fixed, since an inbound capture is sealed before the gateway starts.
    fn configuration(&self, direction: Direction, socket: &Path) -> String {
        let (protected, unprotected, next_hop) = match direction {
            Direction::Outbound => (SOURCE, SINK, self.variant.peer()),
            Direction::Inbound => (SINK, SOURCE, self.variant.local_host()),
        };
        let [inside, outside] = [self.variant.inside(), self.variant.gateway()];
        let [inner, outer] = self.variant.prefixes();
        format!(
            r#"socket = "{socket}"
workers = [{worker}]
idle = "spin"
receive_burst = {burst}

[[port]]
name = "{protected}"
role = "protected"
addresses = ["{inside}/{inner}"]

[[port]]
name = "{unprotected}"
role = "unprotected"
addresses = ["{outside}/{outer}"]

[[neighbor]]
address = "{next_hop}"
mac = "02:00:00:00:00:02"

[sad]
first_generation = 1
"#,
            socket = socket.display(),
            worker = self.worker_core,
            burst = self.burst,
        )
    }
}

impl Gateway {
    /// The operating system's number of the process.
    pub(crate) fn process(&self) -> u32 {
        self.process.child.id()
    }

    /// The SPI that the next lease will hold.
    pub(crate) async fn lease(&mut self) -> Result<u32, Failure> {
        match self.program(Kind::LeaseSpis(LeaseSpis { count: 1 })).await? {
            Some(Answer::Spis(lease)) => lease.spis.first().copied().context("LeaseSpis: no SPI"),
            other => Err(Failure(format!("LeaseSpis: {other:?}"))),
        }
    }

    /// Installs the policy and the SA: from here on packets are forwarded.
    pub(crate) async fn protect(&mut self, inbound_spi: u32) -> Result<(), Failure> {
        let [local, remote] = self.variant.selectors();
        let policy = Policy {
            id: POLICY,
            name: "bench".to_owned(),
            priority: 1,
            action: Action::Protect.into(),
            local: vec![local],
            remote: vec![remote],
            dscp: Vec::new(),
        };
        self.expect_done(Kind::SetPolicies(SetPolicies { policies: vec![policy.clone()], more: false })).await?;
        let port = variant::PORT.into();
        let keys = |keymat: [u8; 20]| Some(Keys { encryption: keymat.to_vec(), integrity: Vec::new() });
        self.expect_done(Kind::Install(Install {
            child_sa: CHILD_SA,
            policy: POLICY,
            inbound_spi,
            outbound_spi: PEERS_SPI,
            local_address: variant::octets(self.variant.gateway()),
            remote_address: variant::octets(self.variant.peer()),
            encapsulation: self.variant.is_in_udp().then_some(UdpEncapsulation { local_port: port, remote_port: port }),
            encryption: ENCR_AES_GCM_16,
            encryption_key_length: 128,
            inbound_keys: keys(INBOUND_KEYMAT),
            outbound_keys: keys(OUTBOUND_KEYMAT),
            local_selectors: policy.local,
            remote_selectors: policy.remote,
            copy_dscp: true,
            // An endless replay of one capture needs it.
            replay_window: 0,
            ..Install::default()
        }))
        .await
    }

    /// What has passed so far.
    pub(crate) async fn read(&mut self) -> Result<Reading, Failure> {
        let stats = self.stats().await?;
        let port = |name: &str| {
            let found = stats.ports.iter().find(|port| port.name == name);
            found.context(format_args!("Stats: no port {name}"))
        };
        let worker = stats.workers.first().context("Stats: no worker")?;
        let counter = |name: &str| stats.counters.iter().find(|counter| counter.name == name).map_or(0, |counter| counter.value);
        let laps = std::array::from_fn(|index| {
            let [ticks, laps] = Stage::ALL.get(index).map_or_else(Default::default, |stage| stage.counters()).map(counter);
            Lap { ticks, laps }
        });
        let cpu_ns = cpu_time(self.process.child.id(), worker.thread)?;
        Ok(Reading { received: port(SOURCE)?.rx_packets, sent: Sample { packets: port(SINK)?.tx_packets, cpu_ns }, laps })
    }

    /// What passed between two readings; an error when more than one packet in a hundred was lost.
    pub(crate) async fn sample(&mut self, before: Reading, after: Reading) -> Result<Sample, Failure> {
        let sample = after.sent.since(before.sent);
        let received = after.received.saturating_sub(before.received);
        if received == 0 || sample.packets < received - received / 100 {
            let stats = self.stats().await?;
            let counters: Vec<_> = stats.counters.iter().filter(|c| c.value > 0).map(|c| format!("{} {}", c.name, c.value)).collect();
            let sent = sample.packets;
            return Err(Failure(format!("of {received} packets {sent} came out; counters: {}", counters.join(", "))));
        }
        Ok(sample)
    }

    async fn stats(&mut self) -> Result<StatsResponse, Failure> {
        let answer = self.client.stats(StatsRequest {}).await;
        answer.map(tonic::Response::into_inner).map_err(|error| self.process.failure(&format!("Stats: {error}")))
    }

    async fn expect_done(&mut self, operation: Kind) -> Result<(), Failure> {
        match self.program(operation).await? {
            Some(Answer::Done(_)) => Ok(()),
            Some(Answer::Failure(failure)) => Err(Failure(format!("Program: {:?}: {}", failure.reason(), failure.detail))),
            other => Err(Failure(format!("Program: unexpected answer {other:?}"))),
        }
    }

    /// One operation on a stream of its own.
    async fn program(&mut self, operation: Kind) -> Result<Option<Answer>, Failure> {
        self.operations += 1;
        let operation = Operation { id: self.operations, operation: Some(operation) };
        let request = ProgramRequest { epoch: self.epoch, operations: vec![operation] };
        let mut answers = self.client.program(tokio_stream::once(request)).await.context("Program")?.into_inner();
        let answer = answers.message().await.context("Program")?.context("Program: the gateway closed the stream")?;
        Ok(answer.outcomes.into_iter().next().and_then(|outcome| outcome.outcome))
    }
}

/// The process, ended when dropped, and the file it writes to.
#[derive(Debug)]
struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Waits for the socket: EAL takes half a second to start.
    async fn connect(&mut self, socket: &Path) -> Result<DataPlaneClient<Channel>, Failure> {
        const PATIENCE: Duration = Duration::from_secs(20);
        let start = Instant::now();
        loop {
            if UnixStream::connect(socket).await.is_ok() {
                break;
            }
            if let Some(status) = self.child.try_wait().context("culvert-data")? {
                return Err(self.failure(&format!("culvert-data ended: {status}")));
            }
            if start.elapsed() > PATIENCE {
                return Err(self.failure("culvert-data does not answer"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let path = socket.to_owned();
        let connector = tower::service_fn(move |_| {
            let path = path.clone();
            async move { UnixStream::connect(path).await.map(TokioIo::new) }
        });
        // The authority must be a plain host name: h2 refuses a path.
        let channel = Endpoint::from_static("http://localhost").connect_with_connector(connector).await;
        Ok(DataPlaneClient::new(channel.context("connecting to culvert-data")?))
    }

    /// The message with the last lines of the daemon's log.
    fn failure(&self, message: &str) -> Failure {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n");
        Failure(format!("{message}\n{tail}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It holds nothing that outlives it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
