//! Culvert's data plane daemon: reads its configuration, starts EAL, ports, workers and the server, and stops them in the reverse order.

use std::error::Error;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::Parser;
use culvert_data::clock::Clock;
use culvert_data::command::{self, QueueSizes, WorkerHandle, WorkerId};
use culvert_data::config::{self, Config, Idle, InterfaceAddress, Role};
use culvert_data::pipeline::{IcmpErrorLimits, Limits};
use culvert_data::reassembly;
use culvert_data::server::core::{self, Core, PortReading, ServedPort, Setup};
use culvert_data::server::service::Shared;
use culvert_data::server::socket::Socket;
use culvert_data::server::workers::Workers;
use culvert_data::slow_path;
use culvert_data::table::{PortInfo, PortRole, Snapshot};
use culvert_data::worker::{self, IdlePolicy, WorkerConfig, WorkerParts, WorkerPort, hand_off};
use dpdk::{Eal, HEADROOM, Pool, PoolConfig, Port, PortConfig, Queues};
use rustix::rand::{GetRandomFlags, getrandom};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Mbufs for each worker and port: descriptors both ways, bursts under way, packets that wait.
const MBUFS: usize = 4096;
/// Mbufs that each worker keeps at hand.
const MBUF_CACHE: u32 = 256;
/// Mbufs for each worker that hold what the others do not: packets put together from fragments, and frames that came in several segments.
const LARGE_MBUFS: usize = 256;
/// Octets of such an mbuf behind its headroom: the longest packet that is put together, its headers, and what sealing appends.
const LARGE_ROOM: usize = reassembly::OCTETS + 256;
/// Octets of an mbuf behind its headroom, at least: what virtual devices demand.
const DATA_ROOM: u16 = 2048;
/// Octets beyond the MTU: Ethernet header, a VLAN tag, what sealing appends, and what the rings of net_af_packet have to spare for an MTU of 9000
/// (`framesz=9216`), which refuses shorter mbufs.
const FRAME_OVERHEAD: u16 = 192;

/// Culvert's data plane: protects packets with IPsec on DPDK ports.
#[derive(Debug, Parser)]
#[command(name = "culvert-data", version, about)]
struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// What to log to standard error: error, warn, info, debug, trace, or a filter such as `culvert_data::server=debug`.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    log: EnvFilter,
    /// Arguments of DPDK's EAL, such as `--vdev net_af_packet0,iface=eth0`.
    #[arg(last = true, value_name = "EAL ARGUMENTS")]
    eal: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(arguments.log.clone())
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match run(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<(), Box<dyn Error>> {
    let config = Config::load(&arguments.config)?;
    let mut boot_id = [0; 16];
    getrandom(&mut boot_id, GetRandomFlags::empty())?;
    // The process's affinity, before EAL pins this thread to its main core.
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let eal = Arc::new(Eal::init(arguments.eal)?);
    pin_server(&cores, &config.workers);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before ports and workers: the likeliest mistake is a second daemon on the same socket.
    let socket = runtime.block_on(async { Socket::bind(&config.socket, config.allowed_uids.as_deref()) })?;
    let pool = packet_pool(&eal, &config)?;
    let large = large_pool(&eal, &config)?;
    let (ports, queues) = start_ports(&eal, &pool, &config)?;
    let snapshot = core::first_snapshot(&ports, &config.routes);
    let clock = Clock::start();
    let (handles, threads) = start_workers(&eal, &[pool, large], queues, &snapshot, &config, clock)?;
    let setup = Setup {
        boot_id,
        sad_slots: config.sad_slots,
        policy_slots: config.policy_slots,
        first_generation: config.first_generation,
        learn_path_mtu: config.learn_path_mtu,
        kernel: config.kernel,
        neighbors: config.neighbors.clone(),
        ports,
        snapshot,
        workers: Workers::new(handles),
        cores: config.workers.clone(),
    };
    let core = Shared::new(Core::new(setup));
    let served = runtime.block_on(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tracing::info!(socket = %config.socket.display(), workers = threads.len(), ports = config.ports.len(), kernel = %config.kernel, "ready");
        let stop = async move {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            tracing::info!("stopping");
        };
        culvert_data::server::serve(core.clone(), socket, clock, stop).await.map_err(Box::<dyn Error>::from)
    });
    for thread in threads {
        drop(thread.join());
    }
    // Tasks hold the core, the core the ports: with the runtime everything goes, and EAL last.
    drop(runtime);
    drop(core);
    served
}

