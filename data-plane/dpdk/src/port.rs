//! Network ports: opened by name, started once, stopped when nobody polls them any more.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dpdk_sys as sys;

use crate::eal::{EalInner, port_names};
use crate::error::Error;
use crate::pool::Pool;
use crate::queue::{RxQueue, TxQueue, burst_functions};

/// How a port is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues; with more than one, flows are spread over them by addresses and ports where the driver can.
    pub rx_queues: u16,
    /// Transmit queues; each worker needs one of its own.
    pub tx_queues: u16,
    /// Descriptors of each receive queue; adjusted to what the driver supports.
    pub rx_descriptors: u16,
    /// Descriptors of each transmit queue; adjusted to what the driver supports.
    pub tx_descriptors: u16,
    /// The largest packet behind the Ethernet header, in octets; lowered to what the driver supports. Some must know it before they start.
    pub mtu: u16,
}

impl Default for PortConfig {
    fn default() -> Self {
        Self { rx_queues: 1, tx_queues: 1, rx_descriptors: 512, tx_descriptors: 512, mtu: 1500 }
    }
}

/// The queues of a started port, in the order of their numbers.
#[derive(Debug)]
pub struct Queues {
    /// Receive queues.
    pub rx: Vec<RxQueue>,
    /// Transmit queues.
    pub tx: Vec<TxQueue>,
}

/// Counters of a port since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Packets transmitted.
    pub tx_packets: u64,
    /// Octets received.
    pub rx_octets: u64,
    /// Octets transmitted.
    pub tx_octets: u64,
    /// Packets the device dropped because no descriptor was free.
    pub rx_missed: u64,
    /// Packets that could not be received because the pool was exhausted.
    pub rx_no_mbuf: u64,
    /// Packets the driver could not send.
    pub tx_errors: u64,
}

/// An open port. It stays open until this and all its queues are dropped; a port that was started is closed then.
#[derive(Debug)]
pub struct Port {
    open: Arc<Open>,
    name: String,
    started: AtomicBool,
}

impl Port {
    pub(crate) fn open(eal: &Arc<EalInner>, name: &str) -> Result<Self, Error> {
        let name = name.split(',').next().unwrap_or(name);
        let c_name = CString::new(name).map_err(|_| Error::Nul(name.to_owned()))?;
        let mut open_ports = eal.control();
        let mut id = 0;
        // SAFETY: a terminated string and a place for the answer.
        let result = unsafe { sys::rte_eth_dev_get_port_by_name(c_name.as_ptr(), &raw mut id) };
        if result != 0 || u32::from(id) >= sys::RTE_MAX_ETHPORTS {
            return Err(Error::NoPort { name: name.to_owned(), known: port_names() });
        }
        if !open_ports.insert(id) {
            return Err(Error::PortInUse(name.to_owned()));
        }
        let open = Arc::new(Open { eal: Arc::clone(eal), id, configured: AtomicBool::new(false) });
        Ok(Self { open, name: name.to_owned(), started: AtomicBool::new(false) })
    }

