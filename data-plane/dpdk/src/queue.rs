//! Receive and transmit, without a call between Rust and the driver's own burst function.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;

use dpdk_sys as sys;

use crate::burst::Burst;
use crate::port::Started;

/// One receive queue. May move between threads, but one at a time uses it.
#[derive(Debug)]
pub struct RxQueue {
    port: Arc<Started>,
    queue: u16,
    not_sync: PhantomData<Cell<()>>,
}

/// One transmit queue. May move between threads, but one at a time uses it.
#[derive(Debug)]
pub struct TxQueue {
    port: Arc<Started>,
    queue: u16,
    not_sync: PhantomData<Cell<()>>,
}

impl RxQueue {
    pub(crate) fn new(port: &Arc<Started>, queue: u16) -> Self {
        Self { port: Arc::clone(port), queue, not_sync: PhantomData }
    }

    /// Polls once: adds received packets behind those in the burst and answers how many. Give an empty burst: some drivers receive
    /// nothing into fewer than 4 or 8 free places.
    #[inline]
    pub fn rx(&mut self, burst: &mut Burst) -> usize {
        self.rx_up_to(burst, u16::MAX)
    }

    /// The same for so many packets at most.
    #[inline]
    pub fn rx_up_to(&mut self, burst: &mut Burst, most: u16) -> usize {
        burst.receive(|mbufs, room| {
            let ops = self.port.burst_functions();
            let Some(receive) = ops.rx_pkt_burst else { return 0 };
            // SAFETY: the port is started and has this queue: `Port::start` set it up and handed it out once, and the port stops only
            // after this handle is gone; so `data` has an entry for it.
            let data = unsafe { *ops.rxq.data.add(usize::from(self.queue)) };
            // SAFETY: the queue's own data, used by one thread at a time (`&mut self`), and room for as many pointers.
            unsafe { receive(data, mbufs, room.min(most)) }
        })
    }
}

impl TxQueue {
    pub(crate) fn new(port: &Arc<Started>, queue: u16) -> Self {
        Self { port: Arc::clone(port), queue, not_sync: PhantomData }
    }

    /// Offers all packets of the burst to the driver and answers how many it took. The others stay in the burst, in order.
    #[inline]
    pub fn tx(&mut self, burst: &mut Burst) -> usize {
        burst.give(|mbufs, count| {
            let ops = self.port.burst_functions();
            let Some(transmit) = ops.tx_pkt_burst else { return 0 };
            // SAFETY: the port is started and has this queue: `Port::start` set it up and handed it out once, and the port stops only
            // after this handle is gone; so `data` has an entry for it.
            let data = unsafe { *ops.txq.data.add(usize::from(self.queue)) };
            // SAFETY: the queue's own data, used by one thread at a time (`&mut self`), and as many mbufs that we own.
            unsafe { transmit(data, mbufs, count) }
        })
    }
}

/// The driver's burst functions and queue data of a port, as DPDK publishes them.
#[inline]
pub(crate) fn burst_functions(port: usize) -> &'static sys::rte_eth_fp_ops {
    const { assert!(sys::RTE_MAX_ETHPORTS > 0) };
    let table = (&raw const sys::rte_eth_fp_ops).cast::<sys::rte_eth_fp_ops>();
    // SAFETY: clamped to the table's length.
    let entry = unsafe { table.add(port.min(sys::RTE_MAX_ETHPORTS as usize - 1)) };
    // SAFETY: the entry is written when its port starts and stops only; `Started` keeps those away while a queue lives.
    unsafe { &*entry }
}