/// Keeps the server off the workers' cores where there are others.
fn pin_server(cores: &[core_affinity::CoreId], workers: &[usize]) {
    match cores.iter().find(|core| !workers.contains(&core.id)).or_else(|| cores.first()) {
        Some(core) if core_affinity::set_for_current(*core) => tracing::debug!(core = core.id, "server"),
        _ => tracing::warn!("the server thread could not be given a core of its own"),
    }
}

fn packet_pool(eal: &Eal, config: &Config) -> Result<Pool, dpdk::Error> {
    let size = (MBUFS * config.workers.len() * config.ports.len()).next_power_of_two() - 1;
    let headroom = u16::try_from(HEADROOM).unwrap_or(u16::MAX);
    eal.pool(&PoolConfig {
        name: "packets".to_owned(),
        size: u32::try_from(size).unwrap_or(u32::MAX),
        cache: MBUF_CACHE,
        data_room: headroom.saturating_add((largest_mtu(config) + FRAME_OVERHEAD).max(DATA_ROOM)),
    })
}

fn large_pool(eal: &Eal, config: &Config) -> Result<Pool, dpdk::Error> {
    let size = (LARGE_MBUFS * config.workers.len()).next_power_of_two() - 1;
    let data_room = u16::try_from(HEADROOM + LARGE_ROOM).unwrap_or(u16::MAX);
    eal.pool(&PoolConfig { name: "large packets".to_owned(), size: u32::try_from(size).unwrap_or(u32::MAX), cache: 0, data_room })
}

/// Opens and starts every port, with a transmit queue for each worker and as many receive queues as the driver has for them.
fn start_ports(eal: &Eal, pool: &Pool, config: &Config) -> Result<(Vec<ServedPort>, Vec<Queues>), dpdk::Error> {
    let workers = u16::try_from(config.workers.len()).unwrap_or(u16::MAX);
    let mut served = Vec::new();
    let mut queues = Vec::new();
    for wanted in &config.ports {
        let port = eal.port(&wanted.name)?;
        let (max_rx, _) = port.max_queues()?;
        let port_config = PortConfig { rx_queues: workers.min(max_rx), tx_queues: workers, mtu: wanted.mtu, ..PortConfig::default() };
        queues.push(port.start(&port_config, pool)?);
        let mtu = agree_on_mtu(&port, wanted.mtu);
        let role = match wanted.role {
            Role::Protected => PortRole::Protected,
            Role::Unprotected => PortRole::Unprotected,
        };
        let mac = packet::ethernet::MacAddress(port.mac_address()?);
        let subnets = with_link_local(wanted, mac);
        if wanted.has_ipv6()
            && let Err(error) = port.receive_all_multicast()
        {
            tracing::debug!(port = port.name(), %error, "the device has no switch for multicast: it must receive it as it is");
        }
        tracing::info!(port = %wanted.name, %mac, rx_queues = workers.min(max_rx), "started");
        served.push(ServedPort {
            name: wanted.name.clone(),
            info: PortInfo { role, mac, mtu: mtu.into(), addresses: subnets.iter().map(|subnet| subnet.address).collect() },
            subnets,
            read: Box::new(move || read(&port)),
        });
    }
    Ok((served, queues))
}