    /// The device's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hardware address.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn mac_address(&self) -> Result<[u8; 6], Error> {
        let _control = self.open.eal.control();
        let mut address = sys::rte_ether_addr::default();
        // SAFETY: an open port and a place for the answer.
        let result = unsafe { sys::rte_eth_macaddr_get(self.open.id, &raw mut address) };
        Error::check("rte_eth_macaddr_get", result)?;
        Ok(address.addr_bytes)
    }

    /// The largest packet behind the Ethernet header, in octets.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn mtu(&self) -> Result<u16, Error> {
        let _control = self.open.eal.control();
        let mut mtu = 0;
        // SAFETY: an open port and a place for the answer.
        let result = unsafe { sys::rte_eth_dev_get_mtu(self.open.id, &raw mut mtu) };
        Error::check("rte_eth_dev_get_mtu", result)?;
        Ok(mtu)
    }

    /// Sets the MTU, after [`Port::start`]: also that of the kernel's interface, where there is one. Virtual devices without an interface of the kernel behind them mostly cannot (`ENOTSUP`).
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        let _control = self.open.eal.control();
        // SAFETY: an open port.
        let result = unsafe { sys::rte_eth_dev_set_mtu(self.open.id, mtu) };
        Error::check("rte_eth_dev_set_mtu", result).map(drop)
    }

    /// Has the device receive the frames of every multicast group, after [`Port::start`]: Neighbor Discovery of IPv6 needs them. Virtual devices
    /// mostly receive whatever comes and have no such switch (`ENOTSUP`).
    ///
    /// # Errors
    /// When the driver refuses.
    pub fn receive_all_multicast(&self) -> Result<(), Error> {
        let _control = self.open.eal.control();
        // SAFETY: an open port.
        let result = unsafe { sys::rte_eth_allmulticast_enable(self.open.id) };
        Error::check("rte_eth_allmulticast_enable", result).map(drop)
    }

    /// Whether the link is up, as far as the driver knows without waiting.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn link_is_up(&self) -> Result<bool, Error> {
        let _control = self.open.eal.control();
        // SAFETY: an open port.
        let result = unsafe { sys::culvert_link_up(self.open.id) };
        Ok(Error::check("rte_eth_link_get_nowait", result)? != 0)
    }

    /// The counters.
    ///
    /// # Errors
    /// When the driver does not count.
    pub fn stats(&self) -> Result<PortStats, Error> {
        let _control = self.open.eal.control();
        let mut stats = sys::rte_eth_stats::default();
        // SAFETY: an open port and a place for the answer.
        let result = unsafe { sys::rte_eth_stats_get(self.open.id, &raw mut stats) };
        Error::check("rte_eth_stats_get", result)?;
        Ok(PortStats {
            rx_packets: stats.ipackets,
            tx_packets: stats.opackets,
            rx_octets: stats.ibytes,
            tx_octets: stats.obytes,
            rx_missed: stats.imissed,
            rx_no_mbuf: stats.rx_nombuf,
            tx_errors: stats.oerrors,
        })
    }

    /// The most receive and transmit queues the driver supports.
    ///
    /// # Errors
    /// When the driver does not answer.
    pub fn max_queues(&self) -> Result<(u16, u16), Error> {
        let _control = self.open.eal.control();
        self.info().map(|info| (info.max_rx_queues, info.max_tx_queues))
    }

    /// Starts the port with all offloads off and hands out its queues. Received packets come from `pool`.
    ///
    /// # Errors
    /// When it was started before (also if that failed), when the driver has fewer queues, or refuses the configuration.
    pub fn start(&self, config: &PortConfig, pool: &Pool) -> Result<Queues, Error> {
        let _control = self.open.eal.control();
        let info = self.info()?;
        if config.rx_queues > info.max_rx_queues || config.tx_queues > info.max_tx_queues {
            return Err(Error::Queues {
                port: self.name.clone(),
                rx: config.rx_queues,
                tx: config.tx_queues,
                max_rx: info.max_rx_queues,
                max_tx: info.max_tx_queues,
            });
        }
        if self.started.swap(true, Ordering::SeqCst) {
            return Err(Error::PortStarted(self.name.clone()));
        }
        self.configure(config, &info)?;
        self.set_up_queues(config, pool)?;
        // SAFETY: configured, and each queue is set up.
        let result = unsafe { sys::rte_eth_dev_start(self.open.id) };
        Error::check("rte_eth_dev_start", result)?;
        let started = Arc::new(Started { open: Arc::clone(&self.open), _pool: pool.clone() });
        Ok(Queues {
            rx: (0..config.rx_queues).map(|queue| RxQueue::new(&started, queue)).collect(),
            tx: (0..config.tx_queues).map(|queue| TxQueue::new(&started, queue)).collect(),
        })
    }

    fn configure(&self, config: &PortConfig, info: &sys::rte_eth_dev_info) -> Result<(), Error> {
        let mut conf = sys::rte_eth_conf::default();
        conf.rxmode.mtu = config.mtu.min(largest_mtu(info)).max(info.min_mtu).into();
        let flows = info.flow_type_rss_offloads & sys::CULVERT_RSS_FLOWS;
        if config.rx_queues > 1 && flows != 0 {
            conf.rxmode.mq_mode = sys::rte_eth_rx_mq_mode_RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = flows;
        }
        self.open.configured.store(true, Ordering::SeqCst);
        // SAFETY: an open port that is not started, and a configuration that lives through the call and holds no pointer.
        let result = unsafe { sys::rte_eth_dev_configure(self.open.id, config.rx_queues, config.tx_queues, &raw const conf) };
        Error::check("rte_eth_dev_configure", result).map(drop)
    }

    fn set_up_queues(&self, config: &PortConfig, pool: &Pool) -> Result<(), Error> {
        let id = self.open.id;
        let (mut rx_descriptors, mut tx_descriptors) = (config.rx_descriptors, config.tx_descriptors);
        // SAFETY: an open port and two places that hold a wish and take the answer.
        let result = unsafe { sys::rte_eth_dev_adjust_nb_rx_tx_desc(id, &raw mut rx_descriptors, &raw mut tx_descriptors) };
        Error::check("rte_eth_dev_adjust_nb_rx_tx_desc", result)?;
        // SAFETY: an open port. A virtual device answers -1, "any", which is what the next calls mean by it too.
        let socket = unsafe { sys::rte_eth_dev_socket_id(id) }.cast_unsigned();
        for queue in 0..config.rx_queues {
            let defaults = std::ptr::null();
            // SAFETY: a configured port with this queue; null asks for the driver's defaults; the pool lives as long as the EAL.
            let result = unsafe { sys::rte_eth_rx_queue_setup(id, queue, rx_descriptors, socket, defaults, pool.raw().0.as_ptr()) };
            Error::check("rte_eth_rx_queue_setup", result)?;
        }
        for queue in 0..config.tx_queues {
            // SAFETY: a configured port with this queue; null asks for the driver's defaults.
            let result = unsafe { sys::rte_eth_tx_queue_setup(id, queue, tx_descriptors, socket, std::ptr::null()) };
            Error::check("rte_eth_tx_queue_setup", result)?;
        }
        Ok(())
    }

    fn info(&self) -> Result<sys::rte_eth_dev_info, Error> {
        let mut info = sys::rte_eth_dev_info::default();
        // SAFETY: an open port and a place for the answer.
        let result = unsafe { sys::rte_eth_dev_info_get(self.open.id, &raw mut info) };
        Error::check("rte_eth_dev_info_get", result)?;
        Ok(info)
    }
}