/// The addresses of a port, with a link-local one where IPv6 needs it and none is configured (RFC 4291 section 2.1).
fn with_link_local(port: &config::Port, mac: packet::ethernet::MacAddress) -> Vec<InterfaceAddress> {
    let mut addresses = port.addresses.clone();
    if port.has_ipv6() && !addresses.iter().any(InterfaceAddress::is_link_local) {
        addresses.push(InterfaceAddress { address: slow_path::link_local(mac).into(), prefix_len: config::LINK_LOCAL_PREFIX });
    }
    addresses
}

/// Sets the device's MTU where it can be set, and answers what it is, at most what is wanted.
fn agree_on_mtu(port: &Port, wanted: u16) -> u16 {
    if let Err(error) = port.set_mtu(wanted) {
        tracing::debug!(port = port.name(), %error, "the device keeps its own MTU");
    }
    match port.mtu() {
        Ok(mtu) if mtu < wanted => {
            tracing::warn!(port = port.name(), wanted, mtu, "the device does not take the MTU that is configured");
            mtu
        }
        Ok(_) | Err(_) => wanted,
    }
}

fn read(port: &Port) -> PortReading {
    let stats = port.stats().unwrap_or_default();
    PortReading {
        link_up: port.link_is_up().unwrap_or_default(),
        rx_packets: stats.rx_packets,
        tx_packets: stats.tx_packets,
        rx_octets: stats.rx_octets,
        tx_octets: stats.tx_octets,
        rx_missed: stats.rx_missed + stats.rx_no_mbuf,
        tx_dropped: stats.tx_errors,
    }
}

/// Whatever a port may receive can be punted.
fn queue_sizes(config: &Config) -> QueueSizes {
    let sizes = QueueSizes::default();
    let frame = usize::from(largest_mtu(config).saturating_add(FRAME_OVERHEAD));
    QueueSizes { frame: sizes.frame.max(frame), ..sizes }
}

fn largest_mtu(config: &Config) -> u16 {
    config.ports.iter().map(|port| port.mtu).max().unwrap_or_default()
}

fn start_workers(
    eal: &Arc<Eal>,
    [pool, large]: &[Pool; 2],
    queues: Vec<Queues>,
    snapshot: &Arc<Snapshot>,
    config: &Config,
    clock: Clock,
) -> Result<(Vec<WorkerHandle>, Vec<JoinHandle<()>>), worker::WorkerError> {
    let slots = [config.sad_slots, config.policy_slots].map(|slots| usize::try_from(slots).unwrap_or(usize::MAX));
    let limits = Limits {
        icmp_errors: IcmpErrorLimits { per_second: config.icmp_errors_per_second },
        clamp_mss: config.clamp_mss,
        receive_burst: config.receive_burst,
        ..Limits::for_slots(slots[0], slots[1])
    };
    let idle = match config.idle {
        Idle::Spin => IdlePolicy::Spin,
        Idle::Adaptive => IdlePolicy::Adaptive,
    };
    let sizes = queue_sizes(config);
    let mut ports: Vec<_> = queues.into_iter().map(|queues| (queues.rx.into_iter(), queues.tx.into_iter())).collect();
    let (mut handles, mut threads) = (Vec::new(), Vec::new());
    for (number, (core, hand_off)) in (0..).zip(config.workers.iter().zip(hand_off(config.workers.len()))) {
        let (handle, end) = command::channel(WorkerId(number), sizes, limits.policy_slots);
        let worker_ports = ports.iter_mut().filter_map(|(rx, tx)| Some(WorkerPort { rx: rx.next(), tx: tx.next()? })).collect();
        let (pool, large, snapshot) = (pool.clone(), large.clone(), Arc::clone(snapshot));
        let parts = WorkerParts { end, hand_off, ports: worker_ports, pool, large, snapshot, clock };
        threads.push(worker::spawn(WorkerConfig { core: Some(*core), idle, limits }, Arc::clone(eal), parts)?);
        handles.push(handle);
    }
    Ok((handles, threads))
}