/// The largest MTU that DPDK lets the device be configured with, from what its driver says of MTU and frames.
fn largest_mtu(info: &sys::rte_eth_dev_info) -> u16 {
    const ETHERNET_HEADER_AND_FCS: u32 = 18;
    let says_both = info.max_mtu != u16::MAX && info.max_rx_pktlen > info.max_mtu.into();
    let from_frames = info.max_rx_pktlen.saturating_sub(ETHERNET_HEADER_AND_FCS);
    if says_both { info.max_mtu } else { info.max_mtu.min(u16::try_from(from_frames).unwrap_or(u16::MAX)) }
}

/// A claimed port.
#[derive(Debug)]
struct Open {
    eal: Arc<EalInner>,
    id: u16,
    configured: AtomicBool,
}

impl Drop for Open {
    /// Stops and closes a port that was configured; one that never was stays available.
    fn drop(&mut self) {
        let mut open_ports = self.eal.control();
        if *self.configured.get_mut() {
            // SAFETY: nobody polls the port: each queue keeps this value alive. Stopping a port that did not start is harmless.
            unsafe { sys::rte_eth_dev_stop(self.id) };
            // SAFETY: stopped; nothing uses the number again, since looking up the name fails from here on.
            unsafe { sys::rte_eth_dev_close(self.id) };
        }
        open_ports.remove(&self.id);
    }
}

/// A started port, shared by its queues.
#[derive(Debug)]
pub(crate) struct Started {
    open: Arc<Open>,
    _pool: Pool,
}

impl Started {
    #[inline]
    pub(crate) fn burst_functions(&self) -> &sys::rte_eth_fp_ops {
        burst_functions(usize::from(self.open.id))
    }
}
